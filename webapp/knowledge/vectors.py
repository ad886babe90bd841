"""Names of the vector sets: one per collection and generation. What an index can do: webapp.core.vectors (`rt.vectors`)."""

from __future__ import annotations

from webapp.core.vectors import IndexHeld, IndexMissing, IndexTrouble, Near, Vectors

__all__ = ["IndexHeld", "IndexMissing", "IndexTrouble", "Near", "Vectors", "index_name", "parse_name"]

PREFIX = "kb-"


def index_name(collection_id: str, generation: int) -> str:
    return f"{PREFIX}{collection_id}-{generation}"


def parse_name(name: str) -> tuple[str, int] | None:
    """(collection id, generation) of a name of ours."""
    collection_id, _, generation = name.removeprefix(PREFIX).rpartition("-")
    if not name.startswith(PREFIX) or not collection_id or not generation.isdigit():
        return None
    return collection_id, int(generation)
