"""The task kind `decision`: options scored against weighted criteria, with reasons, gaps and what would change the answer.

Nothing is scored that nobody scored: what is open stays open, and totals become ranges. Where it was asked for, a model
fills gaps, marked as its judgement. Each option's evidence and each judgement is a checkpoint.
"""

from __future__ import annotations

from functools import partial
from typing import Any

from webapp.core.context import SYSTEM, Actor, Ctx
from webapp.core.errors import BadRequest
from webapp.decisions import evidence, explaining
from webapp.decisions.params import DecisionParams, criterion, table
from webapp.decisions.scoring import Criterion
from webapp.tasks.kinds import Download, TaskKind
from webapp.tasks.run import TaskRun

Cell = dict[str, Any]  # option, criterion, value, reason, by ("you", a model's name or ""), evidence


def prepare(ctx: Ctx, params: dict[str, Any]) -> None:
    """A model that shall fill gaps must be there, and points only are what it can give."""
    from webapp.engines import service as engines

    if not params.get("fill_gaps"):
        return
    if params.get("scale") == "measures":
        message = "a model can give points only, not figures in units"
        raise BadRequest(f"fill_gaps: {message}", code="invalid_config",
                         details=[{"loc": ["fill_gaps"], "msg": message, "type": "value_error"}])  # fmt: skip
    engines.choose(ctx.rt, params.get("engine") or "", "decision")


def run(task: TaskRun) -> dict[str, Any]:
    """1. Read what was given. 2. Look for evidence of what is open. 3. Let a model fill gaps, if asked. 4. Compute."""
    criteria = [criterion(line) for line in task.params["criteria"]]
    cells = _given(task.params, criteria)
    task.progress(5, _counted(cells))
    if task.params["use_knowledge"]:
        _look(task, cells)
    if task.params["fill_gaps"]:
        _judge(task, criteria, cells)
    task.progress(95, "Computing totals and how far the weights carry them")
    return explaining.result(task.params["question"], task.params["options"], criteria, cells, task.params["scale"])


def _given(params: dict[str, Any], criteria: list[Criterion]) -> list[Cell]:
    names = [one.name for one in criteria]
    given = {(one.option, one.criterion): one for one in table(params.get("scores") or "", params["options"], names)}
    cells = []
    for option in params["options"]:
        for name in names:
            one = given.get((option, name))
            cells.append({"option": option, "criterion": name, "value": one.value if one else None,
                          "reason": one.reason if one else "", "by": "you" if one else "", "evidence": []})  # fmt: skip
    return cells


def _counted(cells: list[Cell]) -> str:
    left = sum(cell["value"] is None for cell in cells)
    return f"{len(cells) - left} of {len(cells)} scores are given"


def _look(task: TaskRun, cells: list[Cell]) -> None:
    left = [cell for cell in cells if cell["value"] is None]
    for number, cell in enumerate(left):
        task.progress(5 + 45 * number / len(left), f"Looking for evidence: {cell['option']}, {cell['criterion']}")
        place = f"{task.params['options'].index(cell['option'])}-{cell['criterion']}"
        cell["evidence"] = task.once(f"evidence-{place}", partial(_quotes, task, cell))


def _quotes(task: TaskRun, cell: Cell) -> list[dict[str, Any]]:
    actor = Actor(task.owner_id, "task", via="system") if task.owner_id else SYSTEM
    with task.rt.unit(write=False) as db:
        ctx = Ctx(task.rt, db, actor, request_id=task.request_id or "-")
        return evidence.quotes(ctx, cell["option"], cell["criterion"])


def _judge(task: TaskRun, criteria: list[Criterion], cells: list[Cell]) -> None:
    options = task.params["options"]
    for number, option in enumerate(options):
        mine = {cell["criterion"]: cell for cell in cells if cell["option"] == option and cell["value"] is None}
        if not mine:
            continue
        task.progress(50 + 44 * number / len(options), f"A model judges {option}")
        open_ = [one for one in criteria if one.name in mine]
        found = task.once(f"judged-{number}", partial(_judged, task, option, open_, mine))
        for name, score in found["scores"].items():
            mine[name].update(value=score["value"], reason=score["reason"], by=found["model"])


def _judged(task: TaskRun, option: str, open_: list[Criterion], mine: dict[str, Cell]) -> dict[str, Any]:
    found = evidence.judged(
        task.rt, task.params["question"], task.params.get("context") or "", option, open_,
        {name: cell["evidence"] for name, cell in mine.items()}, engine=task.params.get("engine") or "",
        owner_id=task.owner_id, task_id=task.id, cancelled=task.stopped, timeout=min(300.0, task.remaining()),
    )  # fmt: skip
    task.check()
    return found


DECISION = TaskKind(
    name="decision",
    label="Decision",
    queue="inference",
    params=DecisionParams,
    run=run,
    prepare=prepare,
    description="Weighs options against criteria: totals, reasons, who beats whom, and which weights would change the answer.",
    time_limit=1800,
    soft_limit=1500,
    max_attempts=4,
    view="decisions/_result.html",
    downloads={
        "md": Download("text/markdown; charset=utf-8", explaining.markdown, "Markdown"),
        "csv": Download("text/csv; charset=utf-8", explaining.csv_table, "CSV"),
    },
    examples=[
        {
            "question": "Which city for the new office?",
            "options": ["Lisbon", "Leipzig", "Lyon"],
            "criteria": ["Rent: 3, lower", "Airport: 1", "Talent: 2"],
            "scores": "| | Rent | Airport | Talent |\n| Lisbon | 4 | 8 | 6 |\n| Leipzig | 2 (low rents) | 5 | 7 |\n| Lyon | 6 | 7 | 7 |",
        },
        {
            "question": "Which laptop?",
            "options": ["Air", "Book"],
            "criteria": [{"name": "Price", "weight": 2, "better": "lower"}, {"name": "Battery", "weight": 1}],
            "scores": {"Air": {"Price": 1199, "Battery": 15}, "Book": {"Price": 999, "Battery": 9}},
            "scale": "measures",
        },
    ],
)
