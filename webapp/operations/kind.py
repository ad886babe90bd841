"""An alert goes out for what is bad (003:313): every minute as a hidden task kind, to the log, to a webhook, and to each
administrator as their rules for notifications say.

What is told is told once while it lasts, and again when it comes back. What was told stands in the result of the last
run; a webhook that does not answer is asked again a minute later, with all it has missed.
"""

from __future__ import annotations

import json
import logging
from datetime import timedelta
from typing import Any

from pydantic import BaseModel, ConfigDict

from webapp.core.context import SYSTEM, Ctx
from webapp.core.db import iso, utcnow
from webapp.core.errors import AppError
from webapp.notifications import service as notifications
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


def send(run: TaskRun) -> dict[str, Any]:
    """Tell what is new since the last run. Returns {told: keys that need no telling, here: the same of administrators,
    who do not wait for a webhook that is away; sent, problem}."""
    told, here, lasting = _before_and_now(run.rt, run.id)
    keys = sorted(one["key"] for one in lasting)
    _tell_administrators(run, [one for one in lasting if one["key"] not in here])
    news = [one for one in lasting if one["key"] not in told]
    problem = _post(run, news) if news and run.rt.settings.alert_url else ""
    if problem:
        run.log(f"The alert could not be sent: {problem}", "error")
        return {"told": sorted(told), "here": keys, "sent": 0, "problem": problem}
    for one in news:
        log.error("alert: %s. %s", one["title"], one["text"])
    return {"told": keys, "here": keys, "sent": len(news), "problem": ""}


def _tell_administrators(run: TaskRun, news: list[Alert]) -> None:
    if news:
        with run.rt.unit() as db:
            notifications.alert(run.rt, db, news, key=run.id)


def _before_and_now(rt: Runtime, own_id: str) -> tuple[set[str], set[str], list[Alert]]:
    """Keys that were told, and those that administrators were told; what is bad now, and the newest dead letters, oldest first."""
    from webapp.operations import service

    with rt.unit(write=False) as db:
        ctx = Ctx(rt, db, SYSTEM)
        last = service.last_result(ctx, NAME, own_id)
        bad = [one for one in service.alerts(ctx) if one.level == "bad"]
        letters = [one for one in service.letters(ctx, limit=MOST).items if one.failed_at > utcnow() - WINDOW]
    told = set(last.get("told", ()))
    return told, set(last.get("here", told)), [
        *({"key": one.title, "level": one.level, "title": one.title, "text": one.text} for one in bad),
        *(
            {"key": one.id, "level": "bad", "title": f"A task failed for good: {one.kind} on {one.queue}",
             "text": f"{one.reason}: {one.error[:300]}", "owner": one.owner or ""}
            for one in reversed(letters)
        ),
    ]  # fmt: skip


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
