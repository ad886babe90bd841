"""/api/auth/: tokens, the caller's account, keys and logins, and for administrators the accounts."""

from __future__ import annotations

from typing import Any

from flask import request

from webapp.core.context import Ctx
from webapp.identity import people, schemas, service
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


@api.get("/users/", auth=ADMIN, query=schemas.UserQuery, returns=list[schemas.AccountOut], errors=(403,))
def list_users(ctx: Ctx, query: schemas.UserQuery) -> list[User]:
    """All accounts, the first ones first, or those that match."""
    if not query.model_dump(exclude_none=True):
        return service.list_users(ctx)
    return [one.user for one in people.search(ctx, **query.model_dump(), limit=200).items]


@api.post("/users/", auth=ADMIN, body=schemas.UserIn, returns=schemas.NewAccountOut, status=201, errors=(403, 409))
def create_user(ctx: Ctx, body: schemas.UserIn) -> Any:
    """Make an account with a password, or invite somebody to one."""
    user, token = people.create(ctx, body.username, email=body.email, password=body.password, is_admin=body.is_admin)
    return schemas.NewAccountOut(**schemas.AccountOut.model_validate(user).model_dump(), invitation=token)


@api.patch(
    "/users/<user_id>/",
    auth=ADMIN,
    body=schemas.UserPatchIn,
    returns=schemas.AccountOut,
    errors=(403, 404, 409),
)
def change_user(ctx: Ctx, user_id: str, body: schemas.UserPatchIn) -> User:
    """Suspend or reinstate an account, or change its role. Suspending ends its logins, tokens and keys for good."""
    user = people.get(ctx, user_id).user
    if body.is_admin is not None:
        user = people.set_role(ctx, user_id, body.is_admin)
    if body.is_active is not None:
        user = service.set_active(ctx, user_id, body.is_active)
    return user


@api.post("/users/<user_id>/invitation/", auth=ADMIN, returns=schemas.InvitationOut, errors=(403, 404, 409))
def invite_user(ctx: Ctx, user_id: str) -> Any:
    """A new invitation for somebody who has not set a password yet."""
    return schemas.InvitationOut(invitation=people.invite(ctx, user_id))


@api.post("/users/<user_id>/password/", auth=ADMIN, body=schemas.ResetIn, returns=schemas.InvitationOut,
          errors=(403, 404, 409))  # fmt: skip
def reset_password(ctx: Ctx, user_id: str, body: schemas.ResetIn) -> Any:
    """Set somebody's password, or let them set a new one; all their logins end."""
    return schemas.InvitationOut(invitation=people.reset_password(ctx, user_id, body.password))


@api.delete("/users/<user_id>/sessions/", auth=ADMIN, returns=schemas.EndedOut, errors=(403, 404))
def end_sessions(ctx: Ctx, user_id: str) -> Any:
    """End all logins of somebody, with their tokens and open connections."""
    return schemas.EndedOut(ended=people.end_sessions(ctx, user_id))


@api.delete("/users/<user_id>/api-keys/", auth=ADMIN, returns=schemas.EndedOut, errors=(403, 404))
def revoke_keys(ctx: Ctx, user_id: str) -> Any:
    """Revoke all API keys of somebody."""
    return schemas.EndedOut(ended=people.revoke_keys(ctx, user_id))


def _me(ctx: Ctx, user: User) -> schemas.MeOut:
    scopes = None if ctx.user.scopes is None else sorted(ctx.user.scopes)
    account = schemas.AccountOut.model_validate(user).model_dump()
    return schemas.MeOut(**{**account, "is_admin": ctx.user.is_admin, "via": ctx.user.via, "scopes": scopes})


def _user_agent() -> str:
    return request.headers.get("User-Agent", "")
