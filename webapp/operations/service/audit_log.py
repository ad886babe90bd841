"""The audit log, for reading. Entries are written by `webapp.core.audit.record` inside each verb."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import or_, select

from webapp.core.audit import AuditEntry
from webapp.core.context import Ctx
from webapp.core.paging import Page, keyset
from webapp.core.quotas import BY_NAME, amount
from webapp.operations.service.base import admin, is_id
from webapp.operations.service.schedules import every
from webapp.tasks.schedules import in_words

LABELS = {"by_link": "by link", "cron": "when", "interval": "when"}
LISTED = 3  # members of a list that are shown


def audit_log(
    ctx: Ctx,
    *,
    actor: str | None = None,
    action: str | None = None,
    object: str | None = None,
    since: datetime | None = None,
    until: datetime | None = None,
    cursor: str | None = None,
    limit: int = 50,
) -> Page[AuditEntry]:
    """Newest first. `action` may be a whole word (`queue.pause`) or its beginning (`queue`); `object` a kind or an id."""
    stmt = select(AuditEntry)
    if actor:
        stmt = stmt.where(AuditEntry.actor == actor[:64])
    if action:
        stmt = stmt.where(
            or_(AuditEntry.action == action[:64], AuditEntry.action.startswith(f"{action[:63]}.", autoescape=True))
        )
    if object:
        stmt = stmt.where(or_(AuditEntry.object_kind == object[:32], AuditEntry.object_id == object[:100]))
    if since:
        stmt = stmt.where(AuditEntry.at >= since)
    if until:
        stmt = stmt.where(AuditEntry.at < until)
    return keyset(admin(ctx).db, stmt, AuditEntry.id, cursor=cursor, limit=max(1, min(200, limit)))


@dataclass(frozen=True)
class AuditFact:
    """One line of an entry's detail. code: literally what a machine calls it. title: what was shortened."""

    label: str
    value: str
    code: bool = False
    title: str = ""


@dataclass(frozen=True)
class AuditWords:
    """An entry for people. of: what it was done to, by its name where the entry knows it."""

    of: str
    code: bool
    title: str
    facts: list[AuditFact]


def audit_words(entry: AuditEntry) -> AuditWords:
    detail, id = dict(entry.detail or {}), entry.object_id or ""
    name = next((str(detail.pop(key)) for key in ("name", "title", "host") if id and detail.get(key)), "")
    quota = BY_NAME.get(str(detail.get("quota"))) if entry.action.startswith("quota.") else None
    facts = []
    for key, value in detail.items():
        if value is None or value in ("", []):
            continue
        label = LABELS.get(key, key.replace("_", " "))
        if quota is not None and key == "quota":
            facts.append(AuditFact("limit", quota.label))
        elif quota is not None and key in ("before", "after") and isinstance(value, int):
            facts.append(AuditFact(label, amount(quota, value)))
        elif entry.action == "settings.change" and isinstance(value, list) and len(value) == 2:
            facts.append(AuditFact(label, f"{_plain(value[0]) or 'empty'} → {_plain(value[1]) or 'empty'}"))
        else:
            facts.append(_fact(label, value))
    if name:
        return AuditWords(name, False, id, facts)
    return AuditWords(_short(id), True, id if is_id(id) else "", facts)


def _fact(label: str, value: Any) -> AuditFact:
    if isinstance(value, dict):
        return AuditFact(label, _mapping(value))
    if isinstance(value, list):
        some = ", ".join(_short(_plain(one)) for one in value[:LISTED])
        more = f" and {len(value) - LISTED:,} more" if len(value) > LISTED else ""
        return AuditFact(
            label, some + more, True, ", ".join(map(_plain, value[:20])) if more or is_id(value[0]) else ""
        )
    text = _plain(value)
    return AuditFact(label, _short(text), is_id(text), text if is_id(text) or len(text) > 160 else "")


def _mapping(value: dict[str, Any]) -> str:
    if set(value) <= {"cron", "interval"}:
        return in_words(value["cron"]) if value.get("cron") else every(value.get("interval") or 0)
    return ", ".join(f"{key.replace('_', ' ')} {_plain(one)}" for key, one in value.items() if one is not None)


def _plain(value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    return f"{value:,}" if isinstance(value, int) else "" if value is None else str(value)


def _short(text: str) -> str:
    """An id that fits into a line: both ends of it, for ids made in the same second begin alike."""
    if is_id(text):
        return f"{text[:8]}…{text[-4:]}"
    return text if len(text) <= 160 else text[:159] + "…"
