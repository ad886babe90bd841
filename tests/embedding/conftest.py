"""Here the child that makes vectors is looked at itself: each runtime has one of its own."""

from __future__ import annotations

import pytest

from webapp.embedding import local, minilm


@pytest.fixture(autouse=True)
def _own_encoder(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(minilm, "LocalModel", local.LocalModel)
