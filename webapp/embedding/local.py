"""A local model in a child process: started at first use, its failures told as what they mean to a caller."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from webapp.core.errors import TaskTimedOut, TooLarge, Unavailable
from webapp.core.resident import START_TIMEOUT, Resident
from webapp.core.sandbox import ChildCrashed, ChildFailed

if TYPE_CHECKING:
    from webapp.runtime import Runtime

log = logging.getLogger(__name__)

IDLE = 900.0  # seconds after which the memory of an unused model is given back
CALL_TIMEOUT = 120.0  # seconds for one batch, on a machine that is busy with other things


def threads_for(rt: Runtime) -> int:
    """The setting, else half of the cores and at least two of them: pages are to be served meanwhile."""
    cores = os.cpu_count() or 1
    return int(rt.settings.embed_threads) or max(min(2, cores), cores // 2)


class LocalModel:
    """`target(**arguments())` in a child; `arguments` is asked when the first call comes and may raise NoModel."""

    def __init__(
        self,
        name: str,
        target: str,
        arguments: Callable[[], dict[str, Any]],
        *,
        threads: int,
        memory_bytes: int | None = None,
        network: bool = False,
        env: Mapping[str, str] | None = None,
        start_timeout: float = START_TIMEOUT,
    ) -> None:
        self.name, self.target, self.arguments = name, target, arguments
        self.options: dict[str, Any] = {"threads": threads, "memory_bytes": memory_bytes, "network": network,
                                        "env": env, "idle_seconds": IDLE, "start_timeout": start_timeout}  # fmt: skip
        self.resident: Resident | None = None

    def call(self, method: str, *args: Any, cancelled: Callable[[], bool], urgent: bool) -> Any:
        """Raises TaskCancelled, Unavailable, or the AppError of the method."""
        if self.resident is None:
            self.resident = Resident(self.target, self.arguments(), **self.options)
        try:
            return self.resident.call(method, *args, timeout=CALL_TIMEOUT, cancelled=cancelled, urgent=urgent)
        except ChildFailed as error:
            log.error("%s failed:\n%s", self.name, error.traceback)
            reason = error.traceback.strip().rpartition("\n")[2][:300]
            raise Unavailable(f"{self.name} failed: {reason}", retryable=False) from error
        except (ChildCrashed, TaskTimedOut, TooLarge) as error:
            log.warning("%s: %s", self.name, error)
            raise Unavailable(f"{self.name}: {error}", retry_after=10) from error

    def close(self) -> None:
        if self.resident is not None:
            self.resident.close()
