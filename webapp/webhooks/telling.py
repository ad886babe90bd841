"""Ends of tasks as webhook events, stored with what else follows from a notice."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from sqlalchemy import select
from sqlalchemy.orm import Session

from webapp.core.db import iso
from webapp.tasks.notices import Listener, Notice
from webapp.webhooks import service
from webapp.webhooks.models import WebhookEndpoint

if TYPE_CHECKING:
    from webapp.runtime import Runtime

EVENT = {"completed": "task.completed", "failed": "task.failed", "timed_out": "task.failed",
         "cancelled": "task.cancelled", "waiting_input": "task.waiting"}  # fmt: skip
GIVEN_UP = ("attempts", "crash", "time_limit")  # dead letters that trying again could have saved


def tell(rt: Runtime, db: Session, notices: Sequence[Notice]) -> None:
    owners = {notice.owner_id for notice in notices}
    listening = select(WebhookEndpoint.owner_id).where(WebhookEndpoint.owner_id.in_(owners), WebhookEndpoint.enabled)
    listeners = set(db.scalars(listening))
    for notice in notices:
        if notice.owner_id in listeners:
            event, also = events_of(notice)
            service.publish(db, notice.owner_id, event, data_of(rt, notice), key=f"notice:{notice.id}",
                            kind=notice.kind, also=also)  # fmt: skip


def events_of(notice: Notice) -> tuple[str, str]:
    """The event's name, and the more general one that it is as well."""
    event = EVENT[notice.status]
    if event == "task.failed" and notice.reason in GIVEN_UP:
        return "task.dead_letter", event
    return event, ""


def data_of(rt: Runtime, notice: Notice) -> dict[str, object]:
    base = rt.settings.public_url.rstrip("/")
    return {
        "execution_id": notice.task_id,
        "task_id": notice.task_id,
        "task_type": notice.kind,
        "title": notice.title,
        "status": notice.status,
        "message": notice.message,
        "given_up": notice.reason in GIVEN_UP,
        "at": iso(notice.at),
        "duration_seconds": None if notice.seconds is None else round(notice.seconds, 3),
        "url": f"{base}/tasks/{notice.task_id}" if base else f"/tasks/{notice.task_id}",
    }


LISTENER = Listener(tell=tell)
