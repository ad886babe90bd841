"""Bodies of /api/v1/conversations."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field

from webapp.chat.service.expanding import MOST
from webapp.chat.service.messages import LONGEST
from webapp.web.api import ApiModel

Status = Literal["active", "paused", "completed", "archived"]


class Choices(ApiModel):
    """Who answers from what, kept with a conversation. What is left out stays as it is."""

    engine: str | None = Field(
        None, max_length=200, description='An engine\'s id, "extractive", or "" for the default.'
    )
    agent: str | None = Field(None, max_length=64, description='A key or id of an agent; "" lets the program choose.')
    collections: list[str] | None = Field(None, max_length=500, description="Where to look; empty for everywhere.")
    use_context: bool | None = Field(None, description="Answer from sources; false asks the model alone.")


class ConversationIn(ApiModel):
    title: str = Field("", max_length=200)
    config: Choices | None = None


class ConversationPatch(ApiModel):
    title: str | None = Field(None, max_length=200, description='"" makes it anew from the first question.')
    pinned: bool | None = None
    status: Status | None = None
    config: Choices | None = None


class ConversationOut(ApiModel):
    """head_id: the last message of the shown branch. messages: of all branches."""

    id: str
    title: str
    kind: str
    status: str
    pinned: bool
    config: dict[str, Any]
    head_id: str | None
    messages: int
    shared: bool
    attachments_id: str | None
    last_message_at: str
    created_at: str
    updated_at: str


class ConversationQuery(ApiModel):
    status: Status | None = None
    pinned: bool | None = None
    cursor: str | None = Field(None, max_length=400)
    limit: int = Field(50, ge=1, le=100)


class ConversationPage(ApiModel):
    conversations: list[ConversationOut]
    next_cursor: str | None


class FindQuery(ApiModel):
    q: str = Field(min_length=1, max_length=200)
    limit: int = Field(20, ge=1, le=50)


class FoundOut(ApiModel):
    """excerpt, message_id: where it was said, unless only the title fits."""

    conversation: ConversationOut
    excerpt: str
    message_id: str | None


class AskIn(ApiModel):
    """A question. `parent_id` asks it behind another message than the last one, which makes a branch."""

    text: str = Field(max_length=LONGEST)
    agent: str = Field("auto", max_length=64)
    engine: str = Field("", max_length=200)
    collections: list[str] | None = Field(None, max_length=500)
    use_context: bool = True
    parent_id: str | None = Field(None, max_length=40)
    priority: Literal["low", "normal", "high", "urgent"] | None = None


class EditIn(ApiModel):
    text: str = Field(max_length=LONGEST)


class AgainIn(ApiModel):
    agent: str | None = Field(None, max_length=64)
    engine: str | None = Field(None, max_length=200)


class ExpandIn(ApiModel):
    """Where to look for more: pages to begin with, and how many new ones are read at most."""

    urls: list[str] = Field(default_factory=list, max_length=50)
    max_urls: int = Field(MOST, ge=1, le=50)


class MessageOut(ApiModel):
    """state of an answer: waiting, writing, done, declined, cancelled, failed. `content` of one that is being written is
    a snapshot; its stream has the rest. alternatives: branches at this place, `number` is which one this is. change: of
    an answer after a search for more sources: what was read, what that changed, and the answer before."""

    id: str
    conversation_id: str
    parent_id: str | None
    seq: int
    role: str
    content: str
    state: str
    agent: str | None
    task_id: str | None
    sources: list[dict[str, Any]]
    checks: list[dict[str, Any]]
    route: dict[str, Any] | None
    metrics: dict[str, Any] | None
    confidence: float | None
    model: str | None
    change: dict[str, Any] | None
    error: str | None
    note: str | None
    alternatives: int
    number: int
    created_at: str
    updated_at: str


class AskedOut(ApiModel):
    """The question, its answer to be, and the task that writes it."""

    question: MessageOut
    answer: MessageOut
    task_id: str


class AnsweringOut(ApiModel):
    answer: MessageOut
    task_id: str


class ThreadQuery(ApiModel):
    limit: int = Field(100, ge=1, le=500, description="The last so many of the branch.")
    all: bool = Field(False, description="Every message of every branch, oldest first, instead.")


class ThreadOut(ApiModel):
    messages: list[MessageOut]
    head_id: str | None
    earlier: int


class SharedOut(ApiModel):
    url: str
    shared_at: str


class ExportQuery(ApiModel):
    format: Literal["md", "json"] = "json"


class AttachmentsForm(ApiModel):
    """multipart/form-data, field `files`, several times."""

    files: list[Any] = Field(default_factory=list)


class AttachmentOut(ApiModel):
    """state: new, reading, ready, failed."""

    id: str
    label: str
    state: str
    error: str | None


class AttachmentsOut(ApiModel):
    files: list[AttachmentOut]
    refused: list[dict[str, str]]
