"""What administrators do with accounts."""

from __future__ import annotations

from typing import Any

import pytest
from sqlalchemy import select

from webapp.core.audit import AuditEntry
from webapp.core.context import SYSTEM, Ctx
from webapp.core.errors import BadRequest, Conflict, Forbidden, Invalid, NotFound, Unauthorized
from webapp.identity import people, service, tokens
from webapp.identity.models import User


@pytest.fixture
def root(alice: User, person: Any) -> Any:
    return person(alice)


def audited(rt: Any) -> list[tuple[str, str]]:
    with rt.unit(write=False) as db:
        return [(row.action, row.detail["name"]) for row in db.scalars(select(AuditEntry).order_by(AuditEntry.id))]


def test_found_by_name_email_state_and_role(rt: Any, call: Any, bob: User, root: Any, password: str) -> None:
    call(people.create, "Carol", email="carol@elsewhere.test", as_=root)
    call(people.create, "dave", password=password, is_admin=True, as_=root)
    call(service.set_active, bob.id, False, as_=root)

    def names(**asked: Any) -> list[str]:
        return [one.user.username for one in call(people.search, as_=root, **asked).items]

    assert names() == ["dave", "Carol", "bob", "alice"]
    assert names(q="CARO") == names(q="elsewhere") == ["Carol"]
    assert names(q="%") == names(q="_a_") == []
    assert (names(state="invited"), names(state="suspended"), names(state="active")) == (
        ["Carol"],
        ["bob"],
        ["dave", "alice"],
    )
    assert names(role="admin") == ["dave", "alice"]
    with pytest.raises(BadRequest):
        names(state="gone")
    first = call(people.search, as_=root, limit=3)
    assert [one.user.username for one in call(people.search, as_=root, limit=3, cursor=first.next_cursor).items] == [
        "alice"
    ]


def test_a_list_counts_sessions_and_keys_without_a_query_a_row(
    rt: Any, call: Any, bob: User, root: Any, person: Any
) -> None:
    from tests.fakes.lab import QueryCounter

    call(service.start_session, bob)
    call(service.create_api_key, "k", ["tasks:read"], as_=person(bob))
    with QueryCounter(rt) as counter:
        found = {one.user.username: (one.sessions, one.keys) for one in call(people.search, as_=root).items}
    assert found == {"alice": (0, 0), "bob": (1, 1)}
    few = len(counter)
    for number in range(8):
        call(people.create, f"p{number}", as_=root)
    with QueryCounter(rt) as counter:
        call(people.search, as_=root)
    assert len(counter) == few


def test_nobody_else_may(call: Any, bob: User, alice: User, person: Any) -> None:
    me = person(bob)
    for verb, args in (
        (people.search, ()), (people.get, (alice.id,)), (people.create, ("x",)), (people.set_role, (bob.id, True)),
        (people.reset_password, (alice.id,)), (people.end_sessions, (alice.id,)), (people.revoke_keys, (alice.id,)),
        (people.invite, (alice.id,)), (people.by_name, ("alice",)),
    ):  # fmt: skip
        with pytest.raises(Forbidden):
            call(verb, *args, as_=me)


# -- invitations -----------------------------------------------------------------------------------------------------


def test_an_invited_person_sets_a_password_once(rt: Any, call: Any, root: Any) -> None:
    user, token = call(people.create, "carol", as_=root)
    assert token
    with pytest.raises(Unauthorized):
        call(service.authenticate, "carol", "")
    assert call(people.invited, token).id == user.id
    call(people.accept, token, "a fine long one")
    assert call(service.authenticate, "carol", "a fine long one").id == user.id
    for verb, args in ((people.invited, (token,)), (people.accept, (token, "another long one"))):
        with pytest.raises(NotFound):
            call(verb, *args)
    assert audited(rt) == [("user.create", "carol")]


def test_a_weak_password_leaves_the_invitation_open(call: Any, root: Any) -> None:
    _, token = call(people.create, "carol", as_=root)
    with pytest.raises(Invalid):
        call(people.accept, token, "carol")
    call(people.accept, token, "a fine long one")


@pytest.mark.parametrize("token", ["", "x", "a.b.c", "a.1.c", ".".join(["x" * 40, "9" * 12, "y"]), "é.1.x", "a" * 300])
def test_a_made_up_invitation_opens_nothing(call: Any, alice: User, token: str) -> None:
    with pytest.raises(NotFound):
        call(people.invited, token)


def test_an_invitation_is_for_one_person_and_one_week(
    rt: Any, call: Any, root: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    import time

    carol, token = call(people.create, "carol", as_=root)
    dave, _ = call(people.create, "dave", as_=root)
    _, until, mark = token.split(".")
    for forged in (
        f"{dave.id}.{until}.{mark}",
        f"{carol.id}.{int(until) + 1}.{mark}",
        f"{carol.id}.{until}.{'0' * 64}",
    ):
        with pytest.raises(NotFound):
            call(people.invited, forged)
    assert not tokens.is_invitation("another secret of a program", token, None)
    now = time.time()
    monkeypatch.setattr(tokens.time, "time", lambda: now + 8 * 86400)
    with pytest.raises(NotFound):
        call(people.invited, token)


def test_a_suspended_persons_invitation_is_closed(call: Any, root: Any) -> None:
    user, token = call(people.create, "carol", as_=root)
    call(service.set_active, user.id, False, as_=root)
    with pytest.raises(NotFound):
        call(people.accept, token, "a fine long one")


def test_who_has_a_password_is_not_invited(call: Any, bob: User, root: Any) -> None:
    with pytest.raises(Conflict):
        call(people.invite, bob.id, as_=root)


# -- resetting, ending -----------------------------------------------------------------------------------------------


def test_a_reset_by_link_ends_all_logins_and_the_old_password(call: Any, bob: User, root: Any, password: str) -> None:
    issued = call(service.issue_tokens, bob)
    token = call(people.reset_password, bob.id, as_=root)
    with pytest.raises(Unauthorized):
        call(service.authenticate, "bob", password)
    with pytest.raises(Unauthorized):
        call(service.refresh, issued.refresh)
    call(people.accept, token, "a fine long one")
    call(service.authenticate, "bob", "a fine long one")


def test_a_reset_to_a_given_password(rt: Any, call: Any, bob: User, root: Any) -> None:
    with pytest.raises(Invalid):
        call(people.reset_password, bob.id, "short", as_=root)
    assert call(people.reset_password, bob.id, "a fine long one", as_=root) is None
    call(service.authenticate, "bob", "a fine long one")
    assert audited(rt) == [("user.password", "bob")]


def test_ending_sessions_and_keys(rt: Any, call: Any, bob: User, root: Any, person: Any) -> None:
    call(service.start_session, bob)
    call(service.issue_tokens, bob)
    call(service.create_api_key, "k", ["tasks:read"], as_=person(bob))
    shown = call(people.get, bob.id, as_=root)
    assert (len(shown.logins), len(shown.api_keys)) == (2, 1)
    assert (call(people.end_sessions, bob.id, as_=root), call(people.revoke_keys, bob.id, as_=root)) == (2, 1)
    assert (call(people.end_sessions, bob.id, as_=root), call(people.revoke_keys, bob.id, as_=root)) == (0, 0)
    assert audited(rt) == [("user.sessions", "bob"), ("user.keys", "bob")]
    with pytest.raises(NotFound):
        call(people.end_sessions, "nobody", as_=root)


# -- roles -----------------------------------------------------------------------------------------------------------


def test_roles_change_both_ways_but_not_ones_own(
    rt: Any, call: Any, alice: User, bob: User, root: Any, person: Any
) -> None:
    assert call(people.set_role, bob.id, True, as_=root).is_admin
    call(people.set_role, bob.id, True, as_=root)
    with pytest.raises(Conflict):
        call(people.set_role, alice.id, False, as_=root)
    bob.is_admin = True
    assert not call(people.set_role, alice.id, False, as_=person(bob)).is_admin
    assert audited(rt) == [("user.role", "bob"), ("user.role", "alice")]


def test_the_local_account_stays_as_it_is(rt: Any, call: Any, root: Any) -> None:
    local, _ = service.local_account(rt)
    for verb, more in ((people.set_role, (False,)), (people.reset_password, ()), (people.invite, ())):
        with pytest.raises(Conflict):
            call(verb, local, *more, as_=root)


def test_the_last_administrator_who_can_log_in_is_protected(make_rt: Any, call_on: Any, password: str) -> None:
    rt = make_rt(AUTH_REQUIRED="1", BRAINSTEM_LOGIN_RATE_LIMIT="1000/minute")
    call = call_on(rt)
    alice = call(service.register, "alice", password)
    invited, _ = call(people.create, "carol", is_admin=True, as_=SYSTEM)
    for verb, more in ((people.set_role, (False,)), (service.set_active, (False,)), (people.reset_password, ())):
        with pytest.raises(Conflict) as caught:
            call(verb, alice.id, *more, as_=SYSTEM)
        assert caught.value.code == "last_admin", "carol has no password yet"
    call(people.reset_password, invited.id, "a fine long one", as_=SYSTEM)
    call(people.set_role, alice.id, False, as_=SYSTEM)
    with pytest.raises(Conflict):
        call(service.set_active, invited.id, False, as_=SYSTEM)


def test_of_two_who_take_each_others_role_one_stays(make_rt: Any, call_on: Any, password: str, person: Any) -> None:
    """On SQLite writers come one after the other; Postgres waits at an advisory lock (tests/administration)."""
    rt = make_rt(AUTH_REQUIRED="1", BRAINSTEM_LOGIN_RATE_LIMIT="1000/minute")
    call = call_on(rt)
    alice = call(service.register, "alice", password)
    bob, _ = call(people.create, "bob", password=password, is_admin=True, as_=SYSTEM)
    call(people.set_role, bob.id, False, as_=person(alice))
    with rt.unit() as db, pytest.raises(Conflict):
        people.set_role(Ctx(rt, db, SYSTEM), alice.id, False)
