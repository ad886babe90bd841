"""Uploads: what is taken, what is not, and names that want to be paths (A20, A23, A28)."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import make_cast
from tests.fakes.site import Site
from webapp.core.errors import BadRequest
from webapp.files import service as files

PATH = "/api/v1/files/"


def send(
    site: Site, data: bytes = b"Words of a file.", name: str = "a.txt", kind: str | None = None, who: Any = None
) -> Any:
    given: Any = (io.BytesIO(data), name) if kind is None else (io.BytesIO(data), name, kind)
    return site.program(who or site.cast.alice).post(PATH, data={"file": given}, content_type="multipart/form-data")


def stored(site: Site) -> list[Path]:
    folder = site.rt.settings.home_dir / "files"
    return sorted(folder.iterdir()) if folder.is_dir() else []


def everything(site: Site) -> set[str]:
    """Every path around the data folder: nothing may appear outside it."""
    return {str(path) for path in site.rt.settings.home_dir.parent.rglob("*")}


def test_a_file_is_kept_under_a_random_name(site: Site) -> None:
    import hashlib

    answer = send(site, b"hello", "My notes.txt", "text/plain")
    assert answer.status_code == 201
    told = answer.json
    assert set(told) == {"id", "name", "content_type", "size", "sha256", "created_at"}
    assert (told["name"], told["size"], told["sha256"]) == ("My notes.txt", 5, hashlib.sha256(b"hello").hexdigest())
    [path] = stored(site)
    assert path.name == told["id"]
    assert path.read_bytes() == b"hello"
    assert path.stat().st_mode & 0o077 == 0
    assert site.program(site.cast.alice).get(PATH + told["id"]).json == told


@pytest.mark.parametrize("name", ["a.txt", "a.md", "a.html", "a.htm", "a.pdf", "a.docx", "A.TXT", "a.b.Md"])
def test_endings_that_are_taken(site: Site, name: str) -> None:
    assert send(site, name=name).status_code == 201


@pytest.mark.parametrize(
    "name", ["a.exe", "a.svg", "a.zip", "a", ".txt", "a.txt.exe", "a.pkl", "a.html.", "a.php%00.txt"]
)
def test_endings_that_are_not(site: Site, name: str) -> None:
    answer = send(site, name=name)
    if name in ("a.html.", "a.php%00.txt"):  # a final dot is taken away; a percent sign is only a percent sign
        assert answer.status_code == 201
        return
    assert answer.status_code in (400, 415)
    assert stored(site) == []
    assert site.lab.count("uploads") == 0


@pytest.mark.parametrize(
    ("name", "kept"),
    [
        ("../../x.txt", "x.txt"),
        ("..%2f..%2fx.txt", "..%2f..%2fx.txt".strip(".")),
        ("/abs/x.txt", "x.txt"),
        ("C:\\x.txt", "x.txt"),
        ("\\\\unc\\share\\x.txt", "x.txt"),
        ("CON.txt", "CON.txt"),
        ("\u202etxt.exe.txt", "txt.exe.txt"),
        ('a"b\r\nSet-Cookie: x=1.txt', 'a"bSet-Cookie: x=1.txt'),
        ("日本語.txt", "日本語.txt"),
        ("<img src=x>.txt", "<img src=x>.txt"),
        ("x" * 300 + ".txt", "x" * 196 + ".txt"),
        (" .. .txt", "txt"),
    ],
)
def test_names_are_to_be_shown_never_paths(name: str, kept: str) -> None:
    """A28."""
    assert files.safe_name(name) == kept
    assert len(files.safe_name(name)) <= 200


@pytest.mark.parametrize("name", ["a\0.txt", "", "...", "/", "\\", " ", "\u202e", "\u200b", "../.."])
def test_names_that_are_none(name: str) -> None:
    with pytest.raises(BadRequest):
        files.safe_name(name)


@pytest.mark.parametrize(
    "name", ["../../x.txt", "/etc/x.txt", "C:\\x.txt", "CON.txt", "x" * 300 + ".txt", "\u202etxt.txt", "a\\..\\b.txt"]
)
def test_nothing_outside_changes(site: Site, name: str) -> None:
    before = everything(site)
    answer = send(site, name=name)
    assert answer.status_code in (201, 400)
    if answer.status_code == 201:
        [path] = stored(site)
        assert path.name == answer.json["id"]
        before |= {str(path), str(path.parent)}
    assert {path for path in everything(site) if "brainstem.db" not in path} <= before


def test_sizes(make_rt: Any) -> None:
    rt = make_rt(AUTH_REQUIRED="1", BRAINSTEM_MAX_UPLOAD_MB="1")
    site = Site(rt, make_cast(rt))
    assert send(site, b"x" * 2**20).status_code == 201
    for size in (2**20 + 1, 3 * 2**20):
        answer = send(site, b"x" * size)
        assert (answer.status_code, answer.json["code"]) == (413, "too_large")
    empty = send(site, b"")
    assert empty.status_code == 400
    assert "empty" in empty.json["detail"]
    assert len(stored(site)) == 1, "no half of a file stays"
    site.close()


def test_a_body_that_lies_about_its_length(site: Site) -> None:
    client = site.program(site.cast.alice)
    body = b'--x\r\nContent-Disposition: form-data; name="file"; filename="a.txt"\r\n\r\nhalf'
    answer = client.post(
        PATH,
        data=body,
        content_type="multipart/form-data; boundary=x",
        headers={"Content-Length": str(len(body) + 999)},
    )
    assert answer.status_code in (400, 413, 422)
    assert stored(site) == []


def test_without_a_file(site: Site) -> None:
    client = site.program(site.cast.alice)
    for data in ({}, {"file": "text"}, {"other": (io.BytesIO(b"x"), "a.txt")}, {"file": (io.BytesIO(b"x"), "")}):
        answer = client.post(PATH, data=dict(data), content_type="multipart/form-data")
        assert answer.status_code in (400, 422), data
    assert client.post(PATH, data=b"x", content_type="application/octet-stream").status_code == 415


@pytest.mark.parametrize(
    ("data", "name", "kind", "fails"),
    [
        (b"MZ\x90\0\0\0\0\0" + b"\0" * 200, "program.txt", "text/plain", True),
        (b"PK\x03\x04" + b"\0" * 200, "archive.docx", "text/plain", True),
        (b"not a pdf at all, only words. Two of them here.", "words.pdf", "application/pdf", None),
        (b"<html><body><p>Words on a page. More words follow here.</p></body></html>", "page.txt", "text/plain", False),
        (b"Plain words. And some more of them.", "plain.txt", "image/png", False),
    ],
)
def test_content_that_lies_about_its_kind(site: Site, data: bytes, name: str, kind: str, fails: bool | None) -> None:
    """What the bytes are decides, not what was declared; and it never ends in an error of ours."""
    upload_id = send(site, data, name, kind).json["id"]
    task_id = site.lab.start_kind("summary", {"upload_ids": [upload_id]}, site.cast.alice)
    site.lab.run_all()
    row = site.lab.row(task_id)
    assert row.status in ("completed", "failed")
    if fails is not None:
        assert (row.status == "failed") == fails, row.error
    if row.status == "failed":
        assert row.error_code == "invalid", row.error
        assert row.attempt == 1, "permanent: not tried again"
    else:
        assert "<p>" not in str(row.result)


def test_a_file_that_went_away_is_told(site: Site) -> None:
    upload_id = send(site).json["id"]
    task_id = site.lab.start_kind("summary", {"upload_ids": [upload_id]}, site.cast.alice)
    stored(site)[0].unlink()
    site.lab.run_all()
    assert site.lab.status(task_id) == "failed"
    assert "not there any more" in (site.lab.row(task_id).error or "")
