"""Pages of people (list, one, new), of settings, retention and quotas; and the meter that other pages show."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from flask import Response, current_app, flash, g, redirect, request, url_for

from webapp.administration import service
from webapp.administration.schemas import (
    DefaultsForm,
    LimitForm,
    PersonForm,
    ResetForm,
    RetentionForm,
    RoleForm,
)
from webapp.administration.service import Meter
from webapp.core import quotas, stored
from webapp.core.context import Ctx
from webapp.core.errors import AppError
from webapp.core.quotas import BY_NAME, QUOTAS
from webapp.identity import people
from webapp.identity import service as identity
from webapp.settings import BY_NAME as OPTIONS
from webapp.web.api import ADMIN, make_ctx
from webapp.web.page import BoundForm, Pages, render

users = Pages("people_pages", "/admin/users")
settings = Pages("settings_pages", "/admin")


@users.app_context_processor
def meters() -> dict[str, Callable[[], list[Meter]]]:
    """`quota_meters()`: the caller's own, for any page; empty for whoever has no limits."""
    return {"quota_meters": _own_meters}


def _own_meters() -> list[Meter]:
    actor = g.get("actor")
    if actor is None or actor.id is None:
        return []
    ctx = make_ctx(current_app.extensions["sqlalchemy"].session(), actor)
    if all(limit is None for limit in quotas.limits_of(ctx.rt, actor.id, ctx.db).values()):
        return []
    return service.meter(ctx)


# -- people ----------------------------------------------------------------------------------------------------------


@users.get("/", auth=ADMIN)
def index(ctx: Ctx) -> Any:
    """Everybody who has an account."""
    filters = {name: request.args.get(name, "").replace("\0", "")[:100].strip() for name in ("q", "state", "role")}
    page = people.search(ctx, **{k: v or None for k, v in filters.items()}, cursor=request.args.get("cursor"))  # type: ignore[arg-type]
    return render("administration/people.html", page=page, filters=filters)


@users.get("/new", auth=ADMIN)
def new(ctx: Ctx) -> Any:
    return render("administration/new_person.html", form=BoundForm().view())


@users.post("/new", auth=ADMIN, form=PersonForm)
def create(ctx: Ctx, form: BoundForm) -> Any:
    """Answers with the person's page itself where there is an invitation: it is shown this once."""
    if form.ok:
        try:
            user, token = people.create(ctx, form.data.username, email=form.data.email,
                                        password=form.data.password or None, is_admin=form.data.role == "admin")  # fmt: skip
            user_id = user.id
            ctx.db.commit()
        except AppError as exc:
            ctx.db.rollback()
            _blame(form, exc)
        else:
            flash(f"{user.username} has an account.", "success")
            return (_person(ctx, user_id, token=token), 201) if token else _to("people_pages.show", user_id=user_id)
    form.values.pop("password", None)
    return render("administration/new_person.html", form=form.view()), 422


@users.get("/<user_id>", auth=ADMIN)
def show(ctx: Ctx, user_id: str) -> Any:
    return _person(ctx, user_id)


def _person(ctx: Ctx, user_id: str, *, token: str | None = None, form: BoundForm | None = None) -> str:
    quotas.forget(ctx.rt)  # what was believed for a second may be older than a change just made here
    return render(
        "administration/person.html",
        person=people.get(ctx, user_id),
        meters=service.meter_of(ctx, user_id),
        link=url_for("identity_pages.invite", token=token, _external=True) if token else None,
        invited_for=people.INVITED_FOR,
        own=user_id == ctx.user.id,
        form=(form or BoundForm()).view(),
    )


@users.post("/<user_id>/role", auth=ADMIN, form=RoleForm)
def set_role(ctx: Ctx, user_id: str, form: BoundForm) -> Any:
    def act() -> str:
        user = people.set_role(ctx, user_id, form.ok and form.data.role == "admin")
        return f"{user.username} is {'an administrator' if user.is_admin else 'an ordinary user'} now."

    return _do(ctx, user_id, act)


@users.post("/<user_id>/suspend", auth=ADMIN)
def suspend(ctx: Ctx, user_id: str) -> Any:
    def act() -> str:
        return f"{identity.set_active(ctx, user_id, False).username} is suspended; sessions and keys have ended."

    return _do(ctx, user_id, act)


@users.post("/<user_id>/reinstate", auth=ADMIN)
def reinstate(ctx: Ctx, user_id: str) -> Any:
    return _do(ctx, user_id, lambda: f"{identity.set_active(ctx, user_id, True).username} may sign in again.")


@users.post("/<user_id>/invite", auth=ADMIN)
def invite(ctx: Ctx, user_id: str) -> Any:
    return _with_link(ctx, user_id, lambda: people.invite(ctx, user_id))


@users.post("/<user_id>/password", auth=ADMIN, form=ResetForm)
def reset_password(ctx: Ctx, user_id: str, form: BoundForm) -> Any:
    form.values.clear()
    if not form.ok:
        return _person(ctx, user_id, form=form), 422
    return _with_link(ctx, user_id, lambda: people.reset_password(ctx, user_id, form.data.password or None), form)


def _with_link(ctx: Ctx, user_id: str, act: Callable[[], str | None], form: BoundForm | None = None) -> Any:
    """The page itself with the link, which is shown this once."""
    try:
        token = act()
        ctx.db.commit()
    except AppError as exc:
        ctx.db.rollback()
        if form is not None and exc.details:
            _blame(form, exc)
            return _person(ctx, user_id, form=form), exc.status
        flash(_sentence(exc), "warning")
        return _to("people_pages.show", user_id=user_id)
    if token:
        return _person(ctx, user_id, token=token)
    flash("The new password counts; all sessions have ended.", "success")
    return _to("people_pages.show", user_id=user_id)


@users.post("/<user_id>/sessions/end", auth=ADMIN)
def end_sessions(ctx: Ctx, user_id: str) -> Any:
    return _do(ctx, user_id, lambda: _ended(people.end_sessions(ctx, user_id), "session", "ended"))


@users.post("/<user_id>/keys/revoke", auth=ADMIN)
def revoke_keys(ctx: Ctx, user_id: str) -> Any:
    return _do(ctx, user_id, lambda: _ended(people.revoke_keys(ctx, user_id), "key", "revoked"))


def _ended(count: int, noun: str, verb: str) -> str:
    return f"{count} {noun if count == 1 else noun + 's'} {verb}."


@users.post("/<user_id>/quotas/<name>", auth=ADMIN, form=LimitForm)
def set_quota(ctx: Ctx, user_id: str, name: str, form: BoundForm) -> Any:
    def act() -> str:
        how = form.data.how if form.ok else "own"
        if how == "default":
            service.take_back(ctx, user_id, name)
            return "The default counts again."
        service.grant(ctx, user_id, name, None if how == "none" else _most(name, form.data.amount if form.ok else ""))
        return f"{BY_NAME[name].label}: {'no limit' if how == 'none' else form.data.amount} now."

    return _do(ctx, user_id, act)


def _most(name: str, text: str) -> int:
    from webapp.core.errors import Invalid

    plain = text.strip().replace(",", "").replace(" ", "")
    if not (plain.isascii() and plain.isdigit()):
        raise Invalid("give the limit as a whole number")
    return int(plain) * (BY_NAME[name].scale if name in BY_NAME else 1)


# -- settings --------------------------------------------------------------------------------------------------------


@settings.get("/settings", auth=ADMIN, write=False)
def index_settings(ctx: Ctx) -> Any:
    """Every setting, what counts now and where it comes from."""
    return render("administration/settings.html", tab="settings", groups=service.groups(ctx), places=_PLACES)


_PLACES = {"retention_": "settings_pages.retention", "quota_": "settings_pages.quota_defaults"}


@settings.get("/quotas", auth=ADMIN)
def quota_defaults(ctx: Ctx) -> Any:
    return _quotas_page(ctx, BoundForm())


@settings.post("/quotas", auth=ADMIN, form=DefaultsForm)
def save_quota_defaults(ctx: Ctx, form: BoundForm) -> Any:
    if form.ok:
        try:
            service.change(ctx, _changed(ctx, form.data.model_dump()))
            ctx.db.commit()
        except AppError as exc:
            ctx.db.rollback()
            _blame(form, exc)
        else:
            flash("Saved. The new limits count at once.", "success")
            return _to("settings_pages.quota_defaults")
    return _quotas_page(ctx, form), 422


def _quotas_page(ctx: Ctx, form: BoundForm) -> str:
    rows = {quota.name: stored.shown(ctx, OPTIONS[quota.setting]) for quota in QUOTAS}
    return render("administration/quotas.html", tab="quotas", quotas=QUOTAS, rows=rows, grants=service.grants(ctx),
                  form=form.view())  # fmt: skip


@settings.get("/retention", auth=ADMIN)
def retention(ctx: Ctx) -> Any:
    return _retention_page(ctx, BoundForm(), service.going(ctx))


@settings.get("/retention/preview", auth=ADMIN)
def preview_retention(ctx: Ctx) -> Any:
    """What would go by what stands in the form, or what is wrong with it."""
    form = RetentionForm(**{name: request.args.get(name, "").replace("\0", "")[:2000] for name in service.RETENTION})
    try:
        going, problem = service.going(ctx, _changed(ctx, form.wanted())), ""
    except AppError as exc:
        going, problem = [], exc.message
    return render("administration/_going.html", going=going, problem=problem)


@settings.post("/retention", auth=ADMIN, form=RetentionForm)
def save_retention(ctx: Ctx, form: BoundForm) -> Any:
    """Store it once its author has seen what it would delete: until then the page comes back with the counts."""
    if not form.ok:
        return _retention_page(ctx, form, service.going(ctx)), 422
    try:
        wanted = _changed(ctx, form.data.wanted())
        going = service.going(ctx, wanted)
        seen = _seen(going)
        if any(one.count for one in going) and wanted and form.data.seen != seen:
            return _retention_page(ctx, form, going, seen)
        service.keep(ctx, wanted)
        ctx.db.commit()
    except AppError as exc:
        ctx.db.rollback()
        _blame(form, exc)
        return _retention_page(ctx, form, service.going(ctx)), 422
    flash("Saved. The next night goes by it.", "success")
    return _to("settings_pages.retention")


@settings.post("/retention/run", auth=ADMIN)
def run_retention(ctx: Ctx) -> Any:
    service.sweep_now(ctx)
    ctx.db.commit()
    flash("It is being done now; the tasks are in the list of the system’s.", "success")
    return _to("settings_pages.retention")


def _retention_page(ctx: Ctx, form: BoundForm, going: list[service.Going], seen: str = "") -> str:
    rows = {row.option.name: row for row in service.shown(ctx)}
    shown = form.view()
    if not form.values:
        shown["values"] = {name: row.text.replace(",", "\n") for name, row in rows.items()}
    return render("administration/retention.html", tab="retention", rows=rows, going=going, seen=seen, form=shown)


def _seen(going: list[service.Going]) -> str:
    """What was shown, in a form that comes back: other numbers are other news."""
    return ",".join(f"{one.days}:{one.count}" for one in going)[:200]


def _changed(ctx: Ctx, given: dict[str, str]) -> dict[str, str | None]:
    """Only what differs from what counts now: what the environment says stands in the form too, and stays."""
    now = {name: stored.shown(ctx, OPTIONS[name]) for name in given}
    return {
        name: text or None for name, text in given.items() if text.strip() != now[name].text and not now[name].fixed
    }


# -- both ------------------------------------------------------------------------------------------------------------


def _do(ctx: Ctx, user_id: str, act: Callable[[], str]) -> Response:
    """Do it, then show the person with what came of it. Committed first: nothing is called done that may yet fail."""
    try:
        message = act()
        ctx.db.commit()
    except AppError as exc:
        if exc.status == 404 and exc.message.startswith("There is no such account"):
            raise
        ctx.db.rollback()
        flash(_sentence(exc), "warning")
    else:
        flash(message, "success")
    return _to("people_pages.show", user_id=user_id)


def _blame(form: BoundForm, exc: AppError) -> None:
    for problem in exc.details or [{"loc": [""], "msg": exc.message}]:
        form.fail(str(problem["loc"][0]), problem["msg"])


def _sentence(exc: AppError) -> str:
    text = exc.message.rstrip(".") + "."
    return text[:1].upper() + text[1:] + (f" {exc.suggestion}" if exc.suggestion else "")


def _to(endpoint: str, **values: Any) -> Response:
    return redirect(url_for(endpoint, **values), 303)  # type: ignore[return-value]
