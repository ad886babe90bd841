"""Paths into JSON, and text with places that are filled from it. No expressions: a path is looked up, nothing is run.

A path is names with dots and numbers in brackets: `items[0].name`, `a.b`, `["a name"].x`; `[*]` takes every item of a list.
A place is `{{ path }}`. What stands in a filled value is never looked at again, so data cannot ask for more data (A36).
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from typing import Any

LONGEST_PATH = 300
DEEPEST = 20  # steps of a path
MOST_FOUND = 10_000  # values that `[*]` gives
LONGEST = 1_000_000  # characters of a filled text

STEP = re.compile(
    r"""\.?([^\W\d]\w*(?:-\w+)*|\d+)|\[(?:(-?\d{1,9})|(\*)|"([^"\]]{1,200})"|'([^'\]]{1,200})')\]"""
)  # a name, a number, every item, a quoted name
PLACE = re.compile(r"\{\{([^{}]{1,320})\}\}")
EVERY = object()

Step = str | int | object


class BadPath(ValueError):
    """It is no path."""


class Missing(LookupError):
    """There is nothing at the path."""


def parse(path: str) -> list[Step]:
    """The steps of a path. Raises BadPath with a sentence for people."""
    text = path.strip()
    if not text or len(text) > LONGEST_PATH:
        raise BadPath(f"a path has 1 to {LONGEST_PATH} characters, such as items[0].name")
    steps: list[Step] = []
    at = 0
    while at < len(text):
        found = STEP.match(text, at)
        if found is None or (at == 0 and text[0] == "."):
            raise BadPath(f"“{text[:80]}” is not a path such as items[0].name")
        name, number, every, double, single = found.groups()
        if at and name and text[at] != ".":
            raise BadPath(f"“{text[:80]}” is not a path such as items[0].name")
        steps.append(EVERY if every else int(number) if number is not None else name or double or single)
        at = found.end()
        if len(steps) > DEEPEST:
            raise BadPath(f"“{text[:80]}” is deeper than {DEEPEST} steps")
    return steps


def look(value: Any, path: str) -> Any:
    """What is at `path`. Raises Missing when there is nothing, BadPath when it is no path."""
    return _walk(value, parse(path), path.strip())


def _walk(value: Any, steps: list[Step], path: str) -> Any:
    for number, step in enumerate(steps):
        if step is EVERY:
            if not isinstance(value, list):
                raise Missing(f"there is no list at {path}")
            return _each(value, steps[number + 1 :], path)
        value = _one(value, step, path)
    return value


def _each(items: list[Any], rest: list[Step], path: str) -> list[Any]:
    """Items that lack what is asked for are left out."""
    if rest.count(EVERY) > 1:
        raise BadPath("a path may say [*] twice at the most")
    found: list[Any] = []
    for item in items:
        try:
            got = _walk(item, rest, path)
        except Missing:
            continue
        found += got if EVERY in rest else [got]
        if len(found) > MOST_FOUND:
            raise Missing(f"{path} gives more than {MOST_FOUND:,} values")
    return found


def _one(value: Any, step: Step, path: str) -> Any:
    if isinstance(value, dict) and str(step) in value:
        return value[str(step)]
    if isinstance(value, list) and str(step).lstrip("-").isdigit():
        place = int(str(step))
        if -len(value) <= place < len(value):
            return value[place]
    raise Missing(f"there is nothing at {path}")


def places(text: str) -> list[str]:
    """The paths a text asks for, in order."""
    return [found[1].strip() for found in PLACE.finditer(text)]


def fill(text: str, source: Callable[[str], Any]) -> Any:
    """`text` with its places filled by `source(path)`; a text that is one place only gives the value itself.

    Raises what `source` raises, and Missing when the whole becomes too long.
    """
    whole = PLACE.fullmatch(text.strip())
    if whole is not None:
        return source(whole[1].strip())
    parts: list[str] = []
    at = length = 0
    for found in PLACE.finditer(text):
        parts += [text[at : found.start()], as_text(source(found[1].strip()))]
        at = found.end()
        length += len(parts[-1]) + len(parts[-2])
        if length > LONGEST:
            raise Missing(f"the text becomes longer than {LONGEST:,} characters")
    return "".join([*parts, text[at:]])


def fill_all(value: Any, source: Callable[[str], Any], depth: int = 0) -> Any:
    """As `fill` for every text inside of lists and objects; names of fields stay."""
    if isinstance(value, str):
        return fill(value, source)
    if depth > DEEPEST:
        raise Missing(f"deeper than {DEEPEST} levels")
    if isinstance(value, list):
        return [fill_all(one, source, depth + 1) for one in value]
    if isinstance(value, dict):
        return {name: fill_all(one, source, depth + 1) for name, one in value.items()}
    return value


def as_text(value: Any) -> str:
    if isinstance(value, str):
        return value
    return "" if value is None else json.dumps(value, ensure_ascii=False)
