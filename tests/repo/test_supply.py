"""A50: what comes from others is what was locked, under terms we know, and our pages let nothing else run."""

from __future__ import annotations

import base64
import hashlib
import json
import re
import subprocess
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from scripts import licences, lint_repo
from tests.conftest import ROOT
from tests.fakes.site import Site

LOCKS = sorted(path.name for path in ROOT.glob("requirements*.lock"))
VENDOR = ROOT / "static" / "vendor"


def test_every_locked_package_has_a_version_and_hashes() -> None:
    assert LOCKS == ["requirements-audit.lock", "requirements-build.lock", "requirements-dev.lock", "requirements.lock"]
    for name in LOCKS:
        assert list(lint_repo.check_lock(name, [])) == [], name


def test_an_entry_without_a_hash_is_seen(tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "x.lock").write_text("jinja2==3.1.6 \\\n    --hash=sha256:aa\nflask==3.1.1\n")
    monkeypatch.setattr(lint_repo, "ROOT", tmp_path)
    assert list(lint_repo.check_lock("x.lock", [])) == ["x.lock: flask==3.1.1 has no hash"]


def test_everything_is_installed_by_its_hash() -> None:
    made = "\n".join((ROOT / name).read_text() for name in ("Makefile", "Dockerfile"))
    installs = re.findall(r"\binstall\b[^\n]*-r [^\n]*", re.sub(r"\\\n\s*", " ", made))
    assert len(installs) >= 3
    assert [line for line in installs if "--require-hashes" not in line or "--no-deps" not in line] == []


def test_files_of_others_are_those_that_were_listed() -> None:
    listed = json.loads((VENDOR / "vendor.lock.json").read_text())["files"]
    for one in listed:
        data = (ROOT / "static" / one["file"]).read_bytes()
        assert "sha384-" + base64.b64encode(hashlib.sha384(data).digest()).decode() == one["sha384"], one["name"]
        assert (ROOT / "static" / one["licence_file"]).is_file()
    known = {one[key] for one in listed for key in ("file", "licence_file")} | {"vendor/vendor.lock.json"}
    there = {path.relative_to(ROOT / "static").as_posix() for path in VENDOR.rglob("*") if path.is_file()}
    assert there == {path for path in known if path.startswith("vendor/")}  # the sprite of icons stands beside it


def test_no_model_that_could_run_code_is_shipped() -> None:
    endings = {".pkl", ".pickle", ".pt", ".pth", ".bin", ".joblib", ".npy", ".npz", ".h5"}
    folders = ("webapp", "static", "templates", "tests", "deploy", "docs")
    found = [path for name in folders for path in (ROOT / name).rglob("*") if path.suffix in endings]
    assert found == []


@pytest.mark.parametrize("path", ["/login", "/", "/tasks", "/chat", "/knowledge", "/shared/nothing"])
def test_pages_run_what_we_sent_and_nothing_else(site: Site, path: str) -> None:
    policy = site.browser(site.cast.alice).get(path).headers["Content-Security-Policy"]
    rules = {rule.split()[0]: rule.split()[1:] for rule in policy.split(";") if rule.strip()}
    scripts = rules["script-src"]
    assert all(one == "'self'" or one.startswith("'nonce-") for one in scripts), scripts
    assert rules["object-src"] == rules["base-uri"] == ["'none'"]
    for name, sources in rules.items():
        assert (
            not {"'unsafe-inline'", "'unsafe-eval'", "*", "data:", "http:", "https:"} & set(sources)
            or name == "img-src"
        ), name


# -- licences --------------------------------------------------------------------------------------------------------


def test_no_licence_is_unknown_or_forbidden() -> None:
    assert list(licences.problems()) == []


def test_the_page_names_every_package() -> None:
    text = (ROOT / "docs" / "licences.md").read_text()
    assert [name for name in licences.locked() if f"| {name} |" not in text] == []


@pytest.mark.parametrize(
    ("expression", "fine"),
    [
        ("MIT", True), ("MPL-2.0 AND (Apache-2.0 OR MIT)", True), ("MPL-1.1 OR GPL-2.0-only", True), ("GPL-2.0-only OR MIT", True),
        ("GPL-3.0-only", False), ("MIT AND GPL-2.0-only", False), ("AGPL-3.0-only AND (MIT OR ISC)", False), ("", False),
        ("SSPL-1.0", False), ("Copyright 2010 somebody", False), ("MIT OR", False), ("(MIT", False), ("MIT)", False),
        ("MIT, but not for you", False), ("MIT MIT", False), ("(GPL-3.0-only OR AGPL-3.0-only) AND MIT", False),
    ],
)  # fmt: skip
def test_terms_are_read_as_written(expression: str, fine: bool) -> None:
    assert licences.allowed(expression) is fine


# -- known holes -----------------------------------------------------------------------------------------------------


class _Answers(BaseHTTPRequestHandler):
    body = b"<html>a proxy's page</html>"

    def do_POST(self) -> None:
        self.send_response(200)
        self.end_headers()
        self.wfile.write(self.body)

    def log_message(self, *_: Any) -> None:
        return None


def audit(*args: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, str(ROOT / "scripts" / "audit.py"), *args], capture_output=True, text=True, timeout=60
    )


def test_a_database_out_of_reach_is_said_and_is_no_success() -> None:
    nobody = "http://127.0.0.1:9/v1/query"
    done = audit("--url", nobody)
    assert done.returncode == 75
    assert done.stdout.startswith(f"NOT CHECKED: the vulnerability database at {nobody} cannot be reached")
    soft = audit("--url", nobody, "--if-reachable")
    assert (soft.returncode, soft.stdout) == (0, done.stdout)


def test_a_page_that_says_200_is_no_database() -> None:
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Answers)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        done = audit("--url", f"http://127.0.0.1:{server.server_port}/v1/query")
        assert (done.returncode, "NOT CHECKED" in done.stdout) == (75, True)
    finally:
        server.shutdown()
        server.server_close()
