"""Addresses and files of a task's parameters: refused before anything is stored, read by the worker into plain text."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from webapp.core.errors import AppError, Upstream

if TYPE_CHECKING:
    from webapp.core.context import Ctx
    from webapp.tasks.run import TaskRun


def check(ctx: Ctx, params: dict[str, Any]) -> None:
    """Before anything is stored: raises for an address that may not be asked and a file that is not the caller's."""
    from webapp.files import service as files

    check_urls(ctx, params.get("urls") or ())
    for upload_id in params.get("upload_ids") or ():
        files.get(ctx, upload_id)


def check_urls(ctx: Ctx, urls: Iterable[str], place: tuple[str | int, ...] = ("urls",), label: str = "") -> None:
    """Raises what the gate says of the first address it will not ask, with `place` in its details.

    label: what the message calls the address, which is itself unless something else is said.
    """
    from webapp.core.addresses import precheck_url
    from webapp.tasks.service import outbound_policy

    policy = outbound_policy(ctx.rt.settings)
    for url in urls:
        try:
            precheck_url(url, policy)
        except AppError as error:
            error.details = [{"loc": list(place), "msg": f"{label or url[:200]}: {error.message}", "type": error.code}]
            raise


def wanted(params: dict[str, Any]) -> list[tuple[str, str]]:
    """(text, url or upload; its value), in this order."""
    text = [("text", params["content"])] if (params.get("content") or "").strip() else []
    links = [("url", url) for url in params.get("urls") or ()]
    return text + links + [("upload", ident) for ident in params.get("upload_ids") or ()]


def reading(kind: str, value: str, number: int, total: int) -> str:
    """What to say while one of them is read."""
    what = {"text": "Reading the text", "upload": "Reading the file"}.get(kind) or f"Reading {urlsplit(value).hostname}"
    return what if total == 1 else f"{what} ({number + 1} of {total})"


def read(task: TaskRun, kind: str, value: str) -> dict[str, Any]:
    """{title, url, text, method, error}. What the source itself is to blame for becomes its `error`.

    Raises what is worth another attempt of the task.
    """
    source: dict[str, Any] = {"title": None, "url": value if kind == "url" else None, "text": "", "method": None,
                              "error": None}  # fmt: skip
    try:
        if kind == "text":
            source |= {"text": value, "method": "plain"}
        else:
            source |= page(task, value) if kind == "url" else _upload(task, value)
    except AppError as exc:
        task.check()
        if exc.retryable and task.attempt < task.max_attempts:
            raise  # sources read so far are kept
        source["error"] = exc.message
        task.log(f"{value[:200] if kind == 'url' else 'A source'}: {exc.message}", "warning")
    if not source["error"] and not source["text"].strip():
        source["error"] = "there is no text in it"
    return source


def page(task: TaskRun, url: str) -> dict[str, Any]:
    """{url, title, text, method} of a page, redirects followed. Raises Upstream for a refusal."""
    from webapp.core.refusals import retry_after
    from webapp.extraction.service import extract

    got = task.fetch(url, max_bytes=10 * 2**20, on_too_large="truncate")
    if got.status >= 400:
        again = got.status in (408, 425, 429) or got.status >= 500
        raise Upstream(f"{urlsplit(url).hostname} answered {got.status}", retryable=again,
                       retry_after=retry_after(got.headers.get("Retry-After")))  # fmt: skip
    found = extract(got.body, content_type=got.content_type, charset=got.charset, url=got.url, markdown=False,
                    cancelled=task.stopped, timeout=min(30.0, task.remaining()))  # fmt: skip
    return {"url": got.url, "title": found.title, "text": found.text, "method": found.method}


def _upload(task: TaskRun, upload_id: str) -> dict[str, Any]:
    from webapp.extraction.service import extract
    from webapp.files import service as files

    name, content_type, data = files.load(task.rt, task.owner_id, upload_id)
    found = extract(data, filename=name, content_type=content_type, markdown=False, cancelled=task.stopped,
                    timeout=min(60.0, task.remaining()))  # fmt: skip
    return {"title": found.title or name, "text": found.text, "method": found.method}
