"""A caller who waits for a completion, as a reader of the live hub: no thread waits with it.

What is sent are the raw bytes of one HTTP answer. Its head goes out with the first text or with the end, so that what
fails before has its own status. A caller who leaves takes the work with it.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Iterable
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

from webapp.core.errors import AppError
from webapp.openai_api import service, wire
from webapp.openai_api.wire import Call
from webapp.web.errors import openai_body

if TYPE_CHECKING:
    from webapp.runtime import Runtime

log = logging.getLogger(__name__)

Sent = list[tuple[int, str]]
FIELDS = {"Cache-Control": "no-store", "X-Content-Type-Options": "nosniff", "Connection": "close"}


class CompletionFeed:
    """`tells_gone`, `wants`, `on_message`: nothing of that. One client each, so it may remember what it sent."""

    tells_gone = False

    def __init__(self, hub: Any, call: Call) -> None:
        self.hub, self.call = hub, call
        self.key = f"completion:{call.task_id}"
        self.shows_text = call.stream
        self._sent, self._fence, self._bytes = "", 0, 0
        self._begun = self._ended = False

    def topics(self) -> Iterable[str]:
        return [f"task:{self.call.task_id}"]

    def join(self, rt: Runtime, client: Any) -> None:
        """What was written before the hub took over."""
        self.hub.send_texts(client, self._news(rt))
        if self._ended:
            self.hub.close(client)

    def on_message(self, rt: Runtime, client: Any, text: str) -> None: ...

    def wants(self, event: Any) -> bool:
        return False

    def render(self, rt: Runtime, task: Any, events: list[Any]) -> Sent:
        return self._news(rt) if task.is_final else self._text(rt)

    def render_text(self, rt: Runtime, task: Any, after: int) -> tuple[int, Sent]:
        return 0, self._text(rt)

    def is_over(self, task: Any) -> bool:
        return self._ended

    def left(self, rt: Runtime) -> None:
        """The connection is closed, by whomever."""
        if not self._ended:
            self._ended = True
            service.give_up(rt, self.call)

    # ----------------------------------------------------------------------------------------------------------------

    def _news(self, rt: Runtime) -> Sent:
        if self._ended:
            return []
        found = service.outcome(rt, self.call)
        if found is None:
            return self._text(rt)
        self._ended = True
        if isinstance(found, AppError):
            return self._failed(found)
        return self._rest(found) if self.call.stream else [self._whole(200, wire.completion(self.call, found))]

    def _text(self, rt: Runtime) -> Sent:
        """What was written since, as parts of the stream."""
        if not self.call.stream or self._ended:
            return []
        written = rt.streams.read(self.call.task_id, self._bytes)
        if written.fence != self._fence and self._fence:
            return self._again(rt)
        self._fence, self._bytes = written.fence, written.length
        return self._parts(written.text)

    def _again(self, rt: Runtime) -> Sent:
        """The worker was lost and another one begins anew: wait until it has come as far as was sent.

        A model that writes something else this time shows at the end.
        """
        written = rt.streams.read(self.call.task_id, 0)
        if not written.text.startswith(self._sent):
            return []
        self._fence, self._bytes = written.fence, written.length
        return self._parts(written.text[len(self._sent) :])

    def _parts(self, text: str) -> Sent:
        if not text:
            return []
        self._sent += text
        return [*self._head(), (0, wire.part(self.call, {"content": text}))]

    def _head(self) -> Sent:
        if self._begun:
            return []
        self._begun = True
        fields = {"Content-Type": "text/event-stream; charset=utf-8", **FIELDS, "Cache-Control": "no-cache, no-transform",
                  "X-Accel-Buffering": "no"}  # fmt: skip
        first = wire.part(self.call, {"role": "assistant", "content": ""})
        return [(0, _http_head(200, fields, self.call.request_id) + first)]

    def _rest(self, result: dict[str, Any]) -> Sent:
        if not result["text"].startswith(self._sent):
            return self._failed(AppError("the worker was lost in the middle of the answer", code="broken_off"))
        last = wire.part(self.call, {}, result["finish"], **wire.grounds(result))
        counted = [wire.usage_part(self.call, result)] if self.call.include_usage else []
        rest = self._parts(result["text"][len(self._sent) :])
        return [*self._head(), *rest, *((0, text) for text in (last, *counted, wire.DONE))]

    def _failed(self, error: AppError) -> Sent:
        log.info("completion %s: %s", self.call.task_id, error.message[:200])
        body = openai_body(error, self.call.request_id)
        return [(0, wire.data(body))] if self._begun else [self._whole(error.status, body, error)]

    def _whole(self, status: int, body: dict[str, Any], error: AppError | None = None) -> tuple[int, str]:
        text = json.dumps(body, separators=(",", ":"), ensure_ascii=False)
        fields = {
            "Content-Type": "application/json",
            "Content-Length": str(len(text.encode(errors="replace"))),
            **FIELDS,
        }
        if status == 409:
            fields["X-Should-Retry"] = "false"  # OpenAI's client would do again what somebody stopped
        if error is not None and error.retry_after is not None:
            fields["Retry-After"] = str(error.retry_after)
        return 0, _http_head(status, fields, self.call.request_id) + text


def _http_head(status: int, fields: dict[str, str], request_id: str) -> str:
    lines = [f"HTTP/1.1 {status} {HTTPStatus(status).phrase}", f"X-Request-ID: {request_id}"]
    return "\r\n".join([*lines, *(f"{name}: {value}" for name, value in fields.items())]) + "\r\n\r\n"
