"""Helpers of the templates in `templates/ui`: words of times, highlighted code, differences.

Each is a plain function, registered in `install()`.
"""

from __future__ import annotations

import difflib
import json
import re
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from markupsafe import Markup, escape

if TYPE_CHECKING:
    from flask import Flask

LARGE = 200_000  # characters; longer code is shown as it is


def install(app: Flask) -> None:
    from webapp.ui import charts, plots

    app.jinja_env.filters.update(
        about=about,
        coarse=coarse,
        highlight=highlight,
        pretty_json=pretty_json,
        figure=plots.say,
        model_name=model_name,
    )
    app.jinja_env.globals.update(
        diff_rows=diff_rows,
        line_chart=charts.line_chart,
        column_chart=charts.column_chart,
        bar_chart=charts.bar_chart,
        sparkline=charts.sparkline,
        statistical_plot=plots.plot,
    )


def model_name(text: Any) -> str:
    """A model's id, or a text with one, as people know it: `openai:llama3.2:3b@quay` is `llama3.2:3b@quay`."""
    return re.sub(r"\b(?:openai|ggml):(?=\S)", "", str(text or ""))


def about(seconds: float) -> str:
    """A span nobody should take to the second: `a few seconds`, `about 40 s`, `about 3 min`. app.js says the same."""
    if seconds < 5:
        return "a few seconds"
    if seconds < 55:
        return f"about {max(5, 5 * round(seconds / 5))} s"
    if seconds < 3600:
        return f"about {max(1, round(seconds / 60))} min"
    return f"about {seconds / 3600:.1f} h"


def coarse(seconds: float) -> str:
    """`47 s`, `3 min`, `2 h`: for what only grows."""
    for size, unit in ((3600, "h"), (60, "min")):
        if seconds >= size:
            return f"{int(seconds // size)} {unit}"
    return f"{int(seconds)} s"


def highlight(text: Any, language: str = "text") -> Markup:
    """Code as HTML with classes (`.k`, `.s`, ...) that app.css colours; plain and escaped when too long or unknown."""
    code = str(text)
    if len(code) > LARGE or language in ("", "text"):
        return escape(code)
    return _highlighted(code, language)


@lru_cache(maxsize=64)
def _highlighted(code: str, language: str) -> Markup:
    from pygments import highlight as paint
    from pygments.formatters import HtmlFormatter
    from pygments.lexers import get_lexer_by_name
    from pygments.util import ClassNotFound

    try:
        lexer = get_lexer_by_name(language, stripnl=False, ensurenl=False)
    except ClassNotFound:
        return escape(code)
    return Markup(paint(code, lexer, HtmlFormatter(nowrap=True)))  # pygments escapes what it paints


def pretty_json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, indent=2, default=str)


@dataclass(frozen=True)
class DiffRow:
    """One line of a difference: `mark` is "+", "-", " " or "…" (lines left out)."""

    mark: str
    old: int | None
    new: int | None
    text: str


def diff_rows(old: str, new: str, context: int = 3) -> list[DiffRow]:
    """The lines that changed with `context` lines around them, numbered on both sides."""
    a, b = old.splitlines(), new.splitlines()
    rows: list[DiffRow] = []
    for at, group in enumerate(difflib.SequenceMatcher(None, a, b, autojunk=False).get_grouped_opcodes(context)):
        if at or group[0][1]:
            rows.append(DiffRow("…", None, None, ""))
        for tag, i1, i2, j1, j2 in group:
            if tag == "equal":
                rows += [DiffRow(" ", i1 + n + 1, j1 + n + 1, line) for n, line in enumerate(a[i1:i2])]
                continue
            rows += [DiffRow("-", i1 + n + 1, None, line) for n, line in enumerate(a[i1:i2])]
            rows += [DiffRow("+", None, j1 + n + 1, line) for n, line in enumerate(b[j1:j2])]
    return rows
