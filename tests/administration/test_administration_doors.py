"""People, quotas, retention and settings by page, API and command line."""

from __future__ import annotations

import html
import json
import re
from typing import Any

import pytest
from click.testing import CliRunner

from tests.administration.conftest import Office
from tests.fakes.site import Site
from webapp.cli import main
from webapp.core import quotas
from webapp.core.audit import AuditEntry
from webapp.identity.models import User


class Browser:
    def __init__(self, site: Site, who: Any) -> None:
        self.client = site.browser(who)
        page = self.client.get("/profile").get_data(as_text=True)
        found = re.search(r'name="csrf-token" content="([^"]+)"', page)
        assert found is not None
        self.token = found.group(1)

    def get(self, path: str) -> str:
        answer = self.client.get(path)
        assert answer.status_code == 200, (path, answer.status_code)
        return html.unescape(answer.get_data(as_text=True))

    def post(self, path: str, **form: str) -> tuple[int, str]:
        """What is shown after it, redirects followed."""
        answer = self.client.post(path, data={"csrf_token": self.token, **form}, follow_redirects=True)
        return answer.status_code, html.unescape(answer.get_data(as_text=True))


@pytest.fixture
def root(site: Site) -> Browser:
    return Browser(site, site.cast.root)


def audited(site: Site) -> list[str]:
    with site.rt.unit(write=False) as db:
        return [row.action for row in db.query(AuditEntry).order_by(AuditEntry.id)]


def fresh(site: Site) -> None:
    quotas.forget(site.rt)
    site.rt.kept("stored settings", dict).clear()


# -- pages: people ---------------------------------------------------------------------------------------------------


def test_the_list_of_people_its_filters_and_its_place_in_the_menu(site: Site, root: Browser) -> None:
    page = root.get("/admin/users/")
    assert all(name in page for name in ("alice", "bob", "charlie", "root"))
    assert 'href="/admin/users/"' in page.split('aria-label="Main"')[1]
    assert "charlie" not in root.get("/admin/users/?q=ALI").split("</form>", 2)[2]
    assert "Nobody matches" in root.get("/admin/users/?q=zeppelin")
    assert "bob" not in root.get("/admin/users/?role=admin").split('aria-label="Accounts"')[1].split("</table>")[0]
    assert root.client.get("/admin/users/?state=odd").status_code == 400
    assert root.client.get("/admin/users/?cursor=odd").status_code == 400


def test_pages_are_for_administrators(site: Site) -> None:
    alice = site.browser(site.cast.alice)
    for path in ("/admin/users/", "/admin/users/new", f"/admin/users/{site.cast.alice.id}", "/admin/settings",
                 "/admin/retention", "/admin/retention/preview", "/admin/quotas"):  # fmt: skip
        assert alice.get(path).status_code == 403, path
    assert "/admin/users/" not in alice.get("/profile").get_data(as_text=True)


def test_a_person_is_invited_by_a_link_and_comes_in(site: Site, root: Browser) -> None:
    status, page = root.post("/admin/users/new", username="dora", email="dora@example.org", role="user")
    assert status == 201
    link = re.search(r"http://localhost(/invite/[\w.-]+)", page)
    assert link is not None
    assert "shown this once" in page
    assert link.group(1) not in root.get("/admin/users/")
    guest = site.client
    door = guest.get(link.group(1)).get_data(as_text=True)
    assert "Welcome, dora" in door
    token = re.search(r'name="csrf_token" value="([^"]+)"', door)
    assert token is not None
    weak = guest.post(link.group(1), data={"csrf_token": token.group(1), "password": "dora"})
    assert (weak.status_code, "At least" in weak.text or "Use at least" in weak.text) == (422, True)
    done = guest.post(link.group(1), data={"csrf_token": token.group(1), "password": "a fine long one"})
    assert (done.status_code, done.headers["Location"]) == (303, "/")
    assert "dora" in guest.get("/profile").get_data(as_text=True)
    assert site.client.get(link.group(1)).status_code == 404, "it works once"
    assert site.client.get("/invite/nothing").status_code == 404


def test_mistakes_in_a_new_person_come_back_with_the_form(site: Site, root: Browser) -> None:
    assert root.post("/admin/users/new", username="alice")[0] == 422
    status, page = root.post("/admin/users/new", username="a b", email="nowhere", password="c4n4ry-c4n4ry")
    assert (status, "c4n4ry" in page, 'value="a b"' in page) == (422, False, True)
    assert root.post("/admin/users/new", username="eve", password="short")[0] == 422


def test_what_can_be_done_with_a_person(site: Site, root: Browser) -> None:
    bob = site.cast.bob
    site.bearer(bob)
    site.cast.key(bob)
    of = f"/admin/users/{bob.id}"
    assert "1 open" in re.sub(r"<[^>]+>", "", root.get(of))
    assert "1 session ended" in root.post(f"{of}/sessions/end")[1]
    assert "1 key revoked" in root.post(f"{of}/keys/revoke")[1]
    assert "is an administrator now" in root.post(f"{of}/role", role="admin")[1]
    assert "is an ordinary user now" in root.post(f"{of}/role", role="user")[1]
    assert "is suspended" in root.post(f"{of}/suspend")[1]
    assert "may sign in again" in root.post(f"{of}/reinstate")[1]
    assert "/invite/" in root.post(f"{of}/invite")[1]
    assert "The new password counts" in root.post(f"{of}/password", password="a fine long one")[1]
    assert "/invite/" in root.post(f"{of}/password")[1]
    assert root.post(f"{of}/password", password="short")[0] == 422
    me = f"/admin/users/{site.cast.root.id}"
    assert "for another administrator" in root.post(f"{me}/role", role="user")[1]
    assert "can be suspended" in root.post(f"{me}/suspend")[1]
    assert root.post("/admin/users/nobody/suspend")[0] == 404
    assert audited(site) == ["user.sessions", "user.keys", "user.role", "user.role", "user.suspend", "user.reinstate",
                             "user.invite", "user.password", "user.password"]  # fmt: skip


def test_a_name_that_is_script_is_shown_as_text(site: Site, root: Browser) -> None:
    with site.rt.unit() as db:
        user = db.get(User, site.cast.bob.id)
        assert user is not None
        user.email = "<script>x</script>@example.org"
    for path in ("/admin/users/", f"/admin/users/{site.cast.bob.id}"):
        assert "<script>x" not in root.client.get(path).get_data(as_text=True)


# -- pages: quotas ---------------------------------------------------------------------------------------------------


def test_a_limit_of_ones_own_by_page_and_the_meter_that_shows_it(site: Site, root: Browser) -> None:
    alice = Browser(site, site.cast.alice)
    assert "0 of 100" in re.sub(r"<[^>]+>", "", alice.get("/profile"))
    assert "Your quotas" in alice.get("/")
    assert "Your quotas" in alice.get("/tasks/new?kind=summary")
    assert "Your quotas" not in root.get("/profile"), "administrators have none"
    of = f"/admin/users/{site.cast.alice.id}/quotas"
    assert "Open tasks: 2 now" in root.post(f"{of}/open_tasks", how="own", amount="2")[1]
    assert "Stored files: 7 now" in root.post(f"{of}/stored_bytes", how="own", amount="7")[1]
    assert "no limit now" in root.post(f"{of}/tokens_per_day", how="none")[1]
    assert "Give the limit as a whole number" in root.post(f"{of}/tokens_per_day", how="own", amount="x")[1]
    assert "no quota" in root.post(f"{of}/nothing", how="own", amount="1")[1]
    site.lab.start(site.cast.alice)
    site.lab.start(site.cast.alice)
    fresh(site)
    assert "2 of 2 open tasks" in re.sub(r"\s+", " ", re.sub(r"<[^>]+>", "", alice.get("/")))
    assert "alice" in root.get("/admin/quotas").split("Individual limits")[1]
    assert "The default counts again" in root.post(f"{of}/open_tasks", how="default")[1]
    assert "has no limit" in root.post(f"{of}/open_tasks", how="default")[1]


def test_defaults_by_page(site: Site, root: Browser) -> None:
    now = {
        "quota_open_tasks": "5",
        "quota_tasks_per_day": "2000",
        "quota_stored_mb": "2048",
        "quota_tokens_per_day": "0",
    }
    assert "Saved" in root.post("/admin/quotas", **now)[1]
    with site.rt.unit(write=False) as db:
        [entry] = db.query(AuditEntry).all()
    assert entry.detail == {"quota_open_tasks": ["100", "5"], "quota_tokens_per_day": ["2000000", "0"]}
    status, page = root.post("/admin/quotas", **{**now, "quota_open_tasks": "many"})
    assert (status, "no whole number" in page) == (422, True)
    page = root.get("/admin/settings")
    assert "Changed here" in page.split('id="setting-quota_open_tasks"')[1].split("</tr>")[0]


# -- pages: retention, settings --------------------------------------------------------------------------------------


def test_retention_is_saved_after_its_author_has_seen_what_would_go(site: Site, root: Browser) -> None:
    old = site.lab.start(site.cast.alice)
    site.lab.run_all()
    site.lab.age(old, seconds=20 * 86400)
    form = {"retention_days": "10", "retention_tasks": "failed = 90\nsummary=7", "retention_conversations_days": "0",
            "retention_files_days": "30", "retention_logs_days": "0"}  # fmt: skip
    preview = root.client.get("/admin/retention/preview", query_string=form).get_data(as_text=True)
    assert "Other finished tasks" in preview
    status, page = root.post("/admin/retention", **form)
    assert (status, "This would delete 1 thing tonight" in page, "Save all the same" in page) == (200, True, True)
    assert audited(site) == []
    seen = re.search(r'name="seen" value="([^"]+)"', page)
    assert seen is not None
    assert "The next night goes by it" in root.post("/admin/retention", **form, seen=seen.group(1))[1]
    assert audited(site) == ["settings.change"]
    fresh(site)
    assert "failed=90\nsummary=7" in root.get("/admin/retention")
    assert "is no whole number" in root.client.get("/admin/retention/preview?retention_days=x").get_data(as_text=True)
    status, page = root.post("/admin/retention", **{**form, "retention_days": "x"})
    assert (status, "no whole number" in page) == (422, True)
    assert "being done now" in root.post("/admin/retention/run")[1]
    while site.lab.run("maintenance"):
        pass
    assert site.lab.sql("SELECT count(*) FROM tasks WHERE id = :id", id=old).scalar() == 0
    assert audited(site) == ["settings.change", "retention.run"]


def test_every_setting_is_on_the_page_and_no_secret(make_rt: Any) -> None:
    from tests.conftest import make_cast
    from tests.fakes.site import OPEN_LIMITS
    from webapp.settings import OPTIONS

    rt = make_rt(AUTH_REQUIRED="1", API_KEY="c4n4ry-c4n4ry-c4n4ry", BRAINSTEM_RETENTION_DAYS="9", **OPEN_LIMITS)
    site = Site(rt, make_cast(rt))
    try:
        root = Browser(site, site.cast.root)
        page = root.get("/admin/settings")
        assert "c4n4ry" not in page
        assert [one.name for one in OPTIONS if f'id="setting-{one.name}"' not in page] == []
        form = root.get("/admin/retention")
        assert "Set by the environment BRAINSTEM_RETENTION_DAYS" in form
        assert re.search(r'name="retention_days" value="9"[^>]*readonly', form)
        given = {"retention_days": "9", "retention_files_days": "8", "retention_conversations_days": "0",
                 "retention_logs_days": "0", "retention_tasks": ""}  # fmt: skip
        assert "Saved" in root.post("/admin/retention", **given)[1], "what is fixed stands in the form and stays"
    finally:
        site.close()


# -- API -------------------------------------------------------------------------------------------------------------


def test_the_refusal_names_the_quota_and_when_it_frees(site: Site, root: Browser) -> None:
    alice, admin = site.program(site.cast.alice), site.program(site.cast.root)
    made = admin.put(f"/api/v1/admin/users/{site.cast.alice.id}/quotas/open_tasks", json={"limit": 1})
    assert made.status_code == 200
    assert [one for one in made.json if one["name"] == "open_tasks"][0] | {"used": 0} == {
        "name": "open_tasks", "label": "Open tasks", "unit": "tasks", "used": 0, "limit": 1, "share": 0.0, "daily": False,
        "frees_at": None, "own": True}  # fmt: skip
    body = {"title": "t", "task_type": "summary", "task_config": {"content": "Words enough. " * 20}}
    assert alice.post("/api/v1/utils/ai-tasks/", json=body).status_code == 201
    answer = alice.post("/api/v1/utils/ai-tasks/", json=body)
    assert (answer.status_code, answer.json["code"], answer.headers["Retry-After"]) == (429, "quota_exceeded", "30")
    assert answer.json["errors"][0]["loc"] == ["quota", "open_tasks"]
    assert "open_tasks" in str(answer.json["quota"])
    assert "1 of at most 1" in answer.json["detail"]
    assert "frees when one of them ends" in answer.json["suggestion"]
    mine = {one["name"]: one for one in alice.get("/api/v1/quotas").json}
    assert (mine["open_tasks"]["used"], mine["open_tasks"]["share"]) == (1, 1.0)
    admin.put(f"/api/v1/admin/users/{site.cast.alice.id}/quotas/tokens_per_day", json={"limit": 0})
    admin.put(f"/api/v1/admin/users/{site.cast.alice.id}/quotas/stored_bytes", json={"limit": 3})
    import io

    given = {"file": (io.BytesIO(b"four"), "a.txt")}
    answer = alice.post("/api/v1/files/", data=given, content_type="multipart/form-data")
    assert (answer.status_code, answer.json["code"]) == (429, "quota_exceeded")
    cleared = admin.delete(f"/api/v1/admin/users/{site.cast.alice.id}/quotas/open_tasks")
    assert [one["limit"] for one in cleared.json if one["name"] == "open_tasks"] == [100]
    assert alice.post("/api/v1/utils/ai-tasks/", json=body).status_code == 201
    assert [one["name"] for one in admin.get("/api/v1/admin/quotas").json] == ["stored_bytes", "tokens_per_day"]
    for name, body, status in (
        ("nothing", {"limit": 1}, 400),
        ("open_tasks", {"limit": -1}, 422),
        ("open_tasks", {}, 422),
    ):
        path = f"/api/v1/admin/users/{site.cast.alice.id}/quotas/{name}"
        assert admin.put(path, json=body).status_code == status
    assert admin.put("/api/v1/admin/users/nobody/quotas/open_tasks", json={"limit": 1}).status_code == 404


def test_a_form_that_meets_a_quota_says_so(site: Site, root: Browser) -> None:
    root.post(f"/admin/users/{site.cast.alice.id}/quotas/open_tasks", how="own", amount="0")
    fresh(site)
    status, page = Browser(site, site.cast.alice).post("/tasks", kind="summary", content="Words enough. " * 20)
    assert status == 422
    assert "of at most 0 tasks of yours are open" in page


def test_accounts_by_api(site: Site) -> None:
    admin = site.program(site.cast.root)
    made = admin.post("/api/auth/users/", json={"username": "dora", "email": "d@example.org"})
    assert (made.status_code, bool(made.json["invitation"]), made.json["is_admin"]) == (201, True, False)
    of = f"/api/auth/users/{made.json['id']}"
    assert admin.post("/api/auth/users/", json={"username": "dora"}).status_code == 409
    assert [one["username"] for one in admin.get("/api/auth/users/?q=dor").json] == ["dora"]
    assert [one["username"] for one in admin.get("/api/auth/users/?role=admin").json] == ["root"]
    assert admin.get("/api/auth/users/?role=king").status_code == 422
    assert admin.post(f"{of}/invitation/").json["invitation"]
    assert admin.post(f"{of}/password/", json={"password": "a fine long one"}).json == {"invitation": None}
    assert admin.post(f"{of}/invitation/").status_code == 409
    token = site.client.post("/api/auth/token/", json={"username": "dora", "password": "a fine long one"})
    assert token.status_code == 200
    assert admin.patch(f"{of}/", json={"is_admin": True}).json["is_admin"] is True
    assert admin.delete(f"{of}/sessions/").json == {"ended": 1}
    assert admin.delete(f"{of}/api-keys/").json == {"ended": 0}
    last = admin.patch(f"{of}/", json={"is_active": False})
    assert (last.status_code, last.json["code"]) == (409, "last_admin"), "nobody else here has a password"
    bob = f"/api/auth/users/{site.cast.bob.id}/"
    assert admin.patch(bob, json={"is_active": False, "is_admin": False}).json["is_active"] is False
    assert admin.patch(f"/api/auth/users/{site.cast.root.id}/", json={"is_admin": False}).status_code == 409
    assert admin.patch("/api/auth/users/nobody/", json={"is_admin": False}).status_code == 404


def test_retention_and_settings_by_api(site: Site) -> None:
    admin = site.program(site.cast.root)
    found = admin.get("/api/v1/admin/retention").json
    assert [row["name"] for row in found["settings"]][0] == "retention_days"
    assert {row["what"]: row["days"] for row in found["going"]}["Finished tasks"] == 30
    shown = admin.post(
        "/api/v1/admin/retention/preview", json={"retention_days": 3, "retention_tasks": ["failed=9"]}
    ).json
    assert {row["what"]: row["days"] for row in shown}["Tasks that failed"] == 9
    kept = admin.put("/api/v1/admin/retention", json={"retention_days": 3}).json
    assert (kept["settings"][0]["value"], kept["settings"][0]["origin"]) == (3, "database")
    assert admin.put("/api/v1/admin/retention", json={"retention_days": None}).json["settings"][0]["value"] == 30
    assert admin.put("/api/v1/admin/retention", json={"retention_days": -3}).status_code == 422
    refused = admin.put("/api/v1/admin/retention", json={"retention_tasks": ["failed=soon"]})
    assert (refused.status_code, refused.json["errors"][0]["loc"]) == (422, ["retention_tasks"])
    assert len(admin.post("/api/v1/admin/retention/run").json["task_ids"]) == 5
    everything = {row["name"]: row for row in admin.get("/api/v1/admin/settings").json}
    assert (everything["secret_key"]["value"], everything["port"]["changeable"]) == (False, False)
    changed = admin.patch("/api/v1/admin/settings", json={"values": {"quota_open_tasks": "9"}})
    assert (changed.json[0]["value"], changed.json[0]["set_by"]) == (9, "root")
    assert admin.patch("/api/v1/admin/settings", json={"values": {"port": "9"}}).status_code == 422
    assert admin.patch("/api/v1/admin/settings", json={"values": {}}).status_code == 422


# -- command line ----------------------------------------------------------------------------------------------------


@pytest.fixture
def shell(office: Office, monkeypatch: pytest.MonkeyPatch) -> Any:
    from contextlib import contextmanager

    import webapp.cli as cli
    from webapp.core.context import SYSTEM, Ctx

    @contextmanager
    def unit(*, write: bool = True) -> Any:
        with cli._told(), office.rt.unit(write=write) as db:
            yield Ctx(office.rt, db, SYSTEM, request_id="command-line")

    monkeypatch.setattr(cli, "_as_system", unit)

    def run(*args: str, code: int = 0) -> str:
        result = CliRunner().invoke(main, list(args), catch_exceptions=False)
        assert result.exit_code == code, result.output
        return result.output

    return run


def test_people_on_the_command_line(shell: Any) -> None:
    assert "alice" in shell("users", "list")
    assert [row["name"] for row in json.loads(shell("users", "list", "ALI", "--json"))] == ["alice"]
    assert "http://127.0.0.1:8000/invite/" in shell("users", "add", "dora", "--email", "d@example.org")
    assert "There is no account" in shell("users", "invite", "nobody", code=1)
    assert "/invite/" in shell("users", "invite", "dora")
    assert "has a new password" in shell("users", "reset-password", "dora", "--password", "a fine long one")
    assert "sets a new password at" in shell("users", "reset-password", "dora")
    assert "is an administrator" in shell("users", "promote", "dora")
    assert "is an ordinary user" in shell("users", "demote", "dora")
    assert "0 sessions" in shell("users", "end-sessions", "dora", "--yes")
    assert "0 keys" in shell("users", "revoke-keys", "dora", "--yes")
    assert "is suspended" in shell("users", "suspend", "dora", "--yes")
    assert "suspended" in shell("users", "list", "dora")
    assert "may log in again" in shell("users", "reinstate", "dora")
    assert "Aborted" in shell("users", "suspend", "dora", code=1)
    assert "is taken" in shell("users", "add", "dora", code=1)


def test_quotas_on_the_command_line(shell: Any, office: Office) -> None:
    assert "2048" in shell("quotas", "defaults")
    assert "open_tasks of alice is 3 now" in shell("quotas", "set", "alice", "open_tasks", "3")
    assert "without limit" in shell("quotas", "set", "alice", "stored_bytes", "none")
    assert {row["quota"]: row["limit"] for row in json.loads(shell("quotas", "show", "alice", "--json"))}[
        "open_tasks"
    ] == 3
    assert [row["quota"] for row in json.loads(shell("quotas", "show", "--json"))] == ["open_tasks", "stored_bytes"]
    assert "alice" in shell("quotas", "show")
    assert "counts for alice again" in shell("quotas", "clear", "alice", "open_tasks")
    assert "no limit of their own" in shell("quotas", "clear", "alice", "open_tasks", code=1)
    assert "there is no quota" in shell("quotas", "set", "alice", "nothing", "3", code=1)
    assert "whole number" in shell("quotas", "set", "alice", "open_tasks", "many", code=2)
    assert "quota_open_tasks is 9 now (database)" in shell("quotas", "default", "open_tasks", "9")
    assert "quota_open_tasks is 100 now (default)" in shell("quotas", "default", "quota_open_tasks", "reset")


def test_retention_on_the_command_line(shell: Any, office: Office) -> None:
    old = office.start(office.cast.alice)
    office.run_all()
    office.age(old, seconds=20 * 86400)
    assert "retention_days" in shell("retention", "show")
    assert "1 tasks" in shell("retention", "preview", "days=10")
    assert "Finished tasks" in shell("retention", "preview")
    assert "Set it so?" in shell("retention", "set", "days=10", code=1)
    assert "retention_days is 10 now (database)" in shell(
        "retention", "set", "days=10", "tasks=failed=90,summary=7", "--yes"
    )
    assert json.loads(shell("retention", "show", "--json"))[1]["value"] == "failed=90,summary=7"
    assert "retention_tasks is (empty) now (default)" in shell("retention", "set", "tasks=", "--yes")
    assert "no whole number" in shell("retention", "set", "days=soon", code=1)
    assert shell("retention", "run").count("started as task") == 5
    with office.rt.unit(write=False) as db:
        assert {row.via for row in db.query(AuditEntry)} == {"system"}
