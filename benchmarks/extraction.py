"""Reading, through the product's own `extract` (child process and all): how much of the right text, and what becomes of
every file.

Peers in the same run: trafilatura as it comes, readability-lxml if it is installed. Measures as in the shared scripts:
articles by words in groups of four, segments by wanted and unwanted strings. BENCH_DATA names another folder
of the same format (webextract, pdfs, office, feeds, ocr).
"""

from __future__ import annotations

import base64
import gzip
import json
import logging
import re
import time
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from benchmarks import harness as h
from benchmarks.harness import Report
from webapp.core.errors import AppError, Invalid, TooLarge, UnsupportedMedia
from webapp.extraction import markdown
from webapp.extraction.service import extract
from webapp.knowledge.quality import assess

DATA = h.DATA
FOLDERS = ("pdfs", "office", "ocr", "speech", "tables")
WORD = re.compile(r"\w+")


def load(name: str) -> list[dict[str, Any]]:
    with gzip.open(DATA / name, "rt", encoding="utf8") as lines:
        return [json.loads(line) for line in lines]


def run(report: Report, quick: bool) -> None:
    logging.disable(logging.CRITICAL)
    articles, segments = load("webextract/articles.jsonl.gz"), load("webextract/segments.jsonl.gz")
    if quick:
        articles, segments = articles[:20], segments[:20]
    pages = articles + segments
    began = time.monotonic()
    with ThreadPoolExecutor(2) as pool:
        texts = list(pool.map(lambda row: ours(row), pages))
    rate = len(pages) / (time.monotonic() - began)
    found = {row["id"]: text for row, text in zip(pages, texts, strict=True)}
    peers = {name: {row["id"]: peer(row["html"]) for row in pages} for name, peer in extractors().items()}
    judge(report, f"articles F1 ({len(articles)} pages)", article_score, articles, found, peers, 0.957)
    judge(report, f"segments F1 ({len(segments)} pages)", segment_score, segments, found, peers, 0.91)
    stored = {one: markdown.without_links(text) != text for one, text in found.items()}
    report.raw["pages_with_links_or_code"] = sum(stored.values())
    report.add("pages a second, two at a time", f"{rate:.0f}")
    outcomes(report, quick)
    quality(report, articles)


def ours(row: dict[str, Any]) -> str:
    """Words as a reader sees them: the stored Markdown without the addresses of its links."""
    try:
        text = extract(row["html"].encode(), content_type="text/html; charset=utf-8", url=row["url"]).text
    except AppError:
        return ""
    return markdown.without_links(text)


def extractors() -> dict[str, Callable[[str], str]]:
    import trafilatura

    found: dict[str, Callable[[str], str]] = {"trafilatura": lambda page: trafilatura.extract(page) or ""}
    try:
        import readability
        from lxml import html
    except ImportError:
        return found

    def readable(page: str) -> str:
        try:
            return str(html.fromstring(readability.Document(page).summary()).text_content())
        except Exception:
            return ""

    return found | {"readability": readable}


# -- measures --------------------------------------------------------------------------------------------------------


def judge(report: Report, what: str, score: Callable[..., float], rows: list[Any], found: dict[str, str],
          peers: dict[str, dict[str, str]], goal: float) -> None:  # fmt: skip
    mine = score(rows, found)
    theirs = {name: score(rows, texts) for name, texts in peers.items()}
    report.raw[what] = {"ours": mine, **theirs}
    best = max(theirs.values())
    shown = ", ".join(f"{name} {value:.3f}" for name, value in theirs.items())
    report.add(what, f"{mine:.4f}", shown, f"{mine / best:.3f}", f">= {goal}", mine >= goal)


def article_score(rows: list[dict[str, Any]], texts: dict[str, str]) -> float:
    """Multiset overlap of four-word groups; F1 of the mean precision and the mean recall over pages."""
    precision, recall = [], []
    for row in rows:
        wanted, got = groups(row["article"]), groups(texts.get(row["id"], ""))
        common = (wanted & got).total()
        if got:
            precision.append(common / got.total() if wanted else 0.0)
        if wanted:
            recall.append(common / wanted.total())
    p, r = sum(precision) / max(1, len(precision)), sum(recall) / max(1, len(recall))
    return 2 * p * r / (p + r) if p + r else 0.0


def groups(text: str) -> Counter[tuple[str, ...]]:
    words = WORD.findall(text or "")
    return Counter(tuple(words[at : at + 4]) for at in range(max(1, len(words) - 3)) if words)


def segment_score(rows: list[dict[str, Any]], texts: dict[str, str]) -> float:
    hits = misses = wrong = 0
    for row in rows:
        text = " ".join(texts.get(row["id"], "").split())
        inside = [" ".join(one.split()) in text for one in row["with"]]
        hits, misses = hits + sum(inside), misses + inside.count(False)
        wrong += sum(" ".join(one.split()) in text for one in row["without"])
    return 2 * hits / max(1, 2 * hits + misses + wrong)


# -- every file ------------------------------------------------------------------------------------------------------


def outcomes(report: Report, quick: bool) -> None:
    """Read, or refused with a reason; anything else (a crash, a hang, an unknown error) is a miss."""
    for folder in FOLDERS:
        if (DATA / folder).is_dir():
            paths = sorted((DATA / folder).iterdir())[: 10 if quick else None]
            _tell(report, folder, Counter(outcome(path.read_bytes(), path.name) for path in paths))
    if (DATA / "feeds").is_dir():
        feeds = load("feeds/feeds.jsonl.gz")[:: 50 if quick else 1]
        _tell(report, "feeds", Counter(outcome(base64.b64decode(row["b64"]), "feed.xml") for row in feeds))


def outcome(data: bytes, name: str) -> str:
    try:
        extract(data, filename=name, timeout=60)
    except (Invalid, UnsupportedMedia, TooLarge) as error:
        return error.code
    except Exception as error:
        return f"!{type(error).__name__}"
    return "read"


def _tell(report: Report, folder: str, found: Counter[str]) -> None:
    report.raw[folder] = dict(found)
    refused = ", ".join(f"{count} {code}" for code, count in found.most_common() if code != "read")
    bad = sum(count for code, count in found.items() if code.startswith("!"))
    report.add(
        f"{folder}: {found.total()} files", f"{found['read']} read", refused, "", "0 without an outcome", bad == 0
    )


# -- quality ---------------------------------------------------------------------------------------------------------


def quality(report: Report, articles: list[dict[str, Any]]) -> None:
    """How often the score puts an article above something worse: chance is .5."""
    good = [score(row["article"]) for row in articles if row["article"]]
    worse = {
        "all text of the same page": [score(_everything(row["html"])) for row in articles if row["article"]],
        "its first 40 words": [score(" ".join(row["article"].split()[:40])) for row in articles if row["article"]],
        "its letters read in the wrong encoding": [
            score(row["article"].replace("e", "Ã©")) for row in articles if row["article"]
        ],
    }
    for what, bad in worse.items():
        share = sum((a > b) + 0.5 * (a == b) for a in good for b in bad) / (len(good) * len(bad))
        report.raw[f"quality: {what}"] = share
        report.add(f"quality of an article above {what}", f"{share:.3f}", goal="> 0.5", ok=share > 0.5)


def score(text: str) -> float:
    return assess(text, content_type="text/html", meta={"words": len(text.split())}).score


def _everything(page: str) -> str:
    from webapp.extraction.html import strip_tags

    return str(strip_tags(page)["text"])
