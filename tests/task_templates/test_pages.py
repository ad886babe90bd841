"""The pages of templates, as a browser without a script uses them."""

from __future__ import annotations

import io
import json
import re
from typing import Any

import pytest

from tests.fakes.site import Site
from webapp.task_templates import service
from webapp.task_templates.service import Given


def make(site: Site, **said: Any) -> Any:
    with site.lab.as_(site.cast.alice) as ctx:
        return service.create(ctx, Given(**{"name": "Minutes", "task_type": "test.script", **said}))


@pytest.fixture
def alice(site: Site) -> Any:
    return Browser(site)


class Browser:
    def __init__(self, site: Site) -> None:
        self.client = site.browser(site.cast.alice)

    def get(self, path: str) -> str:
        answer = self.client.get(path)
        assert answer.status_code == 200, path
        return str(answer.text)

    def post(self, page: str, action: str, **fields: Any) -> Any:
        """Send a form that stands on `page`."""
        html = self.get(page)
        assert f'action="{action}"' in html or f'formaction="{action}"' in html, f"{page} has no form to {action}"
        token = re.findall(r'name="csrf_token" value="([^"]+)"', html)[0]
        kind = "multipart/form-data" if "file" in fields else "application/x-www-form-urlencoded"
        return self.client.post(action, data={"csrf_token": token, **fields}, content_type=kind)


def test_all_templates_with_what_can_be_done(site: Site, alice: Browser) -> None:
    whole, open_ = make(site), make(site, name="<b>Open</b>", task_type="summary", default_config={"max_length": 50})
    html = alice.get("/templates")
    assert "&lt;b&gt;Open&lt;/b&gt;" in html
    assert f'action="/templates/{whole.id}/start"' in html, "nothing is missing: one click"
    assert f'href="/tasks/new?template={open_.id}"' in html, "a text is missing: its form"
    assert "The gist of a page" in html
    mine = alice.get("/templates?whose=mine")
    assert "The gist of a page" not in mine
    assert "Minutes" in alice.get("/templates?q=minu&kind=test.script")
    assert "No template fits" in alice.get("/templates?q=nothing+like+this")


def test_one_click_starts_and_counts(site: Site, alice: Browser) -> None:
    row = make(site, default_config={"value": 3})
    answer = alice.post("/templates", f"/templates/{row.id}/start")
    task_id = answer.location.rpartition("/")[2]
    assert site.lab.row(task_id).params["value"] == 3
    assert "used 1 time" in alice.get("/templates")


def test_what_is_missing_is_asked_for_in_the_form(site: Site, alice: Browser) -> None:
    row = make(site, name="Short", task_type="summary", default_config={"max_length": 50},
               config_schema={"properties": {"max_length": {"maximum": 60}}})  # fmt: skip
    form = f"/tasks/new?template={row.id}"
    html = alice.get(form)
    assert 'value="50"' in html
    assert "Begins with the template" in html
    wrong = alice.post(
        form, "/tasks", kind="summary", template=row.id, content="Some words. More words.", max_length="200"
    )
    assert wrong.status_code == 422
    assert "200 is greater than the maximum of 60" in wrong.text
    assert f'value="{row.id}"' in wrong.text, "the form still knows its template"
    good = alice.post(
        form, "/tasks", kind="summary", template=row.id, content="Some words. More words.", max_length="40"
    )
    task = site.lab.row(good.location.rpartition("/")[2])
    assert (task.params["max_length"], task.title) == (40, "Some words. More words.")
    with site.lab.as_(site.cast.alice) as ctx:
        assert service.get(ctx, row.id).usage_count == 1


def test_a_default_that_was_emptied_stays_empty(site: Site, alice: Browser) -> None:
    row = make(site, task_type="summary", default_config={"urls": ["https://example.org/a"], "max_length": 50})
    form = f"/tasks/new?template={row.id}"
    answer = alice.post(
        form, "/tasks", kind="summary", template=row.id, urls="", content="Words here.", max_length="50"
    )
    assert "urls" not in site.lab.row(answer.location.rpartition("/")[2]).params


def test_the_form_of_another_kind_forgets_the_template(site: Site, alice: Browser) -> None:
    row = make(site, task_type="summary", default_config={"max_length": 50})
    form = f"/tasks/new?template={row.id}"
    html = alice.post(form, "/tasks/form", kind="summary", template=row.id, to="nlp", do="draw").text
    assert 'name="template"' not in html


def test_a_new_one_and_its_mistakes(site: Site, alice: Browser) -> None:
    new = {"name": "Mine", "task_type": "summary", "default_config": '{"max_length": 80}', "is_active": "true"}
    wrong = alice.post("/templates/new", "/templates", **{**new, "default_config": '{"max_length": 80'})
    assert wrong.status_code == 422
    assert "This is no JSON" in wrong.text
    wrong = alice.post("/templates/new", "/templates", **{**new, "default_config": '{"max_length": 8}'})
    assert "max_length: " in wrong.text.lower()
    wrong = alice.post("/templates/new", "/templates", **{**new, "config_schema": '{"type": "objekt"}'})
    assert wrong.status_code == 422
    made = alice.post("/templates/new", "/templates", **new)
    shown = alice.get(made.location)
    assert "Mine" in shown
    changed = alice.post(f"{made.location}/edit", made.location, **{**new, "name": "Better", "is_active": ""})
    assert "This template is switched off" in alice.get(changed.location)
    gone = alice.post(made.location, f"{made.location}/delete")
    assert gone.location == "/templates"
    assert alice.client.get(made.location).status_code == 404


def test_those_of_the_program_are_copied_first(site: Site, alice: Browser) -> None:
    with site.lab.as_(site.cast.alice) as ctx:
        shipped = next(row for row in service.popular(ctx, 100) if row.is_shipped)
    page = f"/templates/{shipped.id}"
    assert alice.client.get(f"{page}/edit").status_code == 403
    assert f'action="{page}/delete"' not in alice.get(page)
    copied = alice.post(page, f"{page}/copy")
    assert "(copy)" in alice.get(copied.location)


def test_from_a_form_and_from_a_task(site: Site, alice: Browser) -> None:
    draft = alice.post("/tasks/new?kind=summary", "/templates/draft", kind="summary", title="Weekly", max_length="90",
                       content="", urls="https://example.org/news")  # fmt: skip
    assert "&#34;max_length&#34;: 90" in draft.text
    assert 'value="Weekly"' in draft.text
    task_id = site.lab.start(site.cast.alice, value=4, title="Fours")
    assert alice.client.get(f"/templates/new?task={task_id}").status_code == 409
    site.lab.run()
    html = alice.get(f"/templates/new?task={task_id}")
    assert 'value="Fours"' in html
    assert "&#34;value&#34;: 4" in html
    assert f"/templates/new?task={task_id}" in alice.get(f"/tasks/{task_id}")


def test_out_and_in(site: Site, alice: Browser) -> None:
    make(site, default_config={"value": 3})
    answer = alice.client.get("/templates/export")
    assert "attachment" in answer.headers["Content-Disposition"]
    document = json.loads(answer.text)
    assert [one["name"] for one in document["templates"]] == ["Minutes"]
    document["templates"].append({"name": "Other", "task_type": "test.script"})
    document["templates"].append({"name": "Bad", "task_type": "nothing"})
    given = (io.BytesIO(json.dumps(document).encode()), "templates.json")
    back = alice.post("/templates", "/templates/import", file=given)
    html = alice.get(back.location)
    assert "1 template imported. 1 you had already." in html
    assert "Bad: there is no task kind" in html
    for bad in (b"\xff\xfe", b"{", b'{"a": NaN}', b"[" * 100_000, b"[]"):
        answer = alice.post("/templates", "/templates/import", file=(io.BytesIO(bad), "a.json"))
        assert answer.status_code == 422


def test_credentials_are_sealed_and_never_exported(site: Site, alice: Browser) -> None:
    """As in a task: what is stored opens for its owner only."""
    config = {"url": "https://api.example.org/", "headers": {"Authorization": "Bearer {{ secrets.token }}", "X-Api-Key": "k-12345"},
              "secrets": {"token": "s3cr3t-of-alice"}}  # fmt: skip
    row = make(site, task_type="api", default_config=config)
    steps = [{"type": "task", "kind": "api", "params": config}]
    nested = make(site, task_type="custom", default_config={"steps": steps})
    stored = json.dumps([row.default_config, nested.default_config])
    shown = alice.get(f"/templates/{row.id}") + alice.get(f"/templates/{nested.id}") + alice.get("/templates/export")
    for secret in ("s3cr3t-of-alice", "k-12345"):
        assert secret not in stored
        assert secret not in shown
    assert "sealed:" in stored
    assert "sealed:" not in alice.get("/templates/export")
    checked = alice.client.post("/api/v1/utils/validate-task-config/", headers={"Sec-Fetch-Site": "same-origin"},
                                json={"task_type": "api", "task_config": config})  # fmt: skip
    assert "s3cr3t" not in checked.text
    with site.lab.as_(site.cast.alice) as ctx:
        values = service.start(ctx, row.id)
    assert "s3cr3t" not in json.dumps(values["params"])
