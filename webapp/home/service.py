"""What a newcomer can try at once, with what comes along: nothing is asked of the network, no model is needed."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sqlalchemy import exists, select

from webapp.chat import service as chat
from webapp.chat.choices import examples
from webapp.chat.models import Conversation
from webapp.core.context import Ctx
from webapp.core.errors import NotFound
from webapp.embedding import service as embedding
from webapp.embedding.base import EmbedderInfo
from webapp.engines import catalogue
from webapp.engines import service as engines
from webapp.knowledge import plain
from webapp.knowledge.service import collections, demo
from webapp.knowledge.service.collections import Summary
from webapp.tasks import service as tasks

TABLE = Path(__file__).parent / "examples" / "summaries.csv"
TEXT = "concepts.md"  # of the documentation
WORDS = 120


@dataclass(frozen=True)
class Setup:
    """What works here now. engine: the label of the model that writes, None where none does."""

    engine: str | None
    models: int
    embedder: EmbedderInfo
    collections: list[Summary]
    demo: Summary | None  # the collection that comes along
    demo_coming: bool  # it is not there yet, and will be
    question: str | None  # one that it answers

    table_rows: int  # of the example

    @property
    def changing(self) -> bool:
        """Whether a look a second later may show something else."""
        return self.demo_coming or bool(self.demo and self.demo.pending)


def is_new(ctx: Ctx) -> bool:
    """Whether this person has neither a task nor a conversation."""
    mine = tasks.filtered(tasks.owned(ctx)).limit(1)
    if ctx.db.scalars(mine.options(*tasks.LIGHT)).first() is not None:
        return False
    return not ctx.db.scalar(select(exists().where(chat.mine(ctx.user), Conversation.removed_at.is_(None))))


def setup(ctx: Ctx) -> Setup:
    """Asks no server: what each said last is what is shown."""
    shelves = collections.list_(ctx)
    bundled = next((one for one in shelves if one.collection.bundled), None)
    usable = [one for one in engines.available(ctx.rt, wait=False) if one.available and "text" in one.capabilities]
    default = catalogue.default(ctx.rt) if usable else None
    label = next((one.label for one in usable if one.id == default), default)
    asked = examples(ctx)
    return Setup(label, len(usable), embedding.info(ctx.rt, embedding.default(ctx.rt)), shelves, bundled,
                 not asked and demo.coming(ctx), asked[0] if asked else None, len(TABLE.read_bytes().splitlines()) - 1)  # fmt: skip


def start(ctx: Ctx, what: str) -> Any:
    """Start one of the examples as a task of the caller's: "summary" or "table"."""
    if what == "summary":
        text = next((path for path in demo.files() if path.name == TEXT), None)
        if text is None:
            raise NotFound("the documentation was not installed")
        words = "\n\n".join(one for one in plain.blocks(text.read_text("utf-8")) if isinstance(one, str))
        params = {"content": words, "max_length": WORDS}
        return tasks.start(ctx, "summary", params, title="Summary of Brainstem's concepts")
    if what == "table":
        params = {"text": TABLE.read_text("utf-8"), "target": "seconds"}
        return tasks.start(ctx, "data_analysis", params, title="How long summaries took")
    raise NotFound("there is no such example")
