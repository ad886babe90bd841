"""What the pictures of notifications and webhooks show: a centre with news, channels, and receivers that behave and do not."""

from __future__ import annotations

import time
from datetime import timedelta
from typing import Any


def fill(scene: Any) -> dict[str, str]:
    """Name -> id of a webhook and of a hook of the local person."""
    from webapp.core.context import Actor, Ctx
    from webapp.notifications import service as notifications
    from webapp.webhooks import inbound, service

    with scene.rt.unit() as db:
        ctx = Ctx(scene.rt, db, Actor(scene.local, "local", is_admin=True, is_local=True))
        _centre(scene, db)
        notifications.add_channel(ctx, "slack", "Harbour office", {"url": "https://chat.example/hooks/7f2a"})
        endpoint, _ = service.subscribe(
            ctx, "https://ledger.example/hooks/brainstem", ["task.completed", "task.failed"], kinds=["content_generation"],
            headers={"Authorization": "Bearer of the ledger"}, description="The harbour’s ledger",
        )  # fmt: skip
        service.subscribe(ctx, "https://old.example/hook", ["workflow.*"], description="Old counting house")
        _deliveries(scene, db, endpoint)
        hook, _ = inbound.create(
            ctx, "Summary of each new report", "summary", {"max_length": 200}, {"content": "report.text"}
        )
        hook.received, hook.last_at = 212, scene.now - timedelta(minutes=9)
        return {"webhook": endpoint.id, "hook": hook.id}


def _centre(scene: Any, db: Any) -> None:
    from webapp.core.db import utcnow
    from webapp.notifications.models import Notification

    ids = scene.ids
    lines = [
        ("completed", "ok", "Three views on tidal power is done", "", ids["done"], 9000, True),
        ("dead_letter", "bad", "All minutes since 1974 took too long", "it took longer than 2 hours", ids["timed_out"], 7200, True),
        ("webhook", "warn", "A webhook was turned off", "old.example answered 410 Gone.", None, 4100, True),
        ("failed", "bad", "Scan of the harbour charter failed", "the file is a picture without text", ids["failed"], 790, False),
        ("waiting", "warn", "Compare the two fee schedules waits for you",
         "Which of the two schedules of 2019 is meant?", ids["waiting"], 400, False),
    ]  # fmt: skip
    for number, (event, level, title, text, task_id, ago, is_read) in enumerate(lines):
        url = f"/tasks/{task_id}" if task_id else "/webhooks"
        db.add(
            Notification(user_id=scene.local, key=f"scene:{number}", event=event, level=level, title=title, text=text,
                         url=url, task_id=task_id, created_at=scene.now - timedelta(seconds=ago),
                         read_at=utcnow() if is_read else None)
        )  # fmt: skip
        db.flush()


def _deliveries(scene: Any, db: Any, endpoint: Any) -> None:
    from webapp.deliveries.models import Delivery, DeliveryAttempt
    from webapp.webhooks.service import CARRIER, message

    endpoint.last_ok_at = scene.now - timedelta(minutes=4)
    rows = [
        ("task.completed", "delivered", "Tide tables in plain words", 5400, [(200, None, 84)]),
        ("task.failed", "delivered", "Scan of the harbour charter", 780, [(503, "it answered 503", 120), (200, None, 95)]),
        ("task.completed", "waiting", "Reading list for the archive", 60,
         [(None, "The server did not answer in time.", 20_004), (429, "it answered 429", 61)]),
    ]  # fmt: skip
    for number, (event, status, title, ago, tries) in enumerate(rows):
        at = scene.now - timedelta(seconds=ago)
        body = message(event, {"execution_id": scene.ids["done"], "task_type": "summary", "title": title})
        row = Delivery(owner_id=scene.local, carrier=CARRIER, target_id=endpoint.id, key=f"scene:{number}", event=event,
                       body=body, status=status, attempts=len(tries), tries=len(tries), due_at=time.time() + 7e5,
                       code=tries[-1][0], error=tries[-1][1], created_at=at)  # fmt: skip
        db.add(row)
        db.flush()
        for place, (code, error, ms) in enumerate(tries, 1):
            db.add(DeliveryAttempt(delivery_id=row.id, number=place, at=at + timedelta(seconds=6 * place), ms=ms, code=code,
                                   error=error, answer="taken" if code == 200 else None))  # fmt: skip
