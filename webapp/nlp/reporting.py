"""The findings as a document and as a table."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from webapp.core.spreadsheets import to_csv

MOST = 20  # of a kind, in the document


def markdown(title: str, result: dict[str, Any]) -> str:
    lines = [f"# {_line(title)}", ""]
    for text in result["texts"]:
        lines += [f"## {_line(text['title'] or text['url'] or 'Text')}", ""]
        if text["error"]:
            lines += [f"Not read: {_line(text['error'])}", ""]
            continue
        for name, part in PARTS.items():
            if name in text:
                lines += [*part(text[name]), ""]
    return "\n".join([*lines, *(f"*{note}*" for note in result["notes"]), ""])


def plain(result: dict[str, Any]) -> str:
    """The findings in words, for a step that reads them."""
    said = []
    for text in result["texts"]:
        for name, part in PARTS.items():
            if name in text:
                said += [line.strip("#*|- ") for line in part(text[name]) if line.strip("#*|- ")]
    return "\n".join(said)


def _line(text: Any) -> str:
    return " ".join(str(text).split()).replace("|", "\\|")


def _language(found: dict[str, Any]) -> list[str]:
    sure = "" if found["confidence"] is None else f", {found['confidence']:.0%} sure"
    return [f"Language: {found['name'] or 'not certain'}{sure} *({found['method']})*"]


def _statistics(found: dict[str, Any]) -> list[str]:
    return [", ".join(f"{name.replace('_', ' ')} {value:,}" for name, value in found.items())]


def _keywords(found: dict[str, Any]) -> list[str]:
    rows = [f"| {_line(one['term'])} | {one['count']} | {one['share']:.0%} |" for one in found["items"]]
    return [
        "### Keywords",
        "",
        "| Term | Times | Of the text |",
        "| --- | --- | --- |",
        *rows,
        "",
        f"*{found['method']}*",
    ]


def _entities(found: dict[str, Any]) -> list[str]:
    lines = ["### Names, dates and amounts", ""]
    for group in found["groups"]:
        shown = ", ".join(
            f"{_line(one['text'])}" + (f" ({one['count']})" if one["count"] > 1 else "")
            for one in group["items"][:MOST]
        )
        lines.append(f"- {group['label']}: {shown}")
    return [*lines, "", f"*{found['method']}*"]


def _sentiment(found: dict[str, Any]) -> list[str]:
    if not found["available"]:
        return ["### Tone", "", f"Not judged. {found['note']}"]
    head = f"{found['label']} ({found['compound']:+.2f} of −1 to 1): {found['positive']} positive, {found['neutral']} neutral, {found['negative']} negative sentences."
    said = [
        f"- {one['compound']:+.2f} {_line(one['text'])}" for one in [*found["most_positive"], *found["most_negative"]]
    ]
    return ["### Tone", "", head, "", *said, "", f"*{found['method']}. {found['note']}*"]


def _readability(found: dict[str, Any]) -> list[str]:
    rows = [f"| {one['name']} | {one['value']:g} | {one['meaning']} | {one['formula']} |" for one in found["scores"]]
    table = ["| Formula | Value | Meaning | How |", "| --- | --- | --- | --- |", *rows, ""] if rows else []
    return ["### Readability", "", *table, *found["notes"]]


PARTS = {"language": _language, "statistics": _statistics, "keywords": _keywords, "entities": _entities,
         "sentiment": _sentiment, "readability": _readability}  # fmt: skip


def csv_table(title: str, result: dict[str, Any]) -> str:
    """A row for each finding."""
    rows = ((text["title"] or text["url"] or text["id"], *row) for text in result["texts"] for row in _rows(text))
    return to_csv([("source", "analysis", "kind", "item", "value"), *rows])


def _rows(text: dict[str, Any]) -> Iterator[tuple[Any, ...]]:
    if text["error"]:
        yield "reading", "error", text["error"], ""
    if "language" in text:
        yield "language", "code", text["language"]["code"], text["language"]["confidence"]
    for name, value in text.get("statistics", {}).items():
        yield "statistics", name, "", value
    for one in text.get("keywords", {}).get("items", ()):
        yield "keywords", "term", one["term"], one["count"]
    for group in text.get("entities", {}).get("groups", ()):
        for one in group["items"]:
            yield "entities", group["kind"], one["text"], one["count"]
    if text.get("sentiment", {}).get("available"):
        yield "sentiment", "compound", text["sentiment"]["label"], text["sentiment"]["compound"]
    for one in text.get("readability", {}).get("scores", ()):
        yield "readability", one["key"], one["meaning"], one["value"]
