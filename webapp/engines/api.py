"""Endpoints of models and of the model server (Agentic).

GET  /api/v1/models/available                 what is here, with what it can do and how it did
GET  /api/v1/models/performance               figures of real calls
POST /api/v1/models/refresh                   look at folder and servers anew
POST /api/v1/models/select                    the best for a piece of work, with the reason
GET  /api/v1/models/{model_name}/stats        one model
GET  /api/v1/ollama/models, models/names, health
POST /api/v1/ollama/models/pull/{model_name}  a task that pulls it (C41: for administrators; in local mode that is you)
"""

from __future__ import annotations

import time
from typing import Any

from webapp.core.context import Ctx
from webapp.core.db import iso
from webapp.core.errors import NotFound
from webapp.engines import calls, catalogue, rows, selection, service
from webapp.engines.base import EngineInfo
from webapp.engines.schemas import (
    AvailableOut,
    ModelHealthOut,
    ModelRefreshOut,
    ModelsOut,
    NamesOut,
    PerformanceOut,
    PerformanceQuery,
    PullOut,
    SelectIn,
    SelectOut,
    StatsOut,
)
from webapp.web.api import ADMIN, PUBLIC, Api

models = Api("models", "/api/v1/models", tag="Models")
server = Api("ollama", "/api/v1/ollama", tag="Model server")
READ, WRITE = "tasks:read", "tasks:write"


@models.get("/available", auth=READ, returns=AvailableOut)
def available(ctx: Ctx) -> Any:
    """All models with what each can do, how it did so far, and what a missing one needs."""
    figures = _figures(ctx)
    best = calls.fastest(list(figures.values()))
    ctx.db.commit()
    found = [selection.model_info(one, figures, best) for one in service.listed(ctx.rt, wait=True)]
    return {"models": found, "defaults": rows.known(ctx.rt).defaults, "default_model": catalogue.default(ctx.rt)}


@models.get("/performance", auth=READ, query=PerformanceQuery, returns=PerformanceOut)
def performance(ctx: Ctx, query: PerformanceQuery) -> Any:
    """Figures of the calls of the last thirty days, by model and kind of work, busiest first."""
    best = calls.fastest(calls.metrics(ctx.db))
    found = calls.metrics(ctx.db, by_task=True, task_type=query.task_type, limit=query.limit)
    return {"metrics": [calls.as_metric(one, best) for one in found]}


@models.post("/refresh", auth=WRITE, returns=ModelRefreshOut, write=False)
def refresh(ctx: Ctx) -> Any:
    """Look at the models folder and ask every server, all at once; takes three seconds at most."""
    ctx.db.commit()
    found = service.available(ctx.rt, fresh=True)
    return {
        "status": "completed",
        "models_available": sum(one.available for one in found),
        "models": [one.id for one in found if one.available],
        "unreachable": [{"name": one.id, "error": one.missing} for one in found if not one.available],
    }


@models.post("/select", auth=READ, body=SelectIn, returns=SelectOut, write=False, errors=(503,))
def select(ctx: Ctx, body: SelectIn) -> Any:
    """The model for a piece of work: asks no server, so it answers within 100 ms."""
    began = time.perf_counter()
    needs = body.requirements
    wish = selection.Wish(body.task_type, body.content_type, body.priority, body.max_tokens, needs.vision_capable,
                          needs.min_performance_score)  # fmt: skip
    choice = selection.select(ctx.rt, ctx.db, wish)
    return {
        "selected_model": choice.chosen.id,
        "model_info": selection.model_info(choice.chosen, choice.figures, choice.best),
        "fallback_models": [one.id for one in choice.fallbacks],
        "selection_reason": choice.reason,
        "selection_time_ms": round(1000 * (time.perf_counter() - began), 2),
    }


@models.get("/<path:model_name>/stats", auth=READ, returns=StatsOut, errors=(404,))
def stats(ctx: Ctx, model_name: str) -> Any:
    """One model: what it is and what was measured of it, over all and by kind of work."""
    info = _info(ctx, model_name)
    everything = _figures(ctx)
    best = calls.fastest(list(everything.values()))
    seen = everything.get(info.id)
    found = calls.metrics(ctx.db, by_task=True, model=info.id)
    return {
        "model_name": info.id,
        "model_info": selection.model_info(info, everything, best),
        "total_requests": seen.calls if seen else 0,
        "succeeded": seen.succeeded if seen else 0,
        "failed": seen.failed if seen else 0,
        "cancelled": seen.cancelled if seen else 0,
        "success_rate": seen.success_rate if seen else None,
        "average_response_time_ms": _ms(seen.seconds if seen else None),
        "average_first_token_ms": _ms(seen.first_token_seconds if seen else None),
        "average_tokens_per_second": seen.tokens_per_second if seen else None,
        "total_tokens": seen.tokens if seen else 0,
        "performance_score": calls.score(seen, best) if seen else None,
        "last_used": iso(seen.last_at) if seen else None,
        "by_task_type": [calls.as_metric(one, best) for one in found],
    }


def _info(ctx: Ctx, name: str) -> EngineInfo:
    return service.EXTRACTIVE if name == service.EXTRACTIVE.id else service.find(ctx.rt, name).info()


def _figures(ctx: Ctx) -> dict[str, calls.Metrics]:
    return {one.model: one for one in calls.metrics(ctx.db)}


def _ms(seconds: float | None) -> float | None:
    return None if seconds is None else round(1000 * seconds, 1)


# -- the model server ------------------------------------------------------------------------------------------------


@server.get("/models", auth=PUBLIC, returns=ModelsOut)
def list_models(ctx: Ctx) -> Any:
    """Files of the models folder and the models of every server."""
    ctx.db.commit()
    return {"models": catalogue.entries(ctx.rt)}


@server.get("/models/names", auth=PUBLIC, returns=NamesOut)
def model_names(ctx: Ctx) -> Any:
    """Only their names."""
    ctx.db.commit()
    return {"models": list(dict.fromkeys(one["name"] for one in catalogue.entries(ctx.rt)))}


@server.get("/health", auth=PUBLIC, returns=ModelHealthOut)
def health(ctx: Ctx) -> Any:
    """Whether a model can be used now, and which one is asked by default."""
    ctx.db.commit()
    return catalogue.health(ctx.rt)


@server.post(
    "/models/pull/<path:model_name>", auth=ADMIN, returns=PullOut, status=202, idempotent=True, errors=(403, 503)
)
def pull(ctx: Ctx, model_name: str) -> Any:
    """Pull a model in the background: by the Ollama server where there is one, else a GGUF file from the hub."""
    from webapp.tasks import service as tasks

    if model_name.endswith("/"):
        raise NotFound("there is nothing at this address")
    ctx.db.commit()  # nothing is held while it is found out which server is an Ollama
    params = {"model": model_name, "server": catalogue.pull_target(ctx.rt)}
    values = tasks.start(ctx, "models.pull", params, title=f"Pull {model_name}")
    return {"status": "pulling", "model": model_name, "task_id": values["id"]}
