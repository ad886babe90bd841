"""A connector in fifty lines: the issues of a repository as documents. docs/adding-a-connector.md walks through it.

Speaks the issues API that GitHub, Gitea and Forgejo share.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from webapp.core.errors import Upstream
from webapp.knowledge import connecting
from webapp.knowledge.connecting import Item
from webapp.tasks.kinds import TaskKind
from webapp.tasks.run import TaskRun

PAGE = 50


class IssuesParams(BaseModel):
    """The form is made from it. The token is the operator's, from the environment: parameters are shown to people."""

    model_config = ConfigDict(extra="forbid")

    collection_id: str = Field(title="Collection", max_length=40, description="Where the issues are kept.")
    repository: str = Field(title="Repository", pattern=r"^[\w.-]+/[\w.-]+$", max_length=200, examples=["owner/name"])
    server: str = Field("https://api.github.com", title="API", pattern=r"^https?://\S+$", max_length=300,
                        description="Of Gitea and Forgejo: https://their.host/api/v1")  # fmt: skip


def run(task: TaskRun) -> dict[str, Any]:
    """May run twice: what is there with the same mark is not read again."""
    place = f"{task.params['server'].rstrip('/')}/repos/{task.params['repository']}"
    return connecting.sync(task, issues(task, place), place=place, label=f"Issues of {task.params['repository']}")


def issues(task: TaskRun, place: str) -> Iterator[Item]:
    """All of them, page by page; the texts come with the list, so that `read` only hands them over."""
    token = os.environ.get("ISSUES_TOKEN")
    headers = {"Authorization": f"token {token}"} if token else {}
    number = 1
    while rows := _get(task, f"{place}/issues?state=all&limit={PAGE}&per_page={PAGE}&page={number}", headers):
        for one in rows:
            text = f"# {one['title']}\n\n{one.get('body') or ''}\n"
            yield Item(str(one["number"]), one["title"], lambda text=text: text, url=one["html_url"], mark=one["updated_at"],
                       author=(one.get("user") or {}).get("login"), published=one["created_at"][:10])  # fmt: skip
        number += 1


def _get(task: TaskRun, url: str, headers: dict[str, str]) -> list[dict[str, Any]]:
    answer = task.fetch(url, headers=headers)
    if answer.status != 200:
        again = answer.status == 429 or answer.status >= 500
        raise Upstream(f"the server answered {answer.status}", retryable=again)
    return list(json.loads(answer.body))


KIND = TaskKind(
    name="connect.issues",
    label="Issues of a repository",
    queue="crawling",
    params=IssuesParams,
    run=run,
    prepare=connecting.check,
    description="Keeps the issues of a repository as documents of a collection.",
    time_limit=1800,
)
