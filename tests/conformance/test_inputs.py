"""Rubbish at every door: 4xx in the documented shape, never 500 (A23, A24, A49). On both databases."""

from __future__ import annotations

import io
import json
from typing import Any, Literal, get_args, get_origin

import pytest
from pydantic_core import to_jsonable_python

from tests.fakes.site import Site, filled, name_of, routes
from tests.fakes.sweeps import share

HTTP = [route for route in routes() if route.method != "WS"]
WITH_BODY = [route for route in HTTP if route.body is not None]
WITH_QUERY = [route for route in HTTP if route.query is not None]
WITH_ID = [route for route in HTTP if "_id>" in route.path]
PAGE_FORMS = [route for route in HTTP if route.page and route.form is not None]

DEEP = b'{"a":' * 5000 + b"1" + b"}" * 5000
RAW: dict[str, bytes] = {
    "null": b"null",
    "array": b"[]",
    "array of objects": b'[{"title": "x"}]',
    "string": b'"x"',
    "number": b"1",
    "cut off": b'{"title": "x"',
    "not json": b"title=x",
    "repeated key": b'{"title": "a", "title": "b"}',
    "repeated key, nested": b'{"task_config": {"content": "a", "content": "b"}}',
    "not utf-8": b'{"title": "\xff\xfe"}',
    "utf-16": '{"title": "x"}'.encode("utf-16"),
    "lone surrogate": b'{"title": "\\ud800"}',
    "lone surrogate in a list": b'{"ids": ["\\ud800"], "scopes": ["\\udfff"]}',
    "lone surrogate as key": b'{"\\ud800": 1}',
    "1e400": b'{"max_length": 1e400}',
    "NaN": b'{"title": NaN}',
    "Infinity": b'{"title": -Infinity}',
    "5,000-digit number": b'{"max_length": ' + b"9" * 5000 + b"}",
    "deep object": DEEP,
    "deep array": b"[" * 100_000,
    "many members": b'{"a": [' + b"{}," * 30_000 + b"{}]}",
    "NUL": b"\0",
    "too large": b'{"title": "' + b"x" * (1100 * 1024) + b'"}',
    "pretends to be an upload": b'{"files": [{"filepath": "/etc/passwd", "filename": "a.txt"}], "file": "/etc/passwd"}',
}  # fmt: skip
MAY_PASS = {"utf-16", "pretends to be an upload", "repeated key, nested"}

SAMPLES: dict[str, dict[str, Any]] = {
    "LimitIn": {"limit": 3},
    "SettingsIn": {"values": {"quota_open_tasks": "50"}},
    "AiTaskIn": {"title": "x", "task_type": "test.script", "task_config": {}, "priority": "low"},
    "TemplateIn": {
        "name": "x",
        "task_type": "test.script",
        "description": "x",
        "default_config": {},
        "config_schema": {},
        "is_active": True,
    },
    "CheckIn": {"task_type": "test.script", "task_config": {}, "template_id": None},
    "AiTaskPatch": {"title": "x", "task_config": {}, "priority": "low"},
    "BulkIn": {"action": "cancel", "ids": ["x"]},
    "TokenIn": {"username": "x", "password": "x"},
    "RefreshIn": {"refresh": "x"},
    "RegisterIn": {"username": "x", "password": "correct horse battery", "email": None},
    "ProfileIn": {"username": "x", "email": None},
    "PasswordIn": {"current_password": "x", "new_password": "x"},
    "ApiKeyIn": {"name": "x", "scopes": ["tasks:read"], "expires_at": None},
    "UserActiveIn": {"is_active": True},
    "EmbedIn": {"text": "x", "texts": ["x"], "embedder": "minilm", "metric": "dot"},
    "PauseIn": {"reason": "x"},
    "BatchIn": {"documents": [{"id": "x", "title": "x", "text": "x"}]},
}
VALUES: list[Any] = [
    None, True, -1, 10**30, 1.5, "", " ", "\0", "a\0b", "x" * 10_000, "é", "²", "' OR 1=1--", [], [None], ["\0"], [[]], {},
    {"a": {"b": []}}, {"": ""}, ["\ud800"], {"a": ["\udfff"]}, "9999-12-31T23:59:59Z", "0001-01-01T00:00:00+23:59",
]  # fmt: skip
TEXTS = [
    "x", "-1", "0", "1.5", "9" * 19, "9" * 40, "9" * 5000, "1e400", "²", "٣", "\0", "a\0b", "é", "' OR 1=1--", '" OR *',
    "NEAR(", "%", "\\", "id;--", "x" * 7000, "[]", "true", " ", "9999-12-31", "0001-01-01", "2026-13-45", "../..",
]  # fmt: skip
PATHS = [
    "%00",
    "a%00b",
    "%ff",
    "%ED%A0%80",
    "%C2%B2",
    "..%2f..",
    "%2e%2e",
    "x" * 5000,
    "'%20OR%201=1--",
    "%25",
    "-",
    "~",
]
PAGE_ARGS = {
    "/tasks": ["q", "status", "kind", "priority", "from", "to", "cursor", "x"],
    "/tasks/new": ["content", "urls", "title", "kind"],
    "/live/stream": ["topics"],
    "/login": ["next"],
    "/": ["x"],
}


def sample_of(model: Any) -> dict[str, Any]:
    """A body that fits or nearly fits: the one above, else made from the fields."""
    if model.__name__ in SAMPLES:
        return SAMPLES[model.__name__]
    return {name: _something(info) for name, info in model.model_fields.items()}


def _something(info: Any) -> Any:
    if not info.is_required():
        return to_jsonable_python(info.get_default(call_default_factory=True))
    choices = get_args(info.annotation) if get_origin(info.annotation) is Literal else ()
    plain = {str: "x", int: 1, float: 1.0, bool: True}
    kind = get_origin(info.annotation) or info.annotation
    return choices[0] if choices else plain.get(kind, ["x"] if kind is list else {})


def lacks_a_model(answer: Any) -> bool:
    """What needs a language model says so where there is none, and what to do about it."""
    told = answer.json or {} if answer.is_json else {}
    return answer.status_code == 503 and told.get("code") == "no_model" and bool(told.get("suggestion"))


def check(answer: Any, route: Any, what: Any) -> None:
    """Not our fault, and told in the documented shape."""
    place = f"{name_of(route)} with {str(what)[:80]!r}"
    late = answer.status_code == 504 and answer.json["code"] == "still_working"  # no worker runs here
    assert answer.status_code < 500 or late or route.path == "/api/v1/ready" or lacks_a_model(answer), place
    assert "Traceback" not in answer.text, place
    if answer.status_code < 400 or route.page:
        return
    body = answer.json
    assert answer.mimetype == "application/json", place
    assert isinstance(body["detail"], str), place
    assert body["detail"], place
    assert body["status_code"] == answer.status_code, place
    assert isinstance(body["code"], str), place
    assert body["request_id"] == answer.headers["X-Request-ID"], place
    for error in body.get("errors") or ():
        assert set(error) == {"loc", "msg", "type"}, place
        assert isinstance(error["loc"], list), place
    if answer.status_code == 429:
        assert answer.headers["Retry-After"].isdigit(), place


def client_of(site: Site) -> Any:
    """An administrator's program: most doors open, so that the rubbish comes as far as it can."""
    site.logout(site.cast.root)  # a rubbish request to /logout/ is one too
    if not hasattr(site, "task"):
        site.task = site.lab.start(site.cast.root, kind="test.crawl")  # type: ignore[attr-defined]
    return site.program(site.cast.root)


def path_of(site: Site, route: Any) -> str:
    client_of(site)
    return filled(route.path, task_id=site.task)  # type: ignore[attr-defined]


# -- bodies ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("route", WITH_BODY, ids=name_of)
def test_rubbish_bodies(calm: Site, route: Any) -> None:
    client, path = client_of(calm), path_of(calm, route)
    for name, raw in share(list(RAW.items()), name_of(route), 3):
        answer = client.open(path, method=route.method, data=raw, content_type="application/json")
        check(answer, route, name)
        if name not in MAY_PASS:
            assert answer.status_code in (400, 413, 422), name
    for kind in (
        "text/plain",
        "application/xml",
        "multipart/form-data; boundary=x",
        "application/x-www-form-urlencoded",
    ):
        answer = client.open(path, method=route.method, data=b'{"title": "x"}', content_type=kind)
        check(answer, route, kind)
        assert answer.status_code == 415, kind


def test_the_codes_of_what_is_no_json(calm: Site) -> None:
    client = client_of(calm)
    told = {}
    for name, raw in RAW.items():
        answer = client.post("/api/v1/utils/ai-tasks/", data=raw, content_type="application/json")
        told[name] = (answer.status_code, answer.json["code"])
    assert told.pop("too large") == (413, "too_large")
    assert told.pop("pretends to be an upload") == (400, "invalid")
    assert told.pop("utf-16") == (400, "invalid")  # a task without a type; JSON knows three encodings
    assert set(told.values()) == {(400, "bad_json")}, told


@pytest.mark.parametrize("route", WITH_BODY, ids=name_of)
def test_rubbish_in_each_field(calm_both: Site, route: Any) -> None:
    client, path = client_of(calm_both), path_of(calm_both, route)
    sample = sample_of(route.body)
    assert set(sample) == set(route.body.model_fields), "the sample names every field"
    for field in sample:
        for value in share(VALUES, name_of(route) + field, 3):
            raw = json.dumps({**sample, field: value}, allow_nan=False)
            check(
                client.open(path, method=route.method, data=raw, content_type="application/json"), route, {field: value}
            )
        # A surrogate that json.dumps would never make.
        check(
            client.open(path, method=route.method, data=json.dumps({**sample, field: "\ud800"}).encode(),
                        content_type="application/json"), route, "surrogate")  # fmt: skip


CONFIG: list[dict[str, Any]] = [
    *({"content": value} for value in VALUES),
    *({"content": "Words.", "max_length": value} for value in VALUES),
    *({"urls": value} for value in VALUES),
    *({"urls": [value]} for value in VALUES),
    *({"upload_ids": value} for value in VALUES),
    *({"upload_ids": [value]} for value in VALUES),
    {"urls": ["http://[::1"]}, {"urls": ["http://\ud800.example/"]}, {"urls": ["https://" + "a" * 5000]}, {"urls": ["//x"]},
    {"upload_ids": ["\ud800"]}, {"urls": ["https://example.org/"] * 21}, {"unknown": 1}, {},
]  # fmt: skip


def test_rubbish_configurations_of_a_summary(calm_both: Site) -> None:
    client = client_of(calm_both)
    [route] = [r for r in WITH_BODY if name_of(r) == "POST /api/v1/utils/ai-tasks/"]
    for config in CONFIG:
        raw = json.dumps({"task_type": "summary", "task_config": config}).encode()
        answer = client.post(route.path, data=raw, content_type="application/json")
        check(answer, route, config)
        assert answer.status_code in (201, 400, 404), config


def test_an_error_of_the_eceee_dialect_lists_the_fields(calm: Site) -> None:
    client = client_of(calm)
    answer = client.post("/api/v1/utils/ai-tasks/", json={"task_type": "test.script", "task_config": {"script": 3}})
    assert answer.status_code == 400
    assert answer.json["task_config"] == ["script: Input should be a valid string"]
    answer = client.post("/api/v1/utils/ai-tasks/", json={"title": "x" * 301, "priority": "soon"})
    assert answer.status_code == 400, "that system knows no 422"
    assert set(answer.json) >= {"title", "priority", "task_type"}
    assert all(isinstance(answer.json[name], list) for name in ("title", "priority", "task_type"))


def test_a_field_may_not_take_the_place_of_a_member(calm: Site) -> None:
    """A field error called `request_id` or `suggestion` must not change the documented members."""
    client = client_of(calm)
    for name in ("request_id", "suggestion", "error", "detail", "status_code", "code", "errors"):
        answer = client.post("/api/v1/utils/ai-tasks/", json={"task_type": "test.script", "task_config": {name: [1]}})
        assert answer.status_code == 400
        assert answer.json["request_id"] == answer.headers["X-Request-ID"]
        assert isinstance(answer.json.get("suggestion", ""), str)
        assert answer.json["status_code"] == 400


# -- queries, paths, headers, forms ----------------------------------------------------------------------------------


@pytest.mark.parametrize("route", WITH_QUERY, ids=name_of)
def test_rubbish_queries(calm_both: Site, route: Any) -> None:
    client, path = client_of(calm_both), path_of(calm_both, route)
    for field in [*route.query.model_fields, "unknown"]:
        for text in share(TEXTS, name_of(route) + field, 3):
            check(client.get(path, query_string={field: text}), route, (field, text))
        check(client.get(f"{path}?{field}=%ff&{field}=%ED%A0%80&{field}"), route, field)
        check(client.get(path, query_string={field: ["1", "2", "x"]}), route, "repeated")


@pytest.mark.parametrize("route", WITH_QUERY, ids=name_of)
def test_numbers_stay_within_their_bounds(calm: Site, route: Any) -> None:
    """Paging: the page size has a top, no number goes below its bottom."""
    client, path = client_of(calm), path_of(calm, route)
    fields = route.query.model_fields.items()
    numbers = {name: info for name, info in fields if info.annotation is int}
    needed = {name: "word" for name, info in fields if info.is_required()}
    for name, info in numbers.items():
        bounds = {type(rule).__name__: rule for rule in info.metadata}
        assert {"Ge", "Le"} <= set(bounds), f"{name} has no bounds"
        low, high = bounds["Ge"].ge, bounds["Le"].le
        for outside in (low - 1, high + 1, 10**30):
            assert client.get(path, query_string={**needed, name: outside}).status_code in (400, 422), (name, outside)
        for inside in (low, high):
            assert client.get(path, query_string={**needed, name: inside}).status_code in (200, 404), (name, inside)
        if name in ("limit", "page_size"):
            assert high <= 2000


@pytest.mark.parametrize("path", PAGE_ARGS)
def test_rubbish_arguments_of_pages(calm_both: Site, path: str) -> None:
    client = client_of(calm_both)
    [route] = [r for r in HTTP if r.path == path and r.method == "GET"]
    extra = [f"task:{'x' * 5}@row@{text}" for text in TEXTS] if path == "/live/stream" else []
    for name in PAGE_ARGS[path]:
        for text in TEXTS + extra:
            answer = client.get(path, query_string={name: text}, buffered=False)
            place = f"{path}?{name}={text[:60]!r}"
            assert answer.status_code in (200, 302, 400, 422), place
            if route.auth == "events:read" and answer.status_code == 200:
                next(answer.iter_encoded())
            answer.close()


@pytest.mark.parametrize("route", WITH_ID, ids=name_of)
def test_ids_that_are_none(calm_both: Site, route: Any) -> None:
    import re

    client = client_of(calm_both)
    sample = sample_of(route.body) if route.body else None
    for text in PATHS:
        path = re.sub(r"<(\w+_id)>", text, route.path).replace("<fmt>", "md")
        sent: dict[str, Any] = {"json": sample} if sample else {}
        if route.form is not None and not route.page:
            sent = {"data": {"files": (io.BytesIO(b"x"), "x.txt")}, "content_type": "multipart/form-data"}
        answer = client.open(path, method=route.method, **sent)
        check(answer, route, text)
        # A form's page may say it on the page it leads back to.
        without = {401, 404} if route.path in SIGNED else {404}
        assert answer.status_code in {400, *without} | ({303} if route.page and route.method == "POST" else set()), (
            path[:80]
        )


SIGNED = {"/api/v1/integration/hooks/<hook_id>/receive"}  # without a signature it does not say what is there
HEADERS = [
    *({"Last-Event-ID": value} for value in ("²", "-1", "9" * 5000, "x", "9" * 18, " 1", "1e3", "0x1")),
    *({"Idempotency-Key": value} for value in ("²", "x" * 201, " ", "a b", "'--")),
    *({"X-Request-ID": value} for value in ("²", "x" * 5000, "<b>", "a b")),
    *({"Accept": value} for value in ("²", "text/html;q=x", "*/*;q=2", "," * 100)),
    *({"Content-Type": value} for value in ("²", "application/json; charset=nonsense", ";", "multipart/form-data")),
    {"HX-Request": "true"}, {"If-None-Match": "²"}, {"Range": "bytes=9-1"}, {"Cookie": "brainstem_session=²; a=\x80"},
    {"X-API-Key": "²"}, {"X-HTTP-Method-Override": "DELETE"}, {"Content-Length": "x"},
]  # fmt: skip


@pytest.mark.parametrize("route", [r for r in HTTP if r.method in ("GET", "POST")], ids=name_of)
def test_rubbish_headers(calm: Site, route: Any) -> None:
    client, path = client_of(calm), path_of(calm, route)
    sample = sample_of(route.body) if route.body else None
    for headers in share(HEADERS, name_of(route), 6):
        given: dict[str, Any] = {"json": sample} if sample and "Content-Type" not in headers else {}
        answer = client.open(path, method=route.method, headers=headers, buffered=False, **given)
        place = f"{name_of(route)} with {str(headers)[:80]}"
        assert answer.status_code < 500 or path == "/api/v1/ready" or lacks_a_model(answer), place
        answer.close()


@pytest.mark.parametrize("route", PAGE_FORMS, ids=name_of)
def test_rubbish_forms(calm_both: Site, route: Any) -> None:
    client, path = client_of(calm_both), path_of(calm_both, route)
    for field in route.form.model_fields:
        for text in share(TEXTS, name_of(route) + field, 4):
            rest = {"content": "Words.", "username": "x", "password": "x", "action": "cancel", "name": "x"}
            answer = client.post(path, data={**rest, field: text})
            assert answer.status_code < 500, (path, field, text[:40])
        answer = client.post(path, data={field: (io.BytesIO(b"x"), "x.txt")}, content_type="multipart/form-data")
        assert answer.status_code < 500, (path, field, "a file")


def test_forms_of_many_parts_and_broken_ones(calm: Site) -> None:
    client = client_of(calm)
    for path in ("/api/v1/files/", "/tasks"):
        many = {f"f{number}": "x" for number in range(1000)}
        assert client.post(path, data=many, content_type="multipart/form-data").status_code == 413
        for raw, kind in (
            (b"--x\r\n", "multipart/form-data; boundary=x"),
            (
                b'--x\r\nContent-Disposition: form-data; name="file"; filename="a.txt"\r\n\r\nhalf',
                "multipart/form-data; boundary=x",
            ),
            (b"rubbish", "multipart/form-data; boundary=" + "x" * 300),
            (b"rubbish", "multipart/form-data"),
            (b"--x\r\n" + b"A: b\r\n" * 5000 + b"\r\n\r\n--x--", "multipart/form-data; boundary=x"),
        ):
            answer = client.post(path, data=raw, content_type=kind)
            assert answer.status_code in (400, 413, 415, 422), (path, raw[:40], answer.status_code)


def test_a_json_that_pretends_to_be_an_upload_reads_no_file(calm: Site) -> None:
    """A24: file objects come from the multipart parser only."""
    client = client_of(calm)
    body = {"file": {"filepath": "/etc/passwd", "filename": "a.txt", "stream": "/etc/passwd"}}
    before = calm.lab.count("uploads")
    assert client.post("/api/v1/files/", json=body).status_code == 415
    assert client.post("/api/v1/files/", data={"file": "/etc/passwd"}).status_code in (400, 422)
    assert client.post("/tasks", data={"file": "/etc/passwd", "source": "file"}).status_code == 422
    assert calm.lab.count("uploads") == before


# -- errors of the frame ---------------------------------------------------------------------------------------------


def test_unknown_addresses_and_methods(calm: Site) -> None:
    client = client_of(calm)
    missing = client.get("/api/v1/nothing")
    assert (missing.status_code, missing.json["code"]) == (404, "not_found")
    wrong = client.delete("/api/v1/health")
    assert (wrong.status_code, wrong.json["code"]) == (405, "method_not_allowed")
    assert "GET" in wrong.headers["Allow"]
    page = client.get("/nothing", headers={"Accept": "text/html"})
    assert page.status_code == 404
    assert page.mimetype == "text/html"
    assert "request_id" not in page.text
    for method in ("TRACE", "PROPFIND", "HACK"):
        assert client.open("/", method=method).status_code == 405


@pytest.mark.parametrize("route", [r for r in HTTP if not r.page], ids=name_of)
def test_the_wrong_slash_is_another_address(calm: Site, route: Any) -> None:
    path = path_of(calm, route)
    other = path.rstrip("/") if path.endswith("/") else path + "/"
    answer = client_of(calm).open(other, method=route.method)
    assert answer.status_code in (308, 404, 405), "never a second handler by accident"


def test_a_bug_of_ours_tells_nothing_about_the_inside(calm: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    from webapp.tasks import service

    def broken(*args: Any, **kwargs: Any) -> None:
        raise RuntimeError("secret inside /srv/private")

    monkeypatch.setattr(service, "get", broken)
    calm.app.testing = False
    try:
        client = client_of(calm)
        for path, headers in (
            ("/api/v1/utils/ai-tasks/x/", {}),
            ("/tasks/x", {}),
            ("/tasks/x", {"HX-Request": "true"}),
        ):
            answer = client.get(path, headers=headers)
            assert answer.status_code == 500
            assert "secret" not in answer.text
            assert "RuntimeError" not in answer.text
        assert client.get("/api/v1/utils/ai-tasks/x/").json["request_id"]
    finally:
        calm.app.testing = True


@pytest.mark.parametrize(("error", "status", "code"), [
    ("OperationalError", 503, "unavailable"), ("InterfaceError", 503, "unavailable"), ("DataError", 400, "bad_request"),
    ("disk", 507, "storage_full"), ("pool", 503, "unavailable")])  # fmt: skip
def test_a_database_in_trouble(calm: Site, monkeypatch: pytest.MonkeyPatch, error: str, status: int, code: str) -> None:
    from sqlalchemy import exc

    from webapp.tasks import service

    def broken(*args: Any, **kwargs: Any) -> None:
        if error == "pool":
            raise exc.TimeoutError("QueuePool limit")
        if error == "disk":
            raise exc.OperationalError("INSERT", {}, Exception("database or disk is full"))
        raise getattr(exc, error)("SELECT secret", {}, Exception("connection refused"))

    monkeypatch.setattr(service, "get", broken)
    answer = client_of(calm).get("/api/v1/utils/ai-tasks/x/")
    assert (answer.status_code, answer.json["code"]) == (status, code)
    assert "SELECT" not in answer.text
    if status == 503:
        assert answer.headers["Retry-After"].isdigit()
