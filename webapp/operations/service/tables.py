"""A read-only look into the database: a fixed list of tables, no secret column, no question in SQL."""

from __future__ import annotations

import base64
import binascii
import json
import re
from dataclasses import dataclass
from typing import Any

from sqlalchemy import JSON, Column, String, Table, Text, cast, func, literal, select, tuple_, union_all

from webapp.core.context import Ctx
from webapp.core.db import Base
from webapp.core.errors import BadRequest, NotFound
from webapp.operations.service.base import admin

# What each table may show. A column that is not listed is not read: a new one is hidden until somebody decides.
SHOWN: dict[str, tuple[str, ...]] = {
    "tasks": ("id", "owner_id", "kind", "title", "status", "queue", "rank", "progress", "message", "seq", "attempt",
              "max_attempts", "crashes", "fence", "worker_id", "lease_until", "due_at", "time_limit",
              "cancel_requested", "error_code", "error", "parent_id", "step", "params", "result", "request_id",
              "agent_id", "created_at", "started_at", "finished_at", "updated_at"),
    "task_templates": ("id", "owner_id", "name", "description", "task_type", "default_config", "config_schema",
                       "usage_count", "is_active", "created_at", "updated_at"),
    "task_events": ("task_id", "seq", "type", "level", "status", "progress", "message", "data", "at"),
    "dead_letters": ("id", "task_id", "kind", "queue", "reason", "error", "attempt", "failed_at", "requeued_at"),
    "workers": ("id", "role", "queues", "host", "pid", "threads", "rss_mb", "running", "done", "started_at", "beat_at"),
    "schedules": ("id", "name", "title", "owner_id", "kind", "params", "rank", "notify", "cron", "interval", "enabled",
                  "next_at", "last_at", "last_task_id", "error"),
    "leases": ("name", "holder", "until"),
    "queue_pauses": ("queue", "reason", "paused_by", "paused_at"),
    "audit_entries": ("id", "at", "actor", "actor_id", "via", "action", "object_kind", "object_id", "detail", "ip",
                      "request_id"),
    "users": ("id", "username", "email", "is_admin", "is_local", "is_active", "created_at", "last_login_at"),
    "login_sessions": ("id", "user_id", "created_at", "last_seen_at", "expires_at", "revoked_at", "ip", "user_agent"),
    "refresh_tokens": ("id", "family", "user_id", "expires_at", "used_at"),
    "api_keys": ("id", "user_id", "name", "prefix", "scopes", "created_at", "expires_at", "last_used_at", "revoked_at"),
    "uploads": ("id", "owner_id", "name", "content_type", "size", "sha256", "created_at"),
    "idempotency_keys": ("owner_id", "status", "created_at"),
    "vector_removals": ("chunk_id", "collection_id"),
    "collections": ("id", "owner_id", "name", "description", "everyone", "bundled", "embedder", "dimension",
                    "generation", "building", "building_embedder", "created_at", "updated_at", "removed_at"),
    "search_events": ("id", "owner_id", "query", "collections", "filters", "via", "results", "top_score", "ms",
                      "clicked", "at"),
    "collection_shares": ("collection_id", "user_id", "created_at"),
    # Without `config` of sources and crawls: what a site asks for may stand there.
    "sources": ("id", "collection_id", "owner_id", "kind", "label", "url", "upload_id", "state", "error",
                "task_id", "read_at", "created_at"),
    "crawls": ("id", "owner_id", "collection_id", "source_id", "task_id", "name", "seeds", "counts",
               "created_at", "finished_at"),
    "documents": ("id", "collection_id", "source_id", "url", "title", "content_type", "language", "author",
                  "published", "meta", "version_id", "version_count", "text_hash", "words", "chunk_count",
                  "pending_chunks", "etag", "last_modified", "fetched_at", "checked_at", "quality",
                  "quality_signals", "assessed_at", "created_at", "updated_at"),
    "crawl_urls": ("id", "crawl_id", "url", "url_hash", "host", "kind", "depth", "found_on", "state", "reason",
                   "detail", "status", "bytes", "ms", "attempts", "canonical", "document_id", "fetched_at"),
    "document_versions": ("id", "document_id", "number", "title", "text", "text_hash", "method", "warnings",
                          "fetched_at"),
    "chunks": ("id", "collection_id", "document_id", "version_id", "position", "start", "end", "tokens", "title",
               "heading", "text", "generation"),
    "citations": ("id", "owner_id", "document_id", "version_id", "start", "end", "quote", "claim", "verdict",
                  "score", "method", "task_id", "created_at"),
    "chunk_drafts": ("id", "collection_id", "document_id", "version_id", "position", "start", "end", "tokens", "title",
                     "heading", "text", "generation"),
    "agents": ("id", "owner_id", "name", "description", "prompt", "model_name", "config", "is_active",
               "created_at", "updated_at"),
    # Without the link that opens a shared conversation to whoever has it.
    "conversations": ("id", "owner_id", "external_id", "kind", "session_type", "title", "status", "model_name", "agent_id",
                      "attachments_id", "head_id", "last_seq", "last_message_at", "pinned", "shared_at", "created_at",
                      "updated_at", "removed_at"),
    "messages": ("id", "conversation_id", "seq", "parent_id", "role", "agent", "content", "state", "task_id", "sources",
                 "checks", "route", "metrics", "error", "is_deleted", "edited_at", "created_at", "updated_at"),
    "omeruta_chats": ("task_id", "owner_id", "name", "include_quality", "routed", "told", "created_at"),
    "feedback": ("id", "owner_id", "content_id", "message_id", "feedback_type", "rating", "reason", "confidence_rating",
                 "comment", "created_at", "updated_at"),
    "model_servers": ("id", "name", "url", "is_private", "is_active", "created_at"),
    "model_defaults": ("task_type", "model", "updated_at"),
    "model_calls": ("id", "owner_id", "model", "family", "task_type", "ok", "finish", "prompt_tokens", "completion_tokens",
                    "seconds", "load_seconds", "first_token_seconds", "prompt_seconds", "generate_seconds", "task_id",
                    "at"),
    "stored_settings": ("name", "value", "set_by", "set_at"),
    "quota_grants": ("user_id", "name", "most", "set_by", "set_at"),
    "removed_tasks": ("owner_id", "day", "count"),
    "saved_views": ("id", "owner_id", "name", "filters", "created_at"),
    "task_shares": ("task_id", "shared_at"),  # without the link itself
    "task_watches": ("task_id", "user_id"),
    "task_notices": ("id", "task_id", "owner_id", "kind", "title", "status", "reason", "message", "at"),
    "notifications": ("id", "user_id", "event", "level", "title", "text", "url", "task_id", "read_at", "created_at"),
    "notification_rules": ("user_id", "event", "channel", "kinds", "min_seconds"),
    # Addresses of channels and receivers are credentials with many services.
    "notification_channels": ("id", "user_id", "plugin", "name", "enabled", "last_ok_at", "last_error", "created_at"),
    "webhook_endpoints": ("id", "owner_id", "description", "events", "kinds", "header_names", "enabled",
                          "disabled_reason", "failures", "last_ok_at", "last_error", "created_at"),
    "inbound_hooks": ("id", "owner_id", "name", "kind", "enabled", "received", "last_at", "last_task_id", "created_at"),
    "inbound_receipts": ("hook_id", "message_id", "task_id", "at"),
    "deliveries": ("id", "owner_id", "carrier", "target_id", "event", "status", "attempts", "tries", "due_at",
                   "lease_until", "code", "error", "created_at", "finished_at"),
    "delivery_attempts": ("delivery_id", "number", "at", "ms", "code", "error"),
}  # fmt: skip
# Beside the list above, in case somebody lists one by mistake (a test holds them together).
SECRET = re.compile(r"password|secret|token_hash|key_hash|cipher|(?<!is_)private|fingerprint|(^|_)body$|^key$")
CELL = 300  # characters of a value that are read


@dataclass(frozen=True)
class TableInfo:
    name: str
    rows: int
    columns: int
    hidden: tuple[str, ...]


@dataclass(frozen=True)
class TableRows:
    name: str
    columns: tuple[str, ...]
    hidden: tuple[str, ...]
    rows: list[tuple[Any, ...]]
    next_cursor: str | None
    prev_cursor: str | None


def tables(ctx: Ctx) -> list[TableInfo]:
    """Every table that may be looked into, with its number of rows. One query."""
    found = {name: table for name in SHOWN if (table := Base.metadata.tables.get(name)) is not None}
    counts = union_all(*(select(literal(name), func.count()).select_from(table) for name, table in found.items()))
    rows = {row[0]: row[1] for row in admin(ctx).db.execute(counts)}
    return [TableInfo(name, rows[name], len(table.columns), _hidden(table)) for name, table in found.items()]


def table_rows(ctx: Ctx, name: str, *, cursor: str | None = None, limit: int = 50) -> TableRows:
    """A page of a table, the highest primary key first. One query; long values are cut by the database."""
    table = _table(admin(ctx), name)
    keys = list(table.primary_key.columns)
    back, place = _decode(cursor, len(keys))
    stmt = select(*(_cell(table.c[column]) for column in SHOWN[name]), *keys).limit(limit + 1)
    if place is not None:
        here, there = tuple_(*keys), tuple_(*(literal(value, key.type) for value, key in zip(place, keys, strict=True)))
        stmt = stmt.where(here > there if back else here < there)
    rows = list(ctx.db.execute(stmt.order_by(*(key.asc() if back else key.desc() for key in keys))))
    more, rows = len(rows) > limit, rows[:limit]
    if back:
        rows.reverse()
    return TableRows(
        name,
        SHOWN[name],
        _hidden(table),
        [tuple(row)[: len(SHOWN[name])] for row in rows],
        _encode("next", rows[-1], len(keys)) if rows and (more or back) else None,
        _encode("prev", rows[0], len(keys)) if rows and (more if back else place is not None) else None,
    )


def _table(ctx: Ctx, name: str) -> Table:
    if name not in SHOWN or name not in Base.metadata.tables:
        raise NotFound("there is no such table to look into")
    return Base.metadata.tables[name]


def _hidden(table: Table) -> tuple[str, ...]:
    return tuple(column.name for column in table.columns if column.name not in SHOWN[table.name])


def _cell(column: Column[Any]) -> Any:
    long_text = isinstance(column.type, String) and (column.type.length or CELL + 1) > CELL
    if isinstance(column.type, JSON) or long_text:
        return func.substr(cast(column, Text), 1, CELL).label(column.name)
    return column


def _encode(direction: str, row: Any, keys: int) -> str:
    raw = json.dumps([direction, *tuple(row)[-keys:]]).encode()
    return base64.urlsafe_b64encode(raw).decode().rstrip("=")


def _decode(cursor: str | None, keys: int) -> tuple[bool, list[Any] | None]:
    if not cursor:
        return False, None
    try:
        direction, *place = json.loads(base64.urlsafe_b64decode(cursor[:600] + "=" * (-len(cursor[:600]) % 4)))
    except (binascii.Error, UnicodeDecodeError, ValueError, TypeError):
        raise BadRequest("this page cursor is not one of ours", code="bad_cursor") from None
    plain = all(_is_plain(value) for value in place)
    if direction not in ("next", "prev") or len(place) != keys or not plain:
        raise BadRequest("this page cursor is not one of ours", code="bad_cursor")
    return direction == "prev", place


def _is_plain(value: Any) -> bool:
    if isinstance(value, str):
        return len(value) <= 200 and value.isprintable()
    return isinstance(value, int) and not isinstance(value, bool) and abs(value) < 2**63
