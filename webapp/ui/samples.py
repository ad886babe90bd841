"""What the page of components shows: invented, and the same at every visit except for its times."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

BASE = {"title": "Reading of the harbour reports", "kind_label": "Summary", "priority": "normal", "progress": 0,
        "message": "", "attempt": 1, "max_attempts": 5, "error": None, "seq": 4, "is_final": False,
        "cancel_requested": False, "silent_seconds": None, "worker_alive": True, "is_stalled": False,
        "elapsed_seconds": None, "seconds_left": None, "retry_at": None}  # fmt: skip


def tasks(now: datetime) -> list[dict[str, Any]]:
    """One for each thing progress has to be able to say."""

    def one(caption: str, status: str, **more: Any) -> dict[str, Any]:
        return {**BASE, "caption": caption, "id": f"sample-{len(made)}", "status": status,
                "created_at": now - timedelta(seconds=95), "started_at": now - timedelta(seconds=90) if more.get("attempt", 1) else None,
                "finished_at": now - timedelta(seconds=4), **more}  # fmt: skip

    made: list[dict[str, Any]] = []
    for caption, status, more in (
        ("Queued", "queued", {"message": "Waiting for a free worker", "attempt": 0}),
        ("Starts later", "queued", {"retry_at": now + timedelta(minutes=12), "attempt": 0}),
        ("Running, amount unknown", "running",
         {"message": "Opening the connection", "elapsed_seconds": 2.4, "silent_seconds": 0.2}),
        ("Running, amount known", "running",
         {"message": "Reading page 13 of 31", "progress": 42, "elapsed_seconds": 64.0, "seconds_left": 88.0,
          "silent_seconds": 0.6}),
        ("Quiet for long, worker alive", "running",
         {"message": "Loading the model", "progress": 18, "elapsed_seconds": 71.0, "silent_seconds": 47.0,
          "is_stalled": True}),
        ("Quiet for long, worker silent", "running",
         {"message": "Reading page 3 of 31", "progress": 9, "elapsed_seconds": 58.0, "silent_seconds": 38.0,
          "is_stalled": True, "worker_alive": False}),
        ("Retrying", "retrying",
         {"progress": 61, "attempt": 2, "retry_at": now + timedelta(seconds=44), "error": "the other server did not answer"}),
        ("Waiting for you", "waiting_input", {"message": "Which of the two contracts is meant?", "progress": 55}),
        ("Stopping", "running",
         {"message": "Reading page 20 of 31", "progress": 64, "elapsed_seconds": 90.0, "silent_seconds": 0.5,
          "cancel_requested": True}),
        ("Done", "completed",
         {"message": "3 sources, 412 words", "progress": 100, "elapsed_seconds": 8.3, "is_final": True}),
        ("Failed", "failed",
         {"progress": 30, "elapsed_seconds": 21.0, "is_final": True, "error": "the file is a picture without text"}),
        ("Cancelled", "cancelled", {"progress": 71, "elapsed_seconds": 112.0, "is_final": True}),
    ):  # fmt: skip
        made.append(one(caption, status, **more))
    return made


FORM = {
    "values": {
        "name": "Harbour",
        "address": "ftp://harbour.example",
        "note": "Two lines\nof a note",
        "engine": "small",
    },
    "errors": {"address": ["use an address that begins with http:// or https://"]},
}


def table_rows(now: datetime) -> list[dict[str, Any]]:
    rows = (
        ("Tide tables of the north coast", "PDF", 412, 1_204_000, 9, "ok", "Indexed"),
        ("Minutes of the harbour board, spring", "Word", 88, 240_500, 70, "ok", "Indexed"),
        ("Dredging plan with soundings", "PDF", 1310, 9_801_200, 400, "warn", "Partly read"),
        ("Port fees", "Page", 35, 61_000, 1500, "ok", "Indexed"),
        ("Scan of the old charter", "PDF", 0, 3_310_000, 4000, "bad", "No text"),
    )
    return [
        {"id": f"row-{n}", "name": name, "kind": kind, "chunks": chunks, "bytes": size,
         "at": now - timedelta(minutes=minutes), "tone": tone, "state": state}
        for n, (name, kind, chunks, size, minutes, tone, state) in enumerate(rows)
    ]  # fmt: skip


DAYS = [f"{day} Nov" for day in range(8, 22)]
DATA: dict[str, Any] = {
    "days": DAYS,
    "answered": [12, 18, 17, 25, 31, 22, 19, 34, 41, 38, 45, 52, 47, 58],
    "abstained": [3, 2, 4, 4, 6, 5, None, None, 7, 5, 6, 4, 5, 3],
    "stack": [
        ("Chat", [12, 18, 17, 25, 31, 22, 19, 34, 41, 38, 45, 52, 47, 58]),
        ("Crawls", [4, 2, 0, 6, 8, 8, 1, 3, 9, 12, 5, 4, 4, 7]),
        ("Embedding", [9, 9, 2, 3, 8, 12, 2, 1, 14, 16, 8, 9, 3, 5]),
    ],
    "latency": [410.0, 380.0, 395.0, 350.0, 900.0, 360.0, 340.0, 335.0, 330.0, 342.0],
    "sources": [("Harbour board", 1310), ("Tide office", 412), ("Fees and rules", 123), ("Press", 88)],
    "python_code": (
        "from pathlib import Path\n\n\ndef words(path: Path) -> int:\n"
        '    """How many words a file has."""\n    return sum(len(line.split()) for line in path.open())  # lazily\n'
    ),
    "json_value": {
        "task": "summary",
        "sources": [{"id": "s1", "words": 812, "url": "https://harbour.example/fees"}, {"id": "s2", "words": 0}],
        "limits": {"words": 500, "seconds": 120.5},
        "verified": True,
        "note": None,
        "tags": [],
    },
    "old_text": "Ships pay by length.\nThe fee is 12 per metre.\nBoats of the town are free.\nPay within 30 days.\n",
    "new_text": "Ships pay by length.\nThe fee is 14 per metre.\nBoats of the town are free.\nPay within 14 days.\n"
    "Late payment costs 5 more.\n",
}
