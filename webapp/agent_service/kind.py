"""The task kind `agent.task`: an agent works on a title and a description (contract, Agent Service).

text: a model writes from the agent's instructions; without one, sentences of the caller's sources are quoted, and it says so.
decision, api, data: the kinds of these names do it, as a child. Three retries after 60, 120 and 240 s; 25 minutes soft and
30 hard.
"""

from __future__ import annotations

import json
import logging
from functools import partial
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from webapp.core.context import SYSTEM, Actor, Ctx
from webapp.core.errors import AppError, BadRequest, Invalid, NoModel
from webapp.tasks.kinds import Download, TaskKind, doubling, kinds
from webapp.tasks.run import SPAN, TaskRun

log = logging.getLogger(__name__)

NAME = "agent.task"
TEMPERATURE, MAX_TOKENS = 0.7, 1000  # 003:75-79
FIRST_WAIT = 60.0  # seconds after the first attempt, then twice and four times that
SOFT, HARD = 25 * 60.0, 30 * 60.0
CHILD = "work"
KIND_OF = {"decision": "decision", "api": "api", "data": "data_analysis"}
QUOTED = "No language model is set up: these are sentences of your sources, word for word."

TaskType = Literal["text", "decision", "api", "data"]


class AgentTaskParams(BaseModel):
    """task_config of a task for an agent; its title is the task's own."""

    model_config = ConfigDict(extra="forbid", str_max_length=100_000)

    description: str = Field("", title="Description", json_schema_extra={"widget": "textarea"})
    agent_id: str = Field(title="Agent", min_length=1, max_length=40, examples=["general"])
    task_type: TaskType = Field("text", title="Kind of work")
    config: dict[str, Any] | None = Field(
        None, title="Configuration", description="Of the kind decision, api or data_analysis; a decision without one is a text.",
        json_schema_extra={"widget": "json"},
    )  # fmt: skip

    @field_validator("config", mode="before")
    @classmethod
    def _object(cls, value: Any) -> Any:
        if isinstance(value, str):
            try:
                return json.loads(value) if value.strip() else None
            except (ValueError, RecursionError):
                raise ValueError("write a JSON object") from None
        return value

    @model_validator(mode="after")
    def _needed(self) -> AgentTaskParams:
        if self.task_type in ("api", "data") and not self.config:
            raise ValueError(f"config: {self.task_type} needs one")
        if self.task_type == "text" and self.config:
            raise ValueError("config: text has none")
        return self


def prepare(ctx: Ctx, params: dict[str, Any]) -> None:
    """The agent must be one the caller may use; a configuration is checked and prepared as its kind does it."""
    from webapp.agents import service as agents

    try:
        agent = agents.get(ctx, params["agent_id"])
    except AppError as error:
        error.details = [{"loc": ["agent_id"], "msg": error.message, "type": error.code}]
        raise
    if not agent.is_active:
        raise BadRequest(
            "this agent is switched off", details=[{"loc": ["agent_id"], "msg": "switched off", "type": "inactive"}]
        )
    params["agent_id"] = agent.key or agent.id
    if params.get("config"):
        _prepare_config(ctx, params)


def _prepare_config(ctx: Ctx, params: dict[str, Any]) -> None:
    kind = kinds.get(KIND_OF[params["task_type"]])
    try:
        params["config"] = kind.check(params["config"])
        if kind.prepare is not None:
            kind.prepare(ctx, params["config"])
    except AppError as error:
        for detail in error.details or ():
            detail["loc"] = ["config", *detail["loc"]]
        raise


def run(task: TaskRun) -> dict[str, Any]:
    """{"status": "completed", "result": text, ...}, as its documents show it."""
    log.info("Starting task processing for task_id: %s", task.id)
    task.progress(2, "Picked up")
    kind = KIND_OF.get(task.params["task_type"]) if task.params.get("config") else None
    done = _by_kind(task, kind) if kind else task.once("written", partial(_text, task))
    result = {"status": "completed", **done, "task_type": task.params["task_type"], "agent_id": task.params["agent_id"]}
    log.info("Task completed successfully: %s", task.id)
    _log_performance(task)
    return result


def _log_performance(task: TaskRun) -> None:
    """Of the tasks that the agent completed before this one, in the last day (003:331)."""
    from webapp.operations.service import agent_performance

    with task.rt.unit(write=False) as db:
        count, took = agent_performance(db, task.params["agent_id"])
    log.info("Agent performance - ID: %s, Tasks: %s, Avg Duration: %sms", task.params["agent_id"], count, took or 0)


def _by_kind(task: TaskRun, kind: str) -> dict[str, Any]:
    from webapp.custom.steps import words_of

    task.save(SPAN, [5, 95])
    task.start_child(CHILD, kind, task.params["config"], task.title)
    child = task.wait_for_children()[CHILD]
    if child["status"] != "completed":
        raise Invalid(
            f"{kinds.get(kind).label} {child['status'].replace('_', ' ')}: {child['error'] or 'no reason given'}",
            code="part_failed",
        )
    found = child["result"] or {}
    return {
        "result": words_of(found)[:100_000],
        "details": found,
        "child_task_id": child["id"],
        "model": None,
        "note": "",
    }


def _text(task: TaskRun) -> dict[str, Any]:
    from webapp.agents import service as agents
    from webapp.engines import service as engines

    with task.rt.unit(write=False) as db:
        agent = agents.get(_ctx(task, db), task.params["agent_id"])
        instructions, wanted = agent.prompt, agent.model_name
    engine = _engine(task, wanted)
    if engine is None:
        return _quoted(task)
    task.progress(10, "Writing")
    done = engines.generate(
        task.rt, engine, request(instructions, task.title, task.params.get("description") or ""), task_type=NAME,
        owner_id=task.owner_id, task_id=task.id, cancelled=task.stopped, timeout=max(0.1, task.remaining()),
    )  # fmt: skip
    task.check()
    return {
        "result": done.text,
        "model": done.model,
        "finish": done.finish,
        "note": "Written by a model; nothing of it was checked.",
    }


def _engine(task: TaskRun, wanted: str) -> str | None:
    """The agent's model or, if that is gone, the default one; None where there is none."""
    from webapp.engines import service as engines

    for name in dict.fromkeys((wanted, "")):
        try:
            return engines.choose(task.rt, name, NAME).id
        except NoModel:
            continue
    return None


def request(agent_prompt: str, title: str, description: str) -> Any:
    """The prompt of the documents (M181)."""
    from webapp.engines.base import Request

    said = f"Agent prompt: {agent_prompt}\nTask: {title}\nDescription: {description}"
    return Request(({"role": "user", "content": said},), max_tokens=MAX_TOKENS, temperature=TEMPERATURE)


def _quoted(task: TaskRun) -> dict[str, Any]:
    from webapp.answers import service as answers

    task.progress(10, "Looking into the sources")
    asked = f"{task.title}\n{task.params.get('description') or ''}".strip()[:4000]
    with task.rt.unit(write=False) as db:
        found = answers.answer(_ctx(task, db), asked, engine="extractive", task_type=NAME, task_id=task.id,
                               cancelled=task.stopped, timeout=max(0.1, task.remaining()), record=False)  # fmt: skip
    task.check()
    if found.declined:
        raise NoModel("No language model is set up, and there is nothing about this in your sources.",
                      suggestion="Set up a model on the models page, or add sources.")  # fmt: skip
    sources = [
        {"number": one.number, "title": one.title, "url": one.url, "quote": one.quote[:1000]} for one in found.sources
    ]
    return {"result": found.text, "model": None, "note": QUOTED, "sources": sources}


def _ctx(task: TaskRun, db: Any) -> Ctx:
    actor = Actor(task.owner_id, "task", via="system") if task.owner_id else SYSTEM
    return Ctx(task.rt, db, actor, request_id=task.request_id or "-")


def markdown(title: str, result: dict[str, Any]) -> str:
    note = f"\n\n*{result['note']}*" if result.get("note") else ""
    return f"# {' '.join(title.split())}\n\n{result['result']}{note}\n"


AGENT_TASK = TaskKind(
    name=NAME,
    label="Agent task",
    queue="inference",
    params=AgentTaskParams,
    run=run,
    prepare=prepare,
    description="An agent works on a title and a description: a text, a decision, a call or an analysis of data.",
    time_limit=HARD,
    soft_limit=SOFT,
    max_attempts=4,
    backoff=doubling(FIRST_WAIT),
    offered=False,
    view="agent_service/_result.html",
    downloads={"md": Download("text/markdown; charset=utf-8", markdown, "Markdown")},
    examples=[
        {"agent_id": "general", "description": "In three sentences, for people who never saw one."},
        {"agent_id": "analysis", "task_type": "data", "config": {"data": {"values": [1, 2, 3, 4, 5]}}},
    ],
)
