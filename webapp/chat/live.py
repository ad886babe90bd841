"""The text of one answer for programs, as server-sent events. Pages use the fragments of `views`."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from webapp.chat import views
from webapp.chat.models import Message
from webapp.chat.service import messages
from webapp.core.context import Ctx
from webapp.core.errors import Conflict
from webapp.runtime import Runtime
from webapp.tasks.live import BEYOND, BaseFeed, dump, last_event_id, read

CLAIM = 2**32  # beyond the bytes of any text: a position is claim * CLAIM + bytes


class AnswerFeed(BaseFeed):
    """`text` pieces by their offset in bytes, notes of the task, and at its end the message; then it closes."""

    shows_text = True

    def __init__(self, hub: Any, ctx: Ctx, row: Message, last_id: str | None) -> None:
        super().__init__(hub)
        if row.role != "assistant" or row.task_id is None:
            raise Conflict("only answers are streamed", code="not_an_answer")
        self.message_id, self.task_id = row.id, row.task_id
        self.after = last_event_id(last_id) or 0
        self.key = f"answer:{row.id}"
        self.finished = messages.settled(ctx, [row])[row.id]
        self.row = row

    def topics(self) -> Iterable[str]:
        return [f"task:{self.task_id}"]

    def join(self, rt: Runtime, client: Any) -> None:
        found = read(rt, [(self.task_id, BEYOND)])
        if not found:  # the task is gone; the message is not
            self.hub.send_texts(client, [self._whole(views.message(self.row, self.finished))])
            self.hub.close(client)
        for task, _ in found:
            client.moved(task.id, task.seq)
            client.written[task.id], pieces = self.render_text(rt, task, self.after)
            self.hub.send_texts(client, pieces)
            if task.is_final:
                self.hub.send_texts(client, [self._end(rt, task)])
                self.hub.close(client)

    def render_text(self, rt: Runtime, task: Any, after: int) -> tuple[int, list[tuple[int, str]]]:
        """`after` holds the claim that wrote it too: what another claim writes begins anew."""
        fence, length = divmod(after, CLAIM)
        found = rt.streams.read(task.id, length)
        if found.fence != fence:
            found, length = rt.streams.read(task.id), 0
        at = found.fence * CLAIM + found.length
        if not found.text:
            return at, []
        offset = length if length <= found.length else 0
        return at, [(at, dump({"type": "text", "offset": offset, "text": found.text}))]

    def render(self, rt: Runtime, task: Any, events: list[Any]) -> list[tuple[int, str]]:
        if task.is_final:
            return [self._end(rt, task)]
        notes = [event for event in events if event.type == "progress" and event.message]
        return [
            (0, dump({"type": "progress", "progress": event.progress, "message": event.message})) for event in notes
        ]

    def _end(self, rt: Runtime, task: Any) -> tuple[int, str]:
        with rt.unit(write=False) as db:
            row = db.get(Message, self.message_id)
        shown = views.message(row, messages.stand(row, task)) if row is not None else {"id": self.message_id}
        return self._whole(shown)

    def _whole(self, shown: dict[str, Any]) -> tuple[int, str]:
        return 0, dump({"type": "message", "message": shown})

    def is_over(self, task: Any) -> bool:
        return bool(task.is_final)


__all__ = ["AnswerFeed"]
