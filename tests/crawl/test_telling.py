from __future__ import annotations

import pytest

from webapp.crawl import telling
from webapp.crawl.telling import AGAIN, News, told


def test_what_is_told() -> None:
    counts = {"fetched": 1, "unchanged": 0, "failed": 1, "reading": 2, "queued": 1200}
    percent, message = told(counts, 6)
    assert message == "1 page read, 2 fetched, 1,200 waiting, 1 failed"
    assert percent == pytest.approx(98 * 2 / 10)


def test_each_message_once_and_once_more_a_moment_later(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 100.0
    monkeypatch.setattr(telling.time, "monotonic", lambda: now)
    news = News()
    assert [news("a"), news("a"), news("b"), news("b")] == [True, False, True, False]
    now += 2 * AGAIN
    assert [news("b"), news("b")] == [True, False]
    now += 10 * AGAIN
    assert [news("b"), news("a")] == [False, True]
