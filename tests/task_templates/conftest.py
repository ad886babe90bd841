"""Templates, on both runtimes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from tests.conftest import Cast, make_cast
from tests.fakes.lab import Lab
from webapp.core.context import Actor
from webapp.runtime import Runtime
from webapp.task_templates import service
from webapp.task_templates.service import Given


class Shelf:
    """Verbs of the service, each in a unit of its own."""

    def __init__(self, lab: Lab, cast: Cast) -> None:
        self.lab, self.cast = lab, cast

    def do(self, verb: str, *args: Any, who: Actor | None = None, **options: Any) -> Any:
        with self.lab.as_(who or self.cast.alice) as ctx:
            return getattr(service, verb)(ctx, *args, **options)

    def make(self, who: Actor | None = None, **said: Any) -> Any:
        return self.do("create", Given(**{"name": "Mine", "task_type": "test.script", **said}), who=who)

    def names(self, who: Actor | None = None, **filters: Any) -> list[str]:
        with self.lab.as_(who or self.cast.alice, write=False) as ctx:
            return [row.name for row in service.page(ctx, service.listed(ctx, **filters), 1, 200)[1]]


@pytest.fixture
def shelf(both_rt: Runtime) -> Shelf:
    return Shelf(Lab(both_rt), make_cast(both_rt))


@pytest.fixture
def seeded(both_rt: Runtime) -> Callable[[], None]:
    return lambda: service.ensure_seeded(both_rt)
