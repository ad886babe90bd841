"""GGUF files from Hugging Face or a mirror of it, into the models folder: resumable, checksummed, through our gate.

    tinyllama                          a short name of SHORT
    TheBloke/phi-2-GGUF                its Q4_K_M, else its smallest file of four bits or more
    TheBloke/phi-2-GGUF:Q5_K_M         that quantisation
    TheBloke/phi-2-GGUF/phi-2.Q2_K.gguf

What is half loaded lies beside the models under a hidden name that holds its checksum, so that the next try goes on
with the right file or begins anew. https://huggingface.co/docs/hub/api
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import re
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any
from urllib.parse import quote, urlsplit

from webapp.core.errors import AppError, BadRequest, NoModel, StorageFull, Unavailable, Upstream
from webapp.engines import gguf, local

if TYPE_CHECKING:
    from webapp.core.http import OutboundPolicy
    from webapp.runtime import Runtime

# Files that both libraries run; small first.
SHORT = {
    "tinyllama": "TheBloke/TinyLlama-1.1B-Chat-v1.0-GGUF/tinyllama-1.1b-chat-v1.0.Q4_K_M.gguf",
    "llama2": "TheBloke/Llama-2-7B-Chat-GGUF/llama-2-7b-chat.Q4_K_M.gguf",
    "mistral": "TheBloke/Mistral-7B-Instruct-v0.2-GGUF/mistral-7b-instruct-v0.2.Q4_K_M.gguf",
}
NAME = re.compile(r"([\w.-]{1,96}/[\w.-]{1,96})(?:/([\w./-]{1,200}\.gguf)|:([\w-]{1,20}))?", re.ASCII)
PREFERRED = ("Q4_K_M", "Q4_K_S", "Q4_0", "Q5_K_M", "Q8_0")
SPARE = 256 * 2**20  # bytes that stay free on the disk
LARGEST = 2**40
CHUNK = 2**20


@dataclass(frozen=True)
class Wanted:
    """A file of a repository. sha256 and size are the hub's word, which the download is held to."""

    repo: str
    path: str
    size: int
    sha256: str

    @property
    def name(self) -> str:
        return self.path.rpartition("/")[2]


def check_name(model: str) -> str:
    """The full name of `model`. Raises BadRequest for what is no name of a model."""
    full = SHORT.get(model.strip().lower(), model.strip())
    if not NAME.fullmatch(full) or ".." in full:
        raise BadRequest(
            f"model: {model[:100]} is no model of the hub", code="unknown_model",
            details=[{"loc": ["model"], "msg": "use a short name or owner/repository", "type": "invalid"}],
            suggestion=f"Use {', '.join(SHORT)}, or owner/repository of a GGUF model.",
        )  # fmt: skip
    return full


def find(rt: Runtime, model: str, cancelled: Callable[[], bool] = lambda: False) -> Wanted:
    """The file that `model` means. Raises NoModel when the hub has none, Upstream when it cannot be asked."""
    match = NAME.fullmatch(check_name(model))
    assert match is not None
    repo, path, quantisation = match.groups()
    files = [one for one in _files(rt, repo, cancelled) if path is None or one.path == path]
    if quantisation:
        files = [one for one in files if quantisation.lower() in one.name.lower()]
    whole = [one for one in files if not re.search(r"-\d{5}-of-\d{5}\.gguf$", one.name)]  # not one of several parts
    if not whole:
        raise NoModel(f"{repo} has no such GGUF file.", suggestion=f"Look at {rt.settings.hub_url}/{repo}/tree/main.")
    return min(whole, key=_rank)


def _rank(one: Wanted) -> tuple[int, int]:
    for rank, quantisation in enumerate(PREFERRED):
        if quantisation.lower() in one.name.lower():
            return rank, one.size
    return len(PREFERRED), one.size


def _files(rt: Runtime, repo: str, cancelled: Callable[[], bool]) -> list[Wanted]:
    from webapp.core.http import safe_fetch

    with _told(rt):
        answer = safe_fetch(f"{_base(rt)}/api/models/{repo}/tree/main?recursive=true", policy=_policy(rt),
                            headers=_headers(rt), max_bytes=8 * 2**20, cancelled=cancelled)  # fmt: skip
    _refused(rt, answer.status, repo)
    try:
        rows: Any = json.loads(answer.body)
        found = [_file(repo, row) for row in rows if str(row["path"]).endswith(".gguf") and "lfs" in row]
    except (ValueError, KeyError, TypeError, RecursionError):
        raise Upstream(f"{_host(rt)} sent no list of files.", retryable=False) from None
    return found


def _file(repo: str, row: dict[str, Any]) -> Wanted:
    size, sha = int(row["lfs"]["size"]), str(row["lfs"]["oid"]).lower()
    if not (0 < size < LARGEST and re.fullmatch(r"[0-9a-f]{64}", sha) and NAME.fullmatch(f"{repo}/{row['path']}")):
        raise ValueError("not a file of a model")
    return Wanted(repo, str(row["path"]), size, sha)


# -- loading ---------------------------------------------------------------------------------------------------------


def is_here(rt: Runtime, wanted: Wanted) -> bool:
    path = local.folder(rt) / wanted.name
    return path.is_file() and path.stat().st_size == wanted.size and local.checksum(path) == wanted.sha256


def load(
    rt: Runtime, wanted: Wanted, *, timeout: float, cancelled: Callable[[], bool], on_bytes: Callable[[int], None]
) -> Path:
    """The file in the models folder, whole and checked. Goes on where an earlier try ended.

    on_bytes: told how many bytes are there. Raises TaskCancelled, Upstream (`retryable`), StorageFull, NoModel, Unavailable
    while another task loads the same file, Invalid when it is no usable GGUF file.
    """
    folder = local.folder(rt)
    folder.mkdir(parents=True, exist_ok=True)
    part = folder / f".{wanted.name}.{wanted.sha256[:12]}.part"
    with _alone(part) as file:
        have = file.seek(0, os.SEEK_END)
        if have > wanted.size:
            have = _again(file)
        if wanted.size - have + SPARE > shutil.disk_usage(folder).free:
            raise StorageFull(f"{wanted.name} has {wanted.size / 2**30:.1f} GB and does not fit on the disk.",
                              suggestion=f"Free some space at {folder}.")  # fmt: skip
        on_bytes(have)
        if have < wanted.size:
            _fetch(rt, wanted, file, have, timeout, cancelled, on_bytes)
        _check(file, part, wanted, cancelled)
        gguf.read(part)
        path = folder / wanted.name
        path.with_name(path.name + ".sha256").write_text(f"{wanted.sha256}  {path.name}\n", "ascii")
        part.replace(path)
    return path


def _fetch(
    rt: Runtime, wanted: Wanted, file: IO[bytes], have: int, timeout: float, cancelled: Callable[[], bool],
    on_bytes: Callable[[int], None],
) -> None:  # fmt: skip
    from webapp.core.http import safe_stream

    url = f"{_base(rt)}/{wanted.repo}/resolve/main/{quote(wanted.path)}"
    headers = _headers(rt) | ({"Range": f"bytes={have}-"} if have else {})
    with _told(rt), safe_stream(url, policy=_policy(rt), headers=headers, timeout=timeout, cancelled=cancelled,
                                max_bytes=wanted.size + 1) as answer:  # fmt: skip
        if answer.status == 206 and not _starts_at(answer.headers.get("content-range", ""), have):
            raise Upstream(f"{_host(rt)} sent another part of the file than was asked for.", retryable=False)
        if answer.status not in (200, 206):
            _refused(rt, answer.status, wanted.repo)
        if answer.status == 200:
            have = _again(file)
        for piece in answer.pieces():
            have += len(piece)
            if have > wanted.size:
                raise Upstream(f"{_host(rt)} sent more than {wanted.name} has.", retryable=False)
            file.write(piece)
            on_bytes(have)
        file.flush()
    if have < wanted.size:
        raise Upstream(f"{_host(rt)} broke off in the middle of {wanted.name}.", retryable=True)


def _check(file: IO[bytes], part: Path, wanted: Wanted, cancelled: Callable[[], bool]) -> None:
    from webapp.core.errors import TaskCancelled

    file.flush()
    file.seek(0)
    digest = hashlib.sha256()
    while data := file.read(CHUNK):
        digest.update(data)
        if cancelled():
            raise TaskCancelled
    if digest.hexdigest() != wanted.sha256:
        part.unlink(missing_ok=True)
        raise Upstream(
            f"{wanted.name} arrived damaged: its checksum is not the hub's.", code="checksum", retryable=True
        )
    os.fsync(file.fileno())


@contextmanager
def _alone(part: Path) -> Iterator[IO[bytes]]:
    with part.open("a+b") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise Unavailable("Another task loads this file now.", code="being_pulled", retry_after=30) from None
        yield file


def _again(file: IO[bytes]) -> int:
    file.truncate(0)
    return 0


def _starts_at(content_range: str, have: int) -> bool:
    return content_range.startswith(f"bytes {have}-")


# -- the hub ---------------------------------------------------------------------------------------------------------


def _base(rt: Runtime) -> str:
    return str(rt.settings.hub_url).rstrip("/")


def _host(rt: Runtime) -> str:
    return urlsplit(_base(rt)).netloc


def _policy(rt: Runtime) -> OutboundPolicy:
    """A mirror that the operator named may be a private host."""
    from webapp.tasks.service import outbound_policy

    rules = outbound_policy(rt.settings)
    if rt.settings.origins.get("hub_url") == "default":
        return rules
    return replace(rules, allow_hosts=rules.allow_hosts | {_host(rt)})


def _headers(rt: Runtime) -> dict[str, str]:
    return {"Authorization": f"Bearer {rt.settings.hub_token}"} if rt.settings.hub_token else {}


def _refused(rt: Runtime, status: int, repo: str) -> None:
    if status in (401, 403):  # also for what does not exist
        raise NoModel(f"{_host(rt)} has no {repo}, or not for everybody.",
                      suggestion="Check the name; for a model one must ask for, set HF_TOKEN.")  # fmt: skip
    if status == 404:
        raise NoModel(f"{_host(rt)} has no {repo}.", suggestion="Check the name.")
    if status != 200:
        raise Upstream(f"{_host(rt)} answered {status}.", retryable=status == 429 or status >= 500)


@contextmanager
def _told(rt: Runtime) -> Iterator[None]:
    """A hub that cannot be reached: what to do without it."""
    try:
        yield
    except AppError as error:
        if error.code in ("dns", "connection", "unreachable", "timeout", "blocked_address"):
            error.message = f"{_host(rt)} cannot be reached from here: {error.message}"
            error.suggestion = without(rt)
        raise


def without(rt: Runtime) -> str:
    """How to come by a model where there is no hub."""
    return (f"Load a GGUF file on another computer and copy it into {local.folder(rt)}, name a mirror in HF_ENDPOINT, "
            "or pull it with an Ollama server.")  # fmt: skip
