"""A local site, a collection of alice's, and crawls run here and now; on both databases."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tests.conftest import Cast, make_cast
from tests.fakes.lab import Lab
from tests.fakes.small_site import SmallSite
from webapp.core.context import Actor, Ctx
from webapp.crawl import service
from webapp.crawl.models import Crawl, CrawlUrl
from webapp.knowledge.models import Document, DocumentVersion
from webapp.knowledge.service import collections
from webapp.runtime import Runtime


class Yard:
    """Starts crawls as somebody and looks at what came of them."""

    def __init__(self, rt: Runtime, site: SmallSite) -> None:
        self.rt, self.site, self.lab = rt, site, Lab(rt)
        self.cast: Cast = make_cast(rt)
        with rt.unit() as db:
            self.collection_id = collections.create(Ctx(rt, db, self.cast.alice), "Papers").id

    def start(self, *paths: str, who: Actor | None = None, **params: Any) -> str:
        with self.rt.unit() as db:
            urls = [path if "://" in path else self.site.url(path) for path in paths or ("/0",)]
            given = {"urls": urls, "collection_id": self.collection_id, **params}
            return service.start(Ctx(self.rt, db, who or self.cast.alice), given).id

    def crawl(self, *paths: str, **params: Any) -> str:
        crawl_id = self.start(*paths, **params)
        self.lab.run_all("crawling")
        return crawl_id

    def task(self, crawl_id: str) -> Any:
        return self.lab.row(self.rows(Crawl, Crawl.id == crawl_id)[0].task_id)

    def rows(self, model: Any, *where: Any) -> list[Any]:
        from sqlalchemy import select

        with self.rt.unit(write=False) as db:
            return list(db.scalars(select(model).where(*where).order_by(model.id)))

    def fates(self, crawl_id: str) -> dict[str, tuple[str, str | None]]:
        """path -> (state, reason)"""
        rows = self.rows(CrawlUrl, CrawlUrl.crawl_id == crawl_id)
        return {row.url.partition(f":{self.site.port}")[2] or row.url: (row.state, row.reason) for row in rows}

    def texts(self) -> dict[str, str]:
        """path -> hash of the current text"""
        rows = self.rows(Document, Document.collection_id == self.collection_id)
        return {row.url.partition(f":{self.site.port}")[2]: row.text_hash for row in rows}

    def versions(self) -> int:
        return len(self.rows(DocumentVersion))


@pytest.fixture
def site() -> Iterator[SmallSite]:
    with SmallSite() as made:
        yield made


@pytest.fixture
def yard(make_rt: Callable[..., Runtime], site: SmallSite) -> Yard:
    return Yard(make_rt(BRAINSTEM_ALLOW_HOSTS="127.0.0.1"), site)


@pytest.fixture(params=["embedded", pytest.param("distributed", marks=pytest.mark.services)])
def both_yard(request: pytest.FixtureRequest, make_rt: Callable[..., Runtime], site: SmallSite) -> Yard:
    env = {} if request.param == "embedded" else request.getfixturevalue("swept_services").env
    return Yard(make_rt(BRAINSTEM_ALLOW_HOSTS="127.0.0.1", **env), site)
