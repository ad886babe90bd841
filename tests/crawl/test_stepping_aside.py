"""A crawl of the same process holds still while somebody waits for an answer."""

from __future__ import annotations

import pydoc
import threading
from typing import Any

import pytest

from tests.crawl.conftest import Yard
from tests.fakes.small_site import SmallSite, article
from webapp.extraction import service as extraction


@pytest.mark.parametrize("step", ["webapp.crawl.fetching.links.scan", "webapp.crawl.reading.minhash.signature"])
def test_what_was_under_way_waits_too_while_somebody_waits_for_an_answer(
    yard: Yard, site: SmallSite, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    """Somebody asks while a page is on its way, or while a child reads it."""
    site.pages = {"/0": article(0)}
    seen: list[bool] = []
    real_step, real_extract = pydoc.locate(step), extraction.extract

    def ask() -> None:
        yard.rt.foreground.hold()
        threading.Timer(0.2, yard.rt.foreground.release).start()

    def answer(_headers: dict[str, str]) -> bytes | str:
        ask()
        return article(0)

    def extract(*args: Any, **options: Any) -> Any:
        found = real_extract(*args, **options)
        ask()
        return found

    def watched(*args: Any) -> Any:
        seen.append(yard.rt.foreground.is_held())
        return real_step(*args)  # type: ignore[operator]

    monkeypatch.setattr(step, watched)
    if step.endswith("scan"):
        site.pages["/0"] = answer
    else:
        monkeypatch.setattr(extraction, "extract", extract)
    crawl = yard.crawl("/0", max_pages=1)
    assert set(yard.fates(crawl).values()) == {("fetched", "new")}
    assert seen
    assert not any(seen)
