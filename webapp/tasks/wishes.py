"""What somebody wrote in their own words, read by rules: which kind of task, with what.

Only what stands in the text is taken. What was recognised is told, and what was not is told too: a person checks the
form before anything starts. Knows no Flask and no model.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Any

from webapp.tasks import forms
from webapp.tasks.forms import Field, Raw
from webapp.tasks.kinds import TaskKind, kinds

LONGEST = 100_000  # characters of a wish; a longer text goes into a form
Span = tuple[int, int]


@dataclass
class Wish:
    """kind None: it could not be told. read: (what, value) for people. unread: words that nothing was made of."""

    text: str
    kind: TaskKind | None = None
    because: str = ""
    raw: Raw = field(default_factory=dict)
    read: list[tuple[str, str]] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    unread: str = ""


# -- which kind ------------------------------------------------------------------------------------------------------

# In this order: the first that speaks wins. Each needs a word that asks for it, not one that a text may happen to hold.
SIGNS: tuple[tuple[str, str], ...] = (
    ("summary", r"summari[sz]e|sum up|summary of|tl;?dr|condense|boil down|shorten|give me the gist|the gist of"),
    ("decision", r"decide (?:between|whether|which)|choose between|help me (?:decide|choose)|which (?:one )?is better|"
                 r"which of these|weigh (?:up )?|pros and cons|rank these options|compare (?:the )?options"),
    ("data_analysis", r"analy[sz]e (?:the |this |these |my )?(?:data|numbers|figures|table|csv|spreadsheet|values|measurements)|"
                      r"(?:statistics|correlations?|outliers|averages?|median|standard deviation) (?:of|in|for|between)|"
                      r"describe (?:the |this |these )?(?:data|numbers|values)"),
    ("nlp", r"(?:sentiment|readability|keywords?|key ?phrases|entities|language) (?:of|in|from)|extract (?:the )?(?:keywords?|entities|names)|"
            r"(?:which|what) language is"),
    ("content_generation", r"(?:write|draft|compose|generate)(?: me| us)? (?:an? |the |some )?(?:[\w-]+ ){0,3}?"
                           r"(?:blog ?post|article|post|essay|report|e-?mail|newsletter|story|description|documentation|"
                           r"press release|announcement|speech|text|guide|tutorial|letter)"),
    ("api", r"(?:call|request|send (?:a )?request to) (?:the )?(?:api|endpoint)|\b(?:GET|POST|PUT|PATCH|DELETE) https?://"),
    ("research", r"research|investigate|find out|look into|what is known about|answer (?:these|the following) questions|"
                 r"compare (?:what )?(?:these|the) (?:pages|sources)"),
)  # fmt: skip
QUESTION = re.compile(r"(?:^|(?<=[.!?:\n])\s*)([^.!?:\n]{3,300}\?)")
URL = re.compile(r"https?://[^\s<>\"'`]+", re.IGNORECASE)
COUNTED = "zero one two three four five six seven eight nine ten eleven twelve"
MORE_NUMBERS = {
    "fifteen": 15,
    "twenty": 20,
    "thirty": 30,
    "forty": 40,
    "fifty": 50,
    "sixty": 60,
    "eighty": 80,
    "a": 1,
    "an": 1,
}
NUMBER_WORDS = {word: number for number, word in enumerate(COUNTED.split())} | MORE_NUMBERS
AMOUNT = r"(\d[\d,.]{0,6}|(?:(?:an?|one|two|three|four|five|six|seven|eight|nine) (?:hundred|thousand))|[a-z]+)"
LENGTHS = (
    re.compile(rf"(?:in|to|within|under|below|at most|no more than|up to|about|around|of|with|exactly)\s+"
               rf"(?:about |around |at most |roughly )?{AMOUNT}[ -]words?\b", re.IGNORECASE),
    re.compile(rf"\b{AMOUNT}[ -]words?\b(?: long)?", re.IGNORECASE),
)  # fmt: skip
TONE = re.compile(
    r"(?:in|with) an? ([a-z-]+)(?: and ([a-z-]+))? (?:tone|style|voice|way)\b|\b(?:tone|style): ?([a-z-]+)"
    r"|, ?([a-z-]+) (?:tone|style)\b",
    re.IGNORECASE,
)
KEYWORDS = re.compile(r"(?:keywords?|key words|mention(?:ing)?|using the words?)[: ]+([^.\n;]{2,300})", re.IGNORECASE)
TOPIC = re.compile(
    r"(?:\babout|\bon the (?:topic|subject) of|\bon|\binto|\btopic:|\bregarding)\s+([^\n.?!;:]{3,200})", re.IGNORECASE
)
CLAIMED = re.compile(
    rf"\b(?:these|the|those|following)\s+{AMOUNT}\s+(?:web ?)?(?:pages?|links?|articles?|sources?|sites?|urls?)\b",
    re.IGNORECASE,
)
OPTIONS = re.compile(
    r"(?:between|whether(?: to)?|better,?|options?:|choose:?|weigh up)\s+([^\n?!.]{3,400})", re.IGNORECASE
)
METHOD = re.compile(r"\b(GET|POST|PUT|PATCH|DELETE)\s+(?=https?://)")
IDLE_WORDS = """a an the this that these those them it its of in on at to for from with by and or please could would can
    you i me my we us our want need like give make do some page pages link links article articles source sources website
    websites url urls text following below here let have get about as is are be so just also now then thanks thank what
    which who how much many question questions"""
IDLE = frozenset(IDLE_WORDS.split())

Names = tuple[str, ...]
# What a rule finds -> the fields it may be for, the best name first.
PLACES: dict[str, Names] = {
    "links": ("urls", "url", "endpoint", "data_url"), "length": ("max_length", "length", "word_count", "words", "target_words"),
    "tone": ("tone", "style", "voice"), "questions": ("questions", "question"), "topic": ("topic", "subject", "question", "title", "goal"),
    "question": ("question",), "text": ("content", "text", "data", "input", "values"), "keywords": ("keywords",), "type": ("content_type", "format"),
    "options": ("options", "alternatives", "choices"), "method": ("method",),
}  # fmt: skip


def read(text: str) -> Wish:
    """What can be told from it. Never raises; what is not there stays empty."""
    wish = Wish(text[:LONGEST].replace("\0", ""))
    order, body = _parted(wish.text)
    _choose(wish, order)
    return _filled(wish, order, body)


def for_kind(text: str, name: str) -> Wish:
    """The same when a person said which kind it is."""
    wish = Wish(text[:LONGEST].replace("\0", ""), kinds.get(name))
    return _filled(wish, *_parted(wish.text))


def _filled(wish: Wish, order: str, body: str) -> Wish:
    if wish.kind is not None:
        fields = {one.name: one for one in forms.fields_of(wish.kind)}
        _Reader(wish, order, body, fields).fill()
    return wish


def _parted(text: str) -> tuple[str, str]:
    """The order and the text it is about: what follows a colon at a line's end, or a blank line after a short one."""
    head, gap, rest = text.strip().partition("\n")
    if gap and rest.strip() and len(head) <= 400 and not _only_links(rest):
        return head, rest.strip()
    short = re.match(r"^([^:\n]{5,200}):\s+(?!//)(.{40,})$", text.strip(), re.DOTALL)
    if short and not URL.match(short[2]):
        return short[1], short[2].strip()
    return text.strip(), ""


def _only_links(text: str) -> bool:
    return all(URL.fullmatch(word.strip(".,;")) for word in text.split())


def _choose(wish: Wish, order: str) -> None:
    offered = {name: kind for name, kind in kinds.all() if not kind.hidden and kind.offered}
    plain = URL.sub(" ", order) if not METHOD.search(order) else order
    for name, signs in SIGNS:
        found = re.search(rf"\b(?:{signs})", plain, 0 if name == "api" else re.IGNORECASE) if name in offered else None
        if found:
            wish.kind, wish.because = offered[name], found[0].strip()
            return
    for name, kind in offered.items():  # a stranger's kind is asked for by its name
        found = re.search(rf"\b{re.escape(kind.label)}\b|\b{re.escape(name.replace('_', ' '))}\b", plain, re.IGNORECASE)
        if found and len(kind.label) > 3:
            wish.kind, wish.because = kind, found[0]
            return
    if "research" in offered and URL.search(order) and QUESTION.search(plain):
        wish.kind, wish.because = offered["research"], "questions about pages"


# -- with what -------------------------------------------------------------------------------------------------------


class _Reader:
    """Goes through the rules once; remembers which characters of the order were understood."""

    def __init__(self, wish: Wish, order: str, body: str, fields: dict[str, Field]) -> None:
        self.wish, self.order, self.body, self.fields = wish, order, body, fields
        self.used: list[Span] = []

    def fill(self) -> None:
        self._use(re.escape(self.wish.because))
        self.links()
        self.amount()
        for rule in ("tone", "keywords", "type", "method", "questions", "options", "topic", "text"):
            getattr(self, rule)()
        self.wish.unread = self._left()

    # Each rule puts into the form what it found, where the kind has a place for it.

    def links(self) -> None:
        found = [match[0].rstrip(".,;:!?)]}'") for match in URL.finditer(self.wish.text)]
        links = list(dict.fromkeys(found))
        self._use(URL)
        if links:
            many = f"{len(links)} link{'s' if len(links) > 1 else ''}"
            if not self._put("links", links, many):
                self.wish.notes.append(f"{many} found, but this kind of task takes none.")
        claimed = CLAIMED.search(self.order)
        number = _number(claimed[1]) if claimed else None
        if claimed and number is not None:
            self._use(CLAIMED)
            if number != len(links):
                were = "link was" if len(links) == 1 else "links were"
                self.wish.notes.append(f"You write of {claimed[1]}; {len(links) or 'no'} {were} found.")

    def amount(self) -> None:
        for pattern in LENGTHS:
            for match in pattern.finditer(self.order):
                number = _number(match[1])
                if number:
                    self.used.append(match.span())
                    if not self._put("length", number, f"{number:,} words"):
                        self.wish.notes.append(f"{number:,} words is no length that this kind of task takes.")
                    return

    def tone(self) -> None:
        match = TONE.search(self.order)
        if match:
            tone = " and ".join(part for part in match.groups() if part)
            if self._put("tone", tone.lower(), tone):
                self.used.append(match.span())

    def keywords(self) -> None:
        match = KEYWORDS.search(self.order)
        words = [word.strip(" \"'") for word in re.split(r",| and ", match[1])] if match else []
        if match and self._put("keywords", [word for word in words if word], ", ".join(words)):
            self.used.append(match.span())

    def type(self) -> None:
        one = next((self.fields[name] for name in PLACES["type"] if name in self.fields), None)
        if one is None:
            return
        for value, label in one.options:
            said = re.search(rf"\b{re.escape(value).replace('_', '[ -]?')}\b", self.order, re.IGNORECASE)
            if said:
                self._put("type", value, label)
                self.used.append(said.span())
                return

    def method(self) -> None:
        match = METHOD.search(self.order)
        if match and self._put("method", match[1], match[1]):
            self.used.append(match.span())

    def questions(self) -> None:
        text = URL.sub(" ", self.order) + "\n" + (URL.sub(" ", self.body) if self._asks() else "")
        found = [match[1].strip(" -*\t") for match in QUESTION.finditer(text)]
        if found and self._put("questions", found, f"{len(found)} question{'s' if len(found) > 1 else ''}"):
            self._use(QUESTION)
            if self._asks():
                self.body = ""

    def _asks(self) -> bool:
        """Whether the text below the order is questions (and links) and no text to work on."""
        said = [one.strip() for one in re.split(r"(?<=[.!?])\s+|\n", URL.sub(" ", self.body)) if one.strip()]
        return bool(said) and all(one.endswith("?") for one in said)

    def options(self) -> None:
        match = OPTIONS.search(self.order)
        one = self.fields.get("options")
        if match is None or one is None:
            return
        parts = [part.strip(" ,.:") for part in re.split(r",| or | and | vs\.? | versus ", match[1])]
        parts = [re.split(r"\s(?:for|as|when|if)\s", part)[0] for part in parts if part]
        if len(parts) >= 2:
            self._put("options", parts, ", ".join(parts))
            self.used.append(match.span())

    def topic(self) -> None:
        wanted = any(name in self.fields and name not in self.wish.raw for name in PLACES["topic"])
        if not wanted or "content" in self.fields:
            return
        if "question" in self.fields and "options" in self.wish.raw:  # what is to be decided is the whole of it
            words = " ".join(URL.sub(" ", self.order).split())
            if self._put("question", words, words):
                self.used.append((0, len(self.order)))
            return
        plain = "".join(" " if self._is_used(at) else char for at, char in enumerate(self.order))
        after = re.compile(re.escape(self.wish.because) + r"\s+([^\n.?!;:]{3,200})", re.IGNORECASE)
        match = TOPIC.search(plain) or after.search(self.order)
        words = re.sub(r"\s+", " ", match[1]).strip(" ,-") if match else ""
        words = re.sub(r"^(?:the|this|that|these|those)?\s*(?:following|below|questions?|pages?|links?)*\s*$", "", words,
                       flags=re.IGNORECASE)  # fmt: skip
        if match and words and self._put("topic", words, words):
            self.used.append(match.span())

    def text(self) -> None:
        if self.body and self._put("text", self.body, f"{len(self.body.split()):,} words of text"):
            self.body = ""

    # ---

    def _put(self, what: str, value: Any, told: str) -> bool:
        """Into the first field of a fitting name that is empty and can hold it."""
        for name in PLACES[what]:
            one = self.fields.get(name)
            if one is None or name in self.wish.raw:
                continue
            typed = _typed(one, value)
            if typed is None:
                continue
            self.wish.raw[name] = typed
            self.wish.read.append((one.label, told))
            return True
        return False

    def _use(self, pattern: str | re.Pattern[str]) -> None:
        if pattern:
            self.used += [match.span() for match in re.finditer(pattern, self.order)]

    def _is_used(self, at: int) -> bool:
        return any(start <= at < end for start, end in self.used)

    def _left(self) -> str:
        """Words of the order that say something and of which nothing was made."""
        plain = "".join("\n" if self._is_used(at) else char for at, char in enumerate(self.order))
        pieces = [re.sub(r"\s+", " ", piece).strip(" ,.;:!?-") for piece in plain.split("\n")]
        return " … ".join(piece for piece in pieces if _says_something(piece))[:300]


def _says_something(piece: str) -> bool:
    return any(word.lower() not in IDLE for word in re.findall(r"[^\W\d_]{2,}|\d+", piece))


def _typed(one: Field, value: Any) -> Any:
    """The value as it would be typed into this control; None where it does not fit."""
    items = value if isinstance(value, list) else [value]
    if one.control == "rows":
        name = next((f.name for f in one.fields if f.control in ("text", "textarea")), None)
        return [{name: str(item)} for item in items[: one.most]] if name and not one.variants else None
    if one.control == "select":
        wanted = str(items[0]).casefold()
        return next((v for v, label in one.options if wanted in (v.casefold(), label.casefold())), None)
    if one.control == "number":
        low, high = one.attrs.get("min", value), one.attrs.get("max", value)
        return str(value) if isinstance(value, int) and low <= value <= high else None
    if one.control in ("lines", "words"):
        return "\n".join(str(item) for item in (items[: one.most] if one.most else items))
    if one.control in ("text", "textarea", "url", "json") and len(items) == 1:
        return str(items[0]) if len(str(items[0])) <= one.attrs.get("maxlength", LONGEST) else None
    return None


def _number(text: str) -> int | None:
    words = text.lower().replace(",", "").split()
    if len(words) == 1 and re.fullmatch(r"\d{1,6}", words[0].rstrip(".")):
        return int(words[0].rstrip("."))
    first = NUMBER_WORDS.get(words[0]) if words else None
    if first is None or len(words) > 2:
        return None
    scale = {"hundred": 100, "thousand": 1000}.get(words[1], 0) if len(words) == 2 else 1
    return first * scale or None


__all__ = ["LONGEST", "Wish", "for_kind", "read"]
