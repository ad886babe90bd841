"""Agents: those that come with the program and a person's own. The orchestrator's `route` is offered here too."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sqlalchemy import case, or_, select
from sqlalchemy.dialects import postgresql, sqlite

from webapp.agents.models import Agent
from webapp.agents.routing import AGENTS, Route, chosen, route
from webapp.agents.seeds import KEYS, SEEDS
from webapp.core.context import Ctx
from webapp.core.db import new_id, utcnow
from webapp.core.errors import NotFound

if TYPE_CHECKING:
    from sqlalchemy import ColumnElement

    from webapp.runtime import Runtime

__all__ = ["AGENTS", "KEYS", "Agent", "Route", "chosen", "ensure_seeded", "get", "list_", "route"]

MOST = 500
UPSERT: dict[str, Any] = {"sqlite": sqlite.insert, "postgresql": postgresql.insert}


def ensure_seeded(rt: Runtime) -> None:
    """Bring the rows of SEEDS to this version's words. Safe to run at each start and from many processes at once."""
    with rt.unit(write=False) as db:
        rows = {row.key: row for row in db.scalars(select(Agent).where(Agent.key.in_(KEYS)))}
    words = [
        {
            "key": seed.key,
            "name": seed.name,
            "description": seed.description,
            "prompt": seed.prompt,
            "config": seed.config,
        }
        for seed in SEEDS
    ]
    changed = [
        one
        for one in words
        if one["key"] not in rows or any(getattr(rows[one["key"]], name) != one[name] for name in one)
    ]
    if not changed:
        return
    now = utcnow()
    with rt.unit() as db:
        insert = UPSERT[db.get_bind().dialect.name]
        for one in changed:
            statement = insert(Agent).values(
                id=new_id(), model_name="", is_active=True, created_at=now, updated_at=now, **one
            )
            db.execute(statement.on_conflict_do_update(index_elements=["key"], set_={**one, "updated_at": now}))


def list_(ctx: Ctx, *, active_only: bool = True) -> list[Agent]:
    """Those the caller may use: the program's in their order, then own ones by name."""
    place = case({key: number for number, key in enumerate(KEYS)}, value=Agent.key, else_=len(KEYS))
    stmt = select(Agent).where(_usable(ctx)).order_by(place, Agent.name, Agent.id).limit(MOST)
    return list(ctx.db.scalars(stmt.where(Agent.is_active) if active_only else stmt))


def get(ctx: Ctx, key_or_id: str) -> Agent:
    """By key or id. Raises NotFound for none and for a stranger's, alike."""
    wanted = key_or_id[:40]
    row = ctx.db.scalar(select(Agent).where(or_(Agent.key == wanted, Agent.id == wanted), _usable(ctx)))
    if row is None:
        raise NotFound("there is no such agent", suggestion=f"Use auto or one of: {', '.join(KEYS)}")
    return row


def _usable(ctx: Ctx) -> ColumnElement[bool]:
    return or_(Agent.owner_id.is_(None), Agent.owner_id == ctx.user.id) if ctx.user.id else Agent.owner_id.is_(None)
