"""A43: what is sealed opens with the same key for the same purpose, and not at all after anything was changed.

There is one key, the program's secret. Who changes it is asked for the secrets again; several keys side by side there are not.
"""

from __future__ import annotations

import base64
import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.fakes.site import Site
from webapp.calls import secrets
from webapp.core.errors import Invalid
from webapp.core.sealing import Unreadable, seal, unseal

KEY, OTHER = "a secret key of the program", "another key"
texts = st.text(max_size=200)
quick = settings(max_examples=60, deadline=None, derandomize=True, database=None)


@quick
@given(texts)
def test_what_is_sealed_can_be_opened(text: str) -> None:
    sealed = seal(KEY, "tests", text)
    assert unseal(KEY, "tests", sealed) == text
    assert seal(KEY, "tests", text) != sealed, "the same text twice looks different"
    assert len(text) < 8 or text not in base64.urlsafe_b64decode(sealed).decode("latin-1")


@quick
@given(texts, st.data())
def test_a_changed_token_is_refused(text: str, data: Any) -> None:
    raw = bytearray(base64.urlsafe_b64decode(seal(KEY, "tests", text)))
    place = data.draw(st.integers(0, len(raw) - 1))
    raw[place] ^= data.draw(st.integers(1, 255))
    with pytest.raises(Unreadable):
        unseal(KEY, "tests", base64.urlsafe_b64encode(bytes(raw)).decode())


@pytest.mark.parametrize("sealed", ["", "x", "gAAAAA==", "é", "\0", "{}", "A" * 10_000])
def test_what_never_was_a_token_is_refused(sealed: str) -> None:
    with pytest.raises(Unreadable):
        unseal(KEY, "tests", sealed)


def test_another_key_or_purpose_opens_nothing() -> None:
    sealed = seal(KEY, "webhooks", "whsec_x")
    for key, purpose in ((OTHER, "webhooks"), (KEY, "channels"), (KEY, "")):
        with pytest.raises(Unreadable):
            unseal(key, purpose, sealed)


def test_a_secret_of_alice_copied_to_bob_opens_for_neither_way_round() -> None:
    sealed = secrets._sealed("token-of-alice", KEY, "alice")
    assert secrets.opened(sealed, KEY, "alice", "token") == "token-of-alice"
    for owner in ("bob", None):
        with pytest.raises(Invalid) as refusal:
            secrets.opened(sealed, KEY, owner, "token")
        assert refusal.value.code == "secret_unreadable"
        assert "token-of-alice" not in str(refusal.value)


def test_after_a_change_of_the_key_its_owner_is_asked_again_and_nothing_breaks(site: Site) -> None:
    """Pages, lists and deliveries go on; each says what to do about it."""
    client, api = site.program(site.cast.alice), "/api/v1/integration"
    body = {"url": "https://alice.example/hook", "events": ["*"], "headers": {"Authorization": "Bearer x"}}
    endpoint = client.post(f"{api}/webhooks/subscribe", json=body).json["id"]
    hook = client.post(f"{api}/hooks", json={"name": "mine", "task_type": "test.script"}).json["id"]
    site.rt.secret_key = OTHER
    client = site.program(site.cast.alice)
    site.logout(site.cast.alice)
    client = site.program(site.cast.alice)
    for path in (f"{api}/webhooks", f"{api}/webhooks/{endpoint}", f"{api}/hooks", f"{api}/hooks/{hook}"):
        assert client.get(path).status_code == 200, path
    assert client.post(f"{api}/webhooks/{endpoint}/test").status_code < 500
    signed = {"webhook-id": "1", "webhook-timestamp": "1", "webhook-signature": "v1,x"}
    answer = site.client.post(f"{api}/hooks/{hook}/receive", data=json.dumps({}), headers=signed,
                              content_type="application/json")  # fmt: skip
    assert answer.status_code in (401, 503), answer.text
    site.lab.run_all("maintenance")
