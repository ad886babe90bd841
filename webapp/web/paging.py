"""Pages by number, as Django REST framework counts them: what Omeruta's and ECEEE's clients expect of a list."""

from __future__ import annotations

from typing import Any
from urllib.parse import urlencode

from flask import request

from webapp.core.errors import NotFound


def numbered(page: int, size: int, count: int, results: list[Any]) -> dict[str, Any]:
    """`{count, next, previous, results}`. Raises NotFound for a page behind the last."""
    start = (page - 1) * size
    if page > 1 and start >= count:
        raise NotFound("there is no such page")
    more = start + len(results) < count
    return {"count": count, "next": _url(page + 1) if more else None, "previous": _url(page - 1) if page > 1 else None,
            "results": results}  # fmt: skip


def _url(page: int) -> str:
    return f"{request.base_url}?{urlencode({**request.args.to_dict(), 'page': str(page)})}"
