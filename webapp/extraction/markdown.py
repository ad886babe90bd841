"""Markdown as the readers write it: tables, fences, links; from HTML, and back to text without links."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING
from urllib.parse import quote, urljoin, urlsplit

if TYPE_CHECKING:
    from bs4 import BeautifulSoup
    from bs4.element import Tag
    from lxml.html import HtmlElement

NOISE = ("script", "style", "noscript", "template", "nav", "footer", "aside", "form", "button", "svg", "iframe")
LINK = re.compile(r"!?\[((?:[^\[\]\\]|\\.){0,2000})\]\((?:<[^<>\n]{0,4000}>|[^()\s]{0,4000})\)")
FENCED = re.compile(r"^(`{3,})[^`\n]*\n(.*?)^\1`*[ ]*$", re.MULTILINE | re.DOTALL)
CODE = re.compile(r"(?<!`)`([^`\n]{1,500})`(?!`)")


def table(rows: Iterable[Sequence[object]], width: int | None = None) -> str:
    """The first row is the head. Rows are filled up to `width`, by default that of the widest; "" without any text."""
    lines = [[cell(value) for value in row] for row in rows]
    columns = width or max((len(line) for line in lines), default=0)
    if not any(any(line) for line in lines):
        return ""
    drawn = ["| " + " | ".join([*line, *[""] * (columns - len(line))]) + " |" for line in lines]
    drawn.insert(1, "|" + "---|" * columns)
    return "\n".join(drawn)


def cell(value: object) -> str:
    return "" if value is None else " ".join(str(value).split()).replace("|", "\\|")


def fence(code: str, language: str = "") -> str:
    """A block of code; the fence is longer than any run of backticks in it."""
    longest = max((len(run) for run in re.findall(r"`+", code)), default=0)
    mark = "`" * max(3, longest + 1)
    name = language if re.fullmatch(r"[\w+#.-]{1,30}", language) else ""
    return f"{mark}{name}\n{code.strip(chr(10))}\n{mark}"


def link(text: str, target: str | None, base: str | None = None) -> str:
    """`[text](target)`; only the text if the target leads nowhere outside the page."""
    where = absolute(target, base)
    return f"[{text.replace('[', '(').replace(']', ')')}]({where})" if where and text.strip() else text


def absolute(target: str | None, base: str | None) -> str | None:
    """A link worth keeping, with what would end a Markdown link quoted. None for scripts, anchors, data and the like."""
    target = re.sub(r"[\s\x00-\x1f]+", "", target or "")[:2000]
    if not target or target.startswith("#"):
        return None
    try:
        where = urljoin(base, target) if base else target
        scheme = urlsplit(where).scheme.lower()
    except ValueError:
        return None
    if scheme not in ("http", "https", "mailto"):
        return None
    return quote(where, safe="!#$%&'*+,/:;=?@[]~_.-")


def without_links(text: str) -> str:
    """What a person reads: link and picture texts instead of the links, code without its marks but untouched."""
    parts = FENCED.split(text)  # prose, fence, code, prose ...
    prose = [CODE.sub(r"\1", LINK.sub(r"\1", part)) for part in parts[0::3]]
    code = [*parts[2::3], ""]
    return "".join(one for pair in zip(prose, code, strict=False) for one in pair)


def from_html(page: str | BeautifulSoup, base: str | None = None) -> str:
    """A fragment or page that is all content (a book's chapter, a letter, a feed's item), whatever its tags."""
    from bs4 import BeautifulSoup
    from bs4.element import Comment

    soup = BeautifulSoup(page, "lxml") if isinstance(page, str) else page
    for tag in soup(["script", "style", "noscript", "template", "svg", "iframe", "object", "head", "title"]):
        tag.decompose()
    for comment in soup.find_all(string=lambda string: isinstance(string, Comment)):
        comment.extract()
    for anchor in soup("a"):
        where = absolute(str(anchor.get("href") or ""), base)
        if where and anchor.get_text(strip=True):
            anchor.attrs = {"href": where}
        else:
            anchor.unwrap()
    return _render(soup)


def _render(soup: BeautifulSoup) -> str:
    from markdownify import MarkdownConverter

    converter = MarkdownConverter(
        heading_style="ATX", bullets="-", strip=["img", "b", "strong", "i", "em"], autolinks=False,
        escape_asterisks=False, escape_underscores=False, escape_misc=False,
        code_language_callback=_language,
    )  # fmt: skip
    return str(converter.convert_soup(soup)).strip()


def _language(tag: Tag) -> str:
    inner = tag.code
    return _class_language(tag.get("class")) or (_class_language(inner.get("class")) if inner else "")


def language_of(block: HtmlElement) -> str:
    """`python` of `<pre class="language-python">`, of the `<code>` in it or the `<div class="highlight-python">` around."""
    around = [one for one in (block.getparent(), block.getparent() is not None and block.getparent().getparent())
              if one is not None and one is not False]  # fmt: skip
    return next(
        (name for one in (block, *block.iter("code"), *around) if (name := _class_language(one.get("class")))), ""
    )


def _class_language(classes: object) -> str:
    names = classes.split() if isinstance(classes, str) else classes if isinstance(classes, list) else []
    found = (
        re.fullmatch(r"(?:language|lang|highlight-source|highlight|brush:?)-?(\w{1,20})", str(name)) for name in names
    )
    return next((one[1] for one in found if one and one[1] not in ("default", "none", "text", "wrapper")), "")
