"""The task kind `chat.expand`: new sources for a question are looked for and read, then it is answered again.

The search is a task of its own, below this one: it waits, reads and embeds where that belongs, and no worker is held
meanwhile. The answer is a message like any other, beside the one there was.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from typing import Any

from webapp.chat.kind import ANSWER, AnswerParams, write
from webapp.chat.models import Message
from webapp.chat.service.expanding import LOOK
from webapp.tasks.kinds import TaskKind
from webapp.tasks.run import SPAN, TaskRun

LOOKING = [2, 70]  # percent of the whole that the search stands for
SHOWN = 20  # pages that were not read, of those that are kept with the message
MARK = re.compile(r"\s?(?<!\\)\[\d{1,3}\]")
CHANGES = {
    "now": "the question can be answered now",
    "other": "the answer changed",
    "more": "they confirm the answer",
    "same": "the answer is as before",
    "open": "the question cannot be answered yet",
}


class ExpandParams(AnswerParams):
    """Of `expand`: the answer before, and what the search is asked for."""

    before_id: str
    look: dict[str, Any]


def run(task: TaskRun) -> dict[str, Any]:
    return write(task, looked)


@dataclass(frozen=True)
class Looked:
    """The search's result, or why there is none."""

    task_id: str
    result: dict[str, Any]
    notes: list[str]

    @property
    def said(self) -> str:
        count = len(self.result.get("read") or ())
        return "No new page was read" if not count else f"{count} new page{'' if count == 1 else 's'} read"

    def told(self, found: Any) -> Any:
        from webapp.answers import plain

        if not found.declined:
            return found
        return replace(found, text=f"I still don't know. {plain.escaped(f'{self.said}. {found.reason}').strip()}")

    def change(self, task: TaskRun, found: Any) -> dict[str, Any]:
        with task.rt.unit(write=False) as db:
            before = db.get(Message, task.params["before_id"])
            before = before if before and before.conversation_id == task.params["conversation_id"] else None
        kind = _kind(before, found)
        words = "there is more to it now" if kind == "more" and not self.result.get("read") else CHANGES[kind]
        read = {one["document_id"] for one in self.result.get("read") or ()}
        return {
            "kind": kind, "text": f"{self.said}; {words}.", "task_id": self.task_id, "notes": self.notes,
            "read": self.result.get("read") or [], "unread": (self.result.get("unread") or [])[:SHOWN],
            "new_sources": [one.number for one in found.sources if one.document_id in read],
            "before_id": before.id if before else None, "before": _words(before.content) if before else "",
        }  # fmt: skip


def looked(task: TaskRun) -> Looked:
    """Leaves the worker until the search is over. One that fails leaves the sources as they are."""
    if task.saved(SPAN) is None:
        task.save(SPAN, LOOKING)
    task.start_child("look", LOOK, task.params["look"], title=f"Look for: {task.title}"[:300])
    child = task.wait_for_children()["look"]
    result = child["result"] or {}
    notes = list(result.get("notes") or ())
    if child["status"] != "completed":
        notes.append(f"Looking for new sources did not end well: {child['error'] or child['status']}")
    return Looked(child["id"], result, notes)


def _kind(before: Message | None, found: Any) -> str:
    if found.declined:
        return "open"
    if before is None or before.state == "declined":
        return "now"
    if _words(before.content) != _words(found.text):
        return "other"
    had = {_place(one) for one in before.sources}
    return "same" if {_place(vars(one)) for one in found.sources} <= had else "more"


def _place(source: dict[str, Any]) -> tuple[Any, ...]:
    return source.get("version_id"), source.get("start"), source.get("end")


def _words(text: str) -> str:
    """Without the numbers, which belong to other sources."""
    return MARK.sub("", text).strip()


EXPAND = TaskKind(
    name="chat.expand",
    label="Look for more",
    queue=ANSWER.queue,
    params=ExpandParams,
    run=run,
    description="Looks for new sources for a question of a conversation, reads them and answers it again.",
    soft_limit=ANSWER.soft_limit,
    time_limit=ANSWER.time_limit,
    max_attempts=ANSWER.max_attempts,
    backoff=ANSWER.backoff,
    hidden=True,
    offered=False,
)
