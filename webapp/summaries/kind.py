"""The task kind `summary`: pasted text, several URLs, uploaded files -> an extractive summary with its places.

Each source is a checkpoint: a killed run fetches no page twice. A source that cannot be read is listed with its
reason; the task fails only when none can. No model is needed, and the result says which method it is.
"""

from __future__ import annotations

from functools import partial
from typing import Any
from urllib.parse import urlsplit

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from webapp.core.context import Ctx
from webapp.core.errors import AppError, Invalid
from webapp.tasks.kinds import TaskKind
from webapp.tasks.run import TaskRun

MAX_TEXT = 2_000_000  # characters of pasted text
MAX_SOURCES = 20
SHOWN_TEXT = 200_000  # characters of a source kept with the result, so that citations can be looked up


class SummaryParams(BaseModel):
    """task_config of a summary (001:124-126), and `upload_ids` of ours."""

    model_config = ConfigDict(extra="forbid", str_max_length=MAX_TEXT)

    content: str | None = Field(None, title="Text", description="Plain text or Markdown.")
    urls: list[str] | None = Field(None, title="Links", max_length=MAX_SOURCES, description="Pages to fetch.")
    upload_ids: list[str] | None = Field(None, title="Files", max_length=MAX_SOURCES)
    max_length: int = Field(500, ge=10, le=5000, title="Longest, in words")

    @field_validator("urls")
    @classmethod
    def _plain_urls(cls, urls: list[str] | None) -> list[str] | None:
        return list(dict.fromkeys(url.strip() for url in urls if url.strip())) if urls else None

    @model_validator(mode="after")
    def _something(self) -> SummaryParams:
        if not ((self.content and self.content.strip()) or self.urls or self.upload_ids):
            raise ValueError("give content, urls or upload_ids")
        return self


def prepare(ctx: Ctx, params: dict[str, Any]) -> None:
    """Before anything is stored: URLs that may not be fetched and files that are not the caller's are refused."""
    from webapp.core.addresses import precheck_url
    from webapp.files import service as files
    from webapp.tasks.service import outbound_policy

    policy = outbound_policy(ctx.rt.settings)
    for url in params.get("urls") or ():
        try:
            precheck_url(url, policy)
        except AppError as exc:
            exc.details = [{"loc": ["urls"], "msg": f"{url[:200]}: {exc.message}", "type": exc.code}]
            raise
    for upload_id in params.get("upload_ids") or ():
        files.get(ctx, upload_id)


def run(task: TaskRun) -> dict[str, Any]:
    """1. Read every source (a checkpoint each). 2. Rank and choose sentences in a child process. 3. Tell places."""
    wanted = _wanted(task.params)
    sources = []
    for number, (kind, value) in enumerate(wanted):
        task.progress(5 + 60 * number / len(wanted), _reading(kind, value, number, len(wanted)))
        sources.append(task.once(f"source-{number}", partial(_read, task, kind, value, f"s{number + 1}")))
    readable = [source for source in sources if not source["error"]]
    if not readable:
        raise Invalid("none of the sources could be read: " + "; ".join(s["error"] for s in sources)[:1500])
    words = sum(source["words"] for source in readable)
    task.progress(70, f"Ranking sentences of {words:,} words")
    summary = _summarise(task, readable)
    task.progress(98, "Writing the result")
    return _result(summary, sources)


def _wanted(params: dict[str, Any]) -> list[tuple[str, str]]:
    text = [("text", params["content"])] if (params.get("content") or "").strip() else []
    links = [("url", url) for url in params.get("urls") or ()]
    return text + links + [("upload", ident) for ident in params.get("upload_ids") or ()]


def _reading(kind: str, value: str, number: int, total: int) -> str:
    what = {"text": "Reading the text", "upload": "Reading the file"}.get(kind) or f"Reading {urlsplit(value).hostname}"
    return what if total == 1 else f"{what} ({number + 1} of {total})"


def _read(task: TaskRun, kind: str, value: str, ident: str) -> dict[str, Any]:
    """One source as a row of the result. What the source itself is to blame for becomes its `error`."""
    source: dict[str, Any] = {"id": ident, "url": value if kind == "url" else None, "title": None, "text": "",
                              "words": 0, "method": None, "error": None}  # fmt: skip
    try:
        if kind == "text":
            source |= {"text": value, "method": "plain"}
        elif kind == "url":
            source |= _read_url(task, value)
        else:
            source |= _read_upload(task, value)
    except AppError as exc:
        task.check()
        if exc.retryable and task.attempt < task.max_attempts:
            raise  # worth another attempt; sources read so far are kept
        source["error"] = exc.message
        task.log(f"{value[:200] if kind == 'url' else 'A source'}: {exc.message}", "warning")
    source["words"] = len(source["text"].split())
    if not source["error"] and not source["words"]:
        source["error"] = "there is no text in it"
    return source


def _read_url(task: TaskRun, url: str) -> dict[str, Any]:
    from webapp.core.errors import Upstream
    from webapp.extraction.service import extract

    page = task.fetch(url, max_bytes=10 * 2**20, on_too_large="truncate")
    if page.status >= 400:
        again = page.status in (408, 425, 429) or page.status >= 500
        wait = page.headers.get("Retry-After", "")
        raise Upstream(
            f"{urlsplit(url).hostname} answered {page.status}",
            retryable=again,
            retry_after=int(wait) if wait.isascii() and wait.isdigit() and len(wait) < 8 else None,
        )
    found = extract(page.body, content_type=page.content_type, charset=page.charset, url=page.url, markdown=False,
                    cancelled=task.stopped, timeout=min(30.0, task.remaining()))  # fmt: skip
    return {"url": page.url, "title": found.title, "text": found.text, "method": found.method}


def _read_upload(task: TaskRun, upload_id: str) -> dict[str, Any]:
    from webapp.extraction.service import extract
    from webapp.files import service as files

    name, content_type, data = files.load(task.rt, task.owner_id, upload_id)
    found = extract(data, filename=name, content_type=content_type, markdown=False, cancelled=task.stopped,
                    timeout=min(60.0, task.remaining()))  # fmt: skip
    return {"title": found.title or name, "text": found.text, "method": found.method}


def _summarise(task: TaskRun, sources: list[dict[str, Any]]) -> dict[str, Any]:
    """Small texts here, larger ones in a child: ranking is CPU-bound Python and would hold up the pages."""
    from webapp.core.sandbox import run_in_child

    given = [{"id": s["id"], "text": s["text"], "title": s["title"], "url": s["url"]} for s in sources]
    if sum(len(s["text"]) for s in sources) < 4_000:
        return summarise_sources(given, task.params["max_length"])
    found: dict[str, Any] = run_in_child(
        "webapp.summaries.kind:summarise_sources", given, task.params["max_length"],
        timeout=min(300.0, task.remaining()), cpu_seconds=240, memory_bytes=2 * 2**30, cancelled=task.stopped,
        on_progress=lambda percent, text: task.progress(70 + percent * 0.27, text or "Ranking sentences"),
    )  # fmt: skip
    return found


def summarise_sources(sources: list[dict[str, Any]], max_words: int) -> dict[str, Any]:
    """What runs in the child: plain values in, plain values out."""
    from dataclasses import asdict

    from webapp.core import sandbox
    from webapp.summaries.lexrank import Source, summarise

    told = sandbox.progress if sandbox.in_child else (lambda percent, text: None)
    return asdict(summarise([Source(**source) for source in sources], max_words=max_words, progress=told))


def _result(summary: dict[str, Any], sources: list[dict[str, Any]]) -> dict[str, Any]:
    sentences = [{**sentence, "ref": number} for number, sentence in enumerate(summary["sentences"], 1)]
    return {
        "summary": " ".join(sentence["text"] for sentence in sentences),
        "sentences": sentences,
        "sources": [_shown(source) for source in sources],
        "words": summary["words"],
        "method": "Extractive (LexRank over TF-IDF)",
        "method_id": summary["method"],
        "sentence_count": summary["sentence_count"],
        "compression": summary["compression"],
        "notes": summary["notes"],
    }


def _shown(source: dict[str, Any]) -> dict[str, Any]:
    cut = len(source["text"]) > SHOWN_TEXT
    return {**source, "text": source["text"][:SHOWN_TEXT], "text_truncated": cut}


SUMMARY = TaskKind(
    name="summary",
    label="Summary",
    queue="inference",
    params=SummaryParams,
    run=run,
    prepare=prepare,
    description="Picks the sentences that say most, word for word, each with its place in the source.",
    time_limit=600,
    max_attempts=4,
    examples=[
        {"content": "Text to summarise…", "max_length": 100},
        {"urls": ["https://example.org/article"]},
    ],
)
