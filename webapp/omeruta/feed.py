"""The feed of `/ws/agent/` (000:585-694, shapes.md 9.1): chats started and followed on one socket.

Any number of chats run at once on a connection. What a reader has is known by its answer to a ping sent after the
message; a chat that was cut off, by the network or by a restart, is told again to that person's next connection. Two
open pages therefore both show a chat that is not over.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from functools import partial
from typing import TYPE_CHECKING, Any

from pydantic import ValidationError

from webapp.core.context import Ctx
from webapp.core.errors import AppError, BadRequest, NotFound, Unauthorized
from webapp.omeruta import service, wire
from webapp.omeruta.schemas import StartIn, required, usable_name
from webapp.omeruta.service import Told
from webapp.tasks import live
from webapp.tasks import service as tasks

if TYPE_CHECKING:
    from webapp.runtime import Runtime


class AgentFeed(live.BaseFeed):
    def __init__(self, hub: Any, ctx: Ctx) -> None:
        super().__init__(hub)
        if not ctx.user.is_authenticated:
            raise Unauthorized("credentials are needed")
        self.user = ctx.user
        self.key = f"agent:{id(self)}"  # one client each: names and marks are its own
        self.chats: dict[str, Told] = {}
        self.asked: set[str] = set()  # marks whose answer is awaited
        self.client: Any = None

    def topics(self) -> Iterable[str]:
        return ()

    def join(self, rt: Runtime, client: Any) -> None:
        """What an earlier connection was not told to the end."""
        self.client = client
        for chat in service.untold(rt, self.user):
            self._follow(rt, client, chat)

    def _follow(self, rt: Runtime, client: Any, chat: Told) -> None:
        """From here on each step of it, beginning with where it stands."""
        self.chats[chat.task_id] = chat
        self.hub.watch(client, [f"task:{chat.task_id}"])
        self.say(client, wire.say("task_started", chat.task_id, chat.name, message=wire.STARTED))
        found = live.read(rt, [(chat.task_id, live.BEYOND)])
        for task, _ in found:
            client.moved(task.id, task.seq)
            update = wire.say("task_update", task.id, chat.name, **wire.status(task))
            self.hub.send_texts(client, [(task.seq, live.dump(update)), *self._beside(rt, task, chat)])
        if not found:
            self._lost(client, chat)

    def _lost(self, client: Any, chat: Told) -> None:
        gone = "The task was deleted"
        self.say(client, wire.say("task_failed", chat.task_id, chat.name, error=gone, message=f"Error: {gone}"))
        self._forget(client, chat)

    # -- what is sent ------------------------------------------------------------------------------------------------

    def render(self, rt: Runtime, task: Any, events: list[Any]) -> list[tuple[int, str]]:
        chat = self.chats.get(task.id)
        if chat is None:
            return []
        steps = [(event.seq, wire.say("task_update", task.id, chat.name, **wire.status(task, event=event)))
                 for event in events if event.type != "info"]  # fmt: skip
        return [*((seq, live.dump(step)) for seq, step in steps), *self._beside(rt, task, chat)]

    def _beside(self, rt: Runtime, task: Any, chat: Told) -> list[tuple[int, str]]:
        """Who answers, once; and the end, after which nothing more is told of it."""
        out = []
        if not chat.routed and (receipt := service.receipt(rt, task.id)) is not None:
            out.append(wire.routed(task.id, chat.name, receipt))
            chat.routed = True
            self._ask(f"routed {task.id}")
        if task.is_final and not chat.ended:
            out += self._ending(rt, task, chat)
            self._ask(f"told {task.id}")
            self._forget(self.client, chat)
        return [(task.seq, live.dump(message)) for message in out]

    def _ending(self, rt: Runtime, task: Any, chat: Told) -> list[dict[str, Any]]:
        try:
            whole, found = service.outcome(rt, self.user, task.id)
        except NotFound:  # it was deleted the moment it ended
            return wire.ending(task, None, chat.name)
        return wire.ending(whole, found, chat.name)

    def _forget(self, client: Any, chat: Told) -> None:
        chat.ended = True
        self.chats.pop(chat.task_id, None)
        self.hub.unwatch(client, [f"task:{chat.task_id}"])

    def _ask(self, mark: str) -> None:
        self.asked.add(mark)
        self.hub.acknowledge(self.client, mark)

    def on_pong(self, rt: Runtime, client: Any, mark: str) -> None:
        if mark in self.asked:
            self.asked.discard(mark)
            what, _, task_id = mark.partition(" ")
            self.hub.aside(client, partial(service.mark, rt, task_id, what))

    # -- what is heard -----------------------------------------------------------------------------------------------

    def on_message(self, rt: Runtime, client: Any, text: str) -> None:
        message = _parsed(text)
        if not isinstance(message, dict) or "action" not in message:
            super().on_message(rt, client, text)
        elif message["action"] == "start_chat":
            self._start(rt, client, message)
        elif message["action"] == "check_task":
            self._check(rt, client, message.get("task_id"))
        else:
            self.say(
                client, {"type": "error", "message": f"Unknown action {wire.escaped(str(message['action'])[:40])}"}
            )

    def _start(self, rt: Runtime, client: Any, message: dict[str, Any]) -> None:
        name = _name(message)
        try:
            given = _valid(message)
        except BadRequest as exc:
            self._refuse(client, name, exc)
            return

        def work() -> Told | AppError:
            try:
                with rt.unit() as db:
                    return _begin(Ctx(rt, db, self.user), given)
            except AppError as exc:
                return exc

        def then(found: Told | AppError) -> None:
            if isinstance(found, AppError):
                self._refuse(client, name, found)
            else:
                self._follow(rt, client, found)

        self.hub.aside(client, work, then)

    def _refuse(self, client: Any, name: str | None, exc: AppError) -> None:
        """The client knows no `error`: its indicator would turn for ever (C49)."""
        said = f"{exc.message} {exc.suggestion}" if exc.suggestion else exc.message
        self.say(client, wire.say("error", None, name, message=wire.escaped(exc.message)))
        self.say(client, _failed(name, said))

    def on_limited(self, rt: Runtime, client: Any, text: str) -> None:
        """The hub has said why; the chat that was not started ends for its page too."""
        message = _parsed(text)
        if isinstance(message, dict) and message.get("action") == "start_chat":
            told = "Rate limit exceeded. Please wait before sending more messages."
            self.say(client, _failed(_name(message), told) | {"retry_after": 60})

    def _check(self, rt: Runtime, client: Any, task_id: Any) -> None:
        """Where a task stands; without an id nothing is said (000:617)."""
        if not isinstance(task_id, str) or not task_id:
            return
        with rt.unit(write=False) as db:
            try:
                task = tasks.get(Ctx(rt, db, self.user), task_id)
            except NotFound:
                told = wire.unknown(task_id[:40])
                told = {part: told[part] for part in ("status", "progress", "message")}
            else:
                task_id, told = task.id, wire.status(task)
        name = self.chats[task_id].name if task_id in self.chats else None
        self.say(client, wire.say("task_status", task_id[:40], name, **told))


def _parsed(text: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return None


def _name(message: dict[str, Any]) -> str | None:
    """What the client calls the conversation, also of a message that is refused for something else."""
    name = message.get("conversation_id")
    return name if isinstance(name, str) and usable_name(name) else None


def _valid(message: dict[str, Any]) -> StartIn:
    try:
        given = StartIn.model_validate({key: value for key, value in message.items() if value is not None})
    except ValidationError as exc:
        first = exc.errors(include_url=False, include_context=False, include_input=False)[0]
        where = ".".join(str(part) for part in first["loc"])
        raise BadRequest(f"{where}: {first['msg']}") from None
    required(given.message, "Message")
    return given


def _begin(ctx: Ctx, given: StartIn) -> Told:
    text, name = given.message or "", given.conversation_id
    if given.expand_knowledge:
        task_id = service.start_research(ctx, text, expand=True, max_sources=given.max_sources, name=name,
                                         include_quality=given.include_quality, by_socket=True)  # fmt: skip
    else:
        task_id = service.start_chat(ctx, text, name=name, agent=given.agent_type, use_context=given.use_context,
                                     include_quality=given.include_quality, by_socket=True)  # fmt: skip
    return Told(task_id, name)


def _failed(name: str | None, text: str) -> dict[str, Any]:
    return wire.say("task_failed", None, name, error=text, message=f"Error: {wire.escaped(text)}")
