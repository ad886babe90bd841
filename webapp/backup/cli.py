"""What `brainstem backup`, `restore` and `upgrade` say. They ask for no migrated database, so they are no verbs of a unit."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path

import click

from webapp.backup import service, trial
from webapp.backup.trial import Trial
from webapp.runtime import Runtime
from webapp.settings import Settings


def backup(rt: Runtime, path: Path, *, secrets: bool, force: bool, as_json: bool) -> None:
    found = service.make(rt, path, secrets=secrets, force=force)
    size = path.stat().st_size
    if as_json:
        click.echo(json.dumps({**found, "path": str(path), "size": size}, indent=2))
        return
    rows = sum(found["database"]["rows"].values())
    files = sum(name.startswith("files/") for name in found["files"])
    click.echo(f"{path}: {size / 2**20:.1f} MB, {rows:,} rows at {found['database']['revision']}, {files:,} uploads, "
               f"{'with' if secrets else 'without'} secrets; took {found['seconds']:.1f} s")  # fmt: skip
    if secrets:
        click.echo("The secret key is in it: keep it as you keep a password.")
    if found["missing_files"]:
        click.echo(f"{len(found['missing_files'])} uploads have a row and no file.", err=True)


def restore(settings: Settings, path: Path, *, force: bool) -> None:
    done = service.restore(settings, path, force=force, say=lambda text: click.echo(text, err=True))
    click.echo(f"Restored into {settings.home_dir}: the state of {done.manifest['made_at']}, schema {done.revision}.")
    if done.aside:
        click.echo(f"What was here is in {done.aside}; delete it when all is well.")
    if done.reindex:
        click.echo("Search answers from keywords until the vector index is made again, which starts with the server.")
    for note in done.notes:
        click.echo(note)


def try_upgrade(rt: Runtime, as_json: bool) -> int:
    """`upgrade --dry-run`; the exit code."""
    found = trial.rehearse(rt.engine, rt.settings.home_dir)
    if as_json:
        click.echo(json.dumps({**asdict(found), "seconds": round(found.seconds, 3)}, indent=2))
    else:
        _print(found)
    return 1 if found.trouble else 0


def _print(found: Trial) -> None:
    if not found.steps:
        click.echo(f"nothing to do: the database is at {found.current}")
    elif found.current is None:
        click.echo(f"the database is empty; {len(found.steps)} migrations would make it, to {found.head}")
    else:
        _print_steps(found)


def _print_steps(found: Trial) -> None:
    click.echo(f"from {found.current} to {found.head}, tried on a copy (made in {found.copy_seconds:.1f} s):")
    for step in found.steps:
        took = f"{step.seconds:6.2f} s" if step.seconds is not None else "       -"
        click.echo(f"  {step.revision}  {took}  {step.title}")
    for line in found.changes:
        click.echo(f"    {line}")
    for table, (before, after) in found.rows.items():
        click.echo(f"    rows of {table}: {before:,} before, {after:,} after")
    if found.trouble:
        click.echo(f"It would fail: {found.trouble}. Nothing was changed.")
    else:
        click.echo(
            f"It would work and take about {found.seconds:.1f} s. Nothing was changed. Make a backup, then: brainstem migrate"
        )
