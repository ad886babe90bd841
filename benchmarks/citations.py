"""Does the citation checker tell supported claims from others? Precision and recall, on claims made from SQuAD and MRPC.

SQuAD holds questions with answers, which a few rules turn into sentences that the passage supports. What it does not
support: the same sentence with another answer of the passage, another number, a negation, or beside another passage of
the article; and questions that the passage does not answer, with one of its other answers. Articles are split in two by
their order: coefficients and thresholds come from the first half (`--fit`), what is printed from the second.
BENCH_DATA names another folder of the same format; then all of it is measured.

    python -m benchmarks citations
    python -m benchmarks.citations --fit        prints the constants of webapp/knowledge/checking.py
"""

from __future__ import annotations

import gzip
import json
import random
import re
import sys
from collections import defaultdict
from typing import Any, NamedTuple

from benchmarks import harness as h
from benchmarks.harness import Report
from webapp.knowledge import checking

DATA = h.DATA
MOST = 4000  # claims of each group in a half
AUXILIARY = {"do": "", "does": "", "did": ""}


def load(name: str) -> list[dict[str, Any]]:
    with gzip.open(DATA / name, "rt", encoding="utf8") as lines:
        return [json.loads(line) for line in lines]


class Row(NamedTuple):
    """supported: 1 or 0. how: what was done to it. group: made from a question or from a sentence of the passage."""

    claim: str
    passage: str
    supported: int
    how: str
    group: str


# -- claims ----------------------------------------------------------------------------------------------------------


def statement(question: str, answer: str) -> str | None:
    """`When did X begin?` + `1973` -> `X did begin in 1973.`; None for what the rules do not know."""
    q = re.sub(r"\s+", " ", question).strip().rstrip("?").strip()
    if found := re.fullmatch(
        r"(?:who|what|which [\w' -]+?|what [\w' -]+?) ((?:is|was|are|were)) (.+)", q, re.IGNORECASE
    ):
        head = re.match(r"(?:which|what) ([\w' -]+?) (?:is|was|are|were) ", q, re.IGNORECASE)
        if head:
            return f"{_upper(answer)} {found[1].lower()} {found[2]}."
        return f"{_upper(found[2])} {found[1].lower()} {answer}."
    if found := re.fullmatch(
        r"(when|where|why|how|in what [\w ]+?|in which [\w ]+?) (did|does|do|is|was|are|were|can|could|has|have|had) (.+)",
        q,
        re.IGNORECASE,
    ):
        wh, aux, rest = found[1].lower(), found[2].lower(), found[3]
        link = (
            "in "
            if re.fullmatch(r"(?:[A-Z][a-z]+ )?\d{4}", answer)
            else "because "
            if wh == "why" and not answer.lower().startswith(("because", "to ", "due"))
            else ""
        )
        if aux in AUXILIARY:
            return f"{_upper(rest)} {link}{answer}."
        words = rest.split(" ")
        for place in range(min(len(words), 7), 0, -1):
            if place < len(words) and re.fullmatch(
                r"\w+(?:ed|en|wn|lt|nt|de|st)|located|born|found|held|led|made|known|used", words[place]
            ):
                return f"{_upper(' '.join(words[:place]))} {aux} {' '.join(words[place:])} {link}{answer}."
        return None
    if found := re.fullmatch(r"(?:what|who|which [\w' -]+?|what [\w' -]+?) (did|does|do) (.+)", q, re.IGNORECASE):
        return f"{_upper(found[2])} {answer}."
    if found := re.fullmatch(r"how (many|much) ([\w' -]+?) (did|does|do) (.+)", q, re.IGNORECASE):
        return f"{_upper(found[4])} {answer} {found[2]}."
    if found := re.fullmatch(r"how many ([\w' -]+?) (are|were|have|had|is|was) (.+)", q, re.IGNORECASE):
        return f"{_upper(answer)} {found[1]} {found[2]} {found[3]}."
    if found := re.fullmatch(
        r"(?:who|which [\w'-]+|what [\w'-]+) ((?!is\b|was\b|are\b|were\b|did\b|does\b|do\b)[a-z]+(?:ed|s|t|ew|ote|an|ame|ave|ook|on) .+)",
        q,
        re.IGNORECASE,
    ):
        return f"{_upper(answer)} {found[1]}."
    return None


def _upper(text: str) -> str:
    return text[:1].upper() + text[1:]


def kind_of(question: str, answer: str) -> str | None:
    """What another answer must be to fit the same question; None for phrases, which fit nowhere else."""
    wh = re.match(r"who|when|where|what year|which year|how many|how much|what|which", question.lower())
    if re.fullmatch(r"(?:in )?(?:[A-Z][a-z]+ )?(?:\d{1,2}, )?(?:1\d|20)\d\d", answer):
        return "year"
    if re.search(r"\d", answer):
        return f"number {wh[0] if wh else ''}"
    words = answer.split()
    return (
        f"name {wh[0] if wh else ''}"
        if len(words) <= 4 and all(w[:1].isupper() for w in (words[0], words[-1]))
        else None
    )


def claims(articles: set[str], rng: random.Random) -> list[Row]:
    """Supported claims and at least as many others, the others of each sort alike, in both groups."""
    passages = {row["pid"]: row["text"] for row in load("squad/passages.jsonl.gz") if article(row["pid"]) in articles}
    questions: dict[str, list[dict[str, Any]]] = defaultdict(list)
    for row in load("squad/questions_v2.jsonl.gz"):
        if row["pid"] in passages:
            questions[row["pid"]].append(row)
    of_article: dict[str, list[str]] = defaultdict(list)
    for pid in sorted(passages):
        of_article[article(pid)].append(pid)
    made: dict[str, dict[str, list[Row]]] = {"question": defaultdict(list), "sentence": defaultdict(list)}
    for pid, text in sorted(passages.items()):
        others = [one for one in of_article[article(pid)] if one != pid]
        elsewhere = passages[rng.choice(others)] if others else None
        for row in questions[pid]:
            _from_question(row, questions[pid], text, elsewhere, made["question"], rng)
        _from_sentences(text, elsewhere, made["sentence"], rng)
    return [row for group in made.values() for row in _mixed(group, rng)]


def article(pid: str) -> str:
    return pid.partition("#")[0]


def _from_question(row: dict[str, Any], siblings: list[dict[str, Any]], passage: str, elsewhere: str | None,
                   made: dict[str, list[Row]], rng: random.Random) -> None:  # fmt: skip
    known = list(row["answers"][:1]) or [one for other in siblings for one in other["answers"][:1]]
    known = [one for one in known if len(one.split()) <= 8]
    answer = rng.choice(known) if known else ""
    claim = statement(row["question"], answer) if answer else None
    if not claim:
        return
    if not row["answerable"]:
        made["not answered"].append(Row(claim, passage, 0, "not answered", "question"))
        return
    made["supported"].append(Row(claim, passage, 1, "supported", "question"))
    kind, right = kind_of(row["question"], answer), {one.lower() for one in row["answers"]}
    fits = [one for other in siblings for one in other["answers"][:1] if kind and kind_of(other["question"], one) == kind
            and not any(one.lower() in said or said in one.lower() for said in right)]  # fmt: skip
    if fits and (other := statement(row["question"], rng.choice(fits))):
        made["another answer"].append(Row(other, passage, 0, "another answer", "question"))
    _spoiled(claim, passage, elsewhere, "question", made, rng)


def _from_sentences(passage: str, elsewhere: str | None, made: dict[str, list[Row]], rng: random.Random) -> None:
    """One sentence of the passage, as answers that quote give it: as it stands, or without what stands between commas or after one."""
    from webapp.core.sentences import split

    sentences = [passage[one.start : one.end] for one in split(passage)]
    whole = [one for one in sentences if 8 <= len(one.split()) <= 40]
    if not whole:
        return
    sentence = rng.choice(whole)
    parts = sentence.split(", ")
    claim = sentence
    if len(parts) > 2:
        claim = f"{parts[0]}, {parts[-1]}"
    elif len(parts) == 2 and len(parts[0].split()) >= 7:
        claim = parts[0] + "."
    made["supported"].append(Row(claim, passage, 1, "supported", "sentence"))
    names = sorted(set(re.findall(r"(?<=[a-z,] )[A-Z][a-z]{3,}(?: [A-Z][a-z]{3,})*", passage)))
    inside = [one for one in names if re.search(rf"(?<=[a-z,] ){one}", claim)]
    outside = [one for one in names if not any(word in claim for word in one.split())]
    if inside and outside:
        other = claim.replace(rng.choice(inside), rng.choice(outside))
        made["another name"].append(Row(other, passage, 0, "another name", "sentence"))
    _spoiled(claim, passage, elsewhere, "sentence", made, rng)


def _spoiled(claim: str, passage: str, elsewhere: str | None, group: str, made: dict[str, list[Row]],
             rng: random.Random) -> None:  # fmt: skip
    """The same claim with another number, denied, or beside a passage that does not say it."""
    if number := re.search(r"(?<![\w.,-])\d+(?![\w.,-]*\d)", claim):
        changed = str(max(1, int(number[0]) + rng.choice([-3, -2, -1, 1, 2, 3, 10])))
        if not re.search(rf"\b{changed}\b", passage):
            other = claim[: number.start()] + changed + claim[number.end() :]
            made["another number"].append(Row(other, passage, 0, "another number", group))
    verb = re.search(r"\b(?:is|was|are|were|did|can|could|will|would|may)\b(?! not)", claim)
    if verb:
        denied = f"{claim[: verb.end()]} not{claim[verb.end() :]}"
        made["denied"].append(Row(denied, passage, 0, "denied", group))
    if elsewhere:
        made["another passage"].append(Row(claim, elsewhere, 0, "another passage", group))


def _mixed(made: dict[str, list[Row]], rng: random.Random) -> list[Row]:
    for rows in made.values():
        rng.shuffle(rows)
    spoiled = sorted((kind, rows) for kind, rows in made.items() if kind != "supported")
    each = min(MOST // (2 * len(spoiled)), max(len(rows) for _, rows in spoiled))
    others = [row for _, rows in spoiled for row in rows[:each]]
    return made["supported"][: len(others)] + others


def halves() -> tuple[set[str], set[str]]:
    articles = sorted({row["pid"].split("#")[0] for row in load("squad/passages.jsonl.gz")})
    if DATA.resolve() != h.DEVELOPERS.resolve():
        return set(), set(articles)
    return set(articles[0::2]), set(articles[1::2])


# -- measuring -------------------------------------------------------------------------------------------------------


def run(report: Report, quick: bool) -> None:
    rows = claims(halves()[1], random.Random(4))
    pairs = [(row["a"], row["b"], row["duplicate"], "mrpc") for row in load("mrpc/pairs.jsonl.gz")]
    if quick:
        rows, pairs = rows[:: max(1, len(rows) // 200)], pairs[:100]
    share = sum(row.supported for row in rows) / len(rows)
    unseen = "; articles that were not fitted on" if halves()[0] else ""
    report.notes.append(f"{len(rows)} claims of SQuAD ({share:.0%} supported), {len(pairs)} pairs of MRPC{unseen}")
    with h.scratch() as folder:
        rt = h.open_runtime(h.our_env(folder))
        try:
            for name, side in (("words and vectors", rt), ("words alone", None)):
                found = checking.check_many(side, [(claim, passage) for claim, passage, *_ in rows])
                _report(report, name, rows, found)
            found = checking.check_many(rt, [(claim, passage) for claim, passage, _, _ in pairs])
            _report_mrpc(report, pairs, found)
        finally:
            rt.close()


def _report(report: Report, name: str, rows: list[Any], found: list[checking.Verdict]) -> None:
    truth = [row.supported for row in rows]
    verified = [one.label == "verified" for one in found]
    refused = [one.label == "unsupported" for one in found]
    hits = sum(v and t for v, t in zip(verified, truth, strict=True))
    precision, recall = hits / max(1, sum(verified)), hits / max(1, sum(truth))
    report.raw[name] = {"precision": precision, "recall": recall, "claims": len(rows)}
    report.add(f"{name}: precision of “verified”", f"{precision:.3f}", goal=">= 0.95", ok=precision >= 0.95)
    report.add("  supported claims called so", f"{recall:.3f}")
    right = sum(r and not t for r, t in zip(refused, truth, strict=True))
    report.add("  precision of “unsupported”", f"{right / max(1, sum(refused)):.3f}")
    report.add("  unsupported claims called so", f"{right / max(1, len(truth) - sum(truth)):.3f}")
    report.add("  area under the curve", f"{auc([one.score for one in found], truth):.3f}")
    for group in dict.fromkeys(row.group for row in rows):
        mine = [(v, row) for v, row in zip(verified, rows, strict=True) if row.group == group]
        said = [row.supported for v, row in mine if v]
        report.add(f"  claims from a {group}: precision", f"{sum(said) / max(1, len(said)):.3f} of {len(said)}")
        for how in dict.fromkeys(row.how for _, row in mine):
            share = [v for v, row in mine if row.how == how]
            report.add(f"    “{how}”, called verified", f"{sum(share) / len(share):.3f} of {len(share)}")


def _report_mrpc(report: Report, pairs: list[Any], found: list[checking.Verdict]) -> None:
    truth = [row[2] for row in pairs]
    verified = [t for one, t in zip(found, truth, strict=True) if one.label == "verified"]
    report.add("MRPC: area under the curve", f"{auc([one.score for one in found], truth):.3f}", "0.731 / 0.767",
               goal="peers: MiniLM cosine / word Jaccard")  # fmt: skip
    report.add("  paraphrases among the verified", f"{sum(verified) / max(1, len(verified)):.3f} of {len(verified)}",
               f"{sum(truth) / len(truth):.3f} of all pairs")  # fmt: skip


def auc(scores: list[float], truth: list[int]) -> float:
    order = sorted(zip(scores, truth, strict=True))
    positives = sum(truth)
    total, place = 0.0, 0
    while place < len(order):
        end = place
        while end < len(order) and order[end][0] == order[place][0]:
            end += 1
        total += sum(t for _, t in order[place:end]) * (place + end + 1) / 2
        place = end
    return (total - positives * (positives + 1) / 2) / max(1, positives * (len(order) - positives))


# -- fitting ---------------------------------------------------------------------------------------------------------


def fit() -> None:
    """Logistic regression by Newton's method with a small ridge; thresholds by precision on the same half.

    "verified" asks for .95 among the claims made from questions, the harder group; "unsupported" for .9 among all.
    """
    rows = claims(halves()[0], random.Random(1))
    with h.scratch() as folder:
        rt = h.open_runtime(h.our_env(folder))
        try:
            features = {"full": _features(rt, rows), "lexical": _features(None, rows)}
        finally:
            rt.close()
    for kind, found in features.items():
        columns = checking.WORD_FEATURES + (checking.VECTOR_FEATURES if kind == "full" else ())
        asked = [number for number, one in enumerate(found) if not one.get("exact")]
        model = _newton([[found[number].get(name, 0.0) for name in columns] for number in asked],
                        [rows[number].supported for number in asked], columns)  # fmt: skip
        scores = [checking.EXACT if one.get("exact") else checking.probability(one, model) for one in found]
        truth = [row.supported for row in rows]
        asked = [number for number, row in enumerate(rows) if row.group == "question"]
        hard = min(
            checking.EXACT, _threshold([scores[number] for number in asked], [truth[number] for number in asked], 0.95)
        )
        print(kind.upper(), "=", {name: round(value, 3) for name, value in model.items()})
        print(
            "  VERIFIED", hard, "WEAK", _lower(scores, truth, 0.9), "area under the curve", round(auc(scores, truth), 3)
        )


def _features(rt: Any, rows: list[Any]) -> list[dict[str, float]]:
    return [one.features for one in checking.check_many(rt, [(claim, passage) for claim, passage, *_ in rows])]


def _newton(matrix: list[list[float]], truth: list[int], columns: tuple[str, ...]) -> dict[str, float]:
    import numpy as np

    x, y = np.column_stack([np.ones(len(matrix)), np.array(matrix)]), np.array(truth, float)
    weights, ridge = np.zeros(x.shape[1]), np.eye(x.shape[1]) * 1.0
    ridge[0, 0] = 0
    for _ in range(30):
        p = 1 / (1 + np.exp(-x @ weights))
        weights += np.linalg.solve(x.T @ (x * (p * (1 - p))[:, None]) + ridge, x.T @ (y - p) - ridge @ weights)
    return dict(zip(("bias", *columns), weights.tolist(), strict=True))


def _threshold(scores: list[float], truth: list[int], wanted: float) -> float:
    """The lowest score from which on at least `wanted` are supported."""
    best, hits = 1.0, 0
    for count, (score, true) in enumerate(sorted(zip(scores, truth, strict=True), reverse=True), 1):
        hits += true
        if count >= 30 and hits / count >= wanted:
            best = score
    return round(best, 3)


def _lower(scores: list[float], truth: list[int], wanted: float) -> float:
    """The highest score below which at least `wanted` are not supported."""
    best, hits = 0.0, 0
    for count, (score, true) in enumerate(sorted(zip(scores, truth, strict=True)), 1):
        hits += 1 - true
        if count >= 30 and hits / count >= wanted:
            best = score
    return round(best, 3)


if __name__ == "__main__":
    if "--fit" in sys.argv:
        fit()
