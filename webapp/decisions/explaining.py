"""What the totals say, in sentences and tables. Every figure in them is computed from the scores."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from webapp.core.spreadsheets import to_csv
from webapp.decisions import scoring
from webapp.decisions.scoring import NEAR, Criterion, Scale, Stretch, Total, Utility

METHOD = "Weighted sum"


def result(
    question: str, options: Sequence[str], criteria: Sequence[Criterion], cells: list[dict[str, Any]], scale: Scale
) -> dict[str, Any]:
    """ranking: the best first, totals of 100. sensitivity: the shares of a criterion for which the first stays first."""
    values = {(cell["option"], cell["criterion"]): cell["value"] for cell in cells}
    rows = scoring.utilities(criteria, [[values[o, c.name] for c in criteria] for o in options], scale)
    weights = scoring.shares(criteria)
    found = scoring.totals(weights, rows)
    places = scoring.order(found)
    first = places[0]
    beaten = scoring.dominated(rows)
    stretches = [scoring.stretch(weights, rows, first, n) for n in range(len(criteria))]
    # Figures nobody knows may be outside of the range that the known ones are stretched over.
    shaky = scale == "measures" and any(u is None for row in rows for u in row)
    certain = not shaky and scoring.decided(found, first)
    ranking = [_ranked(n, place, options, criteria, weights, rows, found, beaten, cells)
               for place, n in enumerate(places, 1)]  # fmt: skip
    equal = _first_of_equals(rows)
    return {
        "question": question,
        "recommendation": options[first] if certain else None,
        "decided": certain,
        "explanation": _explained(options, criteria, weights, rows, found, places, certain, stretches, equal),
        "ranking": ranking,
        "criteria": [
            {"name": one.name, "weight": one.weight, "share": round(share, 4), "better": one.better}
            for one, share in zip(criteria, weights, strict=True)
        ],
        "sensitivity": [_sensitive(one, share, made, options)
                        for one, share, made in zip(criteria, weights, stretches, strict=True)],
        "with_equal_weights": None if equal is None else options[equal],
        "scores": [{**cell, "utility": _rounded(rows[list(options).index(cell["option"])][n % len(criteria)])}
                   for n, cell in enumerate(cells)],
        "open": [{"option": cell["option"], "criterion": cell["criterion"]} for cell in cells if cell["value"] is None],
        "scale": scale,
        "method": METHOD,
        "method_note": _method(scale),
        "judged_by": sorted({cell["by"] for cell in cells} - {"", "you"}),
    }  # fmt: skip


def _first_of_equals(rows: Sequence[Sequence[Utility]]) -> int | None:
    """Who is first if all criteria count the same; None when that is level or open."""
    found = scoring.totals([1 / len(rows[0])] * len(rows[0]), rows)
    first = scoring.order(found)[0]
    return first if scoring.decided(found, first) else None


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 4)


def _method(scale: Scale) -> str:
    how = (
        "points count a tenth each" if scale == "points"
        else "each criterion's figures are stretched from the worst (0) to the best (1) among the options"
    )  # fmt: skip
    return f"A total is the sum of utility times share of the weights, of 100; {how}. What is open counts as anything from 0 to 1."


def _ranked(
    n: int,
    place: int,
    options: Sequence[str],
    criteria: Sequence[Criterion],
    weights: Sequence[float],
    rows: Sequence[Sequence[Utility]],
    found: Sequence[Total],
    beaten: dict[int, int],
    cells: list[dict[str, Any]],
) -> dict[str, Any]:
    mine = [cell for cell in cells if cell["option"] == options[n]]
    total = found[n]
    parts = [
        {"criterion": one.name, "value": cell["value"], "points": None if u is None else round(100 * u * share, 2),
         "of": round(100 * share, 2), "reason": cell["reason"], "by": cell["by"]}
        for one, share, u, cell in zip(criteria, weights, rows[n], mine, strict=True)
    ]  # fmt: skip
    known = [part for part in parts if part["points"] is not None]
    return {
        "option": options[n],
        "rank": place,
        "score": round(100 * total.low, 2) if total.known else None,
        "low": round(100 * total.low, 2),
        "high": round(100 * total.high, 2),
        "parts": parts,
        "strengths": [p["criterion"] for p in sorted(known, key=lambda p: -p["points"]) if p["points"] >= 0.6 * p["of"]][:3],
        "weaknesses": [p["criterion"] for p in sorted(known, key=lambda p: p["points"] - p["of"])
                       if p["points"] <= 0.4 * p["of"]][:3],
        "dominated_by": options[beaten[n]] if n in beaten else None,
    }  # fmt: skip


def _sensitive(one: Criterion, share: float, made: Stretch | None, options: Sequence[str]) -> dict[str, Any]:
    row: dict[str, Any] = {"criterion": one.name, "share": round(share, 4), "low": None, "high": None,
                           "below": None, "above": None}  # fmt: skip
    if made is not None:
        row |= {"low": round(made.low, 4), "high": round(made.high, 4),
                "below": None if made.below is None else options[made.below],
                "above": None if made.above is None else options[made.above]}  # fmt: skip
    return row


# -- sentences -------------------------------------------------------------------------------------------------------


def _explained(
    options: Sequence[str],
    criteria: Sequence[Criterion],
    weights: Sequence[float],
    rows: Sequence[Sequence[Utility]],
    found: Sequence[Total],
    places: Sequence[int],
    certain: bool,
    stretches: Sequence[Stretch | None],
    equal: int | None,
) -> list[str]:
    first, second = places[0], places[1]
    said = [_leading(options, found, first, second, certain)]
    if all(u is not None for n in (first, second) for u in rows[n]):
        said += _why(options, criteria, weights, rows, first, second)
    if not certain:
        return said + _missing(options, criteria, rows, found, first)
    said += _beaten(options, rows, first)
    if any(made is not None for made in stretches):
        none = f"No change of a single criterion's weight puts another option before {options[first]}."
        said.append(_nearest(criteria, weights, stretches, options) or none)
    elif len(criteria) > 1:
        said.append("How far the weights could move cannot be said while scores are open.")
    if equal is None:
        said.append("If all criteria counted the same, no option would be ahead of all others.")
    elif equal != first:
        said.append(f"If all criteria counted the same, {options[equal]} would be first.")
    return said


def _leading(options: Sequence[str], found: Sequence[Total], first: int, second: int, certain: bool) -> str:
    one, two = found[first], found[second]
    if certain and one.known and two.known:
        gap = 100 * (one.low - two.low)
        return f"{options[first]} is first with {_hundred(one)} of 100, {gap:.1f} ahead of {options[second]} ({_hundred(two)})."
    if certain:
        return f"{options[first]} is first whatever the open scores are: at least {100 * one.low:.1f} of 100, nobody else can reach that."
    if one.known and two.known and abs(one.low - two.low) < NEAR:
        return f"{options[first]} and {options[second]} are level with {_hundred(one)} of 100; the scores do not decide between them."
    return f"The scores do not decide: {options[first]} can reach {_hundred(one)} of 100, {options[second]} {_hundred(two)}."


def _hundred(total: Total) -> str:
    return f"{100 * total.low:.1f}" if total.known else f"{100 * total.low:.1f} to {100 * total.high:.1f}"


def _why(
    options: Sequence[str],
    criteria: Sequence[Criterion],
    weights: Sequence[float],
    rows: Sequence[Sequence[Utility]],
    first: int,
    second: int,
) -> list[str]:
    gains = sorted(
        ((100 * w * (float(a or 0) - float(b or 0)), one.name)
         for one, w, a, b in zip(criteria, weights, rows[first], rows[second], strict=True)),
        reverse=True,
    )  # fmt: skip
    for_ = [f"{name} (+{gain:.1f})" for gain, name in gains if gain > 0.05][:3]
    against = [f"{name} (−{-gain:.1f})" for gain, name in reversed(gains) if gain < -0.05][:3]
    if not for_ and not against:
        return []
    ahead = f"ahead of {options[second]} in {_and(for_)}" if for_ else f"nowhere ahead of {options[second]}"
    return [f"{options[first]} is {ahead}" + (f" and behind in {_and(against)}." if against else ".")]


def _beaten(options: Sequence[str], rows: Sequence[Sequence[Utility]], first: int) -> list[str]:
    losers = [options[n] for n, winner in scoring.dominated(rows).items() if scoring._dominates(rows[first], rows[n])]
    if not losers:
        return []
    return [
        f"{options[first]} is at least as good as {_and(losers)} on every criterion, so no weights can reverse that."
    ]


def _missing(
    options: Sequence[str],
    criteria: Sequence[Criterion],
    rows: Sequence[Sequence[Utility]],
    found: Sequence[Total],
    first: int,
) -> list[str]:
    rivals = [n for n in range(len(options)) if n == first or found[n].high >= found[first].low - NEAR]
    open_ = [f"{options[n]}: {one.name}" for n in rivals for one, u in zip(criteria, rows[n], strict=True) if u is None]
    more = f" and {len(open_) - 5} more" if len(open_) > 5 else ""
    return [f"These open scores can decide it: {'; '.join(open_[:5])}{more}."] if open_ else []


def _nearest(
    criteria: Sequence[Criterion], weights: Sequence[float], stretches: Sequence[Stretch | None], options: Sequence[str]
) -> str:
    """The smallest change of one weight that puts another option first."""
    ways = []
    for one, share, made in zip(criteria, weights, stretches, strict=True):
        if made is None:
            continue
        for border, who in ((made.low, made.below), (made.high, made.above)):
            if who is not None:
                ways.append((abs(border - share), one.name, share, border, options[who]))
    if not ways:
        return ""
    _, name, share, border, rival = min(ways)
    word = "more" if border > share else "less"
    return f"The nearest change: if {name} counted {word} than {border:.0%} of the weight (now {share:.0%}), {rival} would be first."


def _and(names: Sequence[str]) -> str:
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"


# -- files -----------------------------------------------------------------------------------------------------------


def markdown(title: str, result: dict[str, Any]) -> str:
    lines = [f"# {_cell(title)}", "", _cell(result["question"]), "", *(_cell(one) for one in result["explanation"]), ""]
    names = [one["name"] for one in result["criteria"]]
    lines += ["| Rank | Option | Total of 100 | " + " | ".join(_cell(name) for name in names) + " |"]
    lines += ["| --- | --- | --- |" + " --- |" * len(names)]
    for one in result["ranking"]:
        total = f"{one['score']:.1f}" if one["score"] is not None else f"{one['low']:.1f} to {one['high']:.1f}"
        values = " | ".join("open" if part["value"] is None else f"{part['value']:g}" for part in one["parts"])
        lines.append(f"| {one['rank']} | {_cell(one['option'])} | {total} | {values} |")
    reasons = [cell for cell in result["scores"] if cell["reason"] or cell["evidence"]]
    if reasons:
        lines += ["", "## Reasons", ""]
        for cell in reasons:
            by = "" if cell["by"] in ("", "you") else f" (judged by {_cell(cell['by'])})"
            lines.append(
                f"- {_cell(cell['option'])}, {_cell(cell['criterion'])}{by}: {_cell(cell['reason']) or 'evidence'}"
            )
            lines += [
                f"  - “{_cell(quote['quote'])}” ({_cell(quote['url'] or quote['title'])})" for quote in cell["evidence"]
            ]
    return "\n".join([*lines, "", f"*{result['method']}. {result['method_note']}*", ""])


def _cell(text: str) -> str:
    return " ".join(str(text).split()).replace("|", "\\|")


def csv_table(title: str, result: dict[str, Any]) -> str:
    """A row for each score."""
    header = ("rank", "option", "total_low", "total_high", "criterion", "share", "value", "points", "by", "reason")
    shares = {one["name"]: one["share"] for one in result["criteria"]}
    rows = (
        (one["rank"], one["option"], one["low"], one["high"], part["criterion"], shares[part["criterion"]], part["value"],
         part["points"], part["by"], part["reason"])
        for one in result["ranking"] for part in one["parts"]
    )  # fmt: skip
    return to_csv([header, *rows])
