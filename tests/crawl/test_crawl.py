"""Crawls of a local site: each address's fate, politeness, conditional requests, duplicates, traps A29-A32."""

from __future__ import annotations

import gzip
import threading
import time

import pytest

from tests.crawl.conftest import Yard
from tests.fakes.small_site import SmallSite, article
from webapp.core.errors import BadRequest, NotFound
from webapp.crawl.models import Crawl, CrawlUrl
from webapp.knowledge.models import Chunk, Document
from webapp.tasks.models import Task


def link(*paths: str) -> str:
    return "".join(f'<a href="{path}">x</a>' for path in paths)


def test_a_site_becomes_documents(both_yard: Yard, site: SmallSite) -> None:
    yard = both_yard
    site.linked(12)
    crawl = yard.crawl(max_depth=5)
    task = yard.task(crawl)
    assert (task.status, task.error) == ("completed", None)
    assert task.result["pages"] == 12
    assert set(yard.fates(crawl).values()) == {("fetched", "new")}
    assert len(yard.texts()) == 12
    document = yard.rows(Document, Document.url == site.url("/3"))[0]
    assert (document.title, document.language, document.key) == ("Page 3", "en", site.url("/3"))
    assert set(site.asked().values()) == {1}
    assert yard.rows(Crawl)[0].finished_at is not None


def test_a_second_crawl_asks_what_changed_and_still_finds_the_way(yard: Yard, site: SmallSite) -> None:
    """Pages that answer 304 carry no links; the last crawl knows where they led."""
    site.linked(8)
    bodies = dict(site.pages)

    def tagged(path: str):  # type: ignore[no-untyped-def]
        def answer(headers: dict[str, str]) -> tuple[int, dict[str, str], bytes]:
            tag = f'"{hash(bodies[path])}"'
            if headers.get("if-none-match") == tag:
                return 304, {"ETag": tag}, b""
            return 200, {"ETag": tag}, bodies[path]  # type: ignore[dict-item]

        return answer

    site.pages = {path: tagged(path) for path in bodies}
    yard.crawl(max_depth=6)
    before = yard.texts()
    bodies["/5"] = article(5005)
    again = yard.crawl(max_depth=6)
    fates = yard.fates(again)
    assert fates.pop("/5") == ("fetched", "changed")
    assert set(fates.values()) == {("unchanged", "not_modified")}
    assert len(fates) == 7
    assert {path for path, text in yard.texts().items() if before[path] != text} == {"/5"}
    assert yard.versions() == 9


def test_a_server_without_validators_is_read_again_and_found_unchanged(yard: Yard, site: SmallSite) -> None:
    site.linked(3)
    yard.crawl()
    again = yard.crawl()
    assert set(yard.fates(again).values()) == {("unchanged", "same_text")}
    assert yard.versions() == 3


def test_robots_txt_is_obeyed(yard: Yard, site: SmallSite) -> None:
    site.pages |= {
        "/robots.txt": (200, {"Content-Type": "text/plain"}, b"User-agent: *\nDisallow: /secret\nAllow: /secret/open"),
        "/": article(1, link("/secret/a", "/secret/open", "/b")), "/b": article(2), "/secret/open": article(3),
        "/secret/a": article(4),
    }  # fmt: skip
    fates = yard.fates(yard.crawl("/"))
    assert fates["/secret/a"] == ("skipped", "robots")
    assert fates["/secret/open"] == fates["/b"] == ("fetched", "new")
    assert site.asked()["/secret/a"] == 0


@pytest.mark.parametrize(("status", "pages"), [(404, 1), (403, 1), (500, 0), (503, 0)])
def test_robots_txt_that_is_not_there(yard: Yard, site: SmallSite, status: int, pages: int) -> None:
    site.pages |= {"/robots.txt": (status, {}, b"User-agent: *\nDisallow: /"), "/": article(1)}
    crawl = yard.crawl("/")
    assert yard.task(crawl).result["pages"] == pages
    assert site.asked()["/"] == pages
    if not pages:
        assert yard.fates(crawl)["/"] == ("skipped", "robots")


def test_crawl_delay_is_kept(yard: Yard, site: SmallSite) -> None:
    site.linked(4)
    site.pages["/robots.txt"] = (200, {}, b"User-agent: *\nCrawl-delay: 0.3")
    yard.crawl()
    times = [at for at, path, _ in site.log if path != "/robots.txt"]
    assert len(times) == 4
    assert min(b - a for a, b in zip(times, times[1:], strict=False)) > 0.28
    assert site.peak == 1


def test_an_impossible_crawl_delay_is_cut_with_a_note(yard: Yard, site: SmallSite) -> None:
    site.pages |= {"/robots.txt": (200, {}, b"User-agent: *\nCrawl-delay: 100000"), "/": article(1)}
    crawl = yard.crawl("/")
    assert yard.task(crawl).result["pages"] == 1
    assert any("100000" in event.message for event in yard.lab.events(yard.task(crawl).id))


def test_caps_of_depth_pages_and_bytes_are_told(yard: Yard, site: SmallSite) -> None:
    site.linked(30)
    fates = yard.fates(yard.crawl(max_depth=1))
    assert sum(state == "fetched" for state, _ in fates.values()) == 4
    assert ("skipped", "depth") in fates.values()
    crawl = yard.crawl(max_depth=9, max_pages=7, fresh=True)
    assert yard.task(crawl).result["pages"] == 7
    assert ("skipped", "page_cap") in yard.fates(crawl).values()
    assert all(state != "queued" for state, _ in yard.fates(crawl).values())


def test_a_byte_cap_ends_it(yard: Yard, site: SmallSite) -> None:
    for n in range(8):
        site.pages[f"/{n}"] = article(n, link(f"/{n + 1}") + "<!--" + "x" * 400_000 + "-->")
    crawl = yard.crawl(max_depth=20, max_mb=1)
    assert ("skipped", "byte_cap") in yard.fates(crawl).values()
    assert sum(site.asked().values()) <= 5


def test_scope_and_other_sites(yard: Yard, site: SmallSite) -> None:
    site.pages["/docs/"] = article(1, link("/docs/a", "/docs/old/b", "/blog/c", "http://other.example/", "/docs/x.png"))
    site.pages["/docs/a"] = article(2)
    fates = yard.fates(yard.crawl("/docs/", include=["/docs/**"], exclude=["**/old/**"]))
    assert fates == {
        "/docs/": ("fetched", "new"), "/docs/a": ("fetched", "new"), "/docs/old/b": ("skipped", "pattern"),
        "/blog/c": ("skipped", "pattern"), "http://other.example/": ("skipped", "off_site"),
        "/docs/x.png": ("skipped", "type"),
    }  # fmt: skip
    assert ("skipped", "off_path") in yard.fates(yard.crawl("/docs/", stay="path")).values()


def test_a_page_of_the_web_may_not_lead_to_a_private_host() -> None:
    """`anywhere` stays among public hosts and those the person named."""
    from webapp.core.addresses import OutboundPolicy
    from webapp.crawl.params import CrawlParams
    from webapp.crawl.wanted import Wanted

    policy = OutboundPolicy(allow_hosts=frozenset({"127.0.0.1", "intranet"}))
    params = CrawlParams(urls=["https://example.org/"], stay="anywhere", max_hosts=2)
    hosts = {"example.org"}
    wanted = Wanted(params, policy, hosts, lambda: 0)
    for url in ("http://127.0.0.1/", "http://intranet:8080/x"):
        assert (wanted.foreign(url) or ("",))[0] == "private_host"
    assert wanted.foreign("http://public.example/") is None
    hosts.add("public.example")
    assert (wanted.foreign("http://third.example/") or ("",))[0] == "host_cap"
    asked = Wanted(CrawlParams(urls=["http://intranet/"]), policy, hosts, lambda: 0)
    assert asked.foreign("http://intranet/x") is None


def test_redirects_are_followed_by_hand_and_told(yard: Yard, site: SmallSite) -> None:
    site.pages |= {
        "/": (301, {"Location": "/home"}, b""), "/home": article(1, link("/loop", "/far")),
        "/loop": (302, {"Location": "/loop"}, b""), "/far": (302, {"Location": "http://other.example/"}, b""),
    }  # fmt: skip
    fates = yard.fates(yard.crawl("/"))
    assert fates["/"] == ("skipped", "redirect")
    assert fates["/home"] == ("fetched", "new")
    assert fates["/loop"] == ("failed", "redirect_loop")
    assert fates["http://other.example/"] == ("skipped", "off_site")


def test_endless_redirects_end(yard: Yard, site: SmallSite) -> None:
    for n in range(50):
        site.pages[f"/r{n}"] = (302, {"Location": f"/r{n + 1}"}, b"")
    yard.crawl("/r0")
    assert sum(site.asked().values()) <= 8


def test_failures_are_told_and_tried_again_where_it_helps(yard: Yard, site: SmallSite) -> None:
    seen: list[int] = []

    def busy(headers: dict[str, str]) -> tuple[int, dict[str, str], bytes]:
        seen.append(1)
        return (503, {"Retry-After": "1"}, b"busy") if len(seen) < 2 else (200, {}, article(9))

    site.pages |= {"/": article(1, link("/gone", "/busy", "/zip")), "/gone": (410, {}, b""), "/busy": busy,
                   "/zip": (200, {"Content-Type": "application/zip"}, b"PK")}  # fmt: skip
    crawl = yard.crawl("/")
    fates = yard.fates(crawl)
    assert fates["/gone"] == ("failed", "http_410")
    assert fates["/busy"] == ("fetched", "new")
    assert fates["/zip"] == ("skipped", "type")
    assert yard.rows(CrawlUrl, CrawlUrl.url == site.url("/busy"))[0].attempts == 2


def test_duplicates_are_kept_once(yard: Yard, site: SmallSite) -> None:
    same = article(7, words=900)
    almost = same.replace(b"</p>", b" and one more word.</p>", 1)
    site.pages |= {
        "/": article(1, link("/a", "/a?utm_source=mail", "/copy", "/almost", "/print")), "/a": same,
        "/copy": same, "/almost": almost,
        "/print": same.replace(b"<head>", b'<head><link rel="canonical" href="/a">'),
    }  # fmt: skip
    fates = yard.fates(yard.crawl("/"))
    assert len(fates) == 5
    assert len(yard.texts()) == 2
    assert {reason for state, reason in fates.values() if state == "skipped"} <= {
        "near_duplicate",
        "duplicate",
        "canonical",
    }


def test_canonical_pages_are_the_ones_that_stay(yard: Yard, site: SmallSite) -> None:
    body = article(7).replace(b"<head>", b'<head><link rel="canonical" href="/real">')
    site.pages |= {"/": article(1, link("/v1", "/v2")), "/v1": body, "/v2": body, "/real": article(7)}
    fates = yard.fates(yard.crawl("/"))
    assert fates["/real"] == ("fetched", "new")
    assert fates["/v1"] == fates["/v2"] == ("skipped", "canonical")


def test_canonical_loops_and_lies_lose_no_page(yard: Yard, site: SmallSite) -> None:
    def naming(number: int, path: str) -> bytes:
        return article(number).replace(b"<head>", f'<head><link rel="canonical" href="{path}">'.encode())

    site.pages |= {"/": article(1, link("/a", "/b", "/c", "/d")), "/a": naming(2, "/b"), "/b": naming(3, "/a"),
                   "/c": naming(4, "/"), "/d": naming(5, "/missing")}  # fmt: skip
    crawl = yard.crawl("/")
    assert yard.task(crawl).result["pages"] == 5


def test_noindex_and_nofollow_are_respected(yard: Yard, site: SmallSite) -> None:
    site.pages |= {
        "/": article(1, link("/hidden", "/dead", "/header")),
        "/hidden": article(2, link("/found")).replace(b"<head>", b'<head><meta name="robots" content="noindex">'),
        "/dead": article(3, link("/never")).replace(b"<head>", b'<head><meta name="robots" content="nofollow">'),
        "/header": (200, {"X-Robots-Tag": "noindex"}, article(4)), "/found": article(5), "/never": article(6),
    }  # fmt: skip
    fates = yard.fates(yard.crawl("/"))
    assert fates["/hidden"] == fates["/header"] == ("skipped", "noindex")
    assert fates["/found"] == ("fetched", "new")
    assert "/never" not in fates
    assert yard.fates(yard.crawl("/hidden", read_as="page")) == {"/hidden": ("fetched", "new")}  # asked for by name


# -- sitemaps, feeds, lists ----------------------------------------------------------------------------------------


def test_sitemaps_of_robots_txt_are_read(yard: Yard, site: SmallSite) -> None:
    """A31: one of them is no address."""
    index = f"<sitemapindex><sitemap><loc>{site.url('/s.xml.gz')}</loc></sitemap></sitemapindex>"
    inner = f"<urlset><url><loc>{site.url('/lonely')}</loc></url><url><loc>{site.url('/other')}</loc></url></urlset>"
    site.pages |= {
        "/robots.txt": (200, {}, f"Sitemap: http://[\nSitemap: {site.url('/sitemap.xml')}".encode()), "/": article(1),
        "/sitemap.xml": (200, {"Content-Type": "application/xml"}, index.encode()),
        "/s.xml.gz": (200, {"Content-Type": "application/gzip"}, gzip.compress(inner.encode())),
        "/lonely": article(2), "/other": article(3),
    }  # fmt: skip
    crawl = yard.crawl("/")
    assert yard.task(crawl).result["pages"] == 3
    assert yard.fates(crawl)["/sitemap.xml"] == ("fetched", "list")


def test_a_feed_is_read_as_its_entries(yard: Yard, site: SmallSite) -> None:
    items = "".join(f"<item><link>{site.url(f'/{n}')}</link></item>" for n in (1, 2))
    site.pages |= {"/feed": (200, {"Content-Type": "application/rss+xml"}, f"<rss><channel>{items}</channel></rss>".encode()),
                   "/1": article(1, link("/3")), "/2": article(2), "/3": article(3)}  # fmt: skip
    crawl = yard.crawl("/feed", read_as="feed")
    assert yard.task(crawl).result["pages"] == 2
    assert "/3" not in yard.fates(crawl)


def test_a_list_of_pages_is_only_that(yard: Yard, site: SmallSite) -> None:
    site.linked(9)
    crawl = yard.crawl("/1", "/2", read_as="page")
    assert set(yard.fates(crawl)) == {"/1", "/2"}


# -- traps ---------------------------------------------------------------------------------------------------------


def test_endless_spaces_end_within_the_budget(yard: Yard, site: SmallSite) -> None:
    """A30: a calendar, session ids, facets, folders that grow."""

    class Endless(dict):  # type: ignore[type-arg]
        def get(self, path, default=None):  # type: ignore[no-untyped-def]
            if path == "/robots.txt":
                return default
            number = sum(map(ord, path)) + len(self.setdefault("seen", [])) * 1000
            self["seen"].append(path)
            up = path.split("?")[0].rstrip("/")
            more = link(f"{up}/x", f"{up}?month={number}&a={number}", f"/s?sid={number}&page={number}", f"/c/{2030 + number}-01",
                        "/" + "y" * 3000, f"/p{number}")  # fmt: skip
            return article(number, more)

    site.pages = Endless()
    crawl = yard.crawl("/", max_depth=20, max_pages=60)
    fates = yard.fates(crawl)
    assert yard.task(crawl).status == "completed"
    assert sum(site.asked().values()) <= 62
    assert ("skipped", "trap") in fates.values()
    assert max(map(len, fates)) < 2100


def test_a_page_with_a_million_links(yard: Yard, site: SmallSite) -> None:
    site.pages["/"] = article(1, "".join(f'<a href="/n{n}">' for n in range(300_000)))
    started = time.monotonic()
    crawl = yard.crawl("/", max_pages=3)
    assert time.monotonic() - started < 60  # reading all of them would take many minutes
    assert len(yard.fates(crawl)) <= 2001


def test_slow_broken_and_huge_answers_hold_up_nobody(
    yard: Yard, site: SmallSite, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A29: a body without end, a server that says nothing."""
    from webapp.crawl import fetching

    monkeypatch.setattr(fetching, "TIMEOUT", 1.0)
    monkeypatch.setattr(fetching, "ATTEMPTS", 1)
    stop = threading.Event()

    def silent(headers: dict[str, str]) -> tuple[int, dict[str, str], bytes]:
        stop.wait(10)
        return 200, {}, b""

    site.pages |= {
        "/": article(1, link("/silent", "/huge", "/short", "/ok")), "/silent": silent, "/ok": article(2),
        "/huge": (200, {"Content-Type": "application/pdf"}, b"%PDF-" + b"x" * 11 * 2**20),
        "/short": (200, {"Content-Length": "9999"}, b"cut"),
    }  # fmt: skip
    fates = yard.fates(yard.crawl("/"))
    stop.set()
    assert fates["/ok"] == ("fetched", "new")
    assert fates["/silent"] == ("failed", "timeout")
    assert fates["/huge"] == ("failed", "too_large")
    assert fates["/short"][0] == "failed"


def test_hostile_pages_are_read_in_the_child(yard: Yard, site: SmallSite) -> None:
    """A32: nesting, NULs, a long line, a zip that calls itself HTML, UTF-7, a wrong charset."""
    html = {"Content-Type": "text/html"}
    site.pages |= {
        "/": article(1, link("/deep", "/nul", "/line", "/zip", "/utf7", "/latin", "/refresh")),
        "/deep": (200, html, b"<div>" * 100_000 + b"some words at the bottom of it all"),
        "/nul": (200, html, b"<p>w\0o\0r\0d\0s\0 and more</p>" * 50),
        "/line": (200, html, b"<p>" + b"long words " * 450_000),
        "/zip": (200, html, b"PK\x03\x04" + bytes(range(256)) * 40),
        "/utf7": (200, {"Content-Type": "text/html; charset=utf-7"}, b"+ADw-script+AD4-alert(1)+ADw-/script+AD4- words enough"),
        "/latin": (200, {"Content-Type": "text/html; charset=utf-8"}, "<p>d\xe9j\xe0 vu, encore une fois</p>".encode("latin-1")),
        "/refresh": (200, html, b'<meta http-equiv="refresh" content="0; url=/moved">'), "/moved": article(2),
    }  # fmt: skip
    started = time.monotonic()
    crawl = yard.crawl("/")
    fates = yard.fates(crawl)
    assert yard.task(crawl).status == "completed"
    assert time.monotonic() - started < 90
    assert all(state in ("fetched", "skipped", "failed") for state, _ in fates.values())
    assert fates["/moved"] == ("fetched", "new")
    assert fates["/zip"][0] != "fetched"
    assert all("\0" not in row.title for row in yard.rows(Document))


# -- whose, and how it ends ----------------------------------------------------------------------------------------


def test_only_into_ones_own_collection(yard: Yard) -> None:
    with pytest.raises(NotFound):
        yard.start("/", who=yard.cast.charlie)


@pytest.mark.parametrize(
    "url", ["http://169.254.169.254/", "http://10.0.0.1/", "ftp://x.example/", "http://user:pw@x.example/"]
)
def test_addresses_the_gate_refuses_are_refused_at_once(yard: Yard, url: str) -> None:
    with pytest.raises(BadRequest):
        yard.start(url)


def test_cancelling_keeps_what_was_read_and_stops_asking(yard: Yard, site: SmallSite) -> None:
    site.linked(200)
    site.delay = 0.05
    crawl = yard.start(max_depth=20)
    runner = threading.Thread(target=lambda: yard.lab.run("crawling"))
    runner.start()
    assert site.wait_for(40)
    yard.lab.do("cancel", yard.cast.alice, yard.task(crawl).id)
    runner.join(20)
    assert yard.task(crawl).status == "cancelled"
    asked = len(site.log)
    assert asked < 200
    yard.lab.do("retry", yard.cast.alice, yard.task(crawl).id)
    yard.lab.run_all("crawling")
    assert yard.task(crawl).result["pages"] == 200
    assert len(site.log) <= 200 + 32 + 2  # those in flight at the cancel, and robots.txt twice


def test_a_collection_that_goes_away_ends_it(yard: Yard, site: SmallSite) -> None:
    from webapp.core.context import Ctx
    from webapp.knowledge.service import collections

    site.linked(3)
    crawl = yard.start()
    with yard.rt.unit() as db:
        collections.remove(Ctx(yard.rt, db, yard.cast.alice), yard.collection_id)
    yard.lab.run_all("crawling")
    assert yard.task(crawl).status == "failed"


def test_the_spool_is_empty_when_it_is_over(yard: Yard, site: SmallSite) -> None:
    from webapp.crawl.spool import Spool, left_behind

    site.linked(3)
    Spool(yard.rt.settings, "of-a-crawl-that-is-gone").put("x", {}, b"body")
    yard.crawl()
    assert left_behind(yard.rt.settings) == []


def test_a_full_disk_stops_it_and_loses_nothing(yard: Yard, site: SmallSite, monkeypatch: pytest.MonkeyPatch) -> None:
    """F21: the crawl says so, is tried again, and goes on where it was."""
    import errno

    from webapp.crawl.spool import Spool

    site.linked(10)
    written: list[str] = []
    write = Spool._write

    def full(self: Spool, url_id: str, data: bytes) -> None:
        written.append(url_id)
        if len(written) == 6:
            raise OSError(errno.ENOSPC, "No space left on device")
        write(self, url_id, data)

    monkeypatch.setattr(Spool, "_write", full)
    crawl = yard.crawl(max_depth=6)
    task = yard.task(crawl)
    if task.status != "completed":
        assert (task.status, task.error_code) in (("retrying", "storage_full"), ("failed", "storage_full"))
        if task.status == "retrying":
            yard.lab.do("cancel", yard.cast.alice, task.id)
        yard.lab.do("retry", yard.cast.alice, task.id)
        yard.lab.run_all("crawling")
    assert yard.task(crawl).result["pages"] == 10
    assert len(yard.texts()) == 10


def test_running_twice_changes_nothing(yard: Yard, site: SmallSite) -> None:
    from webapp.tasks import execute

    site.linked(5)
    crawl = yard.crawl()
    before, asked = yard.task(crawl).result, len(site.log)
    task = yard.task(crawl)
    with yard.rt.unit() as db:
        row = db.get(type(task), task.id)
        row.status, row.finished_at = "queued", None
    assert execute.run_next(yard.rt, yard.lab.host, "crawling") == task.id
    assert len(site.log) == asked
    assert yard.task(crawl).result | {"next": []} == before | {"next": []}


def test_the_same_words_under_a_new_title_are_embedded_again(yard: Yard, site: SmallSite) -> None:
    """An embedder reads the title too, so the crawl that found nothing else new asks for it (M028)."""
    body = article(1)
    site.pages["/1"] = body
    yard.crawl("/1")
    with yard.rt.unit() as db:
        db.query(Document).update({Document.pending_chunks: 0})
        db.query(Chunk).update({Chunk.generation: 1})
        db.query(Task).filter(Task.status == "queued").update({Task.status: "completed"})  # as if it had been embedded
    site.pages["/1"] = body.replace(b"<title>Page 1</title>", b"<title>The first of all pages</title>").replace(
        b"<h1>Page 1</h1>", b"<h1>Page 1</h1><meta property='og:title' content='The first of all pages'>"
    )
    before = yard.texts()
    again = yard.crawl("/1")
    assert yard.texts() == before
    assert yard.fates(again) == {"/1": ("unchanged", "same_text")}
    document = yard.rows(Document)[0]
    assert document.title == "The first of all pages"
    assert document.pending_chunks == document.chunk_count > 0
    followed = [yard.lab.row(one).kind for one in yard.task(again).result["next"]]
    assert "maintenance.embed" in followed
