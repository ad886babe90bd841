"""Pages of a new task: which kind, and the form that is made from its schema."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from flask import current_app, flash, make_response, request, url_for

from webapp.core.context import Ctx
from webapp.core.errors import AppError, BadRequest
from webapp.tasks import form_fields, forms, notices, schedules, service, wishes
from webapp.tasks.door import WRITE, kinds_shown, pages, to
from webapp.tasks.forms import Errors, Field, Raw
from webapp.tasks.kinds import TaskKind, kind_or_400, kinds
from webapp.tasks.schedules import When
from webapp.tasks.schemas import PageTaskForm, WishForm
from webapp.tasks.wishes import Wish
from webapp.web.page import BoundForm, render

OWN_FIELDS = ("title", "priority", "at", "repeat", "time", "cron")  # of every form, beside those of the kind
PREFILLED = 5000  # characters of a field that an address may carry


@dataclass
class FormPage:
    """What the template shows: the fields of a kind, what was typed, and what is wrong with it."""

    kind: TaskKind
    raw: Raw
    values: dict[str, Any] = field(default_factory=dict)
    errors: Errors = field(default_factory=dict)
    source: str = ""
    frame: dict[str, Any] = field(default_factory=dict)
    wish: Wish | None = None  # what was read out of somebody's own words
    again: Any = None  # the task that this form repeats
    template: Any = None  # the template that it begins with
    schedule: schedules.ScheduleView | None = None  # the one that it changes
    times: list[datetime] = field(default_factory=list)  # when it would start
    problem: str = ""  # with that time

    def __post_init__(self) -> None:
        self.fields = forms.fields_of(self.kind)
        self.kinds = kinds_shown(offered=True)

    @property
    def opens_more(self) -> bool:
        """Something among the further options is wrong or is not as usual."""
        return any(one.advanced and (self.raw.get(one.name) or one.key in self.errors) for one in self.fields)

    @property
    def is_paused(self) -> bool:
        return self.schedule is not None and not self.schedule.enabled and not self.schedule.is_over

    def blame(self, exc: AppError) -> None:
        """Put the reasons beside their fields; what has none is said above them all."""
        text = f"{exc.message} {exc.suggestion}" if exc.suggestion else exc.message
        for detail in exc.details or [{"loc": [], "msg": text, "type": exc.code}]:
            loc = list(detail["loc"])
            own = str(loc[0]) if loc and loc[0] in OWN_FIELDS else ""
            name = forms.place_of(self.fields, loc) or own
            message = "This is needed" if detail["type"] == "missing" else detail["msg"]
            told = f"{forms.place_name(loc)}: {message}" if not name and loc and loc[0] != "task_type" else message
            self.errors.setdefault(name, []).append(told)


@pages.app_template_global("field_default")
def _field_default(one: Field) -> Any:
    return forms.default_of(one)


@pages.app_template_global("field_rows")
def _field_rows(one: Field) -> list[Raw]:
    return [{} for _ in range(forms.first_rows(one))]


def accepted() -> str:
    return ".txt,.md,.html,.htm,.pdf,.docx"


# -- looking ---------------------------------------------------------------------------------------------------------


@pages.get("/tasks/new", auth=WRITE)
def new(ctx: Ctx) -> Any:
    """Which kind; with `kind`, or with something to work on, its form. Other arguments are the fields filled in.

    from: a task of the caller's whose parameters fill the form. schedule: one of theirs, to be changed. template: one
    that they may use.
    """
    if request.args.get("template"):
        return _from_template(ctx, request.args["template"])
    if request.args.get("from"):
        return _again(ctx, request.args["from"])
    if request.args.get("schedule"):
        return _rescheduled(ctx, request.args["schedule"])
    name = request.args.get("kind", "")[:64]
    if not name and not any(request.args.get(one) for one in ("content", "urls")):
        return _chooser({"values": {"wish": request.args.get("wish", "")[:PREFILLED]}, "errors": {}})
    page = FormPage(kind_or_400(name or "summary", hidden=False), {})
    given = {key: [text[:PREFILLED] for text in request.args.getlist(key)] for key in request.args}
    page.raw = forms.read(page.fields, given)
    page.values = {one: request.args.get(one, "")[:300] for one in (*OWN_FIELDS, "when") if one in request.args}
    return _shown(ctx, page)


def _again(ctx: Ctx, task_id: str) -> Any:
    """The form of a task that was, to be run again with changes."""
    task = service.get(ctx, task_id)
    page = FormPage(kind_or_400(task.kind, hidden=False), {})
    page.raw = forms.shown(page.fields, task.params)
    page.values = {"title": task.title, "priority": task.priority}
    page.again = task
    return _shown(ctx, page)


def _templates() -> Any:
    """What is done with templates: an area above this one, which the application puts here."""
    return current_app.extensions["task_templates"]


def _from_template(ctx: Ctx, template_id: str) -> Any:
    row = _templates().get(ctx, template_id)
    page = FormPage(kind_or_400(row.task_type, hidden=False), {}, {"template": row.id})
    page.raw = forms.shown(page.fields, row.default_config)
    return _shown(ctx, page)


def _template_of(ctx: Ctx, page: FormPage) -> Any:
    """The one that the form began with, as long as it is there and the kind is still its own."""
    try:
        row = _templates().get(ctx, page.values["template"])
    except AppError:
        return None
    return row if row.task_type == page.kind.name else None


def _rescheduled(ctx: Ctx, schedule_id: str) -> Any:
    one = schedules.get(ctx, schedule_id)
    page = FormPage(kind_or_400(one.kind, hidden=False), {})
    page.raw = forms.shown(page.fields, one.params)
    page.values = {"title": one.title, "priority": one.priority, "schedule": one.id, "notify": one.notify,
                   "when": "cron" if one.cron else "once", "at": f"{one.at:%Y-%m-%dT%H:%M}" if one.at and not one.cron else ""}  # fmt: skip
    page.values |= schedules.parts_of(one.cron) if one.cron else {}
    return _shown(ctx, page)


@pages.post("/tasks/wish", auth=WRITE, form=WishForm)
def wish(ctx: Ctx, form: BoundForm) -> Any:
    """The form that somebody's own words ask for, filled in to be checked. Nothing is started."""
    text = (form.data.wish or form.data.content or form.data.urls) if form.ok else ""
    if not text.strip():
        errors = {"wish": form.errors.get("wish") or form.errors.get("") or ["Say what you would like to have done."]}
        return make_response(_chooser({"values": {"wish": text}, "errors": errors}), 422)
    found = wishes.read(text)
    if form.data.kind:  # chosen by hand, after it could not be told
        page = FormPage(kind_or_400(form.data.kind, hidden=False), {}, wish=wishes.for_kind(text, form.data.kind))
    elif found.kind is None:
        return _chooser({"values": {"wish": text}, "errors": {}}, unclear=True)
    else:
        page = FormPage(found.kind, {}, wish=found)
    page.raw = page.wish.raw if page.wish else {}
    return _shown(ctx, page)


def _chooser(form: dict[str, Any], *, unclear: bool = False) -> str:
    return render("tasks/choose.html", kinds=kinds_shown(offered=True), form=form, unclear=unclear)


@pages.post("/tasks/form", auth=WRITE, form=PageTaskForm)
def draw(ctx: Ctx, form: BoundForm) -> Any:
    """The form again, after one of its own buttons: another row, another kind. Nothing is started, nothing is lost."""
    page = _bound(form, request.form.get("to", ""))
    page.raw = forms.act(page.fields, page.raw, request.form.get("do", "")[:200])
    page.errors = {}
    _keep(ctx, page)
    response = _shown(ctx, page)
    if request.form.get("to"):
        response.headers["HX-Replace-Url"] = url_for("tasks_pages.new", kind=page.kind.name)
    return response


def _shown(ctx: Ctx, page: FormPage, status: int = 200) -> Any:
    from webapp.files import service as files

    kept = [one for f in page.fields if f.control == "upload" for one in page.raw.get(f.name) or ()]
    page.fields = form_fields.with_choices(page.fields, current_app.extensions["task_choices"], ctx)
    page.frame = {"accepted": accepted(), "max_upload_mb": ctx.rt.settings.largest_upload_mb,
                  "files": files.names(ctx, kept)}  # fmt: skip
    page.source = _source(page)
    if page.values.get("template"):
        page.template = _template_of(ctx, page)
    if page.values.get("schedule"):
        page.schedule = _schedule_of(ctx, page.values)
    if page.values.get("when") in ("once", "cron"):
        page.times, page.problem = _upcoming(ctx, page.values)
    return make_response(render("tasks/new.html", form=page), status)


def _schedule_of(ctx: Ctx, values: Mapping[str, Any]) -> schedules.ScheduleView | None:
    """The one that the form changes, as long as it is there."""
    try:
        return schedules.get(ctx, str(values.get("schedule") or ""))
    except AppError:
        return None


def _source(page: FormPage) -> str:
    """The pane to show: that of a mistake, else what was chosen, else what is filled in."""
    panes = [one for one in page.fields if one.pane]
    wrong = next((one.pane for one in panes if one.key in page.errors), None)
    filled = list(dict.fromkeys(one.pane for one in panes if page.raw.get(one.name)))
    chosen = page.values.get("source")
    if chosen == "several":
        return "several"
    if wrong or chosen in form_fields.PANES:
        return str(wrong or chosen)
    return "several" if len(filled) > 1 else (filled or ["text"])[0]


# -- starting --------------------------------------------------------------------------------------------------------


@pages.post("/tasks", auth=WRITE, form=PageTaskForm)
def create(ctx: Ctx, form: BoundForm) -> Any:
    """Start what the form says; on any mistake the form comes back with its input and the reason beside the field."""
    page = _bound(form)
    page.raw = forms.without_blank_rows(page.fields, _of_one_source(page))
    names = _keep(ctx, page)
    params, wrong = forms.params_of(page.fields, page.raw)
    page.errors.update(wrong)
    if page.errors:
        return _shown(ctx, page, 422)
    try:
        with ctx.db.begin_nested():  # the files stay when the rest is refused
            return to(_start(ctx, page, form.data, params, names))
    except AppError as exc:
        page.blame(exc)
        return _shown(ctx, page, 422)


def _bound(form: BoundForm, other: str = "") -> FormPage:
    """What was sent, as the form of its kind (or of another one: fields of the same name keep what was typed)."""
    errors = {name: list(texts) for name, texts in form.errors.items()}
    try:
        kind = kind_or_400((other or form.values.get("kind") or "summary")[:64], hidden=False)
    except AppError as exc:
        kind = kinds.get("summary")
        errors.setdefault("", []).append(f"{exc.message} {exc.suggestion or ''}".strip())
    page = FormPage(kind, {}, dict(form.values), errors)
    page.raw = forms.read(page.fields, {} if "" in form.errors else request.form.to_dict(flat=False))
    return page


def _of_one_source(page: FormPage) -> Raw:
    """Of the panes the one that was chosen and filled in; links pasted where text goes are links."""
    raw, panes = dict(page.raw), {one.name: one for one in page.fields if one.pane}
    text = next((name for name, one in panes.items() if one.pane == "text" and one.control == "textarea"), None)
    links = next((name for name, one in panes.items() if one.control == "words"), None)
    if text and links and not str(raw.get(links) or "").strip() and _only_links(str(raw.get(text) or "")):
        raw[links] = raw.pop(text)
        return raw
    chosen = page.values.get("source")
    filled = [name for name, one in panes.items() if one.pane == chosen and (raw.get(name) or _sent_files(one))]
    if filled and chosen != "several":
        raw = {name: value for name, value in raw.items() if name not in panes or name in filled}
    return raw


def _only_links(text: str) -> bool:
    words = text.split()
    return bool(words) and all(word.startswith(("http://", "https://")) for word in words)


def _sent_files(one: Field) -> list[Any]:
    if one.control != "upload":
        return []
    name = "file" if one.name == "upload_ids" else f"{one.key}.file"
    return [given for given in request.files.getlist(name) if given.filename]


def _keep(ctx: Ctx, page: FormPage) -> list[str]:
    """Store the files that came along; their ids join those the form had. Their names."""
    from webapp.files import service as files

    names = []
    for one in page.fields:
        for given in _sent_files(one):
            try:
                row = files.store(ctx, given.stream, given.filename or "", given.mimetype,
                                  [ending for ending in one.accept.split(",") if ending])  # fmt: skip
            except AppError as exc:
                page.errors.setdefault(one.key, []).append(f"{exc.message} {exc.suggestion or ''}".strip())
                continue
            names.append(row.name)
            page.raw[one.name] = [row.id] if one.single else [*(page.raw.get(one.name) or ()), row.id]
    return names


def _start(ctx: Ctx, page: FormPage, data: PageTaskForm, params: dict[str, Any], names: list[str]) -> str:
    """Start or schedule it; the address to go on to."""
    title = (data.title.strip() or forms.title_of(page.fields, params) or ", ".join(names))[:300]
    template = _template_of(ctx, page) if data.template else None
    if template is not None:
        _templates().use(ctx, template.id, params)
    if data.when == "now" and not data.schedule:
        values = service.start(ctx, page.kind.name, params, title=title, priority=data.priority, interactive=True,
                               asked=True)  # fmt: skip
        if data.notify:
            notices.want(ctx, values["id"])
        return url_for("tasks_pages.show", task_id=values["id"])
    when = _when(data.when, data.at, data.repeat, data.time, data.cron)
    if data.schedule:
        one = schedules.change(ctx, data.schedule, page.kind.name, params, when, title=title, priority=data.priority,
                               notify=data.notify)  # fmt: skip
    else:
        one = schedules.add(ctx, page.kind.name, params, when, title=title, priority=data.priority, notify=data.notify)
    flash(f"“{one.title}” is scheduled: {one.when}.", "success")
    return url_for("tasks_pages.schedule_list")


# -- by the clock ----------------------------------------------------------------------------------------------------


@pages.get("/tasks/schedules/preview", auth=WRITE)
def preview(ctx: Ctx) -> Any:
    """The next times of what the form says, as a part of it."""
    given = {name: request.args.get(name, "")[:100] for name in ("when", "schedule", *OWN_FIELDS)}
    times, problem = _upcoming(ctx, given)
    return render("tasks/_times.html", times=times, problem=problem)


def _upcoming(ctx: Ctx, values: Mapping[str, Any]) -> tuple[list[datetime], str]:
    """None of a schedule that is paused; what is wrong with its time is told all the same."""
    try:
        when = _when(*(str(values.get(name) or "") for name in ("when", "at", "repeat", "time", "cron")))
        times = schedules.upcoming(ctx, when)
    except AppError as exc:
        return [], exc.details[0]["msg"] if exc.details else exc.message
    one = _schedule_of(ctx, values) if values.get("schedule") else None
    return ([] if one and not one.enabled and not one.is_over else times), ""


def _when(when: str, at: str, repeat: str, time: str, cron: str) -> When:
    if when == "cron":
        return When(cron=schedules.cron_of(repeat or "daily", time, cron))
    try:
        return When(at=datetime.fromisoformat(at.strip()[:16]).replace(tzinfo=UTC))
    except ValueError:
        message = "choose a day and a time"
        raise BadRequest(f"at: {message}", details=[{"loc": ["at"], "msg": message, "type": "missing_time"}]) from None
