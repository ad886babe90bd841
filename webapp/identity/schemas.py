"""What goes in and out of /api/auth/ and the account pages. Rules of names and passwords are the service's."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Annotated, Literal

from pydantic import AwareDatetime, Field

from webapp.core.context import Actor
from webapp.identity.models import LoginSession
from webapp.web.api import ApiModel

Username = Annotated[str, Field(min_length=1, max_length=254)]
Password = Annotated[str, Field(min_length=1, max_length=1024)]
Secret = Annotated[str, Field(min_length=1, max_length=4096)]
Email = Annotated[str | None, Field(max_length=254)]
Scope = Literal["tasks:read", "tasks:write", "events:read", "admin"]


class TokenIn(ApiModel):
    username: Username
    password: Password


class RefreshIn(ApiModel):
    refresh: Secret


class RegisterIn(ApiModel):
    username: Username
    password: Password
    email: Email = None


class ProfileIn(ApiModel):
    username: Username
    email: Email = None


class PasswordIn(ApiModel):
    """`current_password` is needed unless the caller is the person at the machine (local mode)."""

    current_password: Annotated[str, Field(max_length=1024)] = ""
    new_password: Password


class ApiKeyIn(ApiModel):
    name: Annotated[str, Field(min_length=1, max_length=100)]
    scopes: Annotated[list[Scope], Field(min_length=1, max_length=4)]
    expires_at: AwareDatetime | None = None


class UserPatchIn(ApiModel):
    """What is left out stays."""

    is_active: bool | None = None
    is_admin: bool | None = None


class UserIn(ApiModel):
    """Without a password the answer holds the token of an invitation, with which the person sets one."""

    username: Username
    email: Email = None
    password: Annotated[str | None, Field(max_length=1024)] = None
    is_admin: bool = False


class UserQuery(ApiModel):
    q: Annotated[str | None, Field(max_length=100, description="Part of the name or email.")] = None
    state: Literal["active", "suspended", "invited"] | None = None
    role: Literal["user", "admin"] | None = None


class ResetIn(ApiModel):
    """Without a password the old one is taken away and the answer holds the token to set a new one."""

    password: Annotated[str | None, Field(max_length=1024)] = None


class UserOut(ApiModel):
    id: str
    username: str
    is_admin: bool


class MeOut(UserOut):
    email: str | None
    is_local: bool
    via: str = Field(description="How the caller was recognised: local, session, jwt, api_key or operator_key.")
    scopes: list[str] | None = Field(description="What the API key may do; null for a person, who may do all.")
    created_at: datetime


class AccountOut(UserOut):
    email: str | None
    is_local: bool
    is_active: bool
    created_at: datetime
    last_login_at: datetime | None


class NewAccountOut(AccountOut):
    invitation: str | None = Field(None, description="Shown this once; the person opens /invite/<it> within a week.")


class InvitationOut(ApiModel):
    invitation: str | None = Field(description="Shown this once; null where a password was set.")


class EndedOut(ApiModel):
    ended: int


class TokenOut(ApiModel):
    access: str
    refresh: str
    token_type: Literal["Bearer"] = "Bearer"
    expires_in: int
    user: UserOut


class RefreshOut(ApiModel):
    access: str
    refresh: str


class ApiKeyOut(ApiModel):
    id: str
    name: str
    prefix: str
    scopes: list[str]
    created_at: datetime
    expires_at: datetime | None
    last_used_at: datetime | None


class NewApiKeyOut(ApiKeyOut):
    key: str = Field(description="The key itself, shown this once.")


class SessionOut(ApiModel):
    id: str
    ip: str | None
    user_agent: str
    created_at: datetime
    last_seen_at: datetime
    expires_at: datetime
    current: bool = False

    @classmethod
    def of(cls, login: LoginSession, caller: Actor) -> SessionOut:
        return cls.model_validate(login).model_copy(update={"current": login.id == caller.session_id})


# Forms of pages


class LoginForm(TokenIn):
    next: Annotated[str, Field(max_length=2000)] = ""


class InviteForm(ApiModel):
    password: Password


class ApiKeyForm(ApiModel):
    name: Annotated[str, Field(min_length=1, max_length=100)]
    scopes: Annotated[list[Scope], Field(min_length=1, max_length=4)]
    expires_in_days: Annotated[int | None, Field(ge=1, le=3650)] = None

    @property
    def expires_at(self) -> datetime | None:
        return None if self.expires_in_days is None else datetime.now(UTC) + timedelta(days=self.expires_in_days)
