"""Smaller answers: pages and static text files go out gzipped to whoever takes that.

Static files are compressed once per process, and each address carries a fingerprint of the content (`?v=`): browsers
keep a file for a year and fetch it anew after an upgrade that changed it. Pages carry secrets beside what a visitor sent (the form token), so
their length is blurred by a random name in the gzip header, which readers of lengths have to average out.
"""

from __future__ import annotations

import gzip
import hashlib
import io
import secrets
import string
from functools import lru_cache
from pathlib import Path
from typing import Any

from flask import Flask, Response, current_app, request

TYPES = frozenset({"text/html", "text/css", "text/javascript", "image/svg+xml"})
SMALLEST = 1400  # below one packet there is nothing to win


FOR_EVER = "public, max-age=31536000, immutable"


def install(app: Flask) -> None:
    folder = Path(str(app.static_folder))

    @app.url_defaults
    def name_the_content(endpoint: str, values: dict[str, Any]) -> None:
        if endpoint == "static" and "filename" in values:
            mark = fingerprint(folder / values["filename"])
            if mark:
                values["v"] = mark

    app.after_request(_keep)
    app.after_request(_compress)


def fingerprint(path: Path) -> str | None:
    """Twelve characters that change with the file's content; None when there is no such file."""
    try:
        return _digest(path, path.stat().st_mtime_ns)
    except OSError:
        return None


@lru_cache(maxsize=256)
def _digest(path: Path, _changed: int) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()[:12]


def _keep(response: Response) -> Response:
    """Only an address that names the content we have may be kept: during an upgrade two versions answer."""
    if request.endpoint == "static" and "v" in request.args and response.status_code in (200, 304):
        path = Path(str(current_app.static_folder)) / (request.view_args or {}).get("filename", "")
        response.headers["Cache-Control"] = FOR_EVER if request.args["v"] == fingerprint(path) else "no-cache"
    return response


def _compress(response: Response) -> Response:
    if response.mimetype not in TYPES:
        return response
    response.vary.add("Accept-Encoding")
    if (
        response.status_code in (204, 206, 304)
        or request.method != "GET"
        or "Content-Encoding" in response.headers
        or "Content-Range" in response.headers
        or not request.accept_encodings["gzip"]
    ):
        return response
    if response.direct_passthrough:
        return _static(response)
    if response.is_streamed:
        return response
    data = response.get_data()
    if len(data) >= SMALLEST:
        _replace(response, _pack(data, 5, _blur()))
    return response


def _static(response: Response) -> Response:
    name = (request.view_args or {}).get("filename")
    if request.endpoint != "static" or not name:
        return response
    path = Path(str(current_app.static_folder)) / name
    data = _packed_file(path, path.stat().st_mtime_ns)
    response.direct_passthrough = False
    _replace(response, data)
    return response


def _replace(response: Response, data: bytes) -> None:
    response.set_data(data)
    response.headers["Content-Encoding"] = "gzip"
    etag, _weak = response.get_etag()
    if etag:
        response.set_etag(etag, weak=True)


@lru_cache(maxsize=64)
def _packed_file(path: Path, _changed: int) -> bytes:
    return _pack(path.read_bytes(), 9, "")


def _pack(data: bytes, level: int, name: str) -> bytes:
    out = io.BytesIO()
    with gzip.GzipFile(filename=name, mode="wb", compresslevel=level, fileobj=out, mtime=0) as packed:
        packed.write(data)
    return out.getvalue()


def _blur() -> str:
    return "".join(secrets.choice(string.ascii_letters) for _ in range(1 + secrets.randbelow(32)))
