"""An alert goes out for what is bad (003:313): every minute as a hidden task kind, to the log, to a webhook, and to each
administrator as their rules for notifications say.

What is told is told once while it lasts, once more when it is over, and again when it comes back. What was told stands
in the result of the last run; a webhook that does not answer is asked again a minute later, with all it has missed.
"""

from __future__ import annotations

import json
import logging
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from pydantic import BaseModel, ConfigDict

from webapp.core.context import SYSTEM, Ctx
from webapp.core.db import iso, utcnow
from webapp.core.errors import AppError
from webapp.notifications import service as notifications
from webapp.operations.service.base import words
from webapp.runtime import Runtime
from webapp.settings import Settings
from webapp.tasks.kinds import TaskKind
from webapp.tasks.run import TaskRun

log = logging.getLogger("brainstem.alerts")
NAME = "maintenance.alerts"
MOST = 20  # dead letters named in one message, the newest
WINDOW = timedelta(days=1)  # older ones are no news any more
ANSWER = 64 * 1024  # bytes of the webhook's answer that are read

Alert = dict[str, str]  # key, level, title, text


class NoParams(BaseModel):
    model_config = ConfigDict(extra="forbid")


@dataclass(frozen=True)
class Before:
    """What the last run left. told: keys the webhook has heard of; here: those administrators have.
    outages: key -> what was wrong and since when, of those whose end is still to be told."""

    told: set[str]
    here: set[str]
    outages: dict[str, dict[str, str]]


def send(run: TaskRun) -> dict[str, Any]:
    """Tell what is new since the last run, and what is over. Administrators do not wait for a webhook that is away.

    Returns {told, here, outages: see Before; since: key -> when what is wrong now began; sent, problem}.
    """
    before, outages, letters, since = _look(run.rt, run.id)
    lasting = [*outages, *letters]
    now = {one["key"] for one in lasting}
    _tell_administrators(
        run, [*(one for one in lasting if one["key"] not in before.here), *_over(before, before.here - now)]
    )
    news = [*(one for one in lasting if one["key"] not in before.told), *_over(before, before.told - now)]
    news = [{name: value for name, value in one.items() if name != "task"} for one in news]
    problem = _post(run, news) if news and run.rt.settings.alert_url else ""
    open_ = {one["key"]: {"title": one["title"], "since": since[one["key"]]} for one in outages}
    found = {"here": sorted(now), "since": since, "problem": problem}
    if problem:
        run.log(f"The alert could not be sent: {problem}", "error")
        return {**found, "told": sorted(before.told), "outages": {**before.outages, **open_}, "sent": 0}
    for one in news:
        log.log(logging.INFO if one["level"] == "ok" else logging.ERROR, "alert: %s. %s", one["title"], one["text"])
    return {**found, "told": sorted(now), "outages": open_, "sent": len(news)}


def _over(before: Before, keys: set[str]) -> list[Alert]:
    """A line for each outage that has ended; a task that failed for good has no end."""
    found = []
    for key in sorted(keys & set(before.outages)):
        was = before.outages[key]
        lasted = (utcnow() - datetime.fromisoformat(was["since"])).total_seconds()
        found.append({"key": f"over:{key}", "level": "ok", "title": f"Over: {was['title']}",
                      "text": f"It lasted {words(lasted)}."})  # fmt: skip
    return found


def _tell_administrators(run: TaskRun, news: list[Alert]) -> None:
    """People know a task by its title; programs are told its kind and queue."""
    told = [
        {**one, "title": f"A task failed for good: “{one['task'][:200]}”"} if one.get("task") else one for one in news
    ]
    if told:
        with run.rt.unit() as db:
            notifications.alert(run.rt, db, told, key=run.id)


def _look(rt: Runtime, own_id: str) -> tuple[Before, list[Alert], list[Alert], dict[str, str]]:
    """What was told, what is to be told of what is wrong now, the newest dead letters (oldest first), and since when."""
    from webapp.operations import service

    with rt.unit(write=False) as db:
        ctx = Ctx(rt, db, SYSTEM)
        last = service.last_result(ctx, NAME, own_id)
        wrong = service.alerts(ctx)
        fresh = [one for one in service.letters(ctx, limit=MOST).items if one.failed_at > utcnow() - WINDOW]
    told = set(last.get("told", ()))
    before = Before(told, set(last.get("here", told)), last.get("outages") or {})
    known = last.get("since") or {}
    since = {one.key: str(known.get(one.key) or iso(one.since or utcnow())) for one in wrong if one.key}
    outages = [{"key": one.key, "level": one.level, "title": one.title, "text": one.text} for one in wrong if one.told]
    letters = [
        {"key": one.id, "level": "bad", "title": f"A task failed for good: {one.kind} on {one.queue}",
         "text": f"{one.reason}: {one.error[:300]}", "owner": one.owner or "", "task": one.title}
        for one in reversed(fresh)
    ]  # fmt: skip
    return before, outages, letters, since


def _post(run: TaskRun, news: list[Alert]) -> str:
    """Why it did not arrive, or nothing. `text` is what chat services show; `alerts` is for programs."""
    settings = run.rt.settings
    lines = [f"{one['title']}. {one['text']}".strip() for one in news]
    body = {"text": "Brainstem: " + "\n".join(lines), "at": iso(utcnow()), "url": _address(settings), "alerts": news}
    try:
        answer = run.fetch(
            settings.alert_url, method="POST", body=json.dumps(body).encode(), timeout=15.0, max_redirects=0,
            headers={"Content-Type": "application/json"}, max_bytes=ANSWER, on_too_large="truncate",
        )  # fmt: skip
    except AppError as exc:
        if exc.code in ("cancelled", "timed_out"):
            raise
        return exc.message[:200]
    return "" if answer.status < 300 else f"it answered {answer.status}"


def _address(settings: Settings) -> str:
    base = settings.public_url.rstrip("/")
    return f"{base}/monitor/" if base else ""


ALERTS = TaskKind(NAME, "Alerts", "maintenance", NoParams, send, time_limit=60, max_attempts=1, hidden=True)
