"""Templates: a kind of task with a configuration filled in beforehand. Those of the program are for all, and nobody's."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from sqlalchemy import ColumnElement, Select, delete, func, or_, select, true, update
from sqlalchemy.dialects import postgresql, sqlite

from webapp.core.context import Ctx
from webapp.core.db import iso, new_id, utcnow
from webapp.core.errors import AppError, BadRequest, Conflict, Forbidden, NotFound
from webapp.core.text import clean
from webapp.task_templates import checking
from webapp.task_templates.models import TaskTemplate
from webapp.tasks import service as tasks
from webapp.tasks.kinds import TaskKind, kind_or_400, kinds

if TYPE_CHECKING:
    from webapp.runtime import Runtime

MOST_OWN = 500  # templates of one person
MOST_IMPORTED = 200  # in one file
FORMAT = "brainstem-task-templates"
POPULAR = 10
ORDERS: dict[str, tuple[Any, ...]] = {
    "-usage_count": (TaskTemplate.usage_count.desc(), TaskTemplate.name),
    "name": (TaskTemplate.name,),
    "-created_at": (TaskTemplate.created_at.desc(),),
}
UPSERT: dict[str, Any] = {"sqlite": sqlite.insert, "postgresql": postgresql.insert}
SEALED = "sealed:"
# What of a task belongs to that one time: files are its owner's and go some day.
OF_ONE_TIME = ("upload_ids",)


@dataclass(frozen=True)
class Given:
    """What a person says of a template."""

    name: str
    task_type: str
    description: str = ""
    default_config: dict[str, Any] | None = None
    config_schema: dict[str, Any] | None = None
    is_active: bool = True


# -- looking ---------------------------------------------------------------------------------------------------------


def listed(
    ctx: Ctx,
    *,
    task_type: str | None = None,
    search: str | None = None,
    whose: str = "",
    active: bool | None = None,
    ordering: str = "-usage_count",
) -> Select[Any]:
    """The templates the caller may see, the most used first. whose: "mine", "shipped", or "" for both."""
    stmt = select(TaskTemplate).where(_visible(ctx))
    if whose:
        stmt = stmt.where(TaskTemplate.key.is_(None) if whose == "mine" else TaskTemplate.key.is_not(None))
    if task_type:
        stmt = stmt.where(TaskTemplate.task_type == task_type[:64])
    if active is not None:
        stmt = stmt.where(TaskTemplate.is_active.is_(active))
    if search:
        words = search[:200].replace("\0", "").replace("\\", "\\\\").replace("%", "\\%").replace("_", "\\_")
        like = f"%{words}%"
        stmt = stmt.where(
            or_(TaskTemplate.name.ilike(like, escape="\\"), TaskTemplate.description.ilike(like, escape="\\"))
        )
    return stmt.order_by(*ORDERS[ordering], TaskTemplate.id)


def page(ctx: Ctx, stmt: Select[Any], number: int, size: int) -> tuple[int, list[TaskTemplate]]:
    """How many there are, and those of one page."""
    count = ctx.db.scalar(select(func.count()).select_from(stmt.order_by(None).subquery())) or 0
    return count, list(ctx.db.scalars(stmt.offset((number - 1) * size).limit(size)))


def popular(ctx: Ctx, limit: int = POPULAR) -> list[TaskTemplate]:
    """Those that can be used, the most used first."""
    return list(ctx.db.scalars(listed(ctx, active=True).limit(limit)))


def get(ctx: Ctx, template_id: str) -> TaskTemplate:
    """Raises NotFound for none and for a stranger's, alike."""
    row = ctx.db.scalar(select(TaskTemplate).where(TaskTemplate.id == template_id[:40], _visible(ctx)))
    if row is None:
        raise NotFound("there is no such template")
    return row


def _visible(ctx: Ctx) -> ColumnElement[bool]:
    return or_(TaskTemplate.key.is_not(None), _own(ctx))


def _own(ctx: Ctx) -> ColumnElement[bool]:
    """As tasks decide it: the operator's key has no row of its own and sees all, the anonymous see what is nobody's."""
    if ctx.user.id is not None:
        return TaskTemplate.owner_id == ctx.user.id
    mine: ColumnElement[bool] = true() if ctx.user.is_admin else TaskTemplate.owner_id.is_(None)
    return mine & TaskTemplate.key.is_(None)


def is_whole(template: TaskTemplate) -> bool:
    """Whether its configuration needs nothing more, so that one click starts it."""
    return template.is_active and not problems(template.task_type, template.default_config, template.config_schema)


# -- changing --------------------------------------------------------------------------------------------------------


def create(ctx: Ctx, given: Given) -> TaskTemplate:
    """Store a template of the caller's. Raises BadRequest naming the field, Conflict when they have too many."""
    values = _checked(ctx, given)
    have = ctx.db.scalar(select(func.count()).select_from(TaskTemplate).where(_own(ctx))) or 0
    if have >= MOST_OWN:
        raise Conflict(f"you have {have} templates; delete some first", code="too_many")
    row = TaskTemplate(id=new_id(), owner_id=ctx.user.id, **values)
    ctx.db.add(row)
    ctx.db.flush()
    return row


def change(ctx: Ctx, template_id: str, **changes: Any) -> TaskTemplate:
    """Give some fields (as in `Given`) another value. Raises Forbidden for a template of the program."""
    row = own(ctx, template_id)
    now = {name: getattr(row, name) for name in Given.__dataclass_fields__}
    values = _checked(ctx, Given(**{**now, **{name: value for name, value in changes.items() if value is not None}}))
    for name, value in values.items():
        setattr(row, name, value)
    row.updated_at = utcnow()
    ctx.db.flush()
    return row


def remove(ctx: Ctx, template_id: str) -> None:
    """Tasks made from it stay."""
    row = own(ctx, template_id)
    ctx.db.execute(delete(TaskTemplate).where(TaskTemplate.id == row.id))


def copy(ctx: Ctx, template_id: str) -> TaskTemplate:
    """One of the caller's own with the same content; the way to change a template of the program."""
    row = get(ctx, template_id)
    given = Given(f"{row.name[:180]} (copy)", row.task_type, row.description, row.default_config, row.config_schema)
    return create(ctx, given)


def from_task(ctx: Ctx, task_id: str, name: str = "", description: str = "") -> TaskTemplate:
    """A template with the configuration of one of the caller's tasks, without the files it was given."""
    return create(ctx, drafted(ctx, task_id, name, description))


def drafted(ctx: Ctx, task_id: str, name: str = "", description: str = "") -> Given:
    """The same, to be looked at first. Raises Conflict while the task is not completed."""
    task = tasks.get(ctx, task_id)
    if task.status != "completed":
        raise Conflict(
            f"a template is made from a task that completed; this one is {task.status}", code="not_completed"
        )
    kind = kind_or_400(task.kind, hidden=False)
    known = kind.params.model_fields
    config = {key: value for key, value in task.params.items() if key in known and key not in OF_ONE_TIME}
    return Given(name.strip() or task.title[:200], task.kind, description, config)


def own(ctx: Ctx, template_id: str) -> TaskTemplate:
    """One that the caller may change. Raises Forbidden for those of the program."""
    row = get(ctx, template_id)
    if row.is_shipped:
        raise Forbidden("this template comes with Brainstem and is everybody's", code="shipped",
                        suggestion="Make a copy and change that.")  # fmt: skip
    return row


def _checked(ctx: Ctx, given: Given) -> dict[str, Any]:
    """The columns, clean. A default configuration may leave things open, but what it says must be right."""
    kind = kind_or_400(given.task_type, hidden=False)
    name = clean(given.name).strip()
    if not name:
        raise BadRequest("name: is needed", details=[{"loc": ["name"], "msg": "is needed", "type": "missing"}])
    config = checking.plain(given.default_config or {})
    schema = checking.plain(given.config_schema or {}, "config_schema")
    checking.usable(schema)
    wrong = _of_kind(kind, config, whole=False) or checking.mistakes(schema, config, whole=False)
    _refuse(wrong, "default_config")
    config = _without_open_secrets(ctx, kind.name, config)
    return {
        "name": name[:200],
        "description": clean(given.description).strip()[:2000],
        "task_type": kind.name,
        "default_config": config,
        "config_schema": schema,
        "is_active": given.is_active,
    }


def _without_open_secrets(ctx: Ctx, task_type: str, config: dict[str, Any]) -> dict[str, Any]:
    """Credentials of calls are sealed for their owner, as they are when a task is stored; those in steps too."""
    from webapp.calls.secrets import seal_lines

    if task_type == "api":
        given = {name: config[name] for name in ("headers", "secrets") if config.get(name)}
        sealed = seal_lines(given, ctx.rt.secret_key, ctx.user.id) if given else {}
        return config | {name: sealed[name] for name in given}
    return {name: _in_steps(ctx, value) if name == "steps" else value for name, value in config.items()}


def _in_steps(ctx: Ctx, steps: Any) -> Any:
    if not isinstance(steps, list):
        return steps
    return [
        one | {"params": _without_open_secrets(ctx, "api", one["params"])}
        if isinstance(one, dict) and one.get("kind") == "api" and isinstance(one.get("params"), dict) else one
        for one in steps
    ]  # fmt: skip


def _refuse(wrong: list[dict[str, Any]], field: str) -> None:
    if wrong:
        details = [{**one, "loc": [field, *one["loc"]]} for one in wrong]
        where = ".".join(str(part) for part in details[0]["loc"])
        raise BadRequest(f"{where}: {details[0]['msg']}", code="invalid_config", details=details)


# -- checking --------------------------------------------------------------------------------------------------------


def problems(task_type: str, config: dict[str, Any], schema: dict[str, Any] | None = None) -> list[dict[str, Any]]:
    """What keeps a task from being made of `config`, as `[{"loc", "msg", "type"}]`, the kind's word first."""
    try:
        kind = kind_or_400(task_type, hidden=False)
    except BadRequest as exc:
        return exc.details or []
    return _of_kind(kind, config) or checking.mistakes(schema or {}, _as_read(kind, config))


def _as_read(kind: TaskKind, config: dict[str, Any]) -> dict[str, Any]:
    """What was given, as the kind understands it: a form sends steps as lines, a schema speaks of a list of them.

    Without what the kind itself would add: a schema may require more than it does.
    """
    try:
        read = kind.check(config)
    except BadRequest:
        return config  # told when the task is started
    return {name: read.get(name, value) for name, value in config.items()}


def _of_kind(kind: TaskKind, config: dict[str, Any], *, whole: bool = True) -> list[dict[str, Any]]:
    """whole=False: without what is only missing, and without what is said of several fields together."""
    try:
        kind.check(config)
    except BadRequest as exc:
        found = exc.details or [{"loc": [], "msg": exc.message, "type": exc.code}]
        return [one for one in found if whole or (one["loc"] and one["type"] != "missing")]
    return []


def examine(
    ctx: Ctx, task_type: str, config: dict[str, Any], template_id: str | None = None
) -> tuple[dict[str, Any] | None, list[dict[str, Any]]]:
    """What a task of `config` would be given, and what is wrong with it: exactly what starting it would say.

    With a template its defaults come in and its schema is asked too. Starts and stores nothing, in a unit that writes.
    """
    schema: dict[str, Any] = {}
    if template_id:
        row = get(ctx, template_id)
        if row.task_type != task_type:
            return None, [{"loc": ["task_type"], "msg": f"the template is for {row.task_type}", "type": "mismatch"}]
        config, schema = {**row.default_config, **config}, row.config_schema
    wrong = problems(task_type, config, schema)
    if wrong:
        return None, wrong
    kind = kind_or_400(task_type, hidden=False)
    return kind.tried(ctx, kind.check(config))


# -- using -----------------------------------------------------------------------------------------------------------


def start(
    ctx: Ctx,
    template_id: str,
    *,
    title: str = "",
    config: dict[str, Any] | None = None,
    priority: str = "normal",
    interactive: bool = False,
) -> dict[str, Any]:
    """Start a task from a template: `config` laid over its defaults, field by field. Returns the task's columns.

    Raises BadRequest naming the field when that does not fit the kind or the template's schema, Conflict when the
    template is switched off.
    """
    row = get(ctx, template_id)
    whole = {**row.default_config, **(config or {})}
    use(ctx, template_id, whole)
    return tasks.start(
        ctx, row.task_type, whole, title=title or row.name, priority=priority, interactive=interactive, asked=True
    )


def use(ctx: Ctx, template_id: str, config: dict[str, Any]) -> None:
    """Count a use of the template for a task of exactly this configuration. Raises as `start` does.

    What starts the task afterwards does so in the same unit: if it is refused, nothing was counted.
    """
    row = get(ctx, template_id)
    if not row.is_active:
        raise Conflict("this template is switched off", code="inactive")
    if row.config_schema:
        read = _as_read(kind_or_400(row.task_type, hidden=False), config)
        _refuse(checking.mistakes(row.config_schema, read), "task_config")
    ctx.db.execute(
        update(TaskTemplate).where(TaskTemplate.id == row.id).values(usage_count=TaskTemplate.usage_count + 1)
    )


# -- files -----------------------------------------------------------------------------------------------------------


def exported(ctx: Ctx, ids: Iterable[str] = ()) -> dict[str, Any]:
    """A document `imported` takes: those with these ids, or all of the caller's own."""
    wanted = list(dict.fromkeys(ids))[:MOST_OWN]
    stmt = listed(ctx).where(TaskTemplate.id.in_(wanted)) if wanted else listed(ctx, whose="mine")
    return {
        "format": FORMAT,
        "version": 1,
        "exported_at": iso(utcnow()),
        "templates": [_portable(content(row)) for row in ctx.db.scalars(stmt.limit(MOST_OWN))],
    }


def _portable(value: Any) -> Any:
    """Without what is sealed: it opens for its owner and on this server only."""
    if isinstance(value, dict):
        return {name: _portable(one) for name, one in value.items()}
    if isinstance(value, list):
        return [_portable(one) for one in value if not (isinstance(one, str) and SEALED in one)]
    return value


def content(row: TaskTemplate) -> dict[str, Any]:
    """The fields of `Given`."""
    return {name: getattr(row, name) for name in Given.__dataclass_fields__}


def imported(ctx: Ctx, document: Any) -> dict[str, list[dict[str, Any]]]:
    """Store the templates of an exported document as the caller's own.

    `{"created": [{"id", "name"}], "skipped": [{"name", "reason"}], "failed": [{"name", "error"}]}`: what one has
    already is skipped, what does not fit is told; one failure stops no other. Raises BadRequest for another document.
    """
    told: dict[str, list[dict[str, Any]]] = {"created": [], "skipped": [], "failed": []}
    have = [content(row) for row in ctx.db.scalars(listed(ctx, whose="mine").limit(MOST_OWN))]
    for one in _entries(document):
        name = str(one.get("name", "")) if isinstance(one, dict) else ""
        try:
            given = _entry(one)
            if _checked(ctx, given) in have:
                told["skipped"].append({"name": name[:200], "reason": "you have it already"})
                continue
            row = create(ctx, given)
            have.append(content(row))
            told["created"].append({"id": row.id, "name": row.name})
        except AppError as exc:
            told["failed"].append({"name": name[:200], "error": exc.message})
    return told


def _entries(document: Any) -> list[Any]:
    entries = document.get("templates") if isinstance(document, dict) else None
    if not isinstance(entries, list) or document.get("format") != FORMAT:
        raise BadRequest("this is no file of exported templates", code="bad_file",
                         suggestion="Export writes the files that import reads.")  # fmt: skip
    if document.get("version") != 1:
        raise BadRequest("this file is of a newer Brainstem", code="bad_file")
    if len(entries) > MOST_IMPORTED:
        raise BadRequest(f"at most {MOST_IMPORTED} templates in one file", code="too_many")
    return entries


_TYPES: dict[str, type] = {"name": str, "task_type": str, "description": str, "default_config": dict,
                           "config_schema": dict, "is_active": bool}  # fmt: skip


def _entry(one: Any) -> Given:
    if not isinstance(one, dict):
        raise BadRequest("a template is an object")
    for name in ("name", "task_type"):
        if not one.get(name):
            raise BadRequest(f"{name}: is needed")
    for name, value in one.items():
        if name not in _TYPES:
            raise BadRequest(f"{name[:60]}: is not known")
        if not isinstance(value, _TYPES[name]):
            raise BadRequest(f"{name}: is of the wrong type")
    return Given(**one)


# -- those of the program --------------------------------------------------------------------------------------------


def ensure_seeded(rt: Runtime) -> None:
    """Bring the rows of SEEDS to this version's words, and take away those it no longer has.

    Safe to run at each start and from many processes at once. How often they were used stays.
    """
    from webapp.task_templates.seeds import SEEDS

    with rt.unit(write=False) as db:
        rows = {row.key: row for row in db.scalars(select(TaskTemplate).where(TaskTemplate.key.is_not(None)))}
    known = {name for name, kind in kinds.all() if not kind.hidden}
    words = [{"key": seed.key, "name": seed.name, "description": seed.description, "task_type": seed.task_type,
              "default_config": seed.default_config, "config_schema": seed.config_schema} for seed in SEEDS if seed.task_type in known]  # fmt: skip
    changed = [
        one
        for one in words
        if one["key"] not in rows or any(getattr(rows[one["key"]], name) != value for name, value in one.items())
    ]
    gone = set(rows) - {one["key"] for one in words}
    if not changed and not gone:
        return
    now = utcnow()
    with rt.unit() as db:
        insert = UPSERT[db.get_bind().dialect.name]
        for one in changed:
            made = insert(TaskTemplate).values(
                id=new_id(), is_active=True, usage_count=0, created_at=now, updated_at=now, **one
            )
            db.execute(made.on_conflict_do_update(index_elements=["key"], set_={**one, "updated_at": now}))
        if gone:
            db.execute(delete(TaskTemplate).where(TaskTemplate.key.in_(gone)))
