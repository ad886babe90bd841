"""Static files are kept by browsers for ever, and never beyond a change of their content."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Any

from flask import Flask, url_for

from webapp.web import assets


def test_pages_name_static_files_by_their_content(app: Any) -> None:
    client = app.test_client()
    html = client.get("/login").get_data(as_text=True)
    found = re.findall(r'"(/static/[^"#]+)', html)
    assert len(found) > 5
    for address in set(found):
        answer = client.get(address)
        assert answer.status_code == 200, address
        assert answer.headers["Cache-Control"] == assets.FOR_EVER, address


def test_another_version_is_not_kept(app: Any) -> None:
    """During an upgrade a page of the old version may ask a process of the new one."""
    client = app.test_client()
    assert client.get("/static/app.css?v=000000000000").headers["Cache-Control"] == "no-cache"
    assert "immutable" not in client.get("/static/app.css").headers.get("Cache-Control", "")
    assert "immutable" not in client.get("/static/nothing.css?v=x").headers.get("Cache-Control", "")


def test_the_name_follows_the_content(tmp_path: Path) -> None:
    app = Flask(__name__, static_folder=str(tmp_path))
    assets.install(app)
    (tmp_path / "a.css").write_text("a{}")
    with app.test_request_context():
        first = url_for("static", filename="a.css")
        assert url_for("static", filename="a.css") == first
        (tmp_path / "a.css").write_text("b{}")
        os.utime(tmp_path / "a.css", ns=(1, 1))
        assert url_for("static", filename="a.css") != first
        assert "v=" not in url_for("static", filename="none.css")
