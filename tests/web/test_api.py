"""The declaration of an endpoint: what the wrapper does for each of them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from tests.conftest import make_cast
from tests.fakes.site import OPEN_LIMITS, Site
from webapp.core.context import Ctx
from webapp.core.errors import TooManyRequests, Unavailable
from webapp.tasks.models import Task
from webapp.web.api import ANY, PUBLIC, Api, ApiModel
from webapp.web.api import install as install_apis


class Out(ApiModel):
    id: str
    title: str


class Query(ApiModel):
    tags: list[str] = []
    word: str | None = None


class In(ApiModel):
    number: int


def probe() -> Api:
    api = Api("wrapper", "/api/wrapper", tag="Probe")

    @api.get("/row", auth=ANY, returns=Out)
    def row(ctx: Ctx) -> Any:
        return ctx.db.query(Task).first()

    @api.get("/rows", auth=ANY, returns=list[Out])
    def rows(ctx: Ctx) -> Any:
        return ctx.db.query(Task).all()

    @api.get("/query", auth=PUBLIC, query=Query)
    def query(ctx: Ctx, query: Query) -> Any:
        return query.model_dump()

    @api.post("/nothing", auth=PUBLIC, status=204)
    def nothing(ctx: Ctx) -> None: ...

    @api.post("/made", auth=PUBLIC, body=In, status=201)
    def made(ctx: Ctx, body: In) -> Any:
        return {"number": body.number}, 202

    @api.get("/busy", auth=PUBLIC)
    def busy(ctx: Ctx) -> Any:
        raise TooManyRequests("slow down", retry_after=7)

    @api.get("/away", auth=PUBLIC)
    def away(ctx: Ctx) -> Any:
        raise Unavailable("not installed", suggestion="Install it.")

    @api.get("/rare", auth=PUBLIC, limit="2/minute")
    def rare(ctx: Ctx) -> Any:
        return {}

    @api.post("/write-then-fail", auth=PUBLIC, body=In)
    def write_then_fail(ctx: Ctx, body: In) -> Any:
        from webapp.identity.models import User

        ctx.db.add(User(username="half", username_key="half"))
        ctx.db.flush()
        raise Unavailable("too bad")

    return api


@pytest.fixture
def desk(make_rt: Any) -> Iterator[Site]:
    rt = make_rt(AUTH_REQUIRED="1", **OPEN_LIMITS)
    made = Site(rt, make_cast(rt))
    install_apis(made.app, [probe()])
    yield made
    made.close()


def test_rows_are_cut_to_their_declared_shape(desk: Site) -> None:
    task_id = desk.lab.start(desk.cast.alice, title="T")
    client = desk.program(desk.cast.alice)
    assert client.get("/api/wrapper/row").json == {"id": task_id, "title": "T"}
    assert client.get("/api/wrapper/rows").json == [{"id": task_id, "title": "T"}]


def test_queries(desk: Site) -> None:
    ask = desk.client.get
    assert ask("/api/wrapper/query?tags=a&tags=b&word=x&word=y").json == {"tags": ["a", "b"], "word": "y"}
    assert ask("/api/wrapper/query?tags=&word=&unknown=1").json == {"tags": [], "word": None}, "empty means not given"
    assert ask("/api/wrapper/query?word=%00").status_code == 400


def test_statuses(desk: Site) -> None:
    nothing = desk.client.post("/api/wrapper/nothing")
    assert (nothing.status_code, nothing.data) == (204, b"")
    made = desk.client.post("/api/wrapper/made", json={"number": 3})
    assert (made.status_code, made.json) == (202, {"number": 3})


def test_errors_with_advice(desk: Site) -> None:
    busy = desk.client.get("/api/wrapper/busy")
    assert (busy.status_code, busy.headers["Retry-After"]) == (429, "7")
    away = desk.client.get("/api/wrapper/away")
    assert (away.status_code, away.json["suggestion"]) == (503, "Install it.")


def test_an_endpoints_own_rate(desk: Site) -> None:
    answers = [desk.client.get("/api/wrapper/rare") for _ in range(3)]
    assert [answer.status_code for answer in answers] == [200, 200, 429]
    assert 1 <= int(answers[-1].headers["Retry-After"]) <= 60


def test_what_fails_leaves_nothing(desk: Site) -> None:
    before = desk.lab.count("users")
    assert desk.client.post("/api/wrapper/write-then-fail", json={"number": 1}).status_code == 503
    assert desk.lab.count("users") == before


def test_json_by_other_names(desk: Site) -> None:
    for kind in ("application/json; charset=utf-8", "application/vnd.api+json", ""):
        answer = desk.client.post("/api/wrapper/made", data=b'{"number": 3}', headers={"Content-Type": kind})
        assert answer.status_code == 202, kind
