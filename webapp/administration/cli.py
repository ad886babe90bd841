"""`brainstem users`, `brainstem quotas` and `brainstem retention`: an administrator's verbs on the command line.

`ctx.obj` opens a unit as the system (see webapp.cli).
"""

from __future__ import annotations

from typing import Any

import click

from webapp.operations.cli import Unit, dump, table

_json = click.option("--json", "as_json", is_flag=True, help="For programs.")


@click.group()
def users() -> None:
    """Accounts: find, make, invite, suspend, change roles, reset passwords, end logins and keys."""


@users.command("list")
@click.argument("search", required=False)
@click.option("--state", type=click.Choice(["active", "suspended", "invited"]))
@click.option("--role", type=click.Choice(["user", "admin"]))
@click.option("--limit", default=50, show_default=True)
@_json
@click.pass_obj
def list_users(unit: Unit, search: str | None, state: str | None, role: str | None, limit: int, as_json: bool) -> None:
    """Accounts, newest first; SEARCH is part of a name or email."""
    from webapp.identity import people

    with unit(write=False) as ctx:
        found = people.search(ctx, q=search, state=state, role=role, limit=limit).items
        rows: list[dict[str, Any]] = [
            {"id": one.user.id, "name": one.user.username, "email": one.user.email,
             "role": "admin" if one.user.is_admin else "user", "state": one.state, "sessions": one.sessions,
             "keys": one.keys, "created_at": one.user.created_at, "last_login_at": one.user.last_login_at}
            for one in found
        ]  # fmt: skip
    if as_json:
        return dump(rows)
    return table(
        ("NAME", "ROLE", "STATE", "EMAIL", "SESSIONS", "KEYS", "LAST LOGIN"),
        [
            (row["name"], row["role"], row["state"], row["email"] or "-", row["sessions"], row["keys"],
             f"{row['last_login_at']:%Y-%m-%d %H:%M}" if row["last_login_at"] else "never")
            for row in rows
        ],
    )  # fmt: skip


@users.command("add")
@click.argument("username")
@click.option("--email")
@click.option("--admin", is_flag=True, help="As an administrator.")
@click.option("--password", help="Left out: an invitation is printed, with which the person sets one.")
@click.pass_obj
def add_user(unit: Unit, username: str, email: str | None, admin: bool, password: str | None) -> None:
    """Make an account for USERNAME, or invite somebody to it."""
    from webapp.identity import people

    with unit() as ctx:
        user, token = people.create(ctx, username, email=email, password=password, is_admin=admin)
        name, address = user.username, _invitation(ctx, token)
    click.echo(f"{name} has an account" + (f"; within a week they set a password at {address}" if address else ""))


@users.command("invite")
@click.argument("username")
@click.pass_obj
def invite_user(unit: Unit, username: str) -> None:
    """A new invitation for USERNAME, who has set no password yet."""
    from webapp.identity import people

    with unit() as ctx:
        click.echo(_invitation(ctx, people.invite(ctx, people.by_name(ctx, username).id)))


@users.command("reset-password")
@click.argument("username")
@click.option("--password", help="Left out: the old one is taken away and a link is printed to set a new one.")
@click.pass_obj
def reset_password(unit: Unit, username: str, password: str | None) -> None:
    """Give USERNAME a new password, or let them set one; all their logins end."""
    from webapp.identity import people

    with unit() as ctx:
        token = people.reset_password(ctx, people.by_name(ctx, username).id, password)
        address = _invitation(ctx, token)
    click.echo(f"{username} sets a new password at {address}" if address else f"{username} has a new password")


def _invitation(ctx: Any, token: str | None) -> str:
    base = ctx.rt.settings.public_url.rstrip("/") or f"http://{ctx.rt.settings.host}:{ctx.rt.settings.port}"
    return f"{base}/invite/{token}" if token else ""


def _verb(name: str, help: str, asks: str, act: Any) -> None:
    """One verb on one account; `asks`: what is asked before, unless --yes; `act(people, service, ctx, id)` says it."""

    @users.command(name, help=help)
    @click.argument("username")
    @click.option("--yes", is_flag=True, help="Do not ask.")
    @click.pass_obj
    def command(unit: Unit, username: str, yes: bool) -> None:
        from webapp.identity import people, service

        if asks and not yes:
            click.confirm(f"{asks} {username}?", abort=True)
        with unit() as ctx:
            said = act(people, service, ctx, people.by_name(ctx, username).id)
        click.echo(f"{username} {said}")


def _done(said: str, _value: Any) -> str:
    return said


_verb("suspend", "Suspend USERNAME: logins, tokens and keys end at once and for good.", "Suspend",
      lambda people, service, ctx, id: _done("is suspended", service.set_active(ctx, id, False)))  # fmt: skip
_verb("reinstate", "Let USERNAME in again.", "",
      lambda people, service, ctx, id: _done("may log in again", service.set_active(ctx, id, True)))  # fmt: skip
_verb("promote", "Make USERNAME an administrator.", "",
      lambda people, service, ctx, id: _done("is an administrator", people.set_role(ctx, id, True)))  # fmt: skip
_verb("demote", "Make USERNAME an ordinary user.", "",
      lambda people, service, ctx, id: _done("is an ordinary user", people.set_role(ctx, id, False)))  # fmt: skip
_verb("end-sessions", "End all logins of USERNAME.", "End all logins of",
      lambda people, service, ctx, id: f"was logged out of {people.end_sessions(ctx, id)} sessions")  # fmt: skip
_verb("revoke-keys", "Revoke all API keys of USERNAME.", "Programs that use them stop working. Revoke all keys of",
      lambda people, service, ctx, id: f"has lost {people.revoke_keys(ctx, id)} keys")  # fmt: skip


# -- quotas ----------------------------------------------------------------------------------------------------------


@click.group()
def quotas() -> None:
    """How much one person may have open, start in a day, store and let models read and write."""


@quotas.command("defaults")
@_json
@click.pass_obj
def quota_defaults(unit: Unit, as_json: bool) -> None:
    """What counts for whoever has no limit of their own; 0 is no limit."""
    from webapp.administration import service

    with unit(write=False) as ctx:
        rows = [row for row in service.listed(ctx) if row.option.name.startswith("quota_")]
    _print_settings(rows, as_json)


@quotas.command("show")
@click.argument("username", required=False)
@_json
@click.pass_obj
def show_quotas(unit: Unit, username: str | None, as_json: bool) -> None:
    """What USERNAME has used of what they may; without a name, all limits that single people were given."""
    from webapp.administration import service
    from webapp.identity import people

    with unit(write=False) as ctx:
        if username is None:
            given = service.grants(ctx)
        else:
            found = service.meter_of(ctx, people.by_name(ctx, username).id)
    rows: list[dict[str, Any]]
    if username is None:
        rows = [
            {"name": one.username, "quota": one.quota.name, "limit": one.most, "set_by": one.set_by} for one in given
        ]
        head: tuple[str, ...] = ("NAME", "QUOTA", "LIMIT", "SET BY")
    else:
        rows = [{"quota": one.name, "used": one.used, "limit": one.limit, "own": one.own, "frees_at": one.frees_at}
                for one in found]  # fmt: skip
        head = ("QUOTA", "USED", "LIMIT", "OWN", "FREES")
    return dump(rows) if as_json else table(head, [tuple(_said(value) for value in row.values()) for row in rows])


def _said(value: Any) -> Any:
    if isinstance(value, bool):
        return "yes" if value else "no"
    return "-" if value is None else value


@quotas.command("set")
@click.argument("username")
@click.argument("quota")
@click.argument("limit")
@click.pass_obj
def set_quota(unit: Unit, username: str, quota: str, limit: str) -> None:
    """Give USERNAME a LIMIT of their own in the quota's unit (bytes for stored_bytes); `none` is without limit."""
    from webapp.administration import service
    from webapp.identity import people

    if limit != "none" and not limit.isdigit():
        raise click.BadParameter("give a whole number, or none", param_hint="LIMIT")
    with unit() as ctx:
        service.grant(ctx, people.by_name(ctx, username).id, quota, None if limit == "none" else int(limit))
    click.echo(f"{quota} of {username} is {'without limit' if limit == 'none' else limit} now")


@quotas.command("clear")
@click.argument("username")
@click.argument("quota")
@click.pass_obj
def clear_quota(unit: Unit, username: str, quota: str) -> None:
    """Let the default count for USERNAME again."""
    from webapp.administration import service
    from webapp.identity import people

    with unit() as ctx:
        service.take_back(ctx, people.by_name(ctx, username).id, quota)
    click.echo(f"the default of {quota} counts for {username} again")


@quotas.command("default")
@click.argument("quota")
@click.argument("limit")
@click.pass_obj
def set_default(unit: Unit, quota: str, limit: str) -> None:
    """Change a default, such as `quota_open_tasks 50`; `reset` goes back to the program's own."""
    _change(unit, {f"quota_{quota.removeprefix('quota_')}": None if limit == "reset" else limit})


# -- retention -------------------------------------------------------------------------------------------------------


@click.group()
def retention() -> None:
    """How long tasks, logs, conversations and uploads are kept."""


@retention.command("show")
@_json
@click.pass_obj
def show_retention(unit: Unit, as_json: bool) -> None:
    """The settings with their origin."""
    from webapp.administration import service

    with unit(write=False) as ctx:
        rows = service.shown(ctx)
    _print_settings(rows, as_json)


@retention.command("preview")
@click.argument("changes", nargs=-1, metavar="[NAME=VALUE]...")
@_json
@click.pass_obj
def preview_retention(unit: Unit, changes: tuple[str, ...], as_json: bool) -> None:
    """What would be deleted now, as it is set or with CHANGES such as days=14 tasks=failed=90,summary=7."""
    from webapp.administration import service

    with unit(write=False) as ctx:
        rows = service.going(ctx, _pairs(changes))
    if as_json:
        return dump(rows)
    return table(("WHAT", "DAYS", "WOULD GO"),
                 [(row.what, row.days or "kept", f"{row.count} {row.noun}") for row in rows])  # fmt: skip


@retention.command("set")
@click.argument("changes", nargs=-1, required=True, metavar="NAME=VALUE...")
@click.option("--yes", is_flag=True, help="Do not ask.")
@click.pass_obj
def set_retention(unit: Unit, changes: tuple[str, ...], yes: bool) -> None:
    """Change it, such as days=14; an empty value goes back to the default. Says first what would go, and asks."""
    from webapp.administration import service

    wanted = _pairs(changes)
    with unit(write=False) as ctx:
        rows = [row for row in service.going(ctx, wanted) if row.count]
    for row in rows:
        click.echo(f"{row.count} {row.noun} go at the next turn: {row.what.lower()}, older than {row.days} days")
    if rows and not yes:
        click.confirm("Set it so?", abort=True)
    _change(unit, wanted)


@retention.command("run")
@click.pass_obj
def run_retention(unit: Unit) -> None:
    """Do now what is done each night."""
    from webapp.administration import service

    with unit() as ctx:
        started = service.sweep_now(ctx)
    click.echo("\n".join(f"started as task {one}" for one in started))


def _pairs(changes: tuple[str, ...]) -> dict[str, str | None]:
    """`days=14` and `retention_days=14` mean the same."""
    wanted: dict[str, str | None] = {}
    for one in changes:
        name, equals, text = one.partition("=")
        if not equals:
            raise click.BadParameter(f"{one!r} is not NAME=VALUE")
        wanted[f"retention_{name.removeprefix('retention_')}"] = text or None
    return wanted


def _change(unit: Unit, wanted: dict[str, str | None]) -> None:
    from webapp.administration import service
    from webapp.core import stored
    from webapp.settings import BY_NAME

    with unit() as ctx:
        service.change(ctx, wanted)
        rows = [stored.shown(ctx, BY_NAME[name]) for name in wanted]
    for row in rows:
        click.echo(f"{row.option.name} is {row.text or '(empty)'} now ({row.origin})")


def _print_settings(rows: Any, as_json: bool) -> None:
    lines = [{"name": row.option.name, "value": row.text, "origin": row.origin, "set_by": row.set_by} for row in rows]
    if as_json:
        return dump(lines)
    return table(("NAME", "VALUE", "ORIGIN", "SET BY"),
                 [(line["name"], line["value"] or "-", line["origin"], line["set_by"] or "-") for line in lines])  # fmt: skip
