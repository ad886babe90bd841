"""The Chroma folder in a child process: it costs the serving process no memory, and a crash of it no page.

What it takes (about 150 MB with 10,000 vectors) is given back after an hour without a question. The child holds the
folder's lock and dies with its parent, so the folder still has one owner.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from webapp.core.chroma import REBUILD, Folder
from webapp.core.errors import TaskTimedOut, TooLarge
from webapp.core.resident import Resident
from webapp.core.sandbox import ChildCrashed, ChildFailed
from webapp.core.vectors import IndexMissing, IndexTrouble

if TYPE_CHECKING:
    from webapp.core.vectors import Floats, Near

IDLE = 3600.0
PATIENCE = 120.0  # seconds: of listing the ids of a million vectors, not of a query
PART = 5000  # vectors of one message


class FolderApart:
    """As `Folder`, which the child opens. Queries go before what writes."""

    there = True

    def __init__(self, path: Path) -> None:
        self.path = path
        self._child = Resident("webapp.core.chroma_apart:Opened", {"path": str(path)}, idle_seconds=IDLE)

    def add(self, name: str, ids: Sequence[int], vectors: Floats) -> None:
        for start in range(0, len(ids), PART):
            rows = vectors[start : start + PART]
            self._ask("add", name, [int(one) for one in ids[start : start + PART]], *_packed(rows))

    def remove(self, name: str, ids: Sequence[int]) -> None:
        self._ask("remove", name, [int(one) for one in ids])

    def query(self, name: str, vector: Floats, k: int, ids: Sequence[int] | None = None) -> Near:
        only = None if ids is None else [int(one) for one in ids]
        return _near(self._ask("query", name, *_packed(vector.reshape(1, -1)), k, only, urgent=True))

    def query_each(self, names: Sequence[str], vector: Floats, k: int) -> list[Near | IndexTrouble]:
        try:
            found = self._ask("query_each", list(names), *_packed(vector.reshape(1, -1)), k, urgent=True)
        except IndexTrouble as trouble:
            return [trouble] * len(names)
        return [_trouble(one) if isinstance(one, dict) else _near(one) for one in found]

    def stored(self, name: str, ids: Sequence[int]) -> dict[int, Floats]:
        found, data, dimension = self._ask("stored", name, list(ids), urgent=True)
        return dict(zip(found, _unpacked(data, dimension), strict=True)) if found else {}

    def count(self, name: str) -> int:
        return int(self._ask("count", name))

    def ids(self, name: str) -> set[int]:
        return set(self._ask("ids", name))

    def drop(self, name: str) -> None:
        self._ask("drop", name)

    def names(self) -> list[str]:
        return [str(one) for one in self._ask("names")]

    def ping(self) -> None:
        self._ask("ping")

    def erase(self) -> None:
        """Throw the folder away: the way out when it is damaged beyond opening."""
        self._ask("erase")

    def close(self) -> None:
        self._child.close()

    def status(self) -> dict[str, Any]:
        return self._child.status()

    def _ask(self, method: str, *args: Any, urgent: bool = False) -> Any:
        try:
            return self._child.call(method, *args, timeout=PATIENCE, urgent=urgent)
        except (ChildCrashed, ChildFailed, TaskTimedOut, TooLarge) as error:
            raise IndexTrouble(f"The vector index failed: {error}", suggestion=REBUILD) from error


def _near(pairs: list[list[Any]]) -> Near:
    return [(int(one), float(near)) for one, near in pairs]


def _trouble(told: dict[str, Any]) -> IndexTrouble:
    return (IndexMissing if told["missing"] else IndexTrouble)(told["message"], suggestion=told["suggestion"])


def _packed(vectors: Floats) -> tuple[bytes, int]:
    import numpy as np

    return np.ascontiguousarray(vectors, dtype="<f4").tobytes(), int(vectors.shape[1])


def _unpacked(data: bytes, dimension: int) -> Floats:
    import numpy as np

    return np.frombuffer(data, "<f4").reshape(-1, dimension)


# -- in the child ----------------------------------------------------------------------------------------------------


class Opened:
    def __init__(self, path: str) -> None:
        self.folder = Folder(Path(path))
        for same in ("remove", "count", "drop", "names", "ping", "erase"):
            setattr(self, same, getattr(self.folder, same))

    def add(self, name: str, ids: list[int], data: bytes, dimension: int) -> None:
        self.folder.add(name, ids, _unpacked(data, dimension))

    def query(self, name: str, data: bytes, dimension: int, k: int, ids: list[int] | None) -> Near:
        return self.folder.query(name, _unpacked(data, dimension)[0], k, ids)

    def query_each(self, names: list[str], data: bytes, dimension: int, k: int) -> list[Near | dict[str, Any]]:
        found = self.folder.query_each(names, _unpacked(data, dimension)[0], k)
        return [
            {"missing": isinstance(one, IndexMissing), "message": one.message, "suggestion": one.suggestion}
            if isinstance(one, IndexTrouble) else one for one in found
        ]  # fmt: skip

    def stored(self, name: str, ids: list[int]) -> tuple[list[int], bytes, int]:
        import numpy as np

        found = self.folder.stored(name, ids)
        return (list(found), *_packed(np.stack(list(found.values())))) if found else ([], b"", 0)

    def ids(self, name: str) -> list[int]:
        return sorted(self.folder.ids(name))
