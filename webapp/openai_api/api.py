"""OpenAI's API, so that programs made for it use this server: base URL `http://<host>:<port>/v1`, an API key of ours.

GET  /v1/models                what can be named
GET  /v1/models/{model}        one of them
POST /v1/chat/completions      an answer, whole or as a stream
POST /v1/embeddings            texts to vectors
"""

from __future__ import annotations

from typing import Any

from webapp.core.context import Ctx
from webapp.openai_api import service, wire
from webapp.openai_api.feed import CompletionFeed
from webapp.openai_api.schemas import (
    ChatCompletionIn,
    ChatCompletionOut,
    EmbeddingsIn,
    EmbeddingsOut,
    OpenAIModel,
    OpenAIModels,
)
from webapp.web.api import Api
from webapp.web.live import caller_left, hold, hub

api = Api("openai", "/v1", tag="OpenAI compatible", dialect="openai")


@api.get("/models", auth="tasks:read", returns=OpenAIModels)
def list_models(ctx: Ctx) -> Any:
    """Models by the names that the other addresses take: `brainstem` answers from your sources."""
    ctx.db.commit()  # servers are asked for theirs
    return OpenAIModels(data=[OpenAIModel(**one) for one in service.models(ctx.rt)])


@api.get("/models/<path:model>", auth="tasks:read", returns=OpenAIModel, errors=(404,))
def get_model(ctx: Ctx, model: str) -> Any:
    """One model."""
    ctx.db.commit()
    return OpenAIModel(**service.model(ctx.rt, model))


@api.post("/chat/completions", auth="tasks:write", body=ChatCompletionIn, returns=ChatCompletionOut, write=False,
          errors=(404, 409, 502, 503, 504))  # fmt: skip
def chat_completions(ctx: Ctx, body: ChatCompletionIn) -> Any:
    """Answer the last message. `brainstem` adds `sources` and `brainstem`; with `stream` the answer comes in parts.

    The work is a task of yours, which ends when you close the connection.
    """
    ctx.db.commit()
    engine, grounded, most = service.prepare(ctx.rt, body.model)
    params = {
        "engine": engine, "grounded": grounded, "messages": _turns(body), "temperature": body.temperature,
        "max_tokens": body.max_completion_tokens or body.max_tokens or most or 1024, "top_p": body.top_p,
        "stop": body.stop or [], "seed": body.seed, "collections": body.collections,
        "max_sentences": body.max_sentences,
    }  # fmt: skip
    include_usage = body.stream_options is not None and body.stream_options.include_usage
    with ctx.rt.unit() as db:
        mine = Ctx(ctx.rt, db, ctx.user, ctx.request_id, ctx.ip)
        call = service.start(mine, params, model=body.model, stream=body.stream, include_usage=include_usage)
    try:
        return hold(ctx.user, CompletionFeed(hub(), call))
    except Exception:
        service.give_up(ctx.rt, call)
        raise


def _turns(body: ChatCompletionIn) -> list[dict[str, str]]:
    return [{"role": "system" if one.role == "developer" else one.role, "content": str(one.content or "")}
            for one in body.messages]  # fmt: skip


@api.post("/embeddings", auth="tasks:write", body=EmbeddingsIn, returns=EmbeddingsOut, write=False,
          errors=(404, 502, 503))  # fmt: skip
def embeddings(ctx: Ctx, body: EmbeddingsIn) -> Any:
    """Vectors of length 1, as numbers or as base64 of float32. What is longer than the window counts with its beginning."""
    texts = [str(one) for one in body.input]
    vectors, tokens = service.embed(ctx, body.model, texts, dimensions=body.dimensions, gone=caller_left())
    return wire.embeddings(body.model, vectors, tokens, body.encoding_format)
