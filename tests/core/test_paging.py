"""Cursors: opaque, checked, and right for any number of rows and any page size."""

from __future__ import annotations

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import select

from webapp.core.errors import BadRequest
from webapp.core.paging import _decode, keyset
from webapp.identity.models import User
from webapp.runtime import Runtime


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(rows=st.integers(0, 12), limit=st.integers(1, 7))
def test_walking_forth_and_back_sees_every_row_once(rt: Runtime, rows: int, limit: int) -> None:
    with rt.unit() as db:
        db.query(User).delete()
        for number in range(rows):
            db.add(User(id=f"{number:03}", username=str(number), username_key=str(number)))
        db.flush()
        stmt, expected = select(User), [f"{number:03}" for number in reversed(range(rows))]
        pages = [keyset(db, stmt, User.id, cursor=None, limit=limit)]
        while pages[-1].next_cursor:
            pages.append(keyset(db, stmt, User.id, cursor=pages[-1].next_cursor, limit=limit))
        assert [user.id for page in pages for user in page.items] == expected
        back = [pages[-1]]
        while back[-1].prev_cursor:
            back.append(keyset(db, stmt, User.id, cursor=back[-1].prev_cursor, limit=limit))
        assert [[u.id for u in page.items] for page in back] == [[u.id for u in page.items] for page in pages[::-1]]


@given(st.text(max_size=600))
def test_any_text_is_a_cursor_or_a_bad_request(text: str) -> None:
    try:
        direction, value = _decode(text)
    except BadRequest:
        return
    assert direction in ("next", "prev")
    assert value is None or 0 < len(value) <= 64
