"""`brainstem search`."""

from __future__ import annotations

import json
import shutil
import sys
import textwrap
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from webapp.knowledge.service.search import Hit


@click.command()
@click.argument("query", nargs=-1, required=True)
@click.option("--collection", "-c", multiple=True, help="Name or id; again for more. Left out: all.")
@click.option("--mode", type=click.Choice(["hybrid", "keyword", "vector"]), default="hybrid", show_default=True)
@click.option("-k", default=10, show_default=True, type=click.IntRange(1, 100), help="How many passages.")
@click.option("--json", "as_json", is_flag=True, help="For programs: what the API answers.")
@click.pass_obj
def search(unit: Any, query: tuple[str, ...], collection: tuple[str, ...], mode: str, k: int, as_json: bool) -> None:
    """Find passages by words and by meaning. Exit code 1 when there are none.

    While an embedded server runs, the vectors are its own, and this finds by words only.
    """
    from webapp.knowledge import search_views
    from webapp.knowledge.service import search as service

    with unit(write=False) as ctx:
        wanted = _ids(ctx, collection) if collection else None
        found = service.search(ctx, " ".join(query), collections=wanted, k=k, mode=mode, via="cli")
    if found.notice is not None and not as_json:
        click.echo(f"{found.notice.message} {found.notice.suggestion}".strip(), err=True)
    if as_json:
        click.echo(json.dumps(search_views.found(found), ensure_ascii=False, indent=2))
    else:
        for number, hit in enumerate(found.hits, 1):
            _print(number, hit)
    sys.exit(0 if found.hits else 1)


def _ids(ctx: Any, wanted: tuple[str, ...]) -> list[str]:
    from webapp.core.errors import NotFound
    from webapp.knowledge.service import collections

    there = [one.collection for one in collections.list_(ctx)]
    ids = []
    for name in wanted:
        fitting = [one.id for one in there if name in (one.id, one.name)]
        if not fitting:
            raise NotFound(f"there is no collection {name}")
        ids += fitting
    return ids


def _print(number: int, hit: Hit) -> None:
    place = " › ".join(part for part in (hit.title, hit.heading.replace(" > ", " › ")) if part)
    parts = ", ".join(f"{name} {value:.2f}" for name, value in (("words", hit.keyword), ("meaning", hit.vector))
                      if value is not None)  # fmt: skip
    click.echo(f"{number:2}. {click.style(place, bold=True)}  {hit.score:.2f} ({parts})")
    if hit.url:
        click.echo(f"    {hit.url}")
    text = "".join(click.style(part, fg="yellow", bold=True) if marked else part
                   for part, marked in hit.snippet.parts())  # fmt: skip
    width = min(110, shutil.get_terminal_size().columns)
    click.echo(textwrap.fill(text, width, initial_indent="    ", subsequent_indent="    "))
