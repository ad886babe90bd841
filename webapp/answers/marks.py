"""Citation marks in what a model wrote: found in the shapes models use, made one shape, absent ones taken out.

Code is left alone: `a[1]` is an index there.
"""

from __future__ import annotations

import re
from collections.abc import Callable

CODE = re.compile(r"(```.*?(?:```|\Z)|~~~.*?(?:~~~|\Z)|``.+?``|`[^`\n]+`)", re.S)
NUMBERS = r"\^?(?:sources?|src|refs?|docs?|documents?|quelle)?[ .:#]{0,3}[1-9]\d{0,2}(?:[ ]{0,2}(?:[,;&–-]|and|und)[ ]{0,2}(?:sources?)?[ #]{0,2}\d{1,3}){0,20}"
MARK = re.compile(
    rf"(?:\[(?P<square>{NUMBERS})\]|【(?P<wide>{NUMBERS})(?:†[^】]{{0,40}})?】)(?:\([^()\s]{{0,500}}\))?", re.I
)
LIST = re.compile(r"(\d{1,3})(?:[ ]{0,2}[–-][ ]{0,2}(\d{1,3}))?")
RUN = re.compile(
    rf"(?P<stop>[.!?…]?)(?P<blank>[ \t]*)(?P<marks>(?:{MARK.pattern.replace('?P<square>', '?:').replace('?P<wide>', '?:')}[ \t,]*)+)(?P<after>[.!?…]?)",
    re.I,
)
MOST = 50  # of one range


def outside_code(text: str, change: Callable[[str], str]) -> str:
    """`change` applied to everything that is not code."""
    return "".join(part if number % 2 else change(part) for number, part in enumerate(CODE.split(text)))


def settled(text: str, known: frozenset[int]) -> str:
    """Marks as `[1][2]`, right behind the full stop of their sentence; of numbers that are not known, none."""
    return outside_code(text, lambda part: RUN.sub(lambda run: _run(run, known), part))


def _run(run: re.Match[str], known: frozenset[int]) -> str:
    marks = "".join(f"[{number}]" for number in numbers(run["marks"]) if number in known)
    stop = run["stop"] or run["after"]
    tail = " " if run["marks"][-1:] in " \t" and not run["after"] else ""
    if stop:
        return f"{stop}{marks}{tail}"
    return f"{run['blank'] if marks else ''}{marks}{tail or ''}"


def numbers(text: str) -> list[int]:
    """What marks name, each once, in order."""
    found: dict[int, None] = {}
    for mark in MARK.finditer(text):
        for one in LIST.finditer(mark["square"] or mark["wide"]):
            first = int(one[1])
            last = int(one[2]) if one[2] else first
            found.update(dict.fromkeys(range(first, min(last, first + MOST) + 1)))
    return list(found)


def without(text: str) -> str:
    """The text as it reads without marks."""
    return " ".join(re.sub(r"[ \t]+([.!?,;:])", r"\1", MARK.sub("", text)).split())
