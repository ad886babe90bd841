"""One of everything that has an id, alice's: what strangers reach for and what fuzzing needs to get past 404."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

from tests.fakes.kinds import scripts
from tests.fakes.messages import answer_of, conversation_of
from tests.fakes.site import Site, filled
from webapp.core.context import Actor
from webapp.core.errors import BadRequest


class Belongings:
    """One of everything that has an id, alice's (or another's, with the same words and ids of their own)."""

    def __init__(self, site: Site, who: Actor | None = None) -> None:
        self.site = site
        self.owner = alice = who or site.cast.alice
        for one in (alice, site.cast.bob, site.cast.charlie, site.cast.root):
            site.bearer(one)  # a login is a row too
        lab = site.lab
        scripts["broken"] = _break
        self.done = lab.start(alice, value="secret of alice")
        lab.run()
        self.failed = lab.start(alice, "broken", value="failure of alice")
        lab.run_all()
        self.letter_id = lab.letters(self.failed)[0].id
        self.waiting = lab.start(alice, title="waiting of alice")
        client = site.program(alice)
        given = {"file": (stream_of(b"text of alice"), "alice.txt")}
        self.file_id = client.post("/api/v1/files/", data=given, content_type="multipart/form-data").json["id"]
        made = client.post("/api/auth/api-keys/", json={"name": "mine", "scopes": ["tasks:read"]})
        self.key_id = made.json["id"]
        self.session_id = client.get("/api/auth/sessions/").json[0]["id"]
        self.user_id = alice.id
        template = {"name": "template of alice", "task_type": "test.script"}
        self.template_id = client.post("/api/v1/utils/ai-task-templates/", json=template).json["id"]
        text = {"task_type": "summary", "task_config": {"content": "words of alice"}, "title": "alice's"}
        self.schedule_id = client.post("/api/v1/tasks/schedules", json={**text, "cron": "0 9 * * 1"}).json["id"]
        view = {"name": "alice's", "filters": {"q": "alice"}}
        self.view_id = client.post("/api/v1/tasks/views", json=view).json["id"]
        self.knowledge = self._knowledge(client)
        crawl = client.post("/api/crawler/jobs/", json={"url": "https://alice.example/", "name": "crawl of alice"}).json
        self.crawl_id = crawl["id"]
        self.page_id = _page(site, crawl["collection_id"])
        self.message_id = answer_of(
            site.rt, alice, sources=[{"number": 1, "quote": "words of alice"}], task_id=self.done
        )
        self.conversation_id = conversation_of(site.rt, self.message_id)
        self.chat_id = client.post("/api/v1/chat/sessions", json={"title": "chat of alice"}).json["id"]
        named = {"message": "A question of alice?", "conversation_id": "chat-of-alice"}
        assert client.post("/api/agents/async/chat_async/", json=named).status_code == 200
        self.told = self._told(client)

    def _told(self, client: Any) -> dict[str, str]:
        """Webhooks both ways, a delivery, a channel and a notification."""
        from webapp.core.context import Ctx
        from webapp.notifications import service as notifications

        api, url = "/api/v1/integration", "https://alice.example/hook"
        endpoint = client.post(f"{api}/webhooks/subscribe", json={"url": url, "events": ["*"]}).json["id"]
        hook = client.post(f"{api}/hooks", json={"name": "hook of alice", "task_type": "test.script"}).json["id"]
        test = client.post(f"{api}/webhooks/{endpoint}/test").json["delivery_id"]
        with self.site.rt.unit() as db:
            alice = self.owner
            notifications.notify(db, str(alice.id), "failed", "told to alice", key="one")
            ctx = Ctx(self.site.rt, db, alice)
            note = notifications.list_(ctx).items[0].id
            channel = notifications.add_channel(ctx, "slack", "desk of alice", {"url": url}).id
        return {"subscription_id": endpoint, "endpoint_id": endpoint, "hook_id": hook, "delivery_id": test,
                "notification_id": note, "channel_id": channel}  # fmt: skip

    def _knowledge(self, client: Any) -> dict[str, str]:
        """A collection with a source and a cited document."""
        api = "/api/v1/knowledge"
        ids = {"collection_id": client.post(f"{api}/collections", json={"name": "Papers"}).json["id"]}
        of = f"{api}/collections/{ids['collection_id']}"
        ids["source_id"] = client.post(f"{of}/sources", json={"kind": "text", "text": "words of alice"}).json["id"]
        stored = client.post(f"{of}/documents", json={"id": "a", "text": "words of alice"}).json
        ids |= {"document_id": stored["document_id"], "version_id": stored["version_id"]}
        cited = {"document_id": ids["document_id"], "start": 0, "end": 5}
        return ids | {"citation_id": client.post(f"{api}/citations", json=cited).json["id"]}

    def ids(self, path: str) -> dict[str, str]:
        """Alice's, by the name of a parameter of this path; of a task the one that ended."""
        ids = {"task_id": self.done, "file_id": self.file_id, "key_id": self.key_id, "user_id": self.user_id,
               "session_id": self.chat_id if "/chat/" in path else self.session_id,
               "schedule_id": self.schedule_id, "view_id": self.view_id,
               "job_id": self.crawl_id, "crawl_id": self.crawl_id, "page_id": self.page_id, "message_id": self.message_id,
               "conversation_id": self.conversation_id, "number": "1", "letter_id": str(self.letter_id), "template_id": self.template_id,
               **self.knowledge, **self.told}  # fmt: skip
        if path.startswith("/api/agents/"):
            ids["conversation_id"] = "chat-of-alice"
        return ids

    def paths(self, route: Any) -> list[str]:
        """The route with alice's ids; both states of a task."""
        ids = self.ids(route.path)
        return [filled(route.path, **{**ids, "task_id": task}) for task in (self.done, self.waiting)]


def _break(run: Any) -> Any:
    raise BadRequest("it never works for alice")


def _page(site: Site, collection_id: str) -> str:
    from webapp.knowledge.service import documents

    url = "https://alice.example/page"
    given = documents.Incoming(url, "Page of alice", "The diary of alice, page one.", "text/html", url=url)
    return str(documents.store(site.rt, collection_id, given).document_id)


def belongings(calm: Site) -> Belongings:
    """The same ones for all tests of a calm site."""
    if not hasattr(calm, "belongings"):
        calm.belongings = Belongings(calm)  # type: ignore[attr-defined]
    return calm.belongings  # type: ignore[attr-defined,no-any-return]


def stream_of(data: bytes) -> Any:
    import io

    return io.BytesIO(data)


@contextmanager
def kept(site: Site) -> Iterator[None]:
    """What happens in here to the SQLite file is undone."""
    path = Path(site.rt.settings.home) / "brainstem.db"
    with closing(sqlite3.connect(":memory:")) as before:
        with closing(sqlite3.connect(path, timeout=30)) as live:
            live.backup(before)
        try:
            yield
        finally:
            with closing(sqlite3.connect(path, timeout=30)) as live:
                before.backup(live)
