"""The documented addresses asked of a running server: none of them is absent or breaks, whatever is in front of it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import requests

from tests.contract.test_contract import FIXED
from tests.live.conftest import Site


def test_each_documented_get_is_there(live_server: Site) -> None:
    """401, 403 or an answer; a 404, 405 or 5xx is an address that is not served."""
    headers = live_server.root.headers
    paths = sorted({row["path"] for row in FIXED if row["method"] == "GET" and "{" not in row["path"]})
    assert len(paths) > 40
    found = {path: requests.get(live_server.url + path, headers=headers, timeout=30, allow_redirects=False).status_code
             for path in paths}  # fmt: skip
    wrong = {path: status for path, status in found.items() if status in (404, 405) or status >= 500}
    assert not wrong


def test_the_checker_of_the_documents_finds_all(live_server: Site, shared: Path, tmp_path: Path) -> None:
    script = shared / "contract" / "check_contract.py"
    if not script.is_file():
        pytest.skip("the documents are not here")
    command = [sys.executable, str(script), "--openapi", f"{live_server.url}/openapi.json", "--base-url", live_server.url,
               "--probe"]  # fmt: skip
    for area in ("auth", "eceee", "health", "logs", "omeruta"):
        command += ["--area", area]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stdout + done.stderr
