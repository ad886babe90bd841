"""The process's broker, and `actor(job)`: bind a function to a declared job."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import dramatiq

from webapp.core.jobs import Job
from webapp.runtime import runtime

broker = runtime().broker
dramatiq.set_broker(broker)


def actor(job: Job) -> Callable[[Callable[[str], None]], Any]:
    """Dramatiq retries, delays and time limits stay unused: the row holds them (design rules 6, 7, 12)."""
    return dramatiq.actor(actor_name=job.name, queue_name=job.queue, broker=broker)
