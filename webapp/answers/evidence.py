"""What the sources hold for a question: the passages a search finds, their best sentences, and what was measured."""

from __future__ import annotations

import re
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from webapp.answers import confidence
from webapp.answers.base import History, Source
from webapp.core.db import iso
from webapp.core.errors import AppError
from webapp.knowledge import sentences
from webapp.knowledge.keywords import STOP, WORD
from webapp.knowledge.service.filters import Filters
from webapp.knowledge.service.search import search

if TYPE_CHECKING:
    from webapp.core.context import Ctx
    from webapp.knowledge.sentences import Sentence
    from webapp.knowledge.service.search import Found, Hit
    from webapp.runtime import Runtime

LONGEST_QUESTION = 4000
CANDIDATES = 12  # best sentences that are kept for choosing
# Words that stand for something said before.
LEANS = re.compile(
    r"\b(?:he|him|his|she|hers?|it|its|they|them|theirs?|this|those|these)\b|(?<!are )(?<!is )(?<!was )(?<!were )\bthere\b",
    re.I,
)
# A message of nothing but such words asks nothing about what was said before. Of words with one space between them.
TALK = re.compile(
    r"(?:(?:hello|hi|hey|thanks?|thank you|thx|okay|ok|good (?:morning|afternoon|evening|night)|bye|goodbye|how are you|"
    r"who are you|what can you do|never mind|great|nice|cool|hallo|danke|bonjour|merci|hola|gracias)"
    r"(?: (?:there|so much|very much|a lot|today|doing|all|everyone|again))?(?: |$))+"
)
LONGEST_TALK = 80  # characters
BRIEF = 2  # so few words of its own, and a question needs the one before it


@dataclass(frozen=True)
class Evidence:
    """hits: passages, best first. sentences: the best of them, best first. features: what confidence is made of."""

    query: str
    hits: list[Hit]
    sentences: list[Sentence]
    features: dict[str, float] = field(default_factory=dict)
    notice: str = ""
    ms: dict[str, float] = field(default_factory=dict)

    @property
    def present(self) -> float:
        """The chance that the sources speak of this at all."""
        return confidence.present(self.features)

    @property
    def enough(self) -> bool:
        return confidence.enough(self.features)

    @property
    def right(self) -> float:
        """The chance that the best sentences hold the answer."""
        return confidence.right(self.features)


def gather(ctx: Ctx, question: str, *, history: History = (), collections: Iterable[str] | None = None,
           documents: Iterable[str] = (), k: int = 8, record: bool = True) -> Evidence:  # fmt: skip
    """Search and read, in the named collections and documents, or in all that the caller may read. Ends the caller's transaction. Raises what `search` raises.

    A question that leans on the one before it ("When did he die?") is asked together with that; one that also names
    something itself, alone. What finds too little is asked the other way.
    """
    question = " ".join(question.split())[:LONGEST_QUESTION]
    before = _leans_on(question, history)
    ways = [f"{before} {question}", question] if before else [question]
    if confidence.NAME.search(question):
        ways.reverse()
    collections = list(collections) if collections is not None else None
    filters = Filters(document_ids=tuple(documents))
    for query in ways:
        found = _gathered(ctx, query, question, collections, filters, k, record)
        if found.enough:
            break
    return found


def _leans_on(question: str, history: History) -> str:
    """The person's last question, where this one cannot be understood alone."""
    before = next((turn["content"] for turn in reversed(history) if turn.get("role") == "user"), "")
    leans = (_own(question) <= BRIEF or LEANS.search(question) is not None) and not _talks(question)
    return " ".join(before.split())[:500] if before and leans else ""


def _talks(question: str) -> bool:
    return len(question) <= LONGEST_TALK and TALK.fullmatch(" ".join(WORD.findall(question.lower()))) is not None


def _own(question: str) -> int:
    """Words that say something by themselves."""
    return sum(word not in STOP for word in WORD.findall(question.lower()))


def _gathered(
    ctx: Ctx, query: str, question: str, collections: list[str] | None, filters: Filters, k: int, record: bool
) -> Evidence:
    """Passages by the query; their sentences by the question alone, where it has words for that."""
    found = search(ctx, query, collections=collections, k=k, filters=filters, per_document=0, via="chat", record=record)
    began = time.perf_counter()
    best = _best(ctx.rt, query, found.hits)
    features = confidence.features(query, found.hits, best)
    if query != question and _own(question) >= BRIEF:
        best = _best(ctx.rt, question, found.hits)
    ms = {"search": found.ms, "choose": (time.perf_counter() - began) * 1000}
    return Evidence(query, found.hits, best, features, _said(found), ms)


def _best(rt: Runtime, query: str, hits: Sequence[Hit]) -> list[Sentence]:
    """Without an embedder words alone decide."""
    from webapp.embedding import service as embedding

    def embed(texts: list[str]) -> Any:
        return embedding.embed(rt, embedding.default(rt), texts, urgent=True)

    try:
        return sentences.best(query, hits, embed, CANDIDATES)
    except AppError:
        return sentences.best(query, hits, None, CANDIDATES)


def _said(found: Found) -> str:
    return " ".join(part for part in (found.notice.message, found.notice.suggestion) if part) if found.notice else ""


def source_of(number: int, hit: Hit, start: int, end: int) -> Source:
    """Characters start to end of the hit's version, which lie inside the hit."""
    return Source(
        number=number, document_id=hit.document_id, version_id=hit.version_id, start=start, end=end,
        quote=hit.text[start - hit.start : end - hit.start], title=hit.title, url=hit.url,
        fetched_at=iso(hit.fetched_at) if hit.fetched_at else None, score=round(hit.score, 4),
        collection_id=hit.collection_id,
    )  # fmt: skip
