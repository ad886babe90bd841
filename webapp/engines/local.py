"""`ggml:<file name>`: a GGUF file of the models folder, in a child process that can be killed and leaves when idle."""

from __future__ import annotations

import importlib.util
import logging
import os
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from webapp.core.errors import Invalid, NoModel, TaskCancelled, Unavailable
from webapp.core.resident import Resident
from webapp.core.sandbox import ChildCrashed, ChildFailed
from webapp.engines import gguf
from webapp.engines.base import Completion, EngineInfo, Request

if TYPE_CHECKING:
    from webapp.runtime import Runtime

log = logging.getLogger(__name__)

IDLE = 600.0  # seconds until the memory of an unused model is given back
LIBRARY = "ctransformers"


class GGML:
    """One file. `id` is `ggml:` and its name; the file is looked at anew each time, it may have been exchanged."""

    def __init__(self, rt: Runtime, name: str) -> None:
        self.id = f"ggml:{name}"
        self._rt, self._name = rt, name
        self._path = folder(rt) / name
        self._resident: Resident | None = None
        self._made_of: tuple[float, int] | None = None  # time and size of the file that the child has loaded
        self._lock = threading.Lock()

    def info(self) -> EngineInfo:
        try:
            header = gguf.read(self._path)
        except OSError:
            return self._unusable(f"{self._name} is not in the models folder", "Put the file there, or pull it.")
        except Invalid as error:
            return self._unusable(error.message, error.suggestion)
        details = {"architecture": header.architecture, "quantisation": header.quantisation, "size": header.size,
                   "window": header.context_length, "memory": self.status()["memory"]}  # fmt: skip
        context = min(header.context_length or 2048, self._rt.settings.model_context)
        label = header.name + (f" ({header.quantisation})" if header.quantisation else "")
        if importlib.util.find_spec(LIBRARY) is None:
            missing, mend = f"{LIBRARY} is not installed", f"Install it: pip install {LIBRARY}"
            return EngineInfo(self.id, label, "ggml", context, False, missing, mend, details)
        return EngineInfo(self.id, label, "ggml", context, True, details=details)

    def generate(
        self, request: Request, *, on_text: Callable[[str], None], cancelled: Callable[[], bool], timeout: float
    ) -> Completion:
        begun = time.monotonic()
        resident, fresh = self._child()
        pieces: list[str] = []
        first: float | None = None
        frames = resident.stream(
            "generate", list(request.messages), request.max_tokens, request.temperature, request.top_p,
            list(request.stop), request.seed, timeout=timeout, cancelled=cancelled, urgent=True,
        )  # fmt: skip
        with _told(self._name):
            while True:
                try:
                    piece = next(frames)
                except StopIteration as end:
                    return self._completion("".join(pieces), end.value, first, fresh)
                except TaskCancelled:
                    return self._completion("".join(pieces), None, first, fresh)
                if first is None:
                    first = time.monotonic() - begun
                pieces.append(piece)
                on_text(piece)

    def count(self, texts: list[str]) -> list[int]:
        with _told(self._name):
            return list(self._child()[0].call("count", texts, timeout=60, urgent=True))

    def status(self) -> dict[str, Any]:
        """Whether it is loaded, and its memory in bytes."""
        if self._resident is None:
            return {"running": False, "pid": None, "memory": None, "waiting": 0}
        return self._resident.status()

    def unload(self) -> None:
        if self._resident is not None:
            self._resident.close()

    close = unload

    def _child(self) -> tuple[Resident, bool]:
        """The child's parent end, and whether it has to load the model first."""
        told = self.info()
        if not told.available:
            raise NoModel(told.missing or "The model cannot be used.", suggestion=told.suggestion)
        stands = self._path.stat()
        with self._lock:
            if self._resident is not None and self._made_of != (stands.st_mtime, stands.st_size):
                self._resident.close()
                self._resident = None
            if self._resident is None:
                arguments = {"path": str(self._path), "threads": threads_for(self._rt), "context": told.context}
                self._resident = Resident("webapp.engines.ggml_child:Model", arguments, idle_seconds=IDLE,
                                          threads=threads_for(self._rt))  # fmt: skip
                self._made_of = (stands.st_mtime, stands.st_size)
            return self._resident, not self._resident.status()["running"]

    def _completion(self, text: str, said: dict[str, Any] | None, first: float | None, fresh: bool) -> Completion:
        said = said or {"finish": "cancelled", "prompt_tokens": None, "completion_tokens": None, "seconds": {}}
        seconds = {name: float(value) for name, value in said["seconds"].items() if fresh or name != "load"}
        if first is not None:
            seconds["first_token"] = first
        return Completion(text, self.id, said["finish"], said["prompt_tokens"], said["completion_tokens"], seconds)

    def _unusable(self, missing: str, suggestion: str | None) -> EngineInfo:
        return EngineInfo(self.id, self._name, "ggml", None, False, missing, suggestion)


class _told:
    """What befell the child, as what it means to a caller."""

    def __init__(self, name: str) -> None:
        self.name = name

    def __enter__(self) -> None:
        return None

    def __exit__(self, _kind: Any, error: BaseException | None, _trace: Any) -> None:
        if isinstance(error, ChildFailed):
            log.error("%s failed:\n%s", self.name, error.traceback)
            reason = error.traceback.strip().rpartition("\n")[2][:300]
            raise Unavailable(f"{self.name} failed: {reason}", retryable=False) from error
        if isinstance(error, ChildCrashed):
            log.warning("%s: %s", self.name, error)
            raise Unavailable(f"{self.name} crashed: {error.message}", retry_after=5) from error


def folder(rt: Runtime) -> Path:
    return Path(rt.settings.models_dir).expanduser() if rt.settings.models_dir else rt.settings.home_dir / "models"


def files(rt: Runtime) -> list[str]:
    """Names of the model files, sorted. Only plain names directly in the folder: a name never becomes a path."""
    try:
        found = [entry.name for entry in os.scandir(folder(rt)) if entry.name.endswith(".gguf") and entry.is_file()]
    except OSError:
        return []
    return sorted(found)


def threads_for(rt: Runtime) -> int:
    """The setting, else the cores: with more threads than cores it is a hundred times slower."""
    return int(rt.settings.model_threads) or max(1, min(os.cpu_count() or 1, 8))
