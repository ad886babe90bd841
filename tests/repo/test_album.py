"""Every page of the product is in a picture of `make shots`."""

from __future__ import annotations

from collections import defaultdict

from scripts.album import EXCUSED, Picture, forgotten, pictures


def test_every_page_is_photographed_or_excused_with_a_reason() -> None:
    assert forgotten(pictures(defaultdict(lambda: "an-id"))) == []


def test_a_page_that_is_left_out_is_named_and_so_is_an_idle_excuse() -> None:
    shown = [one for one in pictures(defaultdict(lambda: "an-id")) if one.path != "/profile/keys"]
    assert forgotten(shown) == ["/profile/keys"]
    assert forgotten([*shown, Picture("/profile/keys"), Picture("/models/list")]) == [
        "/models/list is excused for nothing"
    ]
    assert all(EXCUSED.values())
