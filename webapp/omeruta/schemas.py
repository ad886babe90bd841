"""Bodies of Omeruta's endpoints (shapes.md 4). A missing text is told in the words its clients know."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field

from webapp.core.errors import BadRequest
from webapp.core.text import clean
from webapp.web.api import ApiModel

LONGEST = 32_000
AgentType = Literal["auto", "research", "analysis", "qa", "general", "tinyllama"]


def usable_name(name: str) -> bool:
    """A client may call its conversation anything that both databases can keep."""
    return 0 < len(name) <= 200 and clean(name) == name


def _named(name: str | None) -> str | None:
    if name and not usable_name(name):
        raise ValueError("at most 200 characters, none of them NUL")
    return name or None


Name = Annotated[str | None, AfterValidator(_named)]


def required(text: str | None, what: str) -> str:
    """The documented refusal of an empty text (000:432-436)."""
    if text is None or not text.strip():
        message = f"{what} is required"
        raise BadRequest(message, details=[{"loc": [what.lower()], "msg": message, "type": "missing"}])
    return text


class AgentMessageIn(ApiModel):
    message: str | None = Field(None, max_length=LONGEST)


class AgentChatIn(AgentMessageIn):
    """include_quality: with an assessment of the answer in the result (C13)."""

    use_context: bool = True
    conversation_id: Name = None
    agent_type: AgentType = "auto"
    include_quality: bool = False


class StartIn(AgentChatIn):
    """start_chat of the socket. With `expand_knowledge` the question is researched, and up to `max_sources` new pages
    are read."""

    expand_knowledge: bool = False
    max_sources: int = Field(5, ge=1, le=50)


class AgentQueryIn(ApiModel):
    query: str | None = Field(None, max_length=LONGEST)
    conversation_id: Name = None
    use_context: bool = True
    agent_type: AgentType = "auto"
    include_quality: bool = False


class AgentExpandIn(ApiModel):
    topic: str | None = Field(None, max_length=500)
    max_urls: int = Field(5, ge=1, le=50)


class AgentResearchIn(ApiModel):
    topic: str | None = Field(None, max_length=2000)
    expand_knowledge: bool = True
    max_sources: int = Field(5, ge=1, le=50)
    include_quality: bool = False


def _addresses(urls: list[str]) -> list[str]:
    if any(not url.strip() or len(url) > 2000 for url in urls):
        raise ValueError("each is an address of at most 2,000 characters")
    return [url.strip() for url in urls]


class AgentAnalyzeIn(ApiModel):
    urls: Annotated[list[str], AfterValidator(_addresses)] = Field(default_factory=list, max_length=10)
    analysis_type: str = Field("comparison", min_length=1, max_length=40, pattern=r"^[A-Za-z_-]+$")
    include_quality: bool = False


class AgentStartedOut(ApiModel):
    task_id: str
    status: str
    message: str
    check_status_url: str


class AgentStatusOut(ApiModel):
    """`result` once completed, `error` once failed; progress 0-100."""

    task_id: str
    status: Literal["pending", "processing", "completed", "failed"]
    progress: int
    message: str
    celery_status: str
    ready: bool
    conversation_id: str | None = None
    result_key: str | None = None
    result: dict[str, Any] | None = None
    error: str | None = None
    selected_agent: str | None = None
    routing_score: float | None = None


class AgentResultOut(ApiModel):
    """`response` has `&`, `<` and `>` as entities; `response_text` is the text itself."""

    response: str
    response_text: str
    model_used: str
    selected_agent: str | None = None
    context_used: bool
    context_sources: int
    sources: list[Any]
    confidence_score: float | None
    processing_time: float
    task_id: str
    conversation_id: str | None = None


class AgentConversationsQuery(ApiModel):
    page: int = Field(1, ge=1, le=100_000)
    page_size: int = Field(20, ge=1, le=100)


class AgentMessagesQuery(ApiModel):
    limit: int = Field(100, ge=1, le=500)
    offset: int = Field(0, ge=0, le=100_000)


class AgentConversationOut(ApiModel):
    conversation_id: str
    id: str
    title: str
    message_count: int
    created_at: str
    updated_at: str
    last_message_at: str


class AgentConversationPage(ApiModel):
    count: int
    next: str | None
    previous: str | None
    results: list[AgentConversationOut]


class AgentConversationFull(AgentConversationOut):
    messages: list[dict[str, Any]]
