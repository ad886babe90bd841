"""Which language a text is in: py3langid (after Lui and Baldwin 2012, "langid.py"), 97 languages, no download.

Runs in the child; the model is loaded once, by the nursery, and shared by all children.
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Any

from webapp.core import sandbox

SAMPLE = 5000  # characters looked at
NO_LANGUAGE = "zxx"  # ISO 639-2: no linguistic content
LETTERS = 24  # fewer say nothing
SURE, LIKELY = 0.95, 0.6  # of the model's own probability
NOT_PROSE = re.compile(r"```.*?(?:```|\Z)|`[^`\n]*`|\]\([^)\s]*\)|https?://\S+|[|#*_>\[\]]|-{3,}", re.DOTALL)


def identify(text: str, declared: str | None) -> tuple[str | None, float]:
    """ISO 639-1 code and the model's confidence in what it sees, 0..1 (0: too little text).

    A clear finding in enough text beats what the document declares: templates say `en` above texts in any language.
    """
    sample = NOT_PROSE.sub(" ", text[: 4 * SAMPLE])[:SAMPLE]
    letters = sum(character.isalpha() for character in sample)
    if letters < LETTERS:
        return declared, 0.0
    code, share = _model().classify(" ".join(sample.lower().split()))
    found, confidence = str(code), float(share)
    if found == NO_LANGUAGE:
        return declared, 0.0
    if declared and not (confidence >= SURE and letters >= 200):
        return declared, confidence if found == declared else min(confidence, 0.5)
    return (found if confidence >= LIKELY else declared), confidence


@lru_cache(maxsize=1)
def _model() -> Any:
    from py3langid.langid import MODEL_FILE, LanguageIdentifier

    return LanguageIdentifier.from_model_file(MODEL_FILE, norm_probs=True)


if sandbox.in_child:
    _model()
