"""A local web with pages about bees, a collection of alice's, and tasks run here and now; on both databases."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tests.conftest import make_cast
from tests.fakes.lab import Lab
from tests.fakes.small_site import SmallSite
from webapp.core.context import Ctx
from webapp.knowledge.service import collections, documents
from webapp.knowledge.service.documents import Incoming
from webapp.runtime import Runtime

QUEUES = ("interactive", "inference", "crawling", "embedding")


def page(title: str, *sentences: str, links: str = "") -> bytes:
    """A page whose text is what it says, often enough to be no empty one."""
    body = "".join(f"<p>{one}</p>" for one in sentences)
    return (f"<!doctype html><html lang=en><head><title>{title}</title></head><body><main><article><h1>{title}</h1>{body}"
            f"</article></main><nav>{links}</nav></body></html>").encode()  # fmt: skip


BEES = {
    "/wiki/Mason_bees": page(
        "Mason bees", "Mason bees are solitary bees that build their nests from mud and pollen in hollow stems.",
        "A mason bee female lays about 20 eggs in her life and seals each cell with mud.",
        "Mason bees fly in spring, from March to June, and visit the blossoms of fruit trees.",
    ),
    "/bees/nesting.html": page(
        "Nesting of mason bees", "A mason bee female lays about 35 eggs in her life and seals each cell with mud.",
        "Mason bees are solitary bees that build their nests from mud and pollen in hollow stems.",
        "Gardeners help them by hanging bundles of reed in the sun, sheltered from rain.",
    ),
    "/bees/enemies.html": page(
        "Enemies of mason bees", "Parasitic wasps and mites are the main enemies of mason bees in gardens.",
        "Woodpeckers open nests of mason bees in winter when food is scarce.",
    ),
    "/bees/mason-hidden.html": page("Hidden mason bees", "Robots may not read about these mason bees at all, ever."),
    "/robots.txt": (200, {"Content-Type": "text/plain"}, b"User-agent: *\nDisallow: /bees/mason-hidden\n"),
    "/list.html": page(
        "All about bees", "A list.",
        links='<a href="/bees/nesting.html">Nesting of mason bees</a> <a href="/bees/enemies.html">Enemies of mason bees</a>'
        ' <a href="/bees/mason-hidden.html">Hidden mason bees</a> <a href="/cars.html">Old cars</a>',
    ),
    "/cars.html": page("Old cars", "Cars rust when salt is on the road in winter and nobody washes them."),
}  # fmt: skip


class Den:
    """Starts tasks as alice and looks at what came of them."""

    def __init__(self, rt: Runtime, site: SmallSite) -> None:
        self.rt, self.site, self.lab, self.cast = rt, site, Lab(rt), make_cast(rt)
        with rt.unit() as db:
            self.collection_id = collections.create(Ctx(rt, db, self.cast.alice), "Bees").id

    def start(self, kind: str, **params: Any) -> str:
        return self.lab.start_kind(kind, {"collection_id": self.collection_id, **params}, self.cast.alice)

    def work(self, only: tuple[str, ...] = QUEUES) -> None:
        """Until nothing is left to do."""
        while sum(self.lab.run_all(queue) for queue in only):
            continue

    def result(self, kind: str, **params: Any) -> dict[str, Any]:
        task_id = self.start(kind, **params)
        self.work()
        row = self.lab.row(task_id)
        assert row.status == "completed", (row.status, row.error)
        assert row.result is not None
        return dict(row.result, task_id=task_id)

    def put(self, title: str, text: str, url: str | None = None) -> None:
        documents.store(self.rt, self.collection_id, Incoming(url or title, title, text, "text/plain", url=url))

    def paths(self) -> set[str]:
        """What was asked for, but robots.txt."""
        return set(self.site.asked()) - {"/robots.txt"}


@pytest.fixture
def web() -> Iterator[SmallSite]:
    with SmallSite() as site:
        site.pages.update(BEES)
        yield site


@pytest.fixture
def den_of(request: pytest.FixtureRequest, make_rt: Callable[..., Runtime], web: SmallSite) -> Callable[..., Den]:
    def make(**env: str) -> Den:
        return Den(make_rt(**{"BRAINSTEM_ALLOW_HOSTS": "127.0.0.1", "BRAINSTEM_MODEL": "", **env}), web)

    return make


@pytest.fixture(params=["embedded", pytest.param("distributed", marks=pytest.mark.services)])
def den(request: pytest.FixtureRequest, den_of: Callable[..., Den], web: SmallSite) -> Den:
    """With two places to look: pages named after a topic, and a list."""
    env = {} if request.param == "embedded" else request.getfixturevalue("swept_services").env
    return den_of(BRAINSTEM_RESEARCH_SOURCES=f"{web.url('/wiki/')}{{topic}},{web.url('/list.html')}", **env)
