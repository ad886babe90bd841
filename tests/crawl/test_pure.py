"""Addresses, patterns, links, sitemaps and near-duplicates: no network, no database."""

from __future__ import annotations

import base64
import gzip
import json
import random
import time
from datetime import date
from pathlib import Path
from typing import Any

import pytest

from webapp.core.errors import BadRequest
from webapp.crawl import links, patterns, sitemaps, urls
from webapp.knowledge import minhash

# -- addresses -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("given", "wanted"),
    [
        ("HTTP://Example.ORG:80/a/../b/./c#part", "http://example.org/b/c"),
        ("https://example.org:443", "https://example.org/"),
        ("https://example.org/?utm_source=x&a=1&fbclid=2&b=2", "https://example.org/?a=1&b=2"),
        ("https://example.org/p;jsessionid=AB12?PHPSESSID=1", "https://example.org/p"),
        ("https://example.org/%7Euser/%c3%a9?x=%2f", "https://example.org/~user/%C3%A9?x=%2F"),
        ("https://example.org/é", "https://example.org/%C3%A9"),
        ("https://bücher.example/", "https://xn--bcher-kva.example/"),
        ("  https://example.org/a b ", "https://example.org/a%20b"),
        ("https://example.org/a/b/../../..", "https://example.org/"),
    ],
)
def test_one_spelling(given: str, wanted: str) -> None:
    assert urls.normalise(given) == wanted
    assert urls.normalise(wanted) == wanted


@pytest.mark.parametrize(
    "given",
    ["", "ftp://x.example/", "http://a:b@x.example/", "http://127.1/", "http:///x", "https://x.example/" + "a" * 2048],
)
def test_what_the_gate_refuses_is_no_address(given: str) -> None:
    with pytest.raises(urls.BadUrl):
        urls.normalise(given)


def test_links_are_resolved_as_a_browser_does() -> None:
    resolve = urls.Links().resolve
    base, origin = "https://h.example/a/b.html?x=1", "https://h.example"
    given = {"/p/1.html": "/p/1.html", "c.html": "/a/c.html", "../c": "/c", "?y=2": "/a/b.html?y=2", "./": "/a/",
             "//other.example/x": None, "/a/./b": "/a/b"}  # fmt: skip
    for href, path in given.items():
        assert resolve(href, base, origin) == (origin + path if path else "https://other.example/x")
    for href in ("mailto:a@b.example", "javascript:x()", "#top", "", "data:text/html,x", "http://["):
        assert resolve(href, base, origin) is None


def test_every_web_platform_case_is_resolved_or_refused(shared: Path) -> None:
    with gzip.open(shared / "data" / "urls" / "urltestdata.jsonl.gz", "rt", encoding="utf-8") as lines:
        cases = [json.loads(line) for line in lines]
    other = 0
    for case in cases:
        wanted = None if case.get("failure") else case["href"].partition("#")[0]
        try:
            got = urls.normalise(case["input"], case["base"])
        except urls.BadUrl:
            continue  # stricter than a browser on purpose
        assert urls.normalise(got) == got
        other += got != wanted
    assert other <= len(cases) * 0.04  # normalised further than the standard asks


def test_traps_are_seen_by_their_spelling() -> None:
    today = date(2026, 1, 1)
    good = ("https://h.example/a/b/c", "https://h.example/2026/01/post", "https://h.example/x?a=1&b=2")
    bad = ("https://h.example" + "/a/b" * 6, "https://h.example" + "/x" * 4, "https://h.example/?" + "a=1&" * 13,
           "https://h.example/events/2031/05", "https://h.example/" + "/".join(map(str, range(25))))  # fmt: skip
    assert [urls.trap(url, today) for url in good] == [None] * len(good)
    assert all(urls.trap(url, today) for url in bad)
    assert urls.is_binary("https://h.example/a.JPG?x=1")
    assert not urls.is_binary("https://h.example/a.html")


# -- patterns ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("pattern", "url", "fits"),
    [
        ("/docs/**", "https://h.example/docs/a/b", True),
        ("/docs/*", "https://h.example/docs/a/b", False),
        ("/docs", "https://h.example/docs/a", True),
        ("/docs", "https://h.example/docs2", False),
        ("/docs/", "https://h.example/docs/a", True),
        ("h.example/a*", "https://h.example/abc", True),
        ("*.example/**", "https://h.example/abc", True),
        ("**.pdf", "https://h.example/x/y.pdf", True),
        ("/a?c", "https://h.example/abc", True),
        ("/a(b)+", "https://h.example/abb", False),
        ("re:/a(b)+$", "https://h.example/abb", True),
        ("re:page=[0-9]+", "https://h.example/?page=12", True),
    ],
)
def test_patterns(pattern: str, url: str, fits: bool) -> None:
    assert patterns.matcher(pattern)(url) is fits


def test_include_and_exclude() -> None:
    scope = patterns.Scope(["/docs/**"], ["**/old/**"])
    assert scope.refuses("https://h.example/docs/a") is None
    assert "include" in (scope.refuses("https://h.example/blog") or "")
    assert "**/old/**" in (scope.refuses("https://h.example/docs/old/a") or "")


def test_patterns_cannot_be_made_slow() -> None:
    """A33: the engine is linear in what it reads, and what it cannot do so is refused."""
    started = time.process_time()
    for pattern in ("re:(a+)+$", "re:(a|a)*b", "re:(.*)*x{3}", "*a" * 200 + "b", "re:(?:a?){40}a{40}"):
        patterns.matcher(pattern)("https://h.example/" + "a" * 2000)
    assert time.process_time() - started < 1


@pytest.mark.parametrize("pattern", ["", "re:(", "re:(?=x)", "x" * 501, r"re:(a)\1", "re:(a{1000}){1000}"])
def test_bad_patterns_are_told(pattern: str) -> None:
    with pytest.raises(BadRequest):
        patterns.matcher(pattern)


# -- links ---------------------------------------------------------------------------------------------------------

PAGE = """<!doctype html><head><base href="/sub/"><link rel="canonical" href="/real">
<meta name=robots content="noindex, follow"><link rel=alternate type="application/rss+xml" href="/feed.xml">
<meta http-equiv="Refresh" content="5; url=/moved"></head>
<a href="/a">x</a> <A HREF='/b?x=1&amp;y=2'>y</A> <a class=x href=/c>z</a><a title="2 > 1" href="/d">d</a>
<a rel="nofollow" href="/no">n</a><!-- <a href="/comment"> --><script>'<a href="/script">'</script>
<noscript><a href="/plain"></a></noscript><area href="/area"><a href="/a">again</a><a data-href="/not">q</a>"""


def test_links_of_a_page() -> None:
    found = links.scan(PAGE)
    assert found.hrefs == ["/moved", "/a", "/b?x=1&y=2", "/c", "/d", "/plain", "/area"]
    assert (found.base, found.canonical, found.feeds) == ("/sub/", "/real", ["/feed.xml"])
    assert (found.noindex, found.nofollow) == (True, False)


def test_a_page_that_needs_a_script_is_known() -> None:
    assert links.scan('<body><div id="root"></div><script src="/app.js"></script></body>').needs_script
    assert not links.scan(PAGE).needs_script


def test_a_million_links_are_counted_not_followed() -> None:
    page = "".join(f'<a href="/p{n}">' for n in range(100_000))
    found = links.scan(page)
    assert len(found.hrefs) == links.MAX_LINKS
    assert found.more == 100_000 - links.MAX_LINKS


@pytest.mark.parametrize(
    "page",
    ['<a "' * 200_000, "<a href='" * 100_000, "<!--" * 100_000, "<script>" * 100_000, "<a " + "href=x " * 200_000,
     "<" * 1_000_000, "<a" + " " * 1_000_000, '<meta content="1; ' * 50_000, "<div id=" * 100_000, "\0" * 1_000_000,
     "<div>" * 100_000, "<a " + "href =" * 100_000, "<a href" + "\t" * 500_000 + "x"],
)  # fmt: skip
def test_hostile_pages_cost_little(page: str) -> None:
    started = time.process_time()
    links.scan(page)
    assert time.process_time() - started < 1.5


@pytest.mark.parametrize(
    ("body", "charset", "word"),
    [("<a href=/é>".encode(), None, "é"), ("<a href=/é>".encode("latin-1"), None, "é"),
     ("<a href=/ж>".encode("cp1251"), "windows-1251", "ж"), ("<a href=/x>".encode("utf-16"), None, "/x"),
     (b"+ADw-script+AD4-<a href=/x>", "utf-7", "+ADw-")],
)  # fmt: skip
def test_bytes_become_text(body: bytes, charset: str | None, word: str) -> None:
    assert word in links.text_of(body, charset)


# -- sitemaps and feeds --------------------------------------------------------------------------------------------


def entries(body: str | bytes) -> tuple[str, list[str]]:
    found = sitemaps.read(body.encode() if isinstance(body, str) else body)
    return found["kind"], [entry["url"] for entry in found["entries"]]


XMLNS = 'xmlns="http://www.sitemaps.org/schemas/sitemap/0.9"'
MAP = f"<urlset {XMLNS}><url><loc> https://h.example/a&amp;b </loc><lastmod>2026-01-02</lastmod></url></urlset>"


@pytest.mark.parametrize(
    ("body", "kind", "wanted"),
    [
        (MAP, "sitemap", ["https://h.example/a&b"]),
        (gzip.compress(MAP.encode()), "sitemap", ["https://h.example/a&b"]),
        (f"<sitemapindex {XMLNS}><sitemap><loc>https://h.example/1.xml</loc></sitemap></sitemapindex>", "index",
         ["https://h.example/1.xml"]),
        ("https://h.example/1\nhttps://h.example/2\n", "sitemap", ["https://h.example/1", "https://h.example/2"]),
        ("<rss><channel><link>https://h.example/</link><item><title>T</title><link>https://h.example/1</link></item>"
         "</channel></rss>", "feed", ["https://h.example/1"]),
        ('<feed xmlns="http://www.w3.org/2005/Atom"><entry><link rel="self" href="/s"/><link href="/1"/></entry></feed>',
         "feed", ["/1"]),
        ("<rss><channel><item><guid>https://h.example/g</guid></item><item><guid isPermaLink='false'>x</guid></item>"
         "</channel></rss>", "feed", ["https://h.example/g"]),
        ('{"version": "https://jsonfeed.org/version/1.1", "items": [{"url": "https://h.example/j"}, 3]}', "feed",
         ["https://h.example/j"]),
        ("<urlset><url><loc>https://h.example/x</loc></url><url><loc>https://h.example/y", "sitemap",
         ["https://h.example/x", "https://h.example/y"]),
        ("<html><p>hello", "none", []), (b"", "none", []), (b"\x1f\x8bgarbage", "none", []), (b"\0\1\2", "none", []),
    ],
)  # fmt: skip
def test_sitemaps_and_feeds(body: str | bytes, kind: str, wanted: list[str]) -> None:
    assert entries(body) == (kind, wanted)


def test_xml_attacks_are_refused() -> None:
    laughs = '<!DOCTYPE x [<!ENTITY a "ha"><!ENTITY b "' + "&a;" * 50 + '"><!ENTITY c "' + "&b;" * 50 + '">]>'
    outside = '<!DOCTYPE x [<!ENTITY f SYSTEM "file:///etc/passwd">]>'
    for head, entity in ((laughs, "&c;"), (outside, "&f;")):
        found = sitemaps.read(f"{head}<urlset><url><loc>https://h.example/{entity}</loc></url></urlset>".encode())
        assert all("ha" not in entry["url"][20:] and "root:" not in entry["url"] for entry in found["entries"])
    bomb = gzip.compress(b"<urlset>" + b" " * 200_000_000)
    assert sitemaps.read(bomb)["notes"]


def test_every_feed_of_the_data_has_an_outcome(shared: Path) -> None:
    with gzip.open(shared / "data" / "feeds" / "feeds.jsonl.gz", "rt", encoding="utf-8") as lines:
        found = [sitemaps.read(base64.b64decode(json.loads(line)["b64"])) for line in lines]
    assert len(found) > 1000
    assert sum(one["kind"] == "feed" for one in found) > len(found) * 0.98


# -- near-duplicates -----------------------------------------------------------------------------------------------


def test_similarity_estimates_the_share_of_common_word_groups() -> None:
    draw = random.Random(7)
    words = [f"word{n}" for n in range(5000)]
    base = draw.choices(words, k=800)
    for changed in (0, 2, 20, 80):
        other = list(base)
        for _ in range(changed):
            other[draw.randrange(800)] = f"new{draw.randrange(10**6)}"
        true = _jaccard(base, other)
        one, two = minhash.signature(" ".join(base)), minhash.signature(" ".join(other))
        assert one is not None
        assert two is not None
        assert abs(minhash.similarity(one, two) - true) < 0.12
    assert minhash.signature("too short") is None


def _jaccard(one: list[str], other: list[str]) -> float:
    first, second = ({tuple(w[i : i + 5]) for i in range(len(w) - 4)} for w in (one, other))
    return len(first & second) / len(first | second)


def test_the_nearest_is_found_by_its_bands() -> None:
    draw = random.Random(8)
    near = minhash.NearDuplicates()
    texts = [" ".join(draw.choices([f"w{n}" for n in range(900)], k=300)) for _ in range(100)]
    signs: list[Any] = [minhash.signature(text) for text in texts]
    for number, sign in enumerate(signs):
        near.add(str(number), sign)
    found = near.nearest(str(minhash.signature(texts[42].replace("w7 ", "changed "))))
    assert found is not None
    assert found[0] == "42"
    assert found[1] > 0.9
    assert near.nearest(str(minhash.signature(" ".join(f"z{n}" for n in range(300))))) is None
