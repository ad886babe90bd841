"""The task kind `summary`, from the request to the result: text, pages of a server, files; what fails and what is kept."""

from __future__ import annotations

import io
import json
from collections.abc import Iterator
from typing import Any

import pytest

from tests.conftest import make_cast
from tests.fakes.http_server import Canary, FakeSite, Request
from tests.fakes.site import OPEN_LIMITS, Site
from webapp.core.errors import BadRequest, NotFound

TASKS = "/api/v1/utils/ai-tasks/"
BEES = ("Bees make honey from the nectar of flowers. A hive holds many thousand bees. The queen lays all the eggs. "
        "Honey keeps for years because it holds little water. Bees keep warm in winter by trembling. ")  # fmt: skip
PAGE = f"<html><head><title>Of bees</title></head><body><article><h1>Bees</h1><p>{BEES}</p></article></body></html>"
HTML = {"Content-Type": "text/html; charset=utf-8"}


@pytest.fixture
def web() -> Iterator[FakeSite]:
    with FakeSite() as made:
        made.page("/bees", PAGE.encode(), HTML)
        yield made


@pytest.fixture
def desk(make_rt: Any, web: FakeSite) -> Iterator[Site]:
    """The application, which may fetch from the fake site and from nobody else of this machine."""
    rt = make_rt(AUTH_REQUIRED="1", BRAINSTEM_ALLOW_HOSTS=f"127.0.0.1:{web.port}", **OPEN_LIMITS)
    made = Site(rt, make_cast(rt))
    yield made
    made.close()


def post(desk: Site, **config: Any) -> Any:
    return desk.program(desk.cast.alice).post(TASKS, json={"task_type": "summary", "task_config": config})


def finished(desk: Site, **config: Any) -> dict[str, Any]:
    """Start it, run it to the end, ask for it."""
    answer = post(desk, **config)
    assert answer.status_code == 201, answer.json
    desk.lab.run_all()
    found: dict[str, Any] = desk.program(desk.cast.alice).get(f"{TASKS}{answer.json['id']}/").json
    return found


def places_are_true(result: dict[str, Any]) -> None:
    """Each sentence stands word for word at the place the result names."""
    texts = {source["id"]: source["text"] for source in result["sources"]}
    assert result["sentences"]
    for number, sentence in enumerate(result["sentences"], 1):
        assert texts[sentence["source_id"]][sentence["start"] : sentence["end"]] == sentence["text"]
        assert sentence["ref"] == number
    assert result["summary"] == " ".join(sentence["text"] for sentence in result["sentences"])


def test_text(desk: Site) -> None:
    task = finished(desk, content=BEES, max_length=20)
    assert task["status"] == "completed", task["error_message"]
    result = task["result_data"]
    places_are_true(result)
    assert result["method"] == "Extractive (LexRank over TF-IDF)"
    assert result["words"] <= 40
    assert [source["url"] for source in result["sources"]] == [None]


def test_a_page(desk: Site, web: FakeSite) -> None:
    task = finished(desk, urls=[web.url("/bees")], max_length=30)
    assert task["status"] == "completed", task["error_message"]
    result = task["result_data"]
    places_are_true(result)
    [source] = result["sources"]
    assert (source["url"], source["title"], source["error"]) == (web.url("/bees"), "Of bees", None)
    assert [request.path for request in web.requests] == ["/bees"]


def test_a_file(desk: Site) -> None:
    client = desk.program(desk.cast.alice)
    given = {"file": (io.BytesIO(PAGE.encode()), "bees.html")}
    upload = client.post("/api/v1/files/", data=given, content_type="multipart/form-data").json["id"]
    task = finished(desk, upload_ids=[upload], max_length=30)
    assert task["status"] == "completed", task["error_message"]
    places_are_true(task["result_data"])


def test_all_three_together(desk: Site, web: FakeSite) -> None:
    client = desk.program(desk.cast.alice)
    given = {"file": (io.BytesIO(b"A file of its own. It speaks of wasps."), "wasps.txt")}
    upload = client.post("/api/v1/files/", data=given, content_type="multipart/form-data").json["id"]
    task = finished(desk, content="Pasted words on ants.", urls=[web.url("/bees")], upload_ids=[upload])
    result = task["result_data"]
    places_are_true(result)
    assert [source["id"] for source in result["sources"]] == ["s1", "s2", "s3"]
    assert {sentence["source_id"] for sentence in result["sentences"]} == {"s1", "s2", "s3"}


def test_a_large_text_is_ranked_in_a_child(desk: Site) -> None:
    text = " ".join(f"Sentence number {number} tells of bee {number % 7}." for number in range(200))
    assert len(text) > 4000
    task = finished(desk, content=text, max_length=50)
    assert task["status"] == "completed", task["error_message"]
    places_are_true(task["result_data"])


# -- what cannot be read ---------------------------------------------------------------------------------------------


def test_what_cannot_be_read_is_listed_and_the_rest_is_done(desk: Site, web: FakeSite) -> None:
    web.page("/gone", b"", status=404)
    web.page("/empty", b"<html><body></body></html>", HTML)
    web.page("/picture", b"\x89PNG\r\n\x1a\n" + b"\0" * 100, {"Content-Type": "image/png"})
    urls = [web.url(path) for path in ("/gone", "/bees", "/empty", "/picture")]
    task = finished(desk, urls=urls)
    assert task["status"] == "completed", task["error_message"]
    sources = task["result_data"]["sources"]
    assert [bool(source["error"]) for source in sources] == [True, False, True, True]
    assert "answered 404" in sources[0]["error"]
    places_are_true({**task["result_data"]})
    updates = desk.program(desk.cast.alice).get(f"{TASKS}{task['id']}/updates/").json
    assert sum("answered 404" in update["message"] for update in updates) == 1


def test_when_none_can_be_read_it_fails_with_all_reasons(desk: Site, web: FakeSite) -> None:
    web.page("/gone", b"", status=404)
    web.page("/secret", b"", status=403)
    task = finished(desk, urls=[web.url("/gone"), web.url("/secret")])
    assert task["status"] == "failed"
    assert "answered 404" in task["error_message"]
    assert "answered 403" in task["error_message"]
    assert desk.lab.row(task["id"]).attempt == 1, "permanent"


def test_blank_text_is_refused_at_once(desk: Site) -> None:
    for config in ({}, {"content": " \n "}, {"urls": []}, {"urls": [" "]}):
        assert post(desk, **config).status_code == 400, config
    assert desk.lab.count("tasks") == 0


# -- trouble that passes ---------------------------------------------------------------------------------------------


class Flaky:
    """Answers these statuses one after the other, then the page."""

    def __init__(self, *statuses: int, headers: str = "") -> None:
        self.left, self.headers = list(statuses), headers

    def __call__(self, conn: Any, request: Request) -> None:
        status = self.left.pop(0) if self.left else 200
        body = PAGE.encode() if status == 200 else b""
        kind = "Content-Type: text/html\r\n" if status == 200 else self.headers
        conn.sendall(
            f"HTTP/1.1 {status} X\r\nContent-Length: {len(body)}\r\n{kind}Connection: close\r\n\r\n".encode() + body
        )


def due_now(desk: Site, task_id: str) -> None:
    desk.lab.sql("UPDATE tasks SET due_at = 1 WHERE id = :id AND status = 'retrying'", id=task_id)
    desk.lab.make_due()


def test_a_server_that_stumbles_is_asked_again_and_the_rest_is_not(desk: Site, web: FakeSite) -> None:
    web.script("/flaky", Flaky(503, 500))
    task_id = post(desk, urls=[web.url("/bees"), web.url("/flaky")]).json["id"]
    for _ in range(2):
        desk.lab.run()
        assert desk.lab.status(task_id) == "retrying"
        due_now(desk, task_id)
    desk.lab.run()
    row = desk.lab.row(task_id)
    assert (row.status, row.attempt) == ("completed", 3)
    assert [request.path for request in web.requests] == ["/bees", "/flaky", "/flaky", "/flaky"]


def test_its_retry_after_is_kept(desk: Site, web: FakeSite) -> None:
    from webapp.tasks.scheduler import _now

    web.script("/busy", Flaky(429, headers="Retry-After: 7\r\n"))
    task_id = post(desk, urls=[web.url("/busy")]).json["id"]
    desk.lab.run()
    due = desk.lab.row(task_id).due_at
    assert due is not None
    assert 5 < due - _now(desk.rt) <= 7


@pytest.mark.parametrize("wait", ["\xb2", "9" * 5000, "-5", "soon", "Wed, 21 Oct 2037 07:28:00 GMT", "1e9"])
def test_an_odd_retry_after_is_none(desk: Site, web: FakeSite, wait: str) -> None:
    def answer(conn: Any, request: Request) -> None:
        head = f"HTTP/1.1 503 X\r\nContent-Length: 0\r\nRetry-After: {wait}\r\nConnection: close\r\n\r\n"
        conn.sendall(head.encode("latin-1"))

    web.script("/odd", answer)
    task_id = post(desk, urls=[web.url("/odd")]).json["id"]
    desk.lab.run()
    row = desk.lab.row(task_id)
    assert (row.status, row.error_code) == ("retrying", "upstream"), row.error


def test_a_server_that_never_recovers_is_listed_in_the_end(desk: Site, web: FakeSite) -> None:
    web.script("/dead", Flaky(*[500] * 20))
    task_id = post(desk, urls=[web.url("/dead"), web.url("/bees")]).json["id"]
    for _ in range(4):
        desk.lab.run()
        due_now(desk, task_id)
    row = desk.lab.row(task_id)
    assert row.status == "completed"
    assert "answered 500" in (row.result or {})["sources"][0]["error"]
    assert [request.path for request in web.requests].count("/dead") == 4


def test_a_retry_by_hand_fetches_no_page_twice(desk: Site, web: FakeSite, monkeypatch: pytest.MonkeyPatch) -> None:
    from webapp.summaries import extracting

    def broken(*args: Any) -> None:
        raise BadRequest("the ranking broke")

    real = extracting.summarised
    monkeypatch.setattr(extracting, "summarised", broken)
    task_id = post(desk, urls=[web.url("/bees")]).json["id"]
    desk.lab.run()
    assert desk.lab.status(task_id) == "failed"
    monkeypatch.setattr(extracting, "summarised", real)
    assert desk.program(desk.cast.alice).post(f"{TASKS}{task_id}/retry/").status_code == 200
    desk.lab.run()
    assert desk.lab.status(task_id) == "completed"
    assert len(web.requests) == 1


def test_cancelling_cuts_a_slow_page_off(desk: Site, web: FakeSite) -> None:
    import threading
    import time

    asked = threading.Event()

    def drip(conn: Any, request: Request) -> None:
        conn.sendall(b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\n\r\n<p>")
        asked.set()
        while not request.hung_up.wait(0.05):
            conn.sendall(b"x")

    web.script("/drip", drip)
    task_id = post(desk, urls=[web.url("/drip")]).json["id"]
    desk.lab.host.start()
    worker = threading.Thread(target=desk.lab.run)
    worker.start()
    try:
        assert asked.wait(20)
        began = time.monotonic()
        assert desk.program(desk.cast.alice).post(f"{TASKS}{task_id}/cancel/").json["message"] == "Stopping"
        worker.join(10)
        assert time.monotonic() - began < 5
    finally:
        desk.lab.host.stop()
    assert desk.lab.status(task_id) == "cancelled"


# -- addresses -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "url",
    ["http://127.0.0.1/", "http://localhost/", "http://169.254.169.254/latest/meta-data/", "http://[::1]/", "http://10.0.0.1/",
     "file:///etc/passwd", "gopher://127.0.0.1:6379/_FLUSHALL", "http://2130706433/", "not a url", "http://user:pw@example.org/"],
)  # fmt: skip
def test_an_address_that_may_not_be_fetched_is_refused_at_once(desk: Site, url: str) -> None:
    answer = post(desk, urls=["https://example.org/", url])
    assert (answer.status_code, answer.json["code"]) == (400, "blocked_address"), answer.json
    assert url[:40] in answer.json["task_config"][0]
    assert desk.lab.count("tasks") == 0


def test_a_neighbour_of_an_allowed_port_is_not_reached(desk: Site) -> None:
    with Canary() as canary:
        answer = post(desk, urls=[f"http://127.0.0.1:{canary.port}/"])
        assert answer.json["code"] == "blocked_address"
        assert canary.visitors() == 0


def test_a_redirect_to_a_blocked_address_fails_with_the_reason(desk: Site, web: FakeSite) -> None:
    with Canary() as canary:
        web.redirect("/away", f"http://127.0.0.1:{canary.port}/")
        task = finished(desk, urls=[web.url("/away")])
        assert task["status"] == "failed"
        assert canary.visitors() == 0
    assert desk.lab.row(task["id"]).attempt == 1


def test_a_row_that_was_changed_behind_our_back_fetches_nothing_new(desk: Site) -> None:
    """What `prepare` refused once is refused at the fetch too."""
    with Canary() as canary:
        task_id = post(desk, content="Words.").json["id"]
        bad = json.dumps({"urls": [f"http://127.0.0.1:{canary.port}/"], "max_length": 50})
        desk.lab.sql("UPDATE tasks SET params = :p WHERE id = :id", p=bad, id=task_id)
        desk.lab.run_all()
        assert desk.lab.status(task_id) == "failed"
        assert canary.visitors() == 0


def test_files_of_others_are_refused_at_once(desk: Site) -> None:
    client = desk.program(desk.cast.bob)
    given = {"file": (io.BytesIO(b"of bob"), "bob.txt")}
    upload = client.post("/api/v1/files/", data=given, content_type="multipart/form-data").json["id"]
    assert post(desk, upload_ids=[upload]).status_code == 404
    with pytest.raises(NotFound), desk.lab.as_(desk.cast.alice) as ctx:
        from webapp.tasks import service

        service.start(ctx, "summary", {"upload_ids": [upload]})
