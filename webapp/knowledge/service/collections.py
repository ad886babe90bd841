"""Collections: who has one, who may read it, who may change it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from sqlalchemy import ColumnElement, and_, false, func, or_, select, true
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from webapp.core.context import Actor, Ctx
from webapp.core.db import utcnow
from webapp.core.errors import BadRequest, Conflict, Forbidden, NotFound
from webapp.embedding import service as embedding
from webapp.knowledge.models import Collection, CollectionShare, Document, Source

MAX_COLLECTIONS = 500
MAX_SHARES = 200
DEFAULT_NAME = "My documents"


@dataclass(frozen=True)
class Summary:
    """A collection with what a list shows of it. access: "owner", "shared" or "everyone"."""

    collection: Collection
    access: str
    owner: str | None
    documents: int
    sources: int
    chunks: int
    pending: int
    words: int
    shares: int


# -- who may ---------------------------------------------------------------------------------------------------------


def owns(user: Actor) -> ColumnElement[bool]:
    """Collections this caller may change. The operator's key and the system have no row of their own: all."""
    there = Collection.removed_at.is_(None)
    if user.id is None:
        return and_(there, true() if user.is_admin else false())
    mine = Collection.owner_id == user.id
    return and_(there, or_(mine, Collection.bundled) if user.is_admin else mine)


def may_read(user: Actor) -> ColumnElement[bool]:
    """A condition on Collection: own, shared with the caller, or everybody's."""
    return _may_read(user.id, user.is_admin)


@lru_cache(maxsize=1000)  # to build it takes about as long as to ask it
def _may_read(user_id: str | None, is_admin: bool) -> ColumnElement[bool]:
    there = Collection.removed_at.is_(None)
    if user_id is None:
        return and_(there, true() if is_admin else Collection.everyone)
    shared = select(CollectionShare.collection_id).where(CollectionShare.user_id == user_id)
    return and_(there, or_(Collection.owner_id == user_id, Collection.everyone, Collection.id.in_(shared)))


def readable(ctx: Ctx, wanted: Iterable[str] | None = None) -> list[str]:
    """Ids of the collections the caller may read, or of `wanted` ones. Raises NotFound if one of those is not there."""
    return [row.id for row in readable_rows(ctx, wanted)]


def readable_rows(ctx: Ctx, wanted: Iterable[str] | None = None) -> list[Collection]:
    """The same as rows."""
    stmt = select(Collection).where(may_read(ctx.user)).order_by(Collection.id)
    if wanted is None:
        return list(ctx.db.scalars(stmt))
    ids = list(dict.fromkeys(one[:40] for one in wanted))
    found = {row.id: row for row in ctx.db.scalars(stmt.where(Collection.id.in_(ids)))}
    if len(found) != len(ids):
        raise _none()
    return [found[one] for one in ids]


def get(ctx: Ctx, collection_id: str) -> Collection:
    """A collection the caller may read. Raises NotFound for a stranger's, exactly as for none."""
    row = ctx.db.scalar(select(Collection).where(Collection.id == collection_id[:40], may_read(ctx.user)))
    if row is None:
        raise _none()
    return row


def writable(ctx: Ctx, collection_id: str) -> Collection:
    """A collection the caller may change. NotFound for a stranger's, Forbidden for one shared with them to read."""
    row = ctx.db.scalar(select(Collection).where(Collection.id == collection_id[:40], owns(ctx.user)))
    if row is None:
        get(ctx, collection_id)
        raise Forbidden("this collection is shared with you for reading only", suggestion="Make one of your own.")
    return row


def access_of(collection: Collection, user: Actor) -> str:
    if collection.owner_id is not None and collection.owner_id == user.id:
        return "owner"
    if user.is_admin and (user.id is None or collection.bundled):
        return "owner"
    return "everyone" if collection.everyone else "shared"


def _none() -> NotFound:
    return NotFound("there is no such collection")


# -- looking ---------------------------------------------------------------------------------------------------------


def list_(ctx: Ctx) -> list[Summary]:
    """Those the caller may read, own ones first, by name. Four queries however many there are."""
    rows = list(ctx.db.scalars(select(Collection).where(may_read(ctx.user)).limit(2 * MAX_COLLECTIONS)))
    found = _summaries(ctx, rows)
    return sorted(found, key=lambda one: (one.access != "owner", one.collection.bundled, one.collection.name.lower()))


NONE_YET = "You have no collection yet: make one on the page Knowledge."


def options(ctx: Ctx) -> list[tuple[str, str]]:
    """(id, name) of those a form may offer: what a task keeps goes there, so they must be the caller's to change."""
    rows = ctx.db.execute(select(Collection.id, Collection.name).where(owns(ctx.user), ~Collection.bundled))
    return sorted(((row.id, row.name) for row in rows), key=lambda one: one[1].lower())


def summary(ctx: Ctx, collection_id: str) -> Summary:
    return _summaries(ctx, [get(ctx, collection_id)])[0]


def _summaries(ctx: Ctx, rows: list[Collection]) -> list[Summary]:
    ids = [row.id for row in rows]
    sums = (func.count(), func.sum(Document.chunk_count), func.sum(Document.pending_chunks), func.sum(Document.words))
    documents = _by_collection(ctx.db, Document.collection_id, ids, *sums)
    sources = _by_collection(ctx.db, Source.collection_id, ids, func.count())
    shares = _by_collection(ctx.db, CollectionShare.collection_id, ids, func.count())
    names = _owners(ctx, {row.owner_id for row in rows if row.owner_id})
    found = []
    for row in rows:
        count, chunks, pending, words = documents.get(row.id, (0, 0, 0, 0))
        access = access_of(row, ctx.user)
        found.append(
            Summary(row, access, names.get(row.owner_id or ""), int(count), int(sources.get(row.id, (0,))[0]),
                    int(chunks or 0), int(pending or 0), int(words or 0),
                    int(shares.get(row.id, (0,))[0]) if access == "owner" else 0)
        )  # fmt: skip
    return found


def _by_collection(db: Session, column: Any, ids: list[str], *values: Any) -> dict[str, tuple[Any, ...]]:
    stmt = select(column, *values).where(column.in_(ids)).group_by(column)
    return {row[0]: tuple(row[1:]) for row in db.execute(stmt)}


def _owners(ctx: Ctx, ids: set[str]) -> dict[str, str]:
    from webapp.identity import service as identity

    return identity.names(ctx.db, ids) if ids else {}


# -- changing --------------------------------------------------------------------------------------------------------


def create(ctx: Ctx, name: str, description: str = "", *, embedder: str | None = None) -> Collection:
    """Raises Conflict when the caller has one of that name, BadRequest for a name that is none."""
    name = _checked(name)
    _free(ctx, name)
    if _count(ctx) >= MAX_COLLECTIONS:
        raise Conflict(f"you have {MAX_COLLECTIONS} collections, which is the limit", code="too_many")
    row = Collection(owner_id=ctx.user.id, name=name, description=description.strip()[:2000],
                     embedder=_embedder(ctx, embedder))  # fmt: skip
    try:
        with ctx.db.begin_nested():
            ctx.db.add(row)
    except IntegrityError:
        raise _taken(name) from None
    return row


def default(ctx: Ctx) -> Collection:
    """Where documents go that name no collection: made at first use."""
    stmt = select(Collection).where(Collection.owner_id == ctx.user.id, Collection.name == DEFAULT_NAME)
    if (row := ctx.db.scalar(stmt)) is not None:
        return row
    try:
        return create(ctx, DEFAULT_NAME)
    except Conflict:  # somebody else's request made it a moment ago
        return ctx.db.scalars(stmt).one()


def update(ctx: Ctx, collection_id: str, *, name: str | None = None, description: str | None = None,
           everyone: bool | None = None, embedder: str | None = None) -> Collection:  # fmt: skip
    """Rename, describe, show to every user, or have it embedded anew by another embedder, in the background.

    Raises Conflict for a name that is taken, BadRequest for an embedder there is none of.
    """
    row = writable(ctx, collection_id)
    if name is not None and (name := _checked(name)) != row.name:
        _free(ctx, name)
        row.name = name
    if description is not None:
        row.description = description.strip()[:2000]
    if everyone is not None:
        row.everyone = everyone
    if embedder and embedder != (row.building_embedder or row.embedder):
        from webapp.knowledge.embed import change

        change(ctx, row, embedder)
    row.updated_at = utcnow()
    ctx.db.flush()
    return row


def share(ctx: Ctx, collection_id: str, username: str) -> CollectionShare:
    """Let one more person read it. Raises NotFound for a name nobody has, Conflict when it is the owner's own."""
    from webapp.identity import service as identity

    row = writable(ctx, collection_id)
    person = identity.find(ctx, username)
    if person.id == row.owner_id:
        raise Conflict("that is the owner already", code="own_collection")
    have = ctx.db.get(CollectionShare, (row.id, person.id))
    if have is not None:
        return have
    if len(shares(ctx, row.id)) >= MAX_SHARES:
        raise Conflict(f"a collection can be shared with {MAX_SHARES} people; show it to everyone instead")
    made = CollectionShare(collection_id=row.id, user_id=person.id)
    ctx.db.add(made)
    ctx.db.flush()
    return made


def unshare(ctx: Ctx, collection_id: str, user_id: str) -> None:
    row = writable(ctx, collection_id)
    have = ctx.db.get(CollectionShare, (row.id, user_id[:40]))
    if have is None:
        raise NotFound("it is not shared with that person")
    ctx.db.delete(have)
    ctx.db.flush()


def shares(ctx: Ctx, collection_id: str) -> list[dict[str, Any]]:
    """`[{"user_id", "username", "created_at"}]` by name, for the owner."""
    row = writable(ctx, collection_id)
    found = list(ctx.db.scalars(select(CollectionShare).where(CollectionShare.collection_id == row.id)))
    names = _owners(ctx, {one.user_id for one in found})
    people = [{"user_id": one.user_id, "username": names.get(one.user_id, "?"), "created_at": one.created_at}
              for one in found]  # fmt: skip
    return sorted(people, key=lambda one: str(one["username"]).lower())


def remove(ctx: Ctx, collection_id: str) -> None:
    """Delete it with everything in it. Gone at once for everybody; a task empties it in short units."""
    from webapp.tasks import service as tasks

    row = writable(ctx, collection_id)
    row.removed_at = utcnow()
    row.name = f"{row.name[:80]} ({row.id})"  # the name is free again
    ctx.db.flush()
    tasks.start(ctx, "knowledge.remove", {"collection_id": row.id}, title=f"Remove {row.name[:80]}")


def _checked(name: str) -> str:
    plain = " ".join(name.split())
    if not plain or not plain.isprintable() or len(plain) > 120:
        message = "use 1 to 120 printable characters"
        raise BadRequest(f"name: {message}", details=[{"loc": ["name"], "msg": message, "type": "name"}])
    return plain


def _free(ctx: Ctx, name: str) -> None:
    owner = Collection.owner_id == ctx.user.id if ctx.user.id else Collection.owner_id.is_(None)
    if ctx.db.scalar(select(Collection.id).where(owner, Collection.name == name)):
        raise _taken(name)


def _taken(name: str) -> Conflict:
    message = "you have a collection of that name"
    return Conflict(f"name: {message}", code="name_taken", details=[{"loc": ["name"], "msg": message, "type": "taken"}])


def _count(ctx: Ctx) -> int:
    return int(ctx.db.scalar(select(func.count()).where(Collection.owner_id == ctx.user.id)) or 0)


def _embedder(ctx: Ctx, wanted: str | None) -> str:
    return embedding.check(ctx.rt, wanted) if wanted else embedding.default(ctx.rt)
