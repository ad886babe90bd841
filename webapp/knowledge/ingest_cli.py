"""`brainstem ingest`: files, folders and addresses into a collection, from the command line."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from webapp.core.context import Actor
    from webapp.runtime import Runtime

FILES = 20  # added in one unit
QUEUES = ("interactive", "crawling")


@click.command()
@click.argument("what", nargs=-1, required=True, metavar="PATH|URL...")
@click.option("--collection", "-c", help="Name or id; made when there is none of that name. Default: My documents.")
@click.option("--user", "-u", help="Whose collection. Default: the local account of this machine.")
@click.option("--read-as", type=click.Choice(["url", "site", "sitemap", "feed"]), default="url", show_default=True,
              help="What an address is: one page, or where a crawl begins.")  # fmt: skip
@click.option("--max-pages", type=int, help="Of a site, sitemap or feed.")
@click.option("--wait/--no-wait", default=True, help="Follow the reading to its end.")
@click.pass_obj
def ingest(unit: Any, what: tuple[str, ...], collection: str | None, user: str | None, read_as: str,
           max_pages: int | None, wait: bool) -> None:  # fmt: skip
    """Read files, folders (all below them) and addresses into a collection.

    A running server does the work; without one it is done here. Interrupted, it goes on when a server starts or the
    command is given again: what is there already is not read twice.
    """
    from webapp.core.errors import AppError

    with unit(write=False) as ctx:
        rt = ctx.rt
    try:
        actor = _actor(rt, user)
        collection_id = _collection(rt, actor, collection)
        source_ids = _add(rt, actor, collection_id, what, read_as, max_pages)
    except AppError as exc:
        click.echo(f"brainstem: {exc.message}", err=True)
        sys.exit(1)
    failed = _follow(rt, source_ids) if wait and source_ids else 0
    rt.close()
    sys.exit(1 if failed or not source_ids else 0)


def _actor(rt: Runtime, username: str | None) -> Actor:
    from webapp.core.context import SYSTEM, Actor, Ctx
    from webapp.identity import service as identity

    if username is None:
        ident, name = identity.local_account(rt)
        return Actor(ident, name, is_admin=True, is_local=True)
    with rt.unit(write=False) as db:
        person = identity.find(Ctx(rt, db, SYSTEM), username)
        return Actor(person.id, person.username, is_admin=person.is_admin)


def _collection(rt: Runtime, actor: Actor, wanted: str | None) -> str:
    from webapp.core.context import Ctx
    from webapp.knowledge.service import collections

    with rt.unit() as db:
        ctx = Ctx(rt, db, actor, request_id="command-line")
        if wanted is None:
            return collections.default(ctx).id
        for one in collections.list_(ctx):
            if wanted in (one.collection.id, one.collection.name) and one.access == "owner":
                return one.collection.id
        return collections.create(ctx, wanted).id


def _add(rt: Runtime, actor: Actor, collection_id: str, what: tuple[str, ...], read_as: str,
         max_pages: int | None) -> list[str]:  # fmt: skip
    """Make a source of each; the ids of those that were taken."""
    from webapp.core.context import Ctx
    from webapp.knowledge.service import sources

    made: list[str] = []
    waiting: list[Path] = []
    for one in what:
        if one.startswith(("http://", "https://")):
            config = {"max_pages": max_pages} if max_pages and read_as != "url" else None
            with rt.unit() as db:
                ctx = Ctx(rt, db, actor, request_id="command-line")
                made.append(sources.add_url(ctx, collection_id, one, kind=read_as, config=config).id)
            continue
        for path in _files(Path(one)):
            waiting.append(path)
            if len(waiting) >= FILES:
                made += _add_files(rt, actor, collection_id, waiting)
                waiting = []
    return made + _add_files(rt, actor, collection_id, waiting)


def _files(path: Path) -> Iterator[Path]:
    """The file, or all below the folder but hidden ones and what is not read."""
    from webapp.knowledge.service import sources

    if path.is_file():
        yield path
        return
    if not path.is_dir():
        click.echo(f"brainstem: there is nothing at {path}", err=True)
        return
    accepted, count = sources.accepted(), 0
    for found in sorted(path.rglob("*")):
        hidden = any(part.startswith(".") for part in found.relative_to(path).parts)
        if found.is_file() and not hidden and found.suffix.lower() in accepted:
            count += 1
            yield found
    if not count:
        click.echo(f"brainstem: there is no file to read in {path}", err=True)


def _add_files(rt: Runtime, actor: Actor, collection_id: str, paths: list[Path]) -> list[str]:
    from webapp.core.context import Ctx
    from webapp.knowledge.service import sources
    from webapp.knowledge.service.sources import File

    with ExitStack() as opened, rt.unit() as db:
        given = [File(opened.enter_context(path.open("rb")), path.name) for path in paths]
        ctx = Ctx(rt, db, actor, request_id="command-line")
        taken, refused = sources.add_files(ctx, collection_id, given)
    for one in refused:
        click.echo(f"not taken  {one['name']}: {one['error']}", err=True)
    return [one.id for one in taken]


def _follow(rt: Runtime, source_ids: list[str]) -> int:
    """Tell what becomes of each, working here while no server does; how many failed."""
    from webapp.tasks import execute
    from webapp.tasks import service as tasks
    from webapp.tasks.worker import WorkerHost

    host: WorkerHost | None = None
    told: set[str] = set()
    failed = 0
    while True:
        for source_id, state, line in _settled(rt, source_ids, told):
            told.add(source_id)
            failed += state == "failed"
            click.echo(line, err=state == "failed")
        if len(told) >= len(source_ids):
            break
        with rt.unit(write=False) as db:
            served = tasks.is_served(db, rt.settings)
        if served:
            time.sleep(0.5)
            continue
        if host is None:
            host = WorkerHost(rt, "ingest", QUEUES)
            host.start()
        if not any(execute.run_next(rt, host, queue) for queue in QUEUES):
            time.sleep(0.5)  # a retry that is not due yet
            tasks.make_due(rt)
    if host is not None:
        host.stop()
    return failed


def _settled(rt: Runtime, source_ids: list[str], told: set[str]) -> list[tuple[str, str, str]]:
    from webapp.core.context import SYSTEM, Ctx
    from webapp.knowledge.service import sources

    found = []
    rest = [one for one in source_ids if one not in told]
    with rt.unit(write=False) as db:
        ctx = Ctx(rt, db, SYSTEM)
        rows = [row for start in range(0, len(rest), 500) for row in sources.some(ctx, rest[start : start + 500])]
        active = sources.active_tasks(ctx, rows)
        for row in rows:
            state, error = sources.shown_state(row, active)
            if state not in sources.OPEN:
                last = row.config.get("last") or {}
                word = last.get("outcome", state) if state == "ready" else state
                found.append((row.id, state, f"{word:10} {row.label}" + (f": {error}" if error else "")))
        missing = set(rest) - {row.id for row in rows}
    return found + [(one, "failed", "removed    by somebody else") for one in missing]
