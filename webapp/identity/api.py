"""/api/auth/: tokens, the caller's account, keys and logins, and for administrators the accounts."""

from __future__ import annotations

from typing import Any

from flask import request

from webapp.core.context import Ctx
from webapp.identity import schemas, service
from webapp.identity.models import ApiKey, User
from webapp.web import auth
from webapp.web.api import ADMIN, ANY, PUBLIC, Api

api = Api("auth", "/api/auth", tag="Authentication")


@api.post("/token/", auth=PUBLIC, body=schemas.TokenIn, returns=schemas.TokenOut, errors=(401,))
def token(ctx: Ctx, body: schemas.TokenIn) -> Any:
    """Trade a user name and password for an access and a refresh token."""
    user = service.authenticate(ctx, body.username, body.password)
    return service.issue_tokens(ctx, user, _user_agent())


@api.post("/token/refresh/", auth=PUBLIC, body=schemas.RefreshIn, returns=schemas.RefreshOut, errors=(401,))
def refresh(ctx: Ctx, body: schemas.RefreshIn) -> Any:
    """Trade a refresh token for the next pair.

    Each refresh token is good once. Using one twice ends the login with all its tokens.
    """
    return service.refresh(ctx, body.refresh)


@api.post("/register/", auth=PUBLIC, body=schemas.RegisterIn, returns=schemas.UserOut, status=201, errors=(403, 409))
def register(ctx: Ctx, body: schemas.RegisterIn) -> Any:
    """Create an account. The first one is an administrator."""
    return service.register(ctx, body.username, body.password, body.email)


@api.post("/logout/", auth=ANY, status=204)
def logout(ctx: Ctx) -> None:
    """End the login that this request came with: its session, access and refresh tokens."""
    service.logout(ctx)
    auth.end_browser_login()


@api.get("/me/", auth=ANY, returns=schemas.MeOut)
def me(ctx: Ctx) -> Any:
    """The caller's account, and how the caller was recognised."""
    return _me(ctx, service.me(ctx))


@api.patch("/me/", auth=ANY, body=schemas.ProfileIn, returns=schemas.MeOut, errors=(403, 409))
def update_me(ctx: Ctx, body: schemas.ProfileIn) -> Any:
    """Change the caller's user name and email address."""
    return _me(ctx, service.update_profile(ctx, body.username, body.email))


@api.post("/password/", auth=ANY, body=schemas.PasswordIn, status=204, errors=(403,))
def password(ctx: Ctx, body: schemas.PasswordIn) -> None:
    """Change the caller's password and end all other logins."""
    service.change_password(ctx, body.current_password, body.new_password)


@api.get("/api-keys/", auth=ANY, returns=list[schemas.ApiKeyOut], errors=(403,))
def list_api_keys(ctx: Ctx) -> list[ApiKey]:
    """The caller's API keys, without their secrets."""
    return service.list_api_keys(ctx)


@api.post("/api-keys/", auth=ANY, body=schemas.ApiKeyIn, returns=schemas.NewApiKeyOut, status=201, errors=(403,))
def create_api_key(ctx: Ctx, body: schemas.ApiKeyIn) -> Any:
    """Create an API key. The answer is the only place where it is ever shown."""
    row, secret = service.create_api_key(ctx, body.name, body.scopes, body.expires_at)
    shown = schemas.ApiKeyOut.model_validate(row).model_dump()
    return schemas.NewApiKeyOut(**shown, key=secret)


@api.delete("/api-keys/<key_id>/", auth=ANY, status=204, errors=(403, 404))
def revoke_api_key(ctx: Ctx, key_id: str) -> None:
    """Revoke one of the caller's API keys at once."""
    service.revoke_api_key(ctx, key_id)


@api.get("/sessions/", auth=ANY, returns=list[schemas.SessionOut], errors=(403,))
def list_sessions(ctx: Ctx) -> Any:
    """Where the caller is logged in."""
    return [schemas.SessionOut.of(login, ctx.user) for login in service.list_sessions(ctx)]


@api.delete("/sessions/<session_id>/", auth=ANY, status=204, errors=(403, 404))
def revoke_session(ctx: Ctx, session_id: str) -> None:
    """End one of the caller's logins, with its tokens."""
    service.revoke_session(ctx, session_id)


@api.get("/users/", auth=ADMIN, returns=list[schemas.AccountOut], errors=(403,))
def list_users(ctx: Ctx) -> list[User]:
    """All accounts."""
    return service.list_users(ctx)


@api.patch(
    "/users/<user_id>/",
    auth=ADMIN,
    body=schemas.UserActiveIn,
    returns=schemas.AccountOut,
    errors=(403, 404, 409),
)
def set_user_active(ctx: Ctx, user_id: str, body: schemas.UserActiveIn) -> User:
    """Suspend or reinstate an account. Suspending ends its logins, tokens and keys for good."""
    return service.set_active(ctx, user_id, body.is_active)


def _me(ctx: Ctx, user: User) -> schemas.MeOut:
    scopes = None if ctx.user.scopes is None else sorted(ctx.user.scopes)
    account = schemas.AccountOut.model_validate(user).model_dump()
    return schemas.MeOut(**{**account, "is_admin": ctx.user.is_admin, "via": ctx.user.via, "scopes": scopes})


def _user_agent() -> str:
    return request.headers.get("User-Agent", "")
