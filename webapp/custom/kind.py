"""The task kind `custom`: steps one after the other, each done once however often the run is started anew.

A step's outcome is a checkpoint. Steps that are tasks of their own, or analyses, run as children: the worker is free
meanwhile, and the whole starts again from the top and finds what is done. Jumps go forward only, so it ends.
"""

from __future__ import annotations

import time
from functools import partial
from typing import Any

from webapp.calls.secrets import seal_lines
from webapp.core import lookup
from webapp.core.context import Ctx
from webapp.core.errors import AppError
from webapp.custom import reporting, steps
from webapp.custom.params import CustomParams, read
from webapp.tasks.kinds import Download, TaskKind
from webapp.tasks.run import SPAN, TaskRun

Record = dict[str, Any]  # name, type, title, status, seconds, output, error
DOING = {"prompt": "asking", "search": "searching", "fetch": "fetching", "analysis": "analysing", "task": "running",
         "condition": "comparing"}  # fmt: skip


def prepare(ctx: Ctx, params: dict[str, Any]) -> None:
    """Credentials of calls are sealed, and addresses and models looked at, before anything is stored."""
    from webapp.engines import service as engines
    from webapp.intake import service as intake

    if params.get("engine") not in (None, "", "extractive"):
        engines.choose(ctx.rt, params["engine"])
    for number, (given, step) in enumerate(zip(params["steps"], read(params["steps"]), strict=True)):
        if step.type == "fetch" and not lookup.places(step.url):
            intake.check_urls(ctx, [step.url], place=("steps", number), label=f"step {number + 1}")
        if step.type == "task" and step.kind == "api":
            params["steps"][number] = _sealed(given, step, ctx)


def _sealed(given: Any, step: Any, ctx: Ctx) -> dict[str, Any]:
    made = {"type": "task", "kind": "api", "params": dict(step.params)} if isinstance(given, str) else dict(given)
    made["params"] = seal_lines(step.params, ctx.rt.secret_key, ctx.user.id)
    return made


def run(task: TaskRun) -> dict[str, Any]:
    """Each step in its turn; what a condition jumps over is listed as skipped."""
    wanted = read(task.params["steps"])
    records: list[Record] = []
    ahead, stopped_by = 0, ""  # steps before number `ahead` are jumped over
    for number, step in enumerate(wanted):
        if number < ahead or stopped_by:
            records.append(_empty(step, "skipped"))
            continue
        record = _done(task, number, step, len(wanted), partial(_look, task, records))
        records.append(record)
        if step.type == "condition" and record["status"] == "completed":
            action = record["output"]["action"]
            stopped_by = step.name if action == "stop" else ""
            ahead = {"skip": number + 2}.get(action, 0)
            if action == "goto":
                ahead = [one.name for one in wanted].index(record["output"]["goto"])
    return _result(task, records, stopped_by)


def _look(task: TaskRun, records: list[Record], path: str) -> Any:
    """What a place in a step stands for: earlier outputs and the configuration, nothing else."""
    done = [record for record in records if record["output"] is not None]
    data: dict[str, Any] = {
        "steps": {record["name"]: record["output"] for record in done},
        "config": task.params.get("custom_config"),
    }
    before = [record["output"] for record in done if record["type"] != "condition"]
    if before:
        data["previous"] = before[-1]
    return lookup.look(data, path)


def _empty(step: Any, status: str) -> Record:
    return {"name": step.name, "type": step.type, "title": reporting.title_of(step), "status": status, "seconds": None,
            "output": None, "error": None}  # fmt: skip


def _done(task: TaskRun, number: int, step: Any, of: int, source: steps.Source) -> Record:
    """The record of a step: kept from an earlier run, or made now. Raises what a step that may not fail raises."""
    key = f"step-{number}"
    kept: Record | None = task.saved(key)
    if kept is not None:
        return kept
    span = (100 * number / of, 100 * (number + 1) / of)
    record = _empty(step, "completed")
    task.progress(
        span[0], f"Step {number + 1} of {of}: {DOING[step.type]} {record['title']}"[:300], data={"step": step.name}
    )
    began = task.once(f"began-{number}", time.time)
    try:
        record["output"] = _work(task, number, step, source, span)
    except (lookup.Missing, lookup.BadPath) as error:
        _failed(task, number, step, record, AppError(str(error), code="missing_value"))
    except AppError as error:
        task.check()
        _failed(task, number, step, record, error)
    record["seconds"] = round(max(0.0, time.time() - began), 2)
    task.save(key, record)
    task.log(f"Step {number + 1} of {of}, {record['title']}: {reporting.outcome(record)}"[:500],
             "info" if record["status"] == "completed" else "warning")  # fmt: skip
    return record


def _work(task: TaskRun, number: int, step: Any, source: steps.Source, span: tuple[float, float]) -> dict[str, Any]:
    match step.type:
        case "prompt":
            return steps.prompt(task, step, source)
        case "search":
            return steps.search(task, step, source)
        case "fetch":
            return steps.fetch(task, step, source)
        case "condition":
            return steps.condition(step, source)
    name = f"{number + 1}: {step.name}"
    if not task.saved(f"part-{number}"):
        kind, params, title = steps.part(task, step, source)
        task.save(SPAN, list(span))
        task.start_child(name, kind, params, title)
        task.save(f"part-{number}", True)
    return steps.output_of(task.wait_for_children()[name])


def _failed(task: TaskRun, number: int, step: Any, record: Record, error: AppError) -> None:
    """Into the record where the step may fail; else the whole fails with it, or tries again if that may help."""
    error.message = f"Step {number + 1} ({record['title'][:80]}): {error.message}"
    again = error.retryable and task.attempt < task.max_attempts
    if step.on_error == "fail" or again:
        raise error
    record.update(status="failed", error=error.message)


def _result(task: TaskRun, records: list[Record], stopped_by: str) -> dict[str, Any]:
    done = [record for record in records if record["output"] is not None and record["type"] != "condition"]
    by = sorted({record["output"]["by"] for record in done if record["output"].get("by")})
    return {
        "text": done[-1]["output"].get("text", "") if done else "",
        "steps": records,
        "completed": sum(record["status"] == "completed" for record in records),
        "failed": sum(record["status"] == "failed" for record in records),
        "skipped": sum(record["status"] == "skipped" for record in records),
        "stopped_by": stopped_by or None,
        "models": [one for one in by if one != "extractive"],
        "custom_config": task.params.get("custom_config"),
        "notes": list(dict.fromkeys(
            record["output"]["note"] for record in done if record["output"].get("by") == "extractive" and record["output"].get("note")
        )),
    }  # fmt: skip


CUSTOM = TaskKind(
    name="custom",
    label="Custom steps",
    queue="workflows",
    params=CustomParams,
    run=run,
    prepare=prepare,
    description="Steps one after the other: prompts, searches, fetches, analyses, other tasks and conditions; outputs feed later steps.",
    max_attempts=4,
    view="custom/_result.html",
    downloads={"md": Download("text/markdown; charset=utf-8", reporting.markdown, "Markdown")},
    examples=[
        {"custom_config": "Any custom parameters", "steps": ["step1", "step2", "step3"]},
        {"steps": ["search: how bees make honey", "keywords", "What follows from this?"]},
        {
            "custom_config": {"page": "https://example.org/article"},
            "steps": [
                {"type": "fetch", "name": "page", "url": "{{ config.page }}"},
                {"type": "condition", "field": "steps.page.words", "operator": ">", "value": 50, "otherwise": "stop"},
                {
                    "type": "task",
                    "name": "short",
                    "kind": "summary",
                    "params": {"content": "{{ steps.page.text }}", "max_length": 100},
                },
                {"type": "analysis", "text": "{{ steps.short.text }}", "analyses": ["keywords"]},
            ],
        },
    ],
)
