"""Web pages to Markdown: trafilatura first, beautifulsoup4 when it finds too little, a tag stripper for hostile pages.

Runs in the child. Bold and italics are dropped; headings, lists, tables, code and links are kept. How the main text is
chosen was measured on 91 news pages and 80 pages of all kinds, see docs/benchmarks.md.
"""

from __future__ import annotations

import html
import re
from collections.abc import Iterator
from copy import deepcopy
from typing import TYPE_CHECKING, Any

from webapp.core import sandbox
from webapp.extraction import markdown
from webapp.extraction.marks import INLINE, Marks

if TYPE_CHECKING:
    from lxml.html import HtmlElement

RICH_SECONDS = 3  # of processor time for the tree readers; the service then reads the page with `strip_tags`
RICH_CHARACTERS = 8_000_000  # larger pages are not worth building a tree of
SHORT = 1500  # characters below which a strict choice is compared with a generous one
LEAD = 60  # characters of a page's description that a paragraph must start with to be its lead
TOO_LITTLE = 200  # characters of trafilatura's text below which beautifulsoup4 may do better

BLOCKS = {
    *(
        "p",
        "div",
        "section",
        "article",
        "main",
        "header",
        "footer",
        "blockquote",
        "pre",
        "ul",
        "ol",
        "dl",
        "dd",
        "dt",
    ),
    *(
        "table",
        "figure",
        "figcaption",
        "address",
        "fieldset",
        "form",
        "hr",
        "title",
        "nav",
        "aside",
        "details",
    ),
}
BREAKS = {"li": "\n- ", "br": "\n", "tr": "\n", "td": " ", "th": " "}
SILENT = {
    name: re.compile(rf"</{name}\b[^>]{{0,100}}>", re.IGNORECASE)
    for name in ("script", "style", "noscript", "template", "svg")
}
TAG = re.compile(r"""<(/?[a-zA-Z][a-zA-Z0-9:-]*+)(?:[^<>"']++|"[^"<]*+"|'[^'<]*+')*+>""")
HEADINGS = {f"h{level}": "#" * level for level in range(1, 7)}
XML_DECLARATION = re.compile(r"^\s*<\?xml[^>]{0,200}>")
ESCAPED = re.compile(r"\\([_*`#<>~])")


def read_html(page: str, url: str | None) -> dict[str, Any]:
    """Fields of `Extracted`. Any trouble of the libraries ends in the next simpler reader."""
    page = XML_DECLARATION.sub("", page, count=1)  # lxml refuses text that declares an encoding
    page = Marks.ANY.sub(" ", page)
    if len(page) > RICH_CHARACTERS:
        return strip_tags(page)
    _limit_processor_time()
    try:
        found = _with_trafilatura(page, url)
        if len(found["text"]) < TOO_LITTLE:
            found = max(found, _with_beautifulsoup(page, found, url), key=lambda one: len(one["text"]))
    except Exception:
        return strip_tags(page)
    return found if found["text"].strip() else found | strip_tags(page)


def _load_once() -> None:
    """The nursery reads the stop words of 100 languages, instead of each child in its first short page."""
    from trafilatura import external

    external.jt_stoplist_init()


if sandbox.in_child:
    _load_once()


def _limit_processor_time() -> None:
    """Some pages (100,000 attributes) keep lxml busy for half a minute inside C; only the kernel can end that."""
    if not sandbox.in_child:
        return
    import resource

    used = resource.getrusage(resource.RUSAGE_SELF)
    _, hard = resource.getrlimit(resource.RLIMIT_CPU)
    wanted = int(used.ru_utime + used.ru_stime) + RICH_SECONDS
    resource.setrlimit(resource.RLIMIT_CPU, (wanted if hard < 0 else min(wanted, hard), hard))


def _with_trafilatura(page: str, url: str | None) -> dict[str, Any]:
    """The main text, chosen strictly; a short finding is compared with a generous one, for short pages lose most."""
    from lxml import etree
    from trafilatura.utils import load_html

    tree = load_html(page)
    if tree is None:
        return {"text": "", "method": "trafilatura"}
    about = _about(tree)
    etree.strip_tags(tree, *INLINE)
    size = sum(len(text.strip()) for text in tree.itertext() if text.strip()) - _silent(tree)
    lead = _lead(tree)
    links = Marks(_base(tree, url))
    links.mark(tree)
    text = _main_text(tree, url, strict=True)
    if len(text) < SHORT and len(text) < 0.5 * len(generous := _main_text(tree, url, strict=False)):
        text = generous
    text = _without_tail(text, links)
    if lead and " ".join(lead.split())[:LEAD] not in " ".join(links.plain(text).split()):
        text = f"{lead}\n{text}"
    share = links.share(text)
    return about | {"text": links.render(text), "method": "trafilatura",
                    "meta": {"page_characters": size, "link_share": round(share, 3)}}  # fmt: skip


def _main_text(tree: HtmlElement, url: str | None, strict: bool) -> str:
    import trafilatura

    document = trafilatura.bare_extraction(
        deepcopy(tree), url=url, fast=False, include_comments=False, include_tables=True, include_formatting=True,
        favor_precision=strict, favor_recall=not strict,
    )  # fmt: skip
    return ESCAPED.sub(r"\1", getattr(document, "text", None) or "")


def _silent(tree: HtmlElement) -> int:
    return sum(len((tag.text or "").strip()) for tag in tree.iter("script", "style", "noscript", "template", "title"))


def _base(tree: HtmlElement, url: str | None) -> str | None:
    tag = next(tree.iter("base"), None)
    return markdown.absolute(tag.get("href"), url) or url if tag is not None else url


def _lead(tree: HtmlElement) -> str:
    """The paragraph that a page's description quotes: the lead, which often stands outside the article's own element."""
    described = sorted(
        (" ".join((tag.get("content") or "").split()) for tag in tree.iter("meta")
         if (tag.get("property") or tag.get("name") or "").lower() in ("og:description", "description")),
        key=len, reverse=True,
    )  # fmt: skip
    start = re.sub(r"\W*(?:\.\.\.|…)\W*$", "", described[0])[:LEAD] if described else ""
    if len(start) < LEAD:
        return ""
    for tag in tree.iter("p", "div", "h2", "h3", "strong", "span"):
        if any(child.tag in ("p", "div") for child in tag):
            continue
        text = " ".join("".join(tag.itertext()).split())
        if text.startswith(start) and len(text) < 1500:
            return text
    return ""


def _without_tail(text: str, links: Marks) -> str:
    """Lines at the end that only link elsewhere ("read also"), and the heading above them, are no part of the text."""
    lines = text.split("\n")
    dropped = False
    while lines:
        line = lines[-1].strip()
        linked = bool(links.WHOLE.search(line)) and links.share(line) > 0.8
        heading = dropped and (line.startswith("#") or (len(line) < 60 and line.endswith(":")))
        if line and not linked and not heading:
            break
        dropped = dropped or linked
        lines.pop()
    return "\n".join(lines) if lines else text


def _about(tree: HtmlElement) -> dict[str, Any]:
    """Title, author, day and language as the page declares them; no guessing in its text."""
    meta: dict[str, str] = {}
    for tag in tree.iter("meta"):
        name = (tag.get("property") or tag.get("name") or tag.get("itemprop") or "").lower()
        if name and (content := " ".join((tag.get("content") or "").split())):
            meta.setdefault(name, content)
    titles = [" ".join((tag.text or "").split()) for tag in tree.iter("title")]
    published = meta.get("article:published_time") or meta.get("datepublished") or meta.get("date") or ""
    return {
        "title": next((title for title in (meta.get("og:title"), *titles) if title), None),
        "author": meta.get("author") or None,
        "published": iso_day(published),
        "language": language_of(tree.get("lang") or meta.get("og:locale") or ""),
    }


def iso_day(stamp: str) -> str | None:
    found = re.match(r"(\d{4})-(0[1-9]|1[0-2])-(0[1-9]|[12]\d|3[01])", stamp)
    return found[0] if found else None


def language_of(tag: str) -> str | None:
    """`de` of `de-AT`, `de_AT`; None for what is no language tag."""
    found = re.match(r"\s*([A-Za-z]{2,3})(?:[-_]|\s*$)", tag)
    return found[1].lower() if found else None


def _with_beautifulsoup(page: str, about: dict[str, Any], url: str | None) -> dict[str, Any]:
    from bs4 import BeautifulSoup

    soup = BeautifulSoup(page, "lxml")
    for tag in soup(markdown.NOISE):
        tag.decompose()
    part = soup.find("article") or soup.find("main") or soup.body or soup
    text = markdown.from_html(BeautifulSoup(str(part), "lxml"), url)
    return about | {"text": text, "method": "beautifulsoup4"}


def strip_tags(page: str) -> dict[str, Any]:
    """Text without a tree: one pass over the tags, so depth and size cost nothing.

    The standard library's parser is quadratic on pages of unfinished comments; every search here either ends the
    pass or is bounded by the next `<`.
    """
    pieces: list[str] = []
    title = ""
    for tag, text in _tokens(page):
        if tag == "title":
            title = title or " ".join(html.unescape(text).split())
        else:
            pieces.append(_break_before(tag) + re.sub(r"\s+", " ", html.unescape(text)))
    return {"text": re.sub(r" {2,}", " ", "".join(pieces)), "title": title or None, "method": "plain"}


def _break_before(tag: str) -> str:
    name = tag.lstrip("/")
    if tag in HEADINGS:
        return f"\n\n{HEADINGS[tag]} "
    if name in BLOCKS or name in HEADINGS:
        return "\n\n"
    return BREAKS.get(tag, "")


def _tokens(page: str) -> Iterator[tuple[str, str]]:
    """Each tag ("p", "/p", "" for none) with the text that follows it; the content of SILENT elements is left out."""
    start = page.find("<")
    yield "", page if start < 0 else page[:start]
    while 0 <= start < len(page):
        if page.startswith("<!--", start):
            end = page.find("-->", start)
            if end < 0:
                return
            tag, after = "", end + 3
        else:
            tag, after = _tag(page, start)
        if tag in SILENT:
            closing = SILENT[tag].search(page, after)
            if not closing:
                return
            after = closing.end()
        start = page.find("<", after if after > start else start + 1)
        yield tag, page[after : start if start >= 0 else len(page)]


def _tag(page: str, start: int) -> tuple[str, int]:
    """Name and end of the tag at `start`; ("", start) if the `<` is only a character."""
    if found := TAG.match(page, start):
        return found[1].lower(), found.end()
    following = page.find("<", start + 1)
    end = page.find(">", start, following if following >= 0 else len(page))
    is_markup = page[start + 1 : start + 2] in ("!", "?", "/") or page[start + 1 : start + 2].isalpha()
    return "", end + 1 if end >= 0 and is_markup else start
