"""An analysis to take away: Markdown, a page that stands alone, and CSV whose cells a spreadsheet does not run."""

from __future__ import annotations

import html
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

from webapp.core.spreadsheets import to_csv
from webapp.ui.plots import plot, say

Figures = dict[str, Any]
Rows = Iterator[list[Any]]
ROOT = Path(__file__).resolve().parents[2]
MARKS = re.compile(r"([\\`*_\[\]<>#|~])")


# -- Markdown --------------------------------------------------------------------------------------------------------


def markdown(title: str, result: Figures) -> str:
    lines = [f"# {_md(title)}", ""]
    for number, part in enumerate(result["report"]):
        lines += [f"## {part['title']}", "", *(f"- {_md(sentence)}" for sentence in part["sentences"]), ""]
        if not number and result["warnings"]:
            lines += ["## Warnings", "", *(f"- {_md(one['text'])}" for one in result["warnings"]), ""]
    for name, rows in _parts(result):
        table = list(rows)
        lines += [
            f"## Table: {name}",
            "",
            _md_row(table[0]),
            "|" + "---|" * len(table[0]),
            *(_md_row(row) for row in table[1:]),
            "",
        ]
    if result["notes"]:
        lines += ["## Notes", "", *(f"- {_md(note)}" for note in result["notes"]), ""]
    lines += [
        "## Sources",
        "",
        *(
            f"- {_md(one['url'] or one['name'])}, {one['bytes']:,} bytes, SHA-256 {one['sha256']}"
            for one in result["sources"]
        ),
    ]
    return "\n".join([*lines, "", f"*{result['method']}*", ""])


def _md(text: Any) -> str:
    """Text that stays text: what Markdown or HTML would act on is escaped."""
    return MARKS.sub(r"\\\1", " ".join(str(text).split()))


def _md_row(row: list[Any]) -> str:
    return (
        "| "
        + " | ".join(
            _md(say(value) if isinstance(value, int | float) else "" if value is None else value) for value in row
        )
        + " |"
    )


# -- CSV -------------------------------------------------------------------------------------------------------------


def tables(title: str, result: Figures) -> str:
    """Every table, one after the other: its name in a line of its own, its head, its rows, an empty line."""
    rows: list[list[Any]] = [["Analysis", title], []]
    for name, part in _parts(result):
        rows += [[name], *part, []]
    rows += [["Warnings"], *([one["text"]] for one in result["warnings"])]
    return to_csv(rows)


def _parts(result: Figures) -> Iterator[tuple[str, Rows]]:
    columns = result["columns"]
    if numbers := [one for one in columns if one["type"] == "number"]:
        yield "Numbers", _numbers(numbers)
    if others := [one for one in columns if one["type"] != "number"]:
        yield "Other columns", _others(others)
    if any(one.get("top") for one in others):
        yield "Values", _values(others)
    if pairs := (result["correlations"] or {}).get("pairs"):
        yield "Correlations", _pairs(pairs)
    if linked := (result["associations"] or {}).get("rows"):
        yield "Associations", _associations(linked)
    if compared := (result["comparisons"] or {}).get("rows"):
        yield "Comparisons", _comparisons(compared)
        yield "Groups", _groups(compared)
        if any(one["pairs"] for one in compared):
            yield "Pairs of groups", _post_hoc(compared)
    if followed := (result["trends"] or {}).get("rows"):
        yield "Trends", _trends(followed)


NUMBERS = (
    "count",
    "missing",
    "mean",
    "std",
    "min",
    "25%",
    "50%",
    "75%",
    "max",
    "outliers",
    "skewness",
    "kurtosis",
    "distinct",
)


def _numbers(columns: list[Figures]) -> Rows:
    yield ["column", "unit", *NUMBERS]
    for one in columns:
        yield [one["name"], one["unit"], *(one.get(key) for key in NUMBERS)]


def _others(columns: list[Figures]) -> Rows:
    yield ["column", "type", "count", "missing", "distinct", "from", "to"]
    for one in columns:
        dated = one["type"] == "date"
        yield [one["name"], *(one[key] for key in ("type", "count", "missing", "distinct")),
               one.get("min") if dated else None, one.get("max") if dated else None]  # fmt: skip


def _values(columns: list[Figures]) -> Rows:
    yield ["column", "value", "count", "share"]
    for one in columns:
        yield from ([one["name"], row["value"], row["count"], row["share"]] for row in one.get("top", []))


def _pairs(rows: list[Figures]) -> Rows:
    keys = ("a", "b", "n", "pearson", "pearson_p", "p_adjusted", "spearman", "spearman_p")
    yield [*keys, "interval_low", "interval_high"]
    for row in rows:
        yield [*(row[key] for key in keys), *(row["interval"] or (None, None))]


def _associations(rows: list[Figures]) -> Rows:
    keys = ("a", "b", "n", "test", "chi2", "df", "p", "p_adjusted", "cramers_v", "odds_ratio", "caution")
    yield list(keys)
    yield from ([row[key] for key in keys] for row in rows)


def _comparisons(rows: list[Figures]) -> Rows:
    yield ["value", "group", "n", "test", "statistic", "p", "p_adjusted", "effect", "size", "words", "direction", "why"]
    for row in rows:
        effect = row["effect"]
        yield [row["value"], row["group"], row["n"], row["test"], row["statistic"], row["p"], row["p_adjusted"], effect["name"],
               effect["size"], effect["words"], row["direction"], row["why"]]  # fmt: skip


def _groups(rows: list[Figures]) -> Rows:
    keys = ("n", "mean", "std", "min", "25%", "50%", "75%", "max", "outliers")
    yield ["value", "group", "is", *keys]
    for row in rows:
        yield from ([row["value"], row["group"], one["name"], *(one[key] for key in keys)] for one in row["groups"])


def _post_hoc(rows: list[Figures]) -> Rows:
    yield ["value", "group", "a", "b", "test", "statistic", "p", "p_adjusted", "difference", "effect", "size"]
    for row in rows:
        for one in row["pairs"]:
            yield [row["value"], row["group"], one["a"], one["b"], one["test"], one["statistic"], one["p"], one["p_adjusted"],
                   one["difference"], one["effect"]["name"], one["effect"]["size"]]  # fmt: skip


def _trends(rows: list[Figures]) -> Rows:
    keys = ("value", "axis", "n", "moments", "first", "last", "slope", "unit", "slope_p", "r_squared", "autocorrelation", "kendall_tau",
            "kendall_p", "p_adjusted", "sen_slope")  # fmt: skip
    yield [*keys, "interval_low", "interval_high", "season", "season_strength"]
    for row in rows:
        season = row["season"] or {}
        yield [
            *(row[key] for key in keys),
            *row["interval"],
            season.get("cycle") if season.get("found") else None,
            season.get("strength"),
        ]


# -- a page ----------------------------------------------------------------------------------------------------------

POLICY = "default-src 'none'; style-src 'unsafe-inline'"  # nothing else is loaded or run, wherever it is opened
AROUND = """\
:root { color-scheme: light dark; }
body { margin: 0; font: 14px/1.55 var(--sans); color: var(--text); background: var(--surface); font-variant-numeric: tabular-nums; }
.page { max-width: 64rem; margin: 0 auto; padding: 1.5rem 1rem 3rem; }
h1 { font-size: 1.5rem; line-height: 1.25; margin: 0 0 1rem; } h2 { font-size: 1.1rem; margin: 2rem 0 .5rem; }
p, ul { margin: .25rem 0; } ul { padding-inline-start: 1.2rem; } .legend, .hbars { list-style: none; margin: 0; } .hbars dd, figure { margin: 0; }
.muted { color: var(--muted); } .num, .col-num { text-align: end; } .truncate { overflow: hidden; text-overflow: ellipsis; white-space: nowrap; }
.sr-only { position: absolute; width: 1px; height: 1px; overflow: hidden; clip-path: inset(50%); white-space: nowrap; }
.analysis-charts { padding: 0; }
"""
PARTS = re.compile(r"(?s)^:root \{.*?^\}|^/\* Charts \*/\n\n.*?\n(?=\n)", re.MULTILINE)
TABLE_RULES = re.compile(r"(?m)^\.table(?:-tight|-scroll)?(?: [^{]*)?\{[^}]*\}$")


def page(title: str, result: Figures) -> str:
    """One file with its style and charts inside; everything of the table is escaped."""
    body = _environment().get_template("analysis/download.html").render(title=title, result=result)
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{POLICY}">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{html.escape(title)}</title>\n<style>\n{_style()}</style>\n</head>\n<body>\n{body}</body>\n</html>\n"
    )


@cache
def _environment() -> Any:
    from jinja2 import Environment, FileSystemLoader

    made = Environment(
        loader=FileSystemLoader(ROOT / "templates"), autoescape=True, trim_blocks=True, lstrip_blocks=True
    )
    made.filters["figure"] = say
    made.globals["statistical_plot"] = plot
    return made


@cache
def _style() -> str:
    """The variables, chart and table rules of the program's own sheet, and the whole sheet of the plots."""
    sheet = (ROOT / "static" / "app.css").read_text("utf-8")
    chosen = PARTS.findall(sheet)[:2] + TABLE_RULES.findall(sheet)
    return "\n".join([*chosen, AROUND, (ROOT / "static" / "plots.css").read_text("utf-8")])
