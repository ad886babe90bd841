"""What people have used of what they may, and the limits administrators give them."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import select

from webapp.core import audit, quotas
from webapp.core.context import Ctx
from webapp.core.db import Base, after_commit
from webapp.core.errors import BadRequest, Forbidden, Invalid, NotFound
from webapp.core.quotas import BY_NAME, QUOTAS, Quota, QuotaGrant
from webapp.engines import calls
from webapp.files import service as files
from webapp.tasks import room

NEAR = 0.8  # of a limit: from here on people are told before they meet it
MOST = 10**15


@dataclass(frozen=True)
class Meter:
    """One quota of one person. limit: None without one. frees_at: when what is used becomes less, where that is known.
    own: an administrator gave this person a limit of their own."""

    quota: Quota
    used: int
    limit: int | None
    frees_at: datetime | None
    own: bool = False

    @property
    def name(self) -> str:
        return self.quota.name

    @property
    def share(self) -> float | None:
        """0..1 and more; None without a limit."""
        return None if self.limit is None else self.used / self.limit if self.limit else 1.0

    @property
    def percent(self) -> int | None:
        return None if self.share is None else min(100, int(self.share * 100))

    @property
    def tone(self) -> str:
        share = self.share or 0.0
        return "bad" if share >= 1 else "warn" if share >= NEAR else "accent"

    @property
    def used_words(self) -> str:
        return quotas.amount(self.quota, self.used)

    @property
    def limit_words(self) -> str:
        return "no limit" if self.limit is None else quotas.amount(self.quota, self.limit)


@dataclass(frozen=True)
class Grant:
    username: str
    user_id: str
    quota: Quota
    most: int | None
    set_by: str
    set_at: datetime


def meter(ctx: Ctx) -> list[Meter]:
    """The caller's own; empty for who is no person. Five queries."""
    return _meter(ctx, ctx.user.id) if ctx.user.id is not None else []


def near(ctx: Ctx) -> list[Meter]:
    """Those of the caller's that are nearly or wholly used. No query for somebody without limits."""
    if ctx.user.id is None or not any(limit is not None for limit in _limits(ctx, ctx.user.id).values()):
        return []
    return [one for one in meter(ctx) if one.share is not None and one.share >= NEAR]


def meter_of(ctx: Ctx, user_id: str) -> list[Meter]:
    """Anybody's. Raises NotFound."""
    _name_of(_admin(ctx), user_id)
    return _meter(ctx, user_id)


def _limits(ctx: Ctx, user_id: str) -> dict[str, int | None]:
    return quotas.limits_of(ctx.rt, user_id, ctx.db)


def _meter(ctx: Ctx, user_id: str) -> list[Meter]:
    opened, today = room.usage(ctx.db, user_id)
    stored, files_go = files.usage(ctx.rt, ctx.db, user_id)
    used = {"open_tasks": opened, "tasks_per_day": today, "stored_bytes": stored,
            "tokens_per_day": calls.tokens_of(ctx.db, user_id, quotas.today())}  # fmt: skip
    own = set(ctx.db.scalars(select(QuotaGrant.name).where(QuotaGrant.user_id == user_id)))
    limits = _limits(ctx, user_id)
    return [
        Meter(quota, used[quota.name], limits[quota.name],
              quotas.midnight() if quota.daily else files_go if quota.name == "stored_bytes" else None,
              quota.name in own)
        for quota in QUOTAS
    ]  # fmt: skip


# -- limits of their own ---------------------------------------------------------------------------------------------


def grants(ctx: Ctx) -> list[Grant]:
    """All limits that were given to single people, by name."""
    people = Base.metadata.tables["users"].c
    rows = _admin(ctx).db.execute(
        select(people.username, QuotaGrant)
        .join(QuotaGrant, QuotaGrant.user_id == people.id)
        .order_by(people.username, QuotaGrant.name)
        .limit(1000)
    )
    return [Grant(name, row.user_id, BY_NAME[row.name], row.most, row.set_by, row.set_at)
            for name, row in rows if row.name in BY_NAME]  # fmt: skip


def grant(ctx: Ctx, user_id: str, name: str, most: int | None) -> None:
    """Give somebody a limit of their own, in the quota's unit; None is without limit."""
    quota, username = _quota(name), _name_of(_admin(ctx), user_id)
    if most is not None and not 0 <= most <= MOST:
        raise Invalid(f"{name}: give a number from 0 to {MOST:,}",
                      details=[{"loc": ["limit"], "msg": f"0 to {MOST:,}", "type": "value_error"}])  # fmt: skip
    row = ctx.db.get(QuotaGrant, (user_id, name))
    before = "default" if row is None else row.most
    if row is None:
        row = QuotaGrant(user_id=user_id, name=name)
        ctx.db.add(row)
    row.most, row.set_by = most, ctx.user.username[:64]
    audit.record(ctx, "quota.grant", "user", user_id, name=username, quota=quota.name, before=_said(before),
                 after=_said(most))  # fmt: skip
    _changed(ctx)


def take_back(ctx: Ctx, user_id: str, name: str) -> None:
    """The default counts for them again. Raises NotFound where they had no limit of their own."""
    quota, username = _quota(name), _name_of(_admin(ctx), user_id)
    row = ctx.db.get(QuotaGrant, (user_id, name))
    if row is None:
        raise NotFound(f"{username} has no limit of their own for {name}")
    ctx.db.delete(row)
    audit.record(ctx, "quota.default", "user", user_id, name=username, quota=quota.name, before=_said(row.most))
    _changed(ctx)


def _said(most: int | str | None) -> int | str:
    return "no limit" if most is None else most


def _changed(ctx: Ctx) -> None:
    ctx.db.flush()
    rt = ctx.rt
    after_commit(ctx.db, lambda: quotas.forget(rt))


def _quota(name: str) -> Quota:
    if name not in BY_NAME:
        known = ", ".join(BY_NAME)
        raise BadRequest(f"there is no quota {name[:40]!r}", suggestion=f"Use one of: {known}.", code="unknown_quota",
                         details=[{"loc": ["name"], "msg": f"use one of {known}", "type": "enum"}])  # fmt: skip
    return BY_NAME[name]


def _name_of(ctx: Ctx, user_id: str) -> str:
    people = Base.metadata.tables["users"].c
    name = ctx.db.scalar(select(people.username).where(people.id == user_id[:40]))
    if name is None:
        raise NotFound("There is no such account.")
    return str(name)


def _admin(ctx: Ctx) -> Ctx:
    if not ctx.user.is_admin:
        raise Forbidden("this is for administrators")
    return ctx
