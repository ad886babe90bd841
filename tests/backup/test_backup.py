"""A backup holds everything that cannot be made again; a restore brings back exactly that, or changes nothing."""

from __future__ import annotations

import gzip
import io
import json
import os
import tarfile
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import inspect

from tests.backup.conftest import Place
from tests.conftest import build_runtime, make_cast
from tests.fakes.lab import Lab
from webapp.backup import database, service, trial
from webapp.backup.archive import Unusable
from webapp.core import migrate
from webapp.core.db import make_engine
from webapp.core.errors import AppError, Conflict
from webapp.files import service as files
from webapp.runtime import Runtime

TEXT = b"The harbour was frozen for six weeks that winter."


class Full:
    """A place with work, uploads, a conversation's worth of rows and a collection."""

    def __init__(self, rt: Runtime) -> None:
        self.rt, self.lab = rt, Lab(rt)
        self.cast = make_cast(rt)
        self.tasks = [self.lab.start(self.cast.alice) for _ in range(5)]
        self.lab.run()
        self.uploads = [self.upload(f"harbour {number}.txt") for number in range(3)]

    def upload(self, name: str, data: bytes = TEXT) -> str:
        with self.lab.as_(self.cast.alice) as ctx:
            return str(files.store(ctx, io.BytesIO(data), name, "text/plain").id)

    def rows(self) -> dict[str, int]:
        return trial.counts(self.rt.engine)


@pytest.fixture
def full(both_rt: Runtime) -> Full:
    return Full(both_rt)


def opened(place: Place) -> Runtime:
    return build_runtime(place.env)


def test_what_was_there_is_there_again(full: Full, make_place: Callable[[bool], Place], tmp_path: Path) -> None:
    (full.rt.settings.home_dir / "brainstem.env").write_text("BRAINSTEM_LOG_LEVEL=WARNING\n")
    before = full.rows()
    file = tmp_path / "all.tgz"
    manifest = service.make(full.rt, file)
    assert file.stat().st_mode & 0o077 == 0, "the secret is in it"
    assert manifest["database"]["revision"] == migrate.head()
    assert {name for name in manifest["files"] if name.startswith("files/")} == {f"files/{one}" for one in full.uploads}
    place = make_place(bool(full.rt.roles))
    done = service.restore(place.settings, file)
    assert done.revision == migrate.head()
    rt = opened(place)
    after = trial.counts(rt.engine)
    assert after == before
    assert rt.secret_key == full.rt.secret_key
    assert (place.home / "brainstem.env").read_text() == "BRAINSTEM_LOG_LEVEL=WARNING\n"
    for one in full.uploads:
        assert files.load(rt, full.cast.alice.id, one)[2] == TEXT
    lab = Lab(rt)
    assert {lab.row(one).status for one in full.tasks} == {"completed", "queued"}
    assert lab.run_all() == 4, "what waited runs on"
    assert migrate.differences(rt.engine) == []
    rt.close()
    assert not [one for one in full.rt.settings.home_dir.iterdir() if one.name.startswith(".backup-")]
    assert not [one for one in place.home.iterdir() if one.name.startswith(".restore-")]


def test_the_vector_index_is_asked_for(full: Full, make_place: Callable[[bool], Place], tmp_path: Path) -> None:
    from webapp.knowledge.service import collections

    with full.lab.as_(full.cast.alice) as ctx:
        collections.create(ctx, name="Ships")
    service.make(full.rt, tmp_path / "all.tgz")
    place = make_place(bool(full.rt.roles))
    done = service.restore(place.settings, tmp_path / "all.tgz")
    rt = opened(place)
    assert done.reindex is not None
    row = Lab(rt).row(done.reindex)
    assert (row.kind, row.status) == ("knowledge.reindex", "queued")
    rt.close()


def test_while_people_write_and_delete(full: Full, make_place: Callable[[bool], Place], tmp_path: Path) -> None:
    """Every upload that was there before has its file; one that came and went meanwhile may be named as missing."""
    stop = threading.Event()

    def work() -> None:
        while not stop.is_set():
            one = full.upload("passing.txt")
            full.lab.start(full.cast.alice)
            with full.rt.unit() as db:
                from webapp.files.models import Upload

                db.delete(db.get(Upload, one))
            files.blobs(full.rt.settings).remove(one)

    thread = threading.Thread(target=work)
    thread.start()
    try:
        for number in range(4):
            manifest = service.make(full.rt, tmp_path / f"{number}.tgz")
            assert not set(manifest["missing_files"]) & set(full.uploads)
    finally:
        stop.set()
        thread.join()
    place = make_place(bool(full.rt.roles))
    service.restore(place.settings, tmp_path / "3.tgz")
    rt = opened(place)
    with rt.unit(write=False) as db:
        from sqlalchemy import text

        named = set(db.scalars(text("SELECT id FROM uploads")))
    assert (
        {path.name for path in (place.home / "files").iterdir()}
        == named - set(manifest["missing_files"])
        >= set(full.uploads)
    )
    rt.close()


def test_a_file_that_was_missing_already_is_named(
    full: Full, make_place: Callable[[bool], Place], tmp_path: Path
) -> None:
    files.blobs(full.rt.settings).remove(full.uploads[0])
    manifest = service.make(full.rt, tmp_path / "all.tgz")
    assert manifest["missing_files"] == [full.uploads[0]]
    done = service.restore(make_place(bool(full.rt.roles)).settings, tmp_path / "all.tgz")
    assert "1 uploads were missing" in done.notes[-1]


def test_only_into_an_empty_place_unless_forced(
    full: Full, make_place: Callable[[bool], Place], tmp_path: Path
) -> None:
    service.make(full.rt, tmp_path / "all.tgz")
    wanted = full.rows()
    place = make_place(bool(full.rt.roles))
    service.restore(place.settings, tmp_path / "all.tgz")
    with pytest.raises(Conflict, match="not empty"):
        service.restore(place.settings, tmp_path / "all.tgz")
    there = opened(place)
    Lab(there).start(full.cast.alice)
    there.close()
    done = service.restore(place.settings, tmp_path / "all.tgz", force=True)
    rt = opened(place)
    assert trial.counts(rt.engine) == wanted
    assert done.aside is not None
    assert (done.aside / "secret.key").exists()
    if not rt.roles:
        set_aside = make_engine(f"sqlite:///{done.aside / 'brainstem.db'}")
        assert trial.counts(set_aside)["tasks"] == wanted["tasks"] + 1
        set_aside.dispose()
    else:
        assert [name for name in inspect(rt.engine).get_schema_names() if name.startswith("before_restore")] == []
    rt.close()


def test_without_secrets(full: Full, make_place: Callable[[bool], Place], tmp_path: Path) -> None:
    manifest = service.make(full.rt, tmp_path / "all.tgz", secrets=False)
    assert "secret.key" not in manifest["files"]
    place = make_place(bool(full.rt.roles))
    done = service.restore(place.settings, tmp_path / "all.tgz")
    assert "no secret" in done.notes[0]
    rt = opened(place)
    assert rt.secret_key != full.rt.secret_key
    rt.close()


def test_a_secret_of_the_environment_stays_and_is_spoken_of(
    full: Full, make_place: Callable[[bool], Place], tmp_path: Path
) -> None:
    service.make(full.rt, tmp_path / "all.tgz")
    place = make_place(bool(full.rt.roles))
    place.env["SECRET_KEY"] = "another secret of sixteen and more"
    done = service.restore(place.settings, tmp_path / "all.tgz")
    assert "SECRET_KEY here is not that of the backup" in done.notes[0]
    assert not (place.home / "secret.key").exists()


def test_a_name_that_is_taken(full: Full, tmp_path: Path) -> None:
    (tmp_path / "all.tgz").write_text("mine")
    with pytest.raises(Conflict):
        service.make(full.rt, tmp_path / "all.tgz")
    assert (tmp_path / "all.tgz").read_text() == "mine"
    with pytest.raises(AppError):
        service.make(full.rt, tmp_path / "nowhere" / "all.tgz")


def test_a_server_that_runs_keeps_its_place(rt: Runtime, make_place: Callable[[bool], Place], tmp_path: Path) -> None:
    import fcntl

    service.make(rt, tmp_path / "all.tgz")
    place = make_place(False)
    place.home.mkdir()
    with (place.home / "brainstem.lock").open("w") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        with pytest.raises(Conflict, match="stop it first"):
            service.restore(place.settings, tmp_path / "all.tgz", force=True)


@pytest.mark.services
def test_workers_of_a_deployment_keep_theirs(swept_services: Any, make_rt: Callable[..., Runtime], make_place: Callable[[bool], Place],
                                             tmp_path: Path) -> None:  # fmt: skip
    full = Full(make_rt(**swept_services.env))
    service.make(full.rt, tmp_path / "all.tgz")
    full.lab.sql("INSERT INTO workers (id, role, queues, host, pid, threads, rss_mb, running, done, started_at, beat_at)"
                 " VALUES ('w', 'fast', 'interactive', 'h', 1, 1, 0, '[]', 0, now(), extract(epoch from now()))")  # fmt: skip
    with pytest.raises(Conflict, match="stop every process"):
        service.restore(full.rt.settings, tmp_path / "all.tgz", force=True)


# -- what is no backup, or not one for here ----------------------------------------------------------------------------


@pytest.fixture
def good(rt: Runtime, tmp_path: Path) -> Path:
    Full(rt)
    service.make(rt, tmp_path / "good.tgz")
    return tmp_path / "good.tgz"


def remade(good: Path, change: Callable[[list[tuple[tarfile.TarInfo, bytes]]], None]) -> Path:
    """The same file with other members."""
    with tarfile.open(good) as tar:
        members = [(member, tar.extractfile(member).read()) for member in tar]  # type: ignore[union-attr]
    change(members)
    bad = good.with_name("bad.tgz")
    with tarfile.open(bad, "w:gz") as tar:
        for member, data in members:
            member.size = len(data)
            tar.addfile(member, io.BytesIO(data))
    return bad


def member(name: str, kind: bytes = tarfile.REGTYPE, link: str = "") -> tarfile.TarInfo:
    made = tarfile.TarInfo(name)
    made.type, made.linkname = kind, link
    return made


def with_manifest(members: list[tuple[tarfile.TarInfo, bytes]], change: Callable[[dict[str, Any]], None]) -> None:
    manifest = json.loads(members[-1][1])
    change(manifest)
    members[-1] = (members[-1][0], json.dumps(manifest).encode())


BAD: dict[str, Callable[[Any], None]] = {
    "climbs out": lambda m: m.insert(0, (member("files/../../evil"), b"x")),
    "from the root": lambda m: m.insert(0, (member("/etc/evil"), b"x")),
    "a link": lambda m: m.insert(0, (member("files/abc", tarfile.SYMTYPE, "/etc/passwd"), b"")),
    "a hard link": lambda m: m.insert(0, (member("files/abc", tarfile.LNKTYPE, "secret.key"), b"")),
    "a device": lambda m: m.insert(0, (member("files/abc", tarfile.CHRTYPE), b"")),
    "a stranger": lambda m: m.insert(0, (member("brainstem.lock"), b"x")),
    "twice": lambda m: m.insert(0, m[0]),
    "after the manifest": lambda m: m.append((member("files/abc"), b"x")),
    "no manifest": lambda m: m.pop(),
    "changed": lambda m: m.__setitem__(1, (m[1][0], m[1][1][:-1] + b"?")),
    "one is lacking": lambda m: m.pop(1),
    "one too many": lambda m: m.insert(0, (member("files/abc"), b"x")),
    "another format": lambda m: with_manifest(m, lambda one: one.update(format=99)),
    "no manifest at all": lambda m: m.__setitem__(-1, (m[-1][0], b"[1, 2]")),
    "from later": lambda m: with_manifest(m, lambda one: one["database"].update(revision="9999")),
    "of another kind": lambda m: with_manifest(m, lambda one: one["database"].update(kind="postgres")),
    "other rows": lambda m: with_manifest(m, lambda one: one["database"]["rows"].update(tasks=999)),
}


@pytest.mark.parametrize("what", BAD)
def test_it_is_refused(good: Path, make_place: Callable[[bool], Place], what: str) -> None:
    place = make_place(False)
    with pytest.raises(Unusable):
        service.restore(place.settings, remade(good, BAD[what]))
    if what != "other rows":  # seen only when they are in place
        assert sorted(one.name for one in place.home.iterdir()) == ["brainstem.lock"], "nothing was put there"
    assert not (place.home.parent / "evil").exists()


@pytest.mark.parametrize("part", [0.1, 0.5, 0.99])
def test_a_file_that_was_cut_off(good: Path, make_place: Callable[[bool], Place], part: float) -> None:
    data = good.read_bytes()
    good.write_bytes(data[: int(len(data) * part)])
    with pytest.raises(Unusable):
        service.restore(make_place(False).settings, good)


@pytest.mark.parametrize(
    "data",
    [b"", b"not a backup", gzip.compress(b"not a tar", mtime=0), os.urandom(5000)],
    ids=["empty", "text", "no tar", "noise"],
)
def test_what_is_no_backup(good: Path, make_place: Callable[[bool], Place], data: bytes) -> None:
    good.write_bytes(data)
    with pytest.raises(AppError):
        service.restore(make_place(False).settings, good)


@pytest.mark.services
def test_a_dump_that_fails_leaves_what_was_there(swept_services: Any, make_rt: Callable[..., Runtime], make_place: Callable[[bool], Place],
                                                 tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:  # fmt: skip
    full = Full(make_rt(**swept_services.env))
    file = tmp_path / "all.tgz"
    service.make(full.rt, file)
    place = make_place(True)
    service.restore(place.settings, file)
    wanted = full.rows()
    real = database.tool
    monkeypatch.setattr(
        database, "tool", lambda name, engine: "/bin/false" if name == "pg_restore" else real(name, engine)
    )
    with pytest.raises(AppError, match="failed"):
        service.restore(place.settings, file, force=True)
    rt = opened(place)
    assert trial.counts(rt.engine) == wanted
    rt.close()


@pytest.mark.services
def test_a_pg_dump_that_is_too_old_is_said(swept_services: Any, make_rt: Callable[..., Runtime], tmp_path: Path,
                                           monkeypatch: pytest.MonkeyPatch) -> None:  # fmt: skip
    rt = make_rt(**swept_services.env)
    monkeypatch.setattr(database, "_major", lambda program: 9)
    with pytest.raises(AppError, match="newer here") as caught:
        service.make(rt, tmp_path / "all.tgz")
    assert "postgresql-client-" in str(caught.value.suggestion)
    assert list(tmp_path.glob("*.tgz")) == list(tmp_path.glob(".*part")) == []


def test_by_the_command_line(tmp_path: Path, rt: Runtime) -> None:
    from tests.operations.test_doctor import brainstem

    Full(rt)
    home, other, file = rt.settings.home_dir, tmp_path / "other", tmp_path / "all.tgz"
    done = brainstem("backup", str(file), home=home)
    assert done.returncode == 0, done.stderr
    assert "3 uploads, with secrets" in done.stdout
    assert brainstem("backup", str(file), home=home).returncode == 1
    found = json.loads(brainstem("backup", str(file), "--force", "--json", home=home).stdout)
    assert found["size"] == file.stat().st_size
    done = brainstem("restore", str(file), home=other)
    assert done.returncode == 0, done.stderr
    again = brainstem("restore", str(file), home=other)
    assert (again.returncode, "--force" in again.stderr) == (1, True)
    done = brainstem("upgrade", "--dry-run", home=other)
    assert "nothing to do" in done.stdout
