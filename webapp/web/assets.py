"""Smaller answers: pages and static text files go out gzipped to whoever takes that.

Static files are compressed once per process. Pages carry secrets beside what a visitor sent (the form token), so
their length is blurred by a random name in the gzip header, which readers of lengths have to average out.
"""

from __future__ import annotations

import gzip
import io
import secrets
import string
from functools import lru_cache
from pathlib import Path

from flask import Flask, Response, request

TYPES = frozenset({"text/html", "text/css", "text/javascript", "image/svg+xml"})
SMALLEST = 1400  # below one packet there is nothing to win


def install(app: Flask) -> None:
    app.after_request(_compress)


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
    from flask import current_app

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
