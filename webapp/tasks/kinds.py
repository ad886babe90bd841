"""Task kinds: what can be started, on which queue, with which parameters, by which runner.

A kind is a plugin: built-ins below, a stranger's by the entry point group `brainstem.kinds`.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from copy import deepcopy
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel, ValidationError

from webapp.core.errors import AppError, BadRequest, NotFound
from webapp.core.registry import Registry

if TYPE_CHECKING:
    from webapp.core.context import Ctx
    from webapp.tasks.run import TaskRun


@dataclass(frozen=True)
class Download:
    """A form in which people take a result away: `make(title, result)` gives the text or the bytes of the file."""

    media_type: str
    make: Callable[[str, dict[str, Any]], str | bytes]
    label: str = ""  # on the button; the name of the format when empty


def _as_json(title: str, result: dict[str, Any]) -> str:
    return json.dumps(result, ensure_ascii=False, indent=2)


AS_JSON = Download("application/json; charset=utf-8", _as_json, "JSON")


@dataclass(frozen=True)
class TaskKind:
    """A kind of work.

    run: `run(task_run) -> result` (a JSON object); called again after a crash, so it must be safe to repeat.
    time_limit: seconds one attempt may take; None means the setting `task_limit_seconds`. Past it the run is stopped
      by force.
    soft_limit: seconds after which `run.check()` ends the run, so that it can tidy up first (M037, M188).
    backoff: seconds to wait after attempt n (1-based) failed; None means full jitter up to min(300, 2^n).
    """

    name: str
    label: str
    queue: str
    params: type[BaseModel]
    run: Callable[[TaskRun], dict[str, Any]]
    description: str = ""
    time_limit: float | None = None
    soft_limit: float | None = None
    max_attempts: int = 5
    backoff: Callable[[int], float] | None = None
    hidden: bool = False  # our own housekeeping: started by the program only, not in people's lists
    offered: bool = True  # on the page for new tasks; what has a page of its own is started there
    # Looks, before a task is stored, at what the parameters point to (files, addresses); raises AppErrors.
    prepare: Callable[[Ctx, dict[str, Any]], None] | None = None
    examples: list[dict[str, Any]] = field(default_factory=list)
    view: str = ""  # the template that shows a result, with `task` and `result`; without one it is shown as JSON
    live: str = ""  # the template that shows, with `task`, what comes while it runs
    downloads: dict[str, Download] = field(default_factory=dict)  # by the ending of the file; JSON is always there

    def schema(self) -> dict[str, Any]:
        """JSON Schema of the parameters, as forms and documentation use it."""
        return self.params.model_json_schema()

    def with_new_defaults(self, params: dict[str, Any]) -> dict[str, Any]:
        """Parameters of a task that a version of before stored: what it did not know yet gets its default."""
        fields = self.params.model_fields.items()
        lacking = {name for name, field in fields if name not in params and not field.is_required()}
        new = {name: self.params.model_fields[name].get_default(call_default_factory=True) for name in lacking}
        made = (
            self.params.model_construct(**new).model_dump(mode="json", include=lacking, exclude_none=True)
            if new
            else {}
        )
        return {**made, **params}

    def ways_out(self) -> dict[str, Download]:
        """All its downloads, JSON last."""
        return {**self.downloads, "json": AS_JSON}

    def check(self, params: dict[str, Any]) -> dict[str, Any]:
        """The parameters, normalised. Raises BadRequest with `details` naming each field."""
        try:
            return self.params.model_validate(params).model_dump(mode="json", exclude_none=True)
        except ValidationError as exc:
            details = [{"loc": list(e["loc"]), "msg": _plain(e["msg"]), "type": e["type"]} for e in exc.errors()]
            first = details[0]
            where = ".".join(str(part) for part in first["loc"]) or self.name
            raise BadRequest(f"{where}: {first['msg']}", code="invalid_config", details=details) from None

    def tried(self, ctx: Ctx, params: dict[str, Any]) -> tuple[dict[str, Any] | None, list[dict[str, Any]]]:
        """(the parameters as `prepare` leaves them, why it refuses them as `[{"loc", "msg", "type"}]`).

        Wants a unit that writes. What preparing stores, a person's first collection, is taken back and not named.
        """
        if self.prepare is None:
            return params, []
        made, trial = deepcopy(params), ctx.db.begin_nested()
        try:
            self.prepare(ctx, made)
        except AppError as exc:
            return None, exc.details or [{"loc": [], "msg": exc.message, "type": exc.code}]
        finally:
            trial.rollback()
        if not params.get("collection_id"):
            made.pop("collection_id", None)
        return made, []


def known(name: str) -> TaskKind | None:
    """The kind of a row, which may outlive its plugin."""
    try:
        return kinds.get(name)
    except NotFound:
        return None


def doubling(first: float) -> Callable[[int], float]:
    """A backoff of first, 2 x first, 4 x first ... seconds (003:299-306: 60, 120, 240)."""
    return lambda attempt: first * 2.0 ** (attempt - 1)


def _plain(message: str) -> str:
    return message.removeprefix("Value error, ")


kinds: Registry[TaskKind] = Registry(
    "brainstem.kinds",
    noun="task kind",
    builtin={
        # What people choose from, in the order they see.
        "summary": "webapp.summaries.kind:SUMMARY",
        "research": "webapp.research.kind:ANSWERS",
        "content_generation": "webapp.writing.kind:CONTENT",
        "data_analysis": "webapp.analysis.kind:ANALYSIS",
        "nlp": "webapp.nlp.kind:NLP",
        "decision": "webapp.decisions.kind:DECISION",
        "api": "webapp.calls.kind:API",
        "custom": "webapp.custom.kind:CUSTOM",
        # What is started by its own page, or by the program.
        "chat.answer": "webapp.chat.kind:ANSWER",
        "chat.expand": "webapp.chat.expand_kind:EXPAND",
        "chat.completion": "webapp.openai_api.kind:COMPLETION",
        "crawl.site": "webapp.crawl.kind:CRAWL",
        "research.run": "webapp.research.kind:RESEARCH",
        "knowledge.expand": "webapp.research.kind:EXPAND",
        "content.analyze": "webapp.research.kind:ANALYZE",
        "agent.task": "webapp.agent_service.kind:AGENT_TASK",
        "knowledge.read": "webapp.knowledge.kind:READ",
        "maintenance.demo": "webapp.knowledge.kind:DEMO",
        "knowledge.remove": "webapp.knowledge.kind:REMOVE",
        "knowledge.embed": "webapp.knowledge.embed_kind:EMBED",
        "maintenance.embed": "webapp.knowledge.embed_kind:UPKEEP",
        "knowledge.embed_pending": "webapp.knowledge.embed_kind:PENDING",
        "knowledge.reindex": "webapp.knowledge.embed_kind:REINDEX",
        "knowledge.quality": "webapp.knowledge.assess_kind:QUALITY",
        "maintenance.quality": "webapp.knowledge.assess_kind:UPKEEP",
        "knowledge.freshness": "webapp.knowledge.assess_kind:FRESHNESS",
        "maintenance.retention": "webapp.tasks.housekeeping:RETENTION",
        "maintenance.health": "webapp.health.kind:HEALTH",
        "maintenance.alerts": "webapp.operations.kind:ALERTS",
        "maintenance.deliver": "webapp.deliveries.kind:DELIVER",
        "maintenance.notifications": "webapp.webhooks.kind:FORGET",
        "maintenance.logins": "webapp.identity.kind:PURGE",
        "maintenance.conversations": "webapp.chat.kind:EMPTY",
        "maintenance.records": "webapp.administration.kind:FORGET",
        "maintenance.files": "webapp.files.kind:CLEAN",
        "models.pull": "webapp.engines.kind:PULL",
        "models.try": "webapp.engines.kind:TRY",
        "maintenance.model_calls": "webapp.engines.kind:FORGET",
    },
)


def kind_or_400(name: str, *, hidden: bool = True) -> TaskKind:
    """hidden: also kinds that only the program itself starts."""
    try:
        kind = kinds.get(name)
        if kind.hidden and not hidden:
            raise NotFound(f"there is no task kind {name!r}")
        return kind
    except NotFound as exc:
        known = ", ".join(name for name, kind in kinds.all() if not kind.hidden)
        raise BadRequest(
            exc.message,
            details=[{"loc": ["task_type"], "msg": exc.message, "type": "unknown_kind"}],
            suggestion=f"Use one of: {known}",
        ) from None
