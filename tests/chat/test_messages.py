"""Questions and answers: the task that writes, the tree, stopping, failing and trying again. On both runtimes."""

from __future__ import annotations

from typing import Any

import pytest

from tests.chat.conftest import Answer, Pen, Sentence, Source, Talk, add_lab
from tests.fakes.kinds import Killed
from webapp.chat import service
from webapp.chat.models import Message
from webapp.chat.service import messages
from webapp.core.errors import BadRequest, Conflict, NoModel, NotFound, Upstream
from webapp.engines.base import Completion


def streaming(*pieces: str, **more: Any) -> Any:
    def script(on_text: Any, **_: Any) -> Answer:
        for piece in pieces:
            on_text(piece)
        return Answer("".join(pieces), **more)

    return script


def test_a_question_gets_an_answer_with_sources_and_a_receipt(talk: Talk) -> None:
    talk.pen.script = lambda **_: Answer(
        "It is so [1].", (Sentence("It is so [1].", (1,)),), (Source(1),),
        completion=Completion("It is so.", "m", "stop", 7, 4, {"generate": 0.5}),
    )  # fmt: skip
    conversation, _question, answer, task_id = talk.ask("Is it so?")
    row = talk.message(answer)
    assert (row.state, row.content, row.agent) == ("done", "It is so [1].", "qa")
    assert row.sources[0]["number"] == 1
    assert row.checks[0]["numbers"] == [1]
    assert (row.route["agent"], row.route["method"]) == ("qa", "signs")
    assert (row.metrics["tokens_per_second"], row.metrics["prompt_tokens"]) == (8.0, 7)
    result = talk.lab.row(task_id).result
    assert result is not None
    assert (result["response"], result["selected_agent"], result["routing_score"]) == ("It is so [1].", "qa", 0.75)
    assert (result["context_sources"], result["conversation_id"]) == (1, conversation)
    texts = [event.message for event in talk.lab.events(task_id) if event.type == "progress"]
    assert texts == ["Initializing AI agent...", "Searching knowledge base..."]
    with talk.as_() as ctx:
        assert service.get(ctx, conversation).title == "Is it so?"


def test_the_history_is_the_branch_before_the_question(talk: Talk) -> None:
    talk.pen.script = lambda **_: Answer("First answer.")
    conversation, first, *_ = talk.ask("First?")
    talk.ask("Second?", conversation)
    with talk.as_() as ctx:
        service.edit(ctx, first, "Other first?")
    talk.lab.run_all("interactive")
    assert [one["history"] for one in talk.pen.asked] == [
        (),
        ({"role": "user", "content": "First?"}, {"role": "assistant", "content": "First answer."}),
        (),
    ]


def test_text_is_there_while_it_is_written(talk: Talk) -> None:
    seen: dict[str, Any] = {}
    rung: list[int] = []
    talk.rt.bus.listen(lambda bell: rung.append(bell.seq) if bell.kind == "text" else None)

    def script(on_text: Any, task_id: str, **_: Any) -> Answer:
        on_text("Grüße ")
        seen["stream"] = talk.rt.streams.read(task_id)
        on_text("dir")
        return Answer("Grüße dir")

    talk.pen.script = script
    *_, answer, task_id = talk.ask()
    fence = talk.lab.row(task_id).fence
    assert seen["stream"] == (fence, 8, "Grüße ")
    assert talk.rt.streams.read(task_id, 8) == (fence, 11, "dir")
    assert talk.message(answer).metrics["first_token_seconds"] >= 0


def test_regenerated_and_edited_answers_are_branches(talk: Talk) -> None:
    texts = iter(["one", "two", "three"])
    talk.pen.script = lambda **_: Answer(next(texts))
    conversation, question, first, _ = talk.ask("Why?")
    with talk.as_() as ctx:
        second = service.regenerate(ctx, first, agent="research")[0].id
    talk.lab.run_all("interactive")
    with talk.as_() as ctx:
        other, third, _ = service.edit(ctx, question, "Why not?")
        other_id, third_id = other.id, third.id
    talk.lab.run_all("interactive")
    assert talk.message(second).agent == "research"
    assert talk.message(second).route["method"] == "chosen"
    assert talk.pen.routed == 2, "a chosen agent needs no route"

    def shown() -> list[str]:
        with talk.as_() as ctx:
            return [row.content for row in service.path(ctx.db, service.get(ctx, conversation))]

    assert shown() == ["Why not?", "three"]
    with talk.as_() as ctx:
        places = service.siblings(messages.nodes(ctx.db, conversation))
        assert (places[second].number, places[second].total, places[second].before) == (2, 2, first)
        assert (places[other_id].number, places[question].after) == (2, other_id)
        assert third_id not in places
        service.branch(ctx, question)
    assert shown() == ["Why?", "two"], "down to the newest end"
    with talk.as_() as ctx:
        service.branch(ctx, first)
    assert shown() == ["Why?", "one"]


def test_stopped_before_it_began(talk: Talk) -> None:
    *_, answer, task_id = talk.ask(run=False)
    with talk.as_() as ctx:
        assert service.cancel(ctx, answer).state == "cancelled"
    assert talk.lab.status(task_id) == "cancelled"
    with talk.as_() as ctx, pytest.raises(Conflict):
        service.cancel(ctx, answer)


def test_stopped_in_the_middle_keeps_what_is_written(talk: Talk) -> None:
    def script(on_text: Any, cancelled: Any, **_: Any) -> Answer:
        on_text("Half an ")
        with talk.as_() as ctx:
            service.cancel(ctx, talk_answer[0])
        run = next(iter(talk.lab.host._runs.values()))
        run.ask_to_stop()  # what the beat does when the bell rings
        assert cancelled()
        return Answer("Half an ", completion=Completion("Half an ", "m", "cancelled"))

    talk_answer: list[str] = []
    talk.pen.script = script
    *_, answer, task_id = talk.ask(run=False)
    talk_answer.append(answer)
    talk.lab.run_all("interactive")
    assert talk.lab.status(task_id) == "cancelled"
    row = talk.message(answer)
    assert (row.state, row.content) == ("cancelled", "Half an ")


def test_a_failure_keeps_the_question_and_says_what_to_do(talk: Talk) -> None:
    def script(**_: Any) -> Answer:
        raise NoModel("No language model is set up.", suggestion="Add one.")

    talk.pen.script = script
    _, question, answer, task_id = talk.ask("Why?")
    stand = talk.stand(answer)
    assert (stand.state, stand.error, stand.can_retry) == ("failed", "No language model is set up. Add one.", True)
    assert talk.message(question).content == "Why?"
    talk.pen.script = lambda **_: Answer("Now it works.")
    with talk.as_() as ctx:
        service.retry(ctx, answer)
    assert talk.stand(answer).state == "waiting"
    talk.lab.run_all("interactive")
    assert (talk.message(answer).state, talk.message(answer).content) == ("done", "Now it works.")
    assert talk.lab.status(task_id) == "completed", "the same task did it"


def test_a_server_that_recovers_is_asked_again(talk: Talk) -> None:
    def script(**_: Any) -> Answer:
        if len(talk.pen.asked) < 3:
            raise Upstream("busy", retry_after=0)
        return Answer("At last.")

    talk.pen.script = script
    *_, answer, task_id = talk.ask(run=False)
    talk.lab.run("interactive")
    stand = talk.stand(answer)
    assert (stand.state, stand.error) == ("waiting", None)
    assert "Retrying (1/3)" in stand.note
    for _ in range(2):
        talk.lab.sql("UPDATE tasks SET due_at = 1 WHERE id = :id", id=task_id)
        talk.lab.make_due()
        talk.lab.run("interactive")
    assert talk.message(answer).content == "At last."
    assert talk.pen.routed == 1, "the receipt is kept over the tries"


def test_a_crash_resumes_and_the_old_claim_writes_nothing(talk: Talk) -> None:
    def dies(on_text: Any, **_: Any) -> Answer:
        on_text("Lost words")
        raise Killed

    talk.pen.script = dies
    *_, answer, task_id = talk.ask(run=False)
    talk.lab.crash("interactive")
    assert talk.stand(answer).state == "writing"
    fence = talk.lab.row(task_id).fence
    talk.lab.sql("UPDATE tasks SET status = 'queued' WHERE id = :id", id=task_id)
    talk.pen.script = streaming("The whole ", "answer")
    talk.lab.run_all("interactive")
    assert talk.message(answer).content == "The whole answer"
    assert talk.rt.streams.append(task_id, fence, "zombie") == -1
    assert talk.rt.streams.read(task_id).text == "The whole answer"
    assert talk.pen.stored == [task_id], "citations once"


def test_a_task_that_ended_where_nobody_wrote(talk: Talk) -> None:
    *_, answer, task_id = talk.ask(run=False)
    talk.lab.sql("UPDATE tasks SET status = 'timed_out', error = 'Stopped: too long' WHERE id = :id", id=task_id)
    assert (talk.stand(answer).state, talk.stand(answer).error) == ("failed", "Stopped: too long")
    talk.lab.sql("DELETE FROM tasks WHERE id = :id", id=task_id)
    assert talk.stand(answer).state == "failed"
    with talk.as_() as ctx:
        _, task = service.retry(ctx, answer)
    assert task["id"] != task_id, "a new task, since the old one is gone"
    talk.lab.run_all("interactive")
    assert talk.message(answer).content == "Yes."


def test_declined_is_a_state_and_stores_no_citations(talk: Talk) -> None:
    talk.pen.script = lambda **_: Answer("I do not know.", declined=True, confidence=0.1, reason="Nothing fits.")
    *_, answer, _ = talk.ask()
    row = talk.message(answer)
    assert (row.state, row.meta["reason"], row.sources) == ("declined", "Nothing fits.", [])
    assert talk.pen.stored == []


def test_another_person_s_message_is_not_there(talk: Talk, pen: Pen) -> None:
    conversation, question, answer, _ = talk.ask()
    with talk.as_(talk.cast.bob) as ctx:
        for verb in (service.cancel, service.regenerate, service.retry, service.branch, service.message):
            with pytest.raises(NotFound):
                verb(ctx, answer)
        with pytest.raises(NotFound):
            service.edit(ctx, question, "mine now")
        with pytest.raises(NotFound):
            service.ask(ctx, conversation, "mine?")
        mine = service.create(ctx)
        with pytest.raises(NotFound):
            service.ask(ctx, mine, "after yours", parent_id=answer)


@pytest.mark.parametrize("text", ["", "  \n", "x" * 40_000])
def test_what_is_no_question(talk: Talk, text: str) -> None:
    with pytest.raises(BadRequest):
        talk.ask(text)


def test_a_task_started_by_a_stranger_writes_into_nobody_s_message(talk: Talk) -> None:
    conversation, _, answer, _ = talk.ask()
    with talk.lab.as_(talk.cast.bob) as ctx:
        from webapp.tasks import service as tasks

        params = {"conversation_id": conversation, "message_id": answer}
        with pytest.raises(BadRequest):
            tasks.start(ctx, "chat.answer", params, asked=True)
        forged = tasks.start(ctx, "chat.answer", params, interactive=True)["id"]
    talk.pen.script = lambda **_: Answer("Forged.")
    talk.lab.run_all("interactive")
    assert talk.lab.status(forged) == "failed"
    assert talk.message(answer).content == "Yes."


def test_numbers_of_messages_are_given_once(talk: Talk) -> None:
    conversation, *_ = talk.ask()
    talk.ask("And?", conversation)
    with talk.as_() as ctx:
        from sqlalchemy import select

        seqs = ctx.db.scalars(select(Message.seq).where(Message.conversation_id == conversation).order_by(Message.seq))
        assert list(seqs) == [1, 2, 3, 4]


# -- what was chosen since -------------------------------------------------------------------------------------------


def choose(talk: Talk, conversation: str, **config: Any) -> None:
    with talk.as_() as ctx:
        service.update(ctx, conversation, config=config)


def test_another_answer_is_by_what_was_chosen_since_and_says_so(talk: Talk) -> None:
    add_lab(talk.rt)
    conversation, question, answer, _ = talk.ask(engine="")
    talk.lab.run_all("inference")
    choose(talk, conversation, engine="openai:large@lab", agent="research", collections=[])
    with talk.as_() as ctx:
        again = service.regenerate(ctx, answer)[0].id
        other = service.edit(ctx, question, "Why not?")[1].id
    talk.lab.run_all("interactive")
    talk.lab.run_all("inference")
    assert [one["engine"] for one in talk.pen.asked] == ["", "openai:large@lab", "openai:large@lab"]
    for ident in (again, other):
        row = talk.message(ident)
        assert (row.agent, row.route["method"]) == ("research", "chosen")
        assert row.route["changed"] == [{"what": "agent", "before": "auto", "now": "research"},
                                        {"what": "engine", "before": "", "now": "openai:large@lab"}]  # fmt: skip
    assert "changed" not in talk.message(answer).route


def test_another_answer_keeps_what_it_was_asked_with_where_nothing_was_chosen(talk: Talk) -> None:
    """Named for one question by a program, while the conversation's own choice stayed as it was."""
    add_lab(talk.rt)
    with talk.as_() as ctx:
        row = service.create(ctx)
        service.update(ctx, row.id, config={"engine": "openai:small@lab"})
        conversation = row.id
    *_, answer, _ = talk.ask("Why?", conversation, engine="openai:large@lab", use_context=False)
    talk.lab.run_all("inference")
    with talk.as_() as ctx:
        again = service.regenerate(ctx, answer)[0].id
    talk.lab.run_all("inference")
    assert [(one["engine"], one["use_context"]) for one in talk.pen.asked] == [("openai:large@lab", False)] * 2
    assert "changed" not in talk.message(again).route
    choose(talk, conversation, engine="")
    with talk.as_() as ctx:
        third = service.regenerate(ctx, again)[0].id
        assert service.message(ctx, third).meta["changed"] == [
            {"what": "engine", "before": "openai:large@lab", "now": ""}]  # fmt: skip
        named = service.regenerate(ctx, answer, engine="extractive")[0]
        assert (named.meta["engine"], named.meta["changed"]) == ("extractive", []), "what is named now goes first"


def test_tried_again_it_is_by_what_was_chosen_since(talk: Talk) -> None:
    """Else whoever chose a model because the first one failed would see it fail again."""

    def script(engine: str, **_: Any) -> Answer:
        if engine == "openai:gone@lab":
            raise NoModel("There is no model openai:gone@lab here.")
        return Answer("Now it works.")

    talk.pen.script = script
    add_lab(talk.rt)
    conversation, _, answer, first = talk.ask("Why?", engine="openai:gone@lab", run=False)
    talk.lab.run_all("inference")
    assert talk.stand(answer).state == "failed"
    choose(talk, conversation, engine="extractive")
    with talk.as_() as ctx:
        _, task = service.retry(ctx, answer)
        second = task["id"]
    talk.lab.run_all("interactive")
    row = talk.message(answer)
    assert (row.state, row.content, row.task_id == second != first) == ("done", "Now it works.", True)
    assert row.route["changed"] == [{"what": "engine", "before": "openai:gone@lab", "now": "extractive"}]


def test_a_model_that_writes_slowly_is_seen_to_write(talk: Talk, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a word in the task for half a minute a page calls it stalled."""
    monkeypatch.setattr("webapp.core.streams.NOTE_EVERY", 0.0)
    monkeypatch.setattr("webapp.chat.kind.SAY_EVERY", 0.0)
    talk.pen.script = streaming("Bees ", "dance ", "slowly.")
    _, _, _, task_id = talk.ask()
    said = [event.message for event in talk.lab.events(task_id)]
    assert "Writing the answer: 3 words so far" in said


def test_an_end_comes_with_the_words_written_before_it(talk: Talk, monkeypatch: pytest.MonkeyPatch) -> None:
    """The runner stores the answer and ends its task between the two reads of somebody who looks."""
    if talk.rt.engine.dialect.name == "sqlite":
        pytest.skip("all reads of a transaction see one moment")
    from webapp.tasks.models import Task

    _, _, answer, task = talk.ask(run=False)
    real = messages.tasks.by_ids

    def a_moment_later(ctx: Any, ids: Any) -> Any:
        with talk.rt.unit() as db:
            row = db.get_one(Message, answer)
            row.content, row.state = "word", "cancelled"
            db.get_one(Task, task).status = "cancelled"
        return real(ctx, ids)

    monkeypatch.setattr(messages.tasks, "by_ids", a_moment_later)
    with talk.as_() as ctx:
        row = service.message(ctx, answer)
        stand = service.settled(ctx, [row])[answer]
        assert (row.content, stand.state, stand.is_final) == ("word", "cancelled", True)
