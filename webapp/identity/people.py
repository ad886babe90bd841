"""What administrators do with accounts: find, make, invite, change roles, suspend, reset, end logins and keys.

Each verb asks for an administrator itself and writes its line of the audit log in the same transaction. Behind the API,
the pages and `brainstem users`.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Select, func, or_, select

from webapp.core import audit
from webapp.core.context import Ctx
from webapp.core.db import utcnow
from webapp.core.errors import BadRequest, Conflict, Forbidden, NotFound
from webapp.core.paging import Page, keyset
from webapp.identity import passwords, service, tokens
from webapp.identity.models import ApiKey, LoginSession, User

INVITED_FOR = 7  # days in which an invitation can be taken
STATES = ("active", "suspended", "invited")
ROLES = ("user", "admin")


@dataclass(frozen=True)
class Person:
    """An account with what it holds now. invited: nobody has set its password yet."""

    user: User
    sessions: int
    keys: int

    @property
    def invited(self) -> bool:
        return self.user.password_hash is None and not self.user.is_local

    @property
    def state(self) -> str:
        return "suspended" if not self.user.is_active else "invited" if self.invited else "active"


@dataclass(frozen=True)
class PersonFile(Person):
    logins: tuple[LoginSession, ...]
    api_keys: tuple[ApiKey, ...]


# -- looking ---------------------------------------------------------------------------------------------------------


def search(
    ctx: Ctx,
    *,
    q: str | None = None,
    state: str | None = None,
    role: str | None = None,
    cursor: str | None = None,
    limit: int = 50,
) -> Page[Person]:
    """Newest first. q: part of the name or email. Three queries, however many there are."""
    page = keyset(_admin(ctx).db, _filtered(q, state, role), User.id, cursor=cursor, limit=max(1, min(200, limit)))
    return Page(_with_counts(ctx, page.items), page.next_cursor, page.prev_cursor)


def _filtered(q: str | None, state: str | None, role: str | None) -> Select[Any]:
    stmt = select(User)
    if q:
        plain = q[:100].replace("\0", "").replace("\\", "\\\\").replace("%", "\\%").replace("_", "\\_").casefold()
        like = f"%{plain}%"
        stmt = stmt.where(or_(User.username_key.like(like, escape="\\"), User.email.like(like, escape="\\")))
    if state:
        _one_of(state, STATES, "state")
        stmt = stmt.where(User.is_active.is_(state != "suspended"))
        no_password = User.password_hash.is_(None) & User.is_local.is_(False)
        stmt = stmt.where(no_password) if state == "invited" else stmt
        stmt = stmt.where(~no_password) if state == "active" else stmt
    if role:
        stmt = stmt.where(User.is_admin.is_(_one_of(role, ROLES, "role") == "admin"))
    return stmt


def _one_of(value: str, known: tuple[str, ...], name: str) -> str:
    if value not in known:
        said = f"use one of {', '.join(known)}"
        raise BadRequest(
            f"{name}: {said}", code="invalid_value", details=[{"loc": [name], "msg": said, "type": "enum"}]
        )
    return value


def _with_counts(ctx: Ctx, users: Iterable[User]) -> list[Person]:
    users = list(users)
    ids = [user.id for user in users]
    live = (LoginSession.revoked_at.is_(None), LoginSession.expires_at > utcnow())
    logins = select(LoginSession.user_id, func.count()).where(LoginSession.user_id.in_(ids), *live)
    keys = select(ApiKey.user_id, func.count()).where(ApiKey.user_id.in_(ids), ApiKey.revoked_at.is_(None))
    sessions = {row[0]: row[1] for row in ctx.db.execute(logins.group_by(LoginSession.user_id))}
    held = {row[0]: row[1] for row in ctx.db.execute(keys.group_by(ApiKey.user_id))}
    return [Person(user, sessions.get(user.id, 0), held.get(user.id, 0)) for user in users]


def get(ctx: Ctx, user_id: str) -> PersonFile:
    """One account with its live logins and its keys, without secrets. Raises NotFound."""
    user = _user(ctx, user_id)
    logins = ctx.db.scalars(
        select(LoginSession)
        .where(LoginSession.user_id == user.id, LoginSession.revoked_at.is_(None), LoginSession.expires_at > utcnow())
        .order_by(LoginSession.last_seen_at.desc())
        .limit(100)
    ).all()
    keys = ctx.db.scalars(
        select(ApiKey).where(ApiKey.user_id == user.id, ApiKey.revoked_at.is_(None)).order_by(ApiKey.id.desc()).limit(100)
    ).all()  # fmt: skip
    return PersonFile(user, len(logins), len(keys), tuple(logins), tuple(keys))


def by_name(ctx: Ctx, username: str) -> User:
    """For the command line. Raises NotFound."""
    user = _admin(ctx).db.scalar(select(User).where(User.username_key == service._username_key(username[:128])))
    if user is None:
        raise NotFound(f"There is no account named {username[:60].strip()}.")
    return user


# -- making ----------------------------------------------------------------------------------------------------------


def create(
    ctx: Ctx, username: str, *, email: str | None = None, password: str | None = None, is_admin: bool = False
) -> tuple[User, str | None]:
    """A new account; without a password also the token of its invitation, which is shown this once."""
    ctx = _admin(ctx)
    name, key = service._checked_name(username)
    address = service._checked_email(email)
    hashed = None
    if password:
        service._check_password(password, name)
        ctx.db.commit()  # hashing takes a while: see identity/service.py
        hashed = passwords.hash_password(password)
    user = User(username=name, username_key=key, email=address, password_hash=hashed, is_admin=is_admin)
    ctx.db.add(user)
    service._flush_unique(ctx.db)
    audit.record(ctx, "user.create", "user", user.id, name=user.username, admin=is_admin, invited=hashed is None)
    return user, None if hashed else _invitation(ctx, user)


def invite(ctx: Ctx, user_id: str) -> str:
    """A new invitation for somebody who has no password yet. Raises Conflict for whoever has one."""
    user = _user(ctx, user_id)
    _not_the_local(user)
    if user.password_hash is not None:
        raise Conflict("this person has a password; reset it instead", code="has_password")
    audit.record(ctx, "user.invite", "user", user.id, name=user.username)
    return _invitation(ctx, user)


def invited(ctx: Ctx, token: str) -> User:
    """Whom the token is for. Raises NotFound for one that is wrong, too old or was used."""
    found = tokens.read_invitation(token)
    user = ctx.db.get(User, found[0]) if found else None
    if user is None or not user.is_active or not tokens.is_invitation(ctx.rt.secret_key, token, user.password_hash):
        raise NotFound("this invitation is not valid, or no longer", suggestion="Ask an administrator for a new one.")
    return user


def accept(ctx: Ctx, token: str, password: str) -> User:
    """Set the password that the invitation was for; with that it is used up."""
    service._limit(ctx, f"invite:ip:{ctx.ip}", "Too many tries")
    user = invited(ctx, token)
    stored = user.password_hash
    service._check_password(password, user.username)
    ctx.db.commit()
    if not service._replace_hash(ctx.db, user.id, stored, passwords.hash_password(password)):
        raise NotFound("this invitation was just used", suggestion="Log in, or ask for a new one.")
    return user


def _invitation(ctx: Ctx, user: User) -> str:
    return tokens.invitation(ctx.rt.secret_key, user.id, user.password_hash, days=INVITED_FOR)


# -- changing --------------------------------------------------------------------------------------------------------


def set_role(ctx: Ctx, user_id: str, is_admin: bool) -> User:
    """Make somebody an administrator, or no longer. Raises Conflict for oneself and for the last one who can log in."""
    user = _user(ctx, user_id)
    if user.is_admin == is_admin:
        return user
    _not_the_local(user)
    if not is_admin:
        if user.id == ctx.user.id:
            raise Conflict("Your own role is for another administrator to take.", code="own_account")
        service._keep_an_administrator(ctx, user)
    user.is_admin = is_admin
    audit.record(ctx, "user.role", "user", user.id, name=user.username, role="admin" if is_admin else "user")
    return user


def reset_password(ctx: Ctx, user_id: str, password: str | None = None) -> str | None:
    """Set a password, or take the old one away: then the answer is the token with which the person sets a new one.
    All logins end."""
    user = _user(ctx, user_id)
    _not_the_local(user)
    hashed = None
    if password:
        service._check_password(password, user.username)
        ctx.db.commit()
        hashed = passwords.hash_password(password)
    elif user.is_admin:
        service._keep_an_administrator(ctx, user)
    user.password_hash = hashed
    ended = service._end_logins(ctx.db, LoginSession.user_id == user.id)
    audit.record(ctx, "user.password", "user", user.id, name=user.username, by_link=hashed is None, sessions=ended)
    ctx.db.flush()
    return None if hashed else _invitation(ctx, user)


def end_sessions(ctx: Ctx, user_id: str) -> int:
    """End all logins of somebody, with their tokens and open connections; how many those were."""
    user = _user(ctx, user_id)
    ended = service._end_logins(ctx.db, LoginSession.user_id == user.id)
    if ended:
        audit.record(ctx, "user.sessions", "user", user.id, name=user.username, sessions=ended)
    return ended


def revoke_keys(ctx: Ctx, user_id: str) -> int:
    """Revoke all API keys of somebody; how many those were."""
    user = _user(ctx, user_id)
    revoked = service._revoke_keys(ctx.db, ApiKey.user_id == user.id)
    if revoked:
        audit.record(ctx, "user.keys", "user", user.id, name=user.username, keys=revoked)
    return revoked


def _user(ctx: Ctx, user_id: str) -> User:
    user = _admin(ctx).db.get(User, user_id[:40])
    if user is None:
        raise NotFound("There is no such account.")
    return user


def _not_the_local(user: User) -> None:
    if user.is_local:
        raise Conflict("The local account is that of this machine’s owner and stays as it is.", code="local_account")


def _admin(ctx: Ctx) -> Ctx:
    if not ctx.user.is_admin:
        raise Forbidden("this is for administrators")
    return ctx
