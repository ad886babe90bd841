"""What `make shots` photographs: tasks in every state, one real summary, and an operator's room after a bad morning."""

from __future__ import annotations

import time
from datetime import timedelta
from pathlib import Path
from typing import Any

ESSAY = """\
A lighthouse keeper's log is a plain thing. Each entry holds the hour, the wind, the state of the lamp and the ships
that passed. The keeper of the north light wrote such entries for thirty-one years, and the harbour kept the books.

The books were read again when the harbour board asked how often the entrance was closed by fog. Nobody had counted.
The log had: fog on 1,904 of 11,315 days, most of it in May and June, and almost none after a north wind.

The board had planned a second lamp. The count changed the plan, because a lamp does not help a ship that should wait.
A fog bell was built instead, with a clockwork that runs eight hours, and the entrance was marked with three buoys.

What the keeper did was not a study. He wrote down what he saw, at the same hours, in the same words, and did not leave
out the dull days. That is why the count could be trusted: a record of interesting days says nothing about fog.

The bell was rung for the first time in the following spring. In ten years the harbour lost one boat in the entrance,
and that one had left its mooring without a crew. The keeper noted the hour, the wind and the state of the lamp.
"""

TRACEBACK = """\
Traceback (most recent call last):
  File "webapp/tasks/execute.py", line 141, in _call
    return kind.runner(run)
  File "webapp/summaries/kind.py", line 118, in run
    texts = [read(source) for source in run.params["sources"]]
  File "webapp/extraction/service.py", line 96, in extract
    raise Unreadable("the file is a picture without text")
webapp.extraction.service.Unreadable: the file is a picture without text
"""


def seed(home: Path, url: str, world: Any) -> dict[str, str]:
    """Fill the database of the server at `url`, which uses `world`, an Outside. Name -> id of a task; `letter` is the id of a dead letter."""
    import requests

    from scripts.scene_talk import Talk
    from scripts.scene_told import fill as told
    from webapp import runtime, settings

    requests.get(url, timeout=30)  # makes the local user
    rt = runtime.build(settings.load({"BRAINSTEM_HOME": str(home), **world.env}))
    try:
        scene = Scene(rt)
        scene.archive()
        scene.mine()
        scene.template()
        scene.ids |= told(scene)
        scene.knowledge(url)
        talk = Talk(scene, url, scene.ids["collection"], world)
        talk.all()
        scene.room()
        scene.summary(url)
        talk.streaming()
        scene.people()
        scene.ids |= talk.ids
    finally:
        rt.close()
    return scene.ids


class Scene:
    """What stands in the database while the pictures are taken."""

    def __init__(self, rt: Any) -> None:
        from webapp.core.db import utcnow
        from webapp.identity import service as identity
        from webapp.identity.models import User

        self.rt, self.now, self.ids = rt, utcnow(), dict[str, str]()
        with rt.unit() as db:
            self.local = str(db.query(User).one().id)
            self.marta = str(identity.create_admin(db, "marta", "a harbour at night").id)

    def people(self) -> None:
        """Accounts in every state, limits of their own, and settings that were changed here."""
        from webapp.administration import service
        from webapp.core.context import Actor, Ctx
        from webapp.identity import people
        from webapp.identity import service as identity

        with self.rt.unit() as db:
            ctx = Ctx(self.rt, db, Actor(self.local, "local", is_admin=True, via="local"), request_id="scene")
            ingrid, _ = people.create(ctx, "ingrid", email="ingrid@harbour.example", password="a harbour at noon")
            identity.start_session(ctx, ingrid, "Mozilla/5.0 (X11; Linux x86_64) Firefox/143.0")
            as_ingrid = Ctx(self.rt, db, Actor(ingrid.id, "ingrid", via="session"), request_id="scene")
            identity.create_api_key(as_ingrid, "tide tables", ["tasks:read", "tasks:write"])
            _, token = people.create(ctx, "nils", email="nils@harbour.example")
            gone, _ = people.create(ctx, "olaf", password="a harbour at dawn")
            identity.set_active(ctx, gone.id, False)
            self.ids |= {"person": ingrid.id, "invitation": str(token)}
            for name, most in (("open_tasks", 40), ("tasks_per_day", 200), ("tokens_per_day", 50_000)):
                service.grant(ctx, self.local, name, most)
            service.grant(ctx, ingrid.id, "stored_bytes", 200 * 2**20)
            service.keep(ctx, {"retention_tasks": "failed=90,summary=14"})

    def put(self, name: str, status: str, title: str, ago: float, **more: Any) -> str:
        """One task with its events. `said`: its lines; `quiet`: seconds since the last one."""
        from webapp.core.db import new_id
        from webapp.tasks.models import Task, TaskEvent

        at, quiet, said = self.now - timedelta(seconds=ago), more.pop("quiet", 0.0), more.pop("said", ())
        kind = more.pop("kind", "summary")
        given = {"owner_id": self.local, "queue": "crawling", "params": {"max_length": 500}, **more}
        row = Task(id=new_id(), kind=kind, title=title, status=status, created_at=at, seq=len(said) + 1,
                   updated_at=self.now - timedelta(seconds=quiet), **given)  # fmt: skip
        if status in ("running", "retrying", "completed", "failed", "cancelled", "timed_out"):
            row.started_at = at + timedelta(seconds=1)
            row.attempt = row.attempt or 1
        if status == "running":
            row.lease_until = time.time() + 1e6
        if status in ("completed", "failed", "cancelled", "timed_out"):
            row.finished_at = at + timedelta(seconds=more.get("progress", 10))
        self.ids[name] = row.id
        lines = ["Queued", *said]
        with self.rt.unit() as db:
            db.add(row)
            db.flush()
            for n, text in enumerate(lines, 1):
                last = n == len(lines)
                db.add(TaskEvent(task_id=row.id, seq=n, type="progress" if n > 1 else "status",
                                 level="error" if last and status == "failed" else "info",
                                 status=status if last else "running", progress=row.progress if last else 0,
                                 message=text, at=at + timedelta(seconds=n * 1.7)))  # fmt: skip
        return str(row.id)

    def mine(self) -> None:
        """A task in every state, of the person who looks, and two keys."""
        from webapp.core.context import Actor, Ctx
        from webapp.identity import service as identity

        put = self.put
        put("cancelled", "cancelled", "Annual report of the port authority", 90000, progress=71, message="Cancelled")
        put("done", "completed", "Three views on tidal power", 9200, progress=100, message="4 sources, 388 words")
        put("timed_out", "timed_out", "All minutes since 1974", 7300, progress=64, error="it took longer than 2 hours",
            error_code="timed_out", message="Reading file 31 of 48")  # fmt: skip
        put("failed", "failed", "Scan of the harbour charter", 800, progress=30, error_code="unsupported_media_type",
            error="the file is a picture without text", message="Reading the file",
            said=("Reading the file", "The file is a picture without text"))  # fmt: skip
        put("waiting", "waiting_input", "Compare the two fee schedules", 400, progress=55, rank=1,
            message="Which of the two schedules of 2019 is meant?")  # fmt: skip
        put("retrying", "retrying", "News of the week from seven pages", 180, progress=61, attempt=2,
            message="The other server did not answer", error="the other server did not answer",
            error_code="upstream", due_at=time.time() + 3000)  # fmt: skip
        put("queued", "queued", "Reading list for the archive", 20, message="Waiting for a worker",
            due_at=time.time() + 9000, rank=3)  # fmt: skip
        put("stalled", "running", "Long interview, part two", 240, progress=18, message="Loading the model", quiet=52)
        put("running", "running", "Harbour reports of the last ten years", 64, progress=42, rank=0,
            message="Reading page 13 of 31", quiet=-1e5,  # has just spoken, however long the pictures take
            said=("Fetching harbour.example/reports", "31 pages found", "Reading page 1 of 31",
                  "Reading page 13 of 31"))  # fmt: skip
        with self.rt.unit() as db:
            ctx = Ctx(self.rt, db, Actor(self.local, "local", is_admin=True, is_local=True))
            identity.create_api_key(ctx, "Night report", ["tasks:read", "tasks:write"])
            identity.create_api_key(ctx, "Dashboard in the hall", ["tasks:read"], self.now + timedelta(days=89))

    def template(self) -> None:
        """One of their own, used a few times."""
        from webapp.core.context import Actor, Ctx
        from webapp.task_templates import service as templates

        said = templates.Given(
            "Minutes of the harbour board", "summary", "The decisions of a meeting, and who has to do what.",
            {"max_length": 180},
            {"type": "object", "properties": {"max_length": {"maximum": 400}}, "required": ["urls"]},
        )  # fmt: skip
        with self.rt.unit() as db:
            row = templates.create(Ctx(self.rt, db, Actor(self.local, "local", is_admin=True, is_local=True)), said)
            row.usage_count = 14
            self.ids["template"] = row.id

    def knowledge(self, url: str) -> None:
        """A collection as people fill it, through the API and by the real workers; a crawl that is under way."""
        from scripts.scene_knowledge import fill

        self.ids |= fill(self, url)

    def room(self) -> None:
        """What an administrator finds: dead letters, a lost worker, a paused queue, and what was done about it."""
        from webapp.core.context import Actor, Ctx
        from webapp.operations import service

        marta = Actor(self.marta, "marta", is_admin=True, via="session")
        self.put("theirs", "completed", "Tide tables in plain words", 5400, progress=100, owner_id=self.marta,
                 queue="inference", message="1 source, 212 words")  # fmt: skip
        self.letter("tired", "Prices of the fish market since 1911", "tired", "attempts",
                    "fish.example answered 502 five times", 8200)  # fmt: skip
        self.letter("crashed", "Survey of the sea bed, 9,000 sheets", "crashed", "crash",
                    "its worker was lost three times; the last time while reading sheet 4,212", 5100)  # fmt: skip
        self.letter(
            "letter", "Scan of the harbour charter", "failed", "permanent", "the file is a picture without text", 770
        )
        self.workers()

        def do(verb: Any, *args: Any, **more: Any) -> None:
            with self.rt.unit() as db:
                verb(Ctx(self.rt, db, marta, request_id="01a1fc6be0d2", ip="198.51.100.7"), *args, **more)

        do(service.pause_queue, "embedding", "new disk at ten o’clock")
        do(service.edit_schedule, "retention", cron="30 3 * * *", interval=None)
        do(service.pause_queue, "workflows", "")
        do(service.resume_queue, "workflows")
        do(service.purge_many, [self.ids.pop("letter-tired")])
        self.ids["letter"] = self.ids.pop("letter-letter")
        self.ids.pop("letter-crashed")

    def letter(self, name: str, title: str, task: str, reason: str, error: str, ago: float) -> None:
        from webapp.core.db import new_id
        from webapp.tasks.models import DeadLetter

        if task not in self.ids:
            self.put(task, "failed", title, ago + 400, progress=47, error=error, error_code=reason, owner_id=self.marta,
                     attempt=5, crashes=3 if reason == "crash" else 0, message="Reading", said=("Reading", error))  # fmt: skip
        row = DeadLetter(id=new_id(), task_id=self.ids[task], kind="summary", queue="crawling", reason=reason, error=error,
                         traceback=TRACEBACK, attempt=5, failed_at=self.now - timedelta(seconds=ago))  # fmt: skip
        self.ids[f"letter-{name}"] = row.id
        with self.rt.unit() as db:
            db.add(row)

    def workers(self) -> None:
        """A worker that has not been heard of for some minutes, beside the one that runs."""
        from sqlalchemy import insert

        from webapp.core.db import db_now
        from webapp.tasks.models import Worker

        with self.rt.unit() as db:
            db.execute(insert(Worker).values(
                id="quay-2:4711", role="crawling", queues="crawling", host="quay-2", pid=4711, threads=4, rss_mb=212.0,
                running=[self.ids["stalled"]], done=1841, started_at=self.now - timedelta(hours=31),
                beat_at=db_now() - 190))  # fmt: skip

    def summary(self, url: str) -> None:
        """A real run of the real kind, waited for."""
        import requests

        text = "\n\n".join(" ".join(part.split()) for part in ESSAY.split("\n\n"))
        made = requests.post(
            url + "/api/v1/utils/ai-tasks/",
            json={"title": "The keeper's log and the fog bell", "task_type": "summary",
                  "task_config": {"content": text, "max_length": 90}},
            timeout=30,
        )  # fmt: skip
        made.raise_for_status()
        self.ids["summary"] = made.json()["id"]
        self._wait_done(self.ids["summary"])
        self.manager(url)

    def manager(self, url: str) -> None:
        """What people do with their tasks: a second run, a link, a view, schedules."""
        import requests

        def post(path: str, **body: Any) -> Any:
            made = requests.post(url + path, json=body, timeout=30)
            made.raise_for_status()
            return made.json()

        again = post("/api/v1/utils/ai-tasks/", title="The fog bell, shorter", task_type="summary",
                     task_config={"content": ESSAY, "max_length": 40})  # fmt: skip
        self.ids["shorter"] = again["id"]
        self._wait_done(self.ids["shorter"])
        self.ids["task_shared"] = post(f"/api/v1/tasks/{self.ids['summary']}/share")["url"].rpartition("/")[2]
        post("/api/v1/tasks/views", name="Failed summaries", filters={"status": "failed", "kind": "summary"})
        for title, cron in (("The week in the log book", "0 9 * * 1"), ("What the harbour board says", "30 7 * * 1-5")):
            kept = {"task_type": "summary", "task_config": {"content": ESSAY, "max_length": 60}, "cron": cron}
            made = post("/api/v1/tasks/schedules", title=title, **kept)
        post(f"/api/v1/tasks/schedules/{made['id']}/pause")
        self.ids["schedule"] = made["id"]

    def archive(self) -> None:
        """What was done in the weeks before: a list of several pages."""
        names = ("Notes on the outer buoy", "Letters of the pilots", "Survey of the north bank", "Dredging since 1930",
                 "Accounts of the lighthouse", "Names of the boats", "Weather of the month")  # fmt: skip
        for n in range(36):
            self.put(f"old-{n}", "completed", f"{names[n % 7]}, part {n // 7 + 1}", 172_800 + 41_000 * (35 - n), progress=100,
                     message=f"{2 + n % 4} sources, {180 + 37 * n % 300} words")  # fmt: skip

    def _wait_done(self, task_id: str, patience: float = 300) -> None:
        """patience: seconds, far more than it takes on a machine that does nothing else."""
        from webapp.tasks.models import Task

        deadline = time.monotonic() + patience
        while time.monotonic() < deadline:
            with self.rt.unit(write=False) as db:
                if db.get(Task, task_id).is_final:
                    return
            time.sleep(0.1)
        raise SystemExit(f"the task {task_id} of the scene is not over after {patience:g} s")
