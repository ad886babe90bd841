"""Shapes of the Agent Service on the wire (contract, section 7)."""

from __future__ import annotations

from datetime import datetime
from typing import Any, Literal

from pydantic import ConfigDict, Field

from webapp.web.api import ApiModel


class AgentTaskIn(ApiModel):
    """create_agent_task (003:173-189); task_type, config and priority are ours."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [{"title": "What is a hive?", "description": "Three sentences.", "agent_id": "general"}]
        }
    )
    title: str = Field(min_length=1, max_length=300)
    description: str | None = Field(None, max_length=100_000)
    agent_id: str = Field(min_length=1, max_length=40, description="See GET /api/v1/agent-service/agents.")
    user_id: str | None = Field(None, max_length=64, description="Yourself; an administrator may name somebody else.")
    task_type: Literal["text", "decision", "api", "data"] = "text"
    config: dict[str, Any] | None = Field(None, description="Of the task kind decision, api or data_analysis.")
    priority: Literal["low", "normal", "high", "urgent"] = "normal"


class AgentTaskBatchIn(ApiModel):
    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "tasks": [
                        {"title": "What is a hive?", "agent_id": "general"},
                        {"title": "What is a queen?", "agent_id": "general"},
                    ]
                }
            ]
        }
    )
    tasks: list[AgentTaskIn] = Field(min_length=1, max_length=100)


class AgentTaskCreated(ApiModel):
    id: str
    task_id: str = Field(description="The same; the documents call it so.")
    title: str
    description: str | None
    agent_id: str
    user_id: str | None
    status: str = Field(description="pending")


class AgentTaskOut(ApiModel):
    """Its own words for a task: pending, running, completed, failed, cancelled.

    `result` of a completed task holds `status` and `result`; of a failed one `status` "error" and `message` (003:124-127).
    """

    id: str
    title: str
    description: str | None
    agent_id: str | None
    user_id: str | None
    status: str
    result: dict[str, Any] | None
    error: str | None
    progress: int
    created_at: datetime
    started_at: datetime | None
    completed_at: datetime | None


class AgentOut(ApiModel):
    id: str
    name: str
    description: str
    prompt: str
    model_name: str
