"""The answer of a call as a document."""

from __future__ import annotations

import json
from typing import Any


def markdown(title: str, result: dict[str, Any]) -> str:
    lines = [f"# {_line(title)}", "", f"{result['method']} {_line(result['url'])}: {result['status']} in {result['elapsed_ms']} ms, "
             f"{result['bytes']:,} bytes of {_line(result['content_type']) or 'an unnamed type'}", ""]  # fmt: skip
    if result["mapped"] or result["missing"]:
        lines += ["| Name | Value |", "| --- | --- |"]
        lines += [f"| {name} | {_line(_shown(value))} |" for name, value in result["mapped"].items()]
        lines += [f"| {name} | *{_line(why)}* |" for name, why in result["missing"].items()]
        lines.append("")
    if result["json"] is not None:
        lines += _fenced(json.dumps(result["json"], ensure_ascii=False, indent=2), "json")
    elif result["text"]:
        lines += _fenced(result["text"], "")
    return "\n".join(lines) + "\n"


def _shown(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _line(text: Any) -> str:
    return " ".join(str(text).split()).replace("|", "\\|")


def _fenced(text: str, language: str) -> list[str]:
    """A fence longer than any inside."""
    fence = "```"
    while fence in text:
        fence += "`"
    return [f"{fence}{language}", text, fence]
