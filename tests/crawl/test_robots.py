"""robots.txt: the evaluation data, and drill A31."""

from __future__ import annotations

import gzip
import json
import time
from pathlib import Path

import pytest

from webapp.crawl import robots


def test_agrees_with_the_evaluation_data(shared: Path) -> None:
    with gzip.open(shared / "data" / "robots" / "cases.jsonl.gz", "rt", encoding="utf-8") as lines:
        cases = [json.loads(line) for line in lines]
    wrong = [
        case
        for case in cases
        if robots.parse(case["robots_txt"].encode()).allowed(case["agent"], case["url"]) != case["allowed"]
    ]
    assert len(wrong) <= len(cases) * 0.025, wrong


@pytest.mark.parametrize(
    ("text", "agent", "path", "allowed"),
    [
        ("User-agent: *\nDisallow: /a\nAllow: /a/b", "Brainstem", "/a/b/c", True),
        ("User-agent: *\nDisallow: /a\nAllow: /a/b", "Brainstem", "/a/c", False),
        ("User-agent: brainSTEM/1.0 (x)\nDisallow: /", "Brainstem", "/", False),
        ("User-agent: Other\nDisallow: /", "Brainstem", "/", True),
        ("User-agent: *\nDisallow: /\n\nUser-agent: Brainstem\nDisallow:", "Brainstem", "/x", True),
        ("User-agent: *\nDisallow: /*.pdf$", "Brainstem", "/x.pdf", False),
        ("User-agent: *\nDisallow: /*.pdf$", "Brainstem", "/x.pdf?page=2", True),
        ("User-agent: *\nDisallow: /a*b*c", "Brainstem", "/aXXbYYc!", False),
        ("User-agent: *\nDisallow: /a*a$", "Brainstem", "/a", True),
        ("User-agent: *\nDisallow: /schön", "Brainstem", "/sch%C3%B6n/x", False),
        ("User-agent: *\nDisallow: /%7e", "Brainstem", "/%7E", False),
        ("disallow: /\nUser-agent: *\nAllow: /", "Brainstem", "/", True),
        ("User-agent: *\rDisallow: /x\r\nDisallow: /y", "Brainstem", "/y", False),
        ("\ufeffUser-agent: *\nDisallow: /", "Brainstem", "/", False),
        ("User-agent *\nDisallow /x", "Brainstem", "/x", False),
        ("User-agent: a\nUser-agent: Brainstem\nDisallow: /x", "Brainstem", "/x", False),
        ("User-agent: Brainstem\nCrawl-delay: 3\nUser-agent: b\nDisallow: /x", "Brainstem", "/x", False),
    ],
)
def test_rules(text: str, agent: str, path: str, allowed: bool) -> None:
    assert robots.parse(text.encode()).allowed(agent, "http://h.example" + path) is allowed


def test_crawl_delay_is_capped_with_a_note() -> None:
    found = robots.parse(b"User-agent: *\nCrawl-delay: 100000\nDisallow: /x")
    assert found.rules_for("Brainstem").delay == robots.MAX_DELAY
    assert "100000" in found.notes[0]
    assert robots.parse(b"User-agent: *\nCrawl-delay: 1e9").rules_for("Brainstem").delay is None


def test_only_the_first_500_kib_count() -> None:
    head = b"User-agent: *\nDisallow: /early\n"
    filler = b"#" + b"x" * 97 + b"\n"
    body = head + filler * 6000 + b"Disallow: /late\n"
    found = robots.parse(body)
    assert not found.allowed("Brainstem", "http://h/early")
    assert found.allowed("Brainstem", "http://h/late")
    assert found.notes


@pytest.mark.parametrize(
    ("status", "open_"), [(200, True), (404, True), (403, True), (500, False), (503, False), (429, False)]
)
def test_status_decides_when_there_is_no_file(status: int, open_: bool) -> None:
    assert robots.of_answer(status, b"").allowed("Brainstem", "http://h/") is open_


def test_hostile_files_cost_little() -> None:
    many_stars = b"User-agent: *\nDisallow: /" + b"*a" * 8000 + b"b\n"
    files = [
        many_stars,
        b"\0" * 500_000,
        b"User-agent: *\n" * 40_000,
        b":" * 500_000,
        b"User-agent: *\n" + b"Disallow: /x\n" * 38_000,
    ]
    started = time.process_time()
    for body in files:
        rules = robots.parse(body).rules_for("Brainstem")
        for path in ("/" + "a" * 2000, "/" + "ab" * 1000):
            rules.allows(path)
    assert time.process_time() - started < 2


def test_sitemaps_are_found_anywhere() -> None:
    found = robots.parse(b"Sitemap: https://h.example/a.xml\nUser-agent: x\nSITEMAP: https://h.example/b.xml # two\n")
    assert found.sitemaps == ["https://h.example/a.xml", "https://h.example/b.xml"]
