"""An answer in a conversation, as rows: for what hangs on answers and not on how they come about."""

from __future__ import annotations

from typing import Any

from webapp.chat.models import Conversation, Message
from webapp.core.context import Actor
from webapp.runtime import Runtime


def answer_of(rt: Runtime, owner: Actor, text: str = "The answer of somebody.", **more: Any) -> str:
    """The id of an answer in a new conversation of `owner`."""
    with rt.unit() as db:
        conversation = Conversation(owner_id=owner.id, title=f"of {owner.username}", last_seq=2)
        db.add(conversation)
        db.flush()
        question = Message(conversation_id=conversation.id, seq=1, role="user", content="And?")
        db.add(question)
        db.flush()
        answer = Message(conversation_id=conversation.id, seq=2, parent_id=question.id, role="assistant", agent="qa",
                         content=text, **more)  # fmt: skip
        db.add(answer)
        db.flush()
        conversation.head_id = answer.id
        return str(answer.id)


def question_of(rt: Runtime, answer_id: str) -> str:
    with rt.unit(write=False) as db:
        answer = db.get(Message, answer_id)
        assert answer is not None
        return str(answer.parent_id)


def conversation_of(rt: Runtime, message_id: str) -> str:
    with rt.unit(write=False) as db:
        row = db.get(Message, message_id)
        assert row is not None
        return row.conversation_id
