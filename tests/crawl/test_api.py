"""/api/crawler/* as documented, and whose is whose."""

from __future__ import annotations

from typing import Any

import pytest

from tests.fakes.site import OPEN_LIMITS, Site
from tests.fakes.small_site import SmallSite


@pytest.fixture
def desk(make_rt: Any) -> Any:
    from tests.conftest import make_cast

    rt = make_rt(AUTH_REQUIRED="1", BRAINSTEM_ALLOW_HOSTS="127.0.0.1", **OPEN_LIMITS)
    made = Site(rt, make_cast(rt))
    yield made
    made.close()


def test_a_crawl_from_start_to_embedded_pages(desk: Site, site: SmallSite) -> None:
    site.linked(6)
    alice, charlie = desk.program(desk.cast.alice), desk.program(desk.cast.charlie)
    made = alice.post("/api/crawler/jobs/", json={"url": site.url(), "max_depth": 4, "max_pages": 50})
    assert made.status_code == 201, made.json
    job = made.json
    assert (job["status"], job["urls"], job["pages_crawled"]) == ("pending", [site.url()], 0)
    desk.lab.run_all("crawling")
    job = alice.get(f"/api/crawler/jobs/{job['id']}/").json
    assert (job["status"], job["progress"], job["pages_crawled"]) == ("completed", 100, 6)
    assert job["result"]["next"], "nothing was started to embed the pages (M028)"
    assert alice.get(f"/api/crawler/jobs/{job['task_id']}/").json["id"] == job["id"]
    listed = alice.get("/api/crawler/jobs/").json
    assert (listed["count"], listed["next"], [one["id"] for one in listed["results"]]) == (1, None, [job["id"]])
    fates = alice.get(f"/api/crawler/jobs/{job['id']}/urls/?state=fetched&limit=4").json
    assert len(fates["items"]) == 4
    assert fates["next_cursor"]
    pages = alice.get(f"/api/crawler/pages/?job={job['id']}&page_size=4").json
    assert (pages["count"], len(pages["results"])) == (6, 4)
    page = alice.get(f"/api/crawler/pages/{pages['results'][0]['id']}/").json
    assert page["success"] is True
    assert page["clean_markdown"].startswith("# Page") or "Page" in page["title"]
    assert page["is_processed_for_embeddings"] is False
    queued = alice.post(f"/api/crawler/pages/{page['id']}/process/")
    assert (queued.status_code, queued.json["status"]) == (202, "queued")
    again = alice.post(f"/api/crawler/pages/{page['id']}/process/").json
    assert again["task_id"] == queued.json["task_id"], "whoever asks can follow it"
    assert alice.get(f"/api/v1/utils/ai-tasks/{again['task_id']}/").status_code == 200
    for path in (f"jobs/{job['id']}/", f"jobs/{job['id']}/urls/", f"pages/{page['id']}/"):
        assert charlie.get(f"/api/crawler/{path}").status_code == 404
    assert charlie.post(f"/api/crawler/jobs/{job['id']}/cancel/").status_code == 404
    assert charlie.post(f"/api/crawler/pages/{page['id']}/process/").status_code == 404
    assert charlie.get("/api/crawler/pages/").json["count"] == 0
    assert alice.post(f"/api/crawler/jobs/{job['id']}/cancel/").status_code == 409


@pytest.mark.parametrize(
    "body",
    [{}, {"url": "ftp://x.example/"}, {"url": "http://10.0.0.1/"}, {"url": "http://169.254.169.254/"}, {"urls": "x"},
     {"url": "https://x.example/", "include": ["re:("]}, {"url": "https://x.example/", "max_depth": -1},
     {"url": "https://x.example/", "max_pages": 10**9}, {"url": "https://x.example/\0"}, []],
)  # fmt: skip
def test_bad_requests_are_told(desk: Site, body: Any) -> None:
    answer = desk.program(desk.cast.alice).post("/api/crawler/jobs/", json=body)
    assert answer.status_code in (400, 422)
    assert answer.json["detail"]


def test_a_site_source_is_crawled_by_its_own_settings(desk: Site, site: SmallSite) -> None:
    from webapp.core.context import Ctx
    from webapp.knowledge.models import Source
    from webapp.knowledge.service import collections, sources

    site.linked(9)
    with desk.rt.unit() as db:
        ctx = Ctx(desk.rt, db, desk.cast.alice)
        row = collections.create(ctx, "Papers")
        source = sources.add_url(ctx, row.id, site.url(), kind="site", config={"max_pages": 4, "max_depth": 6})
        if source.task_id is None:
            sources.start_reading(ctx, [source])
        source_id = source.id
    desk.lab.run_all("crawling")
    with desk.rt.unit(write=False) as db:
        found = db.get(Source, source_id)
        assert found is not None
        assert (found.state, found.error) == ("ready", None)
        assert found.read_at is not None
    assert desk.program(desk.cast.alice).get("/api/crawler/pages/").json["count"] == 4
