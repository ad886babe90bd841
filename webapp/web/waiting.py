"""A caller who waits for one task, as a reader of the live hub: no thread waits with it.

A hundred people may wait for a slow model while pages stay quick. Who leaves takes nothing with it: the task goes on, and
its answer is where it always is.
"""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Callable, Iterable
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

from flask import current_app, g, make_response

from webapp.core.context import Actor
from webapp.core.errors import AppError
from webapp.web.errors import told
from webapp.web.guard import request_id
from webapp.web.live import hold, hub

if TYPE_CHECKING:
    from webapp.runtime import Runtime

log = logging.getLogger(__name__)

Look = Callable[["Runtime"], dict[str, Any] | None]
FIELDS = {"Content-Type": "application/json", "Cache-Control": "no-store", "X-Content-Type-Options": "nosniff",
          "Connection": "close"}  # fmt: skip


class TookTooLong(AppError):
    """The caller waited as long as the setting allows. The work goes on."""

    status, code = 504, "still_working"


def wait_for(actor: Actor, task_id: str, look: Look, *, late: str) -> Any:
    """Answer with what `look(rt)` returns once the task is over; it may raise AppErrors. Call it outside of any unit.

    late: where the answer will be found when this takes longer than the setting `answer_wait`; the caller gets 504 then.
    """
    rt: Runtime = current_app.extensions["runtime"]
    patience = rt.settings.answer_wait
    error = TookTooLong(f"no answer within {patience:g} s; it is still being worked on", retry_after=5,
                        suggestion=f"Nothing is lost: look at {late}.")  # fmt: skip
    if patience <= 0 and (found := look(rt)) is None:
        raise error
    if patience <= 0:
        return make_response(found)
    feed = WaitFeed(hub(), task_id, look, error, patience, dialect=g.get("error_dialect", ""), ident=request_id())
    return hold(actor, feed)


class WaitFeed:
    """One client each, so it may remember that it has answered."""

    tells_gone = shows_text = False

    def __init__(
        self, hub: Any, task_id: str, look: Look, late: AppError, patience: float, *, dialect: str, ident: str
    ) -> None:
        self.hub, self.task_id, self.look, self.late, self.patience = hub, task_id, look, late, patience
        self.dialect, self.ident = dialect, ident
        self.key = f"wait:{task_id}:{id(self)}"
        self._ended = False

    def topics(self) -> Iterable[str]:
        return [f"task:{self.task_id}"]

    def join(self, rt: Runtime, client: Any) -> None:
        client.due_at = time.monotonic() + self.patience
        self._send(client, self._news(rt))

    def on_due(self, rt: Runtime, client: Any) -> None:
        self._send(client, self._news(rt) or self._failed(self.late))

    def _send(self, client: Any, messages: list[tuple[int, str]]) -> None:
        self.hub.send_texts(client, messages)
        if self._ended:
            self.hub.close(client)

    def on_message(self, rt: Runtime, client: Any, text: str) -> None: ...

    def wants(self, event: Any) -> bool:
        return False

    def render(self, rt: Runtime, task: Any, events: list[Any]) -> list[tuple[int, str]]:
        return self._news(rt) if task.is_final else []

    def render_text(self, rt: Runtime, task: Any, after: int) -> tuple[int, list[tuple[int, str]]]:
        return 0, []

    def is_over(self, task: Any) -> bool:
        return self._ended

    # ----------------------------------------------------------------------------------------------------------------

    def _news(self, rt: Runtime) -> list[tuple[int, str]]:
        if self._ended:
            return []
        try:
            found = self.look(rt)
        except AppError as error:
            return self._failed(error)
        return [] if found is None else self._whole(200, found)

    def _failed(self, error: AppError) -> list[tuple[int, str]]:
        log.info("task %s, waited for: %s", self.task_id, error.message[:200])
        return self._whole(error.status, told(error, self.dialect, self.ident), error.retry_after)

    def _whole(self, status: int, body: dict[str, Any], retry_after: int | None = None) -> list[tuple[int, str]]:
        self._ended = True
        text = json.dumps(body, separators=(",", ":"), ensure_ascii=False)
        fields = {**FIELDS, "X-Request-ID": self.ident, "Content-Length": str(len(text.encode(errors="replace")))}
        if retry_after is not None:
            fields["Retry-After"] = str(retry_after)
        head = [
            f"HTTP/1.1 {status} {HTTPStatus(status).phrase}",
            *(f"{name}: {value}" for name, value in fields.items()),
        ]
        return [(0, "\r\n".join(head) + "\r\n\r\n" + text)]
