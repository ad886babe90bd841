"""A collection of alice's on both databases, and short ways to look at what is stored."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import pytest

from tests.conftest import Cast, make_cast
from webapp.core.context import Actor, Ctx
from webapp.knowledge.service import collections, documents
from webapp.knowledge.service.documents import Incoming, Stored
from webapp.runtime import Runtime


@dataclass
class Shelf:
    rt: Runtime
    cast: Cast
    collection_id: str

    @contextmanager
    def as_(self, who: Actor, write: bool = True) -> Iterator[Ctx]:
        with self.rt.unit(write=write) as db:
            yield Ctx(self.rt, db, who)

    def put(self, key: str, text: str, title: str = "A title", **more: Any) -> Stored:
        incoming = Incoming(key, title, text, "text/plain", **more)
        return documents.store(self.rt, self.collection_id, incoming)

    def rows(self, model: Any, *where: Any) -> list[Any]:
        from sqlalchemy import select

        with self.rt.unit(write=False) as db:
            return list(db.scalars(select(model).where(*where).order_by(model.id)))


@pytest.fixture
def shelf(both_rt: Runtime) -> Shelf:
    cast = make_cast(both_rt)
    with both_rt.unit() as db:
        made = collections.create(Ctx(both_rt, db, cast.alice), "Papers")
    return Shelf(both_rt, cast, made.id)
