"""The page of statistics."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from flask import request

from webapp.core.context import Ctx
from webapp.insight import service
from webapp.tasks.statistics import Figures, Report
from webapp.tasks.views import kind_label
from webapp.ui.charts import Chart, bar_chart, column_chart, line_chart
from webapp.web.page import Pages, render

pages = Pages("insight_pages")
MOST_BARS = 10


@pages.get("/insight", auth="tasks:read")
def index(ctx: Ctx) -> Any:
    """How tasks went in the chosen range; an administrator sees everybody's unless only own ones are asked for."""
    asked = {name: request.args.get(name, "")[:64] for name in ("range", "from", "to", "whose", "kind")}
    wanted = service.chosen(asked["range"], asked["from"], asked["to"])
    everyone = ctx.user.is_admin and asked["whose"] != "mine"
    found = service.of_tasks(ctx, wanted, everyone=everyone, kind=asked["kind"] or None)
    return render("insight/index.html", asked=asked, chosen=wanted.name, ranges=service.RANGES, found=found,
                  labels={one.name: kind_label(one.name) for one in found.kinds},
                  agents=service.agent_names(ctx, found), charts=charts(found))  # fmt: skip


def charts(found: Report) -> dict[str, Chart]:
    """name -> what `ui/chart.html` draws."""
    labels = [slot.at.strftime("%d %b %H:%M" if found.hourly else "%d %b") for slot in found.slots]
    outcomes = [
        ("Completed", [slot.by_status["completed"] for slot in found.slots]),
        ("Failed or timed out", [slot.failed for slot in found.slots]),
        ("Cancelled", [slot.by_status["cancelled"] for slot in found.slots]),
    ]
    times = [
        ("Ran", [_short(slot.average) for slot in found.slots]),
        ("Waited", [_short(slot.average_wait) for slot in found.slots]),
    ]
    by_kind = [(kind_label(one.name), one.ended) for one in found.kinds if one.ended]
    return {
        "ended": column_chart(labels, outcomes, tones=("", "bad", "quiet")),
        "times": line_chart(labels, times, unit="s"),
        "kinds": replace(bar_chart(_most(by_kind)), summary=""),
        "spread": replace(bar_chart(_spread(found.total), unit="s"), summary=""),
    }


def _most(rows: list[tuple[str, int]]) -> list[tuple[str, float]]:
    rows = sorted(rows, key=lambda row: -row[1])
    shown: list[tuple[str, float]] = [(name, number) for name, number in rows[:MOST_BARS]]
    rest = sum(number for _, number in rows[MOST_BARS:])
    return [*shown, ("Others", rest)] if rest else shown


def _spread(total: Figures) -> list[tuple[str, float]]:
    """How long half, nine in ten and all but one in a hundred took at the most."""
    words = {50: "Median", 90: "90 %", 99: "99 %"}
    found = [(text, total.duration(percent)) for percent, text in words.items()]
    return [(text, value) for text, value in found if value is not None]


def _short(value: float | None) -> float | None:
    return None if value is None else round(value, 3 if value < 10 else 1)
