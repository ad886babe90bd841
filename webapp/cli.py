"""The `brainstem` command: its processes, its database, its settings; the verbs of the areas are in their cli.py."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import click

from webapp import __version__
from webapp.administration.cli import quotas, retention, users
from webapp.core import lifeline
from webapp.engines.cli import models
from webapp.knowledge.cli import reindex
from webapp.knowledge.ingest_cli import ingest
from webapp.knowledge.search_cli import search
from webapp.mcp.cli import mcp
from webapp.operations.cli import ops
from webapp.settings import OPTIONS, Settings, SettingsError, load


class _Group(click.Group):
    """One clear line instead of a traceback for what the operator can mend."""

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except SettingsError as exc:
            click.echo(f"brainstem: {exc}", err=True)
            sys.exit(2)


@click.group(cls=_Group)
@click.version_option(__version__, prog_name="brainstem")
@click.pass_context
def main(ctx: click.Context) -> None:
    """Brainstem: a self-hosted AI workbench where every long job is durable, visible and honest."""
    lifeline.follow()
    ctx.obj = _as_system  # how the commands of `ops` reach the database


@main.command()
@click.option("--host", help="Address to serve on.")
@click.option("--port", type=int, help="Port to serve on.")
@click.option("--home", help="Folder of all data.")
def up(host: str | None, port: int | None, home: str | None) -> None:
    """Serve everything: one process without services, or all processes of a deployment under one supervisor."""
    settings = load(host=host, port=port, home=home)
    from webapp import supervisor

    sys.exit(supervisor.up(settings))


@main.command()
@click.option("--live", is_flag=True, help="Serve live connections (WebSocket, SSE) on the live port.")
def web(live: bool) -> None:
    """The web process of a deployment (gunicorn)."""
    from webapp import supervisor

    supervisor.run_web(load(), live=live)


@main.command()
@click.argument("role", type=click.Choice(["fast", "inference", "crawling", "embedding", "all"]))
@click.option("--processes", "-p", default=1, show_default=True, help="How many processes, kept alive.")
def worker(role: str, processes: int) -> None:
    """Run the tasks of a role's queues."""
    from webapp import supervisor

    settings = load()
    if processes > 1:
        sys.exit(supervisor.run_many(settings, ["worker", role], processes))
    from webapp import serve

    sys.exit(serve.run_worker(_migrated(settings), role))


@main.command()
def scheduler() -> None:
    """Sweep and start what the clock asks for; one of all that run leads."""
    from webapp import serve

    sys.exit(serve.run_scheduler(_migrated(load())))


@main.command()
@click.option("--check", is_flag=True, help="Only say whether anything is to do.")
def migrate(check: bool) -> None:
    """Bring the database to this version."""
    from webapp import supervisor
    from webapp.core import migrate as migrations

    rt = _runtime(load())
    if check:
        done = migrations.current(rt.engine) == migrations.head()
        click.echo("up to date" if done else "needs `brainstem migrate`")
        sys.exit(0 if done else 1)
    supervisor.ensure_schema(rt)
    click.echo(f"database is at {migrations.current(rt.engine)}")


@main.command()
@click.argument("file", type=click.Path(path_type=Path, dir_okay=False))
@click.option("--without-secrets", is_flag=True, help="Leave out secret.key and brainstem.env.")
@click.option("--force", is_flag=True, help="Replace FILE if it is there.")
@click.option("--json", "as_json", is_flag=True, help="For programs: the manifest.")
def backup(file: Path, without_secrets: bool, force: bool, as_json: bool) -> None:
    """Everything into one FILE, while it runs: database, uploads, secrets; no models, no vector index."""
    from webapp.backup import cli as backups

    rt = _runtime(_existing(load()))
    try:
        with _told():
            backups.backup(rt, file.absolute(), secrets=not without_secrets, force=force, as_json=as_json)
    finally:
        rt.close()


@main.command()
@click.argument("file", type=click.Path(path_type=Path, dir_okay=False, exists=True))
@click.option(
    "--force", is_flag=True, help="Also where something is: files are set aside, a Postgres schema is replaced."
)
def restore(file: Path, force: bool) -> None:
    """Put the backup FILE into this place (BRAINSTEM_HOME, DATABASE_URL), which must be empty."""
    from webapp.backup import cli as backups

    settings = load()
    _logging(settings)
    with _told():
        backups.restore(settings, file.absolute(), force=force)


@main.command()
@click.option(
    "--dry-run", is_flag=True, help="Try it on a copy: what would run, how long, what changes. Changes nothing."
)
@click.option("--json", "as_json", is_flag=True, help="For programs; with --dry-run.")
@click.pass_context
def upgrade(ctx: click.Context, dry_run: bool, as_json: bool) -> None:
    """Bring the database to this version, as `migrate` does; with --dry-run only try."""
    from webapp.backup import cli as backups

    if not dry_run:
        ctx.invoke(migrate, check=False)
        return
    rt = _runtime(_existing(load()))
    try:
        with _told():
            sys.exit(backups.try_upgrade(rt, as_json))
    finally:
        rt.close()


@main.command()
@click.option("--json", "as_json", is_flag=True, help="For programs.")
def doctor(as_json: bool) -> None:
    """Look at everything this installation stands on; what is wrong comes with its mend. Exit code 1 if something is bad."""
    from webapp.operations import cli as operations_cli

    rt = _runtime(_existing(load()))
    try:
        sys.exit(operations_cli.examine(rt, as_json))
    finally:
        rt.close()


@main.command()
@click.option("--json", "as_json", is_flag=True)
def config(as_json: bool) -> None:
    """Every setting with its value and where that came from."""
    settings = load()
    rows = [
        {"name": option.env[0], "value": _shown(settings, option.name, option.secret),
         "origin": settings.origins[option.name], "help": option.help}
        for option in OPTIONS
    ]  # fmt: skip
    if as_json:
        click.echo(json.dumps(rows, indent=2))
        return
    for row in rows:
        click.echo(f"{row['name']:32} {row['value']:28} {row['origin']}")


@main.command()
def routes() -> None:
    """Every address, what it needs, and what serves it."""
    from webapp.app import create_app
    from webapp.web.api import ROUTES

    create_app(_runtime(load()))
    for route in sorted(ROUTES, key=lambda r: (r.path, r.method)):
        click.echo(f"{route.method:7} {route.path:52} {route.auth:14} {route.endpoint}")


@main.command()
def plugins() -> None:
    """Task kinds, channels of notifications, model providers: where each comes from and whether it loads."""
    from webapp.engines.providers import providers
    from webapp.notifications.channels import channels
    from webapp.tasks.kinds import kinds

    kinds.add_setting(load().plugins)
    for info in (*kinds.info(), *channels.info(), *providers.info()):
        click.echo(f"{info.name:28} {info.origin:20} {info.path:44} {info.error or 'ok'}")


@main.command("create-admin")
@click.argument("username")
@click.password_option(help="Asked for when not given; BRAINSTEM_HOME says for which installation.")
def create_admin(username: str, password: str) -> None:
    """Make an administrator's account, or set its password."""
    from webapp.identity import service

    rt = _migrated(load())
    with _told(), rt.unit() as db:
        name = service.create_admin(db, username, password).username
    click.echo(f"{name} can log in")


@main.command("set-password")
@click.argument("username")
@click.password_option()
def set_password(username: str, password: str) -> None:
    """Give an account a new password; every login of it ends."""
    from webapp.identity import service

    rt = _migrated(load())
    with _told(), rt.unit() as db:
        service.set_password(db, username, password)
    click.echo(f"{username} has a new password")


main.add_command(models)
main.add_command(ops)
main.add_command(users)
main.add_command(quotas)
main.add_command(retention)
main.add_command(reindex)
main.add_command(ingest)
main.add_command(mcp)
main.add_command(search)


@main.command()
@click.argument("task_id", required=False)
@click.option("--status", help="Only tasks in this state; `active` for all that are not over.")
@click.option("--limit", default=20, show_default=True)
def tasks(task_id: str | None, status: str | None, limit: int) -> None:
    """List tasks of everybody, or show one with its events."""
    rt = _migrated(load())
    with rt.unit(write=False) as db:
        _print_tasks(rt, db, task_id, status, limit)


def _print_tasks(rt: Any, db: Any, task_id: str | None, status: str | None, limit: int) -> None:
    from webapp.core.context import SYSTEM, Ctx
    from webapp.tasks import service

    ctx = Ctx(rt, db, SYSTEM)
    with _told():
        if task_id is None:
            for task in service.list_(ctx, status=status, limit=limit).items:
                click.echo(f"{task.id}  {task.status:10} {task.progress:3}%  {task.kind:14} {task.title[:60]}")
            return
        task = service.get(ctx, task_id)
        click.echo(f"{task.title}\n{task.status}, {task.progress}%, attempt {task.attempt} of {task.max_attempts}")
        for event in service.events(ctx, task):
            click.echo(f"{event.seq:5} {event.at:%H:%M:%S} {event.level:8} {event.message}")


@contextmanager
def _as_system(*, write: bool = True) -> Iterator[Any]:
    """A unit of work as the system; what `brainstem ops` does its verbs in."""
    from webapp.core.context import SYSTEM, Ctx

    rt = _migrated(load())
    try:
        with _told(), rt.unit(write=write) as db:
            yield Ctx(rt, db, SYSTEM, request_id="command-line")
    finally:
        rt.close()  # sends the wake-ups that still wait for Redis


@contextmanager
def _told() -> Iterator[None]:
    """A refusal is one line on standard error and exit code 1."""
    from webapp.core.errors import AppError

    try:
        yield
    except AppError as exc:
        click.echo(f"brainstem: {exc.message}" + (f" {exc.suggestion}" if exc.suggestion else ""), err=True)
        sys.exit(1)


def _shown(settings: Settings, name: str, secret: bool) -> str:
    value = settings.values[name]
    if secret:
        return "(set)" if value else "(empty)"
    return ",".join(value) if isinstance(value, tuple) else str(value)


def _existing(settings: Settings) -> Settings:
    """For what only looks: it must not make an installation by looking."""
    from webapp.runtime import database_url

    if database_url(settings).startswith("sqlite") and not settings.home_dir.exists():
        raise SettingsError(f"there is nothing in {settings.home_dir} yet; `brainstem up` makes it")
    return settings


def _logging(settings: Settings) -> None:
    from webapp.core import logs

    logs.setup(settings.log_level, settings.log_format)


def _runtime(settings: Settings) -> Any:
    from webapp import serve

    return serve.prepare(settings)


def _migrated(settings: Settings) -> Any:
    """A runtime whose database is at this version (embedded: brought there; deployment: waited for)."""
    from webapp import supervisor

    rt = _runtime(settings)
    supervisor.ensure_schema(rt)
    return rt


if __name__ == "__main__":
    os.environ.setdefault("PYTHONUNBUFFERED", "1")
    main()
