"""Processes: the embedded one, and those of a deployment. Each is one function that runs until told to stop.

`webapp` never imports `actors`; like Dramatiq's own command line, a worker loads them by name.
"""

from __future__ import annotations

import importlib
import logging
import signal
import threading
import time

from webapp import runtime
from webapp.core import logs, priority
from webapp.core.broker import PullingThread
from webapp.core.jobs import BACKGROUND, ROLES
from webapp.knowledge.service import demo
from webapp.runtime import Runtime
from webapp.settings import Settings, load
from webapp.tasks import sweep
from webapp.tasks.kinds import kinds
from webapp.tasks.scheduler import Scheduler, ensure_system_schedules
from webapp.tasks.worker import WorkerHost, set_host

log = logging.getLogger(__name__)
ACTORS = "actors"
NICE = 10  # of workers that serve only background queues; a tenth of the time beside work of the usual 0


def prepare(settings: Settings | None = None) -> Runtime:
    """This process's runtime, with logging set up and the plugins of the settings known."""
    settings = settings or load()
    logs.setup(settings.log_level, settings.log_format)
    rt = runtime.use(runtime.build(settings))
    kinds.add_setting(settings.plugins)
    return rt


class WorkerGroup:
    """Dramatiq's worker threads of some queues in this process, with the host that keeps their leases.

    Each queue has threads of its own, so that one full of slow work never takes another's. A thread takes a wake-up
    when it is free to run a task and never before: the rest stays for other processes (rule 15).
    """

    def __init__(self, rt: Runtime, role: str) -> None:
        self.rt, self.role = rt, role
        self.queues = ROLES[role]
        self.threads: list[PullingThread] = []
        self.host = WorkerHost(rt, role, self.queues, sum(rt.settings.threads_of(queue) for queue in self.queues))

    def start(self) -> None:
        set_host(self.host)
        actors = importlib.import_module(ACTORS)
        if actors.broker.broker is not self.rt.broker:
            raise RuntimeError("actors were loaded for another runtime")
        self.host.start()
        for queue in self.queues:
            for _ in range(self.rt.settings.threads_of(queue)):
                thread = PullingThread(self.rt.broker, queue)
                thread.start()
                self.threads.append(thread)
        log.info("worker %s serves %s", self.host.id, ", ".join(self.queues))

    def stop(self, grace: float) -> None:
        """Claim no more, let short work end, park the rest, leave within `grace` seconds."""
        for thread in self.threads:  # before the draining, so that wake-ups stay for other processes
            thread.stop()
        ended = self.host.drain(grace)
        deadline = time.monotonic() + 1.5
        for thread in self.threads if ended else ():
            thread.join(max(0.0, deadline - time.monotonic()))
        self.host.stop()


class Embedded:
    """Everything of embedded mode that lives beside the pages: workers, scheduler, sweep."""

    def __init__(self, rt: Runtime) -> None:
        self.rt = rt
        self.group = WorkerGroup(rt, "all")
        self.scheduler = Scheduler(rt, sole=True, renew=self.group.host.renew)

    def start(self) -> None:
        forget_workers(self.rt)
        ensure_system_schedules(self.rt)
        demo.ensure(self.rt)
        sweep.bring_back_orphans(self.rt)
        self.group.start()
        self.scheduler.start()

    def stop(self, grace: float) -> None:
        self.rt.stopping.set()
        self.scheduler.stop()
        self.group.stop(grace)


def forget_workers(rt: Runtime) -> None:
    """Embedded only: whoever is in the table at boot died with the last process."""
    with rt.engine.begin() as connection:
        connection.exec_driver_sql("DELETE FROM workers")


def run_worker(rt: Runtime, role: str) -> int:
    """A worker process of a deployment; ends on SIGTERM, or after `worker_max_tasks`, having parked what runs."""
    if BACKGROUND.issuperset(ROLES[role]):
        priority.step_back(NICE)
    group = WorkerGroup(rt, role)
    stop = threading.Event()
    group.host.on_enough = stop.set
    for name in (signal.SIGTERM, signal.SIGINT):
        signal.signal(name, lambda *_: stop.set())
    group.start()
    while not stop.wait(1.0):
        continue
    group.stop(rt.settings.grace_seconds)
    rt.close()
    return 0


def run_scheduler(rt: Runtime) -> int:
    """The scheduler process of a deployment. Any number may run; one leads."""
    ensure_system_schedules(rt)
    demo.ensure(rt)
    scheduler = Scheduler(rt)
    for name in (signal.SIGTERM, signal.SIGINT):
        signal.signal(name, lambda *_: scheduler._stop.set())
    scheduler.run()
    scheduler.stop()
    rt.close()
    return 0
