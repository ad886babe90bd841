"""What can be chosen beside a question: agents, models, where to look; and questions to begin with."""

from __future__ import annotations

from typing import TYPE_CHECKING

from webapp.chat.models import Conversation
from webapp.core.context import Ctx

if TYPE_CHECKING:
    from webapp.runtime import Runtime

# Questions that the documentation in the bundled collection answers.
EXAMPLES = (
    "What happens to a task when its worker is killed?",
    "Which databases can Brainstem use?",
    "How are outbound requests kept from reaching private addresses?",
)


def agent_choices(ctx: Ctx) -> list[tuple[str, str]]:
    """(key or id, name)."""
    from webapp.agents import service as agents

    return [(one.key or one.id, one.name) for one in agents.list_(ctx)]


def engine_choices(rt: Runtime) -> list[tuple[str, str]]:
    """(id, label) of the engines that can be used now, without a model first. May ask servers."""
    from webapp.engines import service as engines

    found = [(one.id, one.label) for one in engines.available(rt) if one.available and one.id != "extractive"]
    return [("extractive", "Extractive, no model"), *found]


def shelf_choices(ctx: Ctx, row: Conversation | None) -> tuple[list[tuple[str, str]], int]:
    """(id, name) of collections to look in, and how many documents there are in all of them."""
    from webapp.chat.service.attaching import all_attachments
    from webapp.knowledge.service import collections

    files = all_attachments(ctx)
    found = [one for one in collections.list_(ctx) if one.collection.id not in files]
    return [(one.collection.id, one.collection.name) for one in found], sum(one.documents for one in found)


def examples(ctx: Ctx) -> tuple[str, ...]:
    """Only where the collection that answers them is there to be read."""
    from webapp.knowledge.service import collections

    bundled = any(one.collection.bundled and one.documents for one in collections.list_(ctx))
    return EXAMPLES if bundled else ()
