"""Our own housekeeping."""

from actors.broker import actor
from webapp.core.jobs import TASK_JOBS
from webapp.runtime import runtime
from webapp.tasks.execute import run_next
from webapp.tasks.worker import current_host


@actor(TASK_JOBS["maintenance"])
def maintenance(task_id: str) -> None:
    run_next(runtime(), current_host(), "maintenance")
