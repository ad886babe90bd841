"""Exceptions become answers here and nowhere else: JSON in the dialect of the path, a page, or an HTMX fragment."""

from __future__ import annotations

import logging
from typing import Any

from flask import Flask, Response, g, jsonify, make_response, redirect, request, url_for
from sqlalchemy.exc import DataError, InterfaceError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from werkzeug.exceptions import HTTPException

from webapp.core.errors import AppError, StorageFull, Unavailable
from webapp.web.guard import request_id

log = logging.getLogger(__name__)


def install(app: Flask) -> None:
    app.register_error_handler(AppError, _app_error)
    app.register_error_handler(HTTPException, _http_error)
    for kind in (OperationalError, InterfaceError, PoolTimeout):
        app.register_error_handler(kind, _database_error)
    app.register_error_handler(DataError, _data_error)
    app.register_error_handler(Exception, _bug)


def wants_json() -> bool:
    path = request.path
    return (
        path.startswith(("/api/", "/v1/", "/ws/", "/live/"))
        or path == "/openapi.json"
        or (request.accept_mimetypes.best_match(["text/html", "application/json"]) == "application/json")
    )


def _app_error(exc: AppError) -> Any:
    if exc.status >= 500:
        log.warning("%s: %s", exc.code, exc.message)
    if exc.status == 422 and (g.get("error_dialect") == "eceee" or _for_openai()):
        exc.status = 400  # these systems know no 422 (contract section 3)
    if not wants_json():
        return _page(exc)
    response = jsonify(body(exc))
    return _finish(response, exc)


def body(exc: AppError) -> dict[str, Any]:
    """The documented shape: `detail` and `status_code`; Omeruta's paths add `error` (contract C07)."""
    if _for_openai():
        return openai_body(exc, request_id())
    omeruta = request.path.startswith("/api/agents/")
    return told(exc, "omeruta" if omeruta else g.get("error_dialect", ""), request_id())


def told(exc: AppError, dialect: str, ident: str) -> dict[str, Any]:
    """The same for a dialect that is known, outside of any request."""
    out: dict[str, Any] = {"detail": exc.message, "status_code": exc.status, "code": exc.code}
    if exc.suggestion:
        out["suggestion"] = exc.suggestion
    if exc.details:
        out["errors"] = exc.details
        if dialect == "eceee":
            for error in exc.details:  # one list of texts per field, as Django REST framework does
                field, *within = [str(part) for part in error["loc"]] or ["non_field_errors"]
                if field not in ("detail", "status_code", "code", "errors"):
                    text = f"{'.'.join(within)}: {error['msg']}" if within else error["msg"]
                    out.setdefault(field, []).append(text)
    if dialect == "omeruta":
        out["error"] = exc.message
        if exc.status >= 500 and exc.suggestion:
            out["details"] = exc.suggestion
    return out | {"request_id": ident}


def _for_openai() -> bool:
    return request.path.startswith("/v1/")


OPENAI_TYPES = {401: "authentication_error", 403: "permission_error", 429: "rate_limit_error"}
OPENAI_CODES = {"unauthorized": "invalid_api_key", "rate_limited": "rate_limit_exceeded",
                "quota_exceeded": "insufficient_quota",
                "context_overflow": "context_length_exceeded"}  # fmt: skip


def openai_body(exc: AppError, ident: str) -> dict[str, Any]:
    """OpenAI's `error` with what to do in its message, and our own members beside it. Needs no request."""
    kind = "server_error" if exc.status >= 500 else OPENAI_TYPES.get(exc.status, "invalid_request_error")
    param = ".".join(str(part) for part in exc.details[0]["loc"]) if exc.details else None
    said = f"{exc.message.rstrip('.')}. {exc.suggestion}" if exc.suggestion else exc.message
    error = {"message": said, "type": kind, "param": param or None, "code": OPENAI_CODES.get(exc.code, exc.code)}
    out: dict[str, Any] = {"error": error, "detail": exc.message, "status_code": exc.status, "code": exc.code}
    if exc.suggestion:
        out["suggestion"] = exc.suggestion
    if exc.details:
        out["errors"] = exc.details
    return out | {"request_id": ident}


def _page(exc: AppError) -> Any:
    if exc.status == 401 and request.method == "GET" and not request.headers.get("HX-Request"):
        return redirect(url_for("identity_pages.login", next=request.full_path.rstrip("?")))
    from webapp.web.page import render, toast

    if request.headers.get("HX-Request"):
        response = make_response("", exc.status)
        toast(response, exc.message, "error")
    else:
        html = render(
            "errors/error.html",
            status=exc.status,
            title=_title(exc.status),
            message=exc.message,
            suggestion=exc.suggestion,
            request_id=request_id(),
        )
        response = make_response(html, exc.status)
    return _finish(response, exc)


def _finish(response: Response, exc: AppError) -> Response:
    response.status_code = exc.status
    if exc.retry_after is not None:
        response.headers["Retry-After"] = str(int(exc.retry_after))
    if exc.status == 401:
        response.headers["WWW-Authenticate"] = "Bearer"
    return response


def _http_error(exc: HTTPException) -> Any:
    if exc.response is not None or (exc.code or 500) < 400:
        return exc
    names = {404: "not_found", 405: "method_not_allowed", 413: "too_large", 415: "unsupported_media_type"}
    error = AppError(_plain(exc), code=names.get(exc.code or 500, "http_error"))
    error.status = exc.code or 500
    answer = _app_error(error)
    allow = getattr(exc, "valid_methods", None)
    if allow:
        answer.headers["Allow"] = ", ".join(sorted(allow))
    return answer


def _plain(exc: HTTPException) -> str:
    known = {404: "there is nothing at this address", 405: "this address does not take that method",
             413: "the request is too large"}  # fmt: skip
    return known.get(exc.code or 500, exc.description or exc.name)


def _database_error(exc: Exception) -> Any:
    text = str(getattr(exc, "orig", exc))
    log.error("database: %s", text[:300])
    if "disk is full" in text or "No space left" in text or "disk I/O error" in text:
        return _app_error(StorageFull("the disk is full", suggestion="Free some space; nothing was lost."))
    return _app_error(
        Unavailable("the database does not answer", retry_after=2, suggestion="It is tried again; wait a moment.")
    )


def _data_error(exc: DataError) -> Any:
    log.warning("value refused by the database: %s", str(exc.orig)[:200])
    error = AppError("a value cannot be stored", code="bad_request")
    error.status = 400
    return _app_error(error)


def _bug(exc: Exception) -> Any:
    log.exception("request failed")
    return _app_error(AppError("something went wrong on our side", suggestion="Try again; the log has the details."))


def _title(status: int) -> str:
    return {400: "That did not work", 401: "Log in first", 403: "Not allowed", 404: "Not found", 409: "Too late",
            413: "Too large", 422: "Please check", 429: "Slow down", 503: "Not available"}.get(status, "Error")  # fmt: skip
