"""The result: figures put together, the charts' numbers, and a report whose sentences say only what was computed."""

from __future__ import annotations

from typing import Any

from webapp.analysis import charting
from webapp.analysis.wording import listed, percent, say, say_p, several, two

Figures = dict[str, Any]
METHOD = "Computed figure by figure; no model was used."
SHOWN_PAIRS, SHOWN_ROWS = 100, 60  # correlations and associations, comparisons kept in the result
CLEAR = 0.05
# What an analysis of one thing says when there was nothing of it.
WANTED = {
    "correlation": ("correlations", "pairs", "There are no two columns of numbers to correlate."),
    "comparison": (
        "comparisons",
        "rows",
        "There is nothing to compare: a column with a few groups and a column of numbers are needed.",
    ),
    "trend": ("trends", "rows", "There is no column of numbers with enough values to follow."),
}
MEANS = ("Welch's t", "one-way ANOVA", "Welch's ANOVA")


def result(params: Figures, sources: list[Figures], read: Figures, found: Figures) -> Figures:
    described = found["described"]
    related, compared, followed = (found.get(name) or {} for name in ("related", "compared", "followed"))
    if (target := params.get("target")) and related:
        pairs = [one for one in related["correlations"]["pairs"] if target in (one["a"], one["b"])]
        related = related | {"correlations": related["correlations"] | {"pairs": pairs}}
    charts = charting.charts(described, related, compared, followed)
    notes = list(read["notes"])
    whole: Figures = {
        "analysis_type": params["analysis_type"],
        "target": params.get("target"),
        "group": params.get("group"),
        "method": METHOD,
        "table": described["table"],
        "statistics": _statistics(described["columns"]),
        "columns": [_column(one) for one in described["columns"]],
        "correlations": _limited(related.get("correlations"), "pairs", SHOWN_PAIRS, notes),
        "associations": _limited(related.get("associations"), "rows", SHOWN_PAIRS, notes),
        "comparisons": _limited(compared or None, "rows", SHOWN_ROWS, notes),
        "trends": followed or None,
        "charts": charts,
        "warnings": described["warnings"] + related.get("warnings", []),
        "sources": [_shown(source, about) for source, about in zip(sources, read["about"], strict=True)],
    }
    if followed:
        whole["trends"] = followed | {"rows": [_followed(row) for row in followed["rows"]]}
    if (wanted := WANTED.get(params["analysis_type"])) and not (whole[wanted[0]] or {}).get(wanted[1]):
        notes.append(wanted[2])
    for part in ("correlations", "comparisons", "associations", "trends"):
        notes += (whole[part] or {}).pop("notes", [])
    whole["notes"] = list(dict.fromkeys(notes))
    whole["report"] = report(whole)
    whole["summary"] = " ".join(whole["report"][0]["sentences"])
    return whole


def _statistics(columns: list[Figures]) -> Figures:
    """What `describe` of common libraries gives, by column of numbers."""
    keys = ("count", "mean", "std", "min", "25%", "50%", "75%", "max")
    return {one["name"]: {key: one[key] for key in keys} for one in columns if one["type"] == "number"}


def _column(one: Figures) -> Figures:
    return {key: value for key, value in one.items() if key not in ("histogram", "periods", "whiskers")}


def _limited(part: Figures | None, key: str, most: int, notes: list[str]) -> Figures | None:
    if part is None:
        return None
    rows = part[key]
    if len(rows) > most:
        notes.append(f"Only the {most} strongest of {len(rows)} {'pairs' if key == 'pairs' else 'rows'} are listed.")
    return part | {key: rows[:most]}


def _followed(row: Figures) -> Figures:
    """Without its points, which the chart has; `clear`: a trend beyond chance, `seasonal`: a season was shown."""
    clear = row["p_adjusted"] is not None and row["p_adjusted"] < CLEAR
    kept = {key: value for key, value in row.items() if key != "points"}
    return kept | {"clear": clear, "seasonal": bool(row["season"] and row["season"]["found"])}


def _shown(source: Figures, about: Figures) -> Figures:
    return {"name": source["name"], "url": source["url"], "bytes": source["bytes"], "sha256": source["sha256"], **about}


# --- the report -------------------------------------------------------------------------------------------------


def report(whole: Figures) -> list[Figures]:
    """Sections of sentences: the findings first, then the table, columns, and what was compared."""
    sections = [
        ("Findings", _findings(whole)),
        ("The table", _table(whole)),
        ("Numbers", [_of_number(one) for one in whole["columns"] if one["type"] == "number" and one["count"]][:30]),
        ("Dates", [_of_date(one) for one in whole["columns"] if one["type"] == "date"][:10]),
        (
            "Categories",
            [_of_words(one) for one in whole["columns"] if one["type"] in ("category", "boolean", "text")][:30],
        ),
        ("Correlations", _correlations(whole)),
        ("Associations", _associations(whole)),
        ("Groups", _comparisons(whole)),
        ("Trends", [sentence for row in (whole["trends"] or {"rows": []})["rows"] for sentence in _trend(row)]),
        ("How this was computed", _methods(whole)),
    ]
    return [{"title": title, "sentences": said} for title, said in sections if said]


def _findings(whole: Figures) -> list[str]:
    """The clearest of each part."""
    table = whole["table"]
    found = [f"The table has {several(table['rows'], 'row')} and {several(table['columns'], 'column')}."]
    numbers = [one for one in whole["columns"] if one["type"] == "number" and one["count"]]
    if len(numbers) == 1:
        one = numbers[0]
        found.append(f"{one['name']} is {say(one['mean'], one['unit'])} on average (median {say(one['50%'], one['unit'])}),"
                     f" from {say(one['min'], one['unit'])} to {say(one['max'], one['unit'])}.")  # fmt: skip
    asked = bool(whole["target"] or whole["group"] or whole["analysis_type"] in WANTED)
    if asked or _clear(whole["correlations"], "pairs"):
        found += _correlations(whole)[:1]
    if asked or _clear(whole["comparisons"], "rows"):
        found += _comparisons(whole)[:1]
    told = [row for row in (whole["trends"] or {"rows": []})["rows"] if asked or row["clear"] or row["seasonal"]]
    if told:
        found += _trend(max(told, key=lambda row: (row["seasonal"], abs(row["kendall_tau"]))))[:2]
    if count := len(whole["warnings"]):
        found.append(
            f"{several(count, 'thing')} to look at before trusting the figures {'is' if count == 1 else 'are'} listed as warnings."
        )
    return found


def _clear(part: Figures | None, key: str) -> list[Figures]:
    """What is there beyond chance, after correction."""
    return [one for one in (part or {}).get(key, ()) if one["p_adjusted"] is not None and one["p_adjusted"] < CLEAR]


def _table(whole: Figures) -> list[str]:
    table = whole["table"]
    kinds: dict[str, int] = {}
    for one in whole["columns"]:
        kinds[one["type"]] = kinds.get(one["type"], 0) + 1
    words = {
        "number": "numbers",
        "date": "dates",
        "boolean": "yes or no",
        "category": "categories",
        "text": "text",
        "empty": "nothing",
    }
    said = [f"Its columns hold {listed([f'{words[kind]} ({count})' for kind, count in kinds.items()])}."]
    if table["missing_cells"]:
        worst = sorted((one for one in whole["columns"] if one["missing"]), key=lambda one: -one["missing"])[:3]
        where = listed([f"{one['name']} ({one['missing']:,})" for one in worst])
        said.append(f"{several(table['missing_cells'], 'cell')} ({percent(table['missing_share'])}) are missing, most in {where}; "
                    f"{several(table['complete_rows'], 'row')} are complete.")  # fmt: skip
    else:
        said.append("No cell is missing.")
    repeated = table["duplicate_rows"]
    said.append(
        f"{several(repeated, 'row')} {'repeats' if repeated == 1 else 'repeat'} an earlier one."
        if repeated
        else "No row repeats another."
    )
    return said


def _of_number(one: Figures) -> str:
    unit, name = one["unit"], one["name"]
    if one["constant"]:
        return f"{name} is {say(one['mean'], unit)} throughout."
    said = (f"{name}: mean {say(one['mean'], unit)}, standard deviation {say(one['std'], unit)}, median {say(one['50%'], unit)}; "
            f"half of the values lie between {say(one['25%'], unit)} and {say(one['75%'], unit)}, all between "
            f"{say(one['min'], unit)} and {say(one['max'], unit)}.")  # fmt: skip
    if one["outliers"]:
        farthest = one["outlier_examples"][0]
        said += (f" {several(one['outliers'], 'value')} ({percent(one['outliers'] / one['count'])}) {'lies' if one['outliers'] == 1 else 'lie'} outside the fences "
                 f"{say(one['fences'][0], unit)} and {say(one['fences'][1], unit)}, farthest {say(farthest['value'], unit)} in row {farthest['row']:,}.")  # fmt: skip
    return said


def _of_date(one: Figures) -> str:
    if not one["count"]:
        return f"{one['name']} has no dates."
    return f"{one['name']} runs from {one['min']} to {one['max']}, with {several(one['distinct'], 'different moment')}."


def _of_words(one: Figures) -> str:
    if not one["count"]:
        return f"{one['name']} has no values."
    if one["type"] == "text" or not one["top"]:
        lengths = one.get("lengths") or {}
        return (f"{one['name']} is text: {several(one['distinct'], 'different value')} of {say(lengths.get('shortest'))} to "
                f"{say(lengths.get('longest'))} characters.")  # fmt: skip
    top = [f"{row['value']} ({row['count']:,}, {percent(row['share'])})" for row in one["top"][:3]]
    rest = (
        f"; {several(one['distinct'] - 3, 'further value follows', 'further values follow')}"
        if one["distinct"] > 3
        else ""
    )
    return f"{one['name']}: {listed(top)}{rest}."


def _correlations(whole: Figures) -> list[str]:
    pairs = (whole["correlations"] or {"pairs": []})["pairs"]
    clear = _clear(whole["correlations"], "pairs")
    said = []
    for one in clear[:5]:
        r = one["pearson"]
        strong = "strongly" if abs(r) >= 0.7 else "moderately" if abs(r) >= 0.4 else "weakly"
        side = "rise together" if r > 0 else "move against each other"
        said.append(f"{one['a']} and {one['b']} {strong} {side}: r = {two(r)} ({_interval(one['interval'])}{say_p(one['p_adjusted'])} corrected, "
                    f"n = {one['n']:,}), by rank {two(one['spearman'])}.")  # fmt: skip
    if pairs and not clear:
        said.append("The only pair of columns is not clearly correlated." if len(pairs) == 1 else
                    f"None of {several(len(pairs), 'pair')} of columns is clearly correlated after correction for their number.")  # fmt: skip
    elif len(clear) > 5:
        said.append(f"{several(len(clear) - 5, 'further pair is', 'further pairs are')} correlated beyond chance.")
    return said


def _interval(interval: list[float] | None) -> str:
    return f"95 % interval {two(interval[0])} to {two(interval[1])}, " if interval else ""


def _associations(whole: Figures) -> list[str]:
    rows = (whole["associations"] or {"rows": []})["rows"]
    clear = _clear(whole["associations"], "rows")
    said = []
    for one in clear[:5]:
        test = f"chi-square({one['df']}) = {say(one['chi2'])}" if one["test"] == "chi-square" else "Fisher's exact test"
        caution = f"; {one['caution']}" if one["caution"] else ""
        said.append(f"{one['a']} and {one['b']} are associated: Cramér's V = {two(one['cramers_v'])} ({test}, {say_p(one['p_adjusted'])} corrected, "
                    f"n = {one['n']:,}{caution}).")  # fmt: skip
    if rows and not clear:
        said.append("The only pair of categories is not clearly associated." if len(rows) == 1 else
                    f"None of {several(len(rows), 'pair')} of categories is clearly associated after correction.")  # fmt: skip
    return said


def _comparisons(whole: Figures) -> list[str]:
    rows = (whole["comparisons"] or {"rows": []})["rows"]
    clear = _clear(whole["comparisons"], "rows")
    said = [comparison_sentence(one) for one in clear[:8]]
    if rows and not clear:
        best = rows[0]
        if len(rows) == 1:
            said.append(
                f"The only comparison, {best['value']} by {best['group']}, shows no clear difference ({say_p(best['p'])})."
            )
        else:
            said.append(f"None of {several(len(rows), 'comparison')} shows a clear difference after correction; the largest is {best['value']} by "
                        f"{best['group']} ({say_p(best['p'])} before correction).")  # fmt: skip
    elif len(clear) > 8:
        said.append(f"{several(len(clear) - 8, 'further comparison shows', 'further comparisons show')} a difference.")
    return said


def comparison_sentence(one: Figures) -> str:
    effect, groups = one["effect"], one["groups"]
    centre = "mean" if one["test"] in MEANS or len({group["50%"] for group in groups}) == 1 else "50%"
    shown = listed([f"{group['name']} {say(group[centre])}" for group in groups], 5)
    words = f", a {effect['words']} effect" if effect["words"] else ""
    return (f"{one['value']} differs by {one['group']}: {one['direction']} ({'means' if centre == 'mean' else 'medians'}: {shown}"
            f"{_difference(one)}). {one['test']}: {say_p(one['p_adjusted'])} corrected, {effect['name']} {two(abs(effect['size'] or 0))}{words}.")  # fmt: skip


def _difference(one: Figures) -> str:
    """Told as a positive number: the direction has been said."""
    if not one["interval"]:
        return ""
    low, high = (
        sorted(abs(end) for end in one["interval"]) if one["interval"][0] * one["interval"][1] > 0 else one["interval"]
    )
    return f"; difference {say(abs(one['difference']))}, 95 % interval {say(low)} to {say(high)}"


def _trend(row: Figures) -> list[str]:
    unit = row["unit"]
    low, high = row["interval"]
    when = f"from {row['first']} to {row['last']}" if row["dated"] else "over the rows"
    if row["clear"]:
        side = "rises" if row["kendall_tau"] > 0 else "falls"
        said = [f"{row['value']} {side} {when}: {say(row['slope'])} a {unit} on a straight line (95 % interval {say(low)} to {say(high)}, "
                f"R² = {two(row['r_squared'])}; Mann-Kendall tau {two(row['kendall_tau'])}, {say_p(row['p_adjusted'])} corrected)."]  # fmt: skip
    else:
        said = [
            f"{row['value']} shows no clear trend {when} (Mann-Kendall tau {two(row['kendall_tau'])}, {say_p(row['p_adjusted'])} corrected)."
        ]
    season = row.get("season")
    if season and season["found"]:
        said.append(
            f"It repeats with the {season['cycle']}: the season explains {percent(season['strength'])} of what varies beside the trend."
        )
    elif season:
        said.append(f"No season that repeats with the {season['cycle']} can be shown.")
    if abs(row["autocorrelation"]) > 0.3:
        said.append(
            f"Neighbouring values of {row['value']} resemble each other ({two(row['autocorrelation'])}), so its p and interval are too confident."
        )
    return said


def _methods(whole: Figures) -> list[str]:
    said = [
        "Standard deviations divide by n − 1; quartiles are interpolated linearly; outliers lie more than 1.5 interquartile ranges outside the quartiles."
    ]
    if (whole["correlations"] or {"pairs": []})["pairs"]:
        said.append(
            "Correlations use the rows in which both columns have a value; p is corrected after Holm for the number of pairs."
        )
    if (whole["comparisons"] or {"rows": []})["rows"]:
        said.append("Means are compared where every group is near normal or large (Welch's t, ANOVA, Welch's ANOVA), ranks otherwise (Mann-Whitney, "
                    "Kruskal-Wallis); p is corrected after Holm for the number of comparisons. Words for effects follow Cohen's conventions.")  # fmt: skip
    said.append("A correlation or a difference does not say what causes it.")
    return said
