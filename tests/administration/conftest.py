"""Quotas, settings that live in the database, and retention, on both runtimes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from tests.conftest import Cast, make_cast
from tests.fakes.lab import Lab
from webapp.core import quotas, stored
from webapp.core.context import Actor, Ctx
from webapp.runtime import Runtime


class Office(Lab):
    """The lab with an administrator's verbs; what was changed counts at once."""

    def __init__(self, rt: Runtime, cast: Cast) -> None:
        super().__init__(rt)
        self.cast = cast

    def ask(self, verb: Callable[..., Any], *args: Any, who: Actor | None = None, **options: Any) -> Any:
        with self.rt.unit() as db:
            return verb(Ctx(self.rt, db, who or self.cast.root, request_id="asked", ip="192.0.2.7"), *args, **options)

    def set(self, **values: str | None) -> None:
        self.ask(stored.change, values)
        quotas.forget(self.rt)

    def grant(self, who: Actor, name: str, most: int | None) -> None:
        with self.rt.unit() as db:
            db.merge(quotas.QuotaGrant(user_id=who.id, name=name, most=most, set_by="root"))
        quotas.forget(self.rt)


@pytest.fixture
def office(both_rt: Runtime) -> Office:
    return Office(both_rt, make_cast(both_rt))
