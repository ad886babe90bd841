"""Tone of English text, sentence by sentence, by VADER (Hutto and Gilbert 2014): a lexicon of words with rules.

It counts words that people rated as good or bad, with negation and emphasis. It knows nothing of irony or of what is
good news for whom, so it is shown as what it is.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any

METHOD = "VADER: a rated lexicon with rules for negation and emphasis (Hutto and Gilbert 2014); English only"
NOTE = "Words were counted, not understood: irony, and for whom news is good, escape it."
NEUTRAL = 0.05  # of the compound score, -1..1, as its authors draw the line
SHOWN = 3


def sentiment(sentences: list[tuple[int, int, str]], language: str | None) -> dict[str, Any]:
    """{"available", "label", "compound", counts, "most_positive", "most_negative", "method"}; not for other languages."""
    if language not in ("en", None):
        return {"available": False, "method": METHOD, "note": "The method knows English only."}
    scored = [
        (float(_judge().polarity_scores(said[:2000])["compound"]), start, end, said) for start, end, said in sentences
    ]
    if not scored:
        return {"available": False, "method": METHOD, "note": "There is no sentence in the text."}
    mean = sum(one[0] for one in scored) / len(scored)
    return {
        "available": True,
        "label": label(mean),
        "compound": round(mean, 4),
        "sentences": len(scored),
        "positive": sum(label(one[0]) == "positive" for one in scored),
        "neutral": sum(label(one[0]) == "neutral" for one in scored),
        "negative": sum(label(one[0]) == "negative" for one in scored),
        "most_positive": _shown(sorted(scored, key=lambda one: -one[0]), "positive"),
        "most_negative": _shown(sorted(scored, key=lambda one: one[0]), "negative"),
        "method": METHOD,
        "note": NOTE if language else f"{NOTE} The language is not certain.",
    }


def label(compound: float) -> str:
    return "positive" if compound >= NEUTRAL else "negative" if compound <= -NEUTRAL else "neutral"


def _shown(ordered: list[tuple[float, int, int, str]], wanted: str) -> list[dict[str, Any]]:
    return [{"text": said[:500], "compound": round(score, 4), "start": start, "end": end}
            for score, start, end, said in ordered[:SHOWN] if label(score) == wanted]  # fmt: skip


@lru_cache(maxsize=1)
def _judge() -> Any:
    from vaderSentiment.vaderSentiment import SentimentIntensityAnalyzer

    return SentimentIntensityAnalyzer()
