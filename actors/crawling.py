"""Fetching pages."""

from actors.broker import actor
from webapp.core.jobs import TASK_JOBS
from webapp.runtime import runtime
from webapp.tasks.execute import run_next
from webapp.tasks.worker import current_host


@actor(TASK_JOBS["crawling"])
def crawling(task_id: str) -> None:
    run_next(runtime(), current_host(), "crawling")
