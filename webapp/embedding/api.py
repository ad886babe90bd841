"""Endpoints of embedding.

POST /api/v1/semantic/embed      texts to vectors, and their distances on request
GET  /api/v1/semantic/embedders  what can embed here
"""

from __future__ import annotations

import time
from dataclasses import asdict
from typing import Annotated, Any

from pydantic import Field, model_validator

from webapp.core.context import Ctx
from webapp.embedding import distances, service
from webapp.embedding.distances import Metric
from webapp.web.api import Api, ApiModel

api = Api("embedding", "/api/v1/semantic", tag="Semantic")

MOST, LONGEST = 256, 20_000
Words = Annotated[str, Field(min_length=1, max_length=LONGEST)]


class EmbedIn(ApiModel):
    text: Words | None = Field(None, description="One text, or")
    texts: list[Words] | None = Field(None, min_length=1, max_length=MOST, description="several.")
    embedder: str | None = Field(None, max_length=300, description="Left out: the default one.")
    metric: Metric | None = Field(None, description="Also compare each text with each.")

    @model_validator(mode="after")
    def _one_of_them(self) -> EmbedIn:
        if (self.text is None) == (self.texts is None):
            raise ValueError("give text or texts")
        return self


class EmbedOut(ApiModel):
    embedder: str
    dimension: int
    count: int
    embeddings: list[list[float]]  # each of length 1
    metric: Metric | None = None
    distances: list[list[float]] | None = None  # of `metric`; `dot` is the product, the others are 0 for the same text
    processing_time_ms: float


class EmbedderOut(ApiModel):
    id: str
    label: str
    dimension: int | None
    max_tokens: int
    available: bool
    missing: str | None
    suggestion: str | None


class EmbeddersOut(ApiModel):
    default: str
    embedders: list[EmbedderOut]


@api.post("/embed", auth="tasks:write", body=EmbedIn, returns=EmbedOut, write=False, errors=(400, 413, 422, 502, 503))
def embed(ctx: Ctx, body: EmbedIn) -> Any:
    """The vectors of up to 256 texts. Longer texts than the embedder's window count with their beginning only."""
    began = time.perf_counter()
    name = service.check(ctx.rt, body.embedder or service.default(ctx.rt))
    texts = [body.text] if body.text is not None else body.texts or []
    ctx.db.commit()  # nothing is held while the model works
    vectors = service.embed(ctx.rt, name, texts)
    compared = distances.between(vectors, vectors, body.metric) if body.metric else None
    return {
        "embedder": name, "dimension": int(vectors.shape[1]), "count": len(texts), "embeddings": vectors.tolist(),
        "metric": body.metric, "distances": compared.tolist() if compared is not None else None,
        "processing_time_ms": round(1000 * (time.perf_counter() - began), 2),
    }  # fmt: skip


@api.get("/embedders", auth="tasks:read", returns=EmbeddersOut)
def embedders(ctx: Ctx) -> Any:
    """What can embed here, and what others lack."""
    found = [asdict(one) for one in service.available(ctx.rt)]
    return {"default": service.default(ctx.rt), "embedders": found}
