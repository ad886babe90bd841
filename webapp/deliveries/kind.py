"""The sender: a hidden task that sends what is due, many at a time, and leaves when nothing is.

It gives its place up after a while even if there is more to send: the next one stands behind the other housekeeping.
"""

from __future__ import annotations

import logging
import time
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from typing import Any

from pydantic import BaseModel, ConfigDict

from webapp.core.errors import AppError, TaskCancelled, TaskInterrupted
from webapp.core.failpoints import failpoint
from webapp.deliveries import service
from webapp.deliveries.service import Answer, Letter
from webapp.tasks.kinds import TaskKind
from webapp.tasks.run import TaskRun

log = logging.getLogger(__name__)
LANES = 16  # receivers that are served at the same time
TROUBLED = 8  # of them at most so many that failed before
SHIFT = 20.0  # seconds after which nothing new is begun


class NoParams(BaseModel):
    model_config = ConfigDict(extra="forbid")


def deliver(task: TaskRun) -> dict[str, Any]:
    """Returns {"attempts": how many were made}."""
    made, end = 0, time.monotonic() + SHIFT
    under_way: dict[Future[None], Letter] = {}
    with ThreadPoolExecutor(LANES, thread_name_prefix="deliver") as lanes:
        while True:
            if time.monotonic() < end and not task.stopped():
                for letter in _next(task, under_way):
                    under_way[lanes.submit(_attempt, task, letter)] = letter
                    made += 1
            if not under_way:
                break
            over, _ = wait(under_way, timeout=0.25, return_when=FIRST_COMPLETED)
            for one in over:
                under_way.pop(one)
    task.check()
    return {"attempts": made}


def _next(task: TaskRun, under_way: dict[Future[None], Letter]) -> list[Letter]:
    busy = [letter.target_id for letter in under_way.values()]
    troubled = TROUBLED - sum(letter.troubled for letter in under_way.values())
    return service.claim(task.rt, busy, LANES - len(busy), troubled)


def _attempt(task: TaskRun, letter: Letter) -> None:
    """One try and its record. Never raises: a lane that died would take its delivery with it until the lease ends."""
    started = time.monotonic()
    try:
        answer = service.carriers.get(letter.carrier).send(task.rt, letter, task.stopped)
    except (TaskCancelled, TaskInterrupted):
        service.release(task.rt, letter)
        return
    except AppError as exc:
        answer = Answer(error=exc.message, final=exc.code == "bad_target", after=exc.retry_after)
    except Exception as exc:
        log.exception("delivery %s by %s", letter.id, letter.carrier)
        answer = Answer(error=f"{type(exc).__name__} in the sender")
    failpoint("before_delivery_recorded")
    try:
        service.record(task.rt, letter, answer, round((time.monotonic() - started) * 1000))
    except Exception:
        log.exception("delivery %s was tried and could not be recorded; it is tried again", letter.id)


DELIVER = TaskKind(
    "maintenance.deliver", "Send to others", "maintenance", NoParams, deliver, time_limit=120, hidden=True
)
