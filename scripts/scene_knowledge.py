"""The knowledge in the pictures: a harbour's papers, read by the product itself, and its crawls."""

from __future__ import annotations

import hashlib
import time
from datetime import timedelta
from typing import Any

FEES = """\
# Fees of the quay

A ship pays for each day at the quay by its length. Fishing boats of the town pay half, and boats under six metres pay
nothing. The fee is due when the ship leaves.

| Length | Fee a day | Winter fee |
| --- | --- | --- |
| under 6 m | nothing | nothing |
| 6 to 12 m | 14 crowns | 7 crowns |
| over 12 m | 31 crowns | 18 crowns |

## Winter

A ship that stays from November to March pays the winter fee. The board may lower it for ships under repair, and has
done so eleven times since the quay was built.

## Who pays for the quay

The merchants of the town paid for the quay with a tax on salt and on fish, which ended when the last stone was set.
"""
PAGES = {
    "fees": ("Fees of the quay", FEES),
    "fog": ("Fog and the bell", """\
# Fog and the bell

Fog closes the entrance on about sixty days of a year, most of them in May and June. The keeper of the north light wrote
down every one of them for thirty-one years.

A ship that meets fog at the outer buoy waits until the bell is heard twice. The bell is rung by a clockwork that runs
eight hours, and the keeper winds it before midnight.
"""),
    "tides": ("Tides and storm tides", """\
# Tides and storm tides

The tide rises by two metres and ten at the quay. The highest water of the last hundred years stood at four metres
and two, in the storm of the third of February.

With a storm from the north-west the water stands up to a metre above the table. The gates of the inner basin are closed
when the gauge shows three metres and twenty, and ships in winter quarters pay nothing for the watch.
"""),
    "buoys": ("Buoys at the entrance", """\
# Buoys at the entrance

Three buoys mark the entrance: a red one at the north bank, a green one at the south bank, and the outer buoy with the
whistle. They were laid when the fog bell was built.

The outer buoy was lost twice in winter storms and found again on the beach of the next parish.
"""),
}  # fmt: skip
NOTES = "Minutes of the harbour board, 3 May\n\nThe board met in the pilots' house. " + \
    "Fog was the only matter: the bell is to be rung by night, and the keeper gets a helper for the winter. " * 3  # fmt: skip
FATES = (
    ("fetched", "new", None, 200), ("fetched", "new", None, 200), ("unchanged", "not_modified", None, 304),
    ("fetched", "changed", None, 200), ("skipped", "robots", "robots.txt does not allow it.", None),
    ("skipped", "off_site", "It is on another site.", None), ("failed", "http_404", "The server answered 404.", 404),
    ("fetched", "new", None, 200), ("skipped", "near_duplicate", "Nearly the same text as another page.", 200),
)  # fmt: skip
WORDS = ("pilots", "tides", "fees", "charts", "lights", "dredging", "crane-hire", "winter-quarters", "salvage")


def fill(scene: Any, url: str) -> dict[str, str]:
    """Name -> id of what the pictures show. The documents are read and embedded by the server at `url`."""
    import requests

    api = requests.Session()
    base = url + "/api/v1/knowledge"

    def post(path: str, **given: Any) -> dict[str, Any]:
        answer = api.post(base + path, timeout=60, **given)
        answer.raise_for_status()
        return dict(answer.json())

    empty = post("/collections", json={"name": "Charts", "description": "Sea charts, once they are scanned"})["id"]
    shelf = post("/collections", json={"name": "Harbour history",
                                       "description": "Pages, minutes and scans about the harbour and what it costs"})["id"]  # fmt: skip
    for key, (title, text) in PAGES.items():
        for words in (text.replace("thirty-one", "thirty"), text):  # so that one of them has two versions
            made = post(f"/collections/{shelf}/documents", json={
                "id": f"https://harbour.example/{key}", "url": f"https://harbour.example/{key}", "title": title,
                "text": words, "language": "en", "published": "2026-03-14", "content_type": "text/html"})  # fmt: skip
        if key == "fees":
            document = made["document_id"]
    files = [("files", ("Minutes of 3 May.txt", NOTES.encode())), ("files", ("Charter of 1870.pdf", b"%PDF-1.4 scan")),
             ("files", ("Ledger of the quay.csv", b"day,ship,crowns\n1,Anna,31\n2,Lotte,14\n3,Hope,31\n"))]  # fmt: skip
    post(f"/collections/{shelf}/files", files=files)
    start = FEES.index("A ship that stays")
    claim = "In winter a ship pays a lower fee, which the board may lower further."
    cited = post("/citations", json={"document_id": document, "start": start, "end": FEES.index("\n\n## Who"),
                                     "claim": claim})  # fmt: skip
    _wait_read(api, base, shelf)
    return {"collection": shelf, "empty": empty, "document": document, "citation": cited["id"], **_crawls(scene, shelf)}


def _wait_read(api: Any, base: str, shelf: str) -> None:
    """Until everything is read, embedded and measured; where nothing embeds, until it is read."""
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        states = {one["state"] for one in api.get(f"{base}/collections/{shelf}/sources", timeout=30).json()["sources"]}
        rows = api.get(f"{base}/documents?collection_id={shelf}", timeout=30).json()["documents"]
        if not states & {"new", "reading"} and all(one["quality"] and not one["pending_chunks"] for one in rows):
            return
        time.sleep(0.2)


def _crawls(scene: Any, shelf: str) -> dict[str, str]:
    """One that is under way and one that is over, with the fate of each address."""
    crawling = scene.put("crawling", "running", "Read harbour.example", 48, kind="crawl.site", progress=58, quiet=-1e5,
                         params={"urls": ["https://harbour.example/"], "collection_id": shelf},
                         message="25 pages read, 31 waiting, 5 failed", said=("25 pages read",))  # fmt: skip
    crawled = scene.put("crawled", "completed", "Read pilots.example", 5400, kind="crawl.site", progress=100,
                        params={"urls": ["https://pilots.example/"], "collection_id": shelf}, message="Done")  # fmt: skip
    _crawl(scene, shelf, crawling, "harbour.example", 45, 31)
    _crawl(scene, shelf, crawled, "pilots.example", 38, 0)
    return {}


def _crawl(scene: Any, shelf: str, task_id: str, host: str, settled: int, waiting: int) -> None:
    import webapp.knowledge.models  # noqa: F401  the rows of a crawl point at its tables
    from webapp.core.db import new_id
    from webapp.crawl.models import Crawl, CrawlUrl

    at = scene.now - timedelta(seconds=5400 if not waiting else 48)
    config = {
        "read_as": "site",
        "stay": "site",
        "max_depth": 3,
        "max_pages": 200,
        "max_mb": 200,
        "exclude": ["/shop/**"],
    }
    row = Crawl(id=new_id(), owner_id=scene.local, collection_id=shelf, task_id=task_id, name=f"Read {host}",
                seeds=[f"https://{host}/"], config=config, counts={"bytes": 48_300 * settled}, created_at=at,
                finished_at=None if waiting else at + timedelta(seconds=31))  # fmt: skip
    with scene.rt.unit() as db:
        db.add(row)
        db.flush()
        for n in range(settled + waiting):
            url = f"https://{host}/{WORDS[n % len(WORDS)]}/{n // len(WORDS) + 1}"
            state, reason, detail, status = FATES[n % len(FATES)] if n < settled else ("queued", None, None, None)
            fetched = state in ("fetched", "unchanged", "failed")
            db.add(CrawlUrl(
                id=new_id(), crawl_id=row.id, url=url, url_hash=hashlib.sha256(url.encode()).hexdigest(), host=host,
                depth=1 + n % 3, found_on=f"https://{host}/", state=state, reason=reason, detail=detail, status=status,
                bytes=21_400 + 317 * n if fetched and status == 200 else None, ms=38 + 7 * n % 90 if fetched else None,
                fetched_at=at + timedelta(seconds=n * 0.6) if fetched else None))  # fmt: skip
