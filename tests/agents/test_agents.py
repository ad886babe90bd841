"""The agents of the program are there once, everybody may use them, and a stranger's own is not found."""

from __future__ import annotations

import threading

import pytest
from sqlalchemy import select

from tests.conftest import make_cast
from webapp.agents import service
from webapp.agents.models import Agent
from webapp.agents.seeds import SEEDS
from webapp.core.context import ANONYMOUS, Ctx
from webapp.core.errors import NotFound
from webapp.runtime import Runtime


def test_the_five_are_there_in_their_order(both_rt: Runtime) -> None:
    with both_rt.unit(write=False) as db:
        found = service.list_(Ctx(both_rt, db, ANONYMOUS))
        assert [one.key for one in found] == ["research", "analysis", "qa", "general", "tinyllama"]
        assert all(one.prompt and one.description and one.config["max_tokens"] for one in found)
        qa = service.get(Ctx(both_rt, db, ANONYMOUS), "qa")
        assert service.get(Ctx(both_rt, db, ANONYMOUS), qa.id) is qa


def test_seeding_again_changes_nothing_and_an_older_text_is_brought_up_to_date(both_rt: Runtime) -> None:
    with both_rt.unit() as db:
        before = {row.key: row.id for row in db.scalars(select(Agent))}
        row = db.scalar(select(Agent).where(Agent.key == "qa"))
        assert row is not None
        row.prompt = "as an older version had it"
    threads = [threading.Thread(target=service.ensure_seeded, args=(both_rt,)) for _ in range(4)]
    [thread.start() for thread in threads]
    [thread.join() for thread in threads]
    with both_rt.unit(write=False) as db:
        rows = list(db.scalars(select(Agent)))
        assert {row.key: row.id for row in rows} == before
        assert {row.key: row.prompt for row in rows} == {seed.key: seed.prompt for seed in SEEDS}


def test_an_agent_of_ones_own_is_for_nobody_else(both_rt: Runtime) -> None:
    cast = make_cast(both_rt)
    with both_rt.unit() as db:
        own = Agent(owner_id=cast.alice.id, name="Mine")
        db.add_all([own, Agent(owner_id=cast.alice.id, name="Asleep", is_active=False)])
        db.flush()
        alice, charlie = Ctx(both_rt, db, cast.alice), Ctx(both_rt, db, cast.charlie)
        assert [one.name for one in service.list_(alice)][5:] == ["Mine"]
        assert [one.name for one in service.list_(alice, active_only=False)][5:] == ["Asleep", "Mine"]
        assert service.get(alice, own.id).name == "Mine"
        assert len(service.list_(charlie)) == 5
        for key in (own.id, "nobody", ""):
            with pytest.raises(NotFound, match="no such agent"):
                service.get(charlie, key)
