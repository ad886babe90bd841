"""All settings with what counts now and where it comes from; those that may change while the program runs."""

from __future__ import annotations

from collections.abc import Mapping

from webapp.core import quotas, stored
from webapp.core.context import Ctx
from webapp.core.db import after_commit
from webapp.core.errors import Forbidden
from webapp.core.stored import Shown
from webapp.settings import OPTIONS

# Heading -> beginnings of names, in the order of the page; the rest comes last.
_GROUPS = (
    ("Retention", ("retention_",)),
    ("Quotas", ("quota_",)),
    ("Serving", ("home", "host", "port", "live_port", "public_url", "trusted_hosts", "proxy_hops", "debug", "log_")),
    ("Access", ("auth_", "api_key", "secret_key", "registration", "token_", "refresh_", "login_")),
    ("Limits", ("max_upload", "max_body", "upload_", "rate_", "ws_", "answer_wait", "task_limit", "max_crashes")),
    ("Database and messages", ("database_", "redis_", "sqlite_", "pool_", "chroma_")),
    ("Workers", ("worker_", "lease_", "beat_", "sweep_", "grace_")),
    ("Models", ("model", "openai_", "hub_", "embed")),
    ("Fetching and research", ("allow_hosts", "fetch_", "render", "chromium", "search_", "research_")),
)


def listed(ctx: Ctx) -> list[Shown]:
    """Every setting. A secret's value and text are only whether it is set."""
    _admin(ctx)
    rows = [stored.shown(ctx, option) for option in OPTIONS]
    return [_without_secret(row) if row.option.secret else row for row in rows]


def groups(ctx: Ctx) -> list[tuple[str, list[Shown]]]:
    """The same by subject."""
    left = {row.option.name: row for row in listed(ctx)}
    found = []
    for heading, beginnings in _GROUPS:
        names = [name for name in left if name.startswith(beginnings)]
        found.append((heading, [left.pop(name) for name in names]))
    return [*found, ("Others", list(left.values()))]


def change(ctx: Ctx, wanted: Mapping[str, str | None]) -> None:
    """As `stored.change`; limits of people follow at once."""
    stored.change(ctx, wanted)
    rt = ctx.rt
    after_commit(ctx.db, lambda: quotas.forget(rt))


def _without_secret(row: Shown) -> Shown:
    word = "set" if row.value else "not set"
    return Shown(row.option, bool(row.value), word, row.origin, True)


def _admin(ctx: Ctx) -> None:
    if not ctx.user.is_admin:
        raise Forbidden("this is for administrators")
