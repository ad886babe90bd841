"""`ggml:<file name>`: a GGUF file of the models folder, in a child process that can be killed and leaves when idle."""

from __future__ import annotations

import importlib.util
import logging
import os
import threading
import time
from collections.abc import Callable, Generator
from contextlib import closing
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from webapp.core.bus import Bell
from webapp.core.errors import Invalid, NoModel, TaskCancelled, Unavailable
from webapp.core.resident import Resident
from webapp.core.sandbox import ChildCrashed, ChildFailed
from webapp.engines import gguf
from webapp.engines.base import Completion, EngineInfo, Request
from webapp.engines.crew import cores
from webapp.engines.slots import Slots

if TYPE_CHECKING:
    from webapp.runtime import Runtime

log = logging.getLogger(__name__)

UNLOAD = "unload"  # the bell's kind; its id is the file's name
# What can run a file, the better one first: its package, our wrapper, and the architectures it knows (None: all).
LIBRARIES = {
    "llama_cpp": ("llama-cpp-python", "webapp.engines.llama_child:Model", None),
    "ctransformers": ("ctransformers", "webapp.engines.ggml_child:Model", frozenset({"llama", "falcon"})),
}


class GGML:
    """One file. `id` is `ggml:` and its name; the file is looked at anew each time, it may have been exchanged."""

    def __init__(self, rt: Runtime, name: str) -> None:
        self.id = f"ggml:{name}"
        self._rt, self._name = rt, name
        self._path = folder(rt) / name
        self._slots: Slots = rt.kept("local models", lambda: _slots(rt))
        self._resident: Resident | None = None
        self._made_of: tuple[Any, ...] | None = None  # time and size of the file, and the library that loaded it
        self._lock = threading.Lock()

    def info(self) -> EngineInfo:
        try:
            header = self._header()
        except OSError:
            return self._unusable(f"{self._name} is not in the models folder", "Put the file there, or pull it.")
        except Invalid as error:
            return self._unusable(error.message, error.suggestion)
        status = self.status()
        details = {"architecture": header.architecture, "quantisation": header.quantisation, "size": header.size,
                   "window": header.context_length, "memory": status["memory"], "loaded": status["running"],
                   "waiting": status["waiting"], "library": None, "version": self._version(header)}  # fmt: skip
        context = min(header.context_length or 2048, self._rt.settings.model_context)
        label = header.name + (f" ({header.quantisation})" if header.quantisation else "")
        try:
            details["library"] = library_for(self._rt, header.architecture)
        except NoModel as error:
            return EngineInfo(self.id, label, "ggml", context, False, error.message, error.suggestion, details)
        return EngineInfo(self.id, label, "ggml", context, True, details=details)

    def generate(
        self, request: Request, *, on_text: Callable[[str], None], cancelled: Callable[[], bool], timeout: float
    ) -> Completion:
        begun = time.monotonic()
        self._usable()
        pieces: list[str] = []
        first: float | None = None
        with self._slots.taken(self, cancelled, timeout), _told(self._name):
            frames: Generator[str, None, Any] = self._child().stream(
                "generate", list(request.messages), request.max_tokens, request.temperature, request.top_p,
                list(request.stop), request.seed, timeout=timeout, cancelled=cancelled, urgent=True,
            )  # fmt: skip
            with closing(frames):  # a caller that raises in `on_text` must not leave it writing
                while True:
                    try:
                        piece = next(frames)
                    except StopIteration as end:
                        return self._completion("".join(pieces), end.value, first)
                    except TaskCancelled:
                        return self._completion("".join(pieces), None, first)
                    if first is None:
                        first = time.monotonic() - begun
                    pieces.append(piece)
                    on_text(piece)

    def count(self, texts: list[str]) -> list[int]:
        self._usable()
        with self._slots.taken(self, lambda: False, 600.0), _told(self._name):
            return list(self._child().call("count", texts, timeout=60, urgent=True))

    def status(self) -> dict[str, Any]:
        """Whether it is loaded, and its memory in bytes."""
        resident = self._resident
        if resident is None:
            return {"running": False, "pid": None, "memory": None, "waiting": 0}
        return resident.status()

    def unload(self) -> None:
        """Give its memory back now; a run in it ends with Unavailable."""
        if self._resident is not None:
            self._resident.close()

    close = unload

    def _usable(self) -> None:
        told = self.info()
        if not told.available:
            raise NoModel(told.missing or "The model cannot be used.", suggestion=told.suggestion)

    def _child(self) -> Resident:
        """The child's parent end; the first call to it loads the model."""
        header, stands = self._header(), self._path.stat()
        library = library_for(self._rt, header.architecture)
        with self._lock:
            made_of = (stands.st_mtime_ns, stands.st_size, library)
            if self._resident is not None and self._made_of != made_of:
                self._resident.close()
                self._resident = None
            if self._resident is None:
                self._resident = self._make(library, header)
                self._made_of = made_of
            return self._resident

    def _make(self, library: str, header: gguf.Header) -> Resident:
        threads, settings = threads_for(self._rt), self._rt.settings
        arguments = {"path": str(self._path), "threads": threads, "fixed": bool(settings.model_threads),
                     "context": min(header.context_length or 2048, settings.model_context)}  # fmt: skip
        return Resident(LIBRARIES[library][1], arguments, idle_seconds=settings.model_idle_seconds, threads=threads)

    def _header(self) -> gguf.Header:
        stands = self._path.stat()
        return _read_header(str(self._path), stands.st_mtime_ns, stands.st_size)

    def _version(self, header: gguf.Header) -> str:
        """Which build of the model: its quantisation, and its checksum where a pull noted it."""
        told = checksum(self._path)
        return " ".join(part for part in (header.quantisation, f"sha256:{told[:12]}" if told else "") if part)

    def _completion(self, text: str, said: dict[str, Any] | None, first: float | None) -> Completion:
        said = said or {"finish": "cancelled", "prompt_tokens": None, "completion_tokens": None, "seconds": {}}
        seconds = {name: float(value) for name, value in said["seconds"].items()}
        if first is not None:
            seconds["first_token"] = first
        details = {"version": self._version(self._header()), "memory": self.status()["memory"]}
        return Completion(
            text, self.id, said["finish"], said["prompt_tokens"], said["completion_tokens"], seconds, details
        )

    def _unusable(self, missing: str, suggestion: str | None) -> EngineInfo:
        return EngineInfo(self.id, self._name, "ggml", None, False, missing, suggestion)


def _slots(rt: Runtime) -> Slots:
    """Those of this process, which from now on hears when an operator wants a model out of memory."""

    def hear(bell: Bell) -> None:
        if bell.kind == UNLOAD:
            threading.Thread(target=unload_here, args=(rt, bell.id), daemon=True).start()

    rt.bus.listen(hear)
    return Slots(rt.settings.models_loaded)


def unload_here(rt: Runtime, name: str) -> None:
    if name in files(rt):
        rt.kept(f"engine ggml:{name}", lambda: GGML(rt, name)).unload()


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
            raise Unavailable(f"{self.name} failed: {reason}", code="model_failed", retryable=False) from error
        if isinstance(error, ChildCrashed):
            log.warning("%s: %s", self.name, error)
            raise Unavailable(f"{self.name} crashed: {error.message}", code="model_crashed", retry_after=5) from error
        if isinstance(error, FileNotFoundError):
            raise NoModel(f"{self.name} is not in the models folder any more.") from error


@lru_cache(maxsize=256)
def _read_header(path: str, _changed: int, _size: int) -> gguf.Header:
    """A vocabulary of 128,000 words takes half a second to read; a file is read again when it was exchanged."""
    return gguf.read(Path(path))


def library_for(rt: Runtime, architecture: str) -> str:
    """The package that runs files of this architecture here. Raises NoModel, with what to install."""
    wanted = rt.settings.model_library
    for name in LIBRARIES if wanted == "auto" else [wanted]:
        _, _, known = LIBRARIES[name]
        if (known is None or architecture in known) and importlib.util.find_spec(name) is not None:
            return str(name)
    installed = [name for name in LIBRARIES if importlib.util.find_spec(name) is not None]
    if not installed:
        raise NoModel("ctransformers is not installed", suggestion="Install it: pip install ctransformers")
    raise NoModel(
        f"{LIBRARIES[installed[-1]][0]} cannot run files of the architecture {architecture[:40]}",
        suggestion="Install llama-cpp-python (the extra `llama`), or choose a model of the llama family.",
    )


def folder(rt: Runtime) -> Path:
    return Path(rt.settings.models_dir).expanduser() if rt.settings.models_dir else rt.settings.home_dir / "models"


def files(rt: Runtime) -> list[str]:
    """Names of the model files, sorted. Only plain names directly in the folder: a name never becomes a path."""
    try:
        found = [entry.name for entry in os.scandir(folder(rt)) if entry.name.endswith(".gguf") and entry.is_file()]
    except OSError:
        return []
    return sorted(found)


def checksum(path: Path) -> str | None:
    """SHA-256 of a file as a pull noted it beside the file, in the form of `sha256sum`."""
    try:
        text = path.with_name(path.name + ".sha256").read_text("ascii")[:64].lower()
    except (OSError, ValueError):
        return None
    return text if len(text) == 64 and all(char in "0123456789abcdef" for char in text) else None


def threads_for(rt: Runtime) -> int:
    """The setting, else the cores: with more threads than cores it is a hundred times slower. See `crew`."""
    return int(rt.settings.model_threads) or min(cores(), 8)
