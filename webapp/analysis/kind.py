"""The task kind `data_analysis`: a table from anywhere -> figures, tests, charts and a report. No model is needed.

1. Get the table: kept in a folder of the task, so that a killed run fetches nothing twice. 2. Read it in a child
process, which leaves its columns as arrays in the same folder. 3. to 6. Describe, relate, compare, follow: a child each,
a checkpoint each. 7. Write what was found. The folder goes with the end of the task.
"""

from __future__ import annotations

import hashlib
import json
import shutil
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from webapp.analysis import exporting, writing
from webapp.analysis.params import AnalysisParams
from webapp.core.context import Ctx
from webapp.core.errors import AppError, Invalid, TaskCancelled, TaskTimedOut, Upstream
from webapp.tasks.kinds import Download, TaskKind
from webapp.tasks.run import TaskRun

MEMORY = 2**30  # bytes of address space of each child
CPU_SECONDS = 600
FORGOTTEN = 3 * 86400.0  # seconds after which a folder that no task took away is old
# What each kind of analysis looks at beside the columns themselves.
PARTS = {
    "statistical": ("relate", "compare", "follow"),
    "descriptive": (),
    "correlation": ("relate",),
    "comparison": ("compare",),
    "trend": ("follow",),
}
Figures = dict[str, Any]


def prepare(ctx: Ctx, params: Figures) -> None:
    """Before anything is stored: an address that may not be asked and a file that is not the caller's are refused."""
    from webapp.intake import service as intake

    if url := params.get("url"):
        intake.check_urls(ctx, [url], place=("url",))
    intake.check(ctx, params)


def run(task: TaskRun) -> Figures:
    folder = _folder(task)
    try:
        result = _analyse(task, folder)
    except (TaskCancelled, TaskTimedOut):
        if task.cancel_requested or task.remaining() <= 0:  # not when the worker only makes way
            _remove(folder)
        raise
    except AppError as error:
        if not error.retryable:
            _remove(folder)
        raise
    _remove(folder)
    return result


def _analyse(task: TaskRun, folder: Path) -> Figures:
    params = task.params
    task.progress(1, "Getting the table")
    sources = task.once("sources", partial(_gather, task, folder))
    read = _read(task, folder, sources)
    found: Figures = {"described": _step(task, "describe", (45, 60), folder, params["max_categories"])}
    parts = PARTS[params["analysis_type"]]
    asked = params["analysis_type"] == "trend"
    target, group, most = params.get("target"), params.get("group"), params["max_categories"]
    if "relate" in parts and (params["analysis_type"] == "correlation" or not (target or group)):
        found["related"] = _step(task, "relate", (60, 75), folder, most)
    if "compare" in parts:
        found["compared"] = _step(task, "compare", (75, 88), folder, most, target, group)
    if "follow" in parts and not (group and not asked):
        found["followed"] = _step(task, "follow", (88, 95), folder, target if asked else _number(found, target), asked)
    task.progress(96, "Writing the report")
    return writing.result(params, sources, read, found)


def _number(found: Figures, target: str | None) -> str | None:
    """The target, if it is a column of numbers: only then it can have a trend."""
    types = {one["name"]: one["type"] for one in found["described"]["columns"]}
    return target if target and types.get(target) == "number" else None


# --- the table --------------------------------------------------------------------------------------------------


def _gather(task: TaskRun, folder: Path) -> list[Figures]:
    """What to read: path, name, content_type, charset, url, bytes, sha256."""
    params = task.params
    if params.get("upload_ids"):
        return [_upload(task, ident) for ident in params["upload_ids"]]
    if params.get("url"):
        return [_fetched(task, folder)]
    if params.get("text"):
        return [_kept(folder, params["text"].encode(), "pasted table", "text/csv")]
    return [_kept(folder, json.dumps(params["data"], ensure_ascii=False).encode(), "data.json", "application/json")]


def _kept(folder: Path, data: bytes, name: str, content_type: str) -> Figures:
    path = folder / "source"
    path.write_bytes(data)
    return _source(path, name, content_type, data)


def _source(path: Path, name: str, content_type: str, data: bytes, **more: Any) -> Figures:
    return {"path": str(path), "name": name, "content_type": content_type, "charset": None, "url": None,
            "bytes": len(data), "sha256": hashlib.sha256(data).hexdigest()} | more  # fmt: skip


def _upload(task: TaskRun, upload_id: str) -> Figures:
    from webapp.files import service as files

    row, path = files.located(task.rt, task.owner_id, upload_id)
    return {"path": str(path), "name": row.name, "content_type": row.content_type, "charset": None, "url": None,
            "bytes": row.size, "sha256": row.sha256}  # fmt: skip


def _fetched(task: TaskRun, folder: Path) -> Figures:
    from urllib.parse import unquote, urlsplit

    url = task.params["url"]
    host = urlsplit(url).hostname
    task.progress(2, f"Fetching from {host}")
    page = task.fetch(url, timeout=300.0, max_bytes=task.rt.settings.largest_upload_mb * 2**20)
    if page.status >= 400:
        again = page.status in (408, 425, 429) or page.status >= 500
        raise Upstream(f"{host} answered {page.status}", retryable=again)
    path = folder / "source"
    path.write_bytes(page.body)
    name = unquote(urlsplit(page.url).path.rpartition("/")[2])[:200] or str(host)
    return _source(path, name, page.content_type, page.body, charset=page.charset, url=page.url)


def _read(task: TaskRun, folder: Path, sources: list[Figures]) -> Figures:
    """Read the table once; again where its arrays are gone (another disk, a cleaned one) although the step was done."""
    done = task.saved("read")
    if done is not None and (folder / "table.json").is_file():
        return dict(done)
    if any(not Path(source["path"]).is_file() for source in sources):
        again = _gather(task, folder)
        if [one["sha256"] for one in again] != [one["sha256"] for one in sources] and done is not None:
            raise Invalid("the table changed while it was analysed", suggestion="Start the analysis again.")
        task.save("sources", again)
        sources = again
    wanted = ("columns", "sheet", "header", "decimal", "dates")
    options = {name: task.params.get(name) for name in wanted}
    made: Figures = _in_child(task, "read", (4, 45), str(folder), sources, options)
    task.save("read", made)
    return made


def _step(task: TaskRun, name: str, span: tuple[int, int], folder: Path, *args: Any) -> Figures:
    found: Figures = task.once(name, partial(_in_child, task, name, span, str(folder), *args))
    return found


SAYS = {"read": "Reading the table", "describe": "Describing the columns", "relate": "Looking for relations",
        "compare": "Comparing groups", "follow": "Following trends"}  # fmt: skip


def _in_child(task: TaskRun, name: str, span: tuple[int, int], *args: Any) -> Figures:
    from webapp.core.sandbox import run_in_child

    low, high = span
    task.progress(low, SAYS[name])
    told: Callable[[int, str], None] = lambda percent, text: task.progress(low + percent * (high - low) / 100, text)  # noqa: E731
    found: Figures = run_in_child(f"webapp.analysis.child:{name}", *args, timeout=min(900.0, task.remaining()),
                                  cpu_seconds=CPU_SECONDS, memory_bytes=MEMORY, cancelled=task.stopped, on_progress=told)  # fmt: skip
    return found


# --- the folder -------------------------------------------------------------------------------------------------


def _folder(task: TaskRun) -> Path:
    """The task's own; folders that were left behind long ago go on the way."""
    root = task.rt.settings.home_dir / "analysis"
    folder = root / task.id
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    for other in root.iterdir():
        if other != folder and other.is_dir() and time.time() - other.stat().st_mtime > FORGOTTEN:
            _remove(other)
    return folder


def _remove(folder: Path) -> None:
    shutil.rmtree(folder, ignore_errors=True)


ANALYSIS = TaskKind(
    name="data_analysis",
    label="Data analysis",
    queue="inference",
    params=AnalysisParams,
    run=run,
    prepare=prepare,
    description="Describes a table: figures, outliers, correlations, comparisons of groups, trends, charts and a report."
    " Everything is computed; no model is needed.",
    time_limit=1800,
    soft_limit=1500,
    max_attempts=4,
    view="analysis/_result.html",
    downloads={
        "md": Download("text/markdown; charset=utf-8", exporting.markdown, "Markdown"),
        "html": Download("text/html; charset=utf-8", exporting.page),
        "csv": Download("text/csv; charset=utf-8", exporting.tables),
    },
    examples=[
        {"data": {"values": [1, 2, 3, 4, 5]}, "analysis_type": "statistical"},
        {"url": "https://example.org/sales.csv", "group": "region", "target": "revenue"},
    ],
)
