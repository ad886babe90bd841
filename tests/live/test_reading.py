"""What the hub reads is one moment, though it takes two queries."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from types import SimpleNamespace
from typing import Any

import pytest

from tests.conftest import make_cast
from webapp.core.context import Ctx
from webapp.runtime import Runtime
from webapp.tasks import live, service, store
from webapp.tasks.store import Event


def test_what_happens_between_the_two_reads_waits_for_its_bell(rt: Runtime, monkeypatch: pytest.MonkeyPatch) -> None:
    """Else a stream was closed as over without its last event, or counted an event as sent that it never read."""
    with rt.unit() as db:
        task_id = service.start(Ctx(rt, db, make_cast(rt).alice), "summary", {"content": "One. Two."})["id"]
    real_unit = rt.unit
    queries: list[Any] = []

    @contextmanager
    def unit(write: bool = True) -> Iterator[Any]:
        def execute(stmt: Any, *args: Any) -> Any:
            with real_unit(write=write) as db:  # one each: the next query sees the next moment, as with Postgres
                found = db.connection().execute(stmt, *args).all()
            if not queries:
                sets, event = {"status": "cancelled"}, Event("status", "Cancelled")
                assert store.advance(rt, task_id, sets, event, statuses=("queued",)) is not None
            queries.append(stmt)
            return SimpleNamespace(all=lambda: found)

        yield SimpleNamespace(connection=lambda: SimpleNamespace(execute=execute))

    monkeypatch.setattr(rt, "unit", unit)
    [(task, events)] = live.read(rt, [(task_id, 0)])
    assert (task.is_final, [event.seq for event in events]) in ((False, [1]), (True, [1, 2]))
    [(task, events)] = live.read(rt, [(task_id, 1)])
    assert task.is_final
    assert [event.seq for event in events] == [2]
