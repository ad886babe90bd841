"""Views of the list that people keep under a name: their filters, nothing else."""

from __future__ import annotations

from collections.abc import Mapping

from sqlalchemy import ColumnElement, func, select

from webapp.core.context import Ctx
from webapp.core.errors import BadRequest, Conflict, NotFound
from webapp.core.text import clean
from webapp.tasks.models import SavedView

FILTERS = ("q", "status", "kind", "priority", "from", "to")
MOST = 30  # of one person
LONGEST = 60  # characters of a name


def list_(ctx: Ctx) -> list[SavedView]:
    """The caller's, by name. One query."""
    return list(ctx.db.scalars(select(SavedView).where(_mine(ctx)).order_by(SavedView.name)))


def save(ctx: Ctx, name: str, filters: Mapping[str, str]) -> SavedView:
    """Keep these filters; under a name that is there already they take the place of those.

    Raises BadRequest without a name or without a filter, Conflict past the limit.
    """
    name = " ".join(clean(name).split())[:LONGEST]
    kept = {key: clean(value)[:200] for key, value in filters.items() if key in FILTERS and value}
    if not name:
        told = [{"loc": ["name"], "msg": "give the view a name", "type": "missing"}]
        raise BadRequest("name: give the view a name", details=told)
    if not kept:
        raise BadRequest("filters: there is nothing to keep", suggestion="Set a filter first.")
    row = ctx.db.scalar(select(SavedView).where(_mine(ctx), SavedView.name == name))
    if row is None:
        if (ctx.db.scalar(select(func.count()).select_from(SavedView).where(_mine(ctx))) or 0) >= MOST:
            raise Conflict(f"there are {MOST} saved views already", code="too_many", suggestion="Delete one first.")
        row = SavedView(owner_id=ctx.user.id, name=name)
        ctx.db.add(row)
    row.filters = kept
    ctx.db.flush()
    return row


def remove(ctx: Ctx, view_id: str) -> None:
    row = ctx.db.scalar(select(SavedView).where(SavedView.id == view_id[:40], _mine(ctx)))
    if row is None:
        raise NotFound("there is no such view")
    ctx.db.delete(row)
    ctx.db.flush()


def _mine(ctx: Ctx) -> ColumnElement[bool]:
    return SavedView.owner_id == ctx.user.id if ctx.user.id is not None else SavedView.owner_id.is_(None)
