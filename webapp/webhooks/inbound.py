"""Webhooks in: a signed message from elsewhere starts a task of a kind its owner chose.

What a message may say is what the owner mapped: a value by its path into a parameter, checked by the kind like any
other. The signature is of the raw bytes, good for five minutes; an id that was taken is kept for a day.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import timedelta
from typing import Any

from sqlalchemy import delete, func, select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from webapp.core import audit
from webapp.core.context import Actor, Ctx
from webapp.core.db import new_id, utcnow
from webapp.core.errors import BadRequest, Conflict, Forbidden, NotFound, Unauthorized
from webapp.core.sealing import Unreadable, seal, unseal
from webapp.identity import service as identity
from webapp.tasks import service as tasks
from webapp.tasks.kinds import kind_or_400
from webapp.webhooks import signing
from webapp.webhooks.models import InboundHook, InboundReceipt

PURPOSE = "inbound webhook secrets"
MOST = 50  # hooks of one person
MOST_FIELDS, DEEPEST = 30, 10
OVERLAP = timedelta(hours=24)
KEPT = timedelta(hours=24)


def create(
    ctx: Ctx, name: str, kind: str, params: dict[str, Any], fields: Mapping[str, str], secret: str | None = None
) -> tuple[InboundHook, str]:
    """The stored hook and its secret, which is shown this once. Raises BadRequest with the field named."""
    if ctx.user.id is None:
        raise Forbidden("hooks belong to an account; the operator's key has none")
    mine = select(func.count()).where(InboundHook.owner_id == ctx.user.id)
    if ctx.db.scalar(mine) >= MOST:  # type: ignore[operator]
        raise Conflict(f"no more than {MOST} hooks; remove one that is not needed", code="too_many")
    _check(ctx, kind, params, fields)
    secret = signing.checked(secret) if secret else signing.new_secret()
    row = InboundHook(id=new_id(), owner_id=ctx.user.id, name=name.strip(), kind=kind, params=params,
                      fields=dict(fields), secret_sealed=seal(ctx.rt.secret_key, PURPOSE, secret))  # fmt: skip
    ctx.db.add(row)
    ctx.db.flush()
    audit.record(ctx, "hook.added", "inbound hook", row.id, name=row.name, kind=kind)
    return row, secret


def list_(ctx: Ctx) -> list[InboundHook]:
    mine = select(InboundHook).where(InboundHook.owner_id == ctx.user.id)
    return list(ctx.db.scalars(mine.order_by(InboundHook.id.desc())))


def get(ctx: Ctx, hook_id: str) -> InboundHook:
    """The caller's hook. Raises NotFound for a stranger's, exactly as for none."""
    mine = (InboundHook.id == hook_id[:40]) & (InboundHook.owner_id == ctx.user.id)
    row = ctx.db.scalar(select(InboundHook).where(mine))
    if row is None:
        raise NotFound("there is no such hook")
    return row


def change(ctx: Ctx, hook_id: str, **changes: Any) -> InboundHook:
    """name, params, fields, enabled; what is None stays."""
    row = get(ctx, hook_id)
    given = {name: value for name, value in changes.items() if value is not None}
    if "params" in given or "fields" in given:
        _check(ctx, row.kind, given.get("params", row.params), given.get("fields", row.fields))
    for name, value in given.items():
        setattr(row, name, value)
    ctx.db.flush()
    audit.record(ctx, "hook.changed", "inbound hook", row.id, name=row.name, enabled=row.enabled)
    return row


def remove(ctx: Ctx, hook_id: str) -> None:
    row = get(ctx, hook_id)
    audit.record(ctx, "hook.removed", "inbound hook", row.id, name=row.name)
    ctx.db.delete(row)
    ctx.db.flush()


def rotate(ctx: Ctx, hook_id: str) -> tuple[InboundHook, str]:
    """A new secret, shown this once; the old one is good for another day."""
    row = get(ctx, hook_id)
    fresh = signing.new_secret()
    row.old_secret_sealed, row.old_secret_until = row.secret_sealed, utcnow() + OVERLAP
    row.secret_sealed = seal(ctx.rt.secret_key, PURPOSE, fresh)
    ctx.db.flush()
    audit.record(ctx, "hook.secret_changed", "inbound hook", row.id, name=row.name)
    return row, fresh


# -- a message comes -------------------------------------------------------------------------------------------------


def receive(ctx: Ctx, hook_id: str, headers: Mapping[str, str], body: bytes) -> tuple[str, bool]:
    """(task id, whether it was started now). A message that was taken before starts nothing.

    Raises Unauthorized (always the same words), NotFound for one that is turned off, BadRequest for a body or values the kind does not take.
    """
    row = ctx.db.scalar(select(InboundHook).where(InboundHook.id == hook_id[:40]))
    # One that is not there refuses as one that is: only who has the secret learns which.
    message_id = signing.verify(_secrets(ctx, row) if row else [], headers, body)
    if row is None or not row.enabled:
        raise NotFound("there is no such hook")
    taken = _taken(ctx.db, row.id, message_id)
    if taken is not None:
        return taken, False
    ctx.user = _owner(ctx, row)
    params = {**row.params, **_mapped(row.fields, _read(body))}
    task_id = str(tasks.start(ctx, row.kind, params, title=row.name, asked=True)["id"])
    try:
        ctx.db.add(InboundReceipt(hook_id=row.id, message_id=message_id, task_id=task_id))
        row.received, row.last_at, row.last_task_id = row.received + 1, utcnow(), task_id
        ctx.db.flush()
    except IntegrityError:  # the same message, at the same moment; the whole unit goes, and with it the second task
        raise Conflict("this message is just being taken", code="duplicate") from None
    return task_id, True


def forget(db: Session) -> int:
    """Delete receipts that no good signature can come back to."""
    return int(db.execute(delete(InboundReceipt).where(InboundReceipt.at < utcnow() - KEPT)).rowcount)  # type: ignore[attr-defined]


def _taken(db: Session, hook_id: str, message_id: str) -> str | None:
    mine = (InboundReceipt.hook_id == hook_id) & (InboundReceipt.message_id == message_id)
    return db.scalar(select(InboundReceipt.task_id).where(mine))


def _secrets(ctx: Ctx, row: InboundHook) -> list[str]:
    sealed = [row.secret_sealed]
    if row.old_secret_sealed and row.old_secret_until and row.old_secret_until > utcnow():
        sealed.append(row.old_secret_sealed)
    try:
        return [unseal(ctx.rt.secret_key, PURPOSE, one) for one in sealed]
    except Unreadable:
        raise Unauthorized("the hook's secret cannot be read any more; give it a new one") from None


def _owner(ctx: Ctx, row: InboundHook) -> Actor:
    """Whoever set the hook up, with what they may now. A suspended person's hook does nothing."""
    actor = identity.actor_of(ctx.db, row.owner_id)
    if actor is None:
        raise NotFound("there is no such hook")
    return actor


def _read(body: bytes) -> Any:
    try:
        return json.loads(body)
    except (ValueError, RecursionError):
        raise BadRequest("the body is not valid JSON", code="bad_json") from None


def _mapped(fields: Mapping[str, str], message: Any) -> dict[str, Any]:
    """Parameters from the message. Raises BadRequest naming the parameter whose path leads nowhere."""
    found = {}
    for parameter, path in fields.items():
        value = message
        for part in path.split("."):
            if isinstance(value, list) and part.isdigit() and int(part) < len(value):
                value = value[int(part)]
            elif isinstance(value, dict) and part in value:
                value = value[part]
            else:
                raise _bad(parameter, f"the message has no {path[:100]}")
        found[parameter] = value
    return found


def _check(ctx: Ctx, kind_name: str, params: dict[str, Any], fields: Mapping[str, str]) -> None:
    """The fixed parameters fit the kind, as far as can be said before a message brings the others."""
    kind = kind_or_400(kind_name, hidden=False)
    known = {info.alias or name for name, info in kind.params.model_fields.items()}
    if len(fields) > MOST_FIELDS:
        raise _bad("fields", f"no more than {MOST_FIELDS}")
    for name, path in fields.items():
        if name not in known:
            raise _bad("fields", f"{kind.label} has no parameter {name[:60]}")
        if not path or len(path) > 200 or path.count(".") >= DEEPEST or "" in path.split("."):
            raise _bad("fields", f"{name}: write the place in the message as a.b.c")
    if fields:
        unknown = sorted(set(params) - known)
        if unknown:
            raise _bad("params", f"{kind.label} has no parameter {unknown[0][:60]}")
        return  # what the message brings may be just what makes the rest valid
    try:
        kind.check(params)
    except BadRequest as exc:
        raise _bad("params", exc.message) from None


def _bad(field: str, message: str) -> BadRequest:
    return BadRequest(f"{field}: {message}", code="invalid_config",
                      details=[{"loc": [field], "msg": message, "type": "value_error"}])  # fmt: skip
