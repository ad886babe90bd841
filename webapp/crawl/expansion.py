"""Knowledge expansion (M024): from what is stored about a topic to pages about it that were not read yet.

Leads are links in the documents that answer the topic, and addresses that crawls of the same person found and left.
A lead is worth what its words and its address have in common with the topic, and more beside a passage that fits.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any
from urllib.parse import unquote, urlsplit

from sqlalchemy import or_, select

from webapp.core.addresses import OutboundPolicy, precheck_url
from webapp.core.context import Ctx
from webapp.core.errors import AppError
from webapp.crawl import urls
from webapp.crawl.models import Crawl, CrawlUrl
from webapp.knowledge.service import search, web
from webapp.knowledge.snippets import stem, stems
from webapp.tasks.service import outbound_policy

PASSAGES, DOCUMENTS = 20, 8  # that are looked at for links
LEFT = 500  # addresses left by crawls that are looked at
LONGEST_TEXT = 400_000
BESIDE = 0.4  # of a passage's score, for a link in it
LINK = re.compile(r"(?<!!)\[([^\[\]]{1,300})\]\((https?://[^\s()<>]{1,2000}(?:\([^\s()<>]*\)[^\s()<>]*)*)\)")
WORD = re.compile(r"[^\W_]+")
UNREAD = ("skipped", "queued")
NOT_FOR_GOOD = ("depth", "page_cap", "byte_cap", "request_cap", "host_cap", "off_site", "off_path", "pattern", None)


@dataclass(frozen=True)
class Lead:
    """An address worth reading. score 0..; found_on: where it stands, in words for people."""

    url: str
    score: float
    found_on: str


def leads(ctx: Ctx, topic: str, limit: int) -> list[Lead]:
    """The best addresses about a topic that none of the caller's collections has. Ends the caller's transaction.

    Raises BadRequest for an empty topic.
    """
    found = search.search(ctx, topic, k=PASSAGES, per_document=3, record=False)
    wanted = stems(topic)
    policy = outbound_policy(ctx.rt.settings)
    best: dict[str, Lead] = {}
    for lead in [*_beside(found.hits, wanted, policy), *_in_documents(ctx, found.hits, wanted, policy),
                 *_left(ctx, wanted, policy)]:  # fmt: skip
        if lead.url not in best or best[lead.url].score < lead.score:
            best[lead.url] = lead
    known = web.known_among(ctx, list(best))
    ranked = sorted((one for one in best.values() if one.url not in known), key=lambda one: (-one.score, one.url))
    return _fetchable(policy, ranked, limit)


def _beside(hits: Iterable[Any], wanted: frozenset[str], policy: OutboundPolicy) -> list[Lead]:
    """Links in the passages that fit."""
    return [
        Lead(url, BESIDE * hit.score + _fit(words, url, wanted), hit.title)
        for hit in hits
        for words, url in _links(hit.text, hit.url, policy)
    ]


def _in_documents(ctx: Ctx, hits: Iterable[Any], wanted: frozenset[str], policy: OutboundPolicy) -> list[Lead]:
    """Links anywhere in the documents of those passages, if they themselves speak of the topic."""
    titles = {hit.version_id: (hit.title, hit.url) for hit in hits}
    texts = web.texts(ctx, list(titles)[:DOCUMENTS])
    return [
        Lead(url, fit, titles[version_id][0])
        for version_id, text in texts.items()
        for words, url in _links(text[:LONGEST_TEXT], titles[version_id][1], policy)
        if (fit := _fit(words, url, wanted)) > 0
    ]


def _left(ctx: Ctx, wanted: frozenset[str], policy: OutboundPolicy) -> list[Lead]:
    """What crawls found and did not read for want of time or because it was elsewhere."""
    if not wanted or ctx.user.id is None:
        return []
    named = or_(*(CrawlUrl.url.icontains(one, autoescape=True) for one in sorted(wanted, key=len)[-8:]))
    reasons = or_(CrawlUrl.reason.in_([one for one in NOT_FOR_GOOD if one]), CrawlUrl.reason.is_(None))
    of = (Crawl.owner_id == ctx.user.id, Crawl.finished_at.is_not(None), CrawlUrl.state.in_(UNREAD), reasons, named)
    stmt = select(CrawlUrl.url, CrawlUrl.found_on).join(Crawl, Crawl.id == CrawlUrl.crawl_id).where(*of)
    rows = ctx.db.execute(stmt.order_by(CrawlUrl.id.desc()).limit(LEFT))
    return [
        Lead(row[0], fit, row[1] or "a crawl")
        for row in rows
        if (fit := _fit("", row[0], wanted)) > 0 and _may_lead(policy, row[1], row[0])
    ]


def _links(markdown: str, found_on: str | None, policy: OutboundPolicy) -> list[tuple[str, str]]:
    """(words, normalised address) of the links that lead to something readable on another page."""
    found = []
    for words, href in LINK.findall(markdown):
        try:
            url = urls.normalise(href, found_on or None)
        except urls.BadUrl:
            continue
        if url != found_on and not urls.is_binary(url) and urls.trap(url) is None and _may_lead(policy, found_on, url):
            found.append((words, url))
    return found


def _fit(words: str, url: str, wanted: frozenset[str]) -> float:
    """0..2: the share of the topic that the link's words have, and that its address has."""
    if not wanted:
        return 0.0
    place = urlsplit(url)
    of_url = {stem(word) for word in WORD.findall(unquote(f"{place.hostname} {place.path} {place.query}"))}
    of_words = {stem(word) for word in WORD.findall(words)}
    return (len(wanted & of_words) + len(wanted & of_url)) / len(wanted)


def _fetchable(policy: OutboundPolicy, ranked: Iterable[Lead], limit: int) -> list[Lead]:
    kept: list[Lead] = []
    for lead in ranked:
        if len(kept) >= limit:
            break
        try:
            precheck_url(lead.url, policy)
        except AppError:
            continue
        kept.append(lead)
    return kept


def _may_lead(policy: OutboundPolicy, found_on: str | None, url: str) -> bool:
    """The operator trusts the person who names a private host, not every page of the web that links to one."""
    host, _, port = urls.host_of(url).partition(":") if "[" not in url else (urls.host_of(url), "", "")
    approved = policy.approves(host, int(port) if port else 443 if url.startswith("https:") else 80)
    return not approved or (found_on is not None and urls.site_of(found_on) == urls.site_of(url))
