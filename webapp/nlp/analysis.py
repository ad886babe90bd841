"""What runs in the child: plain values in, plain values out."""

from __future__ import annotations

import re
from typing import Any

from webapp.core import sandbox
from webapp.nlp import entities, keywords, readability, sentiment
from webapp.nlp.words import NAMES

PRELOAD = ("vaderSentiment.vaderSentiment", "py3langid.langid")
ALL = ("language", "statistics", "keywords", "entities", "sentiment", "readability")
WORD = re.compile(r"\w+(?:['’-]\w+)*")
LANGUAGE_METHOD = "py3langid: a statistical model of 97 languages (after Lui and Baldwin 2012)"


def analyse(text: str, analyses: list[str], language: str | None, most: int) -> dict[str, Any]:
    """One text. `language` None: it is found out."""
    from webapp.core.sentences import split

    found: dict[str, Any] = {}
    told = sandbox.progress if sandbox.in_child else (lambda percent, words: None)
    named = _language(text, language)
    if "language" in analyses:
        found["language"] = named
    code = named["code"]
    told(10, "Finding sentences")
    places = [(one.start, one.end, text[one.start : one.end]) for one in split(text)]
    if "statistics" in analyses:
        found["statistics"] = _statistics(text, len(places))
    if "keywords" in analyses:
        told(25, "Finding keywords")
        found["keywords"] = {"items": keywords.keywords(text, code, most), "method": keywords.METHOD}
    if "entities" in analyses:
        told(45, "Finding names, dates and amounts")
        found["entities"] = {"groups": entities.entities(text), "method": entities.METHOD}
    if "sentiment" in analyses:
        told(70, "Judging the tone of each sentence")
        found["sentiment"] = sentiment.sentiment(places, code)
    if "readability" in analyses:
        told(90, "Measuring how hard it is to read")
        found["readability"] = readability.readability(text, [said for _, _, said in places], code)
    return found


def _language(text: str, wanted: str | None) -> dict[str, Any]:
    if wanted:
        return {"code": wanted, "name": NAMES.get(wanted, wanted), "confidence": None, "method": "You named it"}
    from webapp.extraction.language import identify

    code, confidence = identify(text, None)
    return {"code": code, "name": NAMES.get(code, code) if code else None,
            "confidence": round(confidence, 4) if code else None, "method": LANGUAGE_METHOD}  # fmt: skip


def _statistics(text: str, sentences: int) -> dict[str, Any]:
    words = WORD.findall(text)
    return {
        "characters": len(text),
        "words": len(words),
        "different_words": len({word.casefold() for word in words}),
        "sentences": sentences,
        "paragraphs": sum(bool(part.strip()) for part in re.split(r"\n\s*\n", text)),
        "reading_minutes": round(len(words) / 238, 1),
    }
