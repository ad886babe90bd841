"""Steps in words: what each is, what came of it, the whole as a document."""

from __future__ import annotations

from typing import Any


def title_of(step: Any) -> str:
    match step.type:
        case "prompt":
            return _short(step.prompt)
        case "search":
            return _short(f"“{step.query}”")
        case "fetch":
            return _short(step.url)
        case "condition":
            return _short(f"if {step.field} {step.operator} {'' if step.value is None else step.value}")
        case "task":
            return step.title or step.kind
    return ", ".join(step.analyses) if step.analyses else ("data" if step.data is not None else "the text")


def _short(text: str) -> str:
    text = " ".join(text.split())
    return text if len(text) <= 120 else f"{text[:119]}…"


def outcome(record: dict[str, Any]) -> str:
    """A few words for the log."""
    if record["status"] != "completed":
        return str(record["error"] or record["status"])
    output = record["output"]
    if record["type"] == "condition":
        return f"{'true' if output['result'] else 'false'}, {output['action']}"
    if record["type"] == "search":
        return f"{output['count']} passage{'' if output['count'] == 1 else 's'}"
    words = len(output.get("text", "").split())
    return f"{words:,} words" if words else output.get("note") or "nothing"


def markdown(title: str, result: dict[str, Any]) -> str:
    lines = [f"# {_line(title)}", ""]
    for number, one in enumerate(result["steps"], 1):
        took = "" if one["seconds"] is None else f", {one['seconds']:g} s"
        lines += [f"## {number}. {_line(one['title'])}", "", f"*{one['type']}, {one['status']}{took}*", ""]
        if one["error"]:
            lines += [_line(one["error"]), ""]
        output = one["output"] or {}
        if output.get("text"):
            lines += [output["text"], ""]
        for source in output.get("sources") or ():
            lines.append(f"{source['number']}. {_line(source['title'] or '')} {_line(source['url'] or '')}".rstrip())
        if output.get("note"):
            lines += ["", f"*{_line(output['note'])}*", ""]
    return "\n".join(lines) + "\n"


def _line(text: str) -> str:
    return " ".join(str(text).split())
