"""The one exception family. Services raise these; `webapp.web.errors` decides the wire shape.

Each class carries the HTTP status, a stable `code`, and, for jobs, whether trying again can help.
"""

from __future__ import annotations

from typing import Any


class AppError(Exception):
    """A failure with a message for people.

    details: field errors `[{"loc": [...], "msg": str, "type": str}]` or None.
    suggestion: what the person can do about it.
    retry_after: whole seconds until trying again makes sense.
    retryable: a worker may try the step again.
    """

    status = 500
    code = "error"
    retryable = False

    def __init__(
        self,
        message: str,
        *,
        code: str | None = None,
        details: list[dict[str, Any]] | None = None,
        suggestion: str | None = None,
        retry_after: int | None = None,
        retryable: bool | None = None,
    ) -> None:
        super().__init__(message)
        self.message = message
        self.code = code or type(self).code
        self.details = details
        self.suggestion = suggestion
        self.retry_after = retry_after
        if retryable is not None:
            self.retryable = retryable


class BadRequest(AppError):
    status, code = 400, "bad_request"


class BlockedAddress(BadRequest):
    """The outbound gate refused a URL (reliability-security rule 19)."""

    code = "blocked_address"


class Unauthorized(AppError):
    status, code = 401, "unauthorized"


class Forbidden(AppError):
    status, code = 403, "forbidden"


class NotFound(AppError):
    status, code = 404, "not_found"


class Conflict(AppError):
    status, code = 409, "conflict"


class TooLarge(AppError):
    status, code = 413, "too_large"


class UnsupportedMedia(AppError):
    status, code = 415, "unsupported_media_type"


class Invalid(AppError):
    status, code = 422, "invalid"


class TooManyRequests(AppError):
    status, code, retryable = 429, "rate_limited", True


class QuotaExceeded(TooManyRequests):
    """A person has used up what one person may; `details` names the quota. Trying again at once does not help."""

    code, retryable = "quota_exceeded", False


class Unavailable(AppError):
    """Something we depend on is down or not installed; says what to do."""

    status, code, retryable = 503, "unavailable", True


class NoModel(Unavailable):
    """What the work needs a model for has none here; `suggestion` says how to get one. Trying again does not help."""

    code, retryable = "no_model", False


class Upstream(AppError):
    """Another server failed us; `retryable` says whether it may recover."""

    status, code, retryable = 502, "upstream", True


class StorageFull(AppError):
    status, code = 507, "storage_full"


# Raised inside a worker; never reach the wire.


class TaskInterrupted(Exception):
    """Base of the signals that end a running step early."""


class TaskCancelled(TaskInterrupted):
    """Somebody asked for the task to stop."""


class TaskTimedOut(TaskInterrupted):
    """The task's own time limit passed; permanent, never retried."""


class TaskLost(TaskInterrupted):
    """Another worker owns the task now: the fencing token changed. Write nothing."""


class TaskParked(TaskInterrupted):
    """The worker is shutting down; the task goes back to the queue, no attempt charged."""
