"""RSS (0.9x, 1.0, 2.0), Atom, CDF and JSON feeds to Markdown. Runs in the child.

Namespaces are ignored: feeds in the wild use them wrongly, and the names of the elements suffice. Broken XML is read
as far as it goes. Sources: RFC 4287 (Atom), the RSS Advisory Board's RSS 2.0, jsonfeed.org version 1.1.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from datetime import datetime
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, Any

from webapp.extraction import markdown

if TYPE_CHECKING:
    from lxml.etree import _Element as Element

ENTRIES = 1000
ROOTS = ("rss", "feed", "rdf", "channel")
ITEMS = ("item", "entry")
TITLES = ("title",)
BODIES = ("encoded", "content", "description", "summary", "abstract", "body", "div")
DATES = ("pubdate", "published", "updated", "issued", "modified", "date", "created", "lastbuilddate", "lastmod")
AUTHORS = ("author", "creator", "dc:creator", "managingeditor")


@dataclass
class Entry:
    """title and body are Markdown; published an ISO day."""

    title: str
    url: str | None
    body: str
    published: str | None
    author: str | None


@dataclass
class Feed:
    title: str | None = None
    description: str = ""
    url: str | None = None
    language: str | None = None
    author: str | None = None
    published: str | None = None
    entries: list[Entry] = field(default_factory=list)


def read_feed(root: Element, characters: int, base: str | None = None) -> dict[str, Any]:
    """Fields of `Extracted`; stops after ENTRIES entries or `characters` of text."""
    return render(feed_of(root, characters, base))


def is_feed(root: Element) -> bool:
    name = local(root)
    if name == "feed" or name == "rss":
        return True
    return name in ROOTS and any(local(child) in ("item", "channel", "entry", "title") for child in root)


def feed_of(root: Element, characters: int, base: str | None = None) -> Feed:
    head = next((child for child in root.iter() if local(child) == "channel"), root)
    about = {local(child): child for child in reversed(head) if isinstance(child.tag, str)}
    own = _link(head)
    base = markdown.absolute(own, base) or base
    feed = Feed(
        title=_line(about.get("title")) or None,
        description=_body(head, ("subtitle", "tagline", "description", "abstract"), base),
        url=base,
        language=(_line(about.get("language")) or root.get("{http://www.w3.org/XML/1998/namespace}lang") or "")[:5],
        author=_author(head),
        published=_day(head),
    )
    for item in root.iter():
        if local(item) in ITEMS and len(feed.entries) < ENTRIES and characters > 0:
            entry = _entry(item, base)
            if entry.title or entry.body or entry.url:
                feed.entries.append(entry)
                characters -= len(entry.body) + len(entry.title)
    return feed


def json_feed(data: dict[str, Any], base: str | None = None) -> dict[str, Any]:
    """jsonfeed.org: `items` with `content_html` or `content_text`."""
    feed = Feed(title=_said(data, "title"), description=_said(data, "description") or "",
                url=_said(data, "home_page_url") or base, language=_said(data, "language"))  # fmt: skip
    items = data.get("items")
    for item in items[:ENTRIES] if isinstance(items, list) else ():
        if not isinstance(item, dict):
            continue
        html = _said(item, "content_html")
        body = markdown.from_html(html, feed.url) if html else _said(item, "content_text") or ""
        url = markdown.absolute(_said(item, "url") or _said(item, "external_url"), feed.url)
        feed.entries.append(Entry(_said(item, "title") or "", url, body or _said(item, "summary") or "",
                                  _iso(_said(item, "date_published") or ""), None))  # fmt: skip
    return render(feed)


def render(feed: Feed) -> dict[str, Any]:
    blocks = [f"# {feed.title}" if feed.title else "", feed.description]
    for entry in feed.entries:
        title = entry.title or _shortened(entry.body) or entry.url or "Entry"
        blocks += [f"## {markdown.link(title, entry.url)}", entry.published or "", entry.body]
    days = [day for day in (feed.published, *(entry.published for entry in feed.entries)) if day]
    return {
        "text": "\n\n".join(block for block in blocks if block),
        "title": feed.title,
        "author": feed.author,
        "published": max(days, default=None),
        "language": (feed.language or "")[:2].lower() or None,
        "method": "feed",
        "meta": {"entries": len(feed.entries)},
    }


# --- parts of an element ----------------------------------------------------------------------------------------


def local(element: Element) -> str:
    """The name in lower case without namespace or prefix; "" for comments and instructions."""
    return re.sub(r"^(?:\{[^}]*\}|[\w.-]+:)", "", element.tag).lower() if isinstance(element.tag, str) else ""


def _entry(item: Element, base: str | None) -> Entry:
    url = markdown.absolute(_link(item) or item.get("href"), base)
    title = next((_line(child) for child in item if local(child) in TITLES), "")
    return Entry(title, url, _body(item, BODIES, url or base), _day(item), _author(item))


def _link(element: Element) -> str | None:
    """The page it stands for: Atom's `alternate`, the text of RSS's <link>, a guid that is an address."""
    for child in element:
        name, text = local(child), (child.text or "").strip()
        where = child.get("href") or text
        if name == "link" and child.get("rel", "alternate") == "alternate" and where:
            return where
        permanent = child.get("ispermalink", child.get("isPermaLink", "true")) != "false"
        if name == "guid" and permanent and text.startswith("http"):
            return text
    return None


def _body(element: Element, names: tuple[str, ...], base: str | None) -> str:
    """The longest of the texts that may carry the content."""
    texts = [_markup(child) for child in element if local(child) in names]
    longest = max(texts, key=len, default="")
    return markdown.from_html(longest, base) if "<" in longest or "&" in longest else longest.strip()


def _markup(element: Element) -> str:
    """Content as HTML: escaped in the text, or as elements inside."""
    if len(element) == 0:
        return (element.text or "").strip()
    from lxml import etree

    return "".join([element.text or "", *(etree.tostring(child, encoding="unicode") for child in element)])


def _line(element: Element | None) -> str:
    """One line of text; titles may be HTML, escaped once too often."""
    if element is None:
        return ""
    text = " ".join("".join(element.itertext()).split())
    return (
        " ".join(markdown.without_links(markdown.from_html(text)).split())[:500]
        if re.search(r"[<&]", text)
        else text[:500]
    )


def _author(element: Element) -> str | None:
    for child in element:
        if local(child) in AUTHORS:
            name = next((part for part in child if local(part) == "name"), child)
            return _line(name)[:200] or None
    return None


def _day(element: Element) -> str | None:
    found = {local(child): "".join(child.itertext()).strip() for child in element if local(child) in DATES}
    return next((day for name in DATES if (day := _iso(found.get(name, "")))), None)


def _iso(stamp: str) -> str | None:
    """RFC 822 and RFC 3339 dates to an ISO day."""
    if re.match(r"\d{4}-\d\d-\d\d", stamp):
        try:
            return datetime.strptime(stamp[:10], "%Y-%m-%d").date().isoformat()
        except ValueError:
            return None
    try:
        return parsedate_to_datetime(stamp).date().isoformat()
    except (ValueError, TypeError, IndexError, OverflowError):
        return None


def _said(data: dict[str, Any], name: str) -> str | None:
    value = data.get(name)
    return value.strip() or None if isinstance(value, str) else None


def _shortened(body: str) -> str:
    line = " ".join(markdown.without_links(body).split())
    return line if len(line) <= 80 else line[:79].rsplit(" ", 1)[0] + "…"
