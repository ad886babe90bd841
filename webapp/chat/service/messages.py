"""Messages: a question and its answer, other answers to it, other wordings of it. Nothing of the tree is ever lost."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from webapp.chat.models import Conversation, Message
from webapp.chat.service import conversations
from webapp.core.context import Ctx
from webapp.core.db import new_id, utcnow
from webapp.core.errors import BadRequest, Conflict, NotFound
from webapp.core.text import clean
from webapp.tasks import service as tasks

KIND = "chat.answer"
EXPAND = "chat.expand"  # an answer after a search for sources
LONGEST = 32_000  # characters of one question
MOST = 5_000  # messages of one conversation
OPEN = ("waiting", "writing")
# Of `meta`: what an answer was asked for with. Beside them `chosen`: the conversation's choices at that time.
ASKED = ("agent", "engine", "collections", "use_context")
LOST = "The task that wrote this answer is gone."


@dataclass(frozen=True)
class Node:
    """What the tree needs of a message."""

    id: str
    parent_id: str | None
    role: str
    seq: int


@dataclass(frozen=True)
class Place:
    """Where a message stands among the alternatives to it; both numbers from 1."""

    number: int
    total: int
    before: str | None
    after: str | None


@dataclass(frozen=True)
class Stand:
    """How an answer stands by its row and its task together. note: what the task says it does; seq: of its events."""

    state: str
    error: str | None = None
    note: str = ""
    seq: int = 0
    progress: int = 0
    is_final: bool = True
    can_retry: bool = False


# -- asking ----------------------------------------------------------------------------------------------------------


def ask(
    ctx: Ctx,
    conversation: Conversation | str,
    text: str,
    *,
    agent: str = "auto",
    engine: str = "",
    collections: Sequence[str] | None = None,
    use_context: bool = True,
    parent_id: str | None = None,
    priority: str | None = None,
) -> tuple[Message, Message, Any]:
    """The question, its empty answer and the task (its columns) that writes it, in one transaction.

    agent "auto", engine "", collections None: what was chosen for the conversation, else the program chooses.
    parent_id: what the question follows; the end of the shown branch if not given.
    Raises BadRequest for an empty or too long text, NotFound for a parent, agent, engine or collection that is not there.
    """
    ctx.rt.foreground.hold()  # from here on somebody waits
    conversations.must_exist(ctx, agent, engine)
    row = conversations.locked(ctx, conversation if isinstance(conversation, str) else conversation.id)
    if parent_id is not None and message(ctx, parent_id).conversation_id != row.id:
        raise NotFound("there is no such message in this conversation")
    wanted = _wanted(ctx, row, agent, engine, collections, use_context)
    question = _question(ctx, row, text, parent_id or row.head_id)
    answer, task = answer_to(ctx, row, question, wanted, priority)
    return question, answer, task


def edit(ctx: Ctx, message_id: str, text: str) -> tuple[Message, Message, Any]:
    """Ask a question in other words: a branch beside the old one, with the same choices, or those made since."""
    old = message(ctx, message_id)
    if old.role != "user":
        raise Conflict("only questions can be asked again in other words", code="not_a_question")
    row = conversations.locked(ctx, old.conversation_id)
    question = _question(ctx, row, text, old.parent_id)
    answer, task = answer_to(ctx, row, question, again(ctx, row, old), None)
    return question, answer, task


def regenerate(
    ctx: Ctx, message_id: str, *, agent: str | None = None, engine: str | None = None
) -> tuple[Message, Any]:
    """Another answer to the same question. The old one stays a branch away.

    By the agent and engine named here; else by those that were chosen for the conversation since; else by the same.
    """
    conversations.must_exist(ctx, agent or "", engine or "")
    old = message(ctx, message_id)
    if old.role != "assistant" or old.parent_id is None:
        raise Conflict("only answers can be written again", code="not_an_answer")
    if settled(ctx, [old])[old.id].state in OPEN:
        raise Conflict("this answer is still being written; stop it first", code="still_writing")
    row = conversations.locked(ctx, old.conversation_id)
    question = ctx.db.get_one(Message, old.parent_id)
    wanted = again(ctx, row, old)
    named = {"agent": agent[:200]} if agent else {}
    named |= {"engine": engine[:200]} if engine is not None else {}
    wanted["changed"] = [one for one in wanted["changed"] if one["what"] not in named]
    return answer_to(ctx, row, question, wanted | named, None)


def again(ctx: Ctx, row: Conversation, old: Message) -> dict[str, Any]:
    """The choices `old` was asked with; where others were made for the conversation since, those, named in `changed`."""
    wanted = _wanted(ctx, row, "auto", "", None, True)
    then = old.meta.get("chosen") or {}
    for name in ASKED:
        if name in old.meta and _choice(name, row.config) == _choice(name, then):
            wanted[name] = old.meta[name]
    wanted["changed"] = [{"what": name, "before": old.meta[name], "now": wanted[name]} for name in ASKED
                         if name in old.meta and old.meta[name] != wanted[name]]  # fmt: skip
    return wanted


def _choice(name: str, config: dict[str, Any]) -> Any:
    """None and the program's own choice are the same."""
    if name == "use_context":
        return config.get(name) is not False
    return config.get(name) if config.get(name) not in (None, "", "auto", []) else None


def _wanted(
    ctx: Ctx, row: Conversation, agent: str, engine: str, collections: Sequence[str] | None, use_context: bool
) -> dict[str, Any]:
    from webapp.knowledge.service import collections as shelves

    chosen = row.config
    named = collections if collections is not None else chosen.get("collections")
    if collections:
        named = shelves.readable(ctx, collections)
    elif named:
        named = sorted(set(named) & set(shelves.readable(ctx)))  # one of them may be gone by now
    return {
        "agent": (agent if agent not in ("", "auto") else chosen.get("agent") or "auto")[:200],
        "engine": (engine or chosen.get("engine") or "")[:200],
        "collections": named or None,
        "use_context": use_context and bool(chosen.get("use_context", True)),
        "chosen": {name: chosen[name] for name in ASKED if name in chosen},
    }


def _question(ctx: Ctx, row: Conversation, text: str, parent_id: str | None) -> Message:
    text = clean(text).strip()
    if not text:
        raise BadRequest("there is no text in it", code="empty", details=[{"loc": ["text"], "msg": "write something", "type": "empty"}])  # fmt: skip
    if len(text) > LONGEST:
        raise BadRequest(f"use at most {LONGEST:,} characters", code="too_long",
                         details=[{"loc": ["text"], "msg": f"use at most {LONGEST:,} characters", "type": "size"}])  # fmt: skip
    if not row.titled and row.last_seq == 0:
        row.title = conversations.title_of(text)
    return _add(ctx, row, Message(role="user", content=text, parent_id=parent_id))


def answer_to(
    ctx: Ctx, row: Conversation, question: Message, wanted: dict[str, Any], priority: str | None
) -> tuple[Message, Any]:
    """An empty answer and the task that writes it."""
    question.meta = question.meta or wanted  # the choices it was first asked with
    chosen = wanted["agent"] if wanted["agent"] != "auto" else None
    answer = Message(role="assistant", parent_id=question.id, state="waiting", agent=chosen, meta=dict(wanted))
    answer = _add(ctx, row, answer)
    task = _start(ctx, row, question, answer, priority)
    answer.task_id = task["id"]
    ctx.db.flush()
    return answer, task


def _start(ctx: Ctx, row: Conversation, question: Message, answer: Message, priority: str | None) -> dict[str, Any]:
    params = {"conversation_id": row.id, "message_id": answer.id, "operator": ctx.user.id is None and ctx.user.is_admin}
    params |= {name: answer.meta.get(name) for name in ASKED}
    if answer.meta.get("look"):
        params |= {"before_id": answer.meta.get("before_id"), "look": answer.meta["look"]}
    else:
        ctx.rt.foreground.hold()
    by_model = writes_by_model(ctx, str(answer.meta.get("engine") or ""))
    return tasks.start(ctx, EXPAND if answer.meta.get("look") else KIND, params, title=conversations.title_of(question.content),
                       priority=priority or ("high" if by_model else "normal"), interactive=not by_model)  # fmt: skip


def writes_by_model(ctx: Ctx, engine: str) -> bool:
    """Whether `engine` ("" is the default) would load or ask a model, as far as that is known without asking any."""
    from webapp.engines import local, servers

    if engine:
        return engine != "extractive"
    return bool(ctx.rt.settings.model or local.files(ctx.rt) or servers.servers(ctx.rt))


def _add(ctx: Ctx, row: Conversation, new: Message) -> Message:
    if row.last_seq >= MOST:
        raise Conflict(f"a conversation holds {MOST:,} messages", code="full", suggestion="Start another one.")
    row.last_seq += 1
    new.id, new.conversation_id, new.seq = new_id(), row.id, row.last_seq
    new.meta = new.meta or {}
    ctx.db.add(new)
    row.head_id = new.id
    row.last_message_at = row.updated_at = utcnow()
    conversations.moved(ctx, row)
    ctx.db.flush()
    return new


# -- steering --------------------------------------------------------------------------------------------------------


def cancel(ctx: Ctx, message_id: str) -> Message:
    """Stop an answer; what is written stays. Raises Conflict when it is over."""
    row = message(ctx, message_id)
    if row.role != "assistant" or row.task_id is None:
        raise Conflict("there is nothing to stop", code="already_final")
    if settled(ctx, [row])[row.id].state not in OPEN:
        raise Conflict("this answer is already written", code="already_final")
    task = tasks.cancel(ctx, row.task_id)
    if task.is_final:  # nobody had begun it; a running one is told by its runner
        row.state, row.updated_at = "cancelled", utcnow()
    ctx.db.flush()
    return row


def stop_all(ctx: Ctx, conversation_id: str) -> None:
    open_ = select(Message).where(Message.conversation_id == conversation_id, Message.state.in_(OPEN))
    rows = list(ctx.db.scalars(open_))
    stands = settled(ctx, rows)
    for row in rows:
        if stands[row.id].state in OPEN:
            cancel(ctx, row.id)


def retry(ctx: Ctx, message_id: str) -> tuple[Message, Any]:
    """Try an answer again that failed or was stopped, in its place, with the choices made since. Raises Conflict for any
    other."""
    row = message(ctx, message_id)
    stand = settled(ctx, [row])[row.id]
    if row.role != "assistant" or stand.state not in ("failed", "cancelled"):
        raise Conflict("only answers that failed or were stopped can be tried again", code="not_final")
    conversation = conversations.locked(ctx, row.conversation_id)
    question = ctx.db.get_one(Message, row.parent_id)
    wanted = again(ctx, conversation, row)
    if wanted["changed"]:  # by another model, say: the task that failed knows only the one that could not
        row.meta = {**row.meta, **wanted}
        row.agent = wanted["agent"] if wanted["agent"] != "auto" else None
    keeps = stand.can_retry and not wanted["changed"]
    task: Any = tasks.retry(ctx, row.task_id) if keeps and row.task_id else None
    if task is None:
        task = _start(ctx, conversation, question, row, None)
        row.task_id = task["id"]
    row.state, row.content, row.error = "waiting", "", None
    row.sources, row.checks, row.metrics, row.updated_at = [], [], None, utcnow()
    row.meta = {**row.meta, "change": None}
    conversation.last_message_at = conversation.updated_at = utcnow()
    conversations.moved(ctx, conversation)
    ctx.db.flush()
    return row, task


def branch(ctx: Ctx, message_id: str) -> Conversation:
    """Show the branch this message is on, down to its newest end."""
    chosen = message(ctx, message_id)
    row = conversations.locked(ctx, chosen.conversation_id)
    children: dict[str | None, list[Node]] = {}
    for node in nodes(ctx.db, row.id):
        children.setdefault(node.parent_id, []).append(node)
    end = chosen.id
    while below := children.get(end):
        end = below[-1].id
    row.head_id = end
    conversations.moved(ctx, row)
    ctx.db.flush()
    return row


# -- looking ---------------------------------------------------------------------------------------------------------


def message(ctx: Ctx, message_id: str) -> Message:
    """A message of a conversation of the caller's. Raises NotFound for a stranger's exactly as for none."""
    stmt = select(Message).join(Conversation, Conversation.id == Message.conversation_id)
    stmt = stmt.where(Message.id == message_id[:40], conversations.mine(ctx.user), Conversation.removed_at.is_(None))
    row = ctx.db.scalar(stmt.where(Message.is_deleted.is_(False)))
    if row is None:
        raise NotFound("there is no such message")
    return row


def of_task(db: Session, task_id: str) -> Message | None:
    """The answer that a task writes, or wrote."""
    return db.scalar(select(Message).where(Message.task_id == task_id, Message.role == "assistant").limit(1))


def nodes(db: Session, conversation_id: str) -> list[Node]:
    """The whole tree by `seq`, without texts."""
    columns = select(Message.id, Message.parent_id, Message.role, Message.seq)
    rows = db.execute(columns.where(Message.conversation_id == conversation_id).order_by(Message.seq)).all()
    return [Node(*row) for row in rows]


def path(
    db: Session, conversation: Conversation, *, head_id: str | None = None, limit: int | None = None,
    tree: list[Node] | None = None,
) -> list[Message]:  # fmt: skip
    """The branch that ends at `head_id` (that of the conversation if not given), oldest first; the last `limit` of it."""
    known = {node.id: node for node in (nodes(db, conversation.id) if tree is None else tree)}
    ids: list[str] = []
    at = known.get(head_id or conversation.head_id or "")
    while at is not None and (limit is None or len(ids) < limit):
        ids.append(at.id)
        at = known.get(at.parent_id or "")
    rows = {row.id: row for start in range(0, len(ids), 500)
            for row in db.scalars(select(Message).where(Message.id.in_(ids[start : start + 500])))}  # fmt: skip
    return [rows[ident] for ident in reversed(ids) if ident in rows]


def every(db: Session, conversation: Conversation) -> list[Message]:
    """All messages of all branches, in the order in which they were written."""
    stmt = select(Message).where(Message.conversation_id == conversation.id, Message.is_deleted.is_(False))
    return list(db.scalars(stmt.order_by(Message.seq)))


def depth(tree: Iterable[Node], shown: Sequence[Message]) -> int:
    """How many messages of the branch come before the shown ones."""
    if not shown:
        return 0
    known = {node.id: node for node in tree}
    count, at = 0, known.get(shown[0].parent_id or "")
    while at is not None:
        count, at = count + 1, known.get(at.parent_id or "")
    return count


def siblings(tree: Iterable[Node]) -> dict[str, Place]:
    """message id -> its place among the alternatives to it, for those that have any."""
    groups: dict[tuple[str | None, str], list[str]] = {}
    for node in tree:
        groups.setdefault((node.parent_id, node.role), []).append(node.id)
    found = {}
    for ids in groups.values():
        for at, ident in enumerate(ids if len(ids) > 1 else ()):
            before = ids[at - 1] if at else None
            found[ident] = Place(at + 1, len(ids), before, ids[at + 1] if at + 1 < len(ids) else None)
    return found


def history(db: Session, conversation: Conversation, message_id: str, *, limit: int = 12) -> list[dict[str, str]]:
    """What was said before the question `message_id`, as an engine takes it: at most `limit` finished messages."""
    before = path(db, conversation, head_id=message_id, limit=limit + 1)[:-1]
    said = [row for row in before if row.content and row.state in ("done", "cancelled") and not row.is_deleted]
    return [{"role": row.role, "content": row.content} for row in said]


def settled(ctx: Ctx, rows: Iterable[Message], *, exact: bool = False) -> dict[str, Stand]:
    """message id -> how it stands. A task can end where no runner writes its message: killed, stopped while it waited.

    exact: with the `seq` of finished answers too, for who compares it with what is shown.
    """
    rows = list(rows)
    wanted = [row.task_id for row in rows if row.task_id and (exact or row.state not in ("done", "declined"))]
    found = tasks.by_ids(ctx, wanted)
    _read_again(
        ctx, [row for row in rows if row.state in OPEN and (task := found.get(row.task_id or "")) and task.is_final]
    )
    return {row.id: stand(row, found.get(row.task_id or "")) for row in rows}


def _read_again(ctx: Ctx, rows: list[Message]) -> None:
    """A runner stores its answer before its task ends, but two reads see two moments: the end may be there and the answer
    of before it."""
    if ids := [row.id for row in rows if row in ctx.db and not ctx.db.is_modified(row)]:
        ctx.db.scalars(select(Message).where(Message.id.in_(ids)).execution_options(populate_existing=True)).all()


def stand(row: Message, task: Any) -> Stand:
    """`task`: the row of its task, None if there is none any more."""
    if row.role != "assistant" or row.state in ("done", "declined"):
        return Stand(row.state, seq=task.seq if task is not None else 0)
    if task is not None and not task.is_final:
        state = "writing" if row.state == "writing" and task.status == "running" else "waiting"
        return Stand(state, note=task.message or "", seq=task.seq, progress=task.progress, is_final=False)
    seq, again = (task.seq, bool(task.can_retry)) if task is not None else (0, False)
    if row.state not in OPEN:
        return Stand(row.state, row.error, seq=seq, can_retry=again)
    if task is not None and task.status == "cancelled":
        return Stand("cancelled", seq=seq, can_retry=again)
    return Stand("failed", (task.error if task is not None else None) or LOST, seq=seq, can_retry=again)
