"""Matrices made from the table of routes and the models of requests: every credential that must not open, at every door;
every id that a request can hold, somebody else's; every list, every socket. A new route or field is in them by itself, or
fails here until somebody says what it is."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from datetime import timedelta
from typing import Any, get_args

import pytest
from pydantic import BaseModel
from sqlalchemy import update

from tests.conformance.test_access import HTTP, NOT_OPEN, SOCKETS, WITH_ID, spy
from tests.conftest import make_user
from tests.fakes.belongings import Belongings, kept
from tests.fakes.site import Site, filled, name_of
from webapp.core.context import SYSTEM, Actor, Ctx
from webapp.core.db import utcnow
from webapp.identity import service
from webapp.identity.models import ApiKey, LoginSession, User
from webapp.tasks.kinds import kinds

NONE = "018f0000-0000-7000-8000-000000000000"  # an id that nobody has

# -- ids in paths ----------------------------------------------------------------------------------------------------

# Parameters that are nobody's own; each with why.
SHARED = {
    "name": "a queue, a quota, a schedule of the program, a file of the documentation", "fmt": "a format",
    "model_name": "models are everybody's", "model": "models are everybody's", "plugin": "a kind of channel",
    "what": "an example of the first page",
    "table": "for administrators", "server_id": "for administrators",
    "token": "the token is the lock", "answer": "behind a token", "number": "behind a message or a token",
    "id": "checked as document_id below",
}  # fmt: skip


@pytest.fixture(scope="module")
def alices(calm: Site) -> Belongings:
    return Belongings(calm)


@pytest.fixture(scope="module")
def charlies(calm: Site) -> Belongings:
    return Belongings(calm, calm.cast.charlie)


def test_every_parameter_of_a_path_is_somebodys_or_said_to_be_shared(alices: Belongings) -> None:
    """A06: else the matrix of test_access.py would try an id that nobody has, and prove nothing."""
    unknown = {
        f"{name_of(route)}: {name}"
        for route in HTTP
        for name in re.findall(r"<(?:\w+:)?(\w+)>", route.path)
        if name not in alices.ids(route.path) and name not in SHARED
    }
    assert unknown == set()
    assert {r.path for r in HTTP if "_id>" in r.path} == {r.path for r in WITH_ID}


def test_a_document_by_another_name_of_its_id(calm: Site, alices: Belongings) -> None:
    """A06: `id` is a document's in the one path that has it."""
    [route] = [r for r in HTTP if "<id>" in r.path]
    path = filled(route.path, id=alices.knowledge["document_id"])
    assert calm.program(calm.cast.alice).get(path).status_code == 200
    assert calm.program(calm.cast.charlie).get(path).status_code == 404


# -- credentials -----------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def refused(calm: Site) -> dict[str, dict[str, str]]:
    """Headers with credentials that were good once, or look as if."""
    rt = calm.rt
    leaver, suspended = make_user(rt, "leaver", admin=True), make_user(rt, "suspended", admin=True)
    found: dict[str, dict[str, str]] = {}

    def of(who: Actor) -> tuple[str, str, service.Tokens, str]:
        with rt.unit() as db:
            ctx, user = Ctx(rt, db, SYSTEM), db.get(User, who.id)
            assert user is not None
            key = service.create_api_key(Ctx(rt, db, who), "k", ["admin"])[1]
            return key, service.start_session(ctx, user), service.issue_tokens(ctx, user), str(user.id)

    key, _, issued, _ = of(leaver)
    found["a token to renew with"] = bearer(issued.refresh)
    head, body, signature = issued.access.split(".")
    found["a token that was cut"] = bearer(f"{head}.{body}.{signature[:-4]}")
    found["a token of nobody's making"] = bearer(f"{head}.{body}.{'A' * len(signature)}")
    found["a key cut by one"] = bearer(key[:-1])
    later = [of(leaver), of(leaver)]
    with rt.unit() as db:
        yesterday = utcnow() - timedelta(days=1)
        db.execute(update(ApiKey).where(ApiKey.user_id == leaver.id).values(revoked_at=yesterday))
        db.execute(update(LoginSession).where(LoginSession.user_id == leaver.id).values(revoked_at=yesterday))
    found["a key taken back"] = bearer(later[0][0])
    found["the same in its own header"] = {"X-API-Key": later[0][0]}
    found["a token of an ended login"] = bearer(later[0][2].access)
    expired, _, _, _ = of(leaver)
    with rt.unit() as db:
        db.execute(
            update(ApiKey).where(ApiKey.user_id == leaver.id, ApiKey.revoked_at.is_(None)).values(expires_at=yesterday)
        )
    found["an expired key"] = bearer(expired)
    key, _, issued, ident = of(suspended)
    with rt.unit() as db:
        db.execute(update(User).where(User.id == ident).values(is_active=False))
    found["a key of a suspended person"] = bearer(key)
    found["a token of a suspended person"] = bearer(issued.access)
    return found


def bearer(value: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {value}"}


def test_the_same_credentials_do_open_while_they_are_good(calm: Site) -> None:
    """Else the next test would pass on words that never were a credential."""
    who = make_user(calm.rt, "stayer", admin=True)
    with calm.rt.unit() as db:
        key = service.create_api_key(Ctx(calm.rt, db, who), "k", ["admin"])[1]
        user = db.get(User, who.id)
        assert user is not None
        access = service.issue_tokens(Ctx(calm.rt, db, SYSTEM), user).access
    for headers in (bearer(key), {"X-API-Key": key}, bearer(access)):
        assert calm.client.get("/api/v1/utils/ai-tasks/", headers=headers).status_code == 200


@pytest.mark.parametrize("route", NOT_OPEN, ids=name_of)
def test_what_is_no_longer_good_opens_nothing(calm: Site, refused: Any, route: Any) -> None:
    """A03, A04: over the whole table, and no handler's code runs."""
    address = {"REMOTE_ADDR": f"198.51.{NOT_OPEN.index(route) // 250}.{NOT_OPEN.index(route) % 250 + 1}"}
    ran = spy(calm, route.endpoint)
    try:
        for what, headers in refused.items():
            answer = calm.client.open(filled(route.path), method=route.method, headers=headers, environ_base=address)
            if route.page and route.method == "GET" and answer.status_code == 302:
                assert answer.headers["Location"].startswith("/login?next="), what
                continue
            assert answer.status_code == 401, (what, answer.status_code)
        assert ran == []
    finally:
        calm.restore()  # type: ignore[attr-defined]


# -- ids inside bodies, queries and forms ----------------------------------------------------------------------------


def fields(model: type[BaseModel], seen: tuple[Any, ...] = ()) -> Iterator[str]:
    """The names of a model's fields, those of models inside it with a dot."""
    for name, info in model.model_fields.items() if model not in seen else ():
        yield name
        for inner in inner_models(info.annotation):
            yield from (f"{name}.{one}" for one in fields(inner, (*seen, model)))


def inner_models(annotation: Any) -> Iterator[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    for one in get_args(annotation):
        yield from inner_models(one)


def names_something(field: str) -> bool:
    return re.fullmatch(r"(.*_)?ids?|collections", field.rpartition(".")[2]) is not None


# Fields that look like ids and are nobody's rows; each with why.
FREE = {
    "agent_id": "agents are everybody's",
    "DocumentIn.id": "the caller's own name for it, in the caller's collection", "BatchIn.documents.id": "the same",
    "DocumentQuery.id": "the caller's own name for a document, among the caller's",
    "AgentChatIn.conversation_id": "a name of the caller's own choice", "AgentQueryIn.conversation_id": "the same",
    "FeedbackIn.content_id": "names anything; a stranger's answer is a name like any other",
    "ChatCompletionIn.collections": "searched by the worker as the caller, when the call is answered",
    "ChatSessionIn.user_id": "checked against the caller, see tests/chat/test_sessions.py",
}  # fmt: skip
RESEARCH = "a name that the caller's own program gave it"  # of `conversation_id` in the research kinds

ME, THEIRS = "<mine>", "<theirs>"
API = "/api/v1/knowledge"

# name of a route and field -> what to send, with <mine> for an id of the caller's and <theirs> for the one in question.
BODIES: dict[tuple[str, str], dict[str, Any]] = {
    ("POST /api/crawler/jobs/", "collection_id"): {"url": "https://x.example/", "collection_id": THEIRS},
    ("GET /api/crawler/pages/", "collection_id"): {"collection_id": THEIRS},
    ("GET /api/knowledge-base/documents/", "collection_id"): {"collection_id": THEIRS},
    ("POST /api/knowledge-base/documents/", "collection_id"): {"title": "x", "content": "x y", "collection_id": THEIRS},
    ("POST /api/v1/agent-service/tasks", "user_id"): {"title": "x", "agent_id": "general", "user_id": THEIRS},
    ("POST /api/v1/agent-service/tasks/batch", "tasks.user_id"):
        {"tasks": [{"title": "x", "agent_id": "general", "user_id": THEIRS}]},
    ("POST /api/v1/conversations", "config.collections"): {"config": {"collections": [THEIRS]}},
    ("PATCH /api/v1/conversations/<conversation_id>", "config.collections"): {"config": {"collections": [THEIRS]}},
    ("POST /api/v1/conversations/<conversation_id>/messages", "collections"): {"text": "And?", "collections": [THEIRS]},
    ("POST /api/v1/conversations/<conversation_id>/messages", "parent_id"): {"text": "And?", "parent_id": THEIRS},
    (f"GET {API}/citations", "document_id"): {"document_id": THEIRS},
    (f"GET {API}/citations", "task_id"): {"task_id": THEIRS},
    (f"POST {API}/citations", "document_id"): {"document_id": THEIRS, "start": 0, "end": 3},
    (f"POST {API}/citations", "version_id"): {"document_id": ME, "version_id": THEIRS, "start": 0, "end": 3},
    (f"POST {API}/collections/<collection_id>/documents/delete", "ids"): {"ids": [THEIRS]},
    (f"GET {API}/documents", "collection_id"): {"collection_id": THEIRS},
    (f"GET {API}/documents", "source_id"): {"source_id": THEIRS},
    (f"GET {API}/documents/<document_id>", "version_id"): {"version_id": THEIRS},
    (f"POST {API}/search", "collection_ids"): {"query": "words", "collection_ids": [THEIRS]},
    ("GET /api/v1/logs/history", "task_id"): {"task_id": THEIRS},
    ("POST /api/v1/semantic/search", "collection_ids"): {"query": "words", "collection_ids": [THEIRS]},
    ("GET /api/v1/task-templates/export", "ids"): {"ids": [THEIRS]},
    ("POST /api/v1/task-templates/from-task", "task_id"): {"task_id": THEIRS, "name": "x"},
    ("POST /api/v1/tasks/bulk", "ids"): {"action": "retry", "ids": [THEIRS]},
    ("POST /api/v1/utils/validate-task-config/", "template_id"):
        {"task_type": "test.script", "task_config": {}, "template_id": THEIRS},
    ("POST /chat", "collections"): {"text": "And?", "collections": [THEIRS]},
    ("POST /chat/<conversation_id>", "collections"): {"text": "And?", "collections": [THEIRS]},
    ("POST /chat/<conversation_id>/choices", "collections"): {"collections": [THEIRS]},
    ("POST /knowledge/<collection_id>/documents/delete", "ids"): {"ids": [THEIRS]},
    ("POST /knowledge/crawls", "collection_id"): {"urls": "https://x.example/", "collection_id": THEIRS},
    ("POST /knowledge/expand", "collection_id"): {"topic": "bees", "collection_id": THEIRS},
    ("POST /tasks/bulk", "ids"): {"action": "retry", "ids": [THEIRS]},
}  # fmt: skip

# Lists that are empty for their owner as well, as long as nothing was read or cited.
EMPTY = {
    ("GET /api/crawler/pages/", "collection_id"), (f"GET {API}/citations", "task_id"), (f"GET {API}/documents", "source_id"),
}  # fmt: skip


def id_of(of: Belongings, route: str, field: str) -> str:
    """What of theirs a field of this name can name."""
    name = field.rpartition(".")[2]
    if name == "ids":
        part = next(part for part in ("documents", "templates", "tasks") if part in route)
        return {"documents": of.knowledge["document_id"], "templates": of.template_id, "tasks": of.failed}[part]
    known = {"collections": "collection_id", "collection_ids": "collection_id", "parent_id": "message_id",
             "before_id": "message_id", "upload_ids": "file_id", "source_ids": "source_id", "id": "document_id"}  # fmt: skip
    ids = {**of.ids("/"), "task_id": of.failed}
    return ids[known.get(name, name)]


def put(value: Any, theirs: str, mine: str) -> Any:
    return json.loads(json.dumps(value).replace(THEIRS, theirs).replace(ME, mine))


def all_fields() -> set[tuple[str, str]]:
    return {
        (name_of(route), field)
        for route in HTTP
        if route.auth != "admin"
        for model in (route.body, route.query, route.form)
        if model is not None
        for field in fields(model)
        if names_something(field) and not {field.rpartition(".")[2], f"{model.__name__}.{field}"} & set(FREE)
    }


def test_every_id_that_a_request_can_hold_is_tried() -> None:
    """A06, A07: whoever adds a field that names something adds its line to BODIES, or to FREE with why."""
    assert all_fields() == set(BODIES)


def traces(site: Site, ids: list[str]) -> dict[str, list[str]]:
    """Every row that names one of `ids`."""
    found = {name: [repr(row) for row in rows] for name, rows in site.rows().items()}
    return {name: [row for row in rows if any(one in row for one in ids)] for name, rows in found.items()}


def everything(of: Belongings) -> list[str]:
    more = [of.waiting, of.failed, of.chat_id, of.session_id]
    return [one for one in {*of.ids("/").values(), *more} if len(one) > 30]


def told(answer: Any, *ids: str) -> tuple[int, str]:
    """The answer without what differs from one request to the next, and without the id that was asked for."""
    text = answer.text + answer.headers.get("Location", "")
    for one in ids:
        text = text.replace(one, "<id>")
    text = re.sub(r"[0-9a-f]{32}|[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", "<new>", text)
    return answer.status_code, re.sub(r'nonce="[^"]*"|"csrf[^>]*>|\d\d:\d\d:\d\d[.\dZ]*|\d+ ms', "", text)


def send(site: Site, who: Actor, route: Any, path: str, given: dict[str, Any]) -> Any:
    client = site.program(who)
    if route.body is not None:
        return client.open(path, method=route.method, json=given)
    if route.query is not None:
        return client.open(path, method=route.method, query_string=given)
    return client.open(path, method=route.method, data=given)


@pytest.mark.parametrize(("name", "field"), sorted(BODIES), ids=lambda part: part)
def test_an_id_of_another_in_a_request_is_no_id_at_all(
    calm: Site, alices: Belongings, charlies: Belongings, name: str, field: str
) -> None:
    """A06, A07: the same answer as for an id that nobody has; nothing of hers changes, and no new row names it."""
    [route] = [route for route in HTTP if name_of(route) == name]
    path = filled(route.path, **charlies.ids(route.path))
    hers, his = id_of(alices, name, field), id_of(charlies, name, field)
    mine = charlies.knowledge["document_id"]
    who = calm.cast.charlie
    with kept(calm):
        before = traces(calm, everything(alices))
        answer = send(calm, who, route, path, put(BODIES[name, field], hers, mine))
        assert traces(calm, everything(alices)) == before
        assert not [one for one in everything(alices) if one != hers and one in answer.text], "it told more of hers"
    with kept(calm):
        nothing = send(calm, who, route, path, put(BODIES[name, field], NONE, mine))
        assert told(answer, hers) == told(nothing, NONE)
    with kept(calm):
        own = send(calm, who, route, path, put(BODIES[name, field], his, mine))
        assert own.status_code < 400 or own.status_code in (409, 503, 504), "with an id of one's own it works"
        shown = own.status_code not in (204, 303, 503) and (name, field) not in EMPTY
        assert not shown or told(own, his) != told(answer, hers), "else this proved nothing"


def with_ids() -> list[tuple[str, str]]:
    found = [(name, field) for name, kind in kinds.all() for field in fields(kind.params) if names_something(field)]
    return [(name, field) for name, field in found if field not in FREE]


# What cannot be asked for with one's own either: not offered by itself, or a source that is no site.
NEVER = {("knowledge.read", "collection_id"), ("chat.completion", "collections"), ("crawl.site", "source_id")}


@pytest.mark.parametrize(("kind", "field"), with_ids(), ids=lambda part: part)
def test_a_task_cannot_be_given_what_is_anothers(
    calm: Site, alices: Belongings, charlies: Belongings, kind: str, field: str
) -> None:
    """A07: parameters of every task kind; kinds of the program's own cannot be asked for at all."""
    found = dict(kinds.all())[kind]
    sample = {key: value for key, value in (found.examples or [{}])[0].items() if not names_something(key)}
    if field in ("upload_ids", "source_ids"):
        sample = {key: value for key, value in sample.items() if key not in ("content", "data", "text", "urls")}
        sample |= {"collection_id": charlies.knowledge["collection_id"]} if field == "source_ids" else {}
    many = field.endswith("s")

    def ask(ident: str) -> Any:
        config = {**sample, field: [ident] if many else ident}
        body = {"title": "x", "task_type": kind, "task_config": config}
        return calm.program(calm.cast.charlie).post("/api/v1/utils/ai-tasks/", json=body)

    if field == "conversation_id" and not found.hidden:  # a name of the caller's own choice: see RESEARCH
        return
    hers, his = id_of(alices, "", field), id_of(charlies, "", field)
    with kept(calm):
        before = traces(calm, everything(alices))
        answer, nothing = ask(hers), ask(NONE)
        assert answer.status_code in (400, 403, 404), answer.text
        assert told(answer, hers) == told(nothing, NONE)
        assert traces(calm, everything(alices)) == before
    with kept(calm):
        never = found.hidden or (kind, field) in NEVER
        assert ask(his).status_code == (400 if never else 201), "with one's own it works, unless it is not offered"


# -- lists, exports, sockets -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "route", [r for r in HTTP if r.method == "GET" and "<" not in r.path and r.auth != "admin"], ids=name_of
)
def test_what_names_nothing_shows_nothing_of_others(calm: Site, alices: Belongings, route: Any) -> None:
    """A06: lists, exports, counts and pages of somebody who has nothing."""
    ids = everything(alices)
    people = [calm.program(calm.cast.bob), calm.browser(calm.cast.bob), calm.program(calm.cast.root)]
    for client in people:
        answer = client.get(route.path, buffered=False)
        text = next(answer.iter_encoded(), b"").decode() if route.path == "/live/stream" else answer.text
        answer.close()
        assert not [one for one in ids if one in text]
        assert "of alice" not in text


def test_every_export_needs_an_id_or_was_just_looked_at() -> None:
    """A07: where whole things are handed out."""
    exports = {r.path for r in HTTP if r.method == "GET" and re.search(r"export|download|\.<fmt>|<fmt>", r.path)}
    looked_at = {"/api/v1/task-templates/export", "/templates/export", "/logs/download.<fmt>"}
    assert {path for path in exports if "_id>" not in path} <= looked_at, exports


def test_logs_that_are_handed_out_are_ones_own(calm: Site, alices: Belongings) -> None:
    for fmt in ("txt", "json", "csv", "jsonl", "log"):
        answer = calm.program(calm.cast.bob).get(f"/logs/download.{fmt}")
        assert answer.status_code in (200, 400, 404)
        assert not [one for one in everything(alices) if one in answer.text]


def test_templates_that_are_handed_out_are_ones_own(calm: Site, alices: Belongings) -> None:
    asked = {"ids": alices.template_id}
    assert "template of alice" in calm.program(calm.cast.alice).get("/templates/export", query_string=asked).text
    assert "template of alice" not in calm.program(calm.cast.bob).get("/templates/export", query_string=asked).text


# Each socket, and the test that tries it as a stranger.
TRIED = {
    "/ws/agent/": "tests/omeruta/test_socket.py", "/ws/live": "tests/conformance/test_access.py",
    "/ws/logs": "tests/conformance/test_access.py", "/ws/tasks/": "tests/conformance/test_access.py",
    "/ws/tasks/<task_id>": "tests/conformance/test_access.py",
}  # fmt: skip


def test_every_socket_is_tried_as_a_stranger() -> None:
    assert {route.path for route in SOCKETS} == set(TRIED)


def test_topics_of_every_sort_are_gone_for_a_stranger(calm: Site, alices: Belongings) -> None:
    """A07: what a page may watch beside tasks, from the hub's own list of places."""
    from tests.conformance.test_access import frames

    assert set(calm.app.extensions["hub"].places) == {"chat"}, "a new sort of topic: add what is alice's of it"
    topic = f"chat:{alices.conversation_id}:0@thread@0"
    theirs = calm.program(calm.cast.charlie).get("/live/stream", query_string={"topics": topic}, buffered=False)
    assert [one["type"] for one in frames(theirs, 2)] == ["hello", "gone"]
    hers = calm.program(calm.cast.alice).get("/live/stream", query_string={"topics": topic}, buffered=False)
    assert [one["type"] for one in frames(hers, 2)] == ["hello", "reset"]
