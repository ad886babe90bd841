"""Things with a recognisable form: addresses, dates, amounts, names by their capitals. Patterns, not understanding.

What the pattern says is what was found: a capitalised run may be a person, a place or the beginning of a title.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Callable, Iterator
from typing import Any

METHOD = "Patterns: forms of addresses, dates and amounts; names by capital letters"
MOST = 200  # different ones of a kind
PLACES = 20  # kept of each

MONTH = (
    r"(?:jan(?:uary|uar|vier)?|feb(?:ruary|ruar)?|février|mar(?:ch|s|zo)?|märz|apr(?:il)?|avril|ma[iy]o?|juni?e?|juin|july?|juli|juillet|"
    r"aug(?:ust)?|août|sept?(?:ember|embre)?|o[ck]t(?:ober|obre)?|nov(?:ember|embre)?|de[cz](?:ember)?|décembre)"
)
CURRENCY = r"(?:US\$|A\$|C\$|[$€£¥₹]|(?:USD|EUR|GBP|CHF|JPY|CNY|INR|CAD|AUD|SEK|NOK|DKK|PLN)\b)"
AMOUNT = r"\d{1,3}(?:[ ,.'’]\d{3}){0,6}(?:[.,]\d{1,2})?(?!\d)|\d{1,15}(?:[.,]\d{1,2})?"
SCALE = r"(?:\s?(?:thousand|million|billion|trillion|Million(?:en)?|Mio|Milliarden|Mrd|millions?|milliards?|[kKmMbB]n?)\b\.?)?"
LABEL = r"[A-Za-z0-9](?:[A-Za-z0-9-]{0,62})"
NAME_WORD = r"[^\W\d_a-zß-öø-ÿ][^\W\d_]{1,30}(?:['’-][^\W\d_]{1,30}){0,2}"
JOIN = r"(?:of|de|der|den|van|von|zu|du|la|le|del|di|da|and|&|the)"

PATTERNS: dict[str, re.Pattern[str]] = {
    "email": re.compile(rf"(?<![\w.+-])[A-Za-z0-9][\w.+-]{{0,63}}@(?:{LABEL}\.){{1,6}}[A-Za-z]{{2,24}}\b"),
    "url": re.compile(r"\b(?:https?://|www\.)[^\s<>\"'“”)\]]{3,500}"),
    "iban": re.compile(r"\b[A-Z]{2}\d{2}(?: ?[A-Z0-9]{4}){2,7}(?: ?[A-Z0-9]{1,3})?\b"),
    "ip_address": re.compile(r"(?<![\d.])(?:\d{1,3}\.){3}\d{1,3}(?![\d.])"),
    "date": re.compile(
        rf"\b\d{{4}}-\d{{2}}-\d{{2}}\b|\b\d{{1,2}}\.\s?\d{{1,2}}\.\s?\d{{2,4}}\b|\b\d{{1,2}}/\d{{1,2}}/\d{{2,4}}\b|"
        rf"\b\d{{1,2}}(?:st|nd|rd|th|\.|er)?\s(?:of\s)?{MONTH}\.?(?:,?\s\d{{4}})?\b|\b{MONTH}\.?\s\d{{1,2}}(?:st|nd|rd|th)?(?:,?\s\d{{4}})?\b|"
        rf"\b{MONTH}\s\d{{4}}\b",
        re.IGNORECASE,
    ),
    "time": re.compile(r"\b(?:[01]?\d|2[0-3]):[0-5]\d(?::[0-5]\d)?(?:\s?[ap]\.?m\b\.?)?|\b(?:1[0-2]|[1-9])\s?[ap]\.?m\b\.?", re.IGNORECASE),
    "money": re.compile(rf"{CURRENCY}\s?(?:{AMOUNT}){SCALE}|\b(?:{AMOUNT}){SCALE}\s?(?:[€£¥₹]|{CURRENCY}|(?:euros?|dollars?|pounds?|francs?|Euro|Franken)\b)"),
    "percentage": re.compile(r"(?<![\w.,])[+−-]?\d{1,6}(?:[.,]\d{1,6})?\s?(?:%|‰|per ?cent\b|Prozent\b)"),
    "phone": re.compile(r"(?<![\w+])\+\d{1,3}[ \-./]?(?:\(\d{1,5}\)[ \-./]?)?\d{1,5}(?:[ \-./]?\d{2,5}){1,4}(?!\w)"),
    "hashtag": re.compile(r"(?<![\w&/#])#[^\W\d_]\w{1,60}"),
    "mention": re.compile(r"(?<![\w.@/])@[A-Za-z_]\w{1,40}\b(?!\.\w)"),
    "organisation": re.compile(
        rf"\b(?:{NAME_WORD}\s(?:(?:&|and|of|für|de)\s)?){{1,5}}(?:Inc|Ltd|LLC|Corp|Corporation|Company|Co|GmbH|AG|SE|KG|plc|PLC|S\.A|SA|NV|BV|"
        r"University|Institute|Universität|Foundation|Association|Bank|Council|Ministry|Agency|Commission|Group)\b\.?"
    ),
    "name": re.compile(rf"\b{NAME_WORD}(?:\s(?:{JOIN}\s){{0,2}}{NAME_WORD}){{1,4}}\b"),
}  # fmt: skip
LABELS = {
    "email": "Email addresses", "url": "Links", "iban": "Bank accounts (IBAN, checked)", "ip_address": "IP addresses", "date": "Dates",
    "time": "Times", "money": "Amounts of money", "percentage": "Percentages", "phone": "Phone numbers", "hashtag": "Hashtags",
    "mention": "Mentions", "organisation": "Organisations (by their last word)", "name": "Names (runs of capitals)",
}  # fmt: skip
STARTERS = re.compile(r"^(?:The|A|An|In|On|At|If|When|While|For|But|And|This|That|These|It|He|She|We|They|As|By|With|From|Der|Die|Das|Ein|Eine|"
                      r"Im|Am|Le|La|Les|Un|Une|El|Los|Las|Il|Lo|Gli)\s")  # fmt: skip


def entities(text: str, tick: Callable[[], None] = lambda: None) -> list[dict[str, Any]]:
    """[{kind, label, items: [{text, count, places: [[start, end], ...]}]}]; `text[start:end]` is the item's text."""
    taken: list[tuple[int, int]] = []
    groups = []
    for kind, pattern in PATTERNS.items():
        tick()
        found: dict[str, dict[str, Any]] = {}
        mine = []
        for start, end in _matches(text, kind, pattern, _Taken(taken)):
            mine.append((start, end))
            said = text[start:end]
            key = (
                " ".join(said.split()).casefold()
                if kind in ("email", "url", "name", "organisation")
                else " ".join(said.split())
            )
            if key not in found and len(found) >= MOST:
                continue
            row = found.setdefault(key, {"text": said, "count": 0, "places": []})
            row["count"] += 1
            if len(row["places"]) < PLACES:
                row["places"].append([start, end])
        taken = sorted([*taken, *mine])
        if found:
            items = sorted(found.values(), key=lambda row: (-row["count"], row["places"][0]))
            groups.append({"kind": kind, "label": LABELS[kind], "items": items})
    return groups


class _Taken:
    """Places that an earlier pattern has; asked in order, so one pass is enough."""

    def __init__(self, places: list[tuple[int, int]]) -> None:
        self.places, self.at = places, 0

    def covers(self, start: int, end: int) -> bool:
        while self.at < len(self.places) and self.places[self.at][1] <= start:
            self.at += 1
        return self.at < len(self.places) and self.places[self.at][0] < end


def _matches(text: str, kind: str, pattern: re.Pattern[str], taken: _Taken) -> Iterator[tuple[int, int]]:
    for match in pattern.finditer(text):
        start, end = match.span()
        if kind == "url":
            end -= len(match[0]) - len(match[0].rstrip(".,;:!?"))
        if kind == "name" and (starter := STARTERS.match(match[0])):
            start += starter.end()
            if " " not in text[start:end]:
                continue
        if not taken.covers(start, end) and CHECKS.get(kind, _fine)(text[start:end]):
            yield start, end


def _fine(said: str) -> bool:
    return True


def _iban(said: str) -> bool:
    """ISO 13616: moved and read as a number, the remainder by 97 is 1."""
    plain = said.replace(" ", "")
    if not 15 <= len(plain) <= 34:
        return False
    return int("".join(str(int(sign, 36)) for sign in plain[4:] + plain[:4])) % 97 == 1


def _ip(said: str) -> bool:
    try:
        ipaddress.ip_address(said)
    except ValueError:
        return False
    return True


def _date(said: str) -> bool:
    parts = [int(one) for one in re.findall(r"\d+", said)]
    if re.search(r"[^\W\d_]", said):
        return all(one <= 31 or one >= 1000 for one in parts)
    year_first = parts[0] > 31
    day, month = (parts[2], parts[1]) if year_first else (parts[0], parts[1])
    return min(day, month) >= 1 and max(day, month) <= 31 and min(day, month) <= 12


def _phone(said: str) -> bool:
    return 8 <= sum(map(str.isdigit, said)) <= 15


CHECKS: dict[str, Callable[[str], bool]] = {"iban": _iban, "ip_address": _ip, "date": _date, "phone": _phone}
