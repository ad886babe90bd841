"""What an assistant may do here: look, search, ask, see how a task stands. Plain functions over `Remote`."""

from __future__ import annotations

from typing import Any

from webapp.core.errors import NotFound
from webapp.mcp.remote import PATIENT, Remote, segment

MOST_TEXT = 4000  # characters of a passage or of a task's result


def list_collections(remote: Remote) -> list[dict[str, Any]]:
    """id, name, description and documents of each collection that the key's owner may read."""
    rows = remote.get("/api/v1/knowledge/collections")
    return [{name: row.get(name) for name in ("id", "name", "description", "documents", "access")} for row in rows]


def search(remote: Remote, query: str, collection: str = "", limit: int = 8) -> dict[str, Any]:
    body: dict[str, Any] = {"query": query, "k": max(1, min(50, limit))}
    if collection:
        body["collection_ids"] = [collection_id(remote, collection)]
    found = remote.post("/api/v1/knowledge/search", body)
    return {"passages": [_passage(remote, one) for one in found["results"]], "notice": _said(found.get("notice"))}


def _passage(remote: Remote, hit: dict[str, Any]) -> dict[str, Any]:
    return {"title": hit["title"], "text": hit["text"][:MOST_TEXT], "url": hit["url"], "heading": hit["heading"],
            "score": hit["score"], "document_id": hit["document_id"],
            "open": f"{remote.url}/knowledge/documents/{hit['document_id']}"}  # fmt: skip


def ask(remote: Remote, question: str, collection: str = "", model: str = "brainstem") -> dict[str, Any]:
    body: dict[str, Any] = {"model": model, "messages": [{"role": "user", "content": question}]}
    if collection:
        body["collections"] = [collection_id(remote, collection)]
    found = remote.post("/v1/chat/completions", body, timeout=PATIENT)
    about = found.get("brainstem") or {}
    return {
        "answer": found["choices"][0]["message"]["content"],
        "declined": bool(about.get("declined")),
        "confidence": about.get("confidence"),
        "sources": [_source(remote, one) for one in found.get("sources") or ()],
        "task_id": found["id"].removeprefix("chatcmpl-"),
    }


def _source(remote: Remote, source: dict[str, Any]) -> dict[str, Any]:
    return {"number": source["number"], "title": source["title"], "quote": source["quote"], "url": source["url"],
            "verdict": source["verdict"], "citation": remote.url + source["citation_url"]}  # fmt: skip


def task_status(remote: Remote, task_id: str) -> dict[str, Any]:
    found = remote.get(f"/api/v1/utils/ai-tasks/{segment(task_id)}/")
    result = found.get("result_data") or {}
    return {"id": found["id"], "title": found["title"], "kind": found["task_type"], "status": found["status"],
            "progress": found["progress"], "message": found["message"], "error": found["error_message"],
            "result": {name: value[:MOST_TEXT] if isinstance(value, str) else value for name, value in result.items()},
            "open": f"{remote.url}/tasks/{found['id']}"}  # fmt: skip


def collection_id(remote: Remote, wanted: str) -> str:
    """The id of a collection by its id or name. Raises NotFound, with those there are."""
    there = list_collections(remote)
    for one in there:
        if wanted in (one["id"], one["name"]):
            return str(one["id"])
    raise NotFound(f"there is no collection {wanted[:100]}",
                   suggestion="Use one of: " + ", ".join(str(one["name"]) for one in there[:20]))  # fmt: skip


def _said(notice: Any) -> str | None:
    return f"{notice['message']} {notice['suggestion']}".strip() if notice else None
