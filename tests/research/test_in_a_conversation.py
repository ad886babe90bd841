"""More is looked for from within a conversation: the new answer stands beside the one before, with what was read."""

from __future__ import annotations

from typing import Any

import pytest

from tests.fakes.kinds import Killed
from tests.research.conftest import Den
from webapp.chat import expand_kind, service, views
from webapp.chat.models import Message
from webapp.chat.service import messages
from webapp.core.context import Ctx
from webapp.core.errors import BadRequest, BlockedAddress, Conflict, NotFound
from webapp.knowledge.service import collections

QUESTION = "Which enemies do mason bees have?"


class Talk:
    """Alice's conversation in a den."""

    def __init__(self, den: Den, **config: Any) -> None:
        self.den = den
        with self.ctx() as ctx:
            row = service.create(ctx)
            service.update(ctx, row.id, config={"engine": "extractive", **config})
            self.id = row.id

    def ctx(self, who: Any = None) -> Any:
        return self.den.lab.as_(who or self.den.cast.alice)

    def ask(self, text: str = QUESTION) -> str:
        with self.ctx() as ctx:
            answer = service.ask(ctx, self.id, text)[1].id
        self.den.work()
        return answer

    def expand(self, message_id: str, **more: Any) -> tuple[str, str]:
        with self.ctx() as ctx:
            row, task = service.expand(ctx, message_id, **more)
            return row.id, task["id"]

    def message(self, ident: str) -> Message:
        with self.ctx() as ctx:
            return service.message(ctx, ident)

    def shown(self) -> list[str]:
        with self.ctx() as ctx:
            return [row.id for row in service.path(ctx.db, service.get(ctx, self.id))]


@pytest.fixture
def talk(den: Den) -> Talk:
    return Talk(den)


def test_a_new_answer_comes_into_the_thread_beside_the_old_one(talk: Talk) -> None:
    before = talk.ask()
    assert talk.message(before).state == "declined"
    after, task_id = talk.expand(before)
    assert talk.shown()[-1] == after, "it is there at once, and waits"
    with talk.ctx() as ctx:
        assert service.settled(ctx, [service.message(ctx, after)])[after].state == "waiting"
    talk.den.work()
    row = talk.message(after)
    assert (row.state, row.parent_id) == ("done", talk.message(before).parent_id)
    assert "wasps" in row.content
    change = row.meta["change"]
    assert (change["kind"], change["before_id"], change["before"]) == ("now", before, talk.message(before).content)
    assert change["text"] == f"{len(change['read'])} new pages read; the question can be answered now."
    assert talk.den.site.url("/bees/enemies.html") in [one["url"] for one in change["read"]]
    assert change["new_sources"] == [one["number"] for one in row.sources] != []
    assert all(one["citation_id"] and one["verdict"] == "verified" for one in row.sources)
    assert talk.message(before).content.startswith("I don't know"), "the old one is as it was"
    with talk.ctx() as ctx:
        place = service.siblings(messages.nodes(ctx.db, talk.id))[after]
        assert (place.number, place.total, place.before) == (2, 2, before)
        shown = views.message(row, service.settled(ctx, [row])[after], place)
        assert shown["change"] == change
        service.branch(ctx, before)
    assert talk.shown()[-1] == before
    result = talk.den.lab.row(task_id).result
    assert result is not None
    assert result["change"] == change


def test_what_is_being_read_is_told_where_the_answer_waits(talk: Talk) -> None:
    """The crawl is a part of the search, which is a part of the answer."""
    talk.den.site.delay = 0.4  # a pace at which there is something to tell
    _, task_id = talk.expand(talk.ask())
    talk.den.work()
    told = [(event.progress, event.message or "") for event in talk.den.lab.events(task_id)]
    assert any(text.startswith("Looking for sources about") for _, text in told), told
    assert any("read" in text and 2 < percent < 70 for percent, text in told if "page" in text), told
    assert [percent for percent, _ in told] == sorted(percent for percent, _ in told)


def test_a_second_search_that_finds_nothing_says_so(talk: Talk) -> None:
    first, _ = talk.expand(talk.ask("Which enemies do old locomotives have?"))
    talk.den.work()
    second, _ = talk.expand(first)
    talk.den.work()
    row = talk.message(second)
    assert (row.state, row.meta["change"]["kind"], row.meta["change"]["read"]) == ("declined", "open", [])
    assert row.content.startswith("I still don't know. No new page was read.")
    assert row.meta["change"]["text"] == "No new page was read; the question cannot be answered yet."
    assert row.meta["change"]["notes"] != []
    assert row.sources == []


def test_an_answer_that_more_sources_leave_as_it_is(talk: Talk) -> None:
    first, _ = talk.expand(talk.ask())
    talk.den.work()
    second, _ = talk.expand(first)
    talk.den.work()
    row = talk.message(second)
    assert (row.state, row.meta["change"]["kind"], row.content) == ("done", "same", talk.message(first).content)
    assert {one["citation_id"] for one in row.sources} & {
        one["citation_id"] for one in talk.message(first).sources
    } == set()


def test_an_answer_without_sources_is_given_again_with_them(den: Den) -> None:
    talk = Talk(den, use_context=False)
    with talk.ctx() as ctx:
        answer = service.ask(ctx, talk.id, QUESTION)[1]
        answer.state, answer.content, ident = (
            "done",
            "Some.",
            answer.id,
        )  # as a model would, of which there is none here
    after, _ = talk.expand(ident)
    den.work()
    assert (talk.message(after).state, talk.message(after).meta["change"]["kind"]) == ("done", "other")
    assert talk.message(after).sources != []


def test_new_pages_are_kept_where_the_answer_looks(den: Den) -> None:
    talk = Talk(den, collections=[den.collection_id])
    after, task_id = talk.expand(talk.ask())
    den.work()
    assert talk.message(after).state == "done"
    assert {one["collection_id"] for one in talk.message(after).sources} == {den.collection_id}
    assert den.lab.row(task_id).params["look"]["collection_id"] == den.collection_id


def test_a_collection_one_may_only_read_gets_no_pages_and_the_answer_looks_where_they_are(den: Den) -> None:
    with den.lab.as_(den.cast.bob) as ctx:
        theirs = collections.create(ctx, "Theirs")
        theirs.everyone = True
        ident = theirs.id
    talk = Talk(den, collections=[ident])
    after, _ = talk.expand(talk.ask())
    den.work()
    row = talk.message(after)
    assert row.state == "done"
    assert row.meta["collections"][0] == ident
    assert {one["collection_id"] for one in row.sources} == {row.meta["collections"][1]} != {ident}


def test_two_clicks_are_one_search(talk: Talk) -> None:
    before = talk.ask()
    after, _ = talk.expand(before)
    for one in (before, after):
        with pytest.raises(Conflict) as refused:
            talk.expand(one)
        assert refused.value.code in ("still_looking", "not_answered")
    talk.den.work()
    assert talk.den.lab.sql("SELECT count(*) FROM tasks WHERE kind = 'knowledge.expand'").scalar() == 1


def test_stopped_while_it_looks_nothing_more_is_read(talk: Talk) -> None:
    after, task_id = talk.expand(talk.ask())
    talk.den.work(("interactive",))
    assert talk.den.lab.status(task_id) == "paused"
    with talk.ctx() as ctx:
        assert service.cancel(ctx, after).state == "cancelled"
    talk.den.work()
    assert talk.den.paths() == set()
    assert (
        talk.den.lab.sql(
            "SELECT count(*) FROM tasks WHERE status != 'cancelled' AND kind = 'knowledge.expand'"
        ).scalar()
        == 0
    )
    with talk.ctx() as ctx:
        service.retry(ctx, after)
    talk.den.work()
    assert talk.message(after).state == "done"


def test_a_search_that_fails_leaves_an_answer_that_says_it(talk: Talk, monkeypatch: pytest.MonkeyPatch) -> None:
    from webapp.research import kind

    def fails(*given: Any) -> Any:
        raise NotFound("the collection is gone")

    monkeypatch.setattr(kind, "expand", fails)
    after, _ = talk.expand(talk.ask())
    talk.den.work()
    row = talk.message(after)
    assert row.state == "declined"
    assert row.meta["change"]["notes"] == ["Looking for new sources did not end well: the collection is gone"]


def test_running_twice_writes_one_answer_and_reads_nothing_again(talk: Talk, monkeypatch: pytest.MonkeyPatch) -> None:
    after, task_id = talk.expand(talk.ask())
    talk.den.work(("interactive",))
    talk.den.work(tuple(one for one in ("crawling", "embedding", "maintenance", "inference", "workflows")))
    original, died = expand_kind.Looked.change, []

    def dies(self: Any, task: Any, found: Any) -> Any:
        if not died:
            died.append(1)
            raise Killed
        return original(self, task, found)

    monkeypatch.setattr(expand_kind.Looked, "change", dies)
    with pytest.raises(Killed):
        talk.den.work()
    asked = talk.den.site.asked()
    talk.den.lab.sql("UPDATE tasks SET status = 'queued' WHERE id = :id", id=task_id)
    talk.den.work()
    row = talk.message(after)
    assert (row.state, row.meta["change"]["kind"]) == ("done", "now")
    assert talk.den.site.asked() == asked
    stored = talk.den.lab.sql("SELECT count(*) FROM citations WHERE task_id = :id", id=task_id).scalar()
    assert stored == len({one["citation_id"] for one in row.sources}) == len(row.sources)


def test_who_may_look_and_what_for(talk: Talk) -> None:
    before = talk.ask()
    with talk.ctx(talk.den.cast.bob) as ctx, pytest.raises(NotFound):
        service.expand(ctx, before)
    with talk.ctx() as ctx, pytest.raises(Conflict):
        service.expand(ctx, service.message(ctx, before).parent_id or "")
    with talk.ctx() as ctx, pytest.raises((BadRequest, BlockedAddress)):
        service.expand(ctx, before, urls=["http://169.254.169.254/latest"])
    with talk.ctx() as ctx, pytest.raises(BadRequest):
        service.expand(ctx, before, max_urls=0)
    with talk.ctx() as ctx:
        nothing = service.ask(ctx, talk.id, "???")[1].id
    talk.den.work()
    with pytest.raises((BadRequest, Conflict)):
        talk.expand(nothing)
    assert talk.den.lab.sql("SELECT count(*) FROM tasks WHERE kind = 'chat.expand'").scalar() == 0


def test_a_forged_task_writes_into_nobody_s_message(talk: Talk) -> None:
    from webapp.tasks import service as tasks

    before = talk.ask()
    params = {"conversation_id": talk.id, "message_id": before, "before_id": before, "look": {"topic": "mason bees"}}
    with talk.ctx(talk.den.cast.bob) as ctx, pytest.raises(BadRequest):
        tasks.start(ctx, "chat.expand", params, asked=True)
    with talk.den.rt.unit() as db:
        forged = tasks.start(Ctx(talk.den.rt, db, talk.den.cast.bob), "chat.expand", params)["id"]
    talk.den.work()
    assert talk.den.lab.status(forged) == "failed"
    assert talk.message(before).state == "declined"
    assert talk.den.paths() == set()
