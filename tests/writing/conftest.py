"""A desk of alice's, with the web and the collection of the research tests, and a model that does what it is told."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import pytest

from tests.fakes.engine import Scripted, install
from tests.research.conftest import Den, den, den_of, web  # fixtures
from webapp.engines.base import Request

__all__ = ["Author", "author", "den", "den_of", "web"]


class Author:
    """Writes outlines and sections as asked. share: of the words it is asked for; also: what each section says besides."""

    def __init__(self) -> None:
        self.share, self.extends, self.obeys = 1.0, True, True
        self.also: Callable[[str], str] = lambda asked: ""
        self.calls: list[str] = []

    def __call__(self, request: Request) -> str:
        asked = request.messages[-1]["content"]
        if "Plan a text" in asked:
            self.calls.append("outline")
            count = re.search(r"write (\d+) lines", request.messages[0]["content"])
            if count is None:
                return "Title: Of bees\nBees are useful.\nBees need flowers.\nHelp them."
            return "Title: Of bees\n" + "\n".join(
                f"Part {n} | What part {n} says." for n in range(1, int(count[1]) + 1)
            )
        if "Continue it" in asked:
            self.calls.append("extend")
            return self.prose(int(re.search(r"about (\d+) more", asked)[1]) if self.extends else 0, asked)  # type: ignore[index]
        if "Shorten this" in asked:
            self.calls.append("shorten")
            return self.prose(int(re.search(r"about (\d+) words", asked)[1]) if self.obeys else 400, asked)  # type: ignore[index]
        if "Revise this section" in asked:
            self.calls.append("revise")
            wanted = re.search(r"uses these words: (.*?)\. Change", asked)[1]  # type: ignore[index]
            return self.prose(int(re.search(r"about (\d+) words", asked)[1]), asked, wanted)  # type: ignore[index]
        self.calls.append("section")
        words = int(re.search(r"Write about (\d+) words", asked)[1])  # type: ignore[index]
        return self.prose(round(words * self.share), asked)

    def prose(self, words: int, asked: str, first: str = "") -> str:
        """So many words in sentences of ten, all different."""
        also = " ".join(part for part in (first and f"Here are {first}.", self.also(asked)) if part)
        left = words - len(re.sub(r"\[\d+\]", "", also).split())
        number = 1000 * len(self.calls)
        said = [also] if also else []
        while left > 0:
            number += 1
            count = min(10, left)
            said.append(" ".join([f"Sentence{number}", *["word"] * (count - 1)])[:80] + ".")
            left -= count
        return " ".join(said)


@pytest.fixture
def author(monkeypatch: pytest.MonkeyPatch) -> Author:
    made = Author()
    made.engine = install(monkeypatch, Scripted(made))  # type: ignore[attr-defined]
    return made


def result_of(den: Den, **params: Any) -> dict[str, Any]:
    """Without a collection, unless one is named."""
    task_id = den.lab.start_kind("content_generation", {"topic": "Mason bees", **params}, den.cast.alice)
    den.work()
    row = den.lab.row(task_id)
    assert row.status == "completed", (row.status, row.error)
    assert row.result is not None
    return dict(row.result, task_id=task_id)
