"""Who asks, with what: the first argument of every service function."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from sqlalchemy.orm import Session

    from webapp.runtime import Runtime


@dataclass(frozen=True)
class Actor:
    """The caller, whatever credential was shown. `scopes` None means all (a person, not a key)."""

    id: str | None
    username: str
    is_admin: bool = False
    is_local: bool = False
    via: str = "local"  # local | session | jwt | api_key | operator_key | system | anonymous
    scopes: frozenset[str] | None = None
    session_id: str | None = None

    @property
    def is_authenticated(self) -> bool:
        return self.via != "anonymous"


ANONYMOUS = Actor(None, "anonymous", via="anonymous")
SYSTEM = Actor(None, "system", is_admin=True, via="system")


@dataclass
class Ctx:
    """One unit of work: made by the web layer, the worker or the command line."""

    rt: Runtime
    db: Session
    user: Actor
    request_id: str = "-"
    ip: str | None = None
    extra: dict[str, Any] = field(default_factory=dict)
