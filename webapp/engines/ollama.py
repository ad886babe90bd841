"""What an Ollama server tells beyond OpenAI's protocol: sizes, digests, and pulls with their progress.

https://github.com/ollama/ollama/blob/main/docs/api.md. Its address is that of the OpenAI protocol without `/v1`.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from webapp.core.errors import AppError, NoModel, Upstream
from webapp.core.refusals import said_by
from webapp.engines import servers
from webapp.engines.servers import Server

if TYPE_CHECKING:
    from collections.abc import Callable

    from webapp.runtime import Runtime

PATIENCE = 2.0
ANSWER = 64 * 2**20  # bytes of the lines that one pull may send
LONGEST_LINE = 64 * 2**10


def root(server: Server) -> str:
    return server.url.removesuffix("/v1")


def tags(rt: Runtime, server: Server) -> list[dict[str, Any]]:
    """{name, size, modified_at, digest, family, parameters, quantisation} of each model; [] when it is no Ollama."""
    kept: dict[str, tuple[float, list[dict[str, Any]]]] = rt.kept("tags of servers", dict)
    have = kept.get(server.url)
    if have is None or time.monotonic() - have[0] > servers.FRESH:
        try:
            have = (time.monotonic(), _ask(rt, server))
        except AppError:
            have = (time.monotonic(), [])
        kept[server.url] = have
    return have[1]


def speaks(rt: Runtime, server: Server) -> bool:
    """Whether the server is an Ollama, also one without a model yet."""
    from webapp.core.http import safe_fetch

    try:
        answer = safe_fetch(root(server) + "/api/version", policy=server.policy(rt), headers=server.headers,
                            timeout=PATIENCE, max_bytes=2**16, max_redirects=0)  # fmt: skip
        return answer.status == 200 and "version" in json.loads(answer.body)
    except (AppError, ValueError, TypeError, RecursionError):
        return False


def forget(rt: Runtime) -> None:
    rt.kept("tags of servers", dict).clear()


def _ask(rt: Runtime, server: Server) -> list[dict[str, Any]]:
    from webapp.core.http import safe_fetch

    answer = safe_fetch(root(server) + "/api/tags", policy=server.policy(rt), headers=server.headers, timeout=PATIENCE,
                        max_bytes=8 * 2**20, max_redirects=0)  # fmt: skip
    try:
        rows: Any = json.loads(answer.body)["models"] if answer.status == 200 else []
        return [_tag(row) for row in rows[: servers.MOST_MODELS] if isinstance(row["name"], str)]
    except (ValueError, KeyError, TypeError, RecursionError):
        return []


def _tag(row: dict[str, Any]) -> dict[str, Any]:
    said = row.get("details")
    details = said if isinstance(said, dict) else {}
    text = {name: value if isinstance(value, str) else None for name, value in
            (("modified_at", row.get("modified_at")), ("digest", row.get("digest")), ("family", details.get("family")),
             ("parameters", details.get("parameter_size")), ("quantisation", details.get("quantization_level")))}  # fmt: skip
    digest = text["digest"]
    if digest and ":" not in digest:
        text["digest"] = f"sha256:{digest}"
    size = row.get("size")
    return {"name": row["name"][:200], "size": size if isinstance(size, int) else None, **text}


def pull(
    rt: Runtime, server: Server, model: str, *, timeout: float, cancelled: Callable[[], bool]
) -> Iterator[tuple[str, int, int]]:
    """(what is being done, bytes that are there, bytes in all) as the server tells it, until it says "success".

    Called again it goes on where it was: the server keeps the parts. Raises Upstream, NoModel, BlockedAddress,
    TaskCancelled; leaving early hangs up, which stops the server's download.
    """
    from webapp.core.http import safe_stream

    body = json.dumps({"model": model, "stream": True}).encode()
    headers = {"Content-Type": "application/json"} | server.headers
    parts: dict[str, tuple[int, int]] = {}
    with safe_stream(root(server) + "/api/pull", policy=server.policy(rt), method="POST", headers=headers, body=body,
                     timeout=timeout, max_bytes=ANSWER, max_redirects=0, cancelled=cancelled) as answer:  # fmt: skip
        if answer.status != 200:
            why = said_by(b"".join(answer.pieces())[:LONGEST_LINE])
            if answer.status == 404:
                raise NoModel(f"{server.name} cannot pull: {why}", suggestion="Is it an Ollama server?")
            raise Upstream(f"{server.name} answered {answer.status}: {why}", retryable=answer.status >= 500)
        for line in _lines(answer.pieces()):
            said = _object(line, server.name)
            if said.get("error"):
                raise Upstream(f"{server.name} could not pull {model}: {str(said['error'])[:300]}", retryable=False,
                               suggestion="Check the name: see the library at ollama.com.")  # fmt: skip
            status = str(said.get("status") or "")[:200]
            digest, done, total = said.get("digest"), said.get("completed"), said.get("total")
            if isinstance(digest, str) and isinstance(total, int) and total > 0 and len(parts) < 1000:
                parts[digest] = (min(done if isinstance(done, int) and done >= 0 else 0, total), total)
            yield status, sum(one for one, _ in parts.values()), sum(one for _, one in parts.values())
            if status == "success":
                return
    raise Upstream(f"{server.name} broke off in the middle of the pull.", retryable=True)


def _lines(pieces: Iterator[bytes]) -> Iterator[bytes]:
    rest = b""
    for piece in pieces:
        *lines, rest = (rest + piece).split(b"\n")
        if len(rest) > LONGEST_LINE:
            raise Upstream("the model server sent a line without an end", retryable=False)
        yield from (line for line in lines if line.strip())
    if rest.strip():
        yield rest


def _object(line: bytes, name: str) -> dict[str, Any]:
    try:
        found = json.loads(line)
    except (ValueError, RecursionError):
        found = None
    if not isinstance(found, dict):
        raise Upstream(f"{name} sent something that is no progress of a pull.", retryable=False)
    return found
