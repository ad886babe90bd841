"""How long things are kept: the settings, what they would delete now, and changing them.

The deleting itself is done each night by the areas whose rows they are (`maintenance.retention`, `.conversations`,
`.files`); the counts shown here ask the very same conditions.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from webapp.administration.service import settings
from webapp.chat.service import conversations
from webapp.core import audit, stored
from webapp.core.context import Ctx
from webapp.core.errors import Forbidden
from webapp.core.stored import Shown
from webapp.deliveries import service as deliveries
from webapp.files import service as files
from webapp.knowledge.service import search
from webapp.notifications import service as notifications
from webapp.settings import BY_NAME
from webapp.tasks import housekeeping
from webapp.tasks import service as tasks

SETTINGS = ("retention_days", "retention_tasks", "retention_conversations_days", "retention_files_days",
            "retention_logs_days", "retention_notifications_days", "retention_searches_days", "retention_audit_days")  # fmt: skip
SWEEPS = ("maintenance.retention", "maintenance.conversations", "maintenance.files", "maintenance.records",
          "maintenance.notifications")  # fmt: skip


@dataclass(frozen=True)
class Going:
    """What one rule deletes at its next turn. days 0 keeps. count: of `noun`."""

    what: str
    days: int
    count: int
    noun: str


def shown(ctx: Ctx) -> list[Shown]:
    """The settings with their origin."""
    _admin(ctx)
    return [stored.shown(ctx, BY_NAME[name]) for name in SETTINGS]


def going(ctx: Ctx, wanted: Mapping[str, str | None] | None = None) -> list[Going]:
    """What would be deleted now by the settings as they are, or as they would be with `wanted`. Changes nothing.

    Raises Invalid naming the setting that does not fit, Conflict for one that the environment says.
    """
    _admin(ctx)
    values = {name: stored.value(ctx.rt, name, ctx.db) for name in SETTINGS}
    for name, text in (wanted or {}).items():
        option = stored.checked(ctx.rt, name, text)
        values[name] = option.parse(text) if text else ctx.rt.settings.values[name]
    return _going(ctx, values)


def _going(ctx: Ctx, values: dict[str, Any]) -> list[Going]:
    rules = housekeeping.rules(values["retention_days"], values["retention_tasks"])
    found = [Going(rule.label, rule.days, housekeeping.count(ctx.db, rule), "tasks") for rule in rules]
    logs = values["retention_logs_days"]
    found.append(Going("Logs of tasks that are kept", logs, housekeeping.count_logs(ctx.db, logs), "logs"))
    idle = values["retention_conversations_days"]
    found.append(
        Going("Conversations without a new message", idle, conversations.count_idle(ctx.db, idle), "conversations")
    )
    uploads = values["retention_files_days"]
    found.append(Going("Uploads", uploads, files.count_older(ctx.db, uploads), "files"))
    told = values["retention_notifications_days"]
    found.append(Going("Notifications", told, notifications.count_older(ctx.db, told), "notifications"))
    found.append(Going("Deliveries with their log", told, deliveries.count_older(ctx.db, told), "deliveries"))
    searched = values["retention_searches_days"]
    found.append(Going("What people searched for", searched, search.count_older(ctx.db, searched), "searches"))
    audited = values["retention_audit_days"]
    found.append(Going("Audit log", audited, audit.count_older(ctx.db, audited), "entries"))
    return found


def keep(ctx: Ctx, wanted: Mapping[str, str | None]) -> None:
    """Store the settings; the next night goes by them."""
    settings.change(ctx, {name: text for name, text in wanted.items() if name in SETTINGS})


def sweep_now(ctx: Ctx) -> list[str]:
    """Do now what is done each night: the ids of the tasks."""
    audit.record(_admin(ctx), "retention.run", "settings", None)
    return [str(tasks.start(ctx, kind, {}, title="Retention (by hand)")["id"]) for kind in SWEEPS]


def _admin(ctx: Ctx) -> Ctx:
    if not ctx.user.is_admin:
        raise Forbidden("this is for administrators")
    return ctx
