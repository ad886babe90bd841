"""Commands of knowledge, for `brainstem`."""

from __future__ import annotations

import json
import sys
import time
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from webapp.knowledge.consistency import Found
    from webapp.runtime import Runtime


@click.command()
@click.argument("collection", required=False)
@click.option("--check", is_flag=True, help="Only say what is wrong; exit code 1 if anything is.")
@click.option("--full", is_flag=True, help="Embed everything again, whatever is there.")
@click.option("--json", "as_json", is_flag=True, help="For programs.")
@click.pass_obj
def reindex(unit: Any, collection: str | None, check: bool, full: bool, as_json: bool) -> None:
    """Make the vector index follow the database, for COLLECTION (name or id) or for all.

    While a server holds the index it does the work itself, as a task; else it is done here.
    """
    from webapp.knowledge import consistency, embed

    with unit(write=False) as ctx:
        rt = ctx.rt
    ids = _wanted(rt, collection)
    if check:
        found = [one for one in (consistency.check(rt, ident) for ident in ids) if one is not None]
        _print(found, as_json)
        sys.exit(0 if all(one.sound for one in found) else 1)
    if rt.roles or _held(rt):  # with roles, workers are processes of their own
        with unit() as ctx:
            _leave_it_to_the_server(ctx, ids if collection else [None], full, as_json)
        return
    found = consistency.reindex(rt, ids, full=full, note=lambda text: click.echo(text, err=True))
    _print(found, as_json)
    for one in found:
        embed.embed_collection(rt, one.collection_id, Console(one.name, quiet=as_json))
    rt.close()


def _leave_it_to_the_server(ctx: Any, ids: list[Any], full: bool, as_json: bool) -> None:
    from webapp.tasks import service as tasks

    started = [tasks.start(ctx, "knowledge.reindex", {"collection_id": one, "full": full})["id"] for one in ids]
    if as_json:
        click.echo(json.dumps({"tasks": started}))
    else:
        click.echo("\n".join(f"started task {one}; follow it with `brainstem tasks {one}`" for one in started))


def _wanted(rt: Runtime, collection: str | None) -> list[str]:
    from sqlalchemy import or_, select

    from webapp.knowledge import consistency
    from webapp.knowledge.models import Collection

    if collection is None:
        return consistency.all_collections(rt)
    with rt.unit(write=False) as db:
        named = or_(Collection.id == collection, Collection.name == collection)
        ids = list(db.scalars(select(Collection.id).where(Collection.removed_at.is_(None), named)))
    if not ids:
        click.echo(f"brainstem: there is no collection {collection}", err=True)
        sys.exit(1)
    return ids


def _held(rt: Runtime) -> bool:
    """Whether another process, the server, holds the index."""
    from webapp.knowledge.vectors import IndexHeld, IndexTrouble

    try:
        rt.vectors.names()
    except IndexHeld:
        return True
    except IndexTrouble:
        pass  # damaged: to be mended here
    return False


def _print(found: list[Found], as_json: bool) -> None:
    if as_json:
        click.echo(json.dumps([one.as_json() for one in found], indent=2))
        return
    for one in found:
        wrong = f"{one.missing:,} missing, {one.stale:,} stale" if one.missing or one.stale else "sound"
        waiting = f", {one.waiting:,} waiting" if one.waiting else ""
        click.echo(
            f"{one.collection_id}  {one.name[:40]:40} {one.chunks:>9,} passages  {one.trouble or wrong}{waiting}"
        )


class Console:
    """Progress on standard error, a line at a time."""

    def __init__(self, name: str, quiet: bool) -> None:
        self.name, self.quiet, self.last = name, quiet, 0.0

    def progress(self, percent: float, message: str = "", *, data: dict[str, Any] | None = None) -> None:
        if not self.quiet and (time.monotonic() - self.last > 2 or percent >= 100):
            self.last = time.monotonic()
            click.echo(f"{self.name}: {message}", err=True)

    def check(self) -> None:
        """Ctrl-C ends it by itself."""

    def stopped(self) -> bool:
        return False
