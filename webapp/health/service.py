"""One report for pages, API and the periodic check; it tells the truth when a worker or Redis is down."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

from sqlalchemy import func, select

from webapp import __version__
from webapp.core.db import db_now, iso, utcnow
from webapp.core.jobs import QUEUES
from webapp.runtime import Runtime
from webapp.settings import Settings
from webapp.tasks.models import ACTIVE, Task, Worker
from webapp.tasks.service import waiting_by_queue

APP_NAME = "Brainstem"
ALIVE = 3  # beats a worker may miss
LITTLE_DISK = 2 * 2**30  # bytes free below which an operator is told
LOW_DISK = 500 * 2**20  # and below which things fail soon


def report(rt: Runtime) -> dict[str, Any]:
    """status healthy|warning|degraded|unhealthy, and each check with what is wrong."""
    checks: dict[str, Any] = {name: _answer(trouble) for name, trouble in rt.ping().items()}
    if checks["database"]["ok"]:
        checks |= _from_database(rt)
    checks["disk"] = _disk(rt)
    return {"status": _status(checks), "app_name": APP_NAME, "version": __version__, "timestamp": iso(utcnow()),
            "checks": checks}  # fmt: skip


def ready(rt: Runtime) -> tuple[dict[str, Any], bool]:
    """shapes.md 6.1: `{status, checks}` and whether requests should be sent here."""
    found = report(rt)
    ok = found["status"] != "unhealthy"
    checks = {name: "ok" if check["ok"] else check["error"] for name, check in found["checks"].items()}
    checks.setdefault("redis", "not used")
    checks["model"] = _model(rt) if found["checks"]["database"]["ok"] else "not known"
    return {"status": "ready" if ok else "not_ready", "checks": checks, "timestamp": found["timestamp"]}, ok


def _model(rt: Runtime) -> str:
    """Which model writes where nobody chose one, as far as that is known without asking any server."""
    from webapp.engines import service as engines

    usable = [one.id for one in engines.available(rt, wait=False) if one.available and "text" in one.capabilities]
    wanted = engines.defaults_for(rt, "")
    name = next((one for one in [*wanted, *usable] if one in usable), None)
    if name != next(iter([*wanted, *usable]), "") and engines.asks_still(rt):
        return "not known yet: a server of models has not answered"
    return f"ok: {name}" if name else "none: answers and summaries are sentences of the sources"


def _answer(trouble: str | None) -> dict[str, Any]:
    return {"ok": True} if trouble is None else {"ok": False, "error": f"does not answer ({trouble})"}


def _from_database(rt: Runtime) -> dict[str, Any]:
    with rt.unit(write=False) as db:
        served = db.scalars(select(Worker.queues).where(Worker.beat_at > db_now() - lost_after(rt.settings))).all()
        waiting = waiting_by_queue(db)
        running = db.scalar(select(func.count()).where(Task.status.in_(ACTIVE))) or 0
    have = {queue for text in served for queue in text.split(",")}
    missing = [queue for queue in QUEUES if queue not in have]
    workers: dict[str, Any] = {"ok": not missing, "count": len(served)}
    if missing:
        workers["error"] = "no worker for " + ", ".join(missing)
    return {"workers": workers, "queues": {"ok": True, "waiting": waiting, "unfinished": running}}


def lost_after(settings: Settings) -> float:
    """Seconds without a beat after which a worker counts as lost."""
    return float(settings.beat_seconds) * ALIVE + 5


def disk_space(rt: Runtime) -> tuple[int, int]:
    """(free, whole) bytes where this installation keeps its data."""
    found = shutil.disk_usage(existing(rt.settings.home_dir))
    return found.free, found.total


def existing(folder: Path) -> Path:
    """The folder, or the nearest above it that is there."""
    folder = folder.absolute()
    while not folder.exists():
        folder = folder.parent
    return folder


def _disk(rt: Runtime) -> dict[str, Any]:
    free, _ = disk_space(rt)
    if free < LOW_DISK:
        return {"ok": False, "error": f"only {free // 2**20} MB free", "free_mb": free // 2**20}
    return {"ok": True, "free_mb": free // 2**20}


def _status(checks: dict[str, Any]) -> str:
    bad = {name for name, check in checks.items() if not check["ok"]}
    if bad & {"database", "redis"}:
        return "unhealthy"
    if "workers" in bad:
        return "unhealthy" if checks["workers"].get("count") == 0 else "degraded"
    return "warning" if bad else "healthy"
