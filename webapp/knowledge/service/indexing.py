"""Asking for new chunks to be embedded."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from webapp.runtime import Runtime


def request(rt: Runtime, collection_id: str) -> str | None:
    """Have the collection's new chunks embedded: the id of the task, or None if one waits or there is nothing to do."""
    from webapp.knowledge import embed

    return embed.request(rt, collection_id)
