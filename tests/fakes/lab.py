"""Tasks in a test: start them as somebody, run them here and now, look at their rows."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from sqlalchemy import event, select, text

from tests.fakes import kinds
from webapp.core.context import SYSTEM, Actor, Ctx
from webapp.core.db import utcnow
from webapp.runtime import Runtime
from webapp.tasks import execute, service, store
from webapp.tasks.models import DeadLetter, Task, TaskEvent
from webapp.tasks.run import TaskRun
from webapp.tasks.worker import WorkerHost


class Lab:
    def __init__(self, rt: Runtime) -> None:
        kinds.register()
        self.rt = rt
        self.host = WorkerHost(rt, "all", ("inference",))

    # -- as somebody -------------------------------------------------------------------------------------------------

    @contextmanager
    def as_(self, who: Actor, *, write: bool = True) -> Iterator[Ctx]:
        with self.rt.unit(write=write) as db:
            yield Ctx(self.rt, db, who, request_id="test-request")

    def start(
        self, who: Actor, script: str = "ok", *, kind: str = "test.script", value: Any = None, **options: Any
    ) -> str:
        with self.as_(who) as ctx:
            params = {"script": script} | ({} if value is None else {"value": value})
            return str(service.start(ctx, kind, params, **options)["id"])

    def start_kind(self, kind: str, params: dict[str, Any], who: Actor = SYSTEM) -> str:
        with self.as_(who) as ctx:
            return str(service.start(ctx, kind, params)["id"])

    def do(self, verb: str, who: Actor, *args: Any, **options: Any) -> Any:
        """`service.<verb>` in a unit of its own."""
        with self.as_(who) as ctx:
            return getattr(service, verb)(ctx, *args, **options)

    # -- working -----------------------------------------------------------------------------------------------------

    def run(self, queue: str = "inference") -> str | None:
        """Run the next task to its end, as an actor does."""
        return execute.run_next(self.rt, self.host, queue)

    def run_all(self, queue: str = "inference") -> int:
        """Until the queue is empty; retries without a pause are made due in between."""
        done = 0
        while self.run(queue) is not None:
            done += 1
            assert done < 500, "never empty"
            self.make_due()
        return done

    @contextmanager
    def working(self) -> Iterator[None]:
        """A worker beside the test, for callers that wait for their task."""
        stop = threading.Event()

        def work() -> None:
            while not stop.is_set():
                if not (self.run("interactive") or self.run("inference")):
                    stop.wait(0.02)

        thread = threading.Thread(target=work, daemon=True)
        thread.start()
        try:
            yield
        finally:
            stop.set()
            thread.join(30)

    def crash(self, queue: str = "inference") -> None:
        """Run the next task, which kills its worker."""
        try:
            self.run(queue)
        except kinds.Killed:
            return
        raise AssertionError("it did not crash")

    def take_over(self) -> None:
        """The lease of whoever died ends, and the sweep puts the work back."""
        from webapp.tasks.sweep import sweep

        self.sql("UPDATE tasks SET lease_until = 1 WHERE status = 'running'")
        sweep(self.rt)

    def claim(self, queue: str = "inference", *, lease: float = 30.0) -> TaskRun:
        """Take a task as a worker would and stop there."""
        row = store.claim(self.rt, queue, "other-worker", lease)
        assert row is not None, "nothing to claim"
        return TaskRun(self.rt, row, row.time_limit)

    def make_due(self) -> None:
        """Retries whose time has come go back to the queue, as the sweep does it."""
        from webapp.tasks.sweep import _due

        _due(self.rt)

    # -- looking -----------------------------------------------------------------------------------------------------

    def row(self, task_id: str) -> Task:
        with self.rt.unit(write=False) as db:
            row = db.get(Task, task_id)
        assert row is not None, "the task is gone"
        return row

    def status(self, task_id: str) -> str:
        return self.row(task_id).status

    def events(self, task_id: str) -> list[TaskEvent]:
        with self.rt.unit(write=False) as db:
            stmt = select(TaskEvent).where(TaskEvent.task_id == task_id).order_by(TaskEvent.seq)
            return list(db.scalars(stmt))

    def letters(self, task_id: str) -> list[DeadLetter]:
        with self.rt.unit(write=False) as db:
            stmt = select(DeadLetter).where(DeadLetter.task_id == task_id).order_by(DeadLetter.id)
            return list(db.scalars(stmt))

    def count(self, table: str) -> int:
        return int(self.sql(f"SELECT count(*) FROM {table}").scalar())

    def sql(self, statement: str, **params: Any) -> Any:
        with self.rt.engine.begin() as connection:
            result = connection.execute(text(statement), params)
            return _Kept(list(result.fetchall()) if result.returns_rows else [])

    def end_lease(self, task_id: str) -> None:
        self.sql("UPDATE tasks SET lease_until = 1 WHERE id = :id", id=task_id)

    def age(self, task_id: str, *, seconds: float) -> None:
        """Make all times of a task older."""
        from datetime import timedelta

        with self.rt.unit() as db:
            task = db.get(Task, task_id)
            assert task is not None
            then = utcnow() - timedelta(seconds=seconds)
            task.created_at = task.updated_at = then
            if task.finished_at:
                task.finished_at = then


def die_at_the_end(monkeypatch: Any, kind: str, times: int = 1) -> list[dict[str, Any]]:
    """Workers of the next runs of `kind` die when all is done and nothing is recorded; the results they had."""
    had: list[dict[str, Any]] = []
    original = execute._finish

    def finish(rt: Runtime, run: TaskRun, result: dict[str, Any]) -> None:
        if run.kind == kind and len(had) < times:
            had.append(result)
            raise kinds.Killed
        original(rt, run, result)

    monkeypatch.setattr(execute, "_finish", finish)
    return had


class _Kept:
    def __init__(self, rows: list[Any]) -> None:
        self.rows = rows

    def scalar(self) -> Any:
        return self.rows[0][0] if self.rows else None


class QueryCounter:
    """Statements sent while inside `with`: no list may ask more the longer it is."""

    def __init__(self, rt: Runtime) -> None:
        self.engine, self.statements = rt.engine, []  # type: ignore[var-annotated]

    def _note(self, _conn: Any, _cursor: Any, statement: str, *_: Any) -> None:
        self.statements.append(statement)

    def __enter__(self) -> QueryCounter:
        self.statements.clear()
        event.listen(self.engine, "before_cursor_execute", self._note)
        return self

    def __exit__(self, *_: object) -> None:
        event.remove(self.engine, "before_cursor_execute", self._note)

    def __len__(self) -> int:
        return len(self.statements)
