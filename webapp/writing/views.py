"""A draft as templates see it: from the checkpoints of its task and the text that is being written now."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from webapp.runtime import Runtime


def draft_of(rt: Runtime, task: Any) -> dict[str, Any]:
    """{title, sections: [{heading, brief, text, writing}]}; no sections before there is an outline."""
    if task.kind != "content_generation":
        return {"title": "", "sections": []}
    if task.result:  # its checkpoints are gone
        rows = [{"heading": row["heading"], "brief": row["brief"], "text": row["text"], "writing": False}
                for row in task.result.get("sections", ())]  # fmt: skip
        return {"title": task.result.get("title", ""), "sections": rows}
    kept = task.checkpoint or {}
    outline = kept.get("outline") or {"title": "", "sections": []}
    rows = [{"heading": row["heading"], "brief": row["brief"], "text": _latest(kept, number), "writing": False}
            for number, row in enumerate(outline["sections"])]  # fmt: skip
    now = next((row for row in rows if not row["text"]), None)
    if now is not None and not task.is_final:
        now["text"], now["writing"] = rt.streams.read(task.id).text, True
    return {"title": outline["title"], "sections": rows}


def _latest(kept: dict[str, Any], number: int) -> str:
    attempts = [kept[key] for attempt in range(10) if (key := f"section {number}.{attempt}") in kept]
    return attempts[-1] if attempts else ""
