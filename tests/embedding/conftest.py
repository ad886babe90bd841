"""Here the child that makes vectors is looked at itself: each runtime has one of its own."""

from __future__ import annotations

import pytest

from webapp.embedding import local, minilm

OWN_PATH = minilm.MiniLM._path  # before any fixture of the session


@pytest.fixture(autouse=True)
def _own_encoder(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(minilm, "LocalModel", local.LocalModel)
    monkeypatch.setattr(minilm.MiniLM, "_path", OWN_PATH)
