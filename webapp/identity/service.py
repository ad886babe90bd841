"""Accounts, logins, tokens and keys. The verbs behind the API, the pages and the command line.

Hashing a password takes a while on purpose. No verb holds a transaction meanwhile: on SQLite that would
stop every other writer, so that trying passwords would stop the whole program.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, NoReturn
from weakref import WeakKeyDictionary

from sqlalchemy import Engine, delete, select, text, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from webapp.core import audit
from webapp.core.context import Actor, Ctx
from webapp.core.db import after_commit, new_id, utcnow
from webapp.core.errors import Conflict, Forbidden, Invalid, NotFound, TooManyRequests, Unauthorized
from webapp.identity import passwords, tokens
from webapp.identity.models import ApiKey, LoginSession, RefreshToken, User

if TYPE_CHECKING:
    from webapp.runtime import Runtime

SCOPES = {
    "tasks:read": "See tasks and their results.",
    "tasks:write": "Start, change and cancel tasks.",
    "events:read": "Follow live updates and logs.",
    "admin": "Everything an administrator may; needs an administrator's account.",
}
LOCAL_USERNAME = "local"
RESERVED = {LOCAL_USERNAME, "anonymous", "operator", "system"}
_USERNAME = re.compile(r"[\w.+-]{1,64}")
_EMAIL = re.compile(r"[^@\s\x00]{1,64}@[^@\s\x00]{1,189}")


@dataclass(frozen=True)
class Tokens:
    access: str
    refresh: str
    expires_in: int
    user: User


# Accounts


def register(ctx: Ctx, username: str, password: str, email: str | None = None) -> User:
    """Create an account. The first one with a password is an administrator.

    When registration is closed only an administrator may.
    """
    if not (ctx.rt.settings.registration or ctx.user.is_admin):
        raise Forbidden("Registration is closed. Ask an administrator for an account.", code="registration_closed")
    _limit(ctx, f"register:ip:{ctx.ip}", "Too many registrations")
    return _add_person(ctx.db, username, password, email)


def create_admin(db: Session, username: str, password: str) -> User:
    """For the command line, whether registration is open or not: an administrator with this password.

    Somebody who is there already becomes one; their other logins end.
    """
    there = _by_login(db, _username_key(username))
    user = _add_person(db, username, password, None) if there is None else set_password(db, username, password)
    user.is_admin = user.is_active = True
    return user


def authenticate(ctx: Ctx, username: str, password: str) -> User:
    """The person with this name (or email) and password. Unknown, suspended and wrong cost the same and sound the same."""
    key = _username_key(username)
    _limit(ctx, f"login:ip:{ctx.ip}", "Too many login tries")
    _limit(ctx, f"login:name:{tokens.digest(key)}", "Too many login tries")
    user = _by_login(ctx.db, key)
    ctx.db.commit()  # hashing comes next: see the top of this file
    stored = user.password_hash if user is not None and user.is_active else None
    if not passwords.verify(stored, password) or user is None or stored is None:
        raise Unauthorized("Wrong user name or password.", code="bad_login")
    if passwords.needs_rehash(stored):
        _replace_hash(ctx.db, user.id, stored, passwords.hash_password(password))
    user.last_login_at = utcnow()
    return user


def update_profile(ctx: Ctx, username: str, email: str | None) -> User:
    user = _own_account(ctx)
    name, key = _checked_name(username, user)
    user.username, user.username_key, user.email = name, key, _checked_email(email)
    _flush_unique(ctx.db)
    if user.is_local:
        after_commit(ctx.db, lambda: _local_accounts.pop(ctx.rt.engine, None))
    return user


def change_password(ctx: Ctx, current: str | None, new: str) -> None:
    """Also ends every other login of the person; keys stay.

    The person at the machine itself need not know the current one: they own the database anyway.
    """
    user = _own_account(ctx)
    stored = user.password_hash
    _check_password(new, user.username, field="new_password")
    _limit(ctx, f"password:{user.id}", "Too many tries")
    ctx.db.commit()
    if not ctx.user.is_local and not passwords.verify(stored, current or ""):
        raise Invalid("The current password is wrong.", details=_field("current_password", "This is not it."))
    if not _replace_hash(ctx.db, user.id, stored, passwords.hash_password(new)):
        raise Conflict("The password was changed meanwhile.")
    _end_logins(ctx.db, LoginSession.user_id == user.id, LoginSession.id != (ctx.user.session_id or ""))


def set_password(db: Session, username: str, password: str) -> User:
    """For the command line: give a person a new password and end all logins."""
    user = _by_login(db, _username_key(username))
    if user is None:
        raise NotFound(f"There is no account named {username}.")
    _check_password(password, user.username)
    db.commit()
    user.password_hash = passwords.hash_password(password)
    _end_logins(db, LoginSession.user_id == user.id)
    return user


def set_active(ctx: Ctx, user_id: str, active: bool) -> User:
    """Suspend or reinstate. Suspending ends logins, tokens and keys at once, and for good."""
    if not ctx.user.is_admin:
        raise Forbidden("Only an administrator may suspend accounts.")
    user = ctx.db.get(User, user_id)
    if user is None:
        raise NotFound("There is no such account.")
    if not active and (user.is_local or user.id == ctx.user.id):
        raise Conflict("Neither the local account nor your own can be suspended.")
    if user.is_active == active:
        return user
    if not active:
        _keep_an_administrator(ctx, user)
        _end_logins(ctx.db, LoginSession.user_id == user.id)
        _revoke_keys(ctx.db, ApiKey.user_id == user.id)
    user.is_active = active
    audit.record(ctx, "user.reinstate" if active else "user.suspend", "user", user.id, name=user.username)
    return user


def _keep_an_administrator(ctx: Ctx, user: User) -> None:
    """Raises Conflict where `user` is the last who can log in as an administrator.

    Where the machine's owner needs no password, or there is an operator key, somebody always can.
    """
    settings = ctx.rt.settings
    if not user.is_admin or user.password_hash is None or settings.api_key or not settings.auth_required:
        return
    _one_at_a_time(ctx.db)
    others = select(User.id).where(User.is_admin, User.is_active, User.password_hash.is_not(None), User.id != user.id)
    if ctx.db.scalar(others.limit(1)) is None:
        raise Conflict("This is the last administrator who can log in.", code="last_admin",
                       suggestion="Make somebody else an administrator first.")  # fmt: skip


def list_users(ctx: Ctx) -> list[User]:
    if not ctx.user.is_admin:
        raise Forbidden("Only an administrator may see all accounts.")
    return list(ctx.db.scalars(select(User).order_by(User.id)))


def me(ctx: Ctx) -> User:
    """The caller's account, whatever credential was shown."""
    user = ctx.db.get(User, ctx.user.id) if ctx.user.id else None
    if user is None:
        raise Unauthorized("Log in first.")
    return user


def find(ctx: Ctx, username: str) -> User:
    """Somebody to share with, by name only: an email is no business of others. Raises NotFound."""
    key = _username_key(username[:128])
    user = ctx.db.scalar(select(User).where(User.username_key == key, User.is_active))
    if user is None:
        raise NotFound(f"nobody here is called {username[:60].strip()!r}", suggestion="Ask them for their user name.")
    return user


def names(db: Session, ids: Collection[str]) -> dict[str, str]:
    """id -> user name, of those that are there."""
    rows = db.execute(select(User.id, User.username).where(User.id.in_(list(ids))))
    return {row[0]: row[1] for row in rows}


def addresses(db: Session, ids: Collection[str]) -> dict[str, str | None]:
    """id -> e-mail address or None, of those that are there and not suspended."""
    rows = db.execute(select(User.id, User.email).where(User.id.in_(list(ids)), User.is_active))
    return {row[0]: row[1] for row in rows}


def administrators(db: Session) -> list[str]:
    """Ids of those who are told when something is wrong with the server."""
    return list(db.scalars(select(User.id).where(User.is_admin, User.is_active).order_by(User.id)))


def actor_of(db: Session, user_id: str) -> Actor | None:
    """A person in whose name something is done that they set up before; None when they are gone or suspended."""
    user = db.scalar(select(User).where(User.id == user_id, User.is_active))
    return Actor(user.id, user.username, user.is_admin, via="system") if user is not None else None


def has_password_user(db: Session) -> bool:
    return db.scalar(select(User.id).where(User.password_hash.is_not(None)).limit(1)) is not None


def find_local_user(db: Session) -> User | None:
    return db.scalar(select(User).where(User.is_local))


_local_accounts: WeakKeyDictionary[Engine, tuple[str, str]] = WeakKeyDictionary()


def local_account(rt: Runtime) -> tuple[str, str]:
    """Id and name of the local account; no query after the first.

    In a unit of its own: the caller's may be read-only, and the first start writes the row.
    """
    known = _local_accounts.get(rt.engine)
    if known is None:
        with rt.unit(write=False) as db:
            user = find_local_user(db)
        if user is None:
            with rt.unit() as db:
                user = local_user(db)
        known = _local_accounts[rt.engine] = (user.id, user.username)
    return known


def local_user(db: Session) -> User:
    """The account of the machine's owner, made at the first use."""
    found = find_local_user(db)
    if found is not None:
        return found
    user = User(username=LOCAL_USERNAME, username_key=LOCAL_USERNAME, is_admin=True, is_local=True)
    try:
        with db.begin_nested():
            db.add(user)
    except IntegrityError:  # another process was first
        return db.scalars(select(User).where(User.is_local)).one()
    return user


# Logins of browsers and programs


def start_session(ctx: Ctx, user: User, user_agent: str = "") -> str:
    """A browser's login: the secret for its cookie."""
    secret = tokens.new_secret()
    _add_login(ctx, user, user_agent, tokens.digest(secret))
    return secret


def issue_tokens(ctx: Ctx, user: User, user_agent: str = "") -> Tokens:
    """A program's login: an access token and the first refresh token of its family."""
    login = _add_login(ctx, user, user_agent, None)
    return _next_tokens(ctx, login, user)


def refresh(ctx: Ctx, secret: str) -> Tokens:
    """Trade a refresh token for the next pair. A second use means that somebody copied it: the login ends."""
    row = ctx.db.execute(
        select(RefreshToken, LoginSession, User)
        .join(LoginSession, LoginSession.id == RefreshToken.family)
        .join(User, User.id == RefreshToken.user_id)
        .where(RefreshToken.token_hash == tokens.digest(secret))
    ).first()
    if row is None:
        raise Unauthorized("The refresh token is not valid.")
    token, login, user = row
    now = utcnow()
    if login.revoked_at is not None or token.expires_at <= now or not user.is_active:
        raise Unauthorized("The refresh token is not valid.")
    taken = ctx.db.execute(
        update(RefreshToken)
        .where(RefreshToken.id == token.id, RefreshToken.used_at.is_(None))
        .values(used_at=now)
        .execution_options(synchronize_session=False)
    )
    if taken.rowcount == 0:  # type: ignore[attr-defined]
        _end_reused(ctx, login.id)
    login.expires_at = _login_end(ctx, now)
    return _next_tokens(ctx, login, user)


def logout(ctx: Ctx) -> None:
    """End the login that the request came with; its access and refresh tokens die with it."""
    if ctx.user.session_id:
        _end_logins(ctx.db, LoginSession.id == ctx.user.session_id)


def list_sessions(ctx: Ctx) -> list[LoginSession]:
    """The person's live logins, latest first."""
    user = _own_account(ctx)
    return list(
        ctx.db.scalars(
            select(LoginSession)
            .where(
                LoginSession.user_id == user.id,
                LoginSession.revoked_at.is_(None),
                LoginSession.expires_at > utcnow(),
            )
            .order_by(LoginSession.last_seen_at.desc())
        )
    )


def revoke_session(ctx: Ctx, session_id: str) -> None:
    user = _own_account(ctx)
    if not _end_logins(ctx.db, LoginSession.id == session_id, LoginSession.user_id == user.id):
        raise NotFound("There is no such session.")


def purge_expired(db: Session, keep_days: int = 30) -> int:
    """For daily maintenance: forget logins that ended long ago, and their refresh tokens."""
    gone = db.execute(delete(LoginSession).where(LoginSession.expires_at < utcnow() - timedelta(days=keep_days)))
    return int(gone.rowcount)  # type: ignore[attr-defined]


# API keys


def create_api_key(
    ctx: Ctx, name: str, scopes: Iterable[str], expires_at: datetime | None = None
) -> tuple[ApiKey, str]:
    """A key and its secret, which is shown this once."""
    user = _own_account(ctx)
    wanted = sorted(set(scopes))
    _check_scopes(wanted, user)
    if expires_at is not None and expires_at <= utcnow():
        raise Invalid("The key would have expired already.", details=_field("expires_at", "Choose a later time."))
    secret, prefix = tokens.new_api_key()
    key = ApiKey(
        user_id=user.id,
        name=name.strip(),
        prefix=prefix,
        key_hash=tokens.digest(secret),
        scopes=wanted,
        expires_at=expires_at,
    )
    ctx.db.add(key)
    ctx.db.flush()
    return key, secret


def list_api_keys(ctx: Ctx) -> list[ApiKey]:
    """The person's keys that are not revoked, latest first."""
    user = _own_account(ctx)
    mine = select(ApiKey).where(ApiKey.user_id == user.id, ApiKey.revoked_at.is_(None))
    return list(ctx.db.scalars(mine.order_by(ApiKey.id.desc())))


def revoke_api_key(ctx: Ctx, key_id: str) -> None:
    user = _own_account(ctx)
    if not _revoke_keys(ctx.db, ApiKey.id == key_id, ApiKey.user_id == user.id):
        raise NotFound("There is no such key.")


# What the verbs above are made of


def _own_account(ctx: Ctx) -> User:
    """The caller as a person. A key may not manage its owner's account: it could make itself a bigger one."""
    if ctx.user.scopes is not None:
        raise Forbidden("An API key cannot manage the account. Log in instead.", code="person_required")
    return me(ctx)


def _add_person(db: Session, username: str, password: str, email: str | None) -> User:
    name, key = _checked_name(username)
    address = _checked_email(email)
    _check_password(password, name)
    hashed = passwords.hash_password(password)
    _one_at_a_time(db)
    first = not has_password_user(db)
    user = User(username=name, username_key=key, email=address, password_hash=hashed, is_admin=first)
    db.add(user)
    _flush_unique(db)
    return user


def _checked_name(username: str, owner: User | None = None) -> tuple[str, str]:
    """The name as shown and as compared. Only the owner of a reserved name may keep it."""
    name = unicodedata.normalize("NFKC", username).strip()
    key = _username_key(name)
    mine = owner is not None and owner.username_key == key
    if not _USERNAME.fullmatch(name) or (key in RESERVED and not mine):
        hint = "Use 1 to 64 letters, digits and . _ + - (and no reserved name)."
        raise Invalid("This user name cannot be used.", details=_field("username", hint))
    return name, key


def _checked_email(email: str | None) -> str | None:
    address = (email or "").strip().casefold()
    if address and not _EMAIL.fullmatch(address):
        raise Invalid("This is no email address.", details=_field("email", "Write it as name@example.org."))
    return address or None


def _flush_unique(db: Session) -> None:
    """The database decides who was first; asking before would leave a gap."""
    try:
        db.flush()
    except IntegrityError as exc:
        db.rollback()
        which = "email" if "email" in str(exc.orig) else "username"
        what = {"email": "This email address", "username": "This user name"}[which]
        raise Conflict(f"{what} is taken.", details=_field(which, f"{what} is taken.")) from None


def _one_at_a_time(db: Session) -> None:
    """Two first registrations at once must not both become administrators. On SQLite the write lock sees to it."""
    if db.get_bind().dialect.name == "postgresql":
        db.execute(text("SELECT pg_advisory_xact_lock(7240118)"))


def _username_key(username: str) -> str:
    return unicodedata.normalize("NFKC", username).strip().casefold()


def _by_login(db: Session, key: str) -> User | None:
    """By name, or by email when it has an `@`, which names cannot have."""
    if _EMAIL.fullmatch(key):
        return db.scalar(select(User).where(User.email == key))
    return db.scalar(select(User).where(User.username_key == key)) if _USERNAME.fullmatch(key) else None


def _replace_hash(db: Session, user_id: str, old: str | None, new: str) -> bool:
    """False when somebody else changed the password while we were hashing."""
    same = User.password_hash.is_(None) if old is None else User.password_hash == old
    done = db.execute(update(User).where(User.id == user_id, same).values(password_hash=new))
    return bool(done.rowcount)  # type: ignore[attr-defined]


def _check_password(password: str, username: str, field: str = "password") -> None:
    trouble = passwords.problem(password, username)
    if trouble:
        raise Invalid(trouble, details=_field(field, trouble))


def _check_scopes(wanted: list[str], user: User) -> None:
    unknown = [scope for scope in wanted if scope not in SCOPES]
    if unknown or not wanted:
        raise Invalid("Choose from " + ", ".join(SCOPES) + ".", details=_field("scopes", "Choose at least one."))
    if "admin" in wanted and not user.is_admin:
        raise Forbidden("Only an administrator may make a key with the scope admin.")


def _field(name: str, message: str) -> list[dict[str, Any]]:
    return [{"loc": [name], "msg": message, "type": "value_error"}]


def _limit(ctx: Ctx, key: str, what: str) -> None:
    wait = ctx.rt.limits.hit(key, ctx.rt.settings.login_rate_limit)
    if wait is not None:
        raise TooManyRequests(f"{what}. Try again in {wait} seconds.", retry_after=wait)


def _add_login(ctx: Ctx, user: User, user_agent: str, token_hash: str | None) -> LoginSession:
    login = LoginSession(
        id=new_id(),
        user_id=user.id,
        token_hash=token_hash,
        expires_at=_login_end(ctx, utcnow()),
        ip=ctx.ip,
        user_agent=user_agent[:300],
    )
    ctx.db.add(login)
    ctx.db.flush()
    return login


def _next_tokens(ctx: Ctx, login: LoginSession, user: User) -> Tokens:
    secret = tokens.new_secret()
    ctx.db.add(
        RefreshToken(family=login.id, user_id=user.id, token_hash=tokens.digest(secret), expires_at=login.expires_at)
    )
    ctx.db.flush()
    minutes = ctx.rt.settings.token_minutes
    access = tokens.access_token(ctx.rt.secret_key, user_id=user.id, session_id=login.id, minutes=minutes)
    return Tokens(access=access, refresh=secret, expires_in=minutes * 60, user=user)


def _login_end(ctx: Ctx, now: datetime) -> datetime:
    return now + timedelta(days=ctx.rt.settings.refresh_days)


def _end_reused(ctx: Ctx, session_id: str) -> NoReturn:
    _end_logins(ctx.db, LoginSession.id == session_id)
    ctx.db.commit()  # the refusal below would roll it back
    raise Unauthorized("The refresh token was used before; this login has been ended.", code="refresh_reused")


def _end_logins(db: Session, *which: Any) -> int:
    return _revoke(db, LoginSession, which)


def _revoke_keys(db: Session, *which: Any) -> int:
    return _revoke(db, ApiKey, which)


def _revoke(db: Session, table: type[LoginSession | ApiKey], which: tuple[Any, ...]) -> int:
    """How many rows were still good: of two callers only one sees a 1."""
    done = db.execute(update(table).where(table.revoked_at.is_(None), *which).values(revoked_at=utcnow()))
    return int(done.rowcount)  # type: ignore[attr-defined]
