"""Research as a file: the report with its sources, and what could not be read."""

from __future__ import annotations

from typing import Any

from webapp.tasks.kinds import Download

SHOWN = 600  # characters of a quote


def markdown(title: str, result: dict[str, Any]) -> str:
    """The report, its sources with their words, and the pages that were not read, with the reason."""
    from webapp.answers.plain import escaped, words

    lines = [f"# {escaped(title or result.get('topic') or 'Research')}", "", result["response"]]
    if found := result.get("sources"):
        lines += ["", "## Sources", ""]
        for one in found:
            lines.append(f"{one['number']}. {_link(one)}: “{escaped(words(one['quote'])[:SHOWN])}”")
    if unread := result.get("unread"):
        lines += ["", "## Not read", ""]
        lines += [f"- {_link(one)}: {escaped(one['detail'])}" for one in unread]
    if notes := result.get("notes"):
        lines += ["", *(f"> {escaped(note)}" for note in notes)]
    return "\n".join(lines) + "\n"


def _link(one: dict[str, Any]) -> str:
    from webapp.answers.plain import escaped

    url, name = one.get("url") or "", escaped(one.get("title") or "")
    if not url.startswith(("http://", "https://")):
        return name or escaped(url) or "a stored document"
    return f"{name} <{url}>" if name else f"<{url}>"


DOWNLOADS = {"md": Download("text/markdown; charset=utf-8", markdown, "Markdown")}
