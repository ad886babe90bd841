"""Endpoints of health.

GET /api/v1/health    who answers, and how everything is
GET /api/v1/ready     200 when requests should be sent here, else 503
GET /api/v1/metrics   Prometheus text
"""

from __future__ import annotations

from typing import Any

from flask import Response
from prometheus_client import CONTENT_TYPE_LATEST

from webapp.core.context import Ctx
from webapp.health import metrics, service
from webapp.web.api import ANY, PUBLIC, Api, ApiModel

health = Api("health", "/api/v1", tag="Health")


class HealthOut(ApiModel):
    """002:3037-3042; `checks` is ours and only there for those who are known."""

    status: str
    app_name: str
    version: str
    timestamp: str
    checks: dict[str, Any] | None = None


class ReadyOut(ApiModel):
    status: str
    checks: dict[str, str]
    timestamp: str


@health.get("/health", auth=PUBLIC, returns=HealthOut)
def get_health(ctx: Ctx) -> Any:
    """Health of the whole system: 200 whatever it is, see `status`."""
    found = service.report(ctx.rt)
    if not ctx.user.is_authenticated:
        found["checks"] = None
    return found


@health.get("/ready", auth=PUBLIC, returns=ReadyOut, also={503: ReadyOut})
def get_ready(ctx: Ctx) -> Any:
    """Should requests be sent here? 503 when the database, Redis or every worker is away."""
    body, ok = service.ready(ctx.rt)
    return body, 200 if ok else 503


@health.get("/metrics", auth=ANY, extra={"mimetype": "text/plain"})
def get_metrics(ctx: Ctx) -> Any:
    """Prometheus text with `agent_tasks_total` and `api_requests_total`."""
    return Response(metrics.text(ctx.rt), content_type=CONTENT_TYPE_LATEST)
