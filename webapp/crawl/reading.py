"""A fetched answer becomes a document: extraction in the sandbox, duplicates, and the knowledge area's `store`.

Runs in the reading threads, off the path between two requests.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from webapp.core.errors import AppError, NotFound, TaskInterrupted, TaskTimedOut
from webapp.core.sandbox_pool import Pool
from webapp.crawl import links, rendering
from webapp.crawl.frontier import Item
from webapp.crawl.rendering import HOW
from webapp.crawl.spool import Spool
from webapp.knowledge import minhash
from webapp.knowledge.service import documents, web

if TYPE_CHECKING:
    from webapp.runtime import Runtime

ALMOST_THE_SAME = 0.95  # of the word groups of two pages nobody says are one
SAID_TO_BE_THE_SAME = 0.8  # of a page and the one it names as its original
NEEDS_SCRIPT = f"The page fills itself by a script; rendering it would show more. {HOW}"


@dataclass
class Reading:
    """outcome: a fate, or "lost" when the answer must be fetched again. entries: addresses a sitemap or feed names."""

    item: Item
    outcome: str
    reason: str | None = None
    detail: str | None = None
    document_id: str | None = None
    minhash: str | None = None
    entries: list[str] = field(default_factory=list)
    index: bool = False  # the entries are sitemaps themselves
    links: list[str] = field(default_factory=list)  # as written, of a page that only a browser shows whole
    notes: list[str] = field(default_factory=list)


class Reader:
    """Shared by the reading threads of one crawl."""

    def __init__(
        self,
        rt: Runtime,
        collection_id: str,
        source_id: str | None,
        spool: Spool,
        known: dict[str, str],
        stopped: Callable[[], bool],
    ) -> None:
        """known: address -> document id of what the collection has already; such a page is no duplicate of another."""
        self.rt, self.collection_id, self.source_id = rt, collection_id, source_id
        self.spool, self.known, self.stopped = spool, known, stopped
        self.near = minhash.NearDuplicates()
        self.children = Pool()
        self.renderer = rendering.of(rt)
        self._lock = threading.Lock()

    def remember(self, url: str, sign: str) -> None:
        """What was stored before a kill."""
        self.near.add(url, sign)

    def close(self) -> None:
        self.children.close()

    def read(self, item: Item) -> Reading:
        """Never raises but for a stop (TaskInterrupted) and a collection that is gone (NotFound)."""
        kept = self.spool.get(item.id)
        if kept is None:
            return Reading(item, "lost")
        head, body = kept
        try:
            return self._page(item, head, body) if item.kind == "page" else self._list(item, body)
        except (TaskInterrupted, NotFound):
            raise
        except AppError as error:
            if error.code == "no_text" and head.get("needs_script"):
                said = head.get("warnings") if self.renderer is not None else None
                return Reading(item, "skipped", "needs_script", said[-1] if said else NEEDS_SCRIPT)
            outcome = "skipped" if error.code in ("no_text", "unsupported_media_type") else "failed"
            reason = {"no_text": "no_content", "unsupported_media_type": "type"}.get(error.code, error.code)
            return Reading(item, outcome, reason, error.message)

    # -- sitemaps and feeds ----------------------------------------------------------------------------------------

    def _list(self, item: Item, body: bytes) -> Reading:
        found: dict[str, Any] = self.children.run(
            "webapp.crawl.sitemaps:read", body, timeout=30.0, cpu_seconds=15, cancelled=self.stopped
        )
        entries = [str(entry["url"]) for entry in found["entries"]]
        what = {"index": "sitemaps", "sitemap": "addresses", "feed": "entries"}.get(found["kind"])
        if what is None:
            return Reading(item, "skipped", "not_a_list", "It is neither a sitemap nor a feed.")
        detail = " ".join([f"It names {len(entries):,} {what}.", *found["notes"]])
        return Reading(item, "fetched", "list", detail, entries=entries, index=found["kind"] == "index")

    # -- pages -----------------------------------------------------------------------------------------------------

    def _page(self, item: Item, head: dict[str, Any], body: bytes) -> Reading:
        from webapp.extraction.service import extract

        page = self._rendered(item, head, body) if head.get("needs_script") and self.renderer is not None else None
        if page is not None:
            body, head = page.encode("utf-8", "replace"), {**head, "charset": "utf-8", "needs_script": False}
        found = extract(
            body, content_type=head.get("content_type"), charset=head.get("charset"), url=item.url,
            filename=None, cancelled=self.stopped, timeout=60.0, pool=self.children,
        )  # fmt: skip
        self.rt.foreground.wait(self.stopped)  # somebody may have asked while the child read
        sign = minhash.signature(found.text)
        twin = self._twin(item, sign)
        if twin is not None:
            return twin
        warnings = [*head.get("warnings", ()), *found.warnings]
        if head.get("needs_script"):
            warnings.append(NEEDS_SCRIPT)
        incoming = documents.Incoming(
            key=item.url, url=item.url, title=found.title or "", text=found.text, content_type=found.content_type,
            language=found.language, author=found.author, published=found.published, etag=head.get("etag"),
            last_modified=head.get("last_modified"), fetched_at=item.fetched_at, method=found.method,
            warnings=warnings, minhash=sign, meta=found.meta,
        )  # fmt: skip
        stored = documents.store(self.rt, self.collection_id, incoming, self.source_id)
        reading = self._stored(item, stored, sign, warnings)
        reading.links = links.scan(page).hrefs if page is not None else []
        return reading

    def _rendered(self, item: Item, head: dict[str, Any], body: bytes) -> str | None:
        """The page as a browser shows it; None, and a warning that says why, where that does not work."""
        assert self.renderer is not None
        try:
            return self.renderer.render(item.url, links.text_of(body, head.get("charset")), self.stopped).html
        except TaskTimedOut:
            trouble = "that took too long."
        except AppError as error:
            trouble = error.message
        head.setdefault("warnings", []).append(f"It fills itself by a script and could not be rendered: {trouble}")
        return None

    def _stored(self, item: Item, stored: documents.Stored, sign: str | None, warnings: list[str]) -> Reading:
        detail = " ".join(warnings)[:500] or None
        match stored.outcome:
            case documents.NEW:
                return Reading(item, "fetched", "new", detail, stored.document_id, sign)
            case documents.CHANGED:
                return Reading(item, "fetched", "changed", detail, stored.document_id, sign)
            case documents.UNCHANGED:
                # After a kill between storing and the row: this is the version we made ourselves.
                if same := web.read_at(self.rt, stored.version_id, item.fetched_at):
                    return Reading(item, "fetched", same, detail, stored.document_id, sign)
                return Reading(item, "unchanged", "same_text", "The text is the same as before.",
                               stored.document_id, sign)  # fmt: skip
            case documents.DUPLICATE:
                return Reading(item, "skipped", "duplicate", "Another document has exactly this text.",
                               stored.document_id)  # fmt: skip
        return Reading(item, "skipped", "no_content", "There is no text in it.", stored.document_id)

    def _twin(self, item: Item, sign: str | None) -> Reading | None:
        """Nearly the same text as a page of this crawl: the first one read stays."""
        if sign is None:
            return None
        with self._lock:
            nearest = self.near.nearest(sign)
            if nearest is not None and nearest[0] != item.url and item.url not in self.known:
                other, share = nearest
                if item.canonical == other and share >= SAID_TO_BE_THE_SAME:
                    return Reading(item, "skipped", "canonical", f"It names {other} as its original.")
                if share >= ALMOST_THE_SAME:
                    return Reading(item, "skipped", "near_duplicate", f"{share:.0%} the same as {other}")
            self.near.add(item.url, sign)
        return None
