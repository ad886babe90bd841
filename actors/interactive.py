"""A person waits for these."""

from actors.broker import actor
from webapp.core.jobs import TASK_JOBS
from webapp.runtime import runtime
from webapp.tasks.execute import run_next
from webapp.tasks.worker import current_host


@actor(TASK_JOBS["interactive"])
def interactive(task_id: str) -> None:
    run_next(runtime(), current_host(), "interactive")
