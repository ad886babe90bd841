"""Ends of tasks as notifications: whom each notice concerns, and by which of their channels."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from sqlalchemy import delete, select
from sqlalchemy.orm import Session

from webapp.identity import service as identity
from webapp.notifications import service
from webapp.notifications.models import TaskWatch
from webapp.notifications.service import EMAIL, INAPP, QUIET, Rule
from webapp.tasks.notices import Listener, Notice

if TYPE_CHECKING:
    from webapp.runtime import Runtime

# status -> event, level, what follows the title
WORDS = {
    "completed": ("completed", "ok", "is done"),
    "failed": ("failed", "bad", "failed"),
    "timed_out": ("failed", "bad", "took too long"),
    "cancelled": ("cancelled", "warn", "was cancelled"),
    "waiting_input": ("waiting", "warn", "waits for you"),
}
GIVEN_UP = ("attempts", "crash", "time_limit")  # a dead letter that trying again could have saved


def tell(rt: Runtime, db: Session, notices: Sequence[Notice]) -> None:
    """In-app lines and deliveries for these notices. The number of queries grows with what is told, not with people."""
    mails = identity.addresses(db, {notice.owner_id for notice in notices})
    rules, usable = service.rules_of(db, list(mails)), service.enabled_channels(db, list(mails))
    watched = _watched(db, notices)
    for notice in notices:
        owner = notice.owner_id
        if owner not in mails:
            continue  # their account is gone or suspended
        reachable = {INAPP} | usable[owner] | ({EMAIL} if service.reachable_by_mail(rt, mails[owner]) else set())
        by = reachable if notice.task_id in watched else channels_for(notice, rules[owner]) & reachable
        _tell(rt, db, notice, by)
    over = [notice.task_id for notice in notices if notice.status != "waiting_input" and notice.task_id in watched]
    if over:
        db.execute(delete(TaskWatch).where(TaskWatch.task_id.in_(over)))


def channels_for(notice: Notice, rules: Sequence[Rule]) -> set[str]:
    """By which channels the rules want this told."""
    events = events_of(notice)
    return {rule.channel for rule in rules if rule.event in events and _fits(rule, notice)}


def events_of(notice: Notice) -> set[str]:
    event = WORDS[notice.status][0]
    return {event, "dead_letter"} if event == "failed" and notice.reason in GIVEN_UP else {event}


def _fits(rule: Rule, notice: Notice) -> bool:
    if rule.kinds:
        kind_fits = notice.kind in rule.kinds
    else:
        kind_fits = not notice.kind.startswith(QUIET)
    slow_enough = rule.event != "completed" or (notice.seconds or 0.0) >= rule.min_seconds
    return kind_fits and slow_enough


def _tell(rt: Runtime, db: Session, notice: Notice, by: set[str]) -> None:
    if not by:
        return
    event, level, words = WORDS[notice.status]
    if "dead_letter" in events_of(notice):
        event, words = "dead_letter", words if notice.status == "timed_out" else "was given up"
    title, path, key = f"{notice.title[:270]} {words}", f"/tasks/{notice.task_id}", f"notice:{notice.id}"
    text = "" if notice.status in ("completed", "cancelled") else notice.message
    if INAPP in by:
        service.notify(db, notice.owner_id, event, title, text, key=key, level=level, url=path, task_id=notice.task_id)
    for channel in sorted(by - {INAPP}):
        message = service.compose(rt, event, level, title, text, path, task_id=notice.task_id, kind=notice.kind,
                                  status=notice.status, seconds=notice.seconds)  # fmt: skip
        service.send(db, notice.owner_id, service.target_of(channel, notice.owner_id), message, key=key)


def _watched(db: Session, notices: Sequence[Notice]) -> set[str]:
    ids = [notice.task_id for notice in notices]
    return set(db.scalars(select(TaskWatch.task_id).where(TaskWatch.task_id.in_(ids))))


LISTENER = Listener(tell=tell, want=service.want)
