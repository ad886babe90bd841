"""Endpoints of files.

POST /api/v1/files/       store an upload (multipart, field `file`)
GET  /api/v1/files/{id}   what is known of it
"""

from __future__ import annotations

from typing import Any

from flask import request
from flask_openapi import FileStorage

from webapp.core.context import Ctx
from webapp.core.db import iso
from webapp.core.errors import BadRequest
from webapp.files import service
from webapp.files.models import Upload
from webapp.web.api import Api, ApiModel

files = Api("files", "/api/v1/files", tag="Files")


class FileForm(ApiModel):
    file: FileStorage


class FileOut(ApiModel):
    id: str
    name: str
    content_type: str
    size: int
    sha256: str
    created_at: str


@files.post("/", auth="tasks:write", form=FileForm, returns=FileOut, status=201, errors=(413, 415, 507))
def upload(ctx: Ctx, form: FileForm) -> Any:
    """Store a file (txt, md, html, pdf, docx) to use in a task as `upload_ids`."""
    given = request.files.get("file")
    if given is None or not given.filename:
        raise BadRequest("file: choose a file")
    return _out(service.store(ctx, given.stream, given.filename, given.mimetype))


@files.get("/<file_id>", auth="tasks:read", returns=FileOut, errors=(404,))
def get_file(ctx: Ctx, file_id: str) -> Any:
    """What is known of an uploaded file."""
    return _out(service.get(ctx, file_id))


def _out(row: Upload) -> dict[str, Any]:
    return {"id": row.id, "name": row.name, "content_type": row.content_type, "size": row.size, "sha256": row.sha256,
            "created_at": iso(row.created_at)}  # fmt: skip
