"""Accounts, logins, tokens and keys, without a web server. Drill numbers are those of the security drills."""

from __future__ import annotations

import threading
import time
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import func, select, text, update

from webapp.core.context import ANONYMOUS, SYSTEM
from webapp.core.db import utcnow
from webapp.core.errors import Conflict, Forbidden, Invalid, NotFound, TooManyRequests, Unauthorized
from webapp.identity import passwords, service, tokens
from webapp.identity.models import ApiKey, LoginSession, RefreshToken, User


class TestRegister:
    def test_the_first_account_is_an_administrator(self, alice: User, bob: User) -> None:
        assert alice.is_admin
        assert not bob.is_admin

    def test_the_local_account_does_not_count_as_first(self, rt: Any, call: Any, password: str) -> None:
        with rt.unit() as db:
            service.local_user(db)
        assert call(service.register, "alice", password).is_admin

    @pytest.mark.parametrize("name", ["alice", "ALICE", " Alice ", "ＡＬＩＣＥ"])
    def test_a_name_is_taken_in_any_spelling(self, call: Any, alice: User, password: str, name: str) -> None:
        with pytest.raises(Conflict):
            call(service.register, name, password)

    def test_an_email_is_taken_in_any_spelling(self, call: Any, bob: User, password: str) -> None:
        with pytest.raises(Conflict) as refusal:
            call(service.register, "carol", password, "BOB@example.org")
        assert refusal.value.details[0]["loc"] == ["email"]

    @pytest.mark.parametrize("name", ["", " ", "a b", "a@b", "a\0b", "x" * 65, "local", "System", "<b>", "a/b", "a\nb"])
    def test_a_bad_or_reserved_name_is_refused(self, call: Any, password: str, name: str) -> None:
        with pytest.raises(Invalid):
            call(service.register, name, password)

    @pytest.mark.parametrize("bad", ["", "short", "x" * 1025, "longusername"])
    def test_a_bad_password_is_refused(self, call: Any, bad: str) -> None:
        with pytest.raises(Invalid):
            call(service.register, "LongUserName", bad)

    def test_closed_registration_is_open_to_administrators(self, make_rt: Any, call_on: Any, password: str) -> None:
        call = call_on(make_rt(BRAINSTEM_REGISTRATION="0"))
        with pytest.raises(Forbidden):
            call(service.register, "alice", password)
        assert call(service.register, "alice", password, as_=SYSTEM).username == "alice"

    def test_two_first_registrations_at_once_make_one_administrator(self, rt: Any, call: Any, password: str) -> None:
        threads = [threading.Thread(target=call, args=(service.register, f"user{n}", password)) for n in range(6)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        with rt.unit(write=False) as db:
            assert db.scalar(select(func.count()).where(User.is_admin)) == 1
            assert db.scalar(select(func.count()).select_from(User)) == 6

    def test_the_hash_is_as_strong_as_advised(self, real_hashes: None, call: Any, password: str) -> None:
        # OWASP's least, in 2023: 19 MiB with two passes
        assert call(service.register, "alice", password).password_hash.startswith("$argon2id$v=19$m=47104,t=2,p=1$")

    def test_the_password_is_stored_as_argon2id_only(self, alice: User, password: str) -> None:
        assert alice.password_hash
        assert alice.password_hash.startswith("$argon2id$v=19$")
        assert password not in repr(vars(alice))


class TestAuthenticate:
    @pytest.mark.parametrize("login", ["bob", "BOB", "bob@example.org", "Bob@Example.org"])
    def test_by_name_or_email(self, call: Any, bob: User, password: str, login: str) -> None:
        found = call(service.authenticate, login, password)
        assert found.id == bob.id
        assert found.last_login_at is not None

    @pytest.mark.parametrize("login", ["bob", "nobody", "", "bob\0", "' OR 1=1--", "%", "x" * 254, "a@b@c", "local"])
    def test_everything_wrong_sounds_the_same(self, rt: Any, call: Any, bob: User, login: str) -> None:
        with rt.unit() as db:
            service.local_user(db)
        with pytest.raises(Unauthorized) as refusal:
            call(service.authenticate, login, "not the password")
        assert refusal.value.code == "bad_login"

    def test_a_suspended_person_is_refused_like_a_wrong_password(
        self, call: Any, alice: User, bob: User, person: Any, password: str
    ) -> None:
        call(service.set_active, bob.id, False, as_=person(alice))
        with pytest.raises(Unauthorized) as refusal:
            call(service.authenticate, "bob", password)
        assert refusal.value.code == "bad_login"

    def test_a45_unknown_names_take_as_long_as_known_ones(self, real_hashes: None, call: Any, bob: User) -> None:
        def seconds(name: str) -> float:
            start = time.process_time()  # of the processor: a busy machine tells nothing about the two paths
            with pytest.raises(Unauthorized):
                call(service.authenticate, name, "not the password")
            return time.process_time() - start

        seconds("nobody")  # the dummy hash is made once
        pairs = [(seconds("bob"), seconds("nobody")) for _ in range(7)]
        known, unknown = (min(times) for times in zip(*pairs, strict=True))  # the least disturbed of each
        assert known > 0.01, "the hash is not slow at all"
        assert 0.7 < unknown / known < 1.4

    def test_an_old_hash_is_renewed_at_login(self, rt: Any, call: Any, bob: User, password: str) -> None:
        from argon2 import PasswordHasher

        weak = PasswordHasher(time_cost=1, memory_cost=8192, parallelism=1).hash(password)
        with rt.unit() as db:
            db.execute(update(User).where(User.id == bob.id).values(password_hash=weak))
        call(service.authenticate, "bob", password)
        with rt.unit(write=False) as db:
            stored = db.get(User, bob.id).password_hash
        assert stored != weak
        assert not passwords.needs_rehash(stored)
        assert call(service.authenticate, "bob", password).id == bob.id

    def test_trying_passwords_does_not_block_other_writers(
        self, rt: Any, call: Any, bob: User, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def verify(stored: str | None, given: str) -> bool:
            with rt.unit() as other:  # would wait 15 s and fail if the login held the write lock
                other.execute(text("UPDATE users SET email = email"))
            return False

        monkeypatch.setattr(passwords, "verify", verify)
        with pytest.raises(Unauthorized):
            call(service.authenticate, "bob", "x")


class TestA45Limits:
    def test_one_address_trying_many_names(self, make_rt: Any, call_on: Any, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(passwords, "verify", lambda stored, given: False)
        call = call_on(make_rt())
        for n in range(10):
            with pytest.raises(Unauthorized):
                call(service.authenticate, f"user{n}", "x")
        with pytest.raises(TooManyRequests) as refusal:
            call(service.authenticate, "user11", "x")
        assert 1 <= refusal.value.retry_after <= 60

    def test_many_addresses_trying_one_name(self, make_rt: Any, call_on: Any, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(passwords, "verify", lambda stored, given: False)
        call = call_on(make_rt())
        for n in range(10):
            with pytest.raises(Unauthorized):
                call(service.authenticate, "Bob" if n % 2 else "bob", "x", ip=f"192.0.2.{n}")
        with pytest.raises(TooManyRequests):
            call(service.authenticate, "bob", "x", ip="192.0.2.99")


class TestTokens:
    def login(self, call: Any, password: str) -> service.Tokens:
        def both(ctx: Any) -> service.Tokens:
            return service.issue_tokens(ctx, service.authenticate(ctx, "bob", password), "test")

        made: service.Tokens = call(both)
        return made

    def test_each_refresh_token_is_good_once_and_gives_the_next(self, call: Any, bob: User, password: str) -> None:
        first = self.login(call, password)
        second = call(service.refresh, first.refresh)
        third = call(service.refresh, second.refresh)
        assert len({first.refresh, second.refresh, third.refresh}) == 3
        assert len({first.access, second.access, third.access}) == 3

    def test_a04_reuse_ends_the_whole_family(self, rt: Any, call: Any, bob: User, password: str) -> None:
        first = self.login(call, password)
        second = call(service.refresh, first.refresh)
        with pytest.raises(Unauthorized) as refusal:
            call(service.refresh, first.refresh)
        assert refusal.value.code == "refresh_reused"
        with pytest.raises(Unauthorized):
            call(service.refresh, second.refresh)
        with rt.unit(write=False) as db:
            assert db.scalars(select(LoginSession)).one().revoked_at is not None

    def test_a04_of_two_refreshes_at_once_one_wins_and_the_login_ends(
        self, rt: Any, call: Any, bob: User, password: str
    ) -> None:
        first = self.login(call, password)
        results: list[Any] = []
        start = threading.Barrier(4)

        def go() -> None:
            start.wait()
            try:
                results.append(call(service.refresh, first.refresh))
            except Unauthorized as exc:
                results.append(exc)

        threads = [threading.Thread(target=go) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert sum(isinstance(result, service.Tokens) for result in results) == 1
        with rt.unit(write=False) as db:
            assert db.scalars(select(LoginSession)).one().revoked_at is not None

    @pytest.mark.parametrize("bad", ["", "x", "\0", "é" * 50, "' OR 1=1--", "a.b.c"])
    def test_a04_a_made_up_refresh_token_is_refused(self, call: Any, bob: User, bad: str) -> None:
        with pytest.raises(Unauthorized):
            call(service.refresh, bad)

    def test_an_expired_refresh_token_is_refused(self, rt: Any, call: Any, bob: User, password: str) -> None:
        made = self.login(call, password)
        with rt.unit() as db:
            db.execute(update(RefreshToken).values(expires_at=utcnow() - timedelta(seconds=1)))
        with pytest.raises(Unauthorized):
            call(service.refresh, made.refresh)

    def test_logout_ends_the_refresh_token(self, rt: Any, call: Any, bob: User, person: Any, password: str) -> None:
        made = self.login(call, password)
        _, session_id = tokens.read_access_token(rt.secret_key, made.access) or ("", "")
        call(service.logout, as_=person(bob, session_id))
        with pytest.raises(Unauthorized):
            call(service.refresh, made.refresh)

    def test_a44_no_secret_is_in_the_database(self, rt: Any, call: Any, bob: User, person: Any, password: str) -> None:
        made = self.login(call, password)
        cookie = call(service.start_session, bob)
        _, key = call(service.create_api_key, "k", ["tasks:read"], as_=person(bob))
        with rt.unit(write=False) as db:
            rows = [repr(dict(row)) for table in ("users", "api_keys", "login_sessions", "refresh_tokens")
                    for row in db.execute(text(f"SELECT * FROM {table}")).mappings()]  # fmt: skip
        for secret in (password, made.refresh, made.access, cookie, key):
            assert not any(secret in row for row in rows)

    def test_long_ended_logins_are_forgotten_with_their_tokens(
        self, rt: Any, call: Any, bob: User, password: str
    ) -> None:
        self.login(call, password)
        with rt.unit() as db:
            assert service.purge_expired(db) == 0
            db.execute(update(LoginSession).values(expires_at=utcnow() - timedelta(days=31)))
            assert service.purge_expired(db) == 1
            assert db.scalars(select(RefreshToken)).all() == []


class TestPassword:
    def test_a_change_ends_the_other_logins_only(
        self, rt: Any, call: Any, bob: User, person: Any, password: str
    ) -> None:
        call(service.start_session, bob)
        call(service.start_session, bob)
        here = call(service.list_sessions, as_=person(bob))[0].id
        call(service.change_password, password, "a new good one", as_=person(bob, here))
        assert [row.id for row in call(service.list_sessions, as_=person(bob, here))] == [here]
        assert call(service.authenticate, "bob", "a new good one").id == bob.id
        with pytest.raises(Unauthorized):
            call(service.authenticate, "bob", password)

    @pytest.mark.parametrize("current", ["", "wrong", None])
    def test_a05_the_current_password_is_needed(self, call: Any, bob: User, person: Any, current: Any) -> None:
        with pytest.raises(Invalid):
            call(service.change_password, current, "a new good one", as_=person(bob))

    def test_the_local_person_sets_a_first_password_and_can_then_log_in(self, rt: Any, call: Any) -> None:
        from webapp.identity.resolver import local_actor

        call(service.change_password, None, "a new good one", as_=local_actor(rt))
        user = call(service.authenticate, "local", "a new good one")
        assert user.is_local
        assert user.is_admin

    def test_the_command_line_sets_a_password_and_ends_all_logins(
        self, rt: Any, call: Any, bob: User, person: Any
    ) -> None:
        call(service.start_session, bob)
        with rt.unit() as db:
            service.set_password(db, "bob", "a new good one")
        assert call(service.list_sessions, as_=person(bob)) == []
        assert call(service.authenticate, "bob", "a new good one").id == bob.id
        with rt.unit() as db, pytest.raises(NotFound):
            service.set_password(db, "nobody", "a new good one")

    def test_the_command_line_makes_administrators(self, rt: Any, call: Any, alice: User, bob: User) -> None:
        for name in ("root", "bob"):
            with rt.unit() as db:
                service.create_admin(db, name, "a new good one")
            assert call(service.authenticate, name, "a new good one").is_admin


class TestProfile:
    def test_a_new_name_and_email(self, call: Any, bob: User, person: Any, password: str) -> None:
        call(service.update_profile, "Robert", "rob@example.org", as_=person(bob))
        assert call(service.authenticate, "robert", password).email == "rob@example.org"

    def test_a_taken_name_is_refused_and_nothing_changes(self, call: Any, alice: User, bob: User, person: Any) -> None:
        with pytest.raises(Conflict):
            call(service.update_profile, "Alice", None, as_=person(bob))
        assert call(service.me, as_=person(bob)).username == "bob"

    def test_the_local_account_keeps_or_changes_its_name(self, rt: Any, call: Any) -> None:
        from webapp.identity.resolver import local_actor

        call(service.update_profile, "local", "me@example.org", as_=local_actor(rt))
        call(service.update_profile, "Owner", None, as_=local_actor(rt))
        assert local_actor(rt).username == "Owner"


class TestApiKeys:
    def test_a_key_is_shown_once_and_kept_as_a_hash(self, call: Any, bob: User, person: Any) -> None:
        row, secret = call(service.create_api_key, " mine ", ["tasks:read", "tasks:read"], as_=person(bob))
        assert secret.startswith(row.prefix + "_")
        assert len(secret) > 50
        assert (row.name, row.scopes) == ("mine", ["tasks:read"])
        assert row.key_hash == tokens.digest(secret)
        assert [key.id for key in call(service.list_api_keys, as_=person(bob))] == [row.id]

    @pytest.mark.parametrize("scopes", [[], ["tasks:delete"], ["tasks:read", "*"]])
    def test_unknown_scopes_are_refused(self, call: Any, bob: User, person: Any, scopes: list[str]) -> None:
        with pytest.raises(Invalid):
            call(service.create_api_key, "k", scopes, as_=person(bob))

    def test_only_an_administrator_makes_an_admin_key(self, call: Any, alice: User, bob: User, person: Any) -> None:
        call(service.create_api_key, "k", ["admin"], as_=person(alice))
        with pytest.raises(Forbidden):
            call(service.create_api_key, "k", ["admin"], as_=person(bob))

    def test_a03_a_key_cannot_make_itself_a_bigger_one(self, call: Any, alice: User) -> None:
        from webapp.core.context import Actor

        key = Actor(alice.id, alice.username, True, via="api_key", scopes=frozenset({"tasks:read", "admin"}))
        for verb, args in [
            (service.create_api_key, ("k", ["admin"])),
            (service.list_api_keys, ()),
            (service.change_password, ("x", "a new good one")),
            (service.list_sessions, ()),
            (service.update_profile, ("mallory", None)),
        ]:
            with pytest.raises(Forbidden) as refusal:
                call(verb, *args, as_=key)
            assert refusal.value.code == "person_required"

    def test_a06_somebody_elses_key_or_session_is_not_found(
        self, call: Any, alice: User, bob: User, person: Any
    ) -> None:
        row, _ = call(service.create_api_key, "k", ["tasks:read"], as_=person(alice))
        call(service.start_session, alice)
        login = call(service.list_sessions, as_=person(alice))[0]
        with pytest.raises(NotFound):
            call(service.revoke_api_key, row.id, as_=person(bob))
        with pytest.raises(NotFound):
            call(service.revoke_session, login.id, as_=person(bob))
        assert call(service.list_api_keys, as_=person(alice))
        assert call(service.list_sessions, as_=person(alice))

    def test_revoking_twice_is_not_found(self, call: Any, bob: User, person: Any) -> None:
        row, _ = call(service.create_api_key, "k", ["tasks:read"], as_=person(bob))
        call(service.revoke_api_key, row.id, as_=person(bob))
        assert call(service.list_api_keys, as_=person(bob)) == []
        with pytest.raises(NotFound):
            call(service.revoke_api_key, row.id, as_=person(bob))

    def test_a_key_that_would_have_expired_is_refused(self, call: Any, bob: User, person: Any) -> None:
        with pytest.raises(Invalid):
            call(service.create_api_key, "k", ["tasks:read"], utcnow() - timedelta(days=1), as_=person(bob))


class TestSuspension:
    def test_it_ends_everything_for_good(self, rt: Any, call: Any, alice: User, bob: User, person: Any) -> None:
        call(service.start_session, bob)
        call(service.create_api_key, "k", ["tasks:read"], as_=person(bob))
        call(service.set_active, bob.id, False, as_=person(alice))
        call(service.set_active, bob.id, True, as_=person(alice))
        with rt.unit(write=False) as db:
            assert db.scalars(select(LoginSession.revoked_at)).one() is not None
            assert db.scalars(select(ApiKey.revoked_at)).one() is not None

    def test_only_an_administrator_may_and_never_themselves(
        self, rt: Any, call: Any, alice: User, bob: User, person: Any
    ) -> None:
        with rt.unit() as db:
            local = service.local_user(db)
        with pytest.raises(Forbidden):
            call(service.set_active, alice.id, False, as_=person(bob))
        with pytest.raises(Forbidden):
            call(service.list_users, as_=person(bob))
        for target in (alice.id, local.id):
            with pytest.raises(Conflict):
                call(service.set_active, target, False, as_=person(alice))
        with pytest.raises(NotFound):
            call(service.set_active, "nobody", False, as_=person(alice))


def test_the_local_account_is_made_once(rt: Any) -> None:
    with rt.unit() as db:
        first = service.local_user(db).id
    with rt.unit() as db:
        assert service.local_user(db).id == first
        assert not service.has_password_user(db)


def test_nobody_has_no_account(call: Any) -> None:
    with pytest.raises(Unauthorized):
        call(service.me, as_=ANONYMOUS)
