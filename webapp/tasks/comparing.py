"""Two runs of one kind side by side: parameters that differ, figures, and the results as texts."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from webapp.core.context import Ctx
from webapp.core.errors import BadRequest
from webapp.tasks import service
from webapp.tasks.kinds import known
from webapp.tasks.models import Task

MOST_FIGURES = 200
MOST_LINES = 2000  # of a text; what is longer is cut before it is compared, and said so
LONG_LINE = 160  # characters from which a line is parted into its sentences
NAMES = ("name", "column", "label", "option", "criterion", "group")  # what an item of a list is called by
ABSENT = "–"
BEFORE = 60  # characters shown of what two long texts share before they part
MARKS = re.compile(r"(?: ?\[\d{1,3}\])+(?=\s|$)")  # numbers of sources: another order of them is no other text


@dataclass(frozen=True)
class Pair:
    """Something of both runs, as words. change: b - a of figures, None where that says nothing."""

    name: str
    a: str
    b: str
    change: str | None = None


@dataclass(frozen=True)
class Comparison:
    a: Task
    b: Task
    params: list[Pair]  # only those that differ
    same_params: int
    figures: list[Pair]
    text_a: str
    text_b: str
    is_cut: bool


def compare(ctx: Ctx, a_id: str, b_id: str) -> Comparison:
    """Raises NotFound for a stranger's task, BadRequest for two kinds, one task twice, or a run without a result."""
    a, b = service.get(ctx, a_id), service.get(ctx, b_id)
    if a.id == b.id:
        raise BadRequest("these are one and the same task", suggestion="Choose another one to compare it with.")
    if a.kind != b.kind:
        raise BadRequest("only tasks of the same kind can be compared", suggestion="Choose two of the same kind.")
    for task in (a, b):
        if task.result is None:
            raise BadRequest(f"“{task.title[:80]}” has no result", suggestion="Wait until both are done.")
    of_a, of_b = dict(_leaves(a.params)), dict(_leaves(b.params))
    names = list(dict.fromkeys([*of_a, *of_b]))
    differing = [name for name in names if _plain(of_a.get(name)) != _plain(of_b.get(name))]
    (text_a, cut_a), (text_b, cut_b) = _text(a), _text(b)
    return Comparison(a, b, [Pair(name, *_where_they_part(_words(of_a.get(name)), _words(of_b.get(name)))) for name in differing],
                      len(names) - len(differing), _figures(a, b), text_a, text_b, cut_a or cut_b)  # fmt: skip


def _leaves(value: Any, place: str = "") -> Iterator[tuple[str, Any]]:
    """Everything in it that is no object or list of objects, by its place: `steps 2 prompt`."""
    if isinstance(value, Mapping):
        for key, inner in value.items():
            yield from _leaves(inner, f"{place} {str(key).replace('_', ' ')}".strip())
    elif isinstance(value, list) and any(isinstance(item, dict | list) for item in value):
        for number, inner in enumerate(value, 1):
            yield from _leaves(inner, f"{place} {number}")
    else:
        yield place, value


def _plain(value: Any) -> Any:
    """Without what only lays a text out: other line breaks are no other parameter."""
    return " ".join(value.split()) if isinstance(value, str) else value


def _words(value: Any) -> str:
    if value is None:
        return ABSENT
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, list):
        return ", ".join(str(item) for item in value) or ABSENT
    return str(_plain(value))


def _where_they_part(a: str, b: str) -> tuple[str, str]:
    """Long texts without the beginning they share: what differs must be in sight."""
    same = len(os.path.commonprefix([a, b]))
    start = a.rfind(" ", 0, max(0, same - BEFORE)) + 1
    return (f"… {a[start:]}", f"… {b[start:]}") if start > BEFORE else (a, b)


def _figures(a: Task, b: Task) -> list[Pair]:
    """Numbers of both results by their place; of lists only those whose items have names, since places move."""
    of_a, of_b = dict(_numbers(a.result)), dict(_numbers(b.result))
    taken = {"seconds taken": (_seconds(a), _seconds(b))}
    pairs = {**taken, **{name: (of_a.get(name), of_b.get(name)) for name in dict.fromkeys([*of_a, *of_b])}}
    made = [_figure(name, x, y) for name, (x, y) in pairs.items() if x is not None or y is not None]
    return made[:MOST_FIGURES]


def _seconds(task: Task) -> float | None:
    if task.started_at is None or task.finished_at is None:
        return None
    return round((task.finished_at - task.started_at).total_seconds(), 1)


def _numbers(value: Any, place: str = "", depth: int = 0) -> Iterator[tuple[str, float]]:
    if depth > 5:
        return
    if isinstance(value, bool):
        return
    if isinstance(value, int | float):
        yield place, value
    elif isinstance(value, Mapping):
        for key, inner in value.items():
            yield from _numbers(inner, f"{place} {str(key).replace('_', ' ')}".strip(), depth + 1)
    elif isinstance(value, list):
        for item in value:
            name = _name_of(item)
            if name:
                yield from _numbers(item, f"{place}: {name}", depth + 1)


def _name_of(item: Any) -> str | None:
    return (
        next((item[key] for key in NAMES if isinstance(item.get(key), str)), None)
        if isinstance(item, Mapping)
        else None
    )


def _figure(name: str, a: float | None, b: float | None) -> Pair:
    change = None if a is None or b is None else b - a
    signed = None if change is None else _number(change, "+") if change else "0"
    return Pair(name, _number(a), _number(b), signed)


def _number(value: float | None, sign: str = "") -> str:
    if value is None:
        return ABSENT
    whole = isinstance(value, int) or (value.is_integer() and abs(value) < 1e15)
    if whole:
        return format(int(value), f"{sign},")
    return format(value, f"{sign},.1f" if abs(value) >= 1000 else f"{sign},.4g")


def _text(task: Task) -> tuple[str, bool]:
    """The result as text, one sentence a line; and whether it was cut. Markdown where the kind makes some."""
    kind = known(task.kind)
    way = kind.downloads.get("md") if kind else None
    made = way.make("", task.result or {}) if way else json.dumps(task.result, ensure_ascii=False, indent=2)
    text = made.decode("utf-8", "replace") if isinstance(made, bytes) else made
    lines = [MARKS.sub("", part) for line in text.strip().splitlines() for part in _sentences(line)]
    if lines and lines[0].strip("# ") == "":
        lines = lines[1:]  # the heading, which stands above both
    return "\n".join(lines[:MOST_LINES]).strip(), len(lines) > MOST_LINES


def _sentences(line: str) -> list[str]:
    """Each sentence with the marks of its sources."""
    return (
        re.sub(r"([.!?](?:\s*\[\d+\])*)\s+(?=[^\s\[])", r"\1\n", line).split("\n") if len(line) > LONG_LINE else [line]
    )
