"""Results as OpenAI's objects: whole, or as the parts of a stream. Pure functions."""

from __future__ import annotations

import base64
import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from webapp.core.context import Actor
    from webapp.embedding.base import Vectors

DONE = "data: [DONE]\n\n"


@dataclass(frozen=True)
class Call:
    """One request that waits for its task. created: seconds since 1970."""

    task_id: str
    model: str
    created: int
    user: Actor
    request_id: str
    stream: bool = False
    include_usage: bool = False

    @property
    def id(self) -> str:
        return f"chatcmpl-{self.task_id}"


def completion(call: Call, result: dict[str, Any]) -> dict[str, Any]:
    message = {"role": "assistant", "content": result["text"], "refusal": None}
    choice = {"index": 0, "message": message, "logprobs": None, "finish_reason": result["finish"]}
    return {"id": call.id, "object": "chat.completion", "created": call.created, "model": call.model,
            "choices": [choice], "usage": usage(result), **grounds(result)}  # fmt: skip


def part(call: Call, delta: dict[str, Any], finish: str | None = None, **more: Any) -> str:
    """One `data:` of a stream."""
    choice = {"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish}
    return data(_part(call, [choice]) | more)


def usage_part(call: Call, result: dict[str, Any]) -> str:
    """The last part of who asked for `include_usage`: no choice, only the count."""
    return data(_part(call, []) | {"usage": usage(result)})


def data(value: dict[str, Any]) -> str:
    return f"data: {json.dumps(value, separators=(',', ':'), ensure_ascii=False)}\n\n"


def _part(call: Call, choices: list[dict[str, Any]]) -> dict[str, Any]:
    return {"id": call.id, "object": "chat.completion.chunk", "created": call.created, "model": call.model,
            "choices": choices}  # fmt: skip


def usage(result: dict[str, Any]) -> dict[str, int] | None:
    """What the engine counted; None where nobody did."""
    asked, wrote = result.get("prompt_tokens"), result.get("completion_tokens")
    if asked is None or wrote is None:
        return None
    return {"prompt_tokens": asked, "completion_tokens": wrote, "total_tokens": asked + wrote}


def grounds(result: dict[str, Any]) -> dict[str, Any]:
    """The fields beside OpenAI's: sources with their citations, and what is known of the answer."""
    return {name: result[name] for name in ("sources", "brainstem") if name in result}


def embeddings(model: str, vectors: Vectors, tokens: int, encoding: str) -> dict[str, Any]:
    """base64 is little-endian float32, as OpenAI's client asks for by default."""
    rows = (
        [base64.b64encode(row.astype("<f4").tobytes()).decode() for row in vectors]
        if encoding == "base64"
        else vectors.tolist()
    )
    found = [{"object": "embedding", "index": number, "embedding": row} for number, row in enumerate(rows)]
    return {"object": "list", "data": found, "model": model,
            "usage": {"prompt_tokens": tokens, "total_tokens": tokens}}  # fmt: skip
