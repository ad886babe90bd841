"""Files as rows and bytes: owners, lost bytes, and the clean-up of what nobody knows any more."""

from __future__ import annotations

import io
import os
import time
from datetime import timedelta
from typing import Any

import pytest

from tests.conftest import Cast, make_cast
from tests.fakes.lab import Lab
from webapp.core.context import ANONYMOUS, Actor
from webapp.core.db import utcnow
from webapp.core.errors import NotFound, StorageFull, TooLarge, UnsupportedMedia
from webapp.files import service
from webapp.files.models import Upload
from webapp.runtime import Runtime


@pytest.fixture
def lab(both_rt: Runtime) -> Lab:
    return Lab(both_rt)


@pytest.fixture
def people(both_rt: Runtime) -> Cast:
    return make_cast(both_rt)


def keep(lab: Lab, who: Actor, data: bytes = b"words", name: str = "a.txt") -> str:
    with lab.as_(who) as ctx:
        return service.store(ctx, io.BytesIO(data), name, "text/plain").id


def test_the_owner_reads_it_and_nobody_else(lab: Lab, people: Cast) -> None:
    ident = keep(lab, people.alice)
    assert service.load(lab.rt, people.alice.id, ident) == ("a.txt", "text/plain", b"words")
    for who in (people.charlie, people.root, ANONYMOUS):
        with lab.as_(who, write=False) as ctx, pytest.raises(NotFound):
            service.get(ctx, ident)
        with pytest.raises(NotFound):
            service.load(lab.rt, who.id, ident)


@pytest.mark.parametrize("ident", ["", "x" * 5000, "' OR 1=1--", "../brainstem.db", "²"])
def test_ids_that_are_none(lab: Lab, people: Cast, ident: str) -> None:
    keep(lab, people.alice)
    with lab.as_(people.alice, write=False) as ctx, pytest.raises(NotFound):
        service.get(ctx, ident)


def test_a_request_that_fails_leaves_no_row(lab: Lab, people: Cast) -> None:
    with pytest.raises(RuntimeError), lab.as_(people.alice) as ctx:
        service.store(ctx, io.BytesIO(b"words"), "a.txt", None)
        raise RuntimeError("later in the same request")
    assert lab.count("uploads") == 0


def test_the_clean_up_removes_the_old_and_the_unknown_only(lab: Lab, people: Cast) -> None:
    folder = service.blobs(lab.rt.settings)
    fresh, old, lost = (keep(lab, people.alice) for _ in range(3))
    hour_ago = time.time() - 2 * 3600
    for ident in (fresh, old, lost):
        os.utime(folder.root / ident, (hour_ago, hour_ago))
    with lab.rt.unit() as db:
        row = db.get(Upload, old)
        assert row is not None
        row.created_at = utcnow() - timedelta(days=31)
        db.delete(db.get(Upload, lost))
    young = folder.root / "0190-young-without-row"
    young.write_bytes(b"its request may still run")
    assert service.clean(lab.rt) == 2
    assert set(folder.names()) == {fresh, young.name}
    assert lab.count("uploads") == 1
    assert service.clean(lab.rt) == 0


def test_a_full_disk_is_said_and_leaves_nothing(lab: Lab, people: Cast, monkeypatch: pytest.MonkeyPatch) -> None:
    import errno

    from webapp.core import blobs

    def full(*args: Any) -> Any:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(blobs, "_copy", full)
    with pytest.raises(StorageFull):
        keep(lab, people.alice)
    assert service.blobs(lab.rt.settings).names() == []
    assert lab.count("uploads") == 0


def test_a_user_who_goes_takes_the_files_rows_along(lab: Lab, people: Cast) -> None:
    keep(lab, people.alice)
    lab.sql("DELETE FROM users WHERE id = :id", id=people.alice.id)
    assert lab.count("uploads") == 0


def test_each_type_may_have_a_limit_of_its_own(make_rt: Any) -> None:
    """M064"""
    rt = make_rt(BRAINSTEM_MAX_UPLOAD_MB="2", BRAINSTEM_UPLOAD_LIMITS="md=1,html=3,pdf=0")
    lab, alice = Lab(rt), make_cast(rt).alice
    megabyte = b"x" * 2**20
    assert rt.settings.largest_upload_mb == 3
    for name, size, fits in (
        ("a.txt", 2, True),
        ("a.md", 1, True),
        ("a.MD", 2, False),
        ("a.html", 3, True),
        ("a.txt", 3, False),
    ):
        if fits:
            keep(lab, alice, megabyte * size, name)
            continue
        with pytest.raises(TooLarge):
            keep(lab, alice, megabyte * size, name)
    with pytest.raises(UnsupportedMedia):
        keep(lab, alice, b"%PDF-", "a.pdf")
    assert lab.count("uploads") == 3
    assert len(service.blobs(rt.settings).names()) == 3
