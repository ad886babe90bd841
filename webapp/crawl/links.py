"""Where a page leads: one pass over its tags, without building a tree.

A crawl reads links on the path between two requests, so this must be cheap; it also sees foreign bytes in the main
process, so it is plain Python whose every search is linear: an attribute part never crosses the next `<`, and what
has no end ends the pass. Everything else about a page is read in the sandbox (webapp.extraction).
"""

from __future__ import annotations

import html
import re
from dataclasses import dataclass, field

MAX_LINKS = 2_000  # of one page; more are counted, not followed
SCANNED = 4_000_000  # characters; nobody writes more links by hand

# The attribute part: quoted values may hold `>`, none may hold `<`.
TAG = re.compile(
    r"""<(?:!--|(?P<raw>script|style|noscript|template|textarea)\b|(?P<tag>a|area|base|link|meta|iframe|frame)(?=[\s/]))"""
    r"""(?P<rest>(?:[^<>"']++|"[^"<]*+"|'[^'<]*+')*+)""",
    re.IGNORECASE,
)
ATTRIBUTE = re.compile(
    r"""(?<![^\s/"'])(href|src|rel|name|content|http-equiv|property)\s*+=\s*+(?:"([^"]*+)"|'([^']*+)'|([^\s"'>]++))""",
    re.IGNORECASE,
)
REFRESH = re.compile(r"\s*\d+(?:\.\d*)?\s*[;,]\s*url\s*=\s*[\"']?([^\"']+)", re.IGNORECASE)
# A page that is empty until a script has run.
APP_ROOT = re.compile(
    r"""<(?:div|main|app-root)[^<>]{0,200}\bid\s*=\s*["']?(?:root|app|__next|__nuxt|main-app)\b""", re.IGNORECASE
)


NOSCRIPT_HINT = re.compile(
    r"\b(?:enable|requires?|needs?|activate|turn on|aktivier\w*|activez|habilit\w*)\b[^<]{0,80}\bjava\s?script"
    r"|\bjava\s?script\b[^<]{0,80}\b(?:enabled?|required|needed|disabled|aktivier\w*)\b",
    re.IGNORECASE,
)


@dataclass
class PageLinks:
    """hrefs are as written, in order, each once. canonical, base: as written. noindex, nofollow: meta robots."""

    hrefs: list[str] = field(default_factory=list)
    feeds: list[str] = field(default_factory=list)
    canonical: str | None = None
    base: str | None = None
    refresh: str | None = None
    noindex: bool = False
    nofollow: bool = False
    more: int = 0
    needs_script: bool = False


def scan(page: str, robot: str = "brainstem") -> PageLinks:
    """robot: meta tags of this name count as well as those for all robots."""
    found = PageLinks()
    seen: dict[str, None] = {}
    scripts = at = 0
    page = page[:SCANNED]
    while hit := TAG.search(page, at):
        at = hit.end()
        tag = hit["tag"]
        if tag is None:
            raw = hit["raw"]
            scripts += raw is not None and raw.lower() == "script"
            if (at := _skip(page, at, raw)) < 0:
                break
        elif tag in ("a", "A"):
            if (href := _href(hit["rest"])) is not None:
                seen[href] = None
        else:
            _other(found, tag.lower(), _attributes(hit["rest"]), robot, seen)
    hrefs = list(seen)
    found.hrefs, found.more = hrefs[:MAX_LINKS], max(0, len(hrefs) - MAX_LINKS)
    found.needs_script = scripts > 0 and len(hrefs) < 3 and _fills_itself(page[:200_000])
    return found


def _fills_itself(page: str) -> bool:
    """It has the place where an application puts itself, or tells readers without scripts to turn them on."""
    if APP_ROOT.search(page):
        return True
    hint = page.lower().find("<noscript")
    return hint >= 0 and NOSCRIPT_HINT.search(page[hint : hint + 800]) is not None


PLAIN_HREF = re.compile(r"""\s++href="([^"&\s]++)"\s*+""")


def _href(rest: str) -> str | None:
    """Of an `a`; None when it asks not to be followed."""
    if plain := PLAIN_HREF.fullmatch(rest):
        return plain[1]
    given = _attributes(rest)
    if "nofollow" in given.get("rel", "").lower().split():
        return None
    return given.get("href")


def _attributes(rest: str) -> dict[str, str]:
    found: dict[str, str] = {}
    for name, double, single, bare in ATTRIBUTE.findall(rest):
        value = double or single or bare
        found.setdefault(name.lower(), html.unescape(value).strip() if "&" in value else value.strip())
    return found


def _skip(page: str, at: int, raw: str | None) -> int:
    """Behind a comment or the content of a script; -1 when it has no end."""
    if raw is None:
        end = page.find("-->", at)
        return end + 3 if end >= 0 else -1
    if raw.lower() in ("noscript", "template"):  # links for readers without scripts are links
        return at
    closing = re.compile(f"</{raw}", re.IGNORECASE).search(page, at)
    return closing.end() if closing else -1


def _other(found: PageLinks, tag: str, given: dict[str, str], robot: str, seen: dict[str, None]) -> None:
    if tag == "base":
        found.base = found.base or given.get("href")
    elif tag == "area":
        if given.get("href"):
            seen[given["href"]] = None
    elif tag in ("iframe", "frame"):
        if tag == "frame" and given.get("src"):
            seen[given["src"]] = None
    elif tag == "link":
        _link(found, given, seen)
    elif given.get("http-equiv", "").lower() == "refresh":
        if target := REFRESH.match(given.get("content", "")):
            found.refresh = target[1].strip()
            seen[found.refresh] = None
    elif given.get("name", "").lower() in ("robots", robot):
        said = re.split(r"[\s,]+", given.get("content", "").lower())
        found.noindex = found.noindex or "noindex" in said or "none" in said
        found.nofollow = found.nofollow or "nofollow" in said or "none" in said


def _link(found: PageLinks, given: dict[str, str], seen: dict[str, None]) -> None:
    rel, href = given.get("rel", "").lower().split(), given.get("href")
    if not href:
        return
    if "canonical" in rel:
        found.canonical = found.canonical or href
    elif "next" in rel or "prev" in rel:
        seen[href] = None
    elif (
        "alternate" in rel
        and "application/" in given.get("type", "application/")
        and href.endswith((".xml", ".rss", ".atom"))
    ):
        found.feeds.append(href)


CHARSET = re.compile(rb"""<meta[^>]{0,200}?charset\s*=\s*["']?\s*([A-Za-z0-9_:.-]{2,40})""", re.IGNORECASE)


def text_of(body: bytes, charset: str | None) -> str:
    """Good enough to find links in: their characters are ASCII in nearly every encoding."""
    if body.startswith((b"\xff\xfe", b"\xfe\xff")):
        return body.decode("utf-16", "replace")
    try:
        return body.decode("utf-8")
    except UnicodeDecodeError:
        pass
    if charset is None and (inside := CHARSET.search(body[:4096])):
        charset = inside[1].decode("ascii")
    from webapp.extraction.encoding import codec

    return body.decode(codec(charset) or "cp1252", "replace")
