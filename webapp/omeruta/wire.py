"""A task in Omeruta's words: status records, results, messages of the socket. Pure functions over rows and results.

Its client puts `response` and `message` into the page as HTML, so both are escaped here, and nowhere else (C16).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any

from webapp.core.db import iso
from webapp.tasks.dialects import STATUS

AGENTS = ("research", "analysis", "qa", "general", "tinyllama")
CELERY = {"queued": "PENDING", "running": "STARTED", "waiting_input": "STARTED", "paused": "STARTED",
          "retrying": "RETRY", "completed": "SUCCESS", "failed": "FAILURE", "timed_out": "FAILURE",
          "cancelled": "REVOKED"}  # fmt: skip
BEGINNING = ("Queued", "Started", "Waiting for a worker")
STARTED = "Processing your message..."
READY = "Response ready"
CHECK_URL = "/api/agents/async/status/{}/"

_UNSAFE = str.maketrans({"&": "&amp;", "<": "&lt;", ">": "&gt;"})
# What Markdown says for a plain character: a backslash before it, or an entity's own ampersand. <https://...> is a link.
_PLAIN = re.compile(r"\\([!-/:-@\[-`{-~])|<(https?://[^\s<>]+)>|&amp;(?=#?\w{1,30};)|[&<>]")


def escaped(text: str) -> str:
    return text.translate(_UNSAFE)


def as_html(markdown: str) -> str:
    """Markdown for a client that knows bold, italic, code and line breaks, and writes the rest as HTML.

    What is escaped in Markdown becomes a numbered entity, which means the same to every reader and nothing to its rules.
    """
    return _PLAIN.sub(_one, markdown)


def _one(found: re.Match[str]) -> str:
    if found[2]:
        return escaped(found[2]).replace("*", "&#42;").replace("`", "&#96;")
    char = found[1] or found[0][0]
    return f"&#{ord(char)};" if char in "&<>*`" and found[1] else escaped(char)


# -- starting --------------------------------------------------------------------------------------------------------


def started(task_id: str, message: str) -> dict[str, Any]:
    """The answer to all five starts (000:446-451)."""
    return {"task_id": task_id, "status": "processing", "message": escaped(message),
            "check_status_url": CHECK_URL.format(task_id)}  # fmt: skip


# -- status ----------------------------------------------------------------------------------------------------------


def status(task: Any, *, message: str | None = None, event: Any = None) -> dict[str, Any]:
    """`{status, progress, message}` of a task, or of it as one of its events says; a final failure adds `error`.

    A failed attempt that is tried again is `processing`: the client stops at the first `failed` (C10).
    """
    state = event.status if event is not None else task.status
    said = event.message if event is not None else task.message
    out = {
        "status": STATUS[state][2],
        "progress": event.progress if event is not None else task.progress,
        "message": escaped(message or _message(task, state, said)),
    }
    if STATUS[state][2] == "failed":
        out["error"] = _failure(task, state)
    return out


def _message(task: Any, state: str, said: str) -> str:
    if state == "completed":
        return READY
    if STATUS[state][2] == "failed":
        return f"Error: {_failure(task, state)}"
    if state == "retrying":
        return f"Retrying ({task.attempt}/{max(1, task.max_attempts - 1)})..."
    if said in BEGINNING and task.attempt:
        return "Initializing AI agent..." if not task.progress else "Continuing..."
    return said


def _failure(task: Any, state: str) -> str:
    return "The task was cancelled" if state == "cancelled" else task.error or "The task failed"


def polled(task: Any, result: Mapping[str, Any] | None, name: str | None) -> dict[str, Any]:
    """The answer to a poll (000:463-474). The choice of agent only comes with the end: each time it is there, the
    client adds a badge (C14)."""
    out: dict[str, Any] = {"task_id": task.id, **status(task), "celery_status": CELERY[task.status],
                           "ready": task.is_final}  # fmt: skip
    if name is not None:
        out["conversation_id"] = name
    if result is not None:
        out |= {"result_key": f"ai_result:{task.id}", "result": result}
        if result.get("selected_agent"):
            out |= {"selected_agent": result["selected_agent"], "routing_score": result["routing_score"]}
    return out


def unknown(task_id: str) -> dict[str, Any]:
    """Of an id that nobody has, or somebody else, as Celery would say it (C08)."""
    return {"task_id": task_id, "status": "pending", "progress": 0, "message": "Waiting for the task",
            "celery_status": "PENDING", "ready": False, "result": None}  # fmt: skip


# -- results ---------------------------------------------------------------------------------------------------------


def result(
    task: Any, given: Mapping[str, Any], *, name: str | None = None, checks: Iterable[Mapping[str, Any]] | None = None
) -> dict[str, Any]:
    """The documented result (shapes.md 4.3) of any task. checks: of the answer's sentences, if its quality was asked.

    `response` is for the page, `response_text` what was really written.
    """
    text = _text(given)
    out: dict[str, Any] = {
        "response": as_html(text),
        "response_text": text,
        "model_used": given.get("model_used") or given.get("engine") or "",
        "selected_agent": _agent(given.get("selected_agent") or given.get("agent")),
        "routing_score": given.get("routing_score"),
        "context_used": bool(given.get("context_used")),
        "context_sources": _count(given),
        "sources": _listed(given.get("sources")),
        "confidence_score": given.get("confidence_score", given.get("confidence")),
        "processing_time": _seconds(task, given),
        "task_id": task.id,
        "processed_async": True,
        "user_id": task.owner_id,
    }
    if out["routing_score"] is None:
        del out["routing_score"]
        if out["selected_agent"]:
            out["routing_score"] = 1.0  # it was named, not chosen
    if name is not None or given.get("conversation_id"):
        out["conversation_id"] = name or given["conversation_id"]
    out |= {one: given[one] for one in ("declined", "reason", "message_id") if one in given}
    out |= _expansion(given)
    if checks is not None:
        out["quality_assessment"] = quality(list(checks), given)
    elif isinstance(given.get("quality_assessment"), Mapping):  # research was asked for it
        out["quality_assessment"] = given["quality_assessment"]
    return out


def _text(given: Mapping[str, Any]) -> str:
    for name in ("response", "answer", "text", "summary"):
        if isinstance(given.get(name), str):
            return str(given[name])
    sentences = given.get("sentences")
    if isinstance(sentences, list):  # a summary: each with the number of its place
        return " ".join(str(one.get("text", "")) for one in sentences if isinstance(one, Mapping))
    return ""


def _agent(name: Any) -> str | None:
    return name if name in AGENTS else "general" if name else None


def _count(given: Mapping[str, Any]) -> int:
    """An integer whatever came: the page prints it (C15)."""
    count = given.get("context_sources")
    return count if isinstance(count, int) else len(_listed(given.get("sources")))


def _listed(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []


def _seconds(task: Any, given: Mapping[str, Any]) -> float:
    measured = given.get("processing_time")
    if isinstance(measured, int | float):
        return float(measured)
    if task.started_at is None or task.finished_at is None:
        return 0.0
    return float(round((task.finished_at - task.started_at).total_seconds(), 3))


def _expansion(given: Mapping[str, Any]) -> dict[str, Any]:
    """What a crawl for this answer brought; its texts are written into the page as well."""
    info = given.get("expansion_info")
    crawled = info.get("urls_crawled") if isinstance(info, Mapping) else given.get("urls_crawled")
    if not isinstance(crawled, list):
        return {}
    more = dict(info) if isinstance(info, Mapping) else {}
    told = _deep({**more, "urls_crawled": [str(url) for url in crawled]})
    return {"knowledge_expanded": bool(crawled), "expansion_info": told}


def _deep(value: Any) -> Any:
    if isinstance(value, str):
        return escaped(value)
    if isinstance(value, Mapping):
        return {str(key): _deep(one) for key, one in value.items()}
    return [_deep(one) for one in value] if isinstance(value, list) else value


def quality(checks: list[Mapping[str, Any]], given: Mapping[str, Any]) -> dict[str, Any]:
    """How far the answer stands on its sources, counted from what the checker said of each sentence."""
    counts = {verdict: sum(1 for one in checks if one.get("verdict") == verdict)
              for verdict in ("verified", "weak", "unsupported")}  # fmt: skip
    checked = sum(counts.values())
    return {
        "overall_score": round(counts["verified"] / checked, 3) if checked else None,
        "sentences": len(checks), "checked": checked, **counts,
        "sources": _count(given), "confidence": given.get("confidence_score"),
    }  # fmt: skip


# -- the socket ------------------------------------------------------------------------------------------------------


def say(kind: str, task_id: str | None, name: str | None, **more: Any) -> dict[str, Any]:
    """A message of `/ws/agent/`. Without a conversation's name the client writes into `default` (C11)."""
    out: dict[str, Any] = {"type": kind, **more}
    if task_id is not None:
        out["task_id"] = task_id
    if name is not None:
        out["conversation_id"] = name
    return out


def routed(task_id: str, name: str | None, receipt: Mapping[str, Any]) -> dict[str, Any]:
    score = receipt.get("confidence")
    return say("agent_routed", task_id, name, selected_agent=_agent(receipt.get("agent")) or "general",
               confidence=float(score) if isinstance(score, int | float) else 1.0)  # fmt: skip


def ending(task: Any, found: dict[str, Any] | None, name: str | None) -> list[dict[str, Any]]:
    """The last messages of a chat. The client shows an expansion for its own message and again for a result that says
    so: the result says so only to who polls."""
    if found is None:
        told = status(task)
        return [say("task_failed", task.id, name, error=told["error"], message=told["message"])]
    out = []
    if found.get("knowledge_expanded"):
        out.append(say("knowledge_expanded", task.id, name, expansion_info=found["expansion_info"]))
        found = {key: value for key, value in found.items() if key != "knowledge_expanded"}
    return [*out, say("task_completed", task.id, name, result=found)]


# -- conversations ---------------------------------------------------------------------------------------------------


def conversation(row: Any) -> dict[str, Any]:
    return {"conversation_id": row.external_id or row.id, "id": row.id, "title": row.title,
            "message_count": row.last_seq, "created_at": iso(row.created_at), "updated_at": iso(row.updated_at),
            "last_message_at": iso(row.last_message_at)}  # fmt: skip


def message(row: Any, stand: Any) -> dict[str, Any]:
    """One message as it was written: nothing is escaped here, this is no answer of a task."""
    state = {"done": "completed", "declined": "completed", "waiting": "processing", "writing": "processing"}
    return {"id": row.id, "role": row.role, "content": row.content, "status": state.get(stand.state, "failed"),
            "error": stand.error, "agent": row.agent, "task_id": row.task_id, "sources": row.sources,
            "model_used": row.meta.get("model"), "confidence_score": row.meta.get("confidence"),
            "created_at": iso(row.created_at)}  # fmt: skip


__all__ = ["AGENTS", "as_html", "conversation", "ending", "escaped", "message", "polled", "result", "routed", "say",
           "started", "status", "unknown"]  # fmt: skip
