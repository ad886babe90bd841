"""Queues and jobs by name. A job is what a message wakes; the actor of that name binds to it.

Messages carry ids only. They are wake-ups: losing one costs time, two of them cost nothing.
"""

from __future__ import annotations

from dataclasses import dataclass

QUEUES = ("interactive", "inference", "crawling", "embedding", "workflows", "maintenance")

# Which queues a worker of a role serves; Procfile and compose start every role (tested).
ROLES: dict[str, tuple[str, ...]] = {
    "fast": ("interactive", "workflows", "maintenance"),
    "inference": ("inference",),
    "crawling": ("crawling",),
    "embedding": ("embedding",),
    "all": QUEUES,
}
# Queues nobody waits for by the second: a worker that serves only these steps back before the others.
BACKGROUND = frozenset({"crawling", "embedding", "maintenance"})


@dataclass(frozen=True)
class Job:
    """`name` is the actor's name, `queue` where its messages wait."""

    name: str
    queue: str


TASK_JOBS = {queue: Job(f"run_{queue}", queue) for queue in QUEUES}
