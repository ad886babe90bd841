"""Pages that fill themselves by a script, as a browser shows them; off unless BRAINSTEM_RENDER is set.

The browser lives in a child process (`rendering_child`) and never talks to the network itself: the page is what the
crawler fetched, and each further request passes the gate of `core/http.py`, or is refused.
"""

from __future__ import annotations

import importlib.util
import os
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from webapp.core.resident import Resident
from webapp.tasks.service import outbound_policy

if TYPE_CHECKING:
    from webapp.runtime import Runtime

PAGE_SECONDS = 20.0  # for the page and everything it asks for
PATIENCE = PAGE_SECONDS + 15.0  # then the child is killed
IDLE_SECONDS = 120.0
HOW = "An administrator can turn that on: install brainstem[render] and a Chromium, and set BRAINSTEM_RENDER=1."


@dataclass(frozen=True)
class Rendered:
    """requests: how many further ones were answered; refused: what was not, "reason: address", a few of them."""

    html: str
    requests: int
    refused: list[str]


class Renderer:
    """One per process; pages take turns."""

    def __init__(self, rt: Runtime) -> None:
        policy = outbound_policy(rt.settings)
        given = {"chromium": rt.settings.chromium, "allow_hosts": sorted(policy.allow_hosts),
                 "extra_ports": sorted(policy.extra_ports)}  # fmt: skip
        env = {name: os.environ[name] for name in ("PLAYWRIGHT_BROWSERS_PATH",) if name in os.environ}
        self._child = Resident("webapp.crawl.rendering_child:Browser", given, idle_seconds=IDLE_SECONDS, network=True,
                               env=env | {"HOME": tempfile.gettempdir()}, start_timeout=60.0)  # fmt: skip

    def render(self, url: str, page: str, cancelled: Callable[[], bool] = lambda: False) -> Rendered:
        """`page`, which came from `url`, after its scripts ran.

        Raises Unavailable where there is no browser, TaskTimedOut, TooLarge (memory), ChildCrashed, TaskCancelled.
        """
        found: dict[str, Any] = self._child.call(
            "render", url, page, PAGE_SECONDS, timeout=PATIENCE, cancelled=cancelled
        )
        return Rendered(found["html"], found["requests"], found["refused"])

    def close(self) -> None:
        self._child.close()


def of(rt: Runtime) -> Renderer | None:
    """None where it is turned off or not installed."""
    if not rt.settings.render or importlib.util.find_spec("playwright") is None:
        return None
    return rt.kept("renderer", lambda: Renderer(rt))
