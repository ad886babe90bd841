"""Who asks and from where, through HTTP: credentials, CSRF, origins, hosts, headers, limits, safe start.

Drill numbers (A02 ...) are those of the security drills.
"""

from __future__ import annotations

import re
import secrets
from collections.abc import Callable, Iterator
from typing import Any
from urllib.parse import urljoin, urlsplit

import pytest
from argon2 import PasswordHasher
from flask import Flask, Response
from flask_wtf.csrf import generate_csrf

from webapp import runtime
from webapp import settings as settings_module
from webapp.app import create_app
from webapp.core.context import SYSTEM, Ctx
from webapp.core.db import Base
from webapp.core.errors import Forbidden, Unauthorized
from webapp.identity import passwords, service
from webapp.web import auth
from webapp.web.api import ADMIN, ANY, OPTIONAL, PUBLIC, Api, ApiModel
from webapp.web.page import BoundForm, Pages

PASSWORD = "correct horse battery"
KEY = "an-operator-key-of-some-length"
OURS = "http://localhost"


class Note(ApiModel):
    text: str = ""


def probe_blueprints() -> tuple[Api, Pages]:
    """One endpoint of every kind of `auth`, which write down that their code ran."""
    api = Api("probe", "/api/probe", tag="Probe")
    pages = Pages("probe_pages")

    def answer(ctx: Ctx, **_: Any) -> dict[str, Any]:
        ctx.rt.ran.append(ctx.user.via)  # type: ignore[attr-defined]
        return {"via": ctx.user.via, "username": ctx.user.username, "is_admin": ctx.user.is_admin}

    def declare(verb: Callable[..., Any], path: str, name: str, **options: Any) -> None:
        def handler(ctx: Ctx, **given: Any) -> Any:
            return answer(ctx, **given)

        handler.__name__ = name
        verb(path, **options)(handler)

    for kind in (PUBLIC, OPTIONAL, ANY, ADMIN, "tasks:read"):
        declare(api.get, f"/{kind.replace(':', '-')}/", f"get_{kind.replace(':', '_')}", auth=kind)
    declare(api.post, "/write/", "write", auth=ANY, body=Note)
    declare(api.post, "/public-write/", "public_write", auth=PUBLIC, body=Note)
    declare(api.delete, "/write/", "remove", auth=ANY)
    declare(api.post, "/upload/", "upload", auth=ANY, form=Note)

    @pages.get("/page", auth=ANY)
    def show(ctx: Ctx) -> str:
        ctx.rt.ran.append(ctx.user.via)  # type: ignore[attr-defined]
        return f"<p>{ctx.user.username}</p><i>{auth.csp_nonce()}</i><b>{generate_csrf()}</b>"

    @pages.post("/page", auth=ANY, form=Note)
    def save(ctx: Ctx, form: BoundForm) -> str:
        ctx.rt.ran.append(ctx.user.via)  # type: ignore[attr-defined]
        return "saved"

    return api, pages


@pytest.fixture(autouse=True)
def quick_hashes(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(passwords, "_hasher", PasswordHasher(time_cost=1, memory_cost=64, parallelism=1))
    passwords._dummy.cache_clear()
    yield
    passwords._dummy.cache_clear()


@pytest.fixture
def make_app(tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., Flask]]:
    made: list[Any] = []
    monkeypatch.setattr("webapp.web.api.ROUTES", [])  # the probes are no part of the product

    def make(**env: str) -> Flask:
        settings = settings_module.load({"BRAINSTEM_HOME": str(tmp_path / "home"), **env})
        rt = runtime.build(settings)
        Base.metadata.create_all(rt.engine)
        made.append(rt)
        rt.ran = []  # type: ignore[attr-defined]
        app = create_app(rt)
        app.testing = True
        api, pages = probe_blueprints()
        app.register_api(api)  # type: ignore[attr-defined]
        app.register_blueprint(pages)
        return app

    yield make
    for rt in made:
        rt.close()


@pytest.fixture
def app(make_app: Any) -> Flask:
    """A deployment: everybody must log in; an operator key is set."""
    made: Flask = make_app(AUTH_REQUIRED="1", API_KEY=KEY, BRAINSTEM_LOGIN_RATE_LIMIT="1000/minute")
    return made


@pytest.fixture
def local(make_app: Any) -> Flask:
    """Local mode: the first run on somebody's own machine."""
    made: Flask = make_app()
    return made


def rt_of(app: Flask) -> Any:
    return app.extensions["runtime"]


def call(app: Flask, verb: Callable[..., Any], *args: Any, user: Any = SYSTEM) -> Any:
    rt = rt_of(app)
    with rt.unit() as db:
        return verb(Ctx(rt, db, user), *args)


@pytest.fixture
def bob(app: Flask) -> Any:
    call(app, service.register, "alice", PASSWORD)
    return call(app, service.register, "bob", PASSWORD)


@pytest.fixture
def tokens(app: Flask, bob: Any) -> Any:
    return app.test_client().post("/api/auth/token/", json={"username": "bob", "password": PASSWORD}).json


def api_key(app: Flask, user: Any, *scopes: str) -> str:
    from webapp.core.context import Actor

    person = Actor(user.id, user.username, user.is_admin, via="jwt")
    secret: str = call(app, service.create_api_key, "k", list(scopes), user=person)[1]
    return secret


def bearer(value: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {value}"}


def browser(app: Flask) -> Any:
    """Bob, logged in by the login page; `.token` is the CSRF token of his session."""
    client = app.test_client()
    client.get("/login")
    with client.session_transaction() as session:
        session["csrf_token"] = "planted before the login"
    token = csrf_of(app, client)
    answer = client.post("/login", data={"username": "bob", "password": PASSWORD, "csrf_token": token})
    assert answer.status_code == 303, answer.text
    client.token = csrf_of(app, client)
    return client


def csrf_of(app: Flask, client: Any) -> str:
    """A token for the client's session, as a page would carry it."""
    with client.session_transaction() as session:
        session.setdefault("csrf_token", secrets.token_hex(20))
        raw = session["csrf_token"]
    from itsdangerous import URLSafeTimedSerializer

    return str(URLSafeTimedSerializer(app.secret_key, salt="wtf-csrf-token").dumps(raw))


class TestEndpoints:
    def test_token_answers_in_the_documented_shape(self, app: Flask, tokens: Any, bob: Any) -> None:
        assert set(tokens) == {"access", "refresh", "token_type", "expires_in", "user"}
        assert tokens["token_type"] == "Bearer"
        assert tokens["expires_in"] == 1800
        assert tokens["user"] == {"id": bob.id, "username": "bob", "is_admin": False}

    def test_wrong_credentials_are_401(self, app: Flask, bob: Any) -> None:
        answer = app.test_client().post("/api/auth/token/", json={"username": "bob", "password": "no"})
        assert answer.status_code == 401
        assert answer.json["status_code"] == 401

    def test_refresh_answers_with_a_new_pair(self, app: Flask, tokens: Any) -> None:
        answer = app.test_client().post("/api/auth/token/refresh/", json={"refresh": tokens["refresh"]})
        assert answer.status_code == 200
        assert set(answer.json) == {"access", "refresh"}
        again = app.test_client().post("/api/auth/token/refresh/", json={"refresh": tokens["refresh"]})
        assert again.status_code == 401
        gone = app.test_client().get("/api/auth/me/", headers=bearer(answer.json["access"]))
        assert gone.status_code == 401, "the reuse ended the login, and the refusal did not undo that"

    @pytest.mark.parametrize("body", [{}, {"refresh": None}, {"refresh": ""}, {"refresh": []}, {"refresh": {}}])
    def test_a05_an_empty_or_odd_refresh_token(self, app: Flask, body: Any) -> None:
        assert app.test_client().post("/api/auth/token/refresh/", json=body).status_code in (401, 422)

    @pytest.mark.parametrize("password", [None, "", [], {}, 0, "x" * 2000])
    def test_a05_an_empty_or_odd_password(self, app: Flask, bob: Any, password: Any) -> None:
        answer = app.test_client().post("/api/auth/token/", json={"username": "bob", "password": password})
        assert answer.status_code in (401, 422)

    def test_register_then_taken_then_closed(self, make_app: Any) -> None:
        body = {"username": "carol", "password": PASSWORD}
        client = make_app(AUTH_REQUIRED="1").test_client()
        made = client.post("/api/auth/register/", json=body)
        assert made.status_code == 201
        assert set(made.json) == {"id", "username", "is_admin"}
        assert client.post("/api/auth/register/", json=body).status_code == 409
        closed = make_app(AUTH_REQUIRED="1", BRAINSTEM_REGISTRATION="0").test_client()
        assert closed.post("/api/auth/register/", json=body | {"username": "dave"}).status_code == 403

    def test_me_says_who_and_how(self, app: Flask, tokens: Any, bob: Any) -> None:
        me = app.test_client().get("/api/auth/me/", headers=bearer(tokens["access"])).json
        assert (me["id"], me["username"], me["via"], me["scopes"]) == (bob.id, "bob", "jwt", None)
        key = api_key(app, bob, "tasks:read")
        assert app.test_client().get("/api/auth/me/", headers=bearer(key)).json["scopes"] == ["tasks:read"]

    def test_keys_sessions_and_password_have_their_doors(self, app: Flask, tokens: Any) -> None:
        client, head = app.test_client(), bearer(tokens["access"])
        body = {"name": "ci", "scopes": ["tasks:read"]}
        made = client.post("/api/auth/api-keys/", json=body, headers=head)
        assert made.status_code == 201
        assert made.json["key"].startswith(made.json["prefix"])
        listed = client.get("/api/auth/api-keys/", headers=head).json
        assert [row["name"] for row in listed] == ["ci"]
        assert "key" not in listed[0]
        assert "key_hash" not in listed[0]
        assert client.delete(f"/api/auth/api-keys/{made.json['id']}/", headers=head).status_code == 204
        assert client.get("/api/auth/api-keys/", headers=head).json == []
        session = client.get("/api/auth/sessions/", headers=head).json[0]
        assert session["current"] is True
        change = {"current_password": PASSWORD, "new_password": "a new good one"}
        assert client.post("/api/auth/password/", json=change, headers=head).status_code == 204
        assert client.delete(f"/api/auth/sessions/{session['id']}/", headers=head).status_code == 204
        assert client.get("/api/auth/me/", headers=head).status_code == 401

    def test_an_administrator_suspends_and_everything_of_theirs_dies(self, app: Flask, tokens: Any, bob: Any) -> None:
        key, client = api_key(app, bob, "tasks:read"), app.test_client()
        answer = client.patch(f"/api/auth/users/{bob.id}/", json={"is_active": False}, headers=bearer(KEY))
        assert answer.status_code == 200
        assert answer.json["is_active"] is False
        for value in (key, tokens["access"]):
            assert client.get("/api/auth/me/", headers=bearer(value)).status_code == 401

    def test_users_are_for_administrators(self, app: Flask, tokens: Any, bob: Any) -> None:
        client = app.test_client()
        assert client.get("/api/auth/users/", headers=bearer(tokens["access"])).status_code == 403
        assert {row["username"] for row in client.get("/api/auth/users/", headers=bearer(KEY)).json} >= {
            "alice",
            "bob",
        }


class TestA02A03Credentials:
    @pytest.mark.parametrize(
        "value",
        ["' OR 1=1--", "k" * 10_240, "bs_000000_" + "A" * 43, "schl\xfcssel", "null", "a.b.c", KEY + "x"],
    )
    @pytest.mark.parametrize("path", ["public", "optional", "any", "admin", "tasks-read"])
    def test_a02_a_wrong_value_is_never_silently_a_stranger(self, app: Flask, path: str, value: str) -> None:
        for shown in (bearer(value), {"X-API-Key": value}):
            answer = app.test_client().get(f"/api/probe/{path}/", headers=shown)
            assert answer.status_code == 401 or path == "public", (path, shown)

    @pytest.mark.parametrize("header", ["Bearer", "Bearer "])
    def test_an_empty_bearer_value_shows_nothing(self, app: Flask, header: str) -> None:
        for path, expected in [("optional", 200), ("any", 401), ("admin", 401), ("tasks-read", 401)]:
            answer = app.test_client().get(f"/api/probe/{path}/", headers={"Authorization": header})
            assert answer.status_code == expected, path

    def test_a03_every_way_of_showing_a_key_gives_the_same_answer(self, app: Flask, bob: Any) -> None:
        key, client = api_key(app, bob, "events:read"), app.test_client()
        for path, expected in [("any", 200), ("optional", 200), ("tasks-read", 403), ("admin", 403)]:
            answers = [
                client.get(f"/api/probe/{path}/", headers=bearer(key)),
                client.get(f"/api/probe/{path}/", headers={"X-API-Key": key}),
                client.get(f"/api/probe/{path}/", headers={"Authorization": key}),
                client.get(f"/api/probe/{path}/?token={key}"),
            ]
            assert {answer.status_code for answer in answers} == {expected}, path

    def test_a_token_in_the_address_of_a_write_is_no_credential(self, app: Flask, bob: Any) -> None:
        key = api_key(app, bob, "tasks:write")
        assert app.test_client().post(f"/api/probe/write/?token={key}", json={}).status_code == 401

    def test_the_operator_key_is_an_administrator(self, app: Flask) -> None:
        answer = app.test_client().get("/api/probe/admin/", headers=bearer(KEY)).json
        assert (answer["via"], answer["is_admin"]) == ("operator_key", True)

    def test_an_operator_key_ends_local_mode(self, make_app: Any) -> None:
        client = make_app(API_KEY=KEY).test_client()
        assert client.get("/api/probe/any/").status_code == 401
        assert client.get("/api/probe/optional/").json["via"] == "anonymous"

    def test_an_open_endpoint_can_overlook_an_old_credential(self, app: Flask, bob: Any) -> None:
        """Clients attach the old token even to the request that renews it."""
        with app.test_request_context("/api/auth/token/refresh/", method="POST", headers=bearer("old")):
            assert not auth.current_actor(public=True).is_authenticated
            with pytest.raises(Unauthorized):
                auth.current_actor()

    def test_no_handler_code_runs_for_the_refused(self, app: Flask) -> None:
        client = app.test_client()
        for path in ("any", "admin", "tasks-read"):
            client.get(f"/api/probe/{path}/")
            client.get(f"/api/probe/{path}/", headers=bearer("wrong"))
        assert rt_of(app).ran == []

    def test_a45_guessing_keys_is_slowed_down(self, app: Flask) -> None:
        client = app.test_client()
        codes = [client.get("/api/probe/any/", headers=bearer(f"guess{n}")).status_code for n in range(61)]
        assert codes[:60] == [401] * 60
        assert codes[60] == 429
        assert client.get("/api/probe/any/", headers=bearer(KEY)).status_code == 200

    def test_a45_an_error_page_is_no_second_guess(self, app: Flask) -> None:
        head = bearer("guess") | {"Accept": "text/html"}
        codes = [app.test_client().post("/page", headers=head).status_code for _ in range(61)]
        assert codes == [401] * 60 + [429]


class TestBrowserSession:
    def test_login_gives_a_cookie_with_safe_flags(self, app: Flask, bob: Any) -> None:
        client = app.test_client()
        token = csrf_of(app, client)
        form = {"username": "bob", "password": PASSWORD, "csrf_token": token, "next": "/page"}
        answer = client.post("/login", data=form)
        cookie = answer.headers["Set-Cookie"]
        assert answer.status_code == 303
        assert answer.location == "/page"
        assert cookie.startswith("brainstem_session=")
        assert "HttpOnly" in cookie
        assert "SameSite=Lax" in cookie
        assert "Secure" not in cookie
        assert "Domain" not in cookie
        assert client.get("/page").text.startswith("<p>bob</p>")

    @pytest.mark.parametrize("env", [{"BRAINSTEM_PUBLIC_URL": "https://brain.example"}, {"BRAINSTEM_PROXY_HOPS": "1"}])
    def test_the_cookie_is_secure_where_people_use_https(self, make_app: Any, env: Any) -> None:
        app = make_app(AUTH_REQUIRED="1", **env)
        call(app, service.register, "bob", PASSWORD)
        client = app.test_client()
        body = {"username": "bob", "password": PASSWORD, "csrf_token": csrf_of(app, client)}
        answer = client.post("/login", data=body, headers={"X-Forwarded-Proto": "https"})
        assert answer.status_code == 303
        assert "Secure" in answer.headers["Set-Cookie"]

    def test_a04_logout_ends_the_session_and_clears_the_cookie_as_it_was_set(self, app: Flask, bob: Any) -> None:
        client = browser(app)
        stolen = client.get_cookie("brainstem_session").value
        answer = client.post("/api/auth/logout/", json={}, headers={"Origin": OURS})
        assert answer.status_code == 204
        cleared = answer.headers["Set-Cookie"]
        assert "Max-Age=0" in cleared
        assert "HttpOnly" in cleared
        assert "SameSite=Lax" in cleared
        assert "Path=/" in cleared
        thief = app.test_client()
        thief.set_cookie("brainstem_session", stolen)
        assert thief.get("/api/probe/any/").status_code == 401

    def test_the_logout_page_too(self, app: Flask, bob: Any) -> None:
        client = browser(app)
        assert client.post("/logout", data={"csrf_token": client.token}).location == "/login"
        assert client.get("/page").status_code == 302

    def test_a_login_does_not_keep_what_was_planted_before(self, app: Flask, bob: Any) -> None:
        client = browser(app)
        with client.session_transaction() as session:
            assert session.get("csrf_token") != "planted before the login"

    def test_an_ended_session_is_logged_out_on_pages_and_refused_elsewhere(self, app: Flask, bob: Any) -> None:
        def ended() -> Any:
            client = browser(app)
            with rt_of(app).unit() as db:
                service.set_password(db, "bob", PASSWORD)
            return client

        assert ended().get("/api/probe/optional/").status_code == 401
        client = ended()
        answer = client.get("/page")
        assert answer.status_code == 302
        assert answer.location.startswith("/login?next=")
        assert client.get("/api/probe/optional/").json["via"] == "anonymous", "the cookie was forgotten"

    def test_a_forged_cookie_is_nobody(self, app: Flask) -> None:
        client = app.test_client()
        client.set_cookie("brainstem_session", "eyJsb2dpbiI6IngifQ.aaaa.bbbb")
        assert client.get("/api/probe/optional/").json["via"] == "anonymous"

    def test_wrong_password_shows_the_form_again(self, app: Flask, bob: Any) -> None:
        client = app.test_client()
        form = {"username": "bob", "password": "not-it-at-all", "csrf_token": csrf_of(app, client)}
        answer = client.post("/login", data=form)
        assert answer.status_code == 401
        assert "Wrong user name or password" in answer.text
        assert "not-it-at-all" not in answer.text

    def test_account_pages(self, app: Flask, bob: Any) -> None:
        client = browser(app)
        token = {"csrf_token": client.token}
        assert client.get("/profile").status_code == 200
        assert client.get("/profile/keys").status_code == 200
        made = client.post(
            "/profile/keys", data={"name": "k", "scopes": ["tasks:read"], "expires_in_days": "30"} | token
        )
        key = re.search(r"\bbs_[0-9a-f]{6}_[\w-]{43}", made.text)
        assert made.status_code == 201
        assert key
        assert app.test_client().get("/api/probe/tasks-read/", headers=bearer(key[0])).status_code == 200
        assert key[0] not in client.get("/profile/keys").text
        bad = client.post("/profile/keys", data={"name": "", "scopes": []} | token)
        assert bad.status_code == 422
        assert "name" in bad.text
        wrong = client.post(
            "/profile/password", data={"current_password": "x", "new_password": "a new good one"} | token
        )
        assert wrong.status_code == 422
        assert "current_password" in wrong.text
        saved = client.post("/profile", data={"username": "Robert", "email": "r@example.org"} | token)
        assert saved.status_code == 303
        taken = client.post("/profile", data={"username": "alice"} | token)
        assert taken.status_code == 409
        assert "taken" in taken.text

    def test_register_page_logs_in(self, app: Flask) -> None:
        client = app.test_client()
        form = {"username": "carol", "password": PASSWORD, "csrf_token": csrf_of(app, client)}
        assert client.post("/register", data=form).status_code == 303
        assert client.get("/page").text.startswith("<p>carol</p>")


class TestA09Csrf:
    """A change by cookie needs a sign that the page was ours. Each refusal writes nothing."""

    @pytest.fixture
    def client(self, app: Flask, bob: Any) -> Any:
        return browser(app)

    def refused(self, app: Flask, answer: Response) -> None:
        assert answer.status_code == 403, answer.text
        assert rt_of(app).ran == []

    def test_a_form_needs_the_token(self, app: Flask, client: Any) -> None:
        self.refused(app, client.post("/page", data={"text": "x"}))
        self.refused(app, client.post("/page", data={"text": "x"}, headers={"Origin": OURS}))
        self.refused(app, client.post("/api/probe/upload/", data={"text": "x"}, content_type="multipart/form-data"))
        assert client.post("/page", data={"text": "x", "csrf_token": client.token}).status_code == 200

    def test_the_token_may_come_in_a_header(self, client: Any) -> None:
        head = {"X-CSRFToken": client.token}
        assert client.post("/page", data={"text": "x"}, headers=head).status_code == 200
        assert client.post("/api/probe/write/", json={}, headers=head).status_code == 200

    def test_the_token_of_another_session(self, app: Flask, client: Any) -> None:
        other = browser(app).token
        self.refused(app, client.post("/page", data={"csrf_token": other}))

    @pytest.mark.parametrize("token", ["", "x", "null", "..", "é"])
    def test_a_made_up_token(self, app: Flask, client: Any, token: str) -> None:
        self.refused(app, client.post("/page", data={"csrf_token": token}))

    @pytest.mark.parametrize("head", [{"Origin": OURS}, {"Sec-Fetch-Site": "same-origin"}, {"Sec-Fetch-Site": "none"}])
    def test_json_is_enough_from_our_own_page(self, client: Any, head: Any) -> None:
        assert client.post("/api/probe/write/", json={}, headers=head).status_code == 200
        assert client.delete("/api/probe/write/", headers=head).status_code == 200

    def test_json_without_any_sign_of_where_it_comes_from(self, app: Flask, client: Any) -> None:
        self.refused(app, client.post("/api/probe/write/", json={}))
        self.refused(app, client.delete("/api/probe/write/"))

    @pytest.mark.parametrize(
        "head",
        [{"Origin": "https://evil.example"}, {"Origin": "null"}, {"Origin": "http://localhost.evil.example"},
         {"Origin": "http://localhost:81"}, {"Origin": "http://evil.example\\@localhost"}, {"Origin": "localhost"},
         {"Origin": "http://[evil"}, {"Origin": "http://"}, {"Origin": ""}, {"Sec-Fetch-Site": "cross-site"}, {"Sec-Fetch-Site": "same-site"},
         {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "navigate"}, {"Sec-Fetch-Site": "odd"},
         {"Origin": OURS, "Sec-Fetch-Site": "cross-site"}],
    )  # fmt: skip
    def test_a_foreign_page_is_refused_even_with_the_token(self, app: Flask, client: Any, head: Any) -> None:
        self.refused(app, client.post("/api/probe/write/", json={}, headers=head))
        self.refused(app, client.post("/page", data={"csrf_token": client.token}, headers=head))

    @pytest.mark.parametrize(
        "kind", ["text/plain", "application/x-www-form-urlencoded", "text/json", "application/csp-report", ""]
    )
    def test_json_in_disguise(self, app: Flask, client: Any, kind: str) -> None:
        for head in ({}, {"Origin": OURS}):
            self.refused(app, client.post("/api/probe/write/", data='{"text": "x"}', content_type=kind, headers=head))

    def test_a_bearer_is_exempt_even_beside_a_cookie(self, app: Flask, client: Any, bob: Any) -> None:
        key = api_key(app, bob, "tasks:write")
        assert client.post("/api/probe/write/", json={}, headers=bearer(key)).status_code == 200

    def test_a_foreign_page_cannot_log_somebody_in(self, app: Flask, bob: Any) -> None:
        form = {"username": "bob", "password": PASSWORD}
        for head in ({"Origin": "https://evil.example"}, {"Sec-Fetch-Site": "cross-site"}):
            assert app.test_client().post("/login", data=form, headers=head).status_code == 403
            assert app.test_client().post("/api/auth/token/", json=form, headers=head).status_code == 403

    def test_the_method_cannot_be_overridden(self, app: Flask, client: Any) -> None:
        for head in ({"X-HTTP-Method-Override": "DELETE"}, {"X-Method-Override": "DELETE"}):
            assert client.get("/api/probe/write/?_method=DELETE", headers=head).status_code == 405
        assert rt_of(app).ran == []


class TestLocalMode:
    """No password on one's own machine, and still no door for the web."""

    def test_the_person_at_the_machine_is_the_administrator(self, local: Flask) -> None:
        answer = local.test_client().get("/api/probe/admin/").json
        assert (answer["via"], answer["username"], answer["is_admin"]) == ("local", "local", True)
        assert local.test_client().get("/page").text.startswith("<p>local</p>")

    def test_a_program_may_write_json_forms_and_nothing(self, local: Flask) -> None:
        client = local.test_client()
        assert client.post("/api/probe/write/", json={}).status_code == 200
        assert client.post("/api/probe/upload/", data={"text": "x"}).status_code == 200
        assert client.delete("/api/probe/write/").status_code == 200

    def test_a_form_of_our_own_page_needs_its_token(self, local: Flask) -> None:
        client = local.test_client()
        token = re.search("<b>(.*)</b>", client.get("/page").text)
        assert token
        ours = {"Origin": OURS, "Sec-Fetch-Site": "same-origin"}
        assert client.post("/page", data={"text": "x"}, headers=ours).status_code == 403
        assert client.post("/page", data={"text": "x", "csrf_token": token[1]}, headers=ours).status_code == 200

    @pytest.mark.parametrize("address", ["192.0.2.7", "10.0.0.2", "::ffff:10.0.0.2", "", "garbage"])
    def test_another_machine_must_log_in(self, local: Flask, address: str) -> None:
        client = local.test_client()
        answer = client.get("/api/probe/any/", environ_overrides={"REMOTE_ADDR": address})
        assert answer.status_code == 401
        assert client.get("/page", environ_overrides={"REMOTE_ADDR": address}).status_code == 302

    @pytest.mark.parametrize("address", ["127.0.0.1", "127.8.8.8", "::1", "::ffff:127.0.0.1"])
    def test_loopback_in_every_spelling(self, local: Flask, address: str) -> None:
        answer = local.test_client().get("/api/probe/any/", environ_overrides={"REMOTE_ADDR": address})
        assert answer.status_code == 200

    @pytest.mark.parametrize("name", ["X-Forwarded-For", "Forwarded", "X-Real-IP", "Via"])
    def test_what_an_unknown_proxy_passes_on_is_not_the_local_person(self, local: Flask, name: str) -> None:
        answer = local.test_client().get("/api/probe/any/", headers={name: "127.0.0.1"})
        assert answer.status_code == 401

    def test_there_is_no_local_mode_behind_a_proxy(self, make_app: Any) -> None:
        client = make_app(BRAINSTEM_PROXY_HOPS="1").test_client()
        for head in ({}, {"X-Forwarded-For": "127.0.0.1"}):
            assert client.get("/api/probe/any/", headers=head).status_code == 401

    @pytest.mark.parametrize(
        "head",
        [{"Origin": "https://evil.example"}, {"Origin": "null"}, {"Sec-Fetch-Site": "cross-site"},
         {"Sec-Fetch-Site": "same-site"}, {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "no-cors"},
         {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "navigate", "Sec-Fetch-Dest": "iframe"}],
    )  # fmt: skip
    def test_a_foreign_page_reads_and_writes_nothing(self, local: Flask, head: Any) -> None:
        client = local.test_client()
        answers = [
            client.get("/api/probe/any/", headers=head),
            client.get("/api/probe/optional/", headers=head),
            client.get("/page", headers=head),
            client.post("/api/probe/write/", json={}, headers=head),
            client.post("/api/probe/write/", data="{}", content_type="text/plain", headers=head),
            client.post("/page", data={"text": "x"}, headers=head),
        ]
        assert {answer.status_code for answer in answers} == {403}
        assert rt_of(local).ran == []

    def test_a_foreign_page_may_link_to_us(self, local: Flask) -> None:
        head = {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "navigate", "Sec-Fetch-Dest": "document"}
        assert local.test_client().get("/page", headers=head).status_code == 200
        assert local.test_client().post("/page", data={}, headers=head).status_code == 403

    def test_a_wrong_key_is_still_refused(self, local: Flask) -> None:
        assert local.test_client().get("/api/probe/any/", headers=bearer("wrong")).status_code == 401

    def test_a_key_made_in_local_mode_works(self, local: Flask) -> None:
        client = local.test_client()
        made = client.post("/api/auth/api-keys/", json={"name": "k", "scopes": ["tasks:read"]})
        far = {"REMOTE_ADDR": "192.0.2.7"}
        answer = client.get("/api/probe/tasks-read/", headers=bearer(made.json["key"]), environ_overrides=far)
        assert answer.status_code == 200

    def test_the_owner_sets_a_password_and_logs_in_from_elsewhere(self, local: Flask) -> None:
        client = local.test_client()
        assert client.post("/api/auth/password/", json={"new_password": "a new good one"}).status_code == 204
        body = {"username": "local", "password": "a new good one"}
        far = {"REMOTE_ADDR": "192.0.2.7"}
        assert client.post("/api/auth/token/", json=body, environ_overrides=far).json["user"]["is_admin"] is True


class TestA47Hosts:
    @pytest.mark.parametrize(
        "host", ["localhost", "localhost:8000", "127.0.0.1:8000", "[::1]", "[::1]:8000", "LOCALHOST"]
    )
    def test_names_of_this_machine(self, local: Flask, host: str) -> None:
        assert local.test_client().get("/api/probe/any/", headers={"Host": host}).status_code == 200

    @pytest.mark.parametrize(
        "host",
        ["evil.example", "evil.example:8000", "localhost.evil.example", "127.0.0.1.evil.example", "localhost.",
         "localhost:8000@evil.example", "localhost/evil", "localhost evil", "", "192.168.1.5", "[::1", "localhost:",
         "localhost:99999999", "evil.example#localhost", "0x7f.1", "[::2]"],
    )  # fmt: skip
    def test_a_rebound_or_poisoned_host(self, local: Flask, host: str) -> None:
        answer = local.test_client().get("/api/probe/any/", headers={"Host": host})
        assert answer.status_code == 400
        assert rt_of(local).ran == []

    def test_names_that_were_configured(self, make_app: Any) -> None:
        client = make_app(
            BRAINSTEM_TRUSTED_HOSTS="brain.lan,.example.org", BRAINSTEM_PUBLIC_URL="https://brain.example/x"
        ).test_client()
        for host, code in [("brain.lan", 200), ("Brain.LAN:80", 200), ("a.example.org", 200), ("brain.example", 200),
                           ("localhost", 200), ("example.org.evil", 400), ("xexample.org", 400), ("lan", 400)]:  # fmt: skip
            assert client.get("/api/probe/any/", headers={"Host": host}).status_code == code, host

    def test_a_deployment_with_names_checks_them_too(self, make_app: Any) -> None:
        client = make_app(AUTH_REQUIRED="1", BRAINSTEM_PUBLIC_URL="https://brain.example").test_client()
        assert client.get("/api/probe/public/", headers={"Host": "brain.example"}).status_code == 200
        assert client.get("/api/probe/public/", headers={"Host": "evil.example"}).status_code == 400

    def test_forwarded_hosts_are_ignored(self, app: Flask) -> None:
        head = {
            "X-Forwarded-Host": "evil.example",
            "X-Forwarded-Prefix": "/evil",
            "Forwarded": "host=evil.example",
        }
        answer = app.test_client().get("/page", headers=head)
        assert "evil" not in answer.location

    def test_forwarded_hosts_are_ignored_behind_our_proxy_too(self, make_app: Any) -> None:
        app = make_app(AUTH_REQUIRED="1", BRAINSTEM_PROXY_HOPS="1")
        head = {"X-Forwarded-Host": "evil.example", "X-Forwarded-Prefix": "/evil", "X-Forwarded-Port": "1"}
        assert "evil" not in app.test_client().get("/page", headers=head).location

    @pytest.mark.parametrize("method", ["TRACE", "TRACK", "CONNECT"])
    def test_trace_is_refused(self, app: Flask, method: str) -> None:
        answer = app.test_client().open("/api/probe/public/", method=method, headers={"Cookie": "a=secret"})
        assert answer.status_code == 405
        assert "secret" not in answer.text

    @pytest.mark.parametrize("path", ["//evil.example/x", "//evil.example", "/\\evil.example", "///evil.example/page"])
    def test_a_path_like_a_host_redirects_nowhere_else(self, app: Flask, path: str) -> None:
        # in the environment, since the test client would read `//x` as a host
        answer = app.test_client().get("/", environ_overrides={"PATH_INFO": path, "REQUEST_URI": path, "RAW_URI": path})
        target = urljoin("http://localhost/", answer.headers.get("Location", "/"))
        assert urlsplit(target).hostname == "localhost", target

    @pytest.mark.parametrize(
        "url",
        ["//evil.example", "https://evil.example", "/\\evil.example", "\\/evil.example", "javascript:alert(1)",
         "/\t/evil.example", "/\n//evil", " //evil", "", None, "evil.example", "http:/evil", "///evil", "/a\r\nSet-Cookie: x"],
    )  # fmt: skip
    def test_next_is_a_path_of_ours(self, app: Flask, bob: Any, url: str | None) -> None:
        assert auth.safe_next(url) == "/"
        client = app.test_client()
        form = {
            "username": "bob",
            "password": PASSWORD,
            "csrf_token": csrf_of(app, client),
            "next": url or "",
        }
        assert client.post("/login", data=form).location == "/"

    def test_a_good_next_is_kept(self) -> None:
        for url in ("/", "/tasks?x=1&y=a%20b#part", "/a//b", "/http://x"):
            assert auth.safe_next(url) == url


class TestA10CorsAndHeaders:
    @pytest.mark.parametrize("origin", ["https://evil.example", "null", OURS])
    @pytest.mark.parametrize("method", ["GET", "OPTIONS", "POST"])
    def test_no_cors_header_is_ever_sent(self, app: Flask, bob: Any, origin: str, method: str) -> None:
        client = browser(app)
        head = {"Origin": origin, "Access-Control-Request-Method": "POST"}
        answer = client.open("/api/probe/optional/", method=method, headers=head)
        assert not [name for name, _ in answer.headers if name.lower().startswith("access-control")]

    @pytest.mark.parametrize("path", ["/page", "/api/probe/any/", "/api/probe/public/", "/nothing-here", "/login"])
    def test_every_answer_has_the_headers(self, local: Flask, path: str) -> None:
        head = local.test_client().get(path).headers
        assert head["X-Content-Type-Options"] == "nosniff"
        assert head["Referrer-Policy"] == "same-origin"
        assert head["Cross-Origin-Opener-Policy"] == "same-origin"
        assert head["Cache-Control"] == "no-store"
        policy = head["Content-Security-Policy"]
        assert "unsafe" not in policy
        assert "default-src 'self'" in policy
        assert "frame-ancestors 'none'" in policy
        assert "Permissions-Policy" in head
        assert "Strict-Transport-Security" not in head

    def test_the_nonce_is_in_the_page_and_new_each_time(self, local: Flask) -> None:
        client = local.test_client()
        seen = set()
        for _ in range(3):
            answer = client.get("/page")
            nonce = re.search("<i>(.*)</i>", answer.text)
            assert nonce
            assert f"script-src 'self' 'nonce-{nonce[1]}'" in answer.headers["Content-Security-Policy"]
            seen.add(nonce[1])
        assert len(seen) == 3

    def test_sockets_only_to_our_own_host(self, local: Flask) -> None:
        policy = local.test_client().get("/page", headers={"Host": "localhost:8000"}).headers["Content-Security-Policy"]
        assert "connect-src 'self' ws://localhost:8000 wss://localhost:8000;" in policy

    def test_an_odd_host_cannot_write_into_the_policy(self, app: Flask) -> None:
        answer = app.test_client().get("/login", headers={"Host": "a; script-src *"})
        assert answer.status_code == 400
        assert "script-src *" not in answer.headers["Content-Security-Policy"]

    def test_https_adds_hsts_and_upgrades(self, app: Flask) -> None:
        head = app.test_client().get("/login", base_url="https://localhost").headers
        assert head["Strict-Transport-Security"].startswith("max-age=")
        assert "upgrade-insecure-requests" in head["Content-Security-Policy"]

    def test_a_view_may_relax_one_directive(self, app: Flask) -> None:
        with app.test_request_context("/"):
            auth.relax_csp(style_src="'self' 'unsafe-inline'")
            policy = auth.add_security_headers(Response()).headers["Content-Security-Policy"]
        assert "style-src 'self' 'unsafe-inline';" in policy
        assert "script-src 'self';" in policy


class TestA11WebSocketOrigin:
    def check(self, app: Flask, head: dict[str, str], query: str = "") -> bool:
        from flask import request

        with app.test_request_context(f"/ws/tasks/{query}", headers=head):
            try:
                auth.check_ws_origin(request)
            except Forbidden:
                return False
            return True

    def test_our_own_page(self, app: Flask) -> None:
        assert self.check(app, {"Origin": OURS, "Cookie": "a=b"})
        assert self.check(app, {"Origin": "https://localhost", "Cookie": "a=b"}), "a proxy took the encryption off"

    @pytest.mark.parametrize("origin", ["https://evil.example", "null", "", "http://localhost:81", "file://"])
    def test_a_foreign_page(self, app: Flask, origin: str) -> None:
        assert not self.check(app, {"Origin": origin})
        assert not self.check(app, {"Origin": origin, "Cookie": "a=b"})
        assert not self.check(app, {"Origin": origin, **bearer(KEY)})
        assert not self.check(app, {"Origin": origin}, f"?token={KEY}")

    def test_a_cookie_without_an_origin_is_refused(self, app: Flask) -> None:
        assert not self.check(app, {"Cookie": "a=b"})

    def test_a_program_has_no_origin(self, app: Flask) -> None:
        assert self.check(app, {})
        assert self.check(app, bearer(KEY))
        assert self.check(app, {}, f"?token={KEY}")

    def test_a_page_asks_the_live_process_on_its_own_port(self, make_app: Any) -> None:
        app = make_app(BRAINSTEM_LIVE_PORT="8001", PORT="8000")
        head = {"Host": "localhost:8001", "Cookie": "a=b"}
        assert self.check(app, {**head, "Origin": "http://localhost:8000"})
        assert not self.check(app, {**head, "Origin": "http://localhost:8002"})

    def test_an_open_socket_is_told_when_its_caller_may_no_longer(self, app: Flask, tokens: Any, bob: Any) -> None:
        key = api_key(app, bob, "events:read")
        watches = []
        for value in (tokens["access"], key, KEY):
            with app.test_request_context(f"/ws/tasks/?token={value}"):
                watches.append(auth.watch_credentials())
        with app.test_request_context("/ws/tasks/"):
            watches.append(auth.watch_credentials())
        assert [still() for still in watches] == [True] * 4
        app.test_client().patch(f"/api/auth/users/{bob.id}/", json={"is_active": False}, headers=bearer(KEY))
        assert [still() for still in watches] == [False, False, True, True]


class TestA45Limits:
    def try_login(self, client: Any, name: str, **head: str) -> Any:
        return client.post("/api/auth/token/", json={"username": name, "password": "wrong"}, headers=head)

    def test_too_many_tries_are_told_when_to_come_back(self, make_app: Any) -> None:
        client = make_app(AUTH_REQUIRED="1").test_client()
        codes = [self.try_login(client, f"user{n}").status_code for n in range(11)]
        assert codes == [401] * 10 + [429]
        answer = self.try_login(client, "user99")
        assert answer.headers["Retry-After"].isdigit()
        assert 1 <= int(answer.headers["Retry-After"]) <= 60

    def test_a_forged_forwarded_address_does_not_help(self, make_app: Any) -> None:
        client = make_app(AUTH_REQUIRED="1").test_client()
        heads = [{"X-Forwarded-For": f"192.0.2.{n}", "X-Real-IP": f"192.0.2.{n}"} for n in range(11)]
        codes = [self.try_login(client, f"user{n}", **head).status_code for n, head in enumerate(heads)]
        assert codes[10] == 429

    def test_behind_our_proxy_only_its_own_entry_counts(self, make_app: Any) -> None:
        client = make_app(AUTH_REQUIRED="1", BRAINSTEM_PROXY_HOPS="1").test_client()
        forged = [{"X-Forwarded-For": f"192.0.2.{n}, 198.51.100.1"} for n in range(11)]
        codes = [self.try_login(client, f"user{n}", **head).status_code for n, head in enumerate(forged)]
        assert codes[10] == 429
        assert self.try_login(client, "user99", **{"X-Forwarded-For": "198.51.100.2"}).status_code == 401

    def test_the_login_page_says_so_too(self, make_app: Any) -> None:
        app = make_app(AUTH_REQUIRED="1", BRAINSTEM_LOGIN_RATE_LIMIT="1/minute")
        client = app.test_client()
        form = {"username": "bob", "password": "x", "csrf_token": csrf_of(app, client)}
        assert client.post("/login", data=form).status_code == 401
        again = client.post("/login", data=form)
        assert again.status_code == 429
        assert again.headers["Retry-After"].isdigit()
        assert "Try again" in again.text


class TestA48SafeStart:
    def start(self, has_password: bool = False, **env: str) -> str | None:
        try:
            auth.refuse_unsafe_start(settings_module.load(env), has_password)
        except settings_module.SettingsError as exc:
            return str(exc)
        return None

    @pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "::1", "127.1.2.3"])
    def test_loopback_needs_nothing(self, host: str) -> None:
        assert self.start(HOST=host, DEBUG="1") is None

    @pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.168.1.5", "brain.example", ""])
    def test_everything_else_needs_a_password(self, host: str) -> None:
        trouble = self.start(HOST=host) if host else None
        assert host == "" or (trouble and "\n" not in trouble and host in trouble and "AUTH_REQUIRED" in trouble)

    def test_debug_is_for_loopback(self) -> None:
        assert "DEBUG" in (self.start(True, HOST="0.0.0.0", AUTH_REQUIRED="1", DEBUG="1") or "")

    def test_a_stranger_must_not_become_the_first_administrator(self) -> None:
        assert "create-admin" in (self.start(False, HOST="0.0.0.0", AUTH_REQUIRED="1") or "")
        assert self.start(True, HOST="0.0.0.0", AUTH_REQUIRED="1") is None
        assert self.start(False, HOST="0.0.0.0", AUTH_REQUIRED="1", API_KEY=KEY) is None
        assert self.start(False, HOST="0.0.0.0", AUTH_REQUIRED="1", BRAINSTEM_REGISTRATION="0") is None


def test_current_user_of_templates(local: Flask, app: Flask) -> None:
    from flask_login import current_user

    with local.test_request_context("/page", environ_overrides={"REMOTE_ADDR": "127.0.0.1"}):
        assert (current_user.username, current_user.is_local, current_user.is_authenticated) == (
            "local",
            True,
            True,
        )
    with app.test_request_context("/page", headers=bearer("wrong")):
        assert not current_user.is_authenticated
        assert current_user.is_anonymous
        assert current_user.get_id() is None
