"""What an operator can look at and do; the only verbs behind API, pages and command line.

Every verb asks for an administrator itself. Every verb that changes something writes its audit entry in the same
transaction. No list asks the database more often the longer it is.
"""

from webapp.operations.service.audit_log import audit_log, audit_words
from webapp.operations.service.doctor import Check, worst
from webapp.operations.service.doctor import doctor as examination
from webapp.operations.service.everyone import OwnedTask, TaskFile, all_tasks, any_task, bulk_tasks, status_counts
from webapp.operations.service.letters import (
    LetterRow,
    letter,
    letters,
    letters_from,
    open_letters,
    purge,
    purge_many,
    requeue,
    requeue_many,
)
from webapp.operations.service.metrics import KindMetrics, Metrics, agent_performance, metrics
from webapp.operations.service.overview import Alert, Overview, alerts, last_result, overview, server_alerts
from webapp.operations.service.probe import Look, look
from webapp.operations.service.queues import QueueRow, pause_queue, queues, resume_queue
from webapp.operations.service.running import RunningRow, running
from webapp.operations.service.schedules import (
    ScheduleRow,
    edit_schedule,
    pause_schedule,
    resume_schedule,
    run_schedule,
    schedule,
    schedules,
    upcoming,
)
from webapp.operations.service.tables import TableInfo, TableRows, table_rows, tables
from webapp.operations.service.workers import WorkerRow, workers

__all__ = [
    "Alert", "Check", "KindMetrics", "LetterRow", "Look", "Metrics", "Overview", "OwnedTask", "QueueRow", "RunningRow",
    "ScheduleRow", "TableInfo", "TableRows", "TaskFile", "WorkerRow", "agent_performance", "alerts", "all_tasks", "any_task", "audit_log", "audit_words",
    "bulk_tasks", "edit_schedule", "examination", "last_result", "letter", "letters", "letters_from", "look", "metrics", "open_letters", "overview", "pause_queue",
    "pause_schedule", "purge", "purge_many", "queues", "requeue", "requeue_many", "resume_queue", "resume_schedule",
    "run_schedule", "running", "schedule", "schedules", "server_alerts", "status_counts", "table_rows", "tables",
    "upcoming", "workers", "worst",
]  # fmt: skip
