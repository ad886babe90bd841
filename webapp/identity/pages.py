"""Log in and out, register, and the account pages: profile, password, sessions, API keys."""

from __future__ import annotations

from typing import Any

from flask import flash, redirect, request, url_for

from webapp.core.context import Ctx
from webapp.core.errors import AppError, Conflict, Forbidden, Invalid, TooManyRequests, Unauthorized
from webapp.identity import people, schemas, service
from webapp.identity.models import User
from webapp.web import auth
from webapp.web.api import ANY, PUBLIC
from webapp.web.page import BoundForm, Pages, render

pages = Pages("identity_pages")


@pages.get("/login", auth=PUBLIC)
def login(ctx: Ctx) -> Any:
    goal = auth.safe_next(request.args.get("next"), "")
    if ctx.user.via == "session":
        return redirect(goal or "/")
    return _login_page(ctx, BoundForm(values={"next": goal}))


@pages.post("/login", auth=PUBLIC, form=schemas.LoginForm)
def do_login(ctx: Ctx, form: BoundForm) -> Any:
    form.values["next"] = auth.safe_next(form.values.get("next"), "")
    if not form.ok:
        return _login_page(ctx, form), 422
    try:
        user = service.authenticate(ctx, form.data.username, form.data.password)
    except (Unauthorized, TooManyRequests) as exc:
        return _refused(_login_page, ctx, form, exc)
    _log_in(ctx, user)
    return redirect(form.values["next"] or "/", 303)


@pages.post("/logout", auth=PUBLIC)
def logout(ctx: Ctx) -> Any:
    service.logout(ctx)
    auth.end_browser_login()
    flash("You are signed out.", "info")
    return redirect(url_for("identity_pages.login"), 303)


@pages.get("/register", auth=PUBLIC)
def register(ctx: Ctx) -> Any:
    return _register_page(ctx, BoundForm())


@pages.post("/register", auth=PUBLIC, form=schemas.RegisterIn)
def do_register(ctx: Ctx, form: BoundForm) -> Any:
    if not form.ok:
        return _register_page(ctx, form), 422
    try:
        user = service.register(ctx, form.data.username, form.data.password, form.data.email)
    except (Invalid, Conflict, Forbidden, TooManyRequests) as exc:
        return _refused(_register_page, ctx, form, exc)
    _log_in(ctx, user)
    return redirect("/", 303)


@pages.get("/invite/<token>", auth=PUBLIC)
def invite(ctx: Ctx, token: str) -> Any:
    """Where an invited person, or one whose password was reset, sets a password."""
    return _invite_page(people.invited(ctx, token), token, BoundForm())


@pages.post("/invite/<token>", auth=PUBLIC, form=schemas.InviteForm)
def accept_invite(ctx: Ctx, token: str, form: BoundForm) -> Any:
    user = people.invited(ctx, token)
    form.values.clear()
    if not form.ok:
        return _invite_page(user, token, form), 422
    try:
        user = people.accept(ctx, token, form.data.password)
    except (Invalid, TooManyRequests) as exc:
        return _refused(lambda _ctx, shown: _invite_page(user, token, shown), ctx, form, exc)
    _log_in(ctx, user)
    return redirect("/", 303)


@pages.get("/profile", auth=ANY)
def profile(ctx: Ctx) -> Any:
    return _profile_page(ctx, BoundForm())


@pages.post("/profile", auth=ANY, form=schemas.ProfileIn)
def save_profile(ctx: Ctx, form: BoundForm) -> Any:
    if not form.ok:
        return _profile_page(ctx, form), 422
    try:
        service.update_profile(ctx, form.data.username, form.data.email)
    except (Invalid, Conflict) as exc:
        return _refused(_profile_page, ctx, form, exc)
    return _done("Saved.", "identity_pages.profile")


@pages.post("/profile/password", auth=ANY, form=schemas.PasswordIn)
def password(ctx: Ctx, form: BoundForm) -> Any:
    form.values.clear()  # the profile page shows this form beside another one; passwords are never shown again
    if not form.ok:
        return _profile_page(ctx, form), 422
    try:
        service.change_password(ctx, form.data.current_password, form.data.new_password)
    except (Invalid, Conflict, TooManyRequests) as exc:
        return _refused(_profile_page, ctx, form, exc)
    return _done("The password is changed. Other sessions are signed out.", "identity_pages.profile")


@pages.post("/profile/sessions/<session_id>/end", auth=ANY)
def revoke_session(ctx: Ctx, session_id: str) -> Any:
    service.revoke_session(ctx, session_id)
    return _done("That session is signed out.", "identity_pages.profile")


@pages.get("/profile/keys", auth=ANY)
def api_keys(ctx: Ctx) -> Any:
    return _keys_page(ctx, BoundForm())


@pages.post("/profile/keys", auth=ANY, form=schemas.ApiKeyForm)
def create_api_key(ctx: Ctx, form: BoundForm) -> Any:
    """Answers with the page itself, not a redirect: the key must not be kept anywhere to be shown later."""
    if not form.ok:
        return _keys_page(ctx, form), 422
    try:
        _, secret = service.create_api_key(ctx, form.data.name, form.data.scopes, form.data.expires_at)
    except (Invalid, Forbidden) as exc:
        return _refused(_keys_page, ctx, form, exc)
    return _keys_page(ctx, BoundForm(), secret), 201


@pages.post("/profile/keys/<key_id>/revoke", auth=ANY)
def revoke_api_key(ctx: Ctx, key_id: str) -> Any:
    service.revoke_api_key(ctx, key_id)
    return _done("The key is revoked.", "identity_pages.api_keys")


def _login_page(ctx: Ctx, form: BoundForm) -> str:
    return render(
        "identity/login.html",
        form=form.view(),
        registration_open=_registration_open(ctx),
        next=form.values.get("next", ""),
    )


def _register_page(ctx: Ctx, form: BoundForm) -> str:
    return render("identity/register.html", form=form.view(), registration_open=_registration_open(ctx), next="")


def _invite_page(user: User, token: str, form: BoundForm) -> str:
    return render("identity/invite.html", username=user.username, token=token, form=form.view())


def _profile_page(ctx: Ctx, form: BoundForm) -> str:
    user = service.me(ctx)
    shown = {
        "username": user.username,
        "email": user.email,
        "is_admin": ctx.user.is_admin,
        "has_password": user.password_hash is not None,
        "is_local": ctx.user.is_local,  # of this request: the owner may also log in with a password
    }
    sessions = [schemas.SessionOut.of(login, ctx.user) for login in service.list_sessions(ctx)]
    return render("identity/profile.html", user=shown, sessions=sessions, form=form.view())


def _keys_page(ctx: Ctx, form: BoundForm, new_key: str | None = None) -> str:
    scopes = [
        {"name": name, "label": label} for name, label in service.SCOPES.items() if name != "admin" or ctx.user.is_admin
    ]
    keys = service.list_api_keys(ctx)
    return render("identity/api_keys.html", keys=keys, new_key=new_key, scopes=scopes, form=form.view())


def _registration_open(ctx: Ctx) -> bool:
    return bool(ctx.rt.settings.registration or ctx.user.is_admin)


def _log_in(ctx: Ctx, user: User) -> None:
    service.logout(ctx)  # of whoever this browser was before
    auth.start_browser_login(service.start_session(ctx, user, request.headers.get("User-Agent", "")))


def _done(message: str, endpoint: str) -> Any:
    flash(message, "success")
    return redirect(url_for(endpoint), 303)


def _refused(page: Any, ctx: Ctx, form: BoundForm, exc: AppError) -> Any:
    """The form again, with what was wrong beside the field it concerns."""
    for problem in exc.details or [{"loc": [""], "msg": exc.message}]:
        form.fail(str(problem["loc"][0]), problem["msg"])
    headers = {"Retry-After": str(exc.retry_after)} if exc.retry_after else {}
    return page(ctx, form), exc.status, headers
