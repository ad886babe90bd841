"""A task's end told all the way: notices looked at, deliveries sent, and a clock that can be moved."""

from __future__ import annotations

from typing import Any

from sqlalchemy import select

from tests.fakes.lab import Lab
from webapp.core.context import Actor
from webapp.deliveries import service as deliveries
from webapp.deliveries.models import Delivery, DeliveryAttempt
from webapp.runtime import Runtime
from webapp.tasks import notices


class PostOffice(Lab):
    def __init__(self, rt: Runtime, cast: Any, monkeypatch: Any) -> None:
        super().__init__(rt)
        self.cast = cast
        self.ahead = 0.0
        real = deliveries.now
        monkeypatch.setattr(deliveries, "now", lambda: real() + self.ahead)

    def look(self) -> int:
        """As the scheduler does each second."""
        return notices.look(self.rt)

    def send(self) -> int:
        """Everything that is due; how many runs of the sender it took."""
        runs = 0
        self.look()
        while self.run("maintenance") is not None:
            runs += 1
            assert runs < 100, "the sender never ends"
            self.look()
        return runs

    def finish(self, who: Actor, script: str = "ok", **options: Any) -> str:
        """A task of somebody's, run to its end and told."""
        task_id = self.start(who, script, **options)
        self.run_all()
        return task_id

    def deliveries(self) -> list[Delivery]:
        with self.rt.unit(write=False) as db:
            return list(db.scalars(select(Delivery).order_by(Delivery.id)))

    def attempts(self, delivery_id: str) -> list[DeliveryAttempt]:
        with self.rt.unit(write=False) as db:
            stmt = select(DeliveryAttempt).where(DeliveryAttempt.delivery_id == delivery_id)
            return list(db.scalars(stmt.order_by(DeliveryAttempt.number)))
