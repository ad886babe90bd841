"""The operator's room: queues, workers, stuck tasks, dead letters, schedules, the audit log. For administrators only."""
