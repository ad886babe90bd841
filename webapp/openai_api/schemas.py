"""OpenAI's shapes, as far as they are taken here. What would change an answer and cannot be done is refused by name;
what changes nothing (`user`, `metadata`, `store`) is passed over, as clients of other servers expect.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import ConfigDict, Field, field_validator, model_validator

from webapp.web.api import ApiModel

MOST_MESSAGES, MOST_TOKENS = 1000, 32_768
MOST_INPUTS, LONGEST_INPUT = 2048, 100_000
NEUTRAL: dict[str, tuple[Any, ...]] = {  # the values of what we do not do that ask for nothing
    "tools": ([],), "functions": ([],), "tool_choice": ("none", "auto"), "function_call": ("none", "auto"),
    "logprobs": (False,), "top_logprobs": (0,), "logit_bias": ({},), "presence_penalty": (0,), "frequency_penalty": (0,),
    "response_format": ({"type": "text"},), "modalities": (["text"],), "audio": (),
}  # fmt: skip


class ChatMessageIn(ApiModel):
    role: Literal["system", "developer", "user", "assistant"]
    content: str | list[dict[str, Any]] | None = None

    @field_validator("content")
    @classmethod
    def _text_only(cls, value: Any) -> str:
        """Parts of type text, joined; a picture or a sound would be lost without a word."""
        if not isinstance(value, list):
            return value or ""
        for part in value:
            if part.get("type") != "text" or not isinstance(part.get("text"), str):
                raise ValueError(f"only text can be read here, not {str(part.get('type'))[:40]}")
        return "\n".join(part["text"] for part in value)


class StreamOptions(ApiModel):
    include_usage: bool = False


class ChatCompletionIn(ApiModel):
    """`collections` and `max_sentences` are ours, for the models `brainstem` and `brainstem/...`."""

    model_config = ConfigDict(
        extra="allow",
        json_schema_extra={"examples": [{"model": "brainstem", "messages": [{"role": "user", "content": "Hello?"}]}]},
    )
    model: str = Field(min_length=1, max_length=300)
    messages: list[ChatMessageIn] = Field(min_length=1, max_length=MOST_MESSAGES)
    stream: bool = False
    stream_options: StreamOptions | None = None
    max_tokens: int | None = Field(None, ge=1, le=MOST_TOKENS)
    max_completion_tokens: int | None = Field(None, ge=1, le=MOST_TOKENS)
    temperature: float | None = Field(None, ge=0, le=2)
    top_p: float | None = Field(None, gt=0, le=1)
    stop: str | list[Annotated[str, Field(max_length=200)]] | None = Field(None, max_length=200)
    seed: int | None = Field(None, ge=-(2**63), le=2**63 - 1)
    n: int | None = None
    collections: list[Annotated[str, Field(max_length=40)]] | None = Field(None, max_length=100)
    max_sentences: int | None = Field(None, ge=1, le=10)

    @field_validator("n")
    @classmethod
    def _one(cls, value: int | None) -> int | None:
        if value not in (None, 1):
            raise ValueError("one answer at a time: n must be 1")
        return value

    @field_validator("stop")
    @classmethod
    def _words(cls, value: Any) -> Any:
        words = [value] if isinstance(value, str) else value or []
        if len(words) > 4:
            raise ValueError("no more than 4 stop words")
        return [word for word in words if word]

    @model_validator(mode="after")
    def _nothing_unheard(self) -> ChatCompletionIn:
        for name, value in (self.model_extra or {}).items():
            if name in NEUTRAL and value is not None and value not in NEUTRAL[name]:
                raise ValueError(f"{name} is not supported here; leave it out")
        if not any(one.role == "user" for one in self.messages):
            raise ValueError("messages: none of them is the user's")
        return self


class EmbeddingsIn(ApiModel):
    model: str = Field(min_length=1, max_length=300)
    input: str | list[Any]
    encoding_format: Literal["float", "base64"] = "float"
    dimensions: int | None = Field(None, ge=1)
    user: str | None = Field(None, max_length=500)

    @field_validator("input")
    @classmethod
    def _texts(cls, value: Any) -> list[str]:
        """Some clients send token numbers, of a tokenizer that no embedder here has."""
        texts = [value] if isinstance(value, str) else value
        if any(isinstance(one, int | list) for one in texts):
            raise ValueError(
                "send texts, not token numbers: they are those of another model's tokenizer"
                " (LangChain: check_embedding_ctx_length=False)"
            )
        if not 1 <= len(texts) <= MOST_INPUTS:
            raise ValueError(f"1 to {MOST_INPUTS} texts")
        if not all(isinstance(one, str) and 1 <= len(one) <= LONGEST_INPUT for one in texts):
            raise ValueError(f"texts of 1 to {LONGEST_INPUT:,} characters")
        return list(texts)


class OpenAIModel(ApiModel):
    id: str
    object: Literal["model"] = "model"
    created: int = Field(0, description="Not known here: 0.")
    owned_by: str
    brainstem: dict[str, Any] = Field(description="kind (chat or embedding), label, context, dimension.")


class OpenAIModels(ApiModel):
    object: Literal["list"] = "list"
    data: list[OpenAIModel]


class ChatCompletionOut(ApiModel):
    """OpenAI's, and for `brainstem` models the numbered `sources` and what the checker said of each sentence."""

    id: str
    object: Literal["chat.completion"] = "chat.completion"
    created: int
    model: str
    choices: list[dict[str, Any]]
    usage: dict[str, int] | None
    sources: list[dict[str, Any]] | None = None
    brainstem: dict[str, Any] | None = None


class EmbeddingsOut(ApiModel):
    object: Literal["list"] = "list"
    data: list[dict[str, Any]]
    model: str
    usage: dict[str, int]
