"""The outline of a text: a title and its sections, by a model, or by what is usual for its sort."""

from __future__ import annotations

import math
import re
from typing import Any

from webapp.answers import plain
from webapp.research.planning import subject
from webapp.writing.params import USUAL

SECTION = 180  # words of a section, about
MOST_SECTIONS = 14
SYSTEM = (
    "You plan texts. Write the title on a first line that begins with `Title:`. Then write {count} lines, one for each "
    "{part}: {shape}. Write nothing else."
)
SHAPED = "its heading, a vertical bar, and in one sentence what it says"
POINTS = "in one sentence what it says"
TITLE = re.compile(r"^\W{0,4}(?:title|subject|titel|betreff|titre|título)\W{0,4}:\W{0,4}\s*(.{2,200}?)\W{0,3}$", re.I)
LINE = re.compile(r"^\s*(?:#{1,4}|[-*•]|(?:section\s*)?\d{1,2}[.):])?\s*(.{2,400}?)\s*$", re.I)


def count(params: dict[str, Any], words_a_call: int) -> int:
    """Sections of the text: enough that a model can write each in one call; 1 for what has no headings."""
    usual, length = USUAL[params["content_type"]], params["length"]
    least = math.ceil(1.3 * length / max(20, words_a_call))
    if usual.single or length < 1.2 * SECTION:
        return min(MOST_SECTIONS, least) if least > 1 else 1
    return max(min(MOST_SECTIONS, max(2, round(length / SECTION))), least)


def request(params: dict[str, Any], sections: int) -> tuple[str, str]:
    """(rules, question) for a model."""
    usual = USUAL[params["content_type"]]
    part, shape = ("section", SHAPED) if sections > 1 else ("point it makes", POINTS)
    rules = SYSTEM.format(count=sections if sections > 1 else "three to five", part=part, shape=shape)
    return rules, f"Plan a text.\n{brief(params)}\n{usual.manner}"


def brief(params: dict[str, Any]) -> str:
    """What the person asked for, line by line."""
    lines = [("Sort of text", USUAL[params["content_type"]].label), ("Topic", subject(params["topic"])),
             ("Length", f"{params['length']} words"), ("Tone", params.get("tone")), ("Readers", params.get("audience")),
             ("Language", params.get("language")), ("Words to use", ", ".join(params.get("keywords") or ())),
             ("Also", params.get("instructions"))]  # fmt: skip
    return "\n".join(f"{name}: {value}" for name, value in lines if value)


def parsed(text: str, params: dict[str, Any], sections: int) -> dict[str, Any] | None:
    """The outline a model wrote, or None when it is none: fewer than half of the sections it was asked for."""
    title = ""
    rows: list[dict[str, Any]] = []
    for line in text.splitlines():
        if not title and (found := TITLE.match(line)):
            title = plain.words(found[1]).strip(" \"'“”")
            continue
        row = LINE.match(line)
        said = plain.words(row[1]).strip() if row else ""
        if said:
            heading, bar, about = said.partition("|")
            rows.append({"heading": heading.strip(" :*\"'") if bar else said, "brief": about.strip(), "bar": bool(bar)})
    if sections == 1:
        points = [one["brief"] or one["heading"] for one in rows][:6]
        return {"title": title or subject(params["topic"]), "sections": [_section("", " ".join(points))], "by": "model"} if (
            points) else None  # fmt: skip
    rows = [one for one in rows if one["bar"]] or rows
    rows = [one for one in rows if len(one["heading"]) <= 150][:sections]
    if len(rows) < max(2, sections / 2):
        return None
    made = [_section(one["heading"], one["brief"]) for one in rows]
    return {"title": title or subject(params["topic"]), "sections": made, "by": "model"}


def by_rules(params: dict[str, Any], sections: int | None = None) -> dict[str, Any]:
    """What is usual for this sort of text. sections: as many as a model is to write; None: its usual parts."""
    topic = subject(params["topic"])
    parts = [
        (heading.format(topic=topic), ask.format(topic=topic)) for heading, ask in USUAL[params["content_type"]].parts
    ]
    if sections == 1:
        made = [_section("", " ".join(ask for _, ask in parts))]
    else:
        wanted = sections or len(parts)
        made = [_section(heading or ask, ask, ask) for heading, ask in parts[:wanted]]
        made += [_section(f"More on {topic} ({number})", f"What else is there to know about {topic}?")
                 for number in range(2, 2 + wanted - len(made))]  # fmt: skip
    return {"title": topic[:1].upper() + topic[1:], "sections": made, "by": "rules"}


def _section(heading: str, about: str, question: str = "") -> dict[str, Any]:
    return {"heading": heading, "brief": about, "question": question or f"{heading} {about}".strip()}
