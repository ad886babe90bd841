"""Which charts an analysis gets, as numbers: the page and the download draw them (webapp.ui.plots)."""

from __future__ import annotations

from typing import Any

Figures = dict[str, Any]
HISTOGRAMS, BARS, BOXES, LINES = 12, 8, 6, 6


def charts(described: Figures, related: Figures, compared: Figures, followed: Figures) -> list[Figures]:
    """{kind, title, ...}: kind is histogram, bars, columns, boxes, scatter, line or heat. Some of each come first."""
    columns = [one for one in described["columns"] if one["count"] and not one.get("constant")]
    numbers = [one for one in columns if one["type"] == "number"]
    parts = [
        (2, [_line(row) for row in followed.get("rows", [])[:LINES]]),
        (1, _heat(related.get("correlations") or {"columns": []})),
        (3, [{"kind": "scatter", "title": f"{one['y']} by {one['x']}"} | one for one in related.get("scatters", [])]),
        (2, [_boxes(row) for row in compared.get("rows", [])[:BOXES]]),
        (2, [_histogram(one) for one in numbers[:HISTOGRAMS]]),
        (1, [_periods(one) for one in columns if one["type"] == "date"][:2]),
        (2, [_bars(one) for one in columns if one["type"] in ("category", "boolean")][:BARS]),
    ]
    return [chart for most, some in parts for chart in some[:most]] + [
        chart for most, some in parts for chart in some[most:]
    ]


def _heat(correlations: Figures) -> list[Figures]:
    if len(correlations["columns"]) < 2:
        return []
    return [
        {
            "kind": "heat",
            "title": "Correlations (Pearson)",
            "labels": correlations["columns"],
            "cells": correlations["pearson"],
        }
    ]


def _histogram(one: Figures) -> Figures:
    return {"kind": "histogram", "title": one["name"], "unit": one["unit"], **one["histogram"]}


def _line(row: Figures) -> Figures:
    return {"kind": "line", "title": f"{row['value']} over {row['axis']}", "labels": [str(label) for label, _ in row["points"]],
            "values": [value for _, value in row["points"]], "name": row["value"]}  # fmt: skip


def _boxes(row: Figures) -> Figures:
    return {"kind": "boxes", "title": f"{row['value']} by {row['group']}", "name": row["value"],
            "groups": [{key: one[key] for key in ("name", "n", "25%", "50%", "75%", "min", "max", "whiskers", "outliers")} for one in row["groups"]]}  # fmt: skip


def _periods(one: Figures) -> Figures:
    return {"kind": "columns", "title": f"Rows per {one['periods']['period']} of {one['name']}", "labels": one["periods"]["labels"],
            "values": one["periods"]["counts"]}  # fmt: skip


def _bars(one: Figures) -> Figures:
    rows = [[row["value"], row["count"]] for row in one["top"]]
    if one["others"]["count"]:
        rows.append([f"{one['others']['values']} others", one["others"]["count"]])
    return {"kind": "bars", "title": one["name"], "rows": rows}
