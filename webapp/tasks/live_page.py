"""The feed of our own pages: everything live on one of them, over one channel."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from webapp.core.context import Ctx
from webapp.core.errors import Unauthorized
from webapp.runtime import Runtime
from webapp.tasks.live import BEYOND, BaseFeed, dump, number, read
from webapp.tasks.models import Task, TaskEvent


class PageFeed(BaseFeed):
    """`/ws/live`, `/live/stream`: rendered fragments of everything live on one page."""

    tells_gone = True
    shows_text = True
    VIEWS = ("status", "row", "answer")
    PLACE = "thread"  # the view of what is no task: the page is told to look, and fetches it itself
    WRITTEN = ("answer",)  # those that show text while it is written

    def __init__(self, hub: Any, ctx: Ctx, topics: str, draw: Callable[[Task, str], tuple[str, str]], transport: str):
        super().__init__(hub)
        if not ctx.user.is_authenticated:
            raise Unauthorized("credentials are needed")  # else every task of the page would look deleted
        self.user_id, self.sees_all = ctx.user.id, ctx.user.id is None and ctx.user.is_admin
        self.draw, self.transport = draw, transport
        self.views: dict[str, set[str]] = {}
        self.places: dict[str, str] = {}  # name -> the mark of what the page shows
        self.wanted = self._parse(topics.split(",") if topics else [])
        self._key()

    def _key(self) -> None:
        self.key = f"page:{self.user_id}:{sorted((t, tuple(sorted(v))) for t, v in self.views.items())}"

    def _parse(self, topics: list[Any]) -> dict[str, int]:
        """`task:<id>@view@seq`: the lowest sequence number on the page wins. `<sort>:<id>:<mark>@thread@0`: a place."""
        wanted: dict[str, int] = {}
        for topic in topics[:300]:
            head, _, seq = str(topic).rpartition("@")
            name, _, view = head.partition("@")
            if name.startswith("task:") and view in self.VIEWS:
                task_id = name[5:45]
                self.views.setdefault(task_id, set()).add(view)
                wanted[task_id] = min(number(seq) or 0, wanted.get(task_id, BEYOND))
            elif view == self.PLACE and name.count(":") == 2 and len(name) < 200:
                place, _, mark = name.rpartition(":")
                if place.partition(":")[0] in self.hub.places:
                    self.places[place] = mark
        return wanted

    def join(self, rt: Runtime, client: Any) -> None:
        self.say(client, {"type": "hello", "transport": self.transport})
        self._catch_up(rt, client, self.wanted)

    def _catch_up(self, rt: Runtime, client: Any, wanted: dict[str, int]) -> None:
        self.hub.watch(client, [*(f"task:{task_id}" for task_id in wanted), *self.places])
        for name, stand in self.hub.stands(self.places).items():
            self.on_place(rt, client, name, stand)
        found = read(rt, [(task_id, BEYOND) for task_id in wanted]) if wanted else []
        for task, _ in found:
            if not self._mine(task):
                continue
            client.moved(task.id, task.seq)
            written = not task.is_final and self.views.get(task.id, set()) & set(self.WRITTEN)
            if task.seq > wanted[task.id] or written:
                self.hub.send_texts(client, self.render(rt, task, []))
        for missing in set(wanted) - {task.id for task, _ in found if self._mine(task)}:
            self.say(client, {"type": "gone", "topic": f"task:{missing}"})

    def heard(self, rt: Runtime, client: Any, kind: str, message: dict[str, Any]) -> bool:
        topics = message.get("topics")
        if kind != "topics" or not isinstance(topics, list):
            return False
        self.views, self.places = {}, {}
        wanted = self._parse(topics)
        self._key()
        self._catch_up(rt, client, wanted)
        return True

    def on_place(self, rt: Runtime, client: Any, name: str, stand: tuple[str | None, str] | None) -> None:
        """Tell the page to look, once for each time the place moved."""
        if (shown := self.places.get(name)) is None:
            return
        topic = f"{name}:{shown}"
        if stand is None or not (self.sees_all or stand[0] == self.user_id):
            del self.places[name]
            self.say(client, {"type": "gone", "topic": topic})
        elif stand[1] != shown:
            self.places[name] = stand[1]
            self.say(client, {"type": "reset", "topic": topic})

    def _mine(self, task: Task) -> bool:
        return self.sees_all or task.owner_id == self.user_id

    def render(self, rt: Runtime, task: Task, events: list[TaskEvent]) -> list[tuple[int, str]]:
        """The newest state only: a page has no use for what was in between."""
        return self._draw(task, sorted(self.views.get(task.id, ())))

    def render_text(self, rt: Runtime, task: Task, after: int) -> tuple[int, list[tuple[int, str]]]:
        return 0, self._draw(task, [view for view in self.WRITTEN if view in self.views.get(task.id, ())])

    def _draw(self, task: Task, views: list[str]) -> list[tuple[int, str]]:
        if not self._mine(task):
            return []
        out = []
        for view in views:
            ident, html = self.draw(task, view)
            frame = {"type": "fragment", "topic": f"task:{task.id}", "view": view, "seq": task.seq, "id": ident}
            out.append((task.seq, dump({**frame, "html": html})))
        return out
