"""`brainstem models`: list, pull, default, test. `ctx.obj` opens a unit as the system (see webapp.cli)."""

from __future__ import annotations

import json
import sys
import time
from typing import Any

import click


@click.group()
def models() -> None:
    """Language models: what is here, get one, choose one, try one."""


@models.command("list")
@click.option("--json", "as_json", is_flag=True, help="For programs: what the API answers.")
@click.pass_obj
def list_(unit: Any, as_json: bool) -> None:
    """Files and the models of every server, with their measured speed."""
    from webapp.engines import calls, catalogue, selection, service

    with unit(write=False) as ctx:
        figures = {one.model: one for one in calls.metrics(ctx.db)}
        ctx.db.commit()
        found = service.listed(ctx.rt, wait=True)
        default = catalogue.default(ctx.rt)
    rows = [selection.model_info(one, figures, calls.fastest(list(figures.values()))) for one in found]
    if as_json:
        click.echo(json.dumps({"models": rows, "default_model": default}, indent=2))
        return
    for row in rows:
        speed = row["average_tokens_per_second"]
        state = "ready" if row["available"] else f"not usable: {row['missing']}"
        click.echo(f"{'*' if row['name'] == default else ' '} {row['name']:44} {_size(row['size_bytes']):>9} "
                   f"{f'{speed:.1f} t/s' if speed else '':>10}  {state}")  # fmt: skip
    if default is None:
        click.echo(
            "No model: answers are sentences of your sources. `brainstem models pull tinyllama` gets a small one."
        )


def _size(count: int | None) -> str:
    from webapp.engines.kind import in_words

    return in_words(count) if count else ""


@models.command()
@click.argument("model")
@click.option("--server", "-s", default="", help="An Ollama server that pulls it; left out: a GGUF file from the hub.")
@click.pass_obj
def pull(unit: Any, model: str, server: str) -> None:
    """Get MODEL: a short name (tinyllama, llama2, mistral) or owner/repository of a GGUF model. Stopped with Ctrl-C, it goes
    on where it was when asked again."""
    from webapp.core.errors import NoModel, TaskCancelled
    from webapp.engines import hub, ollama, servers

    with unit(write=False) as ctx:
        rt = ctx.rt
        ctx.db.commit()
        bar = _Bar()
        if server:
            found = next((one for one in servers.servers(rt) if one.name == server), None)
            if found is None:
                raise NoModel(f"There is no model server {server}.")
            for status, done, total in ollama.pull(rt, found, model, timeout=24 * 3600, cancelled=lambda: False):
                bar.show(status, done, total)
            bar.end(f"{model} is ready at {server}")
            return
        wanted = hub.find(rt, model)
        if not hub.is_here(rt, wanted):
            try:
                hub.load(rt, wanted, timeout=24 * 3600, cancelled=lambda: False,
                         on_bytes=lambda count: bar.show(wanted.name, count, wanted.size))  # fmt: skip
            except TaskCancelled:
                sys.exit(130)
        bar.end(f"ggml:{wanted.name} is ready (sha256 {wanted.sha256[:12]})")


class _Bar:
    """One line on a terminal, a line each ten per cent elsewhere."""

    def __init__(self) -> None:
        self.tty, self.told, self.at = sys.stderr.isatty(), -1, 0.0

    def show(self, words: str, done: int, total: int) -> None:
        percent = 100 * done // total if total else 0
        if self.tty and time.monotonic() - self.at > 0.2:
            self.at = time.monotonic()
            click.echo(f"\r{words[:50]:50} {percent:3}% of {_size(total)}", nl=False, err=True)
        elif not self.tty and percent // 10 != self.told:
            self.told = percent // 10
            click.echo(f"{words[:80]} {percent}% of {_size(total)}", err=True)

    def end(self, words: str) -> None:
        if self.tty:
            click.echo("", err=True)
        click.echo(words)


@models.command()
@click.argument("model", required=False)
@click.option("--task", "task_type", default="", help="Only for this kind of work, such as chat or summary.")
@click.option("--clear", is_flag=True, help="Take the choice back.")
@click.pass_obj
def default(unit: Any, model: str | None, task_type: str, clear: bool) -> None:
    """Show the defaults, or make MODEL the one that is asked where nobody chose."""
    from webapp.engines import catalogue, rows, service

    with unit() as ctx:
        if clear or model:
            chosen = "" if clear or not model else service.engine(ctx.rt, model).id
            rows.set_default(ctx, task_type, chosen)
            click.echo(f"{task_type or 'everything'}: {chosen or 'no choice'}")
            return
        found = rows.known(ctx.rt).defaults
        ctx.db.commit()
        click.echo(f"everything: {found.get('') or catalogue.default(ctx.rt) or 'no model'}")
        for name, one in sorted(found.items()):
            if name:
                click.echo(f"{name}: {one}")


@models.command()
@click.argument("model", required=False, default="")
@click.option("--prompt", default="Say hello in one sentence.", show_default=True)
@click.option("--max-tokens", default=64, show_default=True, type=click.IntRange(1, 1024))
@click.pass_obj
def test(unit: Any, model: str, prompt: str, max_tokens: int) -> None:
    """Have MODEL (or the default) write a little, and measure it."""
    from webapp.engines import service
    from webapp.engines.base import Request

    with unit(write=False) as ctx:
        ctx.db.commit()
        request = Request(({"role": "user", "content": prompt},), max_tokens=max_tokens)
        done = service.generate(
            ctx.rt, model, request, task_type="try", on_text=lambda text: click.echo(text, nl=False)
        )
    click.echo("")
    measured = [f"{done.completion_tokens} tokens" if done.completion_tokens is not None else "tokens not told"]
    measured += [f"{done.tokens_per_second:.1f} a second"] if done.tokens_per_second else []
    measured += [f"{name.replace('_', ' ')} {took:.2f} s" for name, took in done.seconds.items()]
    click.echo(f"{done.model}: {', '.join(measured)}", err=True)
