"""What the statistics add up, against the same tasks counted one by one."""

from __future__ import annotations

import random
import statistics as plain
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from tests.conftest import Cast, make_cast
from tests.fakes.lab import Lab, QueryCounter
from webapp.core.context import Actor
from webapp.core.db import utcnow
from webapp.core.errors import BadRequest
from webapp.insight import service as insight
from webapp.runtime import Runtime
from webapp.tasks import service, statistics
from webapp.tasks.models import Task
from webapp.tasks.statistics import JUDGED, Report, percentile

NOON = datetime(2026, 3, 10, 12, 0, tzinfo=UTC)


@pytest.fixture
def lab(both_rt: Runtime) -> Lab:
    return Lab(both_rt)


@pytest.fixture
def cast(both_rt: Runtime) -> Cast:
    return make_cast(both_rt)


def put(lab: Lab, who: Actor, *, ended: datetime | None = NOON, took: float | None = 1.0, waited: float = 0.5,
        status: str = "completed", kind: str = "test.script", **more: Any) -> str:  # fmt: skip
    """A task that is over (or, without `ended`, is not), with the times it had."""
    task_id = lab.start(who, kind=kind)
    with lab.rt.unit() as db:
        row = db.get(Task, task_id)
        assert row is not None
        row.status, row.finished_at = status, ended
        if ended is not None and took is not None:
            row.started_at = ended - timedelta(seconds=took)
            row.created_at = row.started_at - timedelta(seconds=waited)
        for name, value in more.items():
            setattr(row, name, value)
    return task_id


def ask(lab: Lab, who: Actor, days: int = 1, **more: Any) -> Report:
    with lab.as_(who, write=False) as ctx:
        return statistics.report(ctx, NOON - timedelta(days=days), NOON + timedelta(hours=1), **more)


def test_counts_rates_and_times(lab: Lab, cast: Cast) -> None:
    for took in (1, 2, 3, 4):
        put(lab, cast.alice, took=took, waited=took / 10)
    put(lab, cast.alice, status="failed", took=10, waited=1)
    put(lab, cast.alice, status="timed_out", took=20, waited=1)
    put(lab, cast.alice, status="cancelled", took=500, waited=2)
    put(lab, cast.alice, status="cancelled", took=None)
    put(lab, cast.alice, ended=None, status="queued")
    put(lab, cast.alice, ended=None, status="running")
    found = ask(lab, cast.alice)
    total = found.total
    assert (total.ended, total.completed, total.failed, total.cancelled) == (8, 4, 2, 2)
    assert (total.success_rate, total.error_rate) == (4 / 6, 2 / 6)
    assert (total.waiting, total.running) == (1, 1)
    assert total.average == pytest.approx((1 + 2 + 3 + 4 + 10 + 20) / 6)
    assert [total.duration(percent) for percent in (50, 90, 99)] == [3, 20, 20]
    assert found.wait(100) == 2, "what was cancelled had waited too"
    assert (found.waited.total(), total.began) == (7, 7)
    assert total.average_wait == pytest.approx((0.1 + 0.2 + 0.3 + 0.4 + 1 + 1 + 2) / 7)


def test_nothing_is_none_and_not_zero(lab: Lab, cast: Cast) -> None:
    found = ask(lab, cast.alice)
    total = found.total
    assert (total.ended, total.success_rate, total.error_rate, total.average) == (0, None, None, None)
    assert (total.duration(50), found.wait(50), total.average_wait) == (None, None, None)


def test_whose_tasks(lab: Lab, cast: Cast) -> None:
    put(lab, cast.alice)
    put(lab, cast.bob)
    put(lab, cast.root)
    assert ask(lab, cast.alice).total.ended == 1
    assert ask(lab, cast.alice, everyone=True).total.ended == 1, "only administrators see everybody's"
    assert ask(lab, cast.root).total.ended == 1
    assert ask(lab, cast.root, everyone=True).total.ended == 3
    assert ask(lab, cast.charlie).total.ended == 0


def test_parts_and_upkeep_are_not_counted(lab: Lab, cast: Cast) -> None:
    whole = put(lab, cast.alice)
    put(lab, cast.alice, parent_id=whole, step="a")
    upkeep = put(lab, cast.root)
    lab.sql("UPDATE tasks SET kind = 'maintenance.health' WHERE id = :id", id=upkeep)
    assert ask(lab, cast.root, everyone=True).total.ended == 1


def test_the_edges_of_the_range(lab: Lab, cast: Cast) -> None:
    for ended in (NOON - timedelta(days=1), NOON + timedelta(hours=1, microseconds=-1)):
        put(lab, cast.alice, ended=ended)
    for ended in (NOON - timedelta(days=1, microseconds=1), NOON + timedelta(hours=1)):
        put(lab, cast.alice, ended=ended, status="failed")
    assert ask(lab, cast.alice).total.by_status == {"completed": 2}


def test_by_kind_by_agent_and_over_time(lab: Lab, cast: Cast) -> None:
    put(lab, cast.alice, kind="test.crawl", agent_id="qa", took=4)
    put(lab, cast.alice, kind="test.crawl", agent_id="qa", status="failed", took=2)
    put(lab, cast.alice, kind="test.script", agent_id="general", ended=NOON - timedelta(hours=3), took=6, waited=2)
    put(lab, cast.alice, ended=None, status="queued", agent_id="qa")
    found = ask(lab, cast.alice)
    assert [(one.name, one.ended) for one in found.kinds] == [("test.crawl", 2), ("test.script", 1)]
    assert [(one.name, one.ended, one.success_rate, one.waiting) for one in found.agents] == [
        ("qa", 2, 0.5, 1), ("general", 1, 1.0, 0)]  # fmt: skip
    assert found.agents[0].duration(99) == 4
    assert found.agents[0].average == 3
    assert found.agents[0].average_wait == 0.5
    busy = [
        (slot.at.hour, dict(slot.by_status), slot.average, slot.average_wait) for slot in found.slots if slot.by_status
    ]
    assert busy == [(9, {"completed": 1}, 6.0, 2.0), (12, {"completed": 1, "failed": 1}, 3.0, 0.5)]
    assert len(found.slots) == 25
    one_kind = ask(lab, cast.alice, kind="test.crawl")
    assert (one_kind.total.ended, [one.name for one in one_kind.kinds]) == (2, ["test.crawl"])


def test_days_are_cut_at_midnight(lab: Lab, cast: Cast) -> None:
    midnight = NOON.replace(hour=0)
    put(lab, cast.alice, ended=midnight)
    put(lab, cast.alice, ended=midnight - timedelta(microseconds=1), status="failed")
    slots = ask(lab, cast.alice, days=7).slots
    assert len(slots) == 8
    assert {slot.at.day: dict(slot.by_status) for slot in slots if slot.by_status} == {
        9: {"failed": 1},
        10: {"completed": 1},
    }


def test_percentiles_are_those_of_the_tasks(lab: Lab, cast: Cast) -> None:
    """Against a sorted list: at most a twentieth too small, and never too large."""
    chance = random.Random(7)
    took = [round(chance.lognormvariate(1, 2), 3) + 0.001 for _ in range(150)]
    for seconds in took:
        put(lab, cast.alice, took=seconds)
    figures = ask(lab, cast.alice).total
    for percent in (1, 10, 50, 90, 99, 100):
        need = max(1, -(-len(took) * percent // 100))
        exact = sorted(took)[need - 1]
        told = figures.duration(percent)
        assert told is not None
        assert exact * 0.95 - 0.006 <= told <= exact + 0.001
    assert figures.average == pytest.approx(plain.fmean(took), rel=1e-3)


def test_a_percentile_is_a_value_that_occurred() -> None:
    from collections import Counter

    assert percentile(Counter(), 50) is None
    assert percentile(Counter({1000: 1}), 99) == 1.0
    assert percentile(Counter({1000: 99, 5000: 1}), 99) == 1.0
    assert percentile(Counter({1000: 98, 5000: 2}), 99) == 5.0


def test_a_range_that_cannot_be(lab: Lab, cast: Cast) -> None:
    with lab.as_(cast.alice, write=False) as ctx:
        for since, until in ((NOON, NOON), (NOON, NOON - timedelta(days=1)), (NOON - timedelta(days=500), NOON)):
            with pytest.raises(BadRequest):
                statistics.report(ctx, since, until)


@pytest.mark.parametrize("verb", ["report", "summary"])
def test_as_many_questions_for_many_tasks_as_for_none(lab: Lab, cast: Cast, verb: str) -> None:
    def questions() -> int:
        with lab.as_(cast.alice, write=False) as ctx, QueryCounter(lab.rt) as seen:
            if verb == "report":
                insight.of_tasks(ctx, insight.chosen("30d"))
            else:
                insight.summary(ctx)
        return len(seen)

    before = questions()
    for number in range(30):
        at = utcnow() - timedelta(days=number % 10)
        put(lab, cast.alice, ended=at, status=("completed", "failed")[number % 2], agent_id=f"agent-{number}")
    assert questions() == before <= 5


def test_what_is_over_is_added_up_once(lab: Lab, cast: Cast) -> None:
    """100,000 tasks of the days before take a third of a second to add up; the next look is at today's only."""

    def asked() -> tuple[int, int]:
        with lab.as_(cast.alice, write=False) as ctx, QueryCounter(lab.rt) as seen:
            found = statistics.report(ctx, NOON - timedelta(days=1), NOON + timedelta(hours=1))
        return found.total.ended, sum("GROUP BY" in text and "UNION ALL" in text for text in seen.statements)

    first = put(lab, cast.alice)
    assert asked() == (1, 1)
    assert asked() == (1, 0)
    put(lab, cast.bob)
    assert asked() == (1, 0), "whatever others do"
    assert ask(lab, cast.bob).total.ended == 1
    second = put(lab, cast.alice, ended=NOON - timedelta(hours=1))
    assert asked() == (2, 1), "one that ended late"
    with lab.rt.unit() as db:
        db.delete(db.get(Task, first))
    assert asked() == (1, 1), "one that was deleted"
    with lab.rt.unit() as db:
        row = db.get(Task, second)
        assert row is not None
        row.status, row.finished_at = "queued", None
    assert asked() == (0, 1), "one that was tried again"


def test_today_is_counted_at_every_look(lab: Lab, cast: Cast) -> None:
    def total() -> int:
        with lab.as_(cast.alice, write=False) as ctx:
            return insight.of_tasks(ctx, insight.chosen("7d")).total.ended

    today = utcnow()
    for number in range(1, 4):
        put(lab, cast.alice, ended=today - timedelta(days=2))
        put(lab, cast.alice, ended=today)
        assert total() == total() == 2 * number


def test_a_process_keeps_so_many_sums() -> None:
    kept = statistics._Kept()
    for number in range(statistics.KEPT + 1):
        kept.put(number, "traces", [number])
        assert kept.get(0, "traces") == [0], "what is used stays"
    assert kept.get(1, "traces") is None
    assert kept.get(2, "other traces") is None


def test_sqlite_reads_nothing_but_the_index(rt: Runtime) -> None:
    """The rows hold texts and results; to read those of 100,000 tasks takes seconds."""
    lab, cast = Lab(rt), make_cast(rt)
    with lab.as_(cast.alice, write=False) as ctx, QueryCounter(rt) as seen:
        insight.of_tasks(ctx, insight.chosen("30d"))
        statistics.summary(ctx)
    seen.statements = [text for text in seen.statements if "FROM tasks" in text]
    with rt.engine.connect() as connection:
        for statement in seen.statements:
            many = statement.count("?")
            plan = connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {statement}", ("2026-01-01",) * many).all()
            touched = [row[3] for row in plan if "tasks" in row[3]]
            assert touched
            assert all("COVERING INDEX" in line for line in touched), touched


# -- ranges ----------------------------------------------------------------------------------------------------------


def test_ranges_are_whole_hours_and_days() -> None:
    now = datetime(2026, 3, 10, 12, 34, 56, tzinfo=UTC)
    day = insight.chosen("24h", now=now)
    assert (day.since, day.until) == (datetime(2026, 3, 9, 13, tzinfo=UTC), datetime(2026, 3, 10, 13, tzinfo=UTC))
    week = insight.chosen(now=now)
    assert (week.name, week.since, week.until) == (
        "7d", datetime(2026, 3, 4, tzinfo=UTC), datetime(2026, 3, 11, tzinfo=UTC))  # fmt: skip
    own = insight.chosen("", "2026-02-01", "2026-02-28")
    assert (own.name, own.since, own.until) == (
        "", datetime(2026, 2, 1, tzinfo=UTC), datetime(2026, 3, 1, tzinfo=UTC))  # fmt: skip
    for wrong in (("1y", "", ""), ("", "yesterday", ""), ("", "", "2026-02-31"), ("", "0001-01-01", ""),
                  ("", "", "9999-12-31")):  # fmt: skip
        with pytest.raises(BadRequest):
            insight.chosen(*wrong)


# -- ECEEE -----------------------------------------------------------------------------------------------------------


def test_the_summary_of_a_client(lab: Lab, cast: Cast) -> None:
    put(lab, cast.alice, took=2)
    put(lab, cast.alice, took=4, status="failed")
    put(lab, cast.alice, status="cancelled", took=100, kind="test.crawl")
    put(lab, cast.alice, ended=None, status="retrying")
    put(lab, cast.bob)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(service, "new_id", lambda: "01900000-0000-7000-8000-000000000000")  # of another day
        put(lab, cast.alice)
    with lab.as_(cast.alice, write=False) as ctx:
        told = insight.summary(ctx)
    assert told["total_tasks"] == 5
    assert told["by_status"] == {"pending": 0, "running": 1, "completed": 2, "failed": 1, "cancelled": 1}
    assert told["by_type"] == {"test.script": 4, "test.crawl": 1}
    assert told["success_rate"] == pytest.approx(2 / 3, abs=1e-4)
    assert told["average_duration_seconds"] == pytest.approx((2 + 4 + 1) / 3, abs=1e-3)
    assert (told["tasks_today"], told["active_tasks"]) == (4, 1)
    assert told["popular_templates"] == []
    assert set(JUDGED) == {"completed", "failed", "timed_out"}
