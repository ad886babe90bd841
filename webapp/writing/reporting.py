"""The result of a written text, and the files it can be saved as."""

from __future__ import annotations

import time
from collections import Counter
from typing import TYPE_CHECKING, Any

from webapp.research.reporting import Sources
from webapp.tasks.kinds import Download
from webapp.writing import counting
from webapp.writing.params import USUAL

if TYPE_CHECKING:
    from webapp.tasks.run import TaskRun
    from webapp.writing.material import Scope

NOT_WRITTEN = "This is an outline with a digest of your sources, not a text: writing needs a language model."
FROM_MODEL = "The model wrote this from what it learned; nothing of it was checked against a source."
SILENT = "Your sources do not speak of this topic, so nothing of the text stands on them."


def result(
    task: TaskRun, made: dict[str, Any], where: Scope | None, engine: str, missing: str, began: float
) -> dict[str, Any]:
    """What the task leaves; its citations are kept in one transaction. mode: "text", or "outline" without a model."""
    sources = Sources()
    wanted = task.params["length"]
    rows = _text(made, sources, round(wanted / len(made["sections"]))) if engine else _digest(made, sources)
    texts = [row["text"] for row in rows]
    words = sum(row["words"] for row in rows) if engine else 0
    keywords = counting.coverage(task.params["keywords"], texts) if engine else []
    read = where.made if where else None
    out = {
        "mode": "text" if engine else "outline",
        "title": made["title"],
        "topic": task.params["topic"],
        "content_type": task.params["content_type"],
        "content_type_label": USUAL[task.params["content_type"]].label,
        "tone": task.params["tone"],
        "engine": engine or "extractive",
        "content": _content(made["title"], rows) if engine else "",
        "outline": [{"heading": row["heading"], "brief": row["brief"], "words": row["words"]} for row in rows],
        "outline_by": made["by"],
        "sections": rows,
        "length": wanted,
        "words": words,
        "deviation": counting.share_off(words, wanted) if engine else None,
        "within_limits": counting.is_within(words, wanted) if engine else None,
        "keywords": keywords,
        "keyword_coverage": round(sum(bool(one["count"]) for one in keywords) / len(keywords), 3) if keywords else None,
        "grounded": bool(engine and where and sources.all),
        "checked": dict(
            Counter(one["verdict"] for row in rows for one in row["sentences"] if one["verdict"] != "none")
        ),
        "read": read.read if read else [],
        "unread": read.unread if read else [],
        "notes": [*_notes(engine, where, sources, missing), *made.get("notes", ()), *(read.notes if read else ())],
    }
    task.progress(98, "Keeping the citations")
    out["sources"] = sources.store(task)
    return out | {"processing_time": round(time.time() - began, 2)}


def _notes(engine: str, where: Scope | None, sources: Sources, missing: str) -> list[str]:
    if not engine:
        return [f"{NOT_WRITTEN} {missing}".strip()]
    if where is None:
        return [FROM_MODEL]
    return [] if sources.all else [SILENT]


def _text(made: dict[str, Any], sources: Sources, share: int) -> list[dict[str, Any]]:
    rows = []
    for section, checked in zip(made["sections"], made["checked"], strict=True):
        taken = sources.take({**checked, "declined": False})
        text = taken["text"]
        rows.append({"heading": section.heading, "brief": section.brief, "target": share, "text": text,
                     "words": counting.words(text) + counting.words(section.heading), "sentences": _placed(checked, taken),
                     "sources": taken["sources"]})  # fmt: skip
    return rows


def _placed(checked: dict[str, Any], taken: dict[str, Any]) -> list[dict[str, Any]]:
    """Sentences at their places in the text with the numbers of the whole, which may be longer than they were."""
    shift, found = 0, []
    for before, one in zip(checked["sentences"], taken["sentences"], strict=True):
        old = checked["text"][before["start"] : before["end"]]
        grown = sum(len(str(number)) for number in one["numbers"]) - sum(len(str(n)) for n in before["numbers"])
        start = before["start"] + shift
        shift += grown
        found.append({**one, "start": start, "end": start + len(old) + grown})
    return found


def _digest(made: dict[str, Any], sources: Sources) -> list[dict[str, Any]]:
    return [{"heading": point["heading"], "brief": point["brief"], "target": 0, "words": 0, "declined": point["declined"], "silent": point["silent"],
             **{name: taken[name] for name in ("text", "sentences", "sources")}}
            for point in made["points"] for taken in [sources.take(point)]]  # fmt: skip


def _content(title: str, rows: list[dict[str, Any]]) -> str:
    """The whole text as Markdown, with the numbers of its sources."""
    parts = [f"# {title}"]
    for row in rows:
        parts.append(f"## {row['heading']}\n\n{row['text']}" if row["heading"] else row["text"])
    return "\n\n".join(parts)


# -- files -------------------------------------------------------------------------------------------------------------


def markdown(title: str, result: dict[str, Any]) -> str:
    """The text with its sources; without a model the outline and what the sources say on it, labelled as that."""
    from webapp.answers.plain import escaped

    lines = [result["content"]] if result["mode"] == "text" else _outline(result)
    if result["sources"]:
        lines += ["", "## Sources", ""]
        lines += [f"{one['number']}. {_source(one)}" for one in result["sources"]]
    if result["unread"]:
        lines += ["", "## Not read", "", *(f"- <{one['url']}>: {escaped(one['detail'])}" for one in result["unread"])]
    return "\n".join(lines).rstrip() + "\n"


def _outline(result: dict[str, Any]) -> list[str]:
    from webapp.answers.plain import escaped

    lines = [f"# {escaped(result['title'])}", "", *(f"> {escaped(note)}" for note in result["notes"])]
    for row in result["sections"]:
        lines += [
            "",
            f"## {escaped(row['heading'] or row['brief'])}",
            "",
            row["text"] or f"*{row['silent']}*",
        ]
    return lines


def _source(one: dict[str, Any]) -> str:
    from webapp.answers.plain import escaped, words

    name = f"{escaped(one['title'])} <{one['url']}>" if one.get("url") else escaped(one["title"])
    return f"{name}: “{escaped(words(one['quote'])[:300])}”"


def text(title: str, result: dict[str, Any]) -> str:
    """As it is read and pasted elsewhere: no marks, no numbers of sources."""
    if result["mode"] != "text":
        return markdown(title, result)
    parts = [result["title"]]
    for row in result["sections"]:
        parts += [row["heading"]] if row["heading"] else []
        parts.append("\n".join(" ".join(counting.readable(line).split()) for line in row["text"].splitlines()))
    return "\n\n".join(parts) + "\n"


DOWNLOADS = {"md": Download("text/markdown; charset=utf-8", markdown, "Markdown"),
             "txt": Download("text/plain; charset=utf-8", text, "Text")}  # fmt: skip
