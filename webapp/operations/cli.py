"""`brainstem ops`: the operator's verbs on the command line. `ctx.obj` opens a unit as the system (see webapp.cli)."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager
from dataclasses import asdict, is_dataclass
from typing import Any

import click

from webapp.core.context import Ctx
from webapp.runtime import Runtime

Unit = Callable[..., AbstractContextManager[Ctx]]


@click.group()
def ops() -> None:
    """Look after queues, workers, tasks of everybody, dead letters and schedules."""


_json = click.option("--json", "as_json", is_flag=True, help="For programs.")


def examine(rt: Runtime, as_json: bool) -> int:
    """`brainstem doctor`: it asks for no migrated database, so it is no verb of a unit. The exit code."""
    from webapp.operations.service import doctor

    checks = doctor.examine(rt)
    if as_json:
        click.echo(json.dumps({"level": doctor.worst(checks), "checks": [asdict(one) for one in checks]}, indent=2))
    for one in () if as_json else checks:
        tone = {"ok": "green", "warn": "yellow", "bad": "red"}[one.level]
        click.echo(f"{click.style(f'{one.level:5}', fg=tone)} {one.name:10} {one.text}")
        if one.mend:
            click.echo(f"{'':17}-> {one.mend}")
    return 1 if doctor.worst(checks) == doctor.BAD else 0


@ops.command()
@_json
@click.pass_obj
def queues(unit: Unit, as_json: bool) -> None:
    """What waits, how long, how fast it goes, who serves it."""
    from webapp.operations import service

    with unit(write=False) as ctx:
        rows = service.queues(ctx)
    if as_json:
        return dump(rows)
    table(
        ("QUEUE", "WAITING", "LATER", "RUNNING", "OLDEST", "PER MIN", "WORKERS", "STATE"),
        [
            (row.name, row.waiting, row.scheduled, row.running, _age(row.oldest_seconds), f"{row.per_minute_5:g}",
             row.workers, f"paused by {row.paused_by}" if row.paused else "open" if row.workers else "no worker")
            for row in rows
        ],
    )  # fmt: skip
    return None


@ops.command()
@_json
@click.pass_obj
def workers(unit: Unit, as_json: bool) -> None:
    """Worker processes and when they were last heard of."""
    from webapp.operations import service

    with unit(write=False) as ctx:
        rows = service.workers(ctx)
    if as_json:
        return dump(rows)
    table(
        ("WORKER", "STATE", "ROLE", "PID", "THREADS", "RUNNING", "DONE", "RSS MB", "BEAT"),
        [
            (row.id, row.state, row.role, row.pid, row.threads, len(row.running), row.done, f"{row.rss_mb:.0f}",
             f"{_age(row.beat_age)} ago")
            for row in rows
        ],
    )  # fmt: skip
    return None


@ops.command()
@click.argument("queue")
@click.option("--reason", default="", help="Shown to other operators.")
@click.pass_obj
def pause(unit: Unit, queue: str, reason: str) -> None:
    """Let no worker take from QUEUE; what runs runs on."""
    from webapp.operations import service

    with unit() as ctx:
        row = service.pause_queue(ctx, queue, reason)
    click.echo(f"{queue} is paused; {row.running} still run, {row.waiting} wait")


@ops.command()
@click.argument("queue")
@click.pass_obj
def resume(unit: Unit, queue: str) -> None:
    """Let workers take from QUEUE again."""
    from webapp.operations import service

    with unit() as ctx:
        row = service.resume_queue(ctx, queue)
    click.echo(f"{queue} goes on; {row.waiting} wait")


@ops.command()
@_json
@click.pass_obj
def alerts(unit: Unit, as_json: bool) -> None:
    """What needs a person; exit code 1 when something is bad."""
    from webapp.operations import service

    with unit(write=False) as ctx:
        rows = service.alerts(ctx)
    if as_json:
        dump(rows)
    for row in () if as_json else rows:
        click.echo(f"{row.level.upper():5} {row.title}. {row.text}")
    if not rows and not as_json:
        click.echo("all is well")
    if any(row.level == "bad" for row in rows):
        raise click.exceptions.Exit(1)


@ops.command()
@_json
@click.pass_obj
def running(unit: Unit, as_json: bool) -> None:
    """What runs now, and what of it seems stuck (`brainstem ops tasks` lists waiting and past ones)."""
    from webapp.operations import service

    with unit(write=False) as ctx:
        rows = service.running(ctx)
    if as_json:
        return dump(rows)
    table(
        ("TASK", "OWNER", "QUEUE", "DONE", "RUNS FOR", "LAST WORD", "TITLE", "TROUBLE"),
        [
            (row.id, row.owner or "system", row.queue, f"{row.progress}%", _age(row.elapsed), _age(row.silent),
             row.title[:40], "; ".join(row.troubles))
            for row in rows
        ],
    )  # fmt: skip
    return None


@ops.command()
@click.option("--state", type=click.Choice(["open", "requeued", "all"]), default="open", show_default=True)
@click.option("--limit", default=50, show_default=True)
@_json
@click.pass_obj
def dead(unit: Unit, state: str, limit: int, as_json: bool) -> None:
    """Tasks that failed for good."""
    from webapp.operations import service

    with unit(write=False) as ctx:
        rows = service.letters(ctx, state=state, limit=limit).items
    if as_json:
        return dump(rows)
    table(
        ("LETTER", "KIND", "REASON", "ATTEMPTS", "FAILED", "ERROR"),
        [
            (row.id, row.kind, row.reason, row.attempt, f"{row.failed_at:%Y-%m-%d %H:%M}", row.error[:80].replace("\n", " "))
            for row in rows
        ],
    )  # fmt: skip
    return None


@ops.command()
@click.argument("letters", nargs=-1, required=True, metavar="ID...")
@click.pass_obj
def requeue(unit: Unit, letters: tuple[str, ...]) -> None:
    """Put dead letters' tasks back into their queues."""
    from webapp.operations import service

    with unit() as ctx:
        answer = service.requeue_many(ctx, letters)
    _answer(answer, "is back in its queue")


@ops.command()
@click.argument("letters", nargs=-1, required=True, metavar="ID...")
@click.option("--yes", is_flag=True, help="Do not ask.")
@click.pass_obj
def purge(unit: Unit, letters: tuple[str, ...], yes: bool) -> None:
    """Throw dead letters away; their tasks stay as they ended."""
    from webapp.operations import service

    if not yes:
        click.confirm(f"Throw {len(letters)} away? Their tracebacks are gone then.", abort=True)
    with unit() as ctx:
        answer = service.purge_many(ctx, letters)
    _answer(answer, "is thrown away")


@ops.command()
@_json
@click.pass_obj
def schedules(unit: Unit, as_json: bool) -> None:
    """What the clock starts (UTC)."""
    from webapp.operations import service

    with unit(write=False) as ctx:
        rows = service.schedules(ctx)
    if as_json:
        return dump(rows)
    table(
        ("NAME", "WHEN", "NEXT", "LAST", "RESULT"),
        [
            (row.name, row.when, f"{row.next_at:%Y-%m-%d %H:%M:%S}" if row.next_at else "paused",
             f"{row.last_at:%Y-%m-%d %H:%M:%S}" if row.last_at else "never", row.last_status or "-")
            for row in rows
        ],
    )  # fmt: skip
    return None


@ops.command("run-schedule")
@click.argument("name")
@click.pass_obj
def run_schedule(unit: Unit, name: str) -> None:
    """Start the schedule NAME now, beside its times."""
    from webapp.operations import service

    with unit() as ctx:
        task_id = service.run_schedule(ctx, name)
    click.echo(f"{name} was put into its queue as task {task_id}")


@ops.command("pause-schedule")
@click.argument("name")
@click.pass_obj
def pause_schedule(unit: Unit, name: str) -> None:
    """Start nothing from the schedule NAME until it is resumed."""
    from webapp.operations import service

    with unit() as ctx:
        service.pause_schedule(ctx, name)
    click.echo(f"{name} is paused: it starts nothing until it is resumed")


@ops.command("resume-schedule")
@click.argument("name")
@click.pass_obj
def resume_schedule(unit: Unit, name: str) -> None:
    """Go on with the schedule NAME from its next time."""
    from webapp.operations import service

    with unit() as ctx:
        row = service.resume_schedule(ctx, name)
    click.echo(f"{name} goes on; its next run is {row.next_at:%Y-%m-%d %H:%M:%S} UTC")


@ops.command("edit-schedule")
@click.argument("name")
@click.option("--cron", help="Five fields in UTC, such as '0 4 * * *'.")
@click.option("--interval", type=float, help="Or every so many seconds.")
@click.pass_obj
def edit_schedule(unit: Unit, name: str, cron: str | None, interval: float | None) -> None:
    """Give the schedule NAME another time."""
    from webapp.operations import service

    with unit() as ctx:
        row = service.edit_schedule(ctx, name, cron=cron, interval=interval)
    click.echo(f"{name} runs {row.when} now")


@ops.command()
@click.option("--status", help="A state, or `active` for all that are not over.")
@click.option("--kind", help="Only of this kind.")
@click.option("--user", help="Only of this person; `system` for those of nobody.")
@click.option("--search", help="Words of the title or the message, or an id.")
@click.option("--limit", default=50, show_default=True)
@_json
@click.pass_obj
def tasks(unit: Unit, status: str | None, kind: str | None, user: str | None, search: str | None, limit: int,
          as_json: bool) -> None:  # fmt: skip
    """Tasks of everybody, newest first: waiting, running and past ones."""
    from webapp.operations import service

    with unit(write=False) as ctx:
        found = service.all_tasks(ctx, status=status, kind=kind, user=user, q=search, limit=limit).items
        rows: list[dict[str, Any]] = [
            {"id": row.task.id, "owner": row.owner, "kind": row.task.kind, "queue": row.task.queue,
             "status": row.task.status, "progress": row.task.progress, "created_at": row.task.created_at,
             "title": row.task.title}
            for row in found
        ]  # fmt: skip
    if as_json:
        return dump(rows)
    table(
        ("TASK", "OWNER", "KIND", "STATUS", "DONE", "CREATED", "TITLE"),
        [
            (row["id"], row["owner"], row["kind"], row["status"], f"{row['progress']}%",
             f"{row['created_at']:%Y-%m-%d %H:%M}", row["title"][:60])
            for row in rows
        ],
    )  # fmt: skip
    return None


def _bulk(action: str, words: str, asks: str) -> None:
    """One verb over tasks of anybody, given by their ids; `asks`: what is asked before, unless --yes."""

    @ops.command(action, help=f"{action.capitalize()} tasks of anybody.")
    @click.argument("ids", nargs=-1, required=True, metavar="ID...")
    @click.option("--yes", is_flag=True, help="Do not ask.")
    @click.pass_obj
    def command(unit: Unit, ids: tuple[str, ...], yes: bool) -> None:
        from webapp.operations import service

        if asks and not yes:
            click.confirm(asks.format(count=len(ids)), abort=True)
        with unit() as ctx:
            answer = service.bulk_tasks(ctx, action, ids)
        _answer(answer, words)


_bulk("cancel", "is cancelled or stopping", "Stop {count} of them?")
_bulk("retry", "is queued again", "")
_bulk("delete", "is deleted", "Delete {count} with their results? This can’t be undone.")


@ops.command()
@click.option("--actor", help="Only of this person.")
@click.option("--action", help="Such as queue.pause, or queue for all of queues.")
@click.option("--limit", default=50, show_default=True)
@_json
@click.pass_obj
def audit(unit: Unit, actor: str | None, action: str | None, limit: int, as_json: bool) -> None:
    """Who did what, newest first."""
    from webapp.operations import service

    with unit(write=False) as ctx:
        rows = service.audit_log(ctx, actor=actor, action=action, limit=limit).items
        lines = [
            (
                f"{row.at:%Y-%m-%d %H:%M:%S}",
                row.actor,
                row.via,
                row.action,
                row.object_id or "-",
                json.dumps(row.detail),
            )
            for row in rows
        ]
    head = ("AT", "ACTOR", "VIA", "ACTION", "OBJECT", "DETAIL")
    if as_json:
        return dump([dict(zip(map(str.lower, head), line, strict=True)) for line in lines])
    return table(head, lines)


def _answer(answer: dict[str, list[dict[str, str]]], words: str) -> None:
    for one in answer["done"]:
        click.echo(f"{one['id']} {words}")
    for one in answer["failed"]:
        click.echo(f"{one['id']}: {one['error']}", err=True)
    if answer["failed"]:
        raise click.exceptions.Exit(1)


# -- printing --------------------------------------------------------------------------------------------------------


def table(head: tuple[str, ...], rows: Iterable[tuple[Any, ...]]) -> None:
    """Columns as wide as needed; numbers to the right."""
    lines = [tuple(str(cell) for cell in row) for row in rows]
    widths = [max(len(line[n]) for line in [head, *lines]) for n in range(len(head))]
    for line in [head, *lines]:
        cells = (
            cell.rjust(width) if _is_number(cell) else cell.ljust(width)
            for cell, width in zip(line, widths, strict=True)
        )
        click.echo("  ".join(cells).rstrip())


def _is_number(cell: str) -> bool:
    return cell.replace(".", "", 1).isdigit()


def _age(seconds: float | None) -> str:
    if seconds is None:
        return "-"
    for size, unit in ((86400, "d"), (3600, "h"), (60, "min")):
        if seconds >= size:
            return f"{seconds / size:.0f} {unit}"
    return f"{seconds:.0f} s"


def dump(rows: Any) -> None:
    plain = [asdict(row) if is_dataclass(row) and not isinstance(row, type) else row for row in rows]
    click.echo(json.dumps(plain, indent=2, default=str))
