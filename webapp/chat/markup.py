"""An answer's Markdown as HTML, in every state of its being written. What a model writes is foreign text.

Marks such as [1] become links to the sources that are there, and nothing else; sentences without support are marked.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from markupsafe import Markup, escape

from webapp.knowledge.markup import LEAD, make_engine

if TYPE_CHECKING:
    from markdown_it import MarkdownIt

OPEN, CLOSE = "\ue000", "\ue001"  # private characters around a sentence without support, while it is rendered
CITE = re.compile(r"\[(?:(\d{1,3}(?:\s*[,;]\s*\d{1,3})*)|\?)\]")  # [1], [2, 3] and [?], which has no support
TAIL = re.compile(r"(?:\s*\[[\d,;?\s]{1,40}\])+\s*$")
LAST = re.compile(r"[ \t]*\|[ \t]*\Z")  # the border that closes a table's row
TAG = re.compile(r"(<[^>]*>)")
WHY = "No source was found that says this"


def render(
    text: str, *, numbers: Collection[int] = (), unsupported: Iterable[tuple[int, int]] = (), href: str = "",
    prefix: str = "", icons: str = "", pending: bool = False,
) -> Markup:  # fmt: skip
    """Safe HTML. numbers: the sources that can be opened, at `href` + number; unsupported: spans of `text` to mark.

    prefix: makes ids of this answer's own; icons: the address of the drawings. pending: the sources are not known yet,
    a mark looks like one that opens nothing.
    """
    env = {"numbers": frozenset(numbers), "href": href, "prefix": prefix, "icons": icons, "pending": pending}
    if OPEN in text or CLOSE in text:
        text, unsupported = text.replace(OPEN, "").replace(CLOSE, ""), ()
    spans = _apart(text, unsupported)
    html = _engine().render(_with_borders(text, spans), env)
    return Markup(clean(_underlined(html) if spans else html))


def _apart(text: str, spans: Iterable[tuple[int, int]]) -> list[tuple[int, int]]:
    """In order, inside the text, none over another; the marks of a heading or an item stay outside."""
    found: list[tuple[int, int]] = []
    for start, end in sorted(spans):
        end = min(end, len(text))
        start = max(0, start, found[-1][1] if found else 0)
        line = text.rfind("\n", 0, start) + 1
        start = max(start, LEAD.match(text, line).end())  # type: ignore[union-attr]
        said = LAST.sub("", text[start:end]) if text[line:].lstrip().startswith("|") else text[start:end]
        end = start + len(TAIL.sub("", said))
        if start < end:
            found.append((start, end))
    return found


def _with_borders(text: str, spans: list[tuple[int, int]]) -> str:
    out, at = [], 0
    for start, end in spans:
        out += [text[at:start], OPEN, text[start:end], CLOSE]
        at = end
    return "".join([*out, text[at:]])


def _underlined(html: str) -> str:
    """Each stretch of text between borders in a <span> of its own; what the borders cut in two stays whole."""
    out: list[str] = []
    inside = False
    for piece in TAG.split(html):
        if piece.startswith("<"):
            out.append(piece.replace(OPEN, "").replace(CLOSE, ""))
            continue
        while piece:
            border = CLOSE if inside else OPEN
            text, found, piece = piece.partition(border)
            text = text.replace(OPEN, "").replace(CLOSE, "")
            out.append(f'<span class="unsupported" title="{WHY}">{text}</span>' if inside and text.strip() else text)
            inside = inside != bool(found)
    return "".join(out)


# What the engine makes. It writes no HTML of the text's own; this looks at the final HTML all the same.
TAGS = {"a", "blockquote", "br", "button", "code", "div", "em", "h2", "h3", "h4", "h5", "h6", "hr", "li", "ol", "p", "pre",
        "s", "span", "strong", "sup", "svg", "table", "tbody", "td", "th", "thead", "tr", "ul", "use"}  # fmt: skip
ATTRIBUTES = {
    "*": {"class", "title", "id", "role", "tabindex", "aria-label", "aria-hidden"},
    "a": {"href", "target", "rel", "data-cite"}, "ol": {"start"},
    "button": {"type", "data-copy", "data-copy-from", "data-js"}, "svg": {"focusable"}, "use": {"href"},
}  # fmt: skip


def clean(html: str) -> str:
    """The allowed tags and attributes, links to pages and letters, nothing else."""
    import nh3

    return nh3.clean(html, tags=TAGS, attributes=ATTRIBUTES, url_schemes={"http", "https", "mailto"}, link_rel=None)


@lru_cache(maxsize=1)
def _engine() -> MarkdownIt:
    engine = make_engine()
    engine.core.ruler.push("cites", _cites)
    engine.add_render_rule("cite", _cite)
    engine.add_render_rule("fence", _fence)
    engine.add_render_rule("code_block", _fence)
    return engine


def _cites(state: Any) -> None:
    """Split text at [1] and [2, 3] where those sources exist, and at [?]. Code and links are left alone."""
    numbers = range(1, 1000) if state.env.get("pending") else state.env.get("numbers", ())
    for block in state.tokens:
        if block.type == "inline" and block.children:
            block.children = _split(block.children, numbers)


def _split(tokens: list[Any], numbers: Collection[int]) -> list[Any]:
    from markdown_it.token import Token

    out: list[Any] = []
    depth = 0  # of links
    for token in tokens:
        depth += token.nesting if token.type in ("link_open", "link_close") else 0
        if token.type != "text" or depth or "[" not in token.content:
            out.append(token)
            continue
        at = 0
        for match in CITE.finditer(token.content):
            wanted = [int(one) for one in re.findall(r"\d+", match[0])]
            if not all(one in numbers for one in wanted):
                continue
            before = token.content[at : match.start()]
            if not wanted and before.endswith(" "):
                before = before[:-1] + "\u00a0"  # a lone ? at the beginning of a line says nothing
            out.append(_text(token, before))
            out += [Token("cite", "", 0, meta={"number": one}) for one in wanted or (0,)]
            at = match.end()
        out.append(_text(token, token.content[at:]))
    return out


def _text(like: Any, content: str) -> Any:
    from markdown_it.token import Token

    return Token("text", "", 0, content=content, level=like.level)


def _cite(renderer: Any, tokens: Any, index: int, options: Any, env: Any) -> str:
    number = tokens[index].meta["number"]
    if not number:
        return f'<sup class="doubt" title="{WHY}">?<span class="sr-only"> no source says this</span></sup>'
    if env.get("pending"):
        return f'<span class="cite is-pending">{number}</span>'
    href = escape(f"{env['href']}{number}")
    return f'<a class="cite" href="{href}" data-cite="{number}" aria-label="Source {number}">{number}</a>'


def _fence(renderer: Any, tokens: Any, index: int, options: Any, env: Any) -> str:
    """A block of code with its language and a button to copy it; coloured where the language is known."""
    from webapp.ui.draw import highlight

    token = tokens[index]
    words = (token.info or "").split()
    language = words[0][:30] if words else "text"
    ident = f"code-{env['prefix']}-{index}"
    name = f'<span class="faint">{escape(language)}</span>' if words else ""
    return (
        f'<div class="codebox"><div class="codebox-head"><span class="spacer"></span>{name}'
        f'<button type="button" class="btn btn-sm btn-icon" data-copy="" data-copy-from="#{ident}" data-js title="Copy">'
        f'<svg class="icon" aria-hidden="true" focusable="false"><use href="{escape(env["icons"])}#copy"></use></svg><span class="sr-only">Copy</span></button></div>'
        f'<pre class="code code-nowrap" id="{ident}" tabindex="0" role="region" aria-label="Code">{highlight(token.content, language)}</pre></div>\n'
    )
