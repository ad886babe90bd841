"""One handler, three shapes: JSON for programs, a page for people, a toast for htmx."""

from __future__ import annotations

import json

import pytest

from tests.fakes.site import Site


@pytest.mark.parametrize(
    ("path", "accept", "kind"),
    [
        ("/api/v1/nothing", "text/html", "application/json"),
        ("/nothing", "text/html", "text/html"),
        ("/nothing", "*/*", "text/html"),
        ("/nothing", "application/json", "application/json"),
        ("/live/nothing", "text/html", "application/json"),
    ],
)
def test_who_gets_what(site: Site, path: str, accept: str, kind: str) -> None:
    answer = site.program(site.cast.alice).get(path, headers={"Accept": accept})
    assert (answer.status_code, answer.mimetype) == (404, kind)


def test_a_page_of_an_error_helps_on(site: Site) -> None:
    answer = site.browser(site.cast.alice).get("/tasks/nothing", headers={"X-Request-ID": "find-me-in-the-log"})
    assert answer.status_code == 404
    assert "There is no such task" in answer.text or "there is no such task" in answer.text
    assert "find-me-in-the-log" in answer.text


def test_htmx_gets_a_toast_and_no_page(site: Site) -> None:
    answer = site.browser(site.cast.alice).get("/tasks/nothing", headers={"HX-Request": "true"})
    assert (answer.status_code, answer.data) == (404, b"")
    assert json.loads(answer.headers["HX-Trigger"])["toast"] == {"message": "there is no such task", "kind": "error"}


def test_a_toast_of_any_text_is_a_header(site: Site) -> None:
    answer = site.browser(site.cast.alice).get("/tasks?status=日本%0A", headers={"HX-Request": "true"})
    assert answer.status_code == 400
    assert answer.headers["HX-Trigger"].isascii()
    assert "\n" not in answer.headers["HX-Trigger"]


def test_answers_carry_the_headers_that_protect(site: Site) -> None:
    for path in ("/", "/login", "/nothing", "/api/v1/health", "/api/v1/nothing", "/static/app.css"):
        answer = site.client.get(path)
        assert answer.headers["X-Content-Type-Options"] == "nosniff", path
        assert "default-src 'self'" in answer.headers["Content-Security-Policy"], path
        assert answer.headers["X-Frame-Options"] == "DENY", path
        assert answer.headers["X-Request-ID"], path
        answer.close()


@pytest.mark.parametrize("given", ["x", "a b", "<script>", "x" * 65, "é" * 10, "a;b"])
def test_a_request_id_that_is_none_is_replaced(site: Site, given: str) -> None:
    answer = site.client.get("/api/v1/health", headers={"X-Request-ID": given.encode("utf-8").decode("latin-1")})
    assert answer.headers["X-Request-ID"] != given
    assert len(answer.headers["X-Request-ID"]) == 32


@pytest.mark.parametrize(
    "path",
    ["//evil.example/x", "/%2e%2e/etc/passwd", "/static/../../etc/passwd", "/static/%2e%2e/%2e%2e/wsgi.py", "/\\evil"],
)
def test_odd_paths_lead_nowhere(site: Site, path: str) -> None:
    """A47."""
    answer = site.client.get(path)
    assert answer.status_code in (400, 404), path
    assert "Location" not in answer.headers


def test_a_method_override_is_ignored(site: Site) -> None:
    task_id = site.lab.start(site.cast.alice)
    site.lab.run()
    client = site.program(site.cast.alice)
    client.get(f"/api/v1/utils/ai-tasks/{task_id}/", headers={"X-HTTP-Method-Override": "DELETE"})
    client.get(f"/api/v1/utils/ai-tasks/{task_id}/", query_string={"_method": "DELETE"})
    assert site.lab.status(task_id) == "completed"
