"""Every kind of credential, good and bad, through the one authenticator. Drill numbers: security drills."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import logging
import time
from datetime import timedelta
from typing import Any

import pytest
from joserfc import jwt
from joserfc.jwk import RSAKey
from sqlalchemy import event, select, update

from webapp.core.context import ANONYMOUS, Actor
from webapp.core.db import utcnow
from webapp.core.errors import Unauthorized
from webapp.identity import service, tokens
from webapp.identity.models import ApiKey, LoginSession, User
from webapp.identity.resolver import Credentials, local_actor, read, resolve

OPERATOR_KEY = "an-operator-key-of-some-length"


def who(rt: Any, **shown: str) -> Actor:
    with rt.unit(write=False) as db:
        return resolve(rt, db, Credentials(**shown))


@pytest.fixture
def rt(make_rt: Any) -> Any:
    return make_rt(API_KEY=OPERATOR_KEY)


@pytest.fixture
def key(call: Any, bob: User, person: Any) -> tuple[ApiKey, str]:
    """Bob's key with one scope."""
    made: tuple[ApiKey, str] = call(service.create_api_key, "k", ["tasks:read"], as_=person(bob))
    return made


@pytest.fixture
def cookie(call: Any, bob: User) -> str:
    secret: str = call(service.start_session, bob)
    return secret


@pytest.fixture
def access(call: Any, bob: User) -> str:
    made: service.Tokens = call(service.issue_tokens, bob)
    return made.access


@pytest.fixture
def every(key: tuple[ApiKey, str], cookie: str, access: str) -> list[dict[str, str]]:
    """Bob's good credentials on every path."""
    paths = [{name: value} for value in (key[1], access) for name in ("bearer", "api_key_header", "query_token")]
    return [*paths, {"session_cookie": cookie}]


class TestGood:
    def test_nothing_shown_is_nobody(self, rt: Any) -> None:
        assert who(rt) is ANONYMOUS

    def test_every_path_finds_the_same_person(self, rt: Any, bob: User, every: Any) -> None:
        assert {who(rt, **shown).id for shown in every} == {bob.id}

    def test_a_key_has_its_scopes_and_no_more(self, rt: Any, key: Any) -> None:
        actor = who(rt, bearer=key[1])
        assert (actor.via, actor.scopes, actor.is_admin) == ("api_key", frozenset({"tasks:read"}), False)

    def test_an_administrators_key_is_one_only_with_that_scope(
        self, rt: Any, call: Any, alice: User, person: Any
    ) -> None:
        _, small = call(service.create_api_key, "k", ["tasks:read"], as_=person(alice))
        _, big = call(service.create_api_key, "k", ["admin"], as_=person(alice))
        assert not who(rt, bearer=small).is_admin
        assert who(rt, bearer=big).is_admin

    def test_people_have_all_scopes_and_a_session(self, rt: Any, cookie: str, access: str) -> None:
        for actor in (who(rt, session_cookie=cookie), who(rt, bearer=access)):
            assert actor.scopes is None
            assert actor.session_id

    def test_the_operator_key_is_the_local_account_as_administrator(self, rt: Any) -> None:
        operator = who(rt, bearer=OPERATOR_KEY)
        assert (operator.via, operator.is_admin, operator.is_local) == ("operator_key", True, False)
        assert operator.id == local_actor(rt).id

    def test_administration_is_read_from_the_row_not_from_the_token(self, rt: Any, bob: User, access: str) -> None:
        with rt.unit() as db:
            db.execute(update(User).where(User.id == bob.id).values(is_admin=True))
        assert who(rt, bearer=access).is_admin

    def test_a_changed_role_shows_in_the_next_request(self, rt: Any, alice: User, call: Any) -> None:
        access = call(service.issue_tokens, alice).access
        with rt.unit() as db:
            db.execute(update(User).values(is_admin=False))
        assert not who(rt, bearer=access).is_admin


class TestA02Guessing:
    @pytest.mark.parametrize(
        "value",
        ["", "' OR 1=1--", "x" * 10_240, "bs_" + "a" * 10_240, "bs_ab12cd_\0", "\0", "schlüssel", "\ud800",
         "bs_", "null", "undefined", OPERATOR_KEY + "x", OPERATOR_KEY[:-1], OPERATOR_KEY.upper(), "..", "a.b.c",
         "e30.e30.", "é.è.à"],
    )  # fmt: skip
    @pytest.mark.parametrize("path", ["bearer", "api_key_header", "query_token"])
    def test_a_wrong_key_is_refused_on_every_path(
        self, rt: Any, path: str, value: str, caplog: pytest.LogCaptureFixture
    ) -> None:
        with caplog.at_level(logging.DEBUG), pytest.raises(Unauthorized):
            who(rt, **{path: value})
        assert "SELECT" not in caplog.text
        assert not value.strip() or value not in caplog.text

    @pytest.mark.parametrize("value", ["", "x", "\0", "x" * 10_240, "\ud800"])
    def test_a_wrong_cookie_is_refused_as_ended(self, rt: Any, value: str) -> None:
        with pytest.raises(Unauthorized) as refusal:
            who(rt, session_cookie=value)
        assert refusal.value.code == "session_expired"

    def test_the_operator_key_is_compared_in_constant_time(self, rt: Any, monkeypatch: pytest.MonkeyPatch) -> None:
        from webapp.identity import resolver

        compared: list[Any] = []
        real = hmac.compare_digest
        monkeypatch.setattr(resolver.hmac, "compare_digest", lambda a, b: compared.append((a, b)) or real(a, b))
        with pytest.raises(Unauthorized):
            who(rt, bearer="a guess")
        assert compared == [(b"a guess", OPERATOR_KEY.encode())]

    def test_without_an_operator_key_an_empty_value_is_not_the_operator(self, make_rt: Any) -> None:
        with pytest.raises(Unauthorized):
            who(make_rt(), bearer="")

    def test_a_wrong_first_credential_is_not_excused_by_a_good_second(self, rt: Any, every: Any, cookie: str) -> None:
        with pytest.raises(Unauthorized):
            who(rt, bearer="wrong", session_cookie=cookie)


class TestA03EveryPathAgrees:
    def refused(self, rt: Any, every: Any) -> None:
        for shown in every:
            with pytest.raises(Unauthorized):
                who(rt, **shown)

    def test_a_suspended_person(self, rt: Any, call: Any, alice: User, bob: User, person: Any, every: Any) -> None:
        call(service.set_active, bob.id, False, as_=person(alice))
        self.refused(rt, every)

    def test_a_suspended_person_whose_rows_were_left(self, rt: Any, bob: User, every: Any) -> None:
        with rt.unit() as db:
            db.execute(update(User).where(User.id == bob.id).values(is_active=False))
        self.refused(rt, every)

    def test_reinstating_revives_nothing(
        self, rt: Any, call: Any, alice: User, bob: User, person: Any, every: Any
    ) -> None:
        call(service.set_active, bob.id, False, as_=person(alice))
        call(service.set_active, bob.id, True, as_=person(alice))
        self.refused(rt, every)

    def test_expired(self, rt: Any, every: Any) -> None:
        with rt.unit() as db:
            for table in (ApiKey, LoginSession):
                db.execute(update(table).values(expires_at=utcnow() - timedelta(seconds=1)))
        self.refused(rt, every)

    def test_revoked(self, rt: Any, every: Any) -> None:
        with rt.unit() as db:
            for table in (ApiKey, LoginSession):
                db.execute(update(table).values(revoked_at=utcnow()))
        self.refused(rt, every)

    def test_a_deleted_person(self, rt: Any, bob: User, every: Any) -> None:
        with rt.unit() as db:
            db.delete(db.get(User, bob.id))
        self.refused(rt, every)


class TestA04Tokens:
    def claims(self, rt: Any, access: str) -> dict[str, Any]:
        key, _ = tokens._signing_key(rt.secret_key)
        return dict(jwt.decode(access, key, algorithms=["HS256"]).claims)

    def signed(self, rt: Any, claims: dict[str, Any], **header: Any) -> str:
        key, key_id = tokens._signing_key(rt.secret_key)
        return jwt.encode({"alg": "HS256", "kid": key_id, **header}, claims, key)

    def test_our_own_token_with_the_same_claims_is_good(self, rt: Any, access: str) -> None:
        """Else the refusals below would prove nothing."""
        assert who(rt, bearer=self.signed(rt, self.claims(rt, access))).via == "jwt"

    @pytest.mark.parametrize("alg", ["none", "None", "NONE", "HS512", "RS256", ""])
    @pytest.mark.parametrize("signature", ["", "AAAA"])
    def test_another_algorithm(self, rt: Any, access: str, alg: str, signature: str) -> None:
        header = base64.urlsafe_b64encode(json.dumps({"alg": alg, "typ": "JWT"}).encode()).rstrip(b"=").decode()
        with pytest.raises(Unauthorized):
            who(rt, bearer=f"{header}.{access.split('.')[1]}.{signature}")

    def test_signed_with_a_public_key_or_the_cookie_key(self, rt: Any, access: str) -> None:
        claims = self.claims(rt, access)
        public = RSAKey.generate_key(2048).as_pem(private=False)
        for secret in (
            public,
            rt.secret_key.encode(),
            b"x" * 32,
            hashlib.sha256(rt.secret_key.encode()).digest(),
        ):
            _, key_id = tokens._signing_key(rt.secret_key)
            header = {"alg": "HS256", "kid": key_id}
            body = ".".join(
                base64.urlsafe_b64encode(json.dumps(part).encode()).rstrip(b"=").decode() for part in (header, claims)
            )
            mac = hmac.digest(secret, body.encode(), "sha256")
            with pytest.raises(Unauthorized):
                who(rt, bearer=f"{body}.{base64.urlsafe_b64encode(mac).rstrip(b'=').decode()}")

    @pytest.mark.parametrize("kid", ["../../dev/null", "' UNION SELECT 'x'--", "", "0" * 16, None])
    def test_a_made_up_key_id(self, rt: Any, access: str, kid: Any) -> None:
        key, _ = tokens._signing_key(rt.secret_key)
        header = {"alg": "HS256"} | ({} if kid is None else {"kid": kid})
        with pytest.raises(Unauthorized):
            who(rt, bearer=jwt.encode(header, self.claims(rt, access), key))

    @pytest.mark.parametrize(
        "change",
        [{"exp": 1}, {"exp": "-6 s"}, {"nbf": "+60 s"}, {"iat": "+60 s"},
         {"aud": "another"}, {"aud": []}, {"aud": None}, {"iss": "another"}, {"iss": None}, {"exp": None},
         {"exp": "9999999999"}, {"nbf": None}, {"sub": None}, {"sid": None}, {"jti": None}, {"sid": "x"},
         {"sub": "x"}, {"sid": ["x"]}, {"sid": {"a": 1}}, {"sub": ""}, {"sid": ""}],
    )  # fmt: skip
    def test_a_claim_that_does_not_hold(self, rt: Any, access: str, change: dict[str, Any]) -> None:
        # From now, not from when the tests were collected.
        change = {name: time.time() + float(value[:-2]) if str(value).endswith(" s") else value
                  for name, value in change.items()}  # fmt: skip
        claims = {k: v for k, v in (self.claims(rt, access) | change).items() if v is not None}
        with pytest.raises(Unauthorized):
            who(rt, bearer=self.signed(rt, claims))

    def test_a_token_of_one_person_with_the_session_of_another(
        self, rt: Any, call: Any, alice: User, access: str
    ) -> None:
        claims = self.claims(rt, access) | {"sub": alice.id}
        with pytest.raises(Unauthorized):
            who(rt, bearer=self.signed(rt, claims))

    def test_a_changed_body(self, rt: Any, access: str) -> None:
        head, _, signature = access.split(".")
        body = base64.urlsafe_b64encode(json.dumps({"sub": "x"}).encode()).rstrip(b"=").decode()
        with pytest.raises(Unauthorized):
            who(rt, bearer=f"{head}.{body}.{signature}")

    def test_another_installation(self, rt: Any, make_rt: Any, bob: User, access: str) -> None:
        other = make_rt(SECRET_KEY="another key of another house")
        with pytest.raises(Unauthorized):
            who(other, bearer=access)

    def test_use_after_logout(self, rt: Any, call: Any, access: str, cookie: str) -> None:
        for shown in ({"bearer": access}, {"session_cookie": cookie}):
            call(service.logout, as_=who(rt, **shown))
            with pytest.raises(Unauthorized):
                who(rt, **shown)

    def test_use_after_the_refresh_token_was_reused(self, rt: Any, call: Any, bob: User) -> None:
        first = call(service.issue_tokens, bob)
        second = call(service.refresh, first.refresh)
        assert who(rt, bearer=second.access).id == bob.id
        with pytest.raises(Unauthorized):
            call(service.refresh, first.refresh)
        for made in (first, second):
            with pytest.raises(Unauthorized):
                who(rt, bearer=made.access)

    def test_use_after_the_password_changed(
        self, rt: Any, call: Any, bob: User, person: Any, password: str, access: str, cookie: str
    ) -> None:
        call(service.change_password, password, "a new good one", as_=person(bob))
        for shown in ({"bearer": access}, {"session_cookie": cookie}):
            with pytest.raises(Unauthorized):
                who(rt, **shown)


class TestCost:
    def statements(self, rt: Any) -> list[str]:
        seen: list[str] = []
        event.listen(rt.engine, "before_cursor_execute", lambda *args: seen.append(args[2]))
        return seen

    def test_every_path_takes_one_query(self, rt: Any, every: Any) -> None:
        for shown in every:
            who(rt, **shown)  # the first notes the use
        seen = self.statements(rt)
        for shown in every:
            seen.clear()
            who(rt, **shown)
            assert [s.split()[0] for s in seen if not s.startswith("BEGIN")] == ["SELECT"]

    def test_the_local_person_and_the_operator_take_none(self, rt: Any) -> None:
        local_actor(rt)
        seen = self.statements(rt)
        local_actor(rt)
        who(rt, bearer=OPERATOR_KEY)
        assert [s for s in seen if not s.startswith("BEGIN")] == []

    def test_use_is_noted_at_most_once_a_minute(self, rt: Any, key: Any) -> None:
        def last_used() -> Any:
            with rt.unit(write=False) as db:
                return db.scalar(select(ApiKey.last_used_at))

        who(rt, bearer=key[1])
        first = last_used()
        who(rt, bearer=key[1])
        assert first is not None
        assert last_used() == first
        with rt.unit() as db:
            db.execute(update(ApiKey).values(last_used_at=utcnow() - timedelta(seconds=61)))
        who(rt, bearer=key[1])
        assert last_used() >= first

    def test_noting_the_use_waits_for_nobody(self, rt: Any, key: Any) -> None:
        """Within a unit that holds SQLite's write lock a second writer would wait for itself."""
        with rt.unit() as db:
            start = time.perf_counter()
            resolve(rt, db, Credentials(bearer=key[1]))
        assert time.perf_counter() - start < 5


class TestReading:
    @pytest.mark.parametrize(
        ("header", "expected"),
        [(None, None), ("", None), ("Bearer abc", "abc"), ("bearer abc", "abc"), ("BEARER  abc ", "abc"),
         ("Bearer", None), ("Bearer ", None), ("Basic YWJj", "Basic YWJj"), ("abc", "abc")],
    )  # fmt: skip
    def test_the_authorization_header(self, header: str | None, expected: str | None) -> None:
        headers = {} if header is None else {"Authorization": header}
        assert read(headers, {}, None, reading=True).bearer == expected

    def test_a_token_in_the_address_counts_for_reading_only(self) -> None:
        assert read({}, {"token": "t"}, None, reading=True).by_program == "t"
        assert read({}, {"token": "t"}, None, reading=False).by_program is None

    def test_the_order_is_bearer_key_query_cookie(self) -> None:
        headers = {"Authorization": "Bearer a", "X-API-Key": "b"}
        assert read(headers, {"token": "c"}, "d", reading=True).by_program == "a"
        assert read({"X-API-Key": "b"}, {"token": "c"}, "d", reading=True).by_program == "b"
        assert read({}, {}, "d", reading=True).by_program is None
