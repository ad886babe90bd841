"""Stored Markdown as HTML for reading. The text is foreign: no HTML of its own, no pictures fetched, links marked.

`mark` highlights a span of characters of the Markdown in what it becomes.
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from markupsafe import Markup, escape

if TYPE_CHECKING:
    from markdown_it import MarkdownIt

OPEN, CLOSE = "\ue000", "\ue001"  # private characters that stand for the borders of the span while it is rendered
LEAD = re.compile(r"(?:[ \t]*(?:#{1,6}[ \t]+|[-*+][ \t]+|\d{1,9}[.)][ \t]+|>[ \t]?|\|[ \t]*))*[ \t]*")
TAG = re.compile(r"(<[^>]*>)")
LINK = ("http://", "https://", "mailto:")


def render(markdown: str, mark: tuple[int, int] | None = None) -> Markup:
    """Safe HTML. With `mark`, the characters start to end are in <mark>, the first one with id "cited"."""
    plain = markdown.replace(OPEN, "").replace(CLOSE, "")
    if mark is None or plain != markdown:
        return _shown(plain) if mark is None else raw(markdown, mark)
    start, end = _inside(markdown, *mark)
    if start >= end:
        return raw(markdown, mark)
    html = str(_shown(markdown[:start] + OPEN + markdown[start:end] + CLOSE + markdown[end:]))
    if html.count(OPEN) != 1 or html.count(CLOSE) != 1:
        return raw(markdown, mark)  # the borders fell into something that is not shown as text, such as a link
    return Markup(_marked(html))


def raw(text: str, mark: tuple[int, int]) -> Markup:
    """The text as it is stored, with the span marked."""
    start, end = max(0, mark[0]), min(len(text), mark[1])
    parts = escape(text[:start]), escape(text[start:end]), escape(text[end:])
    return Markup('<pre class="md-raw">{}<mark id="cited">{}</mark>{}</pre>').format(*parts)


def _inside(text: str, start: int, end: int) -> tuple[int, int]:
    """The span without the marks of a heading, item or row at its first line and without blanks around it."""
    start, end = max(0, start), min(len(text), end)
    while start < end and text[start].isspace():
        start += 1
    while end > start and (text[end - 1].isspace() or text[end - 1] == "|"):
        end -= 1
    line = text.rfind("\n", 0, start) + 1
    if text[line:].lstrip().startswith(("```", "~~~")):
        return min(end, text.find("\n", start) + 1 or end), end
    found = LEAD.match(text, line)
    return (max(start, min(end, found.end())) if found else start), end


def _marked(html: str) -> str:
    """Each stretch of text between the borders in a <mark> of its own: a span may cross paragraphs and cells."""
    out: list[str] = []
    inside, first = False, True
    for piece in TAG.split(html):
        if piece.startswith("<"):
            out.append(piece)
            continue
        before, opened, rest = piece.partition(OPEN) if not inside else ("", "", piece)
        if not inside and not opened:
            out.append(before)
            continue
        inner, closed, after = rest.partition(CLOSE)
        inside = not closed
        if inner.strip():
            inner = f'<mark id="cited">{inner}</mark>' if first else f"<mark>{inner}</mark>"
            first = False
        out.append(before + inner + after)
    return "".join(out)


def _shown(markdown: str) -> Markup:
    return Markup(_engine().render(markdown))


@lru_cache(maxsize=1)
def _engine() -> MarkdownIt:
    return make_engine()


def make_engine() -> MarkdownIt:
    """Foreign Markdown without HTML of its own, pictures or links that lead anywhere but to pages and letters."""
    from markdown_it import MarkdownIt

    engine = MarkdownIt("commonmark", {"html": False, "linkify": False, "maxNesting": 20})
    engine.enable(["table", "strikethrough"])
    engine.validateLink = lambda url: url.lower().startswith(LINK)  # type: ignore[method-assign]
    engine.add_render_rule("link_open", _link)
    engine.add_render_rule("image", _picture)
    engine.add_render_rule("heading_open", _heading)
    engine.add_render_rule("heading_close", _heading)
    engine.add_render_rule(
        "table_open", lambda *_: '<div class="table-scroll" tabindex="0" role="region" aria-label="Table"><table>'
    )
    engine.add_render_rule("table_close", lambda *_: "</table></div>")
    return engine


def _link(renderer: Any, tokens: Any, index: int, options: Any, env: Any) -> str:
    tokens[index].attrSet("rel", "noopener noreferrer nofollow ugc")
    tokens[index].attrSet("target", "_blank")
    return str(renderer.renderToken(tokens, index, options, env))


def _picture(renderer: Any, tokens: Any, index: int, options: Any, env: Any) -> str:
    """What it shows in words: fetching it would tell its server who reads here."""
    words = renderer.renderInlineAsText(tokens[index].children or [], options, env).strip()
    return f'<span class="md-picture">{escape(words)}</span>' if words else ""


def _heading(renderer: Any, tokens: Any, index: int, options: Any, env: Any) -> str:
    """Below the headings of the page around it."""
    level = min(6, int(tokens[index].tag[1]) + 1)
    return f"<h{level}>" if tokens[index].nesting == 1 else f"</h{level}>\n"
