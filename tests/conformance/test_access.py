"""What must hold for every route: it says who may call it, nobody else gets in, and nobody reaches others' rows."""

from __future__ import annotations

import json
from itertools import product
from typing import Any

import pytest

from tests.fakes.belongings import Belongings, belongings, stream_of
from tests.fakes.site import Site, filled, name_of, routes
from webapp.core.context import Actor
from webapp.identity.service import SCOPES
from webapp.tasks import live
from webapp.tasks.live_page import PageFeed

HTTP = [route for route in routes() if route.method != "WS"]
SOCKETS = [route for route in routes() if route.method == "WS"]

# Whoever adds a door without a lock adds its line here.
OPEN = {
    ("GET", "/api/v1/health"), ("GET", "/api/v1/ready"), ("GET", "/api/v1/agent-service/health"),
    ("POST", "/api/auth/token/"), ("POST", "/api/auth/token/refresh/"), ("POST", "/api/auth/register/"),
    ("GET", "/shared/<token>"), ("GET", "/shared/<token>/<answer>/sources/<number>"),  # the token is the lock
    ("GET", "/shared/task/<token>"),
    ("GET", "/invite/<token>"), ("POST", "/invite/<token>"),
    ("GET", "/login"), ("POST", "/login"), ("POST", "/logout"), ("GET", "/register"), ("POST", "/register"),
    ("GET", "/openapi.json"), ("GET", "/docs"), ("GET", "/redoc"), ("GET", "/docs/assets/<name>"),
    # The anonymous see ownerless things only (contract C05).
    ("GET", "/api/v1/logs/history"), ("GET", "/api/v1/logs/stream/<task_id>"), ("GET", "/api/v1/logs/<task_id>"),
    ("GET", "/api/v1/task-kinds"),
    *(("GET", f"/api/v1/chat/{part}") for part in ("sessions", "sessions/<session_id>", "sessions/<session_id>/messages",
                                                  "sessions/<session_id>/stats", "templates", "models")),
    # The names of models, no key and no address of a server: documented without credentials (002:1757-1760).
    *(("GET", f"/api/v1/ollama/{part}") for part in ("models", "models/names", "health")),
    ("POST", "/api/v1/integration/hooks/<hook_id>/receive"),  # the signature is the lock
    # The machine in numbers: documented without credentials, and about nobody.
    ("GET", "/api/v1/system/info"), ("GET", "/api/v1/system/metrics"),
    *(("GET", f"/api/v1/system/metrics/{part}") for part in ("cpu", "memory", "disk", "network", "gpu", "load", "swap")),
}  # fmt: skip

# Of an id that nobody has Omeruta's clients expect what Celery says, and of a stranger's the same (contract 4.2).
PENDING = {"/api/agents/async/status/<task_id>/"}
SIGNED = {"/api/v1/integration/hooks/<hook_id>/receive"}  # without a signature it does not say what is there
NOT_OPEN = [route for route in HTTP if route.auth not in ("public", "optional")]
WITH_ID = [route for route in HTTP if "_id>" in route.path]


class Ran(AssertionError):
    """A handler's code ran."""


def spy(site: Site, endpoint: str) -> list[str]:
    """Replace the handler behind the wrapper by one that writes down that it ran."""
    ran: list[str] = []
    view: Any = site.app.view_functions[endpoint]
    cell = dict(zip(view.__code__.co_freevars, view.__closure__, strict=True))["handler"]
    real = cell.cell_contents

    def noted(*args: Any, **kwargs: Any) -> Any:
        ran.append(endpoint)
        return real(*args, **kwargs)

    cell.cell_contents = noted
    site.restore = lambda: setattr(cell, "cell_contents", real)  # type: ignore[attr-defined]
    return ran


# -- declared --------------------------------------------------------------------------------------------------------


def test_every_rule_of_the_application_is_declared(calm: Site) -> None:
    declared = {route.endpoint for route in routes()}
    undeclared = [
        rule.rule for rule in calm.app.url_map.iter_rules()
        if rule.endpoint.removesuffix("_slash") not in declared and rule.endpoint != "static"
    ]  # fmt: skip
    assert undeclared == []


def test_every_route_says_who_may_call_it() -> None:
    known = {"public", "optional", "any", "admin", *SCOPES}
    assert [name_of(route) for route in routes() if route.auth not in known] == []


def test_the_open_doors_are_those_of_the_list() -> None:
    assert {(r.method, r.path) for r in HTTP if r.auth in ("public", "optional")} - OPEN == set()


def test_a_route_that_changes_things_needs_more_than_reading() -> None:
    weak = {name_of(r) for r in HTTP if r.method != "GET" and r.auth.endswith(":read")}
    # The first notes what its own reader has seen; the others read, their questions being too long for an address.
    reading = {"knowledge/search", "semantic/search", "semantic/chunk", "models/select", "utils/validate-task-config/",
               "tasks/wish"}  # fmt: skip
    posts = {"POST /looked", "POST /api/knowledge-base/search/", *(f"POST /api/v1/{path}" for path in reading)}
    assert weak <= posts


def test_an_endpoint_without_auth_cannot_be_declared() -> None:
    from webapp.web.api import Api
    from webapp.web.page import Pages

    for blueprint in (Api("x", "/x", tag="x"), Pages("x")):
        with pytest.raises(TypeError):
            blueprint.get("/")  # type: ignore[call-arg]


# -- A01 -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("route", NOT_OPEN, ids=name_of)
def test_nobody_is_let_in_and_no_code_runs(calm: Site, route: Any) -> None:
    """A01."""
    address = {"REMOTE_ADDR": f"192.0.2.{NOT_OPEN.index(route) + 1}"}  # wrong credentials are counted by address
    ran = spy(calm, route.endpoint)
    try:
        with calm.unchanged():
            for headers in ({}, {"Authorization": "Bearer bs_nothing"}, {"Authorization": "Basic YTpi"}):
                answer = calm.client.open(
                    filled(route.path), method=route.method, headers=headers, environ_base=address
                )
                if route.page and route.method == "GET" and answer.status_code == 302:
                    assert answer.headers["Location"].startswith("/login?next=")
                    continue
                assert answer.status_code == 401, headers
                assert answer.headers["WWW-Authenticate"] == "Bearer"
                if not route.page:
                    assert answer.json["code"] == "unauthorized"
        assert ran == []
    finally:
        calm.restore()  # type: ignore[attr-defined]


def test_the_spy_sees_code_that_runs(calm: Site) -> None:
    ran = spy(calm, "eceee_api.list_tasks")
    try:
        assert calm.program(calm.cast.alice).get("/api/v1/utils/ai-tasks/").status_code == 200
        assert ran == ["eceee_api.list_tasks"]
    finally:
        calm.restore()  # type: ignore[attr-defined]


@pytest.mark.parametrize("route", [r for r in HTTP if ":" in r.auth or r.auth == "admin"], ids=name_of)
def test_a_key_without_the_scope_is_turned_away(calm: Site, route: Any) -> None:
    """A03: a key made for something else opens nothing."""
    other = "events:read" if route.auth != "events:read" else "tasks:read"
    ran = spy(calm, route.endpoint)
    try:
        headers = calm.cast.key(calm.cast.root, [other])
        answer = calm.client.open(filled(route.path), method=route.method, headers=headers)
        assert answer.status_code == 403
        assert ran == []
    finally:
        calm.restore()  # type: ignore[attr-defined]


def test_the_sockets_need_no_list_because_their_feeds_ask(site: Site) -> None:
    assert {route.auth for route in SOCKETS} == {"optional"}


# -- A06 -------------------------------------------------------------------------------------------------------------


BODIES = {
    "AiTaskIn": {"task_type": "test.script", "task_config": {}, "title": "taken"},
    "AiTaskPatch": {"title": "taken"},
    "TemplateIn": {"name": "taken", "task_type": "test.script"},
    "TemplatePatch": {"name": "taken"},
    "UserPatchIn": {"is_active": False},
    "CollectionPatch": {"name": "taken"},
    "ShareIn": {"username": "charlie"},
    "SourceIn": {"kind": "text", "text": "words of mine"},
    "DocumentIn": {"id": "a", "text": "words of mine"},
    "BatchIn": {"documents": [{"id": "a", "text": "words of mine"}]},
    "IdsIn": {"ids": ["018f0000-none"]},
    "AskIn": {"text": "words of mine"},
    "EditIn": {"text": "words of mine"},
    "ChatStatusIn": {"status": "archived"},
    "ChatSendIn": {"message": "words of mine"},
}


def call(site: Site, route: Any, path: str, who: Actor | None) -> Any:
    client = site.program(who) if who else site.client
    body = BODIES.get(route.body.__name__) if route.body else None
    if route.form is not None and not route.page:
        given = {"files": (stream_of(b"words of mine"), "mine.txt")}
        return client.open(path, method=route.method, data=given, content_type="multipart/form-data")
    return client.open(path, method=route.method, json=body) if body else client.open(path, method=route.method)


@pytest.mark.parametrize("route", WITH_ID, ids=name_of)
def test_a_strangers_id_is_no_id_at_all(calm_both: Site, route: Any) -> None:
    """A06: 404 as for an id that nobody has, and nothing changes. An administrator is a stranger too."""
    site = calm_both
    alices = belongings(site)
    people: list[Actor | None] = [site.cast.charlie, site.cast.bob, site.cast.root]
    if route.auth == "optional":
        people.append(None)
    if route.auth == "admin":
        people.remove(site.cast.root)  # accounts are an administrator's business
    expected = 401 if route.path in SIGNED else 403 if route.auth == "admin" else 200 if route.path in PENDING else 404
    nothing = call(site, route, filled(route.path), site.cast.charlie)
    with site.unchanged(route.path):
        for who, path in product(people, alices.paths(route)):
            answer = call(site, route, path, who)
            assert answer.status_code == expected, (path, who and who.username)
            assert "alice" not in answer.text
            if not route.page:
                same = {"request_id", "task_id"} if route.path in PENDING else {"request_id"}
                told = {key: value for key, value in answer.json.items() if key not in same}
                assert told == {key: value for key, value in nothing.json.items() if key not in same}


@pytest.mark.parametrize(
    "route", [r for r in WITH_ID if r.method == "GET" and not r.stream and r.auth != "admin"], ids=name_of
)
def test_the_owner_does_get_an_answer(calm: Site, route: Any) -> None:
    """Else the test above would pass on a route that answers 404 to all."""
    alices = belongings(calm)
    answer = call(calm, route, alices.paths(route)[0], calm.cast.alice)
    assert answer.status_code in (200, 286) or (route.path.startswith("/knowledge/search/open/") and answer.location)


def test_ids_inside_bodies_and_queries(both_site: Site) -> None:
    """A06, A07: task ids in lists, files in configurations, topics of streams."""
    site = both_site
    alices = Belongings(site)
    charlie = site.program(site.cast.charlie)
    with site.unchanged():
        for action in ("cancel", "retry", "delete"):
            ids = [alices.done, alices.waiting]
            answer = charlie.post("/api/v1/tasks/bulk", json={"action": action, "ids": ids})
            assert answer.json == {"done": [], "failed": [{"id": one, "error": "there is no such task"} for one in ids]}
            page = charlie.post("/tasks/bulk", data={"action": action, "ids": ids})
            assert page.status_code == 303
        create = {"task_type": "summary", "task_config": {"upload_ids": [alices.file_id]}}
        answer = charlie.post("/api/v1/utils/ai-tasks/", json=create)
        assert answer.status_code == 404, answer.json
        assert "alice" not in answer.text
        assert charlie.get("/api/v1/logs/history", query_string={"task_id": alices.done}).json == []
        assert site.client.get("/api/v1/logs/history", query_string={"task_id": alices.done}).json == []
        assert charlie.get("/api/v1/utils/ai-tasks/", query_string={"search": "alice"}).json["count"] == 0
    mine = site.lab.start(site.cast.charlie, kind="test.script")
    patch = charlie.patch(f"/api/v1/utils/ai-tasks/{mine}/", json={"task_config": {"upload_ids": [alices.file_id]}})
    assert patch.status_code in (400, 404)


def test_a_worker_reads_no_file_of_another_owner(site: Site) -> None:
    """A07: even when a row's parameters name it."""
    alices = Belongings(site)
    mine = site.lab.start_kind("summary", {"content": "Words of my own."}, site.cast.charlie)
    site.lab.sql("UPDATE tasks SET params = :p WHERE id = :id", id=mine, p=json.dumps({"upload_ids": [alices.file_id]}))
    site.lab.run_all()
    row = site.lab.row(mine)
    assert row.status == "failed"
    assert "not there" in (row.error or "")


def frames(answer: Any, count: int) -> list[dict[str, Any]]:
    """The first `count` messages of a stream."""
    found: list[dict[str, Any]] = []
    buffer = ""
    for piece in answer.iter_encoded():
        buffer += piece.decode()
        *whole, buffer = buffer.split("\n\n")
        for block in whole:
            data = [line[6:] for line in block.split("\n") if line.startswith("data: ")]
            if data:
                found.append(json.loads("\n".join(data)))
            if len(found) == count:
                answer.close()
                return found
    return found


def test_topics_of_a_stranger_are_gone(site: Site) -> None:
    alices = Belongings(site)
    topics = ",".join(f"task:{task}@{view}@0" for task in (alices.done, alices.waiting) for view in ("row", "status"))
    theirs = site.program(site.cast.charlie).get("/live/stream", query_string={"topics": topics}, buffered=False)
    told = frames(theirs, 3)
    assert [one["type"] for one in told] == ["hello", "gone", "gone"]
    mine = site.program(site.cast.alice).get("/live/stream", query_string={"topics": topics}, buffered=False)
    assert [one["type"] for one in frames(mine, 5)] == ["hello", *["fragment"] * 4]


def test_sockets_show_a_stranger_nothing(site: Site) -> None:
    from webapp.core.context import ANONYMOUS
    from webapp.core.errors import NotFound, Unauthorized

    alices = Belongings(site)
    hub = site.app.extensions["hub"]
    for who in (site.cast.charlie, site.cast.root, ANONYMOUS):
        with site.lab.as_(who, write=False) as ctx:
            with pytest.raises(NotFound):
                live.TaskFeed(hub, ctx, alices.waiting)
            topic, draw = f"task:{alices.waiting}@row@0", site.app.extensions["draw"]
            if who is ANONYMOUS:
                with pytest.raises(Unauthorized):
                    PageFeed(hub, ctx, topic, draw, "websocket")
            else:
                page = PageFeed(hub, ctx, topic, draw, "websocket")
                assert page.render(site.rt, site.lab.row(alices.waiting), []) == []
            logs = live.LogFeed(hub, ctx, task_id=None, level=None, agent_id=None)
            row, events = site.lab.row(alices.waiting), site.lab.events(alices.waiting)
            assert logs.render(site.rt, row, events) == []
            if who is ANONYMOUS:
                with pytest.raises(Unauthorized):
                    live.UserFeed(hub, ctx)
            else:
                assert live.UserFeed(hub, ctx).render(site.rt, row, events) == []


def test_a_last_event_id_of_another_stream_opens_nothing(site: Site) -> None:
    alices = Belongings(site)
    for path in (f"/api/v1/utils/tasks/{alices.done}/stream/", f"/api/v1/logs/stream/{alices.done}"):
        answer = site.program(site.cast.charlie).get(path, headers={"Last-Event-ID": "9999"})
        assert answer.status_code == 404


# -- A09 -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("route", [r for r in HTTP if r.method == "GET"], ids=name_of)
def test_asking_changes_nothing(calm: Site, route: Any) -> None:
    """A09: over the whole table, as the owner and with every id."""
    alices = belongings(calm)
    client = calm.browser(calm.cast.alice)
    paths = alices.paths(route)
    with calm.unchanged(route.path):
        for path in paths:
            answer = client.get(path, buffered=False)
            if route.stream or answer.mimetype == "text/event-stream":
                next(answer.iter_encoded())
            assert answer.status_code < 500 or route.path == "/api/v1/ready"  # no worker runs here
            answer.close()
            client.head(path, buffered=False).close()


@pytest.mark.parametrize("route", [r for r in HTTP if r.method != "GET" and r.auth not in ("public",)], ids=name_of)
def test_a_foreign_page_changes_nothing(calm: Site, route: Any) -> None:
    """A09: a cookie without token; what another calm's page can send."""
    alices = belongings(calm)
    client = calm.browser(calm.cast.alice)
    with calm.unchanged(route.path):
        for headers in (
            {},
            {"Origin": "https://evil.example"},
            {"Sec-Fetch-Site": "cross-calm"},
            {"Origin": "null"},
        ):
            for path in alices.paths(route):
                for kind in ("application/x-www-form-urlencoded", "text/plain"):
                    answer = client.open(path, method=route.method, headers=headers, data="a=b", content_type=kind)
                    assert answer.status_code == 403, (path, headers, kind)


# -- limits ----------------------------------------------------------------------------------------------------------


def test_one_person_is_slowed_down_and_nobody_else(make_rt: Any) -> None:
    from tests.conftest import make_cast

    rt = make_rt(AUTH_REQUIRED="1", BRAINSTEM_RATE_LIMIT="5/minute")
    site = Site(rt, make_cast(rt))
    alice, bob = site.program(site.cast.alice), site.program(site.cast.bob)
    answers = [alice.get("/api/v1/utils/ai-tasks/recent/") for _ in range(7)]
    assert [answer.status_code for answer in answers[:5]] == [200] * 5
    assert answers[-1].status_code == 429
    assert 1 <= int(answers[-1].headers["Retry-After"]) <= 60
    assert answers[-1].json["code"] == "rate_limited"
    assert alice.get("/tasks", headers={"X-Forwarded-For": "9.9.9.9"}).status_code == 429
    assert bob.get("/api/v1/utils/ai-tasks/recent/").status_code == 200
    site.close()
