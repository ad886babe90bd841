"""What the cells of a column mean: numbers, dates, yes and no, categories or text. Runs in the child.

A column is judged by its different values and how often each stands. Where a value could be read in two ways (1,234 or
03/04/2025) nothing is guessed: the column stays text, with a note that says which parameter decides.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import numpy as np

MISSING = frozenset(
    ("", "#N/A", "#N/A N/A", "#NA", "-1.#IND", "-1.#QNAN", "-NaN", "-nan", "1.#IND", "1.#QNAN", "<NA>", "N/A", "NA",
     "NULL", "NaN", "None", "n/a", "nan", "null")
)  # fmt: skip
MOST = 0.95  # of the cells that must fit a meaning; the rest is counted and shown as unreadable
YES_NO = (
    ("false", "true"), ("no", "yes"), ("n", "y"), ("f", "t"), ("off", "on"), ("nein", "ja"), ("falsch", "wahr"),
    ("non", "oui"), ("no", "sí"), ("no", "si"), ("faux", "vrai"),
)  # fmt: skip
CATEGORIES = 1000  # different values beyond which a column is text
LONG_LABEL = 80  # mean characters beyond which it is text, too

UNITS = "€$£¥₹%"
CODES = ("EUR", "USD", "GBP", "CHF", "JPY")
UNIT = re.compile(
    rf"^([-+(]?)\s*([{UNITS}]|{'|'.join(CODES)})\s*(?=[-+\d.,(])|(?<=[\d).,])\s*([{UNITS}]|{'|'.join(CODES)})(\)?)$"
)
PLAIN = re.compile(r"[-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d{1,3})?")
POINT = re.compile(
    r"[-+]?(?:\d{1,3}(?:,\d{3})+|\d{1,3}(?:[ \u00a0\u202f'’]\d{3})+|\d+)?(?:\.\d+)?(?:[eE][-+]?\d{1,3})?"
)
COMMA = re.compile(
    r"[-+]?(?:\d{1,3}(?:\.\d{3})+|\d{1,3}(?:[ \u00a0\u202f'’]\d{3})+|\d+)?(?:,\d+)?(?:[eE][-+]?\d{1,3})?"
)
TWO_WAYS = re.compile(r"[-+]?\d{1,3}[,.]\d{3}")
CODE = re.compile(r"[-+]?0\d|[-+]?\d{16}")  # a code and no quantity: leading zeros, or more digits than a number keeps

ISO = re.compile(r"\d{4}-\d\d(?:-\d\d(?:[T ]\d\d:?\d\d(?::?\d\d(?:[.,]\d{1,9})?)?\s?(?:Z|[+-]\d\d:?\d\d)?)?)?")
DATE_LIKE = re.compile(
    r"\d{1,4}[-/. ]\s?\w{1,9}\.?(?:[-/. ,]+\d{2,4})?(?:,?\s.*)?|[A-Za-z]{3,9}\.?\s\d{1,4}(?:,?\s\d{4})?(?:\s.*)?"
)
TIMES = ("", " %H:%M", " %H:%M:%S", ", %H:%M", " %I:%M %p")
DAY_FIRST = ("%d/%m/%Y", "%d-%m-%Y", "%d/%m/%y")
MONTH_FIRST = ("%m/%d/%Y", "%m-%d-%Y", "%m/%d/%y")
SURE = ("%d.%m.%Y", "%d.%m.%y", "%Y/%m/%d", "%Y.%m.%d", "%d %b %Y", "%d %B %Y", "%d-%b-%Y", "%d-%b-%y", "%d. %B %Y",
        "%b %d, %Y", "%B %d, %Y", "%b %Y", "%B %Y", "%b-%Y", "%Y/%m")  # fmt: skip


@dataclass
class Meaning:
    """What a column holds. `convert` turns labels into floats (number), int64 seconds (date) or codes 0, 1 (boolean)."""

    kind: str  # number, date, boolean, category, text
    convert: Callable[[Sequence[str]], Any] | None = None
    unit: str = ""
    style: str = ""  # how it is written, in words
    note: str = ""
    labels: list[str] = field(default_factory=list)  # of a boolean: what stands for no and yes


def infer(labels: Sequence[str], counts: Sequence[int], options: dict[str, Any]) -> Meaning:
    """options: `decimal` (auto, point, comma), `dates` (auto, day_first, month_first), `comma_file`.

    labels: the different values without the missing ones; counts: how often each stands. Raises nothing.
    """
    total = sum(counts)
    if not total:
        return Meaning("empty")
    found = _boolean(labels) or _number(labels, counts, total, options) or _date(labels, counts, total, options)
    if found is not None and found.kind != "text":
        return found
    said = found.note if found else ""
    length = sum(len(label) * count for label, count in zip(labels, counts, strict=True)) / total
    few = len(labels) <= CATEGORIES and len(labels) <= max(20, total / 2) and length <= LONG_LABEL
    unique = len(labels) == total and total >= 10
    return Meaning("category" if few and not unique else "text", note=said)


def _boolean(labels: Sequence[str]) -> Meaning | None:
    low = {label.casefold() for label in labels}
    pair = next((pair for pair in YES_NO if low == set(pair)), None)
    if pair is None:
        return None
    shown = [next(one for one in labels if one.casefold() == side) for side in pair]
    return Meaning("boolean", partial(_yes, pair[1]), labels=shown)


def _yes(word: str, labels: Sequence[str]) -> Any:
    return np.array([one.casefold() == word for one in labels], np.int8)


# --- numbers ----------------------------------------------------------------------------------------------------


def _number(labels: Sequence[str], counts: Sequence[int], total: int, options: dict[str, Any]) -> Meaning | None:
    bare: list[str] = []
    units: dict[str, int] = {}
    codes = 0
    for label, count in zip(labels, counts, strict=True):
        text, unit = split_unit(label)
        bare.append(text)
        units[unit] = units.get(unit, 0) + count
        codes += count if CODE.match(text) else 0
    if codes > total * (1 - MOST):
        return None
    point = sum(count for text, count in zip(bare, counts, strict=True) if text and POINT.fullmatch(text))
    comma = sum(count for text, count in zip(bare, counts, strict=True) if text and COMMA.fullmatch(text))
    if max(point, comma) < total * MOST:
        return None
    money = {unit for unit in units if unit}
    if len(money) > 1:
        return Meaning("text", note=f"it mixes the units {', '.join(sorted(money))}; it was left as text")
    mark = _mark(bare, point, comma, total, options)
    if mark is None:
        return Meaning("text", note="numbers like “1,234” could mean 1234 or 1.234; set `decimal` to decide")
    unit = next(iter(money), "")
    style = ("decimal comma" if mark == "comma" else "") or ("separated thousands" if _grouped(bare, mark) else "")
    return Meaning("number", lambda given: to_floats(given, mark), unit=unit, style=style)


def _mark(bare: list[str], point: int, comma: int, total: int, options: dict[str, Any]) -> str | None:
    if (wanted := options.get("decimal") or "auto") != "auto":
        return str(wanted)
    if point >= total * MOST > comma:
        return "point"
    if comma >= total * MOST > point:
        return "comma"
    if point != comma:  # what only one of the two can read decides
        return "point" if point > comma else "comma"
    two_ways = [text for text in bare if TWO_WAYS.fullmatch(text)]
    if not two_ways or all("." in text for text in two_ways):
        return "point"
    return "comma" if options.get("comma_file") else None


def _grouped(bare: list[str], mark: str) -> bool:
    return any(not PLAIN.fullmatch(text.replace(",", ".") if mark == "comma" else text) for text in bare[:1000] if text)


def split_unit(label: str) -> tuple[str, str]:
    """("1,200.50", "$") of "$1,200.50"; brackets mean a negative amount."""
    unit = ""
    if found := UNIT.search(label):
        unit = found[2] or found[3]
        label = (label[: found.start()] + (found[1] or "") + (found[4] or "") + label[found.end() :]).strip() \
            if found[2] else label[: found.start()] + (found[4] or "")  # fmt: skip
    if label.startswith("(") and label.endswith(")"):
        label = "-" + label[1:-1].strip()
    return label.replace("\u2212", "-").strip(), unit


def to_floats(labels: Sequence[str], mark: str) -> Any:
    """NaN for what is no number, or no finite one."""
    found = np.full(len(labels), np.nan)
    pattern, group, point = (COMMA, ".", ",") if mark == "comma" else (POINT, ",", ".")
    for at, label in enumerate(labels):
        text, _ = split_unit(label)
        if text and pattern.fullmatch(text):
            plain = re.sub(r"[ \u00a0\u202f'’]", "", text).replace(group, "").replace(point, ".")
            try:
                value = float(plain)
            except ValueError:
                continue
            if np.isfinite(value):
                found[at] = value
    return found


# --- dates ------------------------------------------------------------------------------------------------------


def _date(labels: Sequence[str], counts: Sequence[int], total: int, options: dict[str, Any]) -> Meaning | None:
    sample = list(labels[:500])
    if sum(1 for one in sample if ISO.fullmatch(one)) >= len(sample) * MOST:
        return _as_date(labels, counts, total, "ISO8601", "")
    if sum(1 for one in sample if DATE_LIKE.fullmatch(one)) < len(sample) * MOST:
        return None
    order = options.get("dates") or "auto"
    for base in SURE:
        if found := _timed(labels, counts, total, sample, base):
            return found
    first = [found for base in DAY_FIRST if (found := _timed(labels, counts, total, sample, base))]
    second = [found for base in MONTH_FIRST if (found := _timed(labels, counts, total, sample, base))]
    if first and second and order == "auto":
        return Meaning("text", note="its dates could be day or month first; set `dates` to decide")
    chosen = first if (first and order != "month_first") else second
    return chosen[0] if chosen else None


def _timed(labels: Sequence[str], counts: Sequence[int], total: int, sample: list[str], base: str) -> Meaning | None:
    for time in TIMES:
        if np.mean(to_seconds(sample, base + time) != NO_DATE) >= MOST:
            return _as_date(labels, counts, total, base + time, "")
    return None


def _as_date(labels: Sequence[str], counts: Sequence[int], total: int, pattern: str, note: str) -> Meaning | None:
    fits = to_seconds(labels, pattern) != NO_DATE
    if np.asarray(counts)[fits].sum() < total * MOST:
        return None
    if any(re.search(r"(?:Z|\d[+-]\d\d:?\d\d)$", label) for label in labels[:500]):
        note = "times with a zone were turned into UTC"
    return Meaning("date", lambda given: to_seconds(given, pattern), style=pattern, note=note)


NO_DATE = np.iinfo(np.int64).min


def to_seconds(labels: Sequence[str], pattern: str) -> Any:
    """Seconds since 1970 (UTC); NO_DATE for what does not fit."""
    import pandas as pd

    found = pd.to_datetime(pd.Series(list(labels), dtype=object), format=pattern, errors="coerce", utc=True)
    seconds = found.dt.tz_localize(None).to_numpy().astype("datetime64[s]")
    return np.where(np.isnat(seconds), NO_DATE, seconds.astype(np.int64))
