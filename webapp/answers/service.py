"""Answer a question from the caller's sources; keep the citations of an answer; compare sources. The area's one door.

1. Find passages and their best sentences. 2. Too little in them: decline, and offer to look further. 3. Quote sentences,
or let a model write from the passages. 4. Check every sentence against what it cites. No transaction is open meanwhile.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from webapp.answers import extractive, plain, written
from webapp.answers.base import EXTRACTIVE, Answer, History, OnStep, OnText, Sentence, Source
from webapp.answers.comparing import Claim, Comparison, Place, SourceText, compare
from webapp.answers.evidence import Evidence, gather
from webapp.answers.prompt import TooSmall
from webapp.answers.written import Writing
from webapp.core.errors import BadRequest, NoModel, NotFound, Unavailable

if TYPE_CHECKING:
    from sqlalchemy.orm import Session

    from webapp.core.context import Ctx

__all__ = ["Answer", "Claim", "Comparison", "OFFER", "Place", "Sentence", "Source", "SourceText", "answer", "compare",
           "store_citations"]  # fmt: skip

PASSAGES, SENTENCES, TOKENS = 8, 3, 512  # where neither the caller nor the agent says
MOST_SENTENCES = 10
OFFER = " Shall I look for new sources?"  # ends an answer that was declined


def answer(
    ctx: Ctx,
    question: str,
    *,
    engine: str = "",
    collections: Iterable[str] | None = None,
    documents: Iterable[str] = (),
    history: History = (),
    agent: Any = None,
    use_context: bool = True,
    k: int | None = None,
    max_sentences: int | None = None,
    max_tokens: int | None = None,
    task_type: str = "chat",
    task_id: str | None = None,
    on_text: OnText = lambda text: None,
    on_step: OnStep = lambda percent, text: None,
    cancelled: Callable[[], bool] = lambda: False,
    timeout: float = 600.0,
    record: bool = True,
) -> Answer:
    """Writes no rows (but the search's own event and the model's call). Ends the caller's transaction.

    engine: an engine's id, "extractive" for sentences of the sources, "" for the agent's or the default model if one is
    set up, else sentences. documents: only these, if any are named. agent: a row of agents or None; its prompt goes before the rules for sources, its config may
    hold temperature, max_tokens, k (passages), max_sentences (quoted), which arguments overrule, and needs_sources:
    false for one that may answer from a model's own knowledge when the sources hold nothing. history: turns before the
    question, oldest first. use_context: false asks the model alone.
    on_text gets the text as it is written; the final text may differ (marks are checked), so show that one at the end.
    Raises BadRequest for an empty question, NotFound for a collection that is not there, NoModel when only a model
    could answer and none is set up, and what `engines.service.generate` raises.
    """
    began = time.perf_counter()
    if not question.strip():
        raise BadRequest("question: ask something", code="empty_question")
    ctx.db.commit()  # to choose a model, servers may be asked
    config = written.config(agent)
    model = written.choose(ctx.rt, engine, agent, task_type)
    writing = None
    if model is not None:
        writing = Writing(ctx, model, agent, tuple(history), max_tokens or int(config.get("max_tokens", TOKENS)),
                          task_type, task_id, on_text, cancelled, timeout)  # fmt: skip
    if not use_context:
        if writing is None:
            raise NoModel("Without sources only a language model can answer.",
                          suggestion="Turn on the use of sources, or set up a model.")  # fmt: skip
        on_step(80, "Generating response...")
        return _timed(writing.alone(question), began, {})
    on_step(25, "Searching knowledge base...")
    evidence = gather(ctx, question, history=history, collections=collections, documents=documents, record=record,
                      k=k or int(config.get("k", PASSAGES)))  # fmt: skip
    on_step(40, _found(len(evidence.hits)))
    on_step(60, "Analyzing content")
    if not evidence.enough and (writing is None or written.needs_sources(agent)):
        return _timed(_declined(evidence, writing, agent, on_text), began, evidence.ms)
    on_step(80, "Generating response...")
    most = max(1, min(MOST_SENTENCES, max_sentences or int(config.get("max_sentences", SENTENCES))))
    if writing is None:
        made = extractive.answer(evidence, most, on_text)
    else:
        made = _by_model(writing, question, evidence, most)
    return _timed(_found_in(evidence, made), began, evidence.ms)


def _by_model(writing: Writing, question: str, evidence: Evidence, most: int) -> Answer:
    """Quoted after all, where the model's window takes no source and the agent needs some."""
    if not evidence.enough:
        return writing.alone(question)
    try:
        return writing.answer(question, evidence)
    except TooSmall:
        if not written.needs_sources(writing.agent):
            return writing.alone(question)
        made = extractive.answer(evidence, most, writing.on_text)
        return replace(made, reason=f"{writing.model.id} cannot read that much at once. {made.reason}")


def _found(count: int) -> str:
    return f"Found {count} source{'' if count == 1 else 's'}"


def _found_in(evidence: Evidence, made: Answer) -> Answer:
    return replace(made, found=len(evidence.hits), notice=evidence.notice, present=round(evidence.present, 3))


def _timed(made: Answer, began: float, ms: dict[str, float]) -> Answer:
    total = (time.perf_counter() - began) * 1000
    return replace(made, ms={name: round(value, 1) for name, value in {**ms, **made.ms, "total": total}.items()})


def _declined(evidence: Evidence, writing: Writing | None, agent: Any, on_text: OnText) -> Answer:
    """What is missing, and the offer to look further; never an invented answer."""
    titles = list(dict.fromkeys(plain.words(hit.title)[:80] for hit in evidence.hits))[:2]
    if titles:
        nearest = ", ".join(f"“{one}”" for one in titles)
        reason = f"The sources I may search do not seem to speak of this (the nearest: {nearest})."
    else:
        reason = "There is nothing about this in the sources I may search."
    if writing is None and not written.needs_sources(agent):
        reason += " No language model is set up, so I can only quote sources."
    text = f"I don't know. {plain.escaped(reason)}{OFFER}"
    on_text(text)
    engine = EXTRACTIVE if writing is None else writing.model.id
    made = Answer(text, (), (), round(evidence.present, 3), True, reason, engine, context_used=False)
    return _found_in(evidence, made)


# -- citations -------------------------------------------------------------------------------------------------------


def store_citations(db: Session, owner_id: str | None, answer: Answer, task_id: str | None) -> list[Source]:
    """A citation row for each source, in the caller's transaction; those of an earlier run of the task are replaced.

    An answer that was declined stands on nothing: it leaves none.

    Returns the sources with their `citation_id`. Raises Unavailable (retryable) when a source was read anew and its old
    copy dropped while the answer was written: answer again.
    """
    from webapp.knowledge.service import citations

    claims = {number: one.text for one in reversed(answer.sentences) for number in one.numbers}
    before = citations.of_task(db, owner_id, task_id) if task_id else []
    there = {(one.version_id, one.start, one.end): one for one in before}
    stored = []
    for source in () if answer.declined else answer.sources:
        row = there.pop((source.version_id, source.start, source.end), None)
        try:
            row = row or citations.make(db, owner_id, source.version_id, source.start, source.end, task_id=task_id)
        except NotFound as gone:
            raise Unavailable("A source changed while the answer was written.", retry_after=1) from gone
        row.claim = (claims.get(source.number) or "")[:4000] or None
        row.verdict, row.score, row.method = source.verdict, source.check_score, source.method
        stored.append(replace(source, citation_id=row.id))
    for row in there.values():
        db.delete(row)
    db.flush()
    return stored
