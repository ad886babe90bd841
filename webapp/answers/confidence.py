"""How sure an answer may be: two chances by logistic regression over what search and sentences measured.

`present`: the sources speak of what is asked for. Below THRESHOLD an answer is declined.
`right`: the quoted sentences hold the answer, given that it is not declined. It is the confidence that is shown.

Coefficients and thresholds were fitted by `python -m benchmarks.answers --fit`: questions of SQuAD, each asked once
where its article is and once where it is not, over half of the articles. docs/benchmarks.md has the figures on the
other half. "words" is for a program without an embedder at hand.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Literal

from webapp.knowledge.keywords import STOP
from webapp.knowledge.sentences import asked_for
from webapp.knowledge.snippets import WORD, stem

if TYPE_CHECKING:
    from webapp.knowledge.sentences import Sentence
    from webapp.knowledge.service.search import Hit

Kind = Literal["full", "words"]
Model = Mapping[str, float]

READ = 5  # passages and
BEST = 12  # sentences that are measured
NAMED = 0.7  # of a question without a name: about what one with a name has when its article is there
# Without vectors scores are made otherwise, and what is made of them cannot be compared.
PRESENT_BY_WORDS = ("held", "sentence", "names", "nameless", "length")
PRESENT_IN_FULL = (*PRESENT_BY_WORDS, "cosine", "cosines")
RIGHT_BY_WORDS = (*PRESENT_BY_WORDS, "fits", "asked")
RIGHT_IN_FULL = (*PRESENT_IN_FULL, "fits", "asked", "margin", "fused", "gap")

# fitted: begin
PRESENT: dict[Kind, Model] = {
    "full": {
        "bias": -12.907, "held": 3.703, "sentence": 3.542, "names": 3.164, "nameless": 0.367, "length": 0.173,
        "cosine": 7.607, "cosines": 7.918,
    },
    "words": {
        "bias": -11.048, "held": 6.378, "sentence": 5.92, "names": 5.096, "nameless": 0.174, "length": 2.691,
    },
}  # fmt: skip
RIGHT: dict[Kind, Model] = {
    "full": {
        "bias": -6.724, "held": 1.04, "sentence": 0.716, "names": -0.012, "nameless": 0.098, "length": 2.007,
        "cosine": 1.876, "cosines": 1.746, "fits": -0.185, "asked": 0.124, "margin": 3.234, "fused": 2.72, "gap": 1.885,
    },
    "words": {
        "bias": -6.792, "held": 2.937, "sentence": 3.556, "names": 2.508, "nameless": 0.36, "length": 3.08,
        "fits": 0.065, "asked": -0.041,
    },
}  # fmt: skip
THRESHOLD: dict[Kind, float] = {"full": 0.377, "words": 0.218}
# fitted: end

NAME = re.compile(r"(?<!^)(?<![.?!] )\b(?:[A-Z][\w'-]+|\d[\w.,]*)")


def features(question: str, hits: Sequence[Hit], best: Sequence[Sentence]) -> dict[str, float]:
    """Each about 0..1; {} when nothing was found.

    held, sentence: the share of the question's words that one passage, one sentence holds. names: the same of its names
    and numbers. cosine, cosines: of the nearest sentence and the mean of three. margin: between the first and the third
    sentence. fits: one of three holds what is asked for. fused, gap: of the first passage, and to the second.
    """
    if not hits or not best:
        return {}
    asked = list(dict.fromkeys(stem(word) for word in WORD.findall(question) if word.lower() not in STOP))
    names = [stem(part) for name in NAME.findall(question) for part in WORD.findall(name) if part.lower() not in STOP]
    passages = [_stems(f"{hit.title} {hit.heading} {hit.text}") for hit in hits[:READ]]
    measured = {
        "held": max(_share(asked, one) for one in passages),
        "sentence": max(_share(asked, _stems(one.text)) for one in best[:BEST]),
        "names": max(_share(names, one) for one in passages) if names else NAMED,
        "nameless": float(not names),
        "length": min(1.0, len(asked) / 10),
        "margin": best[0].score - best[min(2, len(best) - 1)].score,
        "fits": float(any(one.fits for one in best[:3])),
        "asked": float(asked_for(question) is not None),
        "fused": hits[0].fused,
        "gap": hits[0].fused - hits[1].fused if len(hits) > 1 else hits[0].fused,
    }
    near = sorted((one.meaning for one in best), reverse=True)[:3]
    return measured | ({"cosine": near[0], "cosines": sum(near) / len(near)} if near[0] else {})


def _stems(text: str) -> set[str]:
    return {stem(word) for word in WORD.findall(text)}


def _share(wanted: Sequence[str], words: set[str]) -> float:
    return sum(one in words for one in wanted) / len(wanted) if wanted else 0.0


def kind(measured: Mapping[str, float]) -> Kind:
    return "full" if "cosine" in measured else "words"


def present(measured: Mapping[str, float]) -> float:
    return _chance(PRESENT[kind(measured)], measured) if measured else 0.0


def enough(measured: Mapping[str, float]) -> bool:
    """Whether the sources may speak of it."""
    return bool(measured) and present(measured) >= THRESHOLD[kind(measured)]


def right(measured: Mapping[str, float]) -> float:
    return _chance(RIGHT[kind(measured)], measured) if measured else 0.0


def _chance(model: Model, measured: Mapping[str, float]) -> float:
    total = model["bias"] + sum(weight * measured.get(name, 0.0) for name, weight in model.items() if name != "bias")
    return 1 / (1 + math.exp(-max(-30.0, min(30.0, total))))
