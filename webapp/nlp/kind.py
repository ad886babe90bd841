"""The task kind `nlp`: language, keywords, entities, tone and readability of texts, each by a named method.

No model is needed. Each source is a checkpoint, and so is its analysis, which runs in a child process.
"""

from __future__ import annotations

from functools import partial
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from webapp.core.errors import Invalid
from webapp.intake import service as intake
from webapp.nlp import reporting
from webapp.nlp.analysis import ALL
from webapp.nlp.words import NAMES
from webapp.tasks.kinds import Download, TaskKind
from webapp.tasks.run import TaskRun

MAX_TEXT = 2_000_000  # characters
MAX_SOURCES = 20
SHOWN_TEXT = 2_000  # characters of a source kept with the result

Analysis = Literal["language", "statistics", "keywords", "entities", "sentiment", "readability"]


class NlpParams(BaseModel):
    """task_config of a text analysis."""

    model_config = ConfigDict(extra="forbid", str_max_length=MAX_TEXT)

    content: str | None = Field(
        None, title="Text", description="Plain text or Markdown.", json_schema_extra={"widget": "textarea"},
        examples=["The new library opened on 3 May 2024. People love it."],
    )  # fmt: skip
    urls: list[str] | None = Field(
        None, title="Links", max_length=MAX_SOURCES, description="Pages to fetch.",
        json_schema_extra={"widget": "url-list"}, examples=[["https://example.org/article"]],
    )  # fmt: skip
    upload_ids: list[str] | None = Field(None, title="Files", max_length=MAX_SOURCES)
    analyses: list[Analysis] = Field(
        default_factory=lambda: list(ALL),  # type: ignore[arg-type]
        title="What to find out",
        min_length=1,
        max_length=len(ALL),
        description="All of them when nothing is said.",
        examples=[["language", "keywords"]],
    )
    language: str | None = Field(
        None,
        title="Language",
        max_length=3,
        description="A code such as en or de. Empty: it is found out.",
        examples=["en"],
    )
    max_keywords: int = Field(20, ge=1, le=100, title="Keywords, at most")

    @field_validator("urls", "upload_ids", "analyses", mode="before")
    @classmethod
    def _lines(cls, value: Any) -> Any:
        """A form sends lines."""
        return value.split() if isinstance(value, str) else value

    @field_validator("urls", "upload_ids")
    @classmethod
    def _plain(cls, values: list[str] | None) -> list[str] | None:
        return list(dict.fromkeys(one.strip() for one in values if one.strip())) or None if values else None

    @field_validator("analyses")
    @classmethod
    def _once(cls, values: list[Analysis]) -> list[Analysis]:
        return list(dict.fromkeys(values))

    @field_validator("language")
    @classmethod
    def _known(cls, code: str | None) -> str | None:
        code = (code or "").strip().lower() or None
        if code and code not in NAMES:
            raise ValueError(f"{code} is no language code known here; use one such as en, de or fr")
        return code

    @model_validator(mode="after")
    def _something(self) -> NlpParams:
        if not ((self.content and self.content.strip()) or self.urls or self.upload_ids):
            raise ValueError("give content, urls or upload_ids")
        return self


def run(task: TaskRun) -> dict[str, Any]:
    """1. Read every source. 2. Analyse each. A source that cannot be read is listed with its reason."""
    wanted = intake.wanted(task.params)
    sources = []
    for number, (kind, value) in enumerate(wanted):
        task.progress(2 + 38 * number / len(wanted), intake.reading(kind, value, number, len(wanted)))
        sources.append(task.once(f"source-{number}", partial(intake.read, task, kind, value)))
    readable = [source for source in sources if not source["error"]]
    if not readable:
        raise Invalid("none of the sources could be read: " + "; ".join(source["error"] for source in sources)[:1500])
    texts = []
    for number, source in enumerate(sources):
        span = (40 + 58 * number / len(sources), 58 / len(sources))
        found = (
            {} if source["error"] else task.once(f"analysis-{number}", partial(_analyse, task, source["text"], span))
        )
        texts.append(_shown(source, f"s{number + 1}") | found)
    return {"texts": texts, "analyses": task.params["analyses"], "notes": _notes(sources)}


def _analyse(task: TaskRun, text: str, span: tuple[float, float]) -> dict[str, Any]:
    from webapp.core.sandbox import run_in_child

    found: dict[str, Any] = run_in_child(
        "webapp.nlp.analysis:analyse", text[:MAX_TEXT], task.params["analyses"], task.params.get("language"),
        task.params["max_keywords"], timeout=max(0.1, min(300.0, task.remaining())), cpu_seconds=240, memory_bytes=2 * 2**30,
        cancelled=task.stopped, on_progress=lambda percent, said: task.progress(span[0] + span[1] * percent / 100, said),
    )  # fmt: skip
    return found


def _shown(source: dict[str, Any], ident: str) -> dict[str, Any]:
    text = source["text"]
    return {"id": ident, "title": source["title"], "url": source["url"], "error": source["error"],
            "excerpt": text[:SHOWN_TEXT], "excerpt_cut": len(text) > SHOWN_TEXT, "characters": len(text)}  # fmt: skip


def _notes(sources: list[dict[str, Any]]) -> list[str]:
    left_out = sum(bool(source["error"]) for source in sources)
    notes = [f"{left_out} of {len(sources)} sources could not be read."] if left_out else []
    if any(len(source["text"]) > MAX_TEXT for source in sources):
        notes.append(f"Of longer texts the first {MAX_TEXT:,} characters were looked at.")
    return notes


NLP = TaskKind(
    name="nlp",
    label="Text analysis",
    queue="inference",
    params=NlpParams,
    run=run,
    prepare=intake.check,
    description="Language, keywords, names and dates, tone and readability of a text, each by a named method.",
    time_limit=1800,
    soft_limit=1500,
    max_attempts=4,
    view="nlp/_result.html",
    downloads={
        "md": Download("text/markdown; charset=utf-8", reporting.markdown, "Markdown"),
        "csv": Download("text/csv; charset=utf-8", reporting.csv_table, "CSV"),
    },
    examples=[
        {
            "content": "The new library opened on 3 May 2024. People love it.",
            "analyses": ["language", "entities", "sentiment"],
        },
        {"urls": ["https://example.org/article"], "analyses": ["keywords", "readability"], "max_keywords": 10},
    ],
)
