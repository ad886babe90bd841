"""The task kind `api`: one call of another program through the outbound gate, and what is taken from its answer.

Sent once. Before anything goes out a mark is kept with the task, after it the answer; a run that finds the mark without
an answer does not know whether the other side acted. A GET, PUT or DELETE is then made again, a POST or PATCH is not,
unless that was asked for. Every request of a task that changes something carries the same Idempotency-Key.
"""

from __future__ import annotations

import base64
import json
from typing import Any
from urllib.parse import urlencode, urlsplit

from webapp.calls import reporting
from webapp.calls.params import IDEMPOTENT, CallParams, pair
from webapp.calls.secrets import Opened, seal_all
from webapp.core import lookup
from webapp.core.context import Ctx
from webapp.core.errors import AppError, Upstream
from webapp.core.http import Fetched
from webapp.core.refusals import retry_after, said_by
from webapp.core.text import clean
from webapp.tasks.kinds import Download, TaskKind
from webapp.tasks.run import TaskRun

MAX_ANSWER = 5 * 2**20  # bytes
SHOWN = 200_000  # characters of an answer kept with the result
KEY = "Idempotency-Key"
SENT, ANSWER = "sent", "answer"
BEFORE_SENDING = frozenset(
    ("dns", "unreachable", "blocked_address", "bad_request", "tls")
)  # nothing reached the other side
REFUSED = frozenset((429, 503))  # answered without acting
MAY_PASS = frozenset((408, 425, 500, 502, 504))
SHOWN_HEADERS = frozenset(
    (
        "content-type",
        "content-length",
        "date",
        "etag",
        "last-modified",
        "location",
        "link",
        "retry-after",
        "server",
        "x-request-id",
    )
)


def prepare(ctx: Ctx, params: dict[str, Any]) -> None:
    """Credentials are sealed, and an address that may not be asked is refused, before anything is stored."""
    from webapp.intake import service as intake

    seal_all(params, ctx.rt.secret_key, ctx.user.id)
    if not lookup.places(params["url"]):  # else it is judged when it is filled
        intake.check_urls(ctx, [params["url"]], place=("url",), label="the address")


def run(task: TaskRun) -> dict[str, Any]:
    """1. Open the secrets. 2. Send, unless an earlier run has the answer. 3. Take from the answer what was asked for."""
    call = Opened(task.params, task.rt.secret_key, task.owner_id)
    method = task.params["method"]
    host = urlsplit(call.url).hostname or "the server"
    task.progress(5, f"Calling {host}")
    answer = task.saved(ANSWER)
    if answer is None:
        _may_send(task, method)
        answer = _sent(task, call, method, host)
        task.save(ANSWER, answer)
    task.progress(90, f"{host} answered {answer['status']}")
    return _result(task, answer)


def _may_send(task: TaskRun, method: str) -> None:
    """Raises Upstream when an earlier run sent it and never learned what came of it."""
    if not (task.saved(SENT) or {}).get("open") or method in IDEMPOTENT:
        return
    if not task.params["repeat_unclear"]:
        raise Upstream(
            f"It is not clear whether an earlier try of this {method} arrived: it was sent and no answer was seen.",
            code="unclear", retryable=False,
            suggestion="See on the other side whether it acted. Then start a new task, or allow repeating.",
        )  # fmt: skip
    task.log(f"An earlier try of this {method} may have arrived; sending again with the same {KEY}.", "warning")


def _sent(task: TaskRun, call: Opened, method: str, host: str) -> dict[str, Any]:
    times = int((task.saved(SENT) or {}).get("times", 0)) + 1
    task.check()
    task.save(SENT, {"times": times, "open": True})
    try:
        got = task.fetch(
            _address(call), method=method, headers=_headers(task, call, method),
            body=call.body.encode() if call.body is not None else None, timeout=task.params["timeout"], max_bytes=MAX_ANSWER,
            on_too_large="truncate",
        )  # fmt: skip
    except AppError as error:
        raise _told(task, call, error, method, times) from None
    answer = _kept(call, got, times)
    if not _counts(task, got.status):
        task.save(SENT, {"times": times, "open": False})  # it was answered: what came of it is known
        raise _refusal(task, answer, got, method, host)
    return answer


def _address(call: Opened) -> str:
    if not call.query:
        return call.url
    address, sharp, fragment = call.url.partition("#")
    return f"{address}{'&' if '?' in address else '?'}{urlencode(call.query)}{sharp}{fragment}"


def _headers(task: TaskRun, call: Opened, method: str) -> dict[str, str]:
    headers = dict(call.headers)
    named = {name.lower() for name in headers}
    if call.body is not None and "content-type" not in named:
        headers["Content-Type"] = "application/json" if _is_json(call.body) else "text/plain; charset=utf-8"
    if method not in ("GET", "HEAD", "OPTIONS") and KEY.lower() not in named:
        headers[KEY] = f"brainstem-{task.id}"
    return headers


def _is_json(text: str) -> bool:
    try:
        json.loads(text)
    except (ValueError, RecursionError):
        return False
    return True


def _told(task: TaskRun, call: Opened, error: AppError, method: str, times: int) -> AppError:
    """What to raise for a call without an answer: only what surely never arrived, or does no harm twice, is tried again."""
    error.message = call.struck_out(error.message)
    if error.code in BEFORE_SENDING:
        task.save(SENT, {"times": times - 1, "open": False})
    elif method not in IDEMPOTENT and not task.params["repeat_unclear"]:
        error.message += f" It is not clear whether the {method} arrived, so it is not sent again."
        error.retryable = False
    if task.attempt > task.params["retries"]:
        error.retryable = False
    return error


def _kept(call: Opened, got: Fetched, times: int) -> dict[str, Any]:
    """The answer as it is stored: without secrets and without headers that carry some."""
    body = (
        got.body.decode(_charset(got.charset), "replace")
        if _is_text(got)
        else base64.b64encode(got.body).decode("ascii")
    )
    return call.struck_out({
        "status": got.status,
        "url": got.url.partition("?")[0],
        "redirects": len(got.redirects),
        "headers": {name: value for name, value in got.headers.items() if name.lower() in SHOWN_HEADERS},
        "content_type": got.content_type,
        "encoding": "text" if _is_text(got) else "base64",
        "body": clean(body),
        "bytes": len(got.body),
        "truncated": got.truncated,
        "elapsed_ms": got.elapsed_ms,
        "times_sent": times,
    })  # type: ignore[no-any-return]  # fmt: skip


def _charset(named: str | None) -> str:
    import codecs

    try:
        return codecs.lookup(named or "utf-8").name
    except LookupError:
        return "utf-8"


def _is_text(got: Fetched) -> bool:
    kind = got.content_type
    return not kind or kind.startswith("text/") or kind.endswith(("json", "xml", "javascript", "x-www-form-urlencoded"))


def _counts(task: TaskRun, status: int) -> bool:
    return task.params["accept"] == "any" or 200 <= status < 300


def _refusal(task: TaskRun, answer: dict[str, Any], got: Fetched, method: str, host: str) -> Upstream:
    status = got.status
    again = status in REFUSED or (status in MAY_PASS and (method in IDEMPOTENT or task.params["repeat_unclear"]))
    said = f": {said_by(answer['body'].encode())}" if answer["encoding"] == "text" and answer["body"].strip() else ""
    return Upstream(f"{host} answered {status}{said}", code=f"http_{status}",
                    retryable=again and task.attempt <= task.params["retries"],
                    retry_after=retry_after(got.headers.get("Retry-After")) if again else None)  # fmt: skip


def _result(task: TaskRun, answer: dict[str, Any]) -> dict[str, Any]:
    """mapped: name -> value; missing: name -> why there is none."""
    mapped: dict[str, Any] = {}
    missing: dict[str, str] = {}
    data = _data(answer)
    for name, path in (pair(line, "=") for line in task.params["mapping"]):
        try:
            if data is None:
                raise lookup.Missing("the answer is not JSON")
            mapped[name] = lookup.look(data, path)
        except (lookup.Missing, lookup.BadPath) as error:
            missing[name] = str(error)
    body = answer["body"]
    shown = {name: value for name, value in answer.items() if name != "body"}
    sends = task.params["method"] not in ("GET", "HEAD", "OPTIONS")
    return shown | {
        "method": task.params["method"],
        "mapped": mapped,
        "missing": missing,
        "json": data if data is not None and len(body) <= SHOWN else None,
        "text": body[:SHOWN] if data is None and answer["encoding"] == "text" else None,
        "text_cut": len(body) > SHOWN,
        "idempotency_key": f"brainstem-{task.id}" if sends else None,
    }


def _data(answer: dict[str, Any]) -> Any:
    if answer["encoding"] != "text" or answer["truncated"]:
        return None
    try:
        return json.loads(answer["body"], parse_constant=lambda name: None)
    except (ValueError, RecursionError):
        return None


API = TaskKind(
    name="api",
    label="API call",
    queue="crawling",
    params=CallParams,
    run=run,
    prepare=prepare,
    description="Calls another program once, with credentials kept encrypted, and takes values from its answer.",
    time_limit=1800,
    soft_limit=1500,
    max_attempts=4,
    view="calls/_result.html",
    downloads={"md": Download("text/markdown; charset=utf-8", reporting.markdown, "Markdown")},
    examples=[
        {
            "url": "https://api.example.org/v1/weather",
            "query": {"city": "Leipzig"},
            "mapping": {"degrees": "current.temperature"},
        },
        {
            "url": "https://api.example.org/v1/notes",
            "method": "POST",
            "headers": ["Authorization: Bearer {{ secrets.token }}"],
            "secrets": {"token": "enter-yours"},
            "body": {"text": "Hello"},
            "mapping": {"id": "id"},
        },
    ],
)
