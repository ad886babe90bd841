"""The kinds `research.run`, `knowledge.expand` and `content.analyze`."""

from __future__ import annotations

import time
from functools import partial
from typing import TYPE_CHECKING, Any

from webapp.core.errors import Invalid, NoModel
from webapp.research import planning, reporting
from webapp.research.expanding import Expansion, embedded, expand, read_given
from webapp.research.files import DOWNLOADS
from webapp.research.params import AnalyzeParams, AnswersParams, ExpandParams, ResearchParams
from webapp.research.reporting import Sources
from webapp.tasks.kinds import TaskKind, doubling

if TYPE_CHECKING:
    from webapp.core.context import Ctx
    from webapp.tasks.run import TaskRun


def prepare(ctx: Ctx, params: dict[str, Any]) -> None:
    """The collection must be the caller's to change; an address that may not be asked, or a model that is not there,
    is refused before anything is stored."""
    from webapp.engines import service as engines
    from webapp.intake import service as intake
    from webapp.knowledge.service import collections

    chosen = params.get("collection_id")
    params["collection_id"] = (collections.writable(ctx, chosen) if chosen else collections.default(ctx)).id
    if params.get("engine") not in (None, "", "extractive"):
        engines.choose(ctx.rt, params["engine"])
    intake.check_urls(ctx, params.get("urls") or ())


# -- research --------------------------------------------------------------------------------------------------------


def research(task: TaskRun) -> dict[str, Any]:
    """1. Plan. 2. Answer from what is stored. 3. Find and read new sources. 4. Answer again. 5. Say what changed."""
    began = task.once("began", time.time)
    task.progress(2, "Planning what to find out")
    plan = task.once("plan", partial(_plan, task))
    task.progress(6, f"{len(plan['questions'])} questions to answer", data={"questions": plan["questions"]})
    widen = task.params["expand_knowledge"]
    return _find_out(task, plan, task.params["max_sources"] if widen else 0, began)


def _plan(task: TaskRun) -> dict[str, Any]:
    from webapp.engines import service as engines

    topic, engine = task.params["topic"], task.params.get("engine") or ""
    if task.params.get("questions"):
        return {"questions": task.params["questions"], "by": "you"}
    if engine != "extractive":
        try:
            named = engines.choose(task.rt, engine).id
        except NoModel:
            named = ""
        made = planning.by_model(task.rt, topic, named, task.stopped, min(120.0, task.remaining())) if named else None
        task.check()
        if made is not None:
            return {"questions": made[0], "by": made[1]}
    return {"questions": planning.by_rules(topic), "by": "rules"}


def _find_out(task: TaskRun, plan: dict[str, Any], most: int, began: float) -> dict[str, Any]:
    questions = plan["questions"]
    before = reporting.answered(task, "before", questions, (8, 25)) if most else []
    made = expand(task, questions, most, (25, 70)) if most else Expansion()
    again = not most or bool(made.read)
    after = reporting.answered(task, "after", questions, (70, 90)) if again else before
    sources = Sources()
    earlier = [sources.take(one) for one in before] if made.read else [None] * len(after)
    now = [sources.take(one) for one in after]
    new = {one["document_id"] for one in made.read}
    answers = [reporting.both(one, two, new, sources) for one, two in zip(earlier, now, strict=True)]
    return _told(task, plan, made, began, answers, after, sources)


def _told(task: TaskRun, plan: dict[str, Any], made: Expansion, began: float, answers: list[dict[str, Any]],
          found: list[dict[str, Any]], sources: Sources, more: list[str] | None = None) -> dict[str, Any]:  # fmt: skip
    """What the sources differ in beside the answers; then the whole. found: the answers as they were made."""
    task.progress(90, "Comparing the sources")
    conflicts = reporting.conflicts(task, task.params["topic"], sources, more or [])
    result = _result(task, made, began, found, sources)
    result |= {"topic": task.params["topic"], "plan": plan, "questions": answers, "conflicts": conflicts}
    return _finished(task, result, sources, _report(answers, conflicts))


# -- questions to given pages ------------------------------------------------------------------------------------------


def from_pages(task: TaskRun) -> dict[str, Any]:
    """From the named pages and nothing else; where none is named, as `research`: what is stored, then new sources."""
    if not task.params["urls"]:
        return research(task)
    began = task.once("began", time.time)
    plan = task.once("plan", partial(_plan, task))
    task.progress(4, f"{len(plan['questions'])} questions to answer", data={"questions": plan["questions"]})
    made = read_given(task, (5, 50))
    if not made.read:
        raise _unreadable(made)
    if any(one["new"] for one in made.read):
        embedded(task, made, (50, 60))
    ids = list(dict.fromkeys(one["document_id"] for one in made.read))
    found = reporting.answered(task, "answer", plan["questions"], (60, 90), ids)
    sources = Sources()
    now = [reporting.both(None, sources.take(one), set(ids), sources, "given") for one in found]
    return _told(task, plan, made, began, now, found, sources, ids) | {"only_from_urls": True}


def _unreadable(made: Expansion) -> Invalid:
    reasons = "; ".join(f"{one['url']}: {one['detail']}" for one in made.unread)[:1500]
    return Invalid(f"None of the pages could be read: {reasons}")


def _result(
    task: TaskRun, made: Expansion, began: float, answers: list[dict[str, Any]], sources: Sources
) -> dict[str, Any]:
    good = [one for one in answers if not one["declined"]]
    engines = list(dict.fromkeys(one["engine"] for one in answers))
    return {
        "model_used": ", ".join(engines) or "extractive",
        "selected_agent": "research",
        "context_used": bool(good),
        "context_sources": len({one.document_id for one in sources.all}),
        "confidence_score": round(sum(one["confidence"] for one in good) / len(answers), 3) if answers else 0.0,
        "knowledge_expanded": bool(made.read),
        "expansion_info": made.info,
        "found": made.found,
        "read": made.read,
        "unread": made.unread,
        "notes": made.notes,
        "conversation_id": task.params.get("conversation_id"),
        "began": began,
    }


def _finished(task: TaskRun, result: dict[str, Any], sources: Sources, response: str) -> dict[str, Any]:
    """Store the citations; add what every result has."""
    if task.params.get("include_quality"):
        task.progress(95, "Judging the quality of the sources")
        ids = [one.document_id for one in sources.all] + [one["document_id"] for one in result.get("read", ())]
        result["quality_assessment"] = reporting.quality(task, ids)
    task.progress(98, "Keeping the citations")
    result["sources"] = sources.store(task)
    began = result.pop("began")
    return {"response": response, **result, "processing_time": round(time.time() - began, 2)}


SAID_ABOVE = "The sources say no more on this than what stands above."


def _report(answers: list[dict[str, Any]], conflicts: list[dict[str, Any]]) -> str:
    """The whole as Markdown; every sentence is of an answer, and what answers several questions is said once."""
    said: set[str] = set()
    parts = []
    for one in answers:
        written = {reporting.plain(text): text for text in one["answer"].split("\n\n")}
        new = [text for words, text in written.items() if one["declined"] or words not in said]
        said |= set(written)
        parts.append(f"## {one['question']}\n\n" + ("\n\n".join(new) or SAID_ABOVE))
    if conflicts:
        lines = [f"- {one['text']} {_marks(one['sources'])}" for one in conflicts]
        parts.append("## Where the sources differ\n\n" + "\n".join(lines))
    return "\n\n".join(parts)


def _marks(numbers: list[int]) -> str:
    return "".join(f"[{one}]" for one in numbers)


# -- expansion -------------------------------------------------------------------------------------------------------


def expansion(task: TaskRun) -> dict[str, Any]:
    """Read at most `max_urls` new pages about a topic and make them searchable; answer the question again, if any."""
    began = task.once("began", time.time)
    if question := task.params.get("question"):
        return _find_out(task, {"questions": [question], "by": "you"}, task.params["max_urls"], began)
    made = expand(task, [], task.params["max_urls"], (5, 95))
    sources = Sources()
    result = {"topic": task.params["topic"], **_result(task, made, began, [], sources)}
    return _finished(task, result, sources, _said(made))


def _said(made: Expansion) -> str:
    if not made.read:
        return " ".join(["No new page was read.", *made.notes])
    count = len(made.read)
    lines = "\n".join(f"- <{one['url']}>" for one in made.read)
    return f"{count} page{'' if count == 1 else 's'} read and searchable now:\n\n{lines}"


# -- analysis --------------------------------------------------------------------------------------------------------


def analysis(task: TaskRun) -> dict[str, Any]:
    """1. Read the pages, each once. 2. Compare what they say. 3. Keep a citation for every claim."""
    began = task.once("began", time.time)
    made = read_given(task, (5, 60))
    if not made.read:
        raise _unreadable(made)
    task.progress(65, f"Comparing {len(made.read)} pages" if len(made.read) > 1 else "Reading one page")
    texts = reporting.texts(task, list(dict.fromkeys(one["document_id"] for one in made.read)))
    found = reporting.answers.compare(task.rt, texts, task.params.get("question") or "", cancelled=task.stopped)
    task.check()
    sources = Sources()
    comparing = task.params["analysis_type"] == "comparison"
    same = [reporting.claim(one, sources) for one in found.agreements] if comparing else []
    other = [reporting.claim(one, sources) for one in found.differences] if comparing else []
    claims = [
        {"document_id": text.key, "title": text.title, "url": text.url,
         "claims": [reporting.claim(one, sources) for one in found.claims_by_source[text.key]]}
        for text in texts
    ]  # fmt: skip
    if comparing and len(texts) < 2:
        made.notes.append("Only one page could be read, so there is nothing to compare it with.")
    result = _result(task, made, began, [], sources) | {
        "selected_agent": "analysis", "analysis_type": task.params["analysis_type"], "agreements": same, "differences": other,
        "claims_by_source": claims, "method": found.method, "context_used": True, "knowledge_expanded": False,
    }  # fmt: skip
    result.pop("confidence_score")  # nobody measured one for a comparison
    return _finished(task, result, sources, _compared(comparing, same, other, claims))


def _compared(
    comparing: bool, same: list[dict[str, Any]], other: list[dict[str, Any]], claims: list[dict[str, Any]]
) -> str:
    parts = []
    if comparing:
        parts.append("## What they agree on\n\n" + (_list(same) or "Nothing that could be found."))
        parts.append("## Where they differ\n\n" + (_list(other) or "Nothing that could be found."))
    parts += [f"## {one['title'] or one['url']}\n\n{_list(one['claims']) or 'No claims were found.'}" for one in claims]
    return "\n\n".join(parts)


def _list(claims: list[dict[str, Any]]) -> str:
    return "\n".join(f"- {one['text']} {_marks(one['sources'])}" for one in claims)


ANSWERS = TaskKind(
    "research", "Research", "inference", AnswersParams, from_pages, prepare=prepare, time_limit=3600, max_attempts=4,
    backoff=doubling(30.0),
    description="Answers each of your questions from the pages you name, or looks for sources itself; every sentence cited.",
    view="research/_result.html", downloads=DOWNLOADS,
    examples=[{"topic": "AI Ethics", "urls": ["https://source1.com", "https://source2.com"],
               "questions": ["What are the main concerns?", "What solutions exist?"]}],
)  # fmt: skip
RESEARCH = TaskKind(
    "research.run", "Research by an agent", "inference", ResearchParams, research, prepare=prepare, time_limit=3600, max_attempts=4,
    backoff=doubling(30.0),
    description="Plans questions about a topic, looks for sources, reads them and answers with checked citations.",
    offered=False, view="research/_result.html", downloads=DOWNLOADS,
    examples=[{"topic": "heat pumps in old houses", "max_sources": 5}],
)  # fmt: skip
EXPAND = TaskKind(
    "knowledge.expand", "Look for new sources", "crawling", ExpandParams, expansion, prepare=prepare, time_limit=3600,
    max_attempts=4, backoff=doubling(30.0),
    description="Reads a few pages about a topic and makes them searchable.",
    offered=False, view="research/_result.html", examples=[{"topic": "heat pumps", "max_urls": 5}],
)  # fmt: skip
ANALYZE = TaskKind(
    "content.analyze", "Compare pages", "inference", AnalyzeParams, analysis, prepare=prepare, time_limit=1800,
    max_attempts=4, backoff=doubling(30.0),
    description="Reads pages and says what they agree on, where they differ and what each of them claims.",
    offered=False, view="research/_result.html", downloads=DOWNLOADS,
    examples=[{"urls": ["https://example.org/one", "https://example.org/two"]}],
)  # fmt: skip
