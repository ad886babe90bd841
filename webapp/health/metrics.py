"""Prometheus text: what the database knows (true for all processes) and what this process counted."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Any

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    Info,
    ProcessCollector,
    disable_created_metrics,
    generate_latest,
)
from sqlalchemy import func, or_, select
from sqlalchemy.orm import Session

from webapp import __version__
from webapp.core.db import db_now
from webapp.core.jobs import QUEUES
from webapp.health.service import disk_space, lost_after
from webapp.runtime import Runtime
from webapp.tasks.dialects import agentic_status
from webapp.tasks.models import DeadLetter, Lease, Task, Worker
from webapp.tasks.pauses import QueuePause
from webapp.tasks.scheduler import LEASE
from webapp.tasks.service import waiting_by_queue

disable_created_metrics()  # type: ignore[no-untyped-call]  # a second series for each, which nobody asked for
_process = CollectorRegistry()
ProcessCollector(registry=_process)  # memory, processor time, open files of this process
requests_total = Counter(
    "api_requests", "API requests answered by this process", ["method", "endpoint", "status_code"], registry=_process
)
request_seconds = Histogram(
    "brainstem_request_seconds", "Time this process took for a request of the API or for a page", ["door"],
    buckets=(0.005, 0.01, 0.025, 0.05, 0.1, 0.3, 1.0, 3.0, 10.0, 30.0), registry=_process,
)  # fmt: skip
HELD = ("/ws/", "/live/", "/static/")  # open for as long as a reader wants, or nothing of ours


_BRACES = str.maketrans("<>", "{}")


def count_request(method: str, rule: str, status: int) -> None:
    """`endpoint` is the route's pattern without /api/v1, so that ids make no new series (002:3054-3056)."""
    pattern = rule.removeprefix("/api/v1").translate(_BRACES) or "/"
    requests_total.labels(method, pattern, str(status)).inc()


def time_request(path: str, seconds: float) -> None:
    if not path.startswith(HELD):
        request_seconds.labels("api" if path.startswith(("/api/", "/v1/")) else "page").observe(seconds)


def text(rt: Runtime) -> bytes:
    """The documented names (agent_tasks_total, api_requests_total), and what rules and dashboards in deploy/ stand on."""
    registry = CollectorRegistry()
    with rt.unit(write=False) as db:
        _tasks(registry, db)
        _workers(registry, rt, db)
        _waiting(registry, db)
        _left_to_do(registry, rt, db)
    free, whole = disk_space(rt)
    Gauge("brainstem_disk_free_bytes", "Free where the data is", registry=registry).set(free)
    Gauge("brainstem_disk_size_bytes", "Size of the disk where the data is", registry=registry).set(whole)
    Info("brainstem_build", "The running version", registry=registry).info({"version": __version__})
    return generate_latest(registry) + generate_latest(_Counted(str(os.getpid()) if rt.roles else ""))  # type: ignore[arg-type]


class _Counted:
    """What this process counted. In a deployment several answer in turn under one address: each says which it is, or a
    counter would seem to start anew with every other scrape."""

    def __init__(self, process: str) -> None:
        self.process = process

    def collect(self) -> Iterator[Any]:
        for family in _process.collect():
            if self.process:
                family.samples = [
                    one._replace(labels={**one.labels, "process": self.process}) for one in family.samples
                ]
            yield family


def _tasks(registry: CollectorRegistry, db: Session) -> None:
    tasks = Counter("agent_tasks", "Tasks by kind and status", ["agent_id", "status"], registry=registry)
    counts: dict[tuple[str, str], int] = {}
    by_kind = select(Task.kind, Task.status, func.count()).group_by(Task.kind, Task.status)
    for kind, status, number in db.execute(by_kind):
        key = (kind, agentic_status(status))
        counts[key] = counts.get(key, 0) + number
    for (kind, status), number in counts.items():
        tasks.labels(kind, status).inc(number)


def _workers(registry: CollectorRegistry, rt: Runtime, db: Session) -> None:
    workers = Gauge("workers", "Worker processes alive", ["role"], registry=registry)
    lost = Gauge("brainstem_workers_lost", "Worker processes that fell silent in the last hour", registry=registry)
    serving = Gauge(
        "brainstem_queue_workers", "Worker processes alive that serve a queue", ["queue"], registry=registry
    )
    busy = Gauge("brainstem_worker_threads_busy", "Tasks in hand of living workers", registry=registry)
    threads = Gauge("brainstem_worker_threads", "Tasks that living workers can run at once", registry=registry)
    for queue in QUEUES:
        serving.labels(queue).set(0)
    silent_after = lost_after(rt.settings)
    for worker, now in db.execute(select(Worker, db_now())):
        if worker.beat_at <= now - silent_after:
            lost.inc()
            continue
        workers.labels(worker.role).inc()
        busy.inc(len(worker.running))
        threads.inc(worker.threads)
        for queue in worker.queues.split(","):
            serving.labels(queue).inc()


def _waiting(registry: CollectorRegistry, db: Session) -> None:
    waiting = Gauge("queue_depth", "Tasks waiting on a queue", ["queue"], registry=registry)
    oldest = Gauge("brainstem_queue_oldest_seconds", "How long the longest waiting task of a queue has been waiting; 0 when"
                   " none waits", ["queue"], registry=registry)  # fmt: skip
    paused = Gauge("brainstem_queue_paused", "1 while an operator holds the queue", ["queue"], registry=registry)
    running = Gauge("brainstem_tasks_running", "Tasks running of a queue", ["queue"], registry=registry)
    depth = waiting_by_queue(db)
    for queue in QUEUES:
        waiting.labels(queue).set(depth.get(queue, 0))
        for one in (oldest, paused, running):
            one.labels(queue).set(0)
    now = float(db.scalar(select(db_now())) or 0.0)
    due = or_(Task.due_at.is_(None), Task.due_at <= now)
    since = select(Task.queue, func.min(Task.updated_at)).where(Task.status == "queued", due).group_by(Task.queue)
    for queue, at in db.execute(since):
        oldest.labels(queue).set(max(0.0, now - at.timestamp()))
    for queue in db.scalars(select(QueuePause.queue)):
        paused.labels(queue).set(1)
    for queue, number in db.execute(
        select(Task.queue, func.count()).where(Task.status == "running").group_by(Task.queue)
    ):
        running.labels(queue).set(number)


def _left_to_do(registry: CollectorRegistry, rt: Runtime, db: Session) -> None:
    letters = Gauge(
        "brainstem_dead_letters_open", "Tasks that failed for good and nobody has seen to", registry=registry
    )
    letters.set(db.scalar(select(func.count()).where(DeadLetter.requeued_at.is_(None))) or 0)
    leads = Gauge("brainstem_scheduler_leads", "1 while a scheduler leads", registry=registry)
    if rt.roles:
        until = db.scalar(select(Lease.until).where(Lease.name == LEASE))
        leads.set(until is not None and until > (db.scalar(select(db_now())) or 0.0))
    else:  # the one process sweeps by itself
        silent_after = lost_after(rt.settings)
        leads.set(bool(db.scalar(select(func.count()).where(Worker.beat_at > db_now() - silent_after))))
