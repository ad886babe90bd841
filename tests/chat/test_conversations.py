"""Conversations as things: found, listed, searched, thrown away, shared, exported, given files."""

from __future__ import annotations

import io
from datetime import timedelta
from typing import Any

import pytest

from tests.chat.conftest import Answer, Source, Talk
from tests.fakes.lab import QueryCounter
from tests.fakes.site import Site
from webapp.chat import service
from webapp.chat.models import Conversation, Message
from webapp.chat.service import conversations, exporting, messages
from webapp.core.db import utcnow
from webapp.core.errors import BadRequest, Conflict, NotFound
from webapp.knowledge.service.sources import File


def many(talk: Talk, number: int, **more: Any) -> list[str]:
    now = utcnow()
    with talk.as_() as ctx:
        rows = [
            Conversation(owner_id=talk.cast.alice.id, title=f"Talk {at}", last_message_at=now - timedelta(minutes=at // 2),
                         pinned=at % 10 == 9, **more)
            for at in range(number)
        ]  # fmt: skip
        ctx.db.add_all(rows)
        ctx.db.flush()
        return [row.id for row in rows]


def test_a_client_s_own_name_finds_one_conversation(talk: Talk) -> None:
    with talk.as_() as ctx:
        first = service.find_or_create(ctx, "chat_1_abc", "omeruta").id
    with talk.as_() as ctx:
        assert service.find_or_create(ctx, "chat_1_abc", "omeruta").id == first
    with talk.as_(talk.cast.bob) as ctx:
        assert service.find_or_create(ctx, "chat_1_abc", "omeruta").id != first
        with pytest.raises(NotFound):
            service.get(ctx, first)


def test_the_list_is_whole_in_pages_pinned_ones_first(talk: Talk) -> None:
    made = set(many(talk, 45))
    seen: list[Conversation] = []
    cursor = None
    with talk.as_() as ctx:
        while True:
            page = service.list_(ctx, cursor=cursor, limit=10)
            seen += page.items
            cursor = page.next_cursor
            if cursor is None:
                break
    assert {row.id for row in seen} == made
    assert len(seen) == 45
    assert [row.pinned for row in seen] == sorted((row.pinned for row in seen), reverse=True)
    for group in (True, False):
        times = [row.last_message_at for row in seen if row.pinned is group]
        assert times == sorted(times, reverse=True)


@pytest.mark.parametrize("cursor", ["x", "MXx4fHk", "²", "MHxub3R8eA"])
def test_a_cursor_that_is_none_of_ours(talk: Talk, cursor: str) -> None:
    with talk.as_() as ctx, pytest.raises(BadRequest):
        service.list_(ctx, cursor=cursor)


def test_a_longer_conversation_asks_the_database_no_more(talk: Talk) -> None:
    from webapp.chat import views

    conversation, *_ = talk.ask("One?")
    counts = []
    for number in (2, 6):
        while len(_branch(talk, conversation)) < 2 * number:
            talk.ask("Another?", conversation)
        with QueryCounter(talk.rt) as queries, talk.as_() as ctx:
            row = service.get(ctx, conversation)
            tree = messages.nodes(ctx.db, row.id)
            rows = service.path(ctx.db, row, tree=tree)
            stands = service.settled(ctx, rows)
            assert [views.message(one, stands[one.id])["state"] for one in rows] == ["done"] * 2 * number
        counts.append(len(queries))
    assert counts[0] == counts[1]


def _branch(talk: Talk, conversation: str) -> list[Message]:
    with talk.as_() as ctx:
        return service.path(ctx.db, service.get(ctx, conversation))


def test_found_by_title_and_by_what_was_said(talk: Talk) -> None:
    talk.pen.script = lambda **_: Answer("The lighthouse stands on 100% granite_rock since 1901.")
    conversation, _, answer, _ = talk.ask("How high is the tower?")
    talk.ask("Unrelated?")
    with talk.as_() as ctx:
        assert [one.conversation.id for one in service.search(ctx, "tower HIGH")] == [conversation]
        said = service.search(ctx, "lighthouse granite")
        assert len(said) == 2, "both were answered so"
        assert "stands on 100% granite_rock" in said[0].excerpt
        assert answer in {one.message_id for one in said}
        assert service.search(ctx, "100%x") == []
        assert service.search(ctx, "granite%rock") == [], "signs of the database are letters"
        assert service.search(ctx, "  ") == []
    with talk.as_(talk.cast.bob) as ctx:
        assert service.search(ctx, "lighthouse") == []


def test_thrown_away_taken_back_and_in_the_end_emptied(talk: Talk) -> None:
    conversation, _, answer, task_id = talk.ask(run=False)
    with talk.as_() as ctx:
        service.remove(ctx, conversation)
    assert talk.lab.status(task_id) == "cancelled"
    with talk.as_() as ctx:
        assert service.list_(ctx).items == []
        with pytest.raises(NotFound):
            service.message(ctx, answer)
        service.restore(ctx, conversation)
        assert service.message(ctx, answer).state == "cancelled"
        service.remove(ctx, conversation)
        assert conversations.empty(ctx.db, utcnow() - timedelta(days=1)) == 0
        assert conversations.empty(ctx.db, utcnow() + timedelta(seconds=1)) == 1
    assert talk.lab.count("messages") == talk.lab.count("conversations") == 0


def test_a_link_shows_the_branch_up_to_where_it_was_shared(talk: Talk) -> None:
    talk.pen.script = lambda **_: Answer("Yes [1].", sources=(Source(1, quote="the words"),))
    conversation, _, answer, _ = talk.ask("Shared?")
    with talk.as_() as ctx:
        token = service.share(ctx, conversation).share_token
        assert token is not None
    talk.ask("Private afterwards?", conversation)
    with talk.rt.unit(write=False) as db:
        row, shown = service.shared(db, token)
        assert (row.id, [one.content for one in shown]) == (conversation, ["Shared?", "Yes [1]."])
        assert service.shared_source(db, token, answer, "1")["quote"] == "the words"
        for wrong in ("2", "x"):
            with pytest.raises(NotFound):
                service.shared_source(db, token, answer, wrong)
        for other in ("", token[:-1], token + "x", "%", conversation):
            with pytest.raises(NotFound):
                service.shared(db, other)
    private = _branch(talk, conversation)[-1].id
    with talk.rt.unit(write=False) as db, pytest.raises(NotFound):
        service.shared_source(db, token, private, "1")
    with talk.as_() as ctx:
        assert service.share(ctx, conversation).share_token == token, "the end moves, the link stays"
        service.unshare(ctx, conversation)
    with talk.rt.unit(write=False) as db, pytest.raises(NotFound):
        service.shared(db, token)
    with talk.as_() as ctx:
        assert service.share(ctx, conversation).share_token != token


def test_nothing_unfinished_is_shared(talk: Talk) -> None:
    conversation, *_ = talk.ask(run=False)
    with talk.as_() as ctx, pytest.raises(Conflict):
        service.share(ctx, conversation)
    with talk.as_() as ctx, pytest.raises(Conflict):
        service.share(ctx, service.create(ctx).id)
    with talk.as_(talk.cast.bob) as ctx, pytest.raises(NotFound):
        service.share(ctx, conversation)


def test_exported_as_markdown_and_as_the_whole_tree(talk: Talk) -> None:
    talk.pen.script = lambda **_: Answer("Yes [1].", sources=(Source(1, quote="the\nwords", title="A *page*"),))
    conversation, question, *_ = talk.ask("Really?")
    with talk.as_() as ctx:
        service.edit(ctx, question, "Truly?")
    talk.lab.run_all("interactive")
    with talk.as_() as ctx:
        row = service.get(ctx, conversation)
        text = exporting.markdown(row, service.path(ctx.db, row))
        data = exporting.data(row, messages.every(ctx.db, row))
    assert "Truly?" in text
    assert "1. A \\*page\\*, <https://example.org/a>, “the words”" in text
    assert [one["content"] for one in data["messages"]] == ["Really?", "Yes [1].", "Truly?", "Yes [1]."]
    assert exporting.name(row) == "really"


def test_files_go_into_a_collection_of_the_conversation_s_own(talk: Talk) -> None:
    with talk.as_() as ctx:
        row, other = service.create(ctx), service.create(ctx)
        made, refused = service.attach(ctx, row.id, [File(io.BytesIO(b"The tower is high."), "tower.txt"),
                                                     File(io.BytesIO(b"MZ"), "x.exe")])  # fmt: skip
        assert [one.label for one in made] == ["tower.txt"]
        assert [one["name"] for one in refused] == ["x.exe"]
        assert [one.id for one in service.attached(ctx, row)] == [made[0].id]
        own = row.attachments_id
        assert own is not None
        assert service.scope(ctx, row, None) is None, "all there is, its own files among it"
        assert own not in (service.scope(ctx, other, None) or []), "another conversation does not read them"
        with pytest.raises(NotFound):
            service.detach(ctx, other.id, made[0].id)
    with talk.as_(talk.cast.bob) as ctx, pytest.raises(NotFound):
        service.attach(ctx, row.id, [])


def test_titles(talk: Talk) -> None:
    long = "What is the reason for the very long and winding question that nobody will ever read to its end at all?"
    conversation, *_ = talk.ask(long)
    with talk.as_() as ctx:
        assert service.get(ctx, conversation).title == "What is the reason for the very long and winding question that…"
        assert service.update(ctx, conversation, title="  Mine\n ").title == "Mine"
    talk.ask("And more?", conversation)
    with talk.as_() as ctx:
        assert service.get(ctx, conversation).title == "Mine"
        assert service.update(ctx, conversation, title="").title.startswith("What is the reason")


def test_choices_are_kept_and_used(talk: Talk) -> None:
    with talk.as_() as ctx:
        row = service.create(ctx)
        service.update(ctx, row.id, config={"agent": "research", "engine": "extractive", "other": 1})
        assert row.config == {"agent": "research", "engine": "extractive"}
        ident = row.id
        with pytest.raises(NotFound):
            service.update(ctx, ident, config={"collections": ["018f0000-none"]})
    talk.ask("Who?", ident)
    assert (talk.pen.asked[-1]["engine"], talk.pen.asked[-1]["agent"].key) == ("extractive", "research")
    talk.ask("Who else?", ident, agent="qa")
    assert talk.pen.asked[-1]["agent"].key == "qa"


@pytest.mark.parametrize("wish", [{"agent": "nobody"}, {"engine": "nope"}, {"engine": "ggml:none.gguf"},
                                  {"engine": "openai:m@nowhere"}], ids=str)  # fmt: skip
def test_who_is_named_must_be_there(site: Site, wish: dict[str, str]) -> None:
    """Said at once, with what to do, and not by an answer that fails."""
    program = site.program(site.cast.alice)
    ident = program.post("/api/v1/conversations", json={}).json["id"]
    asked = program.post(f"/api/v1/conversations/{ident}/messages", json={"text": "Who is there?", **wish})
    kept = program.patch(f"/api/v1/conversations/{ident}", json={"config": wish})
    for answer in (asked, kept):
        assert (answer.status_code, answer.json["code"]) == (404, "not_found"), answer.text
        assert answer.json["suggestion"]
    assert site.lab.count("tasks") == 0
