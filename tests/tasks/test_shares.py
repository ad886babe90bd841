"""One person's tasks leave the last thread of a queue to other people (A46)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from tests.conftest import Cast, Services, make_cast
from tests.fakes.lab import Lab
from webapp.tasks import execute, store
from webapp.tasks.store import Row
from webapp.tasks.worker import Shares, WorkerHost

THREADS = {"BRAINSTEM_WORKER_THREADS": "inference=3"}


@pytest.fixture(params=["embedded", pytest.param("distributed", marks=pytest.mark.services)])
def shared(request: pytest.FixtureRequest, make_rt: Callable[..., Any]) -> tuple[Lab, Cast]:
    services: Services | None = None
    if request.param == "distributed":
        services = request.getfixturevalue("swept_services")
    rt = make_rt(AUTH_REQUIRED="1", **THREADS, **(services.env if services else {}))
    return Lab(rt), make_cast(rt)


def taken(lab: Lab, shares: Shares) -> Row | None:
    return shares.claim("inference", lambda full: store.claim(lab.rt, "inference", "w", 30.0, None, full))


def test_the_last_thread_is_for_somebody_else(shared: tuple[Lab, Cast]) -> None:
    lab, cast = shared
    shares = Shares(lab.rt)
    mine = [lab.start(cast.alice) for _ in range(5)]
    first, second = taken(lab, shares), taken(lab, shares)
    assert [row.id for row in (first, second) if row] == mine[:2]
    assert taken(lab, shares) is None, "three of hers wait, and the thread stays free"
    theirs = lab.start(cast.bob)
    row = taken(lab, shares)
    assert row is not None
    assert row.id == theirs
    assert first is not None
    woken: list[str] = []
    lab.rt.wake = lambda queue, task_id: woken.append(queue)
    shares.done("inference", first.owner_id, first.id)
    assert woken == ["inference"], "hers are looked for anew"
    third = taken(lab, shares)
    assert third is not None
    assert third.id == mine[2]


def test_the_system_has_no_share(shared: tuple[Lab, Cast]) -> None:
    lab, _ = shared
    shares = Shares(lab.rt)
    made = [lab.start_kind("test.script", {}) for _ in range(3)]
    assert [row.id for row in (taken(lab, shares) for _ in range(3)) if row] == made


def test_what_ends_in_whatever_way_gives_its_place_back(shared: tuple[Lab, Cast]) -> None:
    from tests.fakes import kinds

    lab, cast = shared
    host = WorkerHost(lab.rt, "all", ("inference",))
    kinds.scripts["die"] = _die
    for script in ("ok", "missing", "die", "ok", "ok"):
        lab.start(cast.alice, script)
    for _ in range(5):
        try:
            execute.run_next(lab.rt, host, "inference")
        except kinds.Killed:
            continue
    assert not host.shares._running


def _die(run: Any) -> None:
    from tests.fakes.kinds import Killed

    raise Killed


@pytest.mark.parametrize(
    "env", [{}, {"AUTH_REQUIRED": "1", "BRAINSTEM_WORKER_THREADS": "inference=2"}], ids=["alone", "two"]
)
def test_where_nobody_logs_in_or_two_threads_are_all_there_is_no_share(
    make_rt: Callable[..., Any], env: dict[str, str]
) -> None:
    rt = make_rt(**{**THREADS, **env})
    lab, cast, shares = Lab(rt), make_cast(rt), Shares(rt)
    for _ in range(3):
        lab.start(cast.alice)
    assert len([row for row in (taken(lab, shares) for _ in range(3)) if row]) == 3
