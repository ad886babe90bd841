"""Prometheus text: what the database knows (true for all processes) and what this process counted."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Gauge, disable_created_metrics, generate_latest
from sqlalchemy import func, select

from webapp.core.db import db_now
from webapp.core.jobs import QUEUES
from webapp.runtime import Runtime
from webapp.tasks.dialects import agentic_status
from webapp.tasks.models import Task, Worker
from webapp.tasks.service import waiting_by_queue

disable_created_metrics()  # type: ignore[no-untyped-call]  # a second series for each, which nobody asked for
_process = CollectorRegistry()
requests_total = Counter(
    "api_requests", "API requests answered by this process", ["method", "endpoint", "status_code"], registry=_process
)


_BRACES = str.maketrans("<>", "{}")


def count_request(method: str, rule: str, status: int) -> None:
    """`endpoint` is the route's pattern without /api/v1, so that ids make no new series (002:3054-3056)."""
    pattern = rule.removeprefix("/api/v1").translate(_BRACES) or "/"
    requests_total.labels(method, pattern, str(status)).inc()


def text(rt: Runtime) -> bytes:
    """Both documented names: agent_tasks_total{agent_id,status} and api_requests_total{...}."""
    registry = CollectorRegistry()
    tasks = Counter("agent_tasks", "Tasks by kind and status", ["agent_id", "status"], registry=registry)
    waiting = Gauge("queue_depth", "Tasks waiting on a queue", ["queue"], registry=registry)
    workers = Gauge("workers", "Worker processes alive", ["role"], registry=registry)
    with rt.unit(write=False) as db:
        counts: dict[tuple[str, str], int] = {}
        for kind, status, number in db.execute(
            select(Task.kind, Task.status, func.count()).group_by(Task.kind, Task.status)
        ):
            key = (kind, agentic_status(status))
            counts[key] = counts.get(key, 0) + number
        depth = waiting_by_queue(db)
        alive = rt.settings.beat_seconds * 3 + 5
        roles = db.execute(
            select(Worker.role, func.count()).where(Worker.beat_at > db_now() - alive).group_by(Worker.role)
        )
        for role, number in roles:
            workers.labels(role).set(number)
    for (kind, status), number in counts.items():
        tasks.labels(kind, status).inc(number)
    for queue in QUEUES:
        waiting.labels(queue).set(depth.get(queue, 0))
    return generate_latest(registry) + generate_latest(_process)
