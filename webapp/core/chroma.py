"""Chroma as the vector index: a folder of one process's own (embedded), or a server (deployment).

Two processes that write one Chroma folder destroy it without an error, so the folder is held by a lock: whoever comes
second is refused. Chroma is imported at first use, computes no embeddings, and reports to nobody.
`webapp.core.chroma_apart` opens the folder in a child process.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import threading
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from webapp.core.vectors import IndexHeld, IndexMissing, IndexTrouble

if TYPE_CHECKING:
    from webapp.core.vectors import Floats, Near

BATCH = 1000  # Chroma's own limit is 5461
PATIENCE = 10.0  # seconds for one answer of a server
HANDOVER = 2.0  # seconds in which a process that was killed is out of the way
REBUILD = "Run `brainstem reindex`, or press Rebuild on the collection's page."

_asking = ThreadPoolExecutor(max_workers=8, thread_name_prefix="chroma")


class _Chroma:
    """What folder and server have in common. `_open` gives a client, `_check` says whether it is still good."""

    there = True

    def __init__(self) -> None:
        self._lock = threading.RLock()
        self._client: Any = None
        self._sets: dict[str, Any] = {}

    def _open(self) -> Any:
        raise NotImplementedError

    def _check(self) -> None:
        """Reset what has gone stale."""

    def _reset(self) -> None:
        client, self._client, self._sets = self._client, None, {}
        if client is not None:
            with suppress(Exception):
                client.close()

    # -- the protocol ------------------------------------------------------------------------------------------------

    def add(self, name: str, ids: Sequence[int], vectors: Floats) -> None:
        with self._asked():
            held = self._set(name, make=True)
            for start in range(0, len(ids), BATCH):
                part = slice(start, start + BATCH)
                held.upsert(ids=[str(one) for one in ids[part]], embeddings=vectors[part])

    def remove(self, name: str, ids: Sequence[int]) -> None:
        with self._asked():
            held = self._set(name)
            for start in range(0, len(ids) if held is not None else 0, BATCH):
                held.delete(ids=[str(one) for one in ids[start : start + BATCH]])

    def query(self, name: str, vector: Floats, k: int, ids: Sequence[int] | None = None) -> Near:
        with self._asked():
            held = self._set(name)
            if held is None:
                raise IndexMissing("The vector index is not there.", suggestion=REBUILD)
            if ids is not None:
                return _nearest(held, vector, k, ids)
            found = held.query(query_embeddings=[vector], n_results=k, include=["distances"])
            return [
                (int(one), 1.0 - float(far)) for one, far in zip(found["ids"][0], found["distances"][0], strict=True)
            ]

    def query_each(self, names: Sequence[str], vector: Floats, k: int) -> list[Near | IndexTrouble]:
        """At the same time: of a small set most of the time is the way to it."""
        if len(names) < 2:
            return [self._tried(name, vector, k) for name in names]
        return list(_asking.map(lambda name: self._tried(name, vector, k), names))

    def _tried(self, name: str, vector: Floats, k: int) -> Near | IndexTrouble:
        try:
            return self.query(name, vector, k)
        except IndexTrouble as trouble:
            return trouble

    def stored(self, name: str, ids: Sequence[int]) -> dict[int, Floats]:
        import numpy as np

        with self._asked():
            held = self._set(name)
            if held is None:
                raise IndexMissing("The vector index is not there.", suggestion=REBUILD)
            found: dict[int, Floats] = {}
            for start in range(0, len(ids), BATCH):
                part = held.get(ids=[str(one) for one in ids[start : start + BATCH]], include=["embeddings"])
                rows = np.asarray(part["embeddings"], dtype=np.float32)
                found.update(zip((int(one) for one in part["ids"]), rows, strict=True))
            return found

    def count(self, name: str) -> int:
        with self._asked():
            held = self._set(name)
            return int(held.count()) if held is not None else 0

    def ids(self, name: str) -> set[int]:
        with self._asked():
            held = self._set(name)
            found: set[int] = set()
            total = int(held.count()) if held is not None else 0
            for start in range(0, total, 10 * BATCH):
                found.update(int(one) for one in held.get(include=[], limit=10 * BATCH, offset=start)["ids"])
            return found

    def drop(self, name: str) -> None:
        with self._asked():
            self._sets.pop(name, None)
            try:
                self._client.delete_collection(name)
            except Exception as error:
                if not _not_found(error):
                    raise

    def names(self) -> list[str]:
        with self._asked():
            found: list[str] = []
            while page := self._client.list_collections(limit=BATCH, offset=len(found)):
                found += [one.name for one in page]
            return found

    def ping(self) -> None:
        with self._asked():
            self._client.heartbeat()

    def close(self) -> None:
        with self._lock:
            self._reset()

    # ----------------------------------------------------------------------------------------------------------------

    def _set(self, name: str, *, make: bool = False) -> Any:
        """The handle of a set, or None. Handles are kept: asking for one costs as much as a query."""
        if name not in self._sets:
            try:
                self._sets[name] = self._client.get_collection(name, embedding_function=None)
            except Exception as error:
                if not _not_found(error):
                    raise
                if not make:
                    return None
                self._sets[name] = self._client.get_or_create_collection(
                    name, embedding_function=None, configuration={"hnsw": {"space": "cosine"}}
                )
        return self._sets[name]

    @contextmanager
    def _asked(self) -> Iterator[None]:
        """Everything Chroma may raise becomes IndexTrouble; a handle of a set that is gone is forgotten."""
        try:
            with self._lock:
                self._check()
                if self._client is None:
                    self._client = self._open()
            yield
        except IndexTrouble:
            raise
        except BaseException as error:
            # A panic of its native code is no Exception.
            if not isinstance(error, Exception) and type(error).__name__ != "PanicException":
                raise
            if _not_found(error):
                self._sets.clear()
                raise IndexMissing("The vector index is not there.", suggestion=REBUILD) from error
            with self._lock:
                self._reset()  # the next call opens it anew
            raise IndexTrouble(f"The vector index failed: {_reason(error)}", suggestion=REBUILD) from error


class Folder(_Chroma):
    """A folder that this process alone may open."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.path = path
        self._held: Any = None
        self._seen: tuple[int, int] | None = None

    def _open(self) -> Any:
        import chromadb

        self._hold()
        try:
            client = chromadb.PersistentClient(str(self.path), settings=_settings())
        except BaseException:
            _forget_failed(str(self.path))
            raise
        self._seen = self._identity()
        return client

    def _hold(self) -> None:
        if self._held is not None:
            return
        self.path.parent.mkdir(parents=True, exist_ok=True)
        held = self.path.with_name(self.path.name + ".lock").open("w")
        deadline = time.monotonic() + HANDOVER
        while not _locked(held):
            if time.monotonic() > deadline:
                held.close()
                raise IndexHeld("The vector index is held by the running server.",
                                suggestion="Ask the server, or stop it first.")  # fmt: skip
            time.sleep(0.05)
        self._held = held

    def _identity(self) -> tuple[int, int] | None:
        try:
            found = os.stat(self.path / "chroma.sqlite3")
        except OSError:
            return None
        return found.st_dev, found.st_ino

    def _check(self) -> None:
        """A folder deleted under an open client still answers reads, from files nobody can see any more."""
        if self._client is not None and self._identity() != self._seen:
            self._reset()

    def erase(self) -> None:
        """Throw the folder away: the way out when it is damaged beyond opening. `brainstem reindex` fills it again."""
        with self._lock:
            self._hold()
            self._reset()
            shutil.rmtree(self.path, ignore_errors=True)

    def close(self) -> None:
        with self._lock:
            self._reset()
            if self._held is not None:
                self._held.close()
                self._held = None


class Server(_Chroma):
    """A Chroma server, as http(s)://host:port."""

    def __init__(self, url: str) -> None:
        super().__init__()
        self.url = url

    def _open(self) -> Any:
        import chromadb

        parts = urlsplit(self.url)
        secure = parts.scheme == "https"
        client: Any = chromadb.HttpClient(host=parts.hostname or "localhost", port=parts.port or (443 if secure else 8000),
                                     ssl=secure, settings=_settings())  # fmt: skip
        client._server._session.timeout = PATIENCE  # its own is for ever
        return client


class Absent(_Chroma):
    """A deployment without a Chroma server."""

    there = False

    def _open(self) -> Any:
        raise IndexTrouble("No vector index is set up.", suggestion="Set CHROMA_URL.", retryable=False)


def _locked(held: Any) -> bool:
    try:
        fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    return True


def _forget_failed(path: str) -> None:
    """Chroma keeps what did not open, and would give it out again for the same folder."""
    from chromadb.api.shared_system_client import SharedSystemClient

    for kept in (SharedSystemClient._identifier_to_system, SharedSystemClient._identifier_to_refcount):
        kept.pop(path, None)


def _settings() -> Any:
    from chromadb.config import Settings

    return Settings(anonymized_telemetry=False)


def _nearest(held: Any, vector: Floats, k: int, ids: Sequence[int]) -> list[tuple[int, float]]:
    """Compare with these only, each of them: Chroma's own filter is slower and fails on an id that is gone."""
    import numpy as np

    found: list[tuple[int, float]] = []
    for start in range(0, len(ids), BATCH):
        part = held.get(ids=[str(one) for one in ids[start : start + BATCH]], include=["embeddings"])
        if part["ids"]:
            rows = np.asarray(part["embeddings"], dtype=np.float32)
            lengths = np.linalg.norm(rows, axis=1) * float(np.linalg.norm(vector))
            near = rows @ np.asarray(vector, dtype=np.float32) / np.maximum(lengths, 1e-12)
            found += zip((int(one) for one in part["ids"]), (float(one) for one in near), strict=True)
    return sorted(found, key=lambda one: -one[1])[:k]


def _not_found(error: BaseException) -> bool:
    return type(error).__name__ == "NotFoundError"


def _reason(error: BaseException) -> str:
    return " ".join(str(error).split())[:200] or type(error).__name__
