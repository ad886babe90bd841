"""How good a text is to answer from: a score of 0..1 out of signals that are measured and can be shown.

Pure: `assess` gets the text and what its reader noted, and returns the score with each signal's value, share and words
that explain it. The score is the weighted mean of the signals that apply to the kind of document, pulled down by the
worst of those that can make the rest worthless (CRITICAL). docs/benchmarks.md says how well it tells texts apart.

Readability is LIX (Björnsson 1968): words a sentence plus the percentage of words over six letters; it needs no
syllables, so that it means about the same in most languages that put blanks between words.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

Family = Literal["page", "document", "text", "data"]

SAMPLE = 100_000  # characters that are looked at; a long text is judged by its beginning, middle and end
ENOUGH_WORDS = 300
EASY, HARD, UNREADABLE = 20.0, 60.0, 100.0  # LIX: children's books, scientific prose, lists of names

# Weights by family. What was not measured (no page to compare with, no language found) is left out of the mean.
WEIGHTS: dict[Family, dict[str, float]] = {
    "page": {"length": 3, "readability": 2, "boilerplate": 2, "links": 3, "language": 1.5, "repetition": 2,
             "duplication": 2, "date": 0.5, "errors": 3},
    "document": {"length": 3, "readability": 2, "language": 1.5, "links": 1, "repetition": 2, "duplication": 2,
                 "structure": 1, "date": 0.5, "errors": 3},
    "text": {"length": 3, "readability": 2.5, "language": 1.5, "links": 1, "repetition": 2, "duplication": 2,
             "errors": 3},
    "data": {"length": 3, "repetition": 1, "duplication": 2, "structure": 2, "errors": 3},
}  # fmt: skip
LABELS = {
    "length": "Length", "readability": "Readability", "boilerplate": "Main text", "links": "Links in the text",
    "language": "Language", "repetition": "Repetition", "duplication": "Duplicates", "structure": "Structure",
    "date": "Date", "errors": "Errors",
}  # fmt: skip
# What is left of the score when this signal alone is worth nothing.
CRITICAL = {"length": 0.0, "errors": 0.0, "repetition": 0.4, "links": 0.4, "duplication": 0.5, "readability": 0.6}

CUT_OFF = "it ends like a text that was cut off"
REASON = 0.85  # a signal below it is a reason why the score is not higher

# Scripts without blanks between words, and how many of their characters count as one.
UNSPACED = ((re.compile("[\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff]"), 2),
            (re.compile("[\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff]"), 5))  # fmt: skip
WORD = re.compile(r"[^\W\d_]+(?:['’-][^\W\d_]+)*")
SENTENCE_END = re.compile(r"[.!?…。！？]+(?=[\s\"'”’)\]]|$)|\n{2,}|\n(?=[-#|>])")
LINK = re.compile(r"\[([^\[\]]{0,500})\]\([^()\s]{0,2000}\)")
# What servers and scripts say instead of a page; only short texts are looked at for them.
NOT_A_PAGE = re.compile(
    r"\b(?:404|403|500|502|503)\b.{0,40}\b(?:error|not found|forbidden|unavailable)\b|page (?:not found|does(?:n.t| not) exist)"
    r"|access denied|enable javascript|javascript is (?:disabled|required)|are you (?:a )?(?:human|robot)|captcha"
    r"|under construction|coming soon|please (?:log|sign) in|subscribe to (?:read|continue)",
    re.IGNORECASE,
)
MOJIBAKE = re.compile(r"Ã[\x80-\xbf©®±²³¶¼½¾¡¢£¤¥¦§¨ª«¬°´µ·¸¹º»¿]|â€[\x80-\xbf™œ\x9d“”˜¦]|Â[\xa0-\xbf]|\ufffd|ï¿½")


@dataclass(frozen=True)
class Signal:
    """name: key of LABELS; score 0..1; weight as in WEIGHTS; value: what was measured; note: in words."""

    name: str
    score: float
    weight: float
    value: float | int | str | None
    note: str

    @property
    def label(self) -> str:
        return LABELS[self.name]

    @property
    def cost(self) -> float:
        """How far it pulls the score down, to compare it with the others."""
        return (1 - self.score) * (self.weight + 10 * (1 - CRITICAL.get(self.name, 1.0)))


@dataclass(frozen=True)
class Quality:
    score: float
    family: Family
    signals: list[Signal] = field(default_factory=list)

    def as_json(self) -> dict[str, Any]:
        return {"score": self.score, "family": self.family,
                "signals": [asdict(one) | {"label": one.label} for one in self.signals],
                "reasons": self.reasons}  # fmt: skip

    @property
    def reasons(self) -> list[str]:
        """Why the score is not higher, what costs most first; at most three."""
        low = sorted((one for one in self.signals if one.score < REASON), key=lambda one: -one.cost)
        return [one.note for one in low[:3]]


def assess(
    text: str,
    *,
    content_type: str = "text/plain",
    meta: dict[str, Any] | None = None,
    language: str | None = None,
    published: str | None = None,
    warnings: list[str] | None = None,
    duplicate_of: str | None = None,
    similarity: float = 0.0,
) -> Quality:
    """meta: as `Extracted.meta`. similarity: 0..1 to the most similar other document, whose title is `duplicate_of`."""
    meta = meta or {}
    family = family_of(content_type)
    shown = _sample(text)
    words = WORD.findall(LINK.sub(r"\1", shown))
    count = max(int(meta.get("words") or len(text.split())), _unspaced(text))
    measured = {
        "length": _length(count, meta, family),
        "readability": _readability(shown, words),
        "boilerplate": _boilerplate(text, meta),
        "links": _links(shown, meta),
        "language": _language(language, meta),
        "repetition": _repetition(shown),
        "duplication": _duplication(duplicate_of, similarity),
        "structure": _structure(shown, count),
        "date": (1.0, published, f"dated {published}") if published else (0.0, None, "no date was found"),
        "errors": _errors(shown, words, count, warnings or [], _cut_off(text) if family == "page" else ""),
    }
    signals = [
        Signal(name, round(min(1.0, max(0.0, found[0])), 3), weight, found[1], found[2])
        for name, weight in WEIGHTS[family].items()
        if (found := measured[name]) is not None
    ]
    return Quality(_score(signals), family, signals)


def _score(signals: list[Signal]) -> float:
    mean = sum(one.score * one.weight for one in signals) / sum(one.weight for one in signals)
    worst = min(left + (1 - left) * one.score for one in signals if (left := CRITICAL.get(one.name, 1.0)) < 1)
    return round(mean * (0.4 + 0.6 * worst), 3)


def family_of(content_type: str) -> Family:
    kind = content_type.partition(";")[0].strip().lower()
    if kind in ("text/html", "application/xhtml+xml") or kind.endswith(("rss+xml", "atom+xml")):
        return "page"
    if kind in ("text/csv", "application/json", "application/xml", "text/xml") or "sheet" in kind or "excel" in kind:
        return "data"
    return "text" if kind.startswith("text/") else "document"


def _sample(text: str) -> str:
    if len(text) <= SAMPLE:
        return text
    third = SAMPLE // 3
    middle = len(text) // 2 - third // 2
    return "\n\n".join((text[:third], text[middle : middle + third], text[-third:]))


# -- signals: (score, value, note), or None where it cannot be measured ---------------------------------------------

Found = tuple[float, float | int | str | None, str]


def _length(words: int, meta: dict[str, Any], family: Family) -> Found:
    if family == "data" and (rows := meta.get("rows")):
        return math.log1p(int(rows)) / math.log1p(20), int(rows), f"{int(rows):,} rows"
    score = math.log1p(words) / math.log1p(ENOUGH_WORDS)
    return score, words, f"only {words:,} words" if score < REASON else f"{words:,} words"


def _unspaced(text: str) -> int:
    """Words of scripts that write them without blanks, about."""
    return sum(len(characters.findall(text)) // each for characters, each in UNSPACED)


def _readability(text: str, words: list[str]) -> Found | None:
    """None for scripts without blanks between words and for texts of a few words."""
    if len(words) < 30 or _unspaced(text) > len(words):
        return None
    sentences = max(1, len([part for part in SENTENCE_END.split(text) if part and WORD.search(part)]))
    length, long_words = len(words) / sentences, 100 * sum(len(word) > 6 for word in words) / len(words)
    lix = length + long_words
    if lix <= HARD:
        score = min(1.0, 0.5 + 0.5 * lix / EASY)
    else:
        score = max(0.0, 1 - (lix - HARD) / (UNREADABLE - HARD))
    if length < 5:  # names, labels, menus
        score *= length / 5
    return score, round(lix, 1), f"LIX {lix:.0f}: {length:.0f} words a sentence, {long_words:.0f}% long words"


def _boilerplate(text: str, meta: dict[str, Any]) -> Found | None:
    whole = meta.get("page_characters")
    if not whole:
        return None
    share = min(1.0, len(LINK.sub(r"\1", text)) / max(1, int(whole)))
    return share / 0.5, round(share, 3), f"{share:.0%} of the page's words are its main text"


def _links(text: str, meta: dict[str, Any]) -> Found:
    measured = meta.get("link_share")
    if measured is None:
        inside = sum(len(found[1]) for found in LINK.finditer(text))
        measured = inside / max(1, len(LINK.sub(r"\1", text)))
    share = float(measured)
    return 1 - (share - 0.15) / 0.6, round(share, 3), f"{share:.0%} of the text is links"


def _language(language: str | None, meta: dict[str, Any]) -> Found | None:
    confidence = meta.get("language_confidence")
    if not confidence:
        return None
    return float(confidence), language, f"{float(confidence):.0%} sure that it is {language or 'unknown'}"


def _repetition(text: str) -> Found:
    """Share of the words in lines that were there before, short ones like table rules left out."""
    lines = [" ".join(line.lower().split()) for line in text.splitlines()]
    lines = [line for line in lines if len(line) >= 20 and not re.fullmatch(r"[|\s:-]+", line)]
    total = sum(map(len, lines))
    if not total:
        return 1.0, 0.0, "no line comes twice"
    again = sum(len(line) * (times - 1) for line, times in Counter(lines).items())
    share = again / total
    return (
        1 - share / 0.5,
        round(share, 3),
        f"{share:.0%} of the text comes twice" if share >= 0.005 else "no line comes twice",
    )


def _duplication(other: str | None, similarity: float) -> Found:
    if similarity < 0.5:
        return 1.0, round(similarity, 3), "no other document is like it"
    return 1 - (similarity - 0.5) / 0.5, round(similarity, 3), f"{similarity:.0%} like “{other}”"


def _structure(text: str, words: int) -> Found:
    """Headings, lists or tables where a text is long enough to need them."""
    parts = len(re.findall(r"^(?:#{1,6} |[-*] |\d{1,3}\. |\|)", text, re.MULTILINE)) + text.count("\n\n")
    wanted = max(1.0, min(words, SAMPLE // 6) / 400)
    return parts / wanted if words > 100 else 1.0, parts, f"{parts:,} headings, items, rows and paragraphs"


def _cut_off(text: str) -> str:
    """Where a teaser stops: what stands before a subscription, or the beginning that a list of articles shows."""
    end = text[-200:].rstrip().rstrip("\"'”’»)]")
    return " ".join(text[-200:].split()[-3:]) if end.endswith(("...", "…")) else ""


def _errors(text: str, words: list[str], count: int, warnings: list[str], cut_off: str = "") -> Found:
    """What went wrong when it was made or read: error pages, broken characters, letters without words, warnings."""
    broken = len(MOJIBAKE.findall(text)) / max(1, len(words))
    letters = sum(character.isalnum() or character.isspace() for character in text) / max(1, len(text))
    score, notes = 1.0, []
    if count < 150 and (found := NOT_A_PAGE.search(text)):
        score, notes = 0.1, [f"it says “{' '.join(found[0].split())[:60]}”"]
    if broken > 0.002:
        score -= min(0.8, broken * 20)
        notes.append(f"{broken:.1%} of the words hold broken characters")
    if letters < 0.7:
        score -= (0.7 - letters) * 2
        notes.append(f"only {letters:.0%} are letters and digits")
    if cut_off:
        score -= 0.4
        notes.append(f"{CUT_OFF}: “{cut_off}”")
    if warnings:
        score -= 0.1 * min(3, len(warnings))
        notes += [warning.rstrip(".")[:120] for warning in warnings[:3]]
    return score, len(notes), "; ".join(notes) or "none"
