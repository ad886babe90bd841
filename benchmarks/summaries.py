"""Summaries of news pages, read and summarised by the product, beside lead-3: the first three sentences of the same text.

There are no summaries to compare with, so measures that need none, all at lead-3's own number of words:

* Divergence (Jensen-Shannon, of the words of a summary and of its article; less is better). A. Louis, A. Nenkova:
  "Automatically Assessing Machine Summary Content Without a Gold Standard", Computational Linguistics 39 (2013), found that
  it ranks systems much as people's judgement of content does. It looks at no position, so it favours no beginning.
* The same for sentences that the summary could not know: every second sentence of an article is hidden, the rest is
  summarised, and the divergence is from the hidden ones. Ours chooses sentences by the words of the text it sees, so the
  first measure alone might flatter it.
* What the publisher says of the article: the share of the words of its description and headline that a summary holds.
  Somebody wrote these to say what the page is about; but many descriptions are copied from the first sentences, which is
  lead-3 itself, so those that are not copied stand alone too.

The ranking was chosen on every second article; what is printed is of the others. BENCH_DATA names another folder.
"""

from __future__ import annotations

import gzip
import json
import math
import random
from collections import Counter
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import Any

from benchmarks import harness as h
from benchmarks.harness import Report
from webapp.core.errors import AppError
from webapp.core.sentences import split
from webapp.extraction.service import extract
from webapp.knowledge.snippets import stem
from webapp.summaries.lexrank import Source, count_words, summarise, terms

LIMITS = (10, 25, 50, 100, 200, 500)
LEAD = 3
COPIED = 0.5  # share of a description's groups of four words that stand in the article: then it was copied


@dataclass(frozen=True)
class Article:
    id: str
    title: str
    text: str
    said: str  # what its publisher says of it
    copied: bool


def run(report: Report, quick: bool) -> None:
    found = articles(20 if quick else None)
    report.raw["articles"] = len(found)
    limits(report, found)
    half = found[1::2]
    quality(report, half)
    report.raw["all"] = compared(found)


def articles(most: int | None = None) -> list[Article]:
    """Pages of at least twelve sentences, as the product reads them; the others are their own summary."""
    with gzip.open(h.DATA / "webextract/articles.jsonl.gz", "rt", encoding="utf8") as lines:
        rows = [json.loads(line) for line in lines][:most]
    with ThreadPoolExecutor(2) as pool:
        made = list(pool.map(_article, rows))
    return sorted((one for one in made if one is not None and len(_prose(one.text)) >= 12), key=lambda one: one.id)


def _article(row: dict[str, Any]) -> Article | None:
    from lxml import html

    try:
        page = extract(row["html"].encode(), content_type="text/html; charset=utf-8", url=row["url"], markdown=False)
    except AppError:
        return None
    tree = html.fromstring(row["html"])
    said = {name: " ".join(tree.xpath(f"//meta[@name='{name}' or @property='{name}']/@content")[:1]).strip()
            for name in ("description", "og:description", "og:title")}  # fmt: skip
    described = said["og:description"] or said["description"]
    title = said["og:title"] or " ".join(tree.xpath("//title/text()")[:1]).strip()
    return Article(row["id"], page.title or title, page.text, f"{title} {described}", _copied(described, page.text))


def _copied(said: str, text: str) -> bool:
    groups, there = _groups(said), _groups(text)
    return not groups or len(groups & there) / len(groups) >= COPIED


def _groups(text: str) -> set[tuple[str, ...]]:
    words = terms(text)
    return {tuple(words[at : at + 3]) for at in range(len(words) - 2)}


# -- limits ------------------------------------------------------------------------------------------------------------


def limits(report: Report, found: Sequence[Article]) -> None:
    """Every article at every limit: never longer, every sentence at its place."""
    longer = nowhere = sentences = 0
    for one in found:
        for most in LIMITS:
            made = summarise([Source(one.id, one.text, one.title)], max_words=most)
            longer += count_words(" ".join(said.text for said in made.sentences)) > most
            for said in made.sentences:
                sentences += 1
                there = one.text[said.start : said.end]
                nowhere += not there or said.text not in (there, f"{there}…")
    tried = len(found) * len(LIMITS)
    report.add(f"summaries longer than asked, of {tried}", str(longer), goal="0", ok=longer == 0)
    report.add(f"sentences without their place, of {sentences:,}", str(nowhere), goal="0", ok=nowhere == 0)


# -- beside lead-3 -----------------------------------------------------------------------------------------------------


def quality(report: Report, half: Sequence[Article]) -> None:
    means = compared(half)
    ours, lead = means["divergence"]["ours"], means["divergence"]["lead"]
    report.add(f"divergence from the article, {len(half)} articles (less is better)", f"{ours:.3f}", f"{lead:.3f}",
               f"{ours / lead:.3f}", "< lead-3", ours < lead)  # fmt: skip
    report.add("articles on which ours is nearer", f"{means['divergence']['won']:.0%}")
    ours, lead = means["hidden"]["ours"], means["hidden"]["lead"]
    report.add("divergence from sentences it could not see", f"{ours:.3f}", f"{lead:.3f}", f"{ours / lead:.3f}", "< lead-3",
               ours < lead)  # fmt: skip
    for name, what in (
        ("said", "words of headline and description held"),
        ("said, not copied", "the same, description not copied"),
    ):
        ours, lead, n = means[name]["ours"], means[name]["lead"], means[name]["n"]
        report.add(f"{what}, {n} articles", f"{ours:.3f}", f"{lead:.3f}", f"{ours / max(lead, 1e-9):.3f}")
    report.raw["test"] = means
    low, high = means["divergence"]["interval"]
    report.notes.append(f"difference of the divergences {low:+.3f} to {high:+.3f} (95 %, bootstrap over articles)")


def compared(found: Sequence[Article], ours: Callable[[Article, int], str] | None = None) -> dict[str, Any]:
    rows = [_judged(one, ours or _ours) for one in found]
    return {
        "divergence": _mean([(row[0], row[1]) for row in rows], less=True),
        "hidden": _mean([(row[6], row[7]) for row in rows], less=True),
        "said": _mean([(row[2], row[3]) for row in rows]),
        "said, not copied": _mean([(row[2], row[3]) for row, one in zip(rows, found, strict=True) if not one.copied]),
        "words": _mean([(row[4], row[5]) for row in rows]),
    }


def _judged(one: Article, ours: Callable[[Article, int], str]) -> tuple[float, ...]:
    lead = " ".join(_prose(one.text)[:LEAD])
    made = ours(one, count_words(lead))
    said, whole = _stems(one.said), _stems(one.text)
    return (divergence(_stems(made), whole), divergence(_stems(lead), whole), _held(said, made), _held(said, lead),
            count_words(made), count_words(lead), *_hidden(one, ours))  # fmt: skip


def _hidden(one: Article, ours: Callable[[Article, int], str]) -> tuple[float, float]:
    """Divergences from every second sentence, of summaries of the others."""
    prose = _prose(one.text)
    seen = replace(one, text="\n\n".join(prose[0::2]))
    lead = " ".join(prose[0::2][:LEAD])
    unseen = _stems(" ".join(prose[1::2]))
    return divergence(_stems(ours(seen, count_words(lead))), unseen), divergence(_stems(lead), unseen)


def _ours(one: Article, most: int) -> str:
    return " ".join(said.text for said in summarise([Source(one.id, one.text, one.title)], max_words=most).sentences)


def _prose(text: str) -> list[str]:
    return [text[one.start : one.end] for one in split(text) if one.kind == "prose"]


def _stems(text: str) -> Counter[str]:
    return Counter(stem(word) for word in terms(text))


def _held(said: Counter[str], summary: str) -> float:
    there = _stems(summary)
    return sum(word in there for word in said) / max(1, len(said))


def divergence(summary: Counter[str], article: Counter[str]) -> float:
    """Jensen-Shannon, base 2: 0 for the same words in the same shares, 1 for nothing in common."""
    total, whole = summary.total() or 1, article.total() or 1
    found = 0.0
    for word in article.keys() | summary.keys():
        p, q = summary[word] / total, article[word] / whole
        mean = (p + q) / 2
        found += (p * math.log2(p / mean) if p else 0.0) / 2 + (q * math.log2(q / mean) if q else 0.0) / 2
    return found


def _mean(pairs: Sequence[tuple[float, float]], *, less: bool = False) -> dict[str, Any]:
    count = max(1, len(pairs))
    rng = random.Random(0)
    differences = (
        sorted(sum(a - b for a, b in rng.choices(pairs, k=len(pairs))) / count for _ in range(1000)) if pairs else [0.0]
    )
    won = sum((a < b) if less else (a > b) for a, b in pairs) / count
    return {"ours": sum(a for a, _ in pairs) / count, "lead": sum(b for _, b in pairs) / count, "won": won, "n": len(pairs),
            "interval": (differences[int(0.025 * len(differences))], differences[int(0.975 * len(differences))])}  # fmt: skip
