"""Endpoints of Omeruta's agents.

POST /api/agents/async/chat_async/         a question          -> a task
POST /api/agents/async/multiagent_async/   a question for the orchestrator
POST /api/agents/async/research_topic/     research, with new sources if wanted
POST /api/agents/async/analyze_content/    compare addresses
POST /api/agents/async/expand_knowledge/   find and read sources about a topic
GET  /api/agents/async/status/{task_id}/   where a task stands, at last with its result
POST /api/agents/tinyllama/chat/           a question, answered in this request
GET  /api/agents/conversations/            own conversations, and one with its messages
"""

from __future__ import annotations

from typing import Any

from webapp.chat import service as chat
from webapp.core.context import Ctx
from webapp.core.errors import BadRequest
from webapp.omeruta import service, wire
from webapp.omeruta.schemas import (
    AgentAnalyzeIn,
    AgentChatIn,
    AgentConversationFull,
    AgentConversationPage,
    AgentConversationsQuery,
    AgentExpandIn,
    AgentMessageIn,
    AgentMessagesQuery,
    AgentQueryIn,
    AgentResearchIn,
    AgentResultOut,
    AgentStartedOut,
    AgentStatusOut,
    required,
)
from webapp.tasks.outcome import outcome
from webapp.web.api import Api
from webapp.web.paging import numbered
from webapp.web.waiting import wait_for

agents = Api("omeruta_agents", "/api/agents", tag="Agents (Omeruta)", dialect="omeruta")
READ, WRITE = "tasks:read", "tasks:write"


@agents.post("/async/chat_async/", auth=WRITE, body=AgentChatIn, returns=AgentStartedOut)
def chat_async(ctx: Ctx, body: AgentChatIn) -> Any:
    """Ask a question; it answers at once and works in the background."""
    text = required(body.message, "Message")
    task_id = service.start_chat(ctx, text, name=body.conversation_id, agent=body.agent_type,
                                 use_context=body.use_context, include_quality=body.include_quality)  # fmt: skip
    return wire.started(task_id, "Your request is being processed. Use the task_id to check status.")


@agents.post("/async/multiagent_async/", auth=WRITE, body=AgentQueryIn, returns=AgentStartedOut)
def multiagent_async(ctx: Ctx, body: AgentQueryIn) -> Any:
    """Ask; the orchestrator chooses the agent that answers best."""
    text = required(body.query, "Query")
    task_id = service.start_chat(ctx, text, name=body.conversation_id, agent=body.agent_type,
                                 use_context=body.use_context, include_quality=body.include_quality)  # fmt: skip
    return wire.started(task_id, "Multi-agent query is being processed.")


@agents.post("/async/research_topic/", auth=WRITE, body=AgentResearchIn, returns=AgentStartedOut, errors=(403, 503))
def research_topic(ctx: Ctx, body: AgentResearchIn) -> Any:
    """Research a topic; `expand_knowledge` reads up to `max_sources` new pages about it first."""
    topic = required(body.topic, "Topic")
    task_id = service.start_research(ctx, topic, expand=body.expand_knowledge, max_sources=body.max_sources,
                                     include_quality=body.include_quality)  # fmt: skip
    return wire.started(task_id, f'Research on "{topic}" started.')


@agents.post("/async/analyze_content/", auth=WRITE, body=AgentAnalyzeIn, returns=AgentStartedOut, errors=(403, 503))
def analyze_content(ctx: Ctx, body: AgentAnalyzeIn) -> Any:
    """Read the addresses and say where they agree and differ."""
    if not body.urls:
        raise BadRequest(
            "URLs are required", details=[{"loc": ["urls"], "msg": "name at least one", "type": "missing"}]
        )
    task_id = service.start_analysis(ctx, body.urls, body.analysis_type, include_quality=body.include_quality)
    return wire.started(task_id, f"Analysis of {len(body.urls)} sources started.")


@agents.post("/async/expand_knowledge/", auth=WRITE, body=AgentExpandIn, returns=AgentStartedOut, errors=(403, 503))
def expand_knowledge(ctx: Ctx, body: AgentExpandIn) -> Any:
    """Find, read and keep up to `max_urls` pages about a topic."""
    topic = required(body.topic, "Topic")
    task_id = service.start_expansion(ctx, topic, body.max_urls)
    return wire.started(task_id, f'Knowledge expansion for "{topic}" started.')


@agents.get("/async/status/<task_id>/", auth=READ, returns=AgentStatusOut, errors=(404,))
def task_status(ctx: Ctx, task_id: str) -> Any:
    """Where a task stands. An id that could be one and is not yours is `pending`, as Celery has it; any other is 404."""
    return service.status(ctx, task_id)


@agents.post(
    "/tinyllama/chat/", auth=WRITE, body=AgentMessageIn, returns=AgentResultOut, write=False, errors=(502, 503, 504)
)
def tinyllama_chat(ctx: Ctx, body: AgentMessageIn) -> Any:
    """Ask the small local model and wait for its answer; 504 when it takes too long, and the task goes on."""
    text = required(body.message, "Message")
    ctx.db.commit()
    user = ctx.user
    with ctx.rt.unit() as db:
        task_id = service.start_chat(Ctx(ctx.rt, db, user, ctx.request_id, ctx.ip), text, agent="tinyllama")

    def look(rt: Any) -> dict[str, Any] | None:
        return service.outcome(rt, user, task_id)[1] if outcome(rt, user, task_id) else None

    return wait_for(user, task_id, look, late=wire.CHECK_URL.format(task_id))


# -- conversations ---------------------------------------------------------------------------------------------------


@agents.get("/conversations/", auth=READ, query=AgentConversationsQuery, returns=AgentConversationPage, errors=(404,))
def list_conversations(ctx: Ctx, query: AgentConversationsQuery) -> Any:
    """Own conversations of this system, the last used first."""
    count, rows = service.conversations(ctx, query.page, query.page_size)
    return numbered(query.page, query.page_size, count, [wire.conversation(row) for row in rows])


@agents.get(
    "/conversations/<conversation_id>/",
    auth=READ,
    query=AgentMessagesQuery,
    returns=AgentConversationFull,
    errors=(404,),
)
def get_conversation(ctx: Ctx, conversation_id: str, query: AgentMessagesQuery) -> Any:
    """One conversation with its messages, oldest first; by the name its client gave it, or by our id."""
    row = service.find(ctx, conversation_id)
    rows = service.messages(ctx, row, query.limit, query.offset)
    stands = chat.settled(ctx, rows)
    return wire.conversation(row) | {"messages": [wire.message(one, stands[one.id]) for one in rows]}
