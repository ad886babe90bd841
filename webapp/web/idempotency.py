"""`Idempotency-Key` on POST: the first answer is kept a day and given again to the same request.

The key's row is written in the handler's own transaction: either both the task and its answer are there, or neither.
Draft: IETF httpapi idempotency-key-header.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable

from flask import Response, request
from sqlalchemy import insert, select
from sqlalchemy.exc import IntegrityError

from webapp.core.context import Ctx
from webapp.core.db import utcnow
from webapp.core.errors import BadRequest, Conflict, Invalid
from webapp.core.models import IdempotencyKey


def replayable(ctx: Ctx, answer: Callable[[], Response]) -> Response:
    key = request.headers["Idempotency-Key"].strip()
    if not 1 <= len(key) <= 200 or not key.isprintable():
        raise BadRequest("Idempotency-Key: 1 to 200 printable characters")
    owner = ctx.user.id or "anonymous"
    mark = hashlib.sha256(f"{request.method} {request.path}\n".encode() + request.get_data(cache=True)).hexdigest()
    kept = _look(ctx, owner, key)
    if kept is None:
        try:
            with ctx.db.begin_nested():
                ctx.db.execute(
                    insert(IdempotencyKey).values(owner_id=owner, key=key, fingerprint=mark, created_at=utcnow())
                )
        except IntegrityError:  # the twin request committed while we waited for its lock
            kept = _look(ctx, owner, key)
    if kept is not None:
        return _again(kept, mark)
    response = answer()
    ctx.db.execute(
        IdempotencyKey.__table__.update()  # type: ignore[attr-defined]
        .where(IdempotencyKey.owner_id == owner, IdempotencyKey.key == key)
        .values(status=response.status_code, body=response.get_data(as_text=True))
    )
    return response


def _look(ctx: Ctx, owner: str, key: str) -> IdempotencyKey | None:
    return ctx.db.scalar(select(IdempotencyKey).where(IdempotencyKey.owner_id == owner, IdempotencyKey.key == key))


def _again(kept: IdempotencyKey, mark: str) -> Response:
    if kept.fingerprint != mark:
        raise Invalid("this Idempotency-Key was used for a different request", code="idempotency_mismatch")
    if kept.status is None:
        raise Conflict("the first request with this Idempotency-Key has not ended", retry_after=1)
    return Response(kept.body or "", kept.status, {"Idempotency-Replayed": "true"}, mimetype="application/json")
