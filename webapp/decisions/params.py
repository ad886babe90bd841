"""What is asked of a decision, as people write it: a line for each criterion, a table of scores.

Programs may send objects instead; both end as the same lines, so that a form can show them again.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationInfo, field_validator

from webapp.decisions.scoring import POINTS, Criterion

MOST = 20  # options, criteria
NAME = 120  # characters of an option's or criterion's name
LOWER = frozenset(("lower", "less", "low", "min", "minimum", "cost"))
HIGHER = frozenset(("higher", "more", "high", "max", "maximum", "benefit"))
CELL = re.compile(
    r"^\s*([+-]?(?:\d+(?:[.,]\d+)?|[.,]\d+)(?:[eE][+-]?\d{1,3})?)\s*(?:\((.*)\)|[-–—:]\s(.*))?\s*$", re.DOTALL
)
UNKNOWN = frozenset(("", "?", "-", "–", "unknown", "n/a"))


@dataclass(frozen=True)
class Given:
    """One score of the table."""

    option: str
    criterion: str
    value: float
    reason: str


class DecisionParams(BaseModel):
    """task_config of a decision."""

    model_config = ConfigDict(extra="forbid", str_max_length=200_000)

    question: str = Field(
        title="What is to be decided?", min_length=1, max_length=300, examples=["Which city for the new office?"]
    )
    options: list[str] = Field(
        title="Options",
        min_length=2,
        max_length=MOST,
        examples=[["Lisbon", "Leipzig", "Lyon"]],
    )
    criteria: list[str] = Field(
        title="Criteria",
        min_length=1,
        max_length=MOST,
        description="With its weight: “Rent: 3, lower” counts three times and lower values are better. "
        "Programs may send objects with name, weight and better.",
        examples=[["Rent: 3, lower", "Airport: 1", "Talent: 2"]],
    )
    scores: str = Field(
        "",
        title="Scores",
        description="A table: the first line names the criteria, each further one an option and its values. A reason may "
        "stand behind a value in brackets. Leave open what is not known. Programs may send an object of objects.",
        examples=["| | Rent | Airport | Talent |\n| Lisbon | 4 | 8 | 6 |\n| Leipzig | 2 (low rents) | 5 | 7 |"],
        json_schema_extra={"widget": "textarea"},
    )
    scale: Literal["points", "measures"] = Field(
        "points",
        title="Values are",
        description="points: 0 to 10 each. measures: figures in their own units, compared from the worst to the best.",
    )
    context: str = Field(
        "", title="What else should be known", max_length=20_000, description="Read by a model that fills gaps; not scored.",
        json_schema_extra={"widget": "textarea"},
    )  # fmt: skip
    use_knowledge: bool = Field(
        False,
        title="Look for evidence in my knowledge",
        description="Quotes what your documents say where a score is open.",
    )
    fill_gaps: bool = Field(
        False,
        title="Let a model score what is open",
        description="Its scores are marked as a model's judgement. Points only.",
    )
    engine: str = Field("", title="Model", max_length=300, description="Empty for the default one.")

    @field_validator("options", mode="before")
    @classmethod
    def _lines(cls, value: Any) -> Any:
        return value.splitlines() if isinstance(value, str) else value

    @field_validator("options")
    @classmethod
    def _distinct(cls, options: list[str]) -> list[str]:
        named = [" ".join(one.split()) for one in options if one.strip()]
        return _unique(named, "option", 2)

    @field_validator("criteria", mode="before")
    @classmethod
    def _criterion_lines(cls, value: Any) -> Any:
        if isinstance(value, str):
            value = value.splitlines()
        return [_as_line(one) for one in value] if isinstance(value, list) else value

    @field_validator("criteria")
    @classmethod
    def _readable(cls, lines: list[str]) -> list[str]:
        read = [criterion(line) for line in lines if line.strip()]
        _unique([one.name for one in read], "criterion", 1)
        if not sum(one.weight for one in read):
            raise ValueError("at least one weight must be more than 0")
        return [_line(one) for one in read]

    @field_validator("scores", mode="before")
    @classmethod
    def _table(cls, value: Any) -> Any:
        return _from_objects(value) if isinstance(value, dict) else value

    @field_validator("scores")
    @classmethod
    def _fits(cls, text: str, info: ValidationInfo) -> str:
        if "options" in info.data and "criteria" in info.data and text.strip():
            names = [criterion(line).name for line in info.data["criteria"]]
            for one in table(text, info.data["options"], names):
                if info.data.get("scale") != "measures" and not math.isfinite(one.value):
                    raise ValueError(f"{one.option}, {one.criterion}: not a number")
        return text

    @field_validator("scale")
    @classmethod
    def _in_range(cls, scale: str, info: ValidationInfo) -> str:
        if scale == "points" and info.data.get("scores") and "options" in info.data and "criteria" in info.data:
            names = [criterion(line).name for line in info.data["criteria"]]
            for one in table(info.data["scores"], info.data["options"], names):
                if not 0 <= one.value <= POINTS:
                    raise ValueError(
                        f"{one.option}, {one.criterion}: {one.value:g} is not a point of 0 to 10; choose measures"
                    )
        return scale


def criterion(line: str) -> Criterion:
    """Of "Rent: 3, lower". Raises ValueError with what is wrong with it."""
    name, colon, rest = line.rpartition(":")
    if not colon:
        name, rest = line, ""
    name = " ".join(name.split())
    weight, better = 1.0, "higher"
    for word in rest.replace(",", " , ").split():
        low = word.lower()
        if low in LOWER:
            better = "lower"
        elif low in HIGHER:
            better = "higher"
        elif low not in (",", "is", "better", "weight"):
            try:
                weight = float(low)
            except ValueError:
                raise ValueError(
                    f"“{line.strip()[:80]}”: write it as “name: weight” or “name: weight, lower”"
                ) from None
    if not name or len(name) > NAME:
        raise ValueError(f"“{line.strip()[:80]}”: a criterion needs a name of at most {NAME} characters")
    if not (math.isfinite(weight) and 0 <= weight <= 1000):
        raise ValueError(f"{name}: the weight must be from 0 to 1000")
    return Criterion(name, weight, "lower" if better == "lower" else "higher")


def _line(one: Criterion) -> str:
    return f"{one.name}: {one.weight:g}" + (", lower" if one.better == "lower" else "")


def _as_line(one: Any) -> Any:
    if not isinstance(one, dict):
        return one
    unknown = set(one) - {"name", "weight", "better", "direction"}
    if unknown or "name" not in one:
        raise ValueError("a criterion has name, weight and better (higher or lower)")
    better = str(one.get("better") or one.get("direction") or "higher").lower()
    if better not in LOWER | HIGHER:
        raise ValueError(f"{str(one['name'])[:80]}: better is higher or lower")
    return f"{str(one['name'])[: NAME + 1]}: {one.get('weight', 1)}, {better}"


def _unique(names: list[str], what: str, least: int) -> list[str]:
    if len(names) < least:
        raise ValueError(f"give at least {least} of them")
    for name in names:
        if len(name) > NAME:
            raise ValueError(f"“{name[:60]}…”: at most {NAME} characters")
    seen: set[str] = set()
    for name in names:
        if name.casefold() in seen:
            raise ValueError(f"the {what} “{name}” is there twice")
        seen.add(name.casefold())
    return names


# -- the table of scores ---------------------------------------------------------------------------------------------


def table(text: str, options: list[str], criteria: list[str]) -> list[Given]:
    """The scores of a table with bars, tabs, semicolons or commas. Raises ValueError that names line and cell."""
    rows = [_cells(line) for line in text.splitlines() if line.strip()]
    rows = [row for row in rows if any(cell.strip("-: ") for cell in row)]
    if not rows:
        return []
    columns = _columns(rows[0], criteria)
    named = {one.casefold(): one for one in options}
    found: dict[tuple[str, str], Given] = {}
    for row in rows[1:]:
        option = named.get(" ".join(row[0].split()).casefold())
        if option is None:
            raise ValueError(f"“{row[0][:60]}” is not one of the options")
        if len(row) > len(columns) + 1:
            raise ValueError(f"{option}: {len(row) - 1} values for {len(columns)} criteria")
        for name, cell in zip(columns, row[1:], strict=False):
            if cell.strip().lower() in UNKNOWN:
                continue
            if (option, name) in found:
                raise ValueError(f"{option}, {name}: given twice")
            found[option, name] = _cell(option, name, cell)
    return list(found.values())


def _columns(row: list[str], criteria: list[str]) -> list[str]:
    named = {one.casefold(): one for one in criteria}
    heads = [" ".join(cell.split()) for cell in row]
    for heading in (heads[1:], heads):  # the corner above the options may be missing
        if heading and all(head.casefold() in named for head in heading):
            return [named[head.casefold()] for head in heading]
    wrong = next((head for head in heads[1:] if head.casefold() not in named), heads[0])
    raise ValueError(f"the first line names the criteria; “{wrong[:60]}” is none of them")


def _cells(line: str) -> list[str]:
    """The cells of a line; a comma or semicolon inside brackets belongs to a reason."""
    if "|" in line:
        return [cell.strip() for cell in line.strip().removeprefix("|").removesuffix("|").split("|")]
    mark = "\t" if "\t" in line else ";" if ";" in line else ","
    cells, depth = [""], 0
    for sign in line:
        depth = max(0, depth + (sign == "(") - (sign == ")"))
        if sign == mark and not depth:
            cells.append("")
        else:
            cells[-1] += sign
    return [cell.strip() for cell in cells]


def _cell(option: str, name: str, cell: str) -> Given:
    found = CELL.match(cell[:2000])
    if found is None:
        raise ValueError(f"{option}, {name}: “{cell[:40]}” is not a number")
    value = float(found[1].replace(",", "."))
    if not math.isfinite(value):
        raise ValueError(f"{option}, {name}: “{cell[:40]}” is too large")
    return Given(option, name, value, " ".join((found[2] or found[3] or "").split())[:500])


def _from_objects(scores: dict[Any, Any]) -> str:
    """{option: {criterion: 7 or {"value": 7, "reason": "..."}}} as a table."""
    names: list[str] = []
    for option, values in scores.items():
        if not isinstance(values, dict):
            raise ValueError(f"{str(option)[:60]}: an object of criteria and values is needed")
        names += [str(name) for name in values if str(name) not in names]
    lines = ["| | " + " | ".join(_plain(name) for name in names) + " |"]
    for option, values in scores.items():
        lines.append(f"| {_plain(option)} | " + " | ".join(_as_cell(values.get(name)) for name in names) + " |")
    return "\n".join(lines)


def _as_cell(value: Any) -> str:
    reason = ""
    if isinstance(value, dict):
        value, reason = value.get("value", value.get("score")), str(value.get("reason") or "")
    if value is None:
        return "?"
    return f"{_plain(value)} ({_plain(reason)})" if reason else _plain(value)


def _plain(value: Any) -> str:
    """On one line and in one cell."""
    return " ".join(str(value)[:500].replace("|", "/").split())
