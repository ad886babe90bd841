"""What an answer is made of. Plain values: no rows, no Flask."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from webapp.engines.base import Completion

EXTRACTIVE = "extractive"

Verdict = Literal["verified", "weak", "unsupported", "none"]
OnText = Callable[[str], None]
OnStep = Callable[[int, str], None]
Turn = Mapping[str, str]  # {"role": "user" | "assistant", "content": str}
History = Sequence[Turn]


@dataclass(frozen=True)
class Source:
    """Words of a document that a number of the answer points to; `quote` is `version.text[start:end]`, always.

    score: of the passage in the search, 0..1. verdict, check_score, method: what the citation checker said of the
    sentence that stands on it, or of the best of several. citation_id: of the stored row, None before that.
    """

    number: int
    document_id: str
    version_id: str
    start: int
    end: int
    quote: str
    title: str
    url: str | None
    fetched_at: str | None  # ISO 8601
    score: float
    collection_id: str
    verdict: Verdict | None = None
    check_score: float | None = None
    method: str | None = None
    citation_id: str | None = None

    def as_json(self) -> dict[str, Any]:
        return asdict(self)


@dataclass(frozen=True)
class Sentence:
    """A sentence of the answer with the numbers of the sources it names. `text` has no marks.

    verdict "none": there was nothing to check it against, or it claims nothing (a heading, a question).
    start, end: its place in the answer's text, marks included.
    """

    text: str
    numbers: tuple[int, ...]
    verdict: Verdict
    score: float
    method: str
    start: int = 0
    end: int = 0

    def as_json(self) -> dict[str, Any]:
        return asdict(self) | {"numbers": list(self.numbers)}


@dataclass(frozen=True)
class Answer:
    """text: Markdown; [1] points to source 1, [?] stands behind a sentence that no source supports.

    confidence: the chance, 0..1, that the text holds the answer (webapp/answers/confidence.py says how it was
    measured). declined: the sources do not hold enough to answer; `reason` says why and `text` offers to look further.
    reason is also set for an answer that needs a remark, such as that no model wrote it.
    present: the chance that the sources speak of this at all, by which an answer is declined.
    engine: "extractive" or the engine's id. found: passages the search gave. ms: milliseconds of the steps.
    """

    text: str
    sentences: tuple[Sentence, ...]
    sources: tuple[Source, ...]
    confidence: float
    declined: bool
    reason: str
    engine: str
    completion: Completion | None = None
    context_used: bool = True
    found: int = 0
    present: float = 0.0
    notice: str = ""
    ms: dict[str, float] = field(default_factory=dict)
