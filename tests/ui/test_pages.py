"""Home, palette, menu, the page of components, and smaller answers."""

from __future__ import annotations

import gzip
import re
from typing import Any

import pytest

from tests.conftest import make_cast
from tests.fakes.lab import Lab, QueryCounter
from webapp.areas import NAV
from webapp.web.api import ROUTES

BASE = "http://127.0.0.1:8000"


@pytest.fixture
def world(app: Any) -> Any:
    rt = app.extensions["runtime"]
    return app.test_client(), Lab(rt), make_cast(rt), rt


def get(client: Any, path: str, cast: Any, who: Any, **headers: str) -> Any:
    return client.get(path, headers={**cast.key(who), **headers}, base_url=BASE)


def test_the_palette_finds_only_ones_own_tasks(world: Any) -> None:
    client, lab, cast, _ = world
    lab.start(cast.alice, title="Harbour fees")
    lab.start(cast.bob, title="Harbour of bob")
    lab.start(cast.alice, title="Something else")
    found = get(client, "/palette?q=harbour", cast, cast.alice).get_json()["items"]
    assert [item["title"] for item in found] == ["Harbour fees"]
    assert len(get(client, "/palette", cast, cast.alice).get_json()["items"]) == 2
    assert get(client, "/palette?q=harbour", cast, cast.charlie).get_json()["items"] == []
    assert client.get("/palette", base_url=BASE, headers={"Accept": "application/json"}).status_code == 401


def test_the_palette_is_limited(world: Any) -> None:
    client, _, cast, _ = world
    headers = cast.key(cast.alice)
    codes = {client.get("/palette", headers=headers, base_url=BASE).status_code for _ in range(245)}
    assert 429 in codes


def test_home_takes_few_questions_however_long_the_lists(world: Any) -> None:
    client, lab, cast, rt = world
    headers = cast.key(cast.alice)

    def asked() -> int:
        with QueryCounter(rt) as counter:
            assert client.get("/", headers=headers, base_url=BASE).status_code == 200
        return sum("FROM tasks" in statement for statement in counter.statements)

    lab.start(cast.alice)
    few = asked()
    for _ in range(12):
        lab.start(cast.alice)
    assert asked() == few <= 3


def test_a_failure_asks_until_it_was_looked_at(world: Any) -> None:
    client, lab, cast, rt = world
    from tests.fakes.kinds import scripts
    from webapp.core.errors import Invalid

    def fail(_run: Any) -> None:
        raise Invalid("no such luck")

    scripts["fail"] = fail
    task_id = lab.start(cast.alice, "fail", title="The unlucky one")
    lab.run_all()
    assert lab.status(task_id) == "failed"
    headers = cast.key(cast.alice)

    def asking() -> bool:
        page = client.get("/", headers=headers, base_url=BASE).get_data(as_text=True)
        assert "The unlucky one" in page
        return 'id="needs-title"' in page

    assert asking()
    assert client.get(f"/tasks/{task_id}", headers=headers, base_url=BASE).status_code == 200
    assert not asking()


def test_the_menu_shows_what_exists_and_is_allowed(world: Any) -> None:
    client, _, cast, _ = world
    have = {route.endpoint for route in ROUTES}
    for who, scopes in ((cast.alice, ["tasks:read"]), (cast.root, ["tasks:read", "admin"])):
        page = client.get("/", headers=cast.key(who, scopes), base_url=BASE).get_data(as_text=True)
        shown = set(re.findall(r'data-icon="[^"]+">.*?<span>([^<]+)</span>', page))
        wanted = {item.label for _, items in NAV for item in items
                  if item.endpoint in have and item.label != "Components" and (who is cast.root or not item.admin)}  # fmt: skip
        assert shown == wanted


def test_components_show_only_while_debugging(world: Any, make_rt: Any) -> None:
    from webapp.app import create_app

    client, _, cast, _ = world
    assert get(client, "/ui", cast, cast.root).status_code == 404
    app = create_app(make_rt(DEBUG="1"))
    page = app.test_client().get("/ui", base_url=BASE)
    app.extensions["hub"].stop(0.2)
    assert page.status_code == 200
    assert 'style="' not in page.get_data(as_text=True)


def test_pages_and_static_files_go_out_small(world: Any) -> None:
    client, _, cast, _ = world
    plain = get(client, "/", cast, cast.alice)
    packed = get(client, "/", cast, cast.alice, **{"Accept-Encoding": "gzip"})
    assert "Content-Encoding" not in plain.headers
    assert packed.headers["Content-Encoding"] == "gzip"
    assert "Accept-Encoding" in packed.headers["Vary"]
    assert b"<!doctype html>" in gzip.decompress(packed.data)
    lengths = {len(get(client, "/", cast, cast.alice, **{"Accept-Encoding": "gzip"}).data) for _ in range(12)}
    assert len(lengths) > 1, "the length tells what is inside"
    css = client.get("/static/app.css", headers={"Accept-Encoding": "gzip"}, base_url=BASE)
    assert gzip.decompress(css.data) == client.get("/static/app.css", base_url=BASE).data
    again = client.get(
        "/static/app.css", headers={"Accept-Encoding": "gzip", "If-None-Match": css.headers["ETag"]}, base_url=BASE
    )
    assert again.status_code == 304


def test_everything_static_stays_light() -> None:
    from tests.conftest import ROOT

    names = [
        "app.css",
        "app.js",
        "live.js",
        "vendor/htmx.org-2.0.11/htmx.min.js",
        "vendor/idiomorph-0.8.0/idiomorph.min.js",
    ]
    assert sum(len(gzip.compress((ROOT / "static" / name).read_bytes(), 9)) for name in names) <= 70_000
