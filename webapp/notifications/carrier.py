"""One attempt at one channel: its plugin gets the message, its own configuration and the tools it may use."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from webapp.core.db import utcnow
from webapp.core.errors import AppError, NotFound
from webapp.core.http import Fetched, safe_fetch
from webapp.core.sealing import Unreadable
from webapp.core.text import clean
from webapp.deliveries.post import TIMEOUT, post
from webapp.deliveries.service import Answer, Carrier, Letter
from webapp.identity import service as identity
from webapp.notifications import service
from webapp.notifications.channels import Channel, Message, Tools, channels
from webapp.notifications.models import NotificationChannel
from webapp.tasks.service import outbound_policy

if TYPE_CHECKING:
    from webapp.runtime import Runtime

MAILS = "60/hour"  # of one person: a server that sends more is soon taken for a spammer


class Refused(AppError):
    """A server answered with no 2xx; `answer` says what, and when to come back."""

    status, code, retryable = 502, "upstream", True

    def __init__(self, answer: Answer) -> None:
        super().__init__(answer.error)
        self.answer = answer


def send(rt: Runtime, letter: Letter, stopped: Callable[[], bool]) -> Answer:
    found = _channel(rt, letter)
    if isinstance(found, Answer):
        return found
    channel, config = found
    if channel.name == "email" and letter.tries == 1:
        wait = rt.limits.hit(f"mail:{letter.owner_id}", MAILS)
        if wait is not None:
            return Answer(f"more than {MAILS.replace('/', ' mails an ')}", after=wait)
    try:
        channel.send(Message(**json.loads(letter.body)), config, _tools(rt, stopped))
    except Refused as exc:
        return exc.answer
    return Answer()


def _channel(rt: Runtime, letter: Letter) -> tuple[Channel, dict[str, Any]] | Answer:
    """What sends and its configuration, or why nothing can be sent any more."""
    try:
        with rt.unit(write=False) as db:
            if letter.target_id.startswith(service.MAIL_TARGET):
                address = identity.addresses(db, [letter.owner_id]).get(letter.owner_id)
                if not service.reachable_by_mail(rt, address):
                    return Answer("there is no address or no mail server any more", final=True)
                return channels.get("email"), {"to": address}
            row = db.scalar(select(NotificationChannel).where(NotificationChannel.id == letter.target_id))
            if row is None or not row.enabled:
                return Answer("the channel was removed or turned off", gone=True)
            return channels.get(row.plugin), service.config_of(rt, row)
    except Unreadable:
        return Answer(
            "its configuration cannot be read: the program's SECRET_KEY was changed; set it up again", final=True
        )
    except NotFound as exc:
        return Answer(exc.message)


def _tools(rt: Runtime, stopped: Callable[[], bool]) -> Tools:
    def post_json(url: str, body: Any, headers: Mapping[str, str] | None = None) -> None:
        answer = post(rt, url, json.dumps(body), headers or {}, stopped)
        if answer.error:
            raise Refused(answer)

    def fetch(url: str, **options: Any) -> Fetched:
        limited = {"timeout": TIMEOUT, "max_redirects": 0, **options}
        return safe_fetch(url, policy=outbound_policy(rt.settings), cancelled=stopped, **limited)

    return Tools(rt.settings, post_json, fetch)


def told(db: Session, letter: Letter, answer: Answer, over: bool) -> None:
    """What the channel's row says of its health. A receiver that is gone turns it off; its owner is told in the centre."""
    row = db.scalar(select(NotificationChannel).where(NotificationChannel.id == letter.target_id))
    if row is None:
        return
    if not answer.error:
        row.last_ok_at, row.last_error = utcnow(), None
        return
    row.last_error = clean(answer.error)[:300]
    if answer.gone and row.enabled:
        row.enabled = False
    elif not over:
        return
    what = "was turned off" if answer.gone else "could not be reached"
    service.notify(db, row.user_id, "channel", f"The channel {row.name} {what}", row.last_error, level="bad",
                   key=f"over:{letter.id}:{letter.attempt}", url="/notifications/settings")  # fmt: skip


CHANNEL = Carrier(send, told)
