"""The task kind `api`: a call through the gate, what comes back, sent once, and secrets that nobody sees."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest

from tests.conftest import make_cast
from tests.fakes.http_server import FakeSite
from tests.fakes.kinds import Killed
from tests.fakes.site import OPEN_LIMITS, Site
from webapp.calls import kind as calls
from webapp.calls.kind import API
from webapp.core.errors import BadRequest

TASKS = "/api/v1/utils/ai-tasks/"
JSON = {"Content-Type": "application/json"}
SECRET = "s3cr3t-canary-7391"


@pytest.fixture
def web() -> Iterator[FakeSite]:
    with FakeSite() as made:
        made.page(
            "/weather", json.dumps({"current": {"temperature": 21.5}, "days": [{"t": 1}, {"t": 2}]}).encode(), JSON
        )
        made.page("/down", b'{"error": "busy"}', JSON, status=503)
        made.page("/broken", b"oops", {"Content-Type": "text/plain"}, status=500)
        made.page("/gone", b'{"error": {"message": "no such note"}}', JSON, status=404)
        made.page("/picture", b"\x89PNG\0\1\2", {"Content-Type": "image/png"})
        made.raw("/silent", b"")
        yield made


@pytest.fixture
def desk(make_rt: Any, web: FakeSite, monkeypatch: pytest.MonkeyPatch) -> Iterator[Site]:
    monkeypatch.setattr("webapp.tasks.execute.retry_delay", lambda *given: 0.0)
    rt = make_rt(AUTH_REQUIRED="1", BRAINSTEM_ALLOW_HOSTS=f"127.0.0.1:{web.port}", **OPEN_LIMITS)
    made = Site(rt, make_cast(rt))
    yield made
    made.close()


def post(desk: Site, who: Any = None, **config: Any) -> Any:
    return desk.program(who or desk.cast.alice).post(TASKS, json={"task_type": "api", "task_config": config})


def run(desk: Site, **config: Any) -> dict[str, Any]:
    answer = post(desk, **config)
    assert answer.status_code == 201, answer.json
    desk.lab.run_all("crawling")
    return look(desk, answer.json["id"])


def look(desk: Site, task_id: str) -> dict[str, Any]:
    found: dict[str, Any] = desk.program(desk.cast.alice).get(f"{TASKS}{task_id}/").json
    return found


def test_an_answer_is_mapped_and_shown(desk: Site, web: FakeSite) -> None:
    asked = "/weather?city=K%C3%B6ln+%26+Bonn"
    web.page(asked, json.dumps({"current": {"temperature": 21.5}, "days": [{"t": 1}, {"t": 2}]}).encode(), JSON)
    task = run(desk, url=web.url("/weather"), query={"city": "Köln & Bonn"},
               mapping={"degrees": "current.temperature", "all": "days[*].t", "nothing": "current.wind"})  # fmt: skip
    assert task["status"] == "completed", task["error_message"]
    result = task["result_data"]
    assert result["mapped"] == {"degrees": 21.5, "all": [1, 2]}
    assert result["missing"] == {"nothing": "there is nothing at current.wind"}
    assert (result["status"], result["times_sent"]) == (200, 1)
    assert web.requests[-1].path == asked
    browser = desk.browser(desk.cast.alice)
    page = browser.get(f"/tasks/{task['id']}").text
    assert "21.5" in page
    assert "There is nothing at current.wind" in page
    assert "| degrees | 21.5 |" in browser.get(f"/tasks/{task['id']}/download.md").text


def test_method_headers_body_and_key(desk: Site, web: FakeSite) -> None:
    task = run(desk, url=web.url("/weather"), method="post", headers={"X-Kind": "note"}, body={"text": "Grüße"})
    sent = web.requests[-1]
    assert (sent.method, json.loads(sent.body), sent.headers["x-kind"]) == ("POST", {"text": "Grüße"}, "note")
    assert sent.headers["content-type"] == "application/json"
    assert sent.headers["idempotency-key"] == f"brainstem-{task['id']}" == task["result_data"]["idempotency_key"]


def test_an_own_idempotency_key_is_kept(desk: Site, web: FakeSite) -> None:
    run(desk, url=web.url("/weather"), method="PUT", headers=["Idempotency-Key: mine"], body="x")
    assert web.requests[-1].headers["idempotency-key"] == "mine"
    run(desk, url=web.url("/weather"))
    assert "idempotency-key" not in web.requests[-1].headers


def test_what_is_no_text(desk: Site, web: FakeSite) -> None:
    result = run(desk, url=web.url("/picture"), mapping={"a": "b"})["result_data"]
    assert (result["text"], result["json"], result["bytes"], result["missing"]) == (
        None,
        None,
        7,
        {"a": "the answer is not JSON"},
    )


# -- failing and trying again ----------------------------------------------------------------------------------------


def test_a_refusal_is_told_in_its_own_words(desk: Site, web: FakeSite) -> None:
    task = run(desk, url=web.url("/gone"), method="DELETE")
    assert (task["status"], task["error_message"]) == ("failed", "127.0.0.1 answered 404: no such note")
    assert len(web.requests) == 1


def test_any_answer_may_count(desk: Site, web: FakeSite) -> None:
    task = run(desk, url=web.url("/gone"), accept="any", mapping={"why": "error.message"})
    assert (task["status"], task["result_data"]["mapped"]) == ("completed", {"why": "no such note"})


@pytest.mark.parametrize(
    ("path", "method", "more", "tries"),
    [
        ("/down", "GET", {}, 4),
        ("/down", "POST", {}, 4),  # a 503 did nothing: that is clear
        ("/down", "POST", {"retries": 1}, 2),
        ("/down", "GET", {"retries": 0}, 1),
        ("/broken", "GET", {}, 4),
        ("/broken", "PUT", {}, 4),
        ("/broken", "POST", {}, 1),
        ("/broken", "PATCH", {"repeat_unclear": True}, 4),
        ("/silent", "GET", {"retries": 2}, 3),
        ("/silent", "POST", {}, 1),
        ("/silent", "POST", {"repeat_unclear": True, "retries": 1}, 2),
    ],
)
def test_how_often_it_is_sent(
    desk: Site, web: FakeSite, path: str, method: str, more: dict[str, Any], tries: int
) -> None:
    task = run(desk, url=web.url(path), method=method, **more)
    assert task["status"] == "failed"
    assert len(web.requests) == tries
    keys = {request.headers.get("idempotency-key") for request in web.requests}
    assert len(keys) == 1
    if path == "/silent" and method == "POST" and not more:
        assert "not clear whether the POST arrived" in task["error_message"]


def test_what_never_left_is_tried_again(desk: Site, web: FakeSite, monkeypatch: pytest.MonkeyPatch) -> None:
    from webapp.core.errors import Upstream
    from webapp.tasks.run import TaskRun

    real, tries = TaskRun.fetch, []

    def refused_first(self: Any, url: str, **options: Any) -> Any:
        tries.append(url)
        if len(tries) == 1:
            raise Upstream("cannot be reached", code="unreachable")
        return real(self, url, **options)

    monkeypatch.setattr(TaskRun, "fetch", refused_first)
    task = run(desk, url=web.url("/weather"), method="POST")
    assert (task["status"], task["result_data"]["times_sent"], len(web.requests)) == ("completed", 1, 1)


def killed_at(desk: Site, monkeypatch: pytest.MonkeyPatch, when: str) -> None:
    """The worker dies before or after the answer is kept."""
    real = calls._kept

    def die(*given: Any) -> Any:
        monkeypatch.setattr(calls, "_kept", real)
        raise Killed

    if when == "before":
        monkeypatch.setattr(calls, "_kept", die)
    else:
        monkeypatch.setattr(calls, "_result", die)
    desk.lab.crash("crawling")
    monkeypatch.undo() if when == "after" else None
    desk.lab.take_over()
    desk.lab.run_all("crawling")


@pytest.mark.parametrize(("method", "more", "status", "times"), [
    ("GET", {}, "completed", 2), ("DELETE", {}, "completed", 2), ("POST", {}, "failed", 1), ("POST", {"repeat_unclear": True}, "completed", 2),
])  # fmt: skip
def test_killed_before_the_answer_was_kept(
    desk: Site,
    web: FakeSite,
    monkeypatch: pytest.MonkeyPatch,
    method: str,
    more: dict[str, Any],
    status: str,
    times: int,
) -> None:
    task_id = post(desk, url=web.url("/weather"), method=method, **more).json["id"]
    killed_at(desk, monkeypatch, "before")
    task = look(desk, task_id)
    assert (task["status"], len(web.requests)) == (status, times)
    if status == "failed":
        assert "not clear whether an earlier try of this POST arrived" in task["error_message"]


def test_killed_after_the_answer_was_kept(desk: Site, web: FakeSite, monkeypatch: pytest.MonkeyPatch) -> None:
    task_id = post(desk, url=web.url("/weather"), method="POST", mapping={"d": "current.temperature"}).json["id"]
    killed_at(desk, monkeypatch, "after")
    task = look(desk, task_id)
    assert (task["status"], task["result_data"]["mapped"], len(web.requests)) == ("completed", {"d": 21.5}, 1)


# -- secrets ---------------------------------------------------------------------------------------------------------


def test_secrets_reach_the_other_side_and_nobody_else(
    desk: Site, web: FakeSite, caplog: pytest.LogCaptureFixture
) -> None:
    """A40: the other side reflects it, in another form too."""
    web.page(f"/echo?key={SECRET}", f'{{"you sent": "Bearer {SECRET}"}}'.encode(), JSON)
    task = run(desk, url=web.url("/echo?key={{ secrets.token }}"), method="POST", headers=[f"X-Api-Key: {SECRET}",
               "Authorization: Bearer {{ secrets.token }}"], secrets={"token": SECRET}, body='{"t": "{{ secrets.token }}"}',
               mapping={"said": "[\"you sent\"]"})  # fmt: skip
    assert task["status"] == "completed", task["error_message"]
    sent = web.requests[-1]
    assert sent.headers["authorization"] == f"Bearer {SECRET}"
    assert sent.headers["x-api-key"] == SECRET
    assert SECRET in sent.path
    assert SECRET.encode() in sent.body
    browser = desk.browser(desk.cast.alice)
    seen = [json.dumps(task), caplog.text, browser.get(f"/tasks/{task['id']}").text,
            browser.get(f"/tasks/{task['id']}/download.json").text, str(desk.rows())]  # fmt: skip
    assert [SECRET in one for one in seen] == [False] * 5
    assert task["result_data"]["mapped"] == {"said": "Bearer •••"}


def test_a_failing_call_tells_no_secret(desk: Site, web: FakeSite) -> None:
    web.page("/no", f"who is {SECRET}?".encode(), {"Content-Type": "text/plain"}, status=401)
    task = run(desk, url=web.url("/no"), secrets=[f"k = {SECRET}"], headers=["Authorization: {{ secrets.k }}"])
    assert task["status"] == "failed"
    assert SECRET not in json.dumps(task) + str(desk.rows())


def test_sealed_values_may_be_sent_again_by_their_owner_only(desk: Site, web: FakeSite) -> None:
    """A40, A43: what was sealed for alice is a word without meaning in bob's configuration."""
    task = run(desk, url=web.url("/weather"), secrets={"k": SECRET}, headers=["Authorization: Bearer {{ secrets.k }}"])
    config = task["task_config"]
    assert config["secrets"][0].startswith("k = sealed:")
    again = run(desk, **config)
    assert (again["status"], web.requests[-1].headers["authorization"]) == ("completed", f"Bearer {SECRET}")
    before = len(web.requests)
    stolen = post(desk, desk.cast.bob, **config).json["id"]
    desk.lab.run_all("crawling")
    row = desk.lab.row(stolen)
    assert (row.status, row.error_code, len(web.requests)) == ("failed", "secret_unreadable", before)


# -- bad input -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("config", "field"),
    [
        ({}, "url"), ({"url": ""}, "url"), ({"url": 3}, "url"), ({"method": "BREW"}, "method"), ({"method": 3}, "method"),
        ({"headers": ["no colon"]}, "headers"), ({"headers": ["Host: x"]}, "headers"), ({"headers": ["X: a\x01b"]}, "headers"),
        ({"headers": {"A b": "c"}}, "headers"), ({"headers": ["X: y"] * 51}, "headers"), ({"query": ["= x"]}, "query"),
        ({"secrets": ["token"]}, "secrets"), ({"secrets": {"a b": "c"}}, "secrets"), ({"mapping": ["a"]}, "mapping"),
        ({"mapping": {"a": "b["}}, "mapping"), ({"mapping": ["a = ''.__class__"]}, "mapping"), ({"timeout": 0}, "timeout"),
        ({"timeout": "soon"}, "timeout"), ({"retries": 9}, "retries"), ({"accept": "all"}, "accept"), ({"body": "x"}, "body"),
        ({"headers": ["X: {{ secrets.none }}"]}, "secrets.none"), ({"body": "{{ config }}", "method": "POST"}, "config"),
        ({"more": 1}, "more"),
    ],
)  # fmt: skip
def test_bad_input_names_the_field(config: dict[str, Any], field: str) -> None:
    with pytest.raises(BadRequest) as caught:
        API.check({"url": "https://example.org/", **config} if config and "url" not in config else config)
    assert field in caught.value.message


def test_a_wrong_secret_line_is_not_repeated() -> None:
    with pytest.raises(BadRequest) as caught:
        API.check({"url": "https://example.org/", "secrets": [SECRET]})
    assert SECRET not in str(caught.value.details) + caught.value.message


@pytest.mark.parametrize(
    "url", ["http://169.254.169.254/latest", "http://127.0.0.1:1/", "file:///etc/passwd", "gopher://x/", "nothing"]
)
def test_addresses_the_gate_refuses_are_no_tasks(desk: Site, url: str) -> None:
    answer = post(desk, url=url)
    assert answer.status_code == 400
    assert "url" in str(answer.json)


def test_a_stranger_sees_nothing_of_it(desk: Site, web: FakeSite) -> None:
    task = run(desk, url=web.url("/weather"))
    assert desk.program(desk.cast.bob).get(f"{TASKS}{task['id']}/").status_code == 404
