"""What people are told: their centre, their rules, their channels, and the tasks they asked about."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from pydantic import ValidationError
from sqlalchemy import delete, func, select, update
from sqlalchemy.orm import Session

from webapp.core import ageing
from webapp.core.context import Ctx
from webapp.core.db import iso, new_id, utcnow
from webapp.core.errors import BadRequest, Conflict, Forbidden, NotFound
from webapp.core.paging import Page, keyset
from webapp.core.sealing import seal, unseal
from webapp.core.text import clean
from webapp.deliveries import service as deliveries
from webapp.identity import service as identity
from webapp.notifications.channels import Channel, Message, channels
from webapp.notifications.models import Notification, NotificationChannel, NotificationRule, TaskWatch
from webapp.tasks import service as tasks

if TYPE_CHECKING:
    from webapp.runtime import Runtime

PURPOSE = "notification channels"
CARRIER = "channel"
INAPP, EMAIL = "inapp", "email"  # channels everybody has: the centre, and the account's address where mail is set up
MAIL_TARGET = "mail:"  # + user id: deliveries to the account's address
MOST = 10  # channels of one person


@dataclass(frozen=True)
class Event:
    name: str
    label: str
    text: str
    admin: bool = False


EVENTS = (
    Event("completed", "Done", "A task of yours is done"),
    Event("failed", "Failed", "A task of yours failed or took too long, whatever the reason"),
    Event(
        "dead_letter",
        "Given up",
        "Only failures that another try may mend: attempts used up, workers lost, out of time",
    ),
    Event("waiting", "Waits for you", "A task of yours waits for an answer from you"),
    Event("alert", "Server alerts", "Something is wrong with the server, or a task of anybody’s failed for good", True),
)
NAMES = {event.name for event in EVENTS}
NOTHING = "none"  # the rule of somebody who wants to be told of nothing


@dataclass(frozen=True)
class Rule:
    event: str
    channel: str
    kinds: tuple[str, ...] = ()
    min_seconds: float = 0.0


# What somebody is told who never chose: little, and nothing about what they were watching anyway.
DEFAULTS = (
    Rule("completed", INAPP, min_seconds=30.0),
    Rule("failed", INAPP),
    Rule("dead_letter", INAPP),
    Rule("waiting", INAPP),
    Rule("alert", INAPP),
    Rule("alert", EMAIL),
)
QUIET = ("chat.", "models.try")  # they are waited for on the screen; told only if a rule names them


# -- the centre ------------------------------------------------------------------------------------------------------


def notify(
    db: Session,
    user_id: str,
    event: str,
    title: str,
    text: str = "",
    *,
    key: str,
    level: str = "info",
    url: str = "",
    task_id: str | None = None,
) -> None:
    """Put a line into somebody's centre, in the caller's transaction; once per key."""
    known = select(Notification.id).where(Notification.user_id == user_id, Notification.key == key[:120])
    if db.scalar(known) is None:
        db.add(
            Notification(user_id=user_id, key=key[:120], event=event, level=level, title=clean(title)[:300],
                         text=clean(text)[:1000], url=url[:300], task_id=task_id)
        )  # fmt: skip


def list_(ctx: Ctx, *, unread: bool = False, cursor: str | None = None, limit: int = 25) -> Page[Notification]:
    """The caller's, newest first."""
    mine = select(Notification).where(Notification.user_id == ctx.user.id)
    if unread:
        mine = mine.where(Notification.read_at.is_(None))
    return keyset(ctx.db, mine, Notification.id, cursor=cursor, limit=max(1, min(100, limit)))


def unread(ctx: Ctx) -> int:
    """How many the caller has not read; counted to 100."""
    if ctx.user.id is None:
        return 0
    mine = select(Notification.id).where(Notification.user_id == ctx.user.id, Notification.read_at.is_(None))
    return int(ctx.db.scalar(select(func.count()).select_from(mine.limit(100).subquery())) or 0)


def mark_read(ctx: Ctx, notification_id: str, read: bool = True) -> Notification:
    """Raises NotFound for a stranger's, exactly as for none."""
    row = _get(ctx, notification_id)
    row.read_at = (row.read_at or utcnow()) if read else None
    ctx.db.flush()
    return row


def mark_all(ctx: Ctx) -> int:
    """How many were unread."""
    mine = update(Notification).where(Notification.user_id == ctx.user.id, Notification.read_at.is_(None))
    return int(ctx.db.execute(mine.values(read_at=utcnow())).rowcount)  # type: ignore[attr-defined]


def remove(ctx: Ctx, notification_id: str) -> None:
    ctx.db.delete(_get(ctx, notification_id))
    ctx.db.flush()


def remove_read(ctx: Ctx) -> int:
    """How many were thrown away."""
    mine = delete(Notification).where(Notification.user_id == ctx.user.id, Notification.read_at.is_not(None))
    return int(ctx.db.execute(mine).rowcount)  # type: ignore[attr-defined]


def count_older(db: Session, days: int) -> int:
    """How many `forget` would delete now; 0 days keep all."""
    return ageing.count_older(db, Notification.created_at, days)


def forget(db: Session, days: int) -> int:
    """Delete what nobody will look for any more; 0 days keep all."""
    return ageing.forget_older(db, Notification.created_at, days)


def _get(ctx: Ctx, notification_id: str) -> Notification:
    mine = (Notification.id == notification_id[:40]) & (Notification.user_id == ctx.user.id)
    row = ctx.db.scalar(select(Notification).where(mine))
    if row is None:
        raise NotFound("there is no such notification")
    return row


# -- single tasks ----------------------------------------------------------------------------------------------------


def want(ctx: Ctx, task_id: str) -> None:
    """Tell the caller of this task's end, by every channel they have. Conflict when it is over already."""
    owner = _person(ctx)
    task = tasks.get(ctx, task_id)
    if task.is_final:
        raise Conflict(f"the task is already {task.status}", code="already_final")
    if not wanted(ctx, [task.id]):
        ctx.db.add(TaskWatch(task_id=task.id, user_id=owner))
        ctx.db.flush()


def unwant(ctx: Ctx, task_id: str) -> None:
    task = tasks.get(ctx, task_id)
    ctx.db.execute(delete(TaskWatch).where(TaskWatch.task_id == task.id, TaskWatch.user_id == ctx.user.id))


def wanted(ctx: Ctx, task_ids: Collection[str]) -> set[str]:
    """Those of `task_ids` whose end the caller asked to be told of."""
    mine = select(TaskWatch.task_id).where(TaskWatch.user_id == ctx.user.id, TaskWatch.task_id.in_(list(task_ids)))
    return set(ctx.db.scalars(mine)) if task_ids else set()


# -- rules -----------------------------------------------------------------------------------------------------------


def rules(ctx: Ctx) -> list[Rule]:
    """The caller's rules, or the default ones."""
    return rules_of(ctx.db, [_person(ctx)])[_person(ctx)]


def save_rules(ctx: Ctx, wanted: Iterable[Rule]) -> list[Rule]:
    """Replace the caller's rules. Raises BadRequest for an event or channel that is none of theirs."""
    owner, chosen = _person(ctx), {(rule.event, rule.channel): rule for rule in wanted}
    known = {INAPP, EMAIL} | {row.id for row in list_channels(ctx)}
    for rule in chosen.values():
        if rule.event not in NAMES:
            raise _bad("event", f"{rule.event[:40]!r} is none; use one of {', '.join(sorted(NAMES))}")
        if rule.channel not in known:
            raise _bad("channel", f"{rule.channel[:40]!r} is no channel of yours")
    ctx.db.execute(delete(NotificationRule).where(NotificationRule.user_id == owner))
    rows = list(chosen.values()) or [Rule(NOTHING, NOTHING)]
    ctx.db.add_all(
        NotificationRule(user_id=owner, event=rule.event, channel=rule.channel, kinds=list(rule.kinds),
                         min_seconds=rule.min_seconds)
        for rule in rows
    )  # fmt: skip
    ctx.db.flush()
    return list(chosen.values())


def default_rules(ctx: Ctx) -> None:
    """Forget what the caller chose."""
    ctx.db.execute(delete(NotificationRule).where(NotificationRule.user_id == _person(ctx)))


def rules_of(db: Session, user_ids: Collection[str]) -> dict[str, list[Rule]]:
    """user id -> their rules, in one query."""
    found: dict[str, list[Rule]] = {}
    for row in db.scalars(select(NotificationRule).where(NotificationRule.user_id.in_(list(user_ids)))):
        found.setdefault(row.user_id, [])
        if row.event != NOTHING:
            found[row.user_id].append(Rule(row.event, row.channel, tuple(row.kinds), row.min_seconds))
    return {one: found.get(one, list(DEFAULTS)) for one in user_ids}


# -- channels --------------------------------------------------------------------------------------------------------


def available(ctx: Ctx) -> list[tuple[Channel, str]]:
    """Every channel that loads, and why it cannot be used here ("" when it can)."""
    return [(channel, channel.missing(ctx.rt.settings)) for _, channel in channels.all()]


def list_channels(ctx: Ctx) -> list[NotificationChannel]:
    """The caller's; never more than `MOST`."""
    mine = select(NotificationChannel).where(NotificationChannel.user_id == ctx.user.id)
    return list(ctx.db.scalars(mine.order_by(NotificationChannel.id)))


def add_channel(ctx: Ctx, plugin: str, name: str, config: Mapping[str, Any]) -> NotificationChannel:
    """Raises BadRequest with the field named, NotFound for a plugin that is none."""
    owner, channel = _person(ctx), channels.get(plugin)
    if len(list_channels(ctx)) >= MOST:
        raise Conflict(f"no more than {MOST} channels; remove one that is not needed", code="too_many")
    lacking = channel.missing(ctx.rt.settings)
    if lacking:
        raise BadRequest(lacking)
    checked = _checked(channel, config)
    row = NotificationChannel(id=new_id(), user_id=owner, plugin=plugin, name=clean(name).strip()[:100] or channel.label,
                              config_sealed=seal(ctx.rt.secret_key, PURPOSE, json.dumps(checked)),
                              shown=channel.shown(checked)[:200])  # fmt: skip
    ctx.db.add(row)
    ctx.db.flush()
    return row


def change_channel(
    ctx: Ctx, channel_id: str, *, name: str | None = None, enabled: bool | None = None
) -> NotificationChannel:
    row = get_channel(ctx, channel_id)
    if name is not None:
        row.name = clean(name).strip()[:100] or row.name
    if enabled is not None:
        row.enabled = enabled
        if not enabled:
            deliveries.cancel_all(ctx.db, row.id)
    ctx.db.flush()
    return row


def remove_channel(ctx: Ctx, channel_id: str) -> None:
    """With the rules that name it; what still waits for it is not sent."""
    row = get_channel(ctx, channel_id)
    mine = NotificationRule.user_id == row.user_id
    had = set(ctx.db.scalars(select(NotificationRule.channel).where(mine)))
    ctx.db.execute(delete(NotificationRule).where(mine, NotificationRule.channel == row.id))
    if had == {row.id}:  # without a rule they would be told by the default ones
        ctx.db.add(NotificationRule(user_id=row.user_id, event=NOTHING, channel=NOTHING))
    deliveries.cancel_all(ctx.db, row.id)
    ctx.db.delete(row)
    ctx.db.flush()


def get_channel(ctx: Ctx, channel_id: str) -> NotificationChannel:
    mine = (NotificationChannel.id == channel_id[:40]) & (NotificationChannel.user_id == ctx.user.id)
    row = ctx.db.scalar(select(NotificationChannel).where(mine))
    if row is None:
        raise NotFound("there is no such channel")
    return row


def test_channel(ctx: Ctx, channel_id: str) -> str:
    """Put out a test message; the delivery's id. channel_id `email` is the account's address."""
    owner = _person(ctx)
    if channel_id == EMAIL:
        if not reachable_by_mail(ctx.rt, identity.addresses(ctx.db, [owner]).get(owner)):
            raise BadRequest(
                "no mail can be sent to you: the server needs BRAINSTEM_SMTP_HOST, your account an address"
            )
        target = MAIL_TARGET + owner
    else:
        row = get_channel(ctx, channel_id)
        if not row.enabled:
            raise Conflict("this channel is turned off; turn it on first", code="disabled")
        target = row.id
    message = compose(ctx.rt, "test", "info", "A test from Brainstem", "This channel works.", "/notifications/settings")
    return send(ctx.db, owner, target, message, key=f"test:{message.id}")


# -- sending ---------------------------------------------------------------------------------------------------------


def compose(
    rt: Runtime, event: str, level: str, title: str, text: str, path: str, *, task_id: str | None = None, **data: Any
) -> Message:
    """path: of ours; it becomes a whole address when the server knows its own."""
    base = rt.settings.public_url.rstrip("/")
    return Message(new_id(), event, level, clean(title)[:300], clean(text)[:1000], base + path if base and path else "",
                   str(iso(utcnow())), task_id, data)  # fmt: skip


def send(db: Session, user_id: str, target_id: str, message: Message, *, key: str) -> str:
    """Store the delivery of a message, in the caller's transaction; its id."""
    return deliveries.put(db, user_id, CARRIER, target_id, message.event, json.dumps(asdict(message)), key)


def target_of(channel: str, user_id: str) -> str:
    return MAIL_TARGET + user_id if channel == EMAIL else channel


def reachable_by_mail(rt: Runtime, address: str | None) -> bool:
    return bool(address and rt.settings.smtp_host)


def alert(rt: Runtime, db: Session, news: Sequence[Mapping[str, str]], *, key: str) -> int:
    """Tell every administrator what is wrong, as their rules say; how many were told.

    news: {"key", "level", "title", "text"} each, of somebody's own task their name as "owner": they are told of it
    anyway. key: of this telling; the same one tells nobody twice.
    """
    admins = identity.administrators(db)
    names = identity.names(db, admins)
    reached, mails = rules_of(db, admins), identity.addresses(db, admins)
    usable = enabled_channels(db, admins)
    for admin in admins:
        theirs = [one for one in news if not one.get("owner") or one["owner"] != names.get(admin)]
        for rule in reached[admin] if theirs else ():
            if rule.event != "alert":
                continue
            if rule.channel == INAPP:
                _alert_here(db, admin, theirs, key)
            elif rule.channel in usable[admin] or (rule.channel == EMAIL and reachable_by_mail(rt, mails.get(admin))):
                title = theirs[0]["title"] if len(theirs) == 1 else f"{len(theirs)} alerts: {theirs[0]['title']}, …"
                text = "\n".join(f"{one['title']}. {one['text']}" for one in theirs)
                message = compose(rt, "alert", theirs[0]["level"], title, text, "/monitor/")
                send(db, admin, target_of(rule.channel, admin), message, key=f"alert:{key}")
    return len(admins)


def _alert_here(db: Session, admin: str, news: Sequence[Mapping[str, str]], key: str) -> None:
    for one in news:
        notify(db, admin, "alert", one["title"], one["text"], key=f"alert:{key}:{one['key']}", level=one["level"],
               url="/monitor/")  # fmt: skip


def enabled_channels(db: Session, user_ids: Collection[str]) -> dict[str, set[str]]:
    """user id -> ids of their channels that are on."""
    found: dict[str, set[str]] = {one: set() for one in user_ids}
    mine = NotificationChannel.user_id.in_(list(user_ids)) & NotificationChannel.enabled
    for user_id, channel_id in db.execute(select(NotificationChannel.user_id, NotificationChannel.id).where(mine)):
        found[user_id].add(channel_id)
    return found


def config_of(rt: Runtime, row: NotificationChannel) -> dict[str, Any]:
    """Raises sealing.Unreadable when the program's secret was changed."""
    return dict(json.loads(unseal(rt.secret_key, PURPOSE, row.config_sealed)))


# -- small things ----------------------------------------------------------------------------------------------------


def _checked(channel: Channel, config: Mapping[str, Any]) -> dict[str, Any]:
    try:
        return channel.config.model_validate(dict(config)).model_dump(mode="json", exclude_none=True)
    except ValidationError as exc:
        details = [
            {"loc": [str(part) for part in error["loc"]], "msg": error["msg"].removeprefix("Value error, "),
             "type": error["type"]}
            for error in exc.errors(include_url=False, include_context=False, include_input=False)
        ]  # fmt: skip
        first = details[0]
        where = ".".join(first["loc"]) or channel.name
        raise BadRequest(f"{where}: {first['msg']}", code="invalid_config", details=details) from None


def _person(ctx: Ctx) -> str:
    if ctx.user.id is None:
        raise Forbidden("notifications belong to an account; the operator's key has none")
    return ctx.user.id


def _bad(field: str, message: str) -> BadRequest:
    return BadRequest(f"{field}: {message}", code="invalid_value",
                      details=[{"loc": [field], "msg": message, "type": "value_error"}])  # fmt: skip
