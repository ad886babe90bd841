"""Sitemaps and feeds: which addresses they name. Runs in the sandbox child; plain values in and out.

Sources: sitemaps.org protocol, RFC 4287 (Atom), RSS 2.0 and 1.0, JSON Feed 1.1. Real files are broken in every way,
so XML is read by a parser that recovers, with entities and network off, and by a plain search for addresses at last.
"""

from __future__ import annotations

import html
import json
import re
import zlib
from typing import Any

PRELOAD = ("lxml.etree",)

MAX_ENTRIES = 50_000  # what the sitemap protocol allows in one file
MAX_BYTES = 50 * 2**20
ENTRY_TAGS = {"item", "entry"}
NAMED = re.compile(r"<(?:[a-z]{1,20}:)?loc\b[^<>]{0,200}>\s*+(?:<!\[CDATA\[)?\s*+([^<\]]{1,4000})", re.IGNORECASE)
DAY = re.compile(r"\d{4}-\d\d-\d\d")


def read(body: bytes) -> dict[str, Any]:
    """{"kind": "sitemap" | "index" | "feed" | "none", "entries": [{"url", "title", "modified"}], "title", "notes"}.

    `index`: its entries are sitemaps themselves. Never raises for bad content: what cannot be read has no entries.
    """
    body, notes = _unpacked(body)
    found = _json_feed(body) or _xml(body, notes) or _lines(body)
    entries = {entry["url"]: entry for entry in reversed(found["entries"]) if entry["url"]}
    rows = list(reversed(entries.values()))
    if len(rows) > MAX_ENTRIES:
        notes.append(f"Only the first {MAX_ENTRIES:,} of {len(rows):,} entries were read.")
    return {**found, "entries": rows[:MAX_ENTRIES], "notes": notes}


def _unpacked(body: bytes) -> tuple[bytes, list[str]]:
    """sitemap.xml.gz: cut at the size the protocol allows, which also ends a bomb."""
    if not body.startswith(b"\x1f\x8b"):
        return body[:MAX_BYTES], []
    unpacker = zlib.decompressobj(16 + zlib.MAX_WBITS)
    try:
        plain = unpacker.decompress(body, MAX_BYTES)
    except zlib.error:
        return b"", ["The compressed file is damaged."]
    return plain, ["Only the first 50 MiB were read."] if unpacker.unconsumed_tail else []


def _empty(kind: str = "none") -> dict[str, Any]:
    return {"kind": kind, "title": None, "entries": []}


# -- XML -----------------------------------------------------------------------------------------------------------


def _xml(body: bytes, notes: list[str]) -> dict[str, Any] | None:
    root = _tree(body)
    if root is None:
        return None
    name = _local(root)
    if name in ("urlset", "sitemapindex"):
        return _sitemap(root, name)
    entries = [_entry(node) for node in root.iter() if _local(node) in ENTRY_TAGS]
    if not entries and name not in ("rss", "feed", "rdf", "channel"):
        return None
    return {"kind": "feed", "title": _feed_title(root), "entries": entries}


def _tree(body: bytes) -> Any:
    from lxml import etree

    if b"<" not in body[:4096]:
        return None
    for recover in (False, True):
        parser = etree.XMLParser(
            resolve_entities=False, no_network=True, load_dtd=False, dtd_validation=False, huge_tree=False,
            recover=recover, remove_comments=True, remove_pis=True,
        )  # fmt: skip
        try:
            root = etree.fromstring(body.strip(), parser)
        except (etree.XMLSyntaxError, ValueError, LookupError):
            continue
        if root is not None:
            return root
    return None


def _local(node: Any) -> str:
    tag = node.tag
    return tag.rpartition("}")[2].rpartition(":")[2].lower() if isinstance(tag, str) else ""


def _text(node: Any) -> str:
    return " ".join("".join(node.itertext()).split())


def _sitemap(root: Any, name: str) -> dict[str, Any]:
    entries = []
    for node in root:
        parts = {_local(part): _text(part) for part in node if isinstance(part.tag, str)}
        if parts.get("loc"):
            entries.append(_row(parts["loc"], None, parts.get("lastmod")))
    return {"kind": "index" if name == "sitemapindex" else "sitemap", "title": None, "entries": entries}


def _entry(node: Any) -> dict[str, Any]:
    link, title, guid, modified = "", None, "", None
    for part in node:
        match _local(part):
            case "link":
                link = _better_link(link, part)
            case "title":
                title = title or html.unescape(_text(part))[:500] or None
            case "guid" | "id":
                guid = guid or ("" if part.get("isPermaLink") == "false" else _text(part))
            case "updated" | "modified" | "date" | "pubdate" | "published" | "issued":
                modified = modified or _text(part)
    if not link and guid.startswith(("http://", "https://")):
        link = guid
    return _row(link or node.get("href") or "", title, modified)


def _better_link(link: str, part: Any) -> str:
    """Atom has several links, of which `alternate` is the page; RSS has the address as text."""
    href = (part.get("href") or "").strip()
    if href:
        return href if part.get("rel", "alternate") == "alternate" or not link else link
    return link or _text(part)


def _feed_title(root: Any) -> str | None:
    for node in root.iter():
        if _local(node) in ENTRY_TAGS:
            return None
        if _local(node) == "title":
            return html.unescape(_text(node))[:500] or None
    return None


def _row(url: str, title: str | None, modified: str | None) -> dict[str, Any]:
    day = DAY.match((modified or "").strip())
    return {"url": url.strip()[:4000], "title": title, "modified": day[0] if day else None}


# -- other forms ---------------------------------------------------------------------------------------------------


def _json_feed(body: bytes) -> dict[str, Any] | None:
    if not body.lstrip(b"\xef\xbb\xbf \t\r\n").startswith(b"{"):
        return None
    try:
        feed = json.loads(body.decode("utf-8-sig", "replace"))
    except (ValueError, RecursionError):
        return None
    items = feed.get("items") if isinstance(feed, dict) else None
    if not isinstance(items, list):
        return None
    rows = [item for item in items if isinstance(item, dict)]
    entries = [
        _row(_string(item.get("url")) or _string(item.get("external_url")), _string(item.get("title"))[:500] or None,
             _string(item.get("date_modified")) or _string(item.get("date_published")))
        for item in rows
    ]  # fmt: skip
    return {"kind": "feed", "title": _string(feed.get("title"))[:500] or None, "entries": entries}


def _string(value: Any) -> str:
    return value if isinstance(value, str) else ""


def _lines(body: bytes) -> dict[str, Any]:
    """A list of addresses, one a line (the protocol's text form), or a sitemap no parser reads."""
    text = body.decode("utf-8-sig", "replace")
    if named := NAMED.findall(text):
        kind = "index" if "<sitemapindex" in text[:4096].lower() else "sitemap"
        return {"kind": kind, "title": None, "entries": [_row(html.unescape(url), None, None) for url in named]}
    lines = [line.strip() for line in text.splitlines()[: MAX_ENTRIES * 2]]
    urls = [line for line in lines if line.startswith(("http://", "https://")) and " " not in line]
    if urls and len(urls) * 2 > sum(1 for line in lines if line):
        return {"kind": "sitemap", "title": None, "entries": [_row(url, None, None) for url in urls]}
    return _empty()
