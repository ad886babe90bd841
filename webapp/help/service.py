"""The documentation that comes with the program, as pages of the application, and which part of it helps where."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from markupsafe import Markup

from webapp.core.errors import NotFound
from webapp.knowledge.service import demo

if TYPE_CHECKING:
    from markdown_it import MarkdownIt

INDEX = "README"
NAME = re.compile(r"[a-z][a-z0-9-]{0,60}|README")
# The section that helps on the pages of an area, or on one page: blueprint or endpoint -> document#section.
PLACES = {
    "home_pages": "user-guide#first-steps",
    "chat_pages": "user-guide#chat",
    "tasks_pages": "user-guide#tasks",
    "tasks_pages.new": "user-guide#new-task",
    "tasks_pages.schedule_list": "user-guide#schedules",
    "writing_pages": "texts#content_generation",
    "templates_pages": "user-guide#templates",
    "knowledge_pages": "user-guide#knowledge",
    "crawl_pages": "user-guide#crawls",
    "search_pages": "user-guide#search",
    "models_pages": "user-guide#models",
    "notifications_pages": "user-guide#notifications",
    "webhooks_pages": "user-guide#webhooks",
    "insight_pages": "user-guide#insight",
    "logs_pages": "user-guide#logs",
    "identity_pages": "user-guide#profile",
    "feedback_pages": "programs#feedback",
    "omeruta_pages": "other-clients#omeruta",
    "apidocs_pages": "api-guide",
    "operations_pages": "operations",
    "system_pages": "user-guide#for-administrators",
    "people_pages": "user-guide#for-administrators",
    "settings_pages": "settings",
    "help_pages": "README",
}
TAGS = {"a", "blockquote", "br", "code", "div", "em", "h1", "h2", "h3", "h4", "hr", "li", "ol", "p", "pre", "s", "span",
        "strong", "table", "tbody", "td", "th", "thead", "tr", "ul"}  # fmt: skip
ATTRIBUTES = {"*": {"id", "class"}, "a": {"href", "target", "rel"}, "ol": {"start"},
              "div": {"tabindex", "role", "aria-label"}, "pre": {"tabindex"}}  # fmt: skip


@dataclass(frozen=True)
class Section:
    id: str
    title: str


@dataclass(frozen=True)
class Page:
    """A document: its HTML without the heading, which is `title`, and the sections of its second level."""

    name: str
    title: str
    html: Markup
    sections: tuple[Section, ...]
    anchors: frozenset[str]


def names() -> list[str]:
    """Documents that are here, the index first."""
    found = {path.stem for path in demo.FOLDER.glob("*.md")}
    return sorted(found, key=lambda name: (name != INDEX, name))


def page(name: str) -> Page:
    """Raises NotFound for one that is not here."""
    path = demo.FOLDER / f"{name}.md"
    if not NAME.fullmatch(name) or not path.is_file():
        raise NotFound("there is no such page of help", suggestion="See /help.")
    return _page(path, path.stat().st_mtime_ns)


def place(endpoint: str) -> str:
    """`document#section` that helps on the page of this endpoint; the index where nothing fits better."""
    return PLACES.get(endpoint) or PLACES.get(endpoint.partition(".")[0], INDEX)


@lru_cache(maxsize=64)
def _page(path: Path, changed: int) -> Page:
    import nh3

    engine = _engine()
    env: dict[str, Any] = {"sections": [], "anchors": set(), "title": path.stem}
    tokens = engine.parse(path.read_text("utf-8"), env)
    _prepare(tokens, env)
    html = nh3.clean(engine.renderer.render(tokens, engine.options, env), tags=TAGS, attributes=ATTRIBUTES,
                     url_schemes={"http", "https", "mailto"}, link_rel=None)  # fmt: skip
    return Page(path.stem, env["title"], Markup(html), tuple(env["sections"]), frozenset(env["anchors"]))


def _prepare(tokens: list[Any], env: dict[str, Any]) -> None:
    """Take the title out, name the headings, and lead links to other documents there."""
    for number, token in enumerate(tokens):
        if token.type == "heading_open":
            words = tokens[number + 1]
            text = "".join(one.content for one in words.children or () if one.type in ("text", "code_inline"))
            if token.tag == "h1":
                env["title"] = text
                for one in (token, words, tokens[number + 2]):
                    one.hidden, one.children, one.content, one.type = True, [], "", "text"
                continue
            anchor = _unlike(anchor_of(text), env["anchors"])
            token.attrSet("id", anchor)
            if token.tag == "h2":
                env["sections"].append(Section(anchor, text))
        children = token.children or []
        for child, words in zip(children, children[1:], strict=False):
            if child.type == "link_open":
                _lead(child)
                if re.fullmatch(r"(docs/)?[\w-]+\.md", words.content) and child.attrGet("href"):
                    words.content, words.type, words.tag = _title(words.content.removeprefix("docs/")), "text", ""


def _title(name: str) -> str:
    """A document's own, where a text calls it by its file name."""
    path = demo.FOLDER / name
    first = path.read_text("utf-8").partition("\n")[0] if path.is_file() else ""
    return first.removeprefix("# ") if first.startswith("# ") else name


def anchor_of(heading: str) -> str:
    """As GitHub makes them of a heading's text."""
    return re.sub(r"[^\w\- ]", "", heading.strip().lower()).replace(" ", "-")


def _unlike(anchor: str, known: set[str]) -> str:
    number, found = 0, anchor
    while found in known:
        number += 1
        found = f"{anchor}-{number}"
    known.add(found)
    return found


def _lead(link: Any) -> None:
    """To another document of ours: its page here. To a file of the source: nowhere, since it is not installed."""
    target = str(link.attrGet("href") or "")
    if target.startswith(("http://", "https://", "mailto:")):
        link.attrSet("target", "_blank")
        link.attrSet("rel", "noopener noreferrer")
        return
    document, _, anchor = target.partition("#")
    if not document:
        return
    name = document.removeprefix("docs/")
    if re.fullmatch(r"[\w-]+\.md", name) and (demo.FOLDER / name).is_file():
        link.attrSet("href", f"./{name.removesuffix('.md')}" + (f"#{anchor}" if anchor else ""))
    else:
        link.attrs.pop("href", None)


@lru_cache(maxsize=1)
def _engine() -> MarkdownIt:
    from markdown_it import MarkdownIt

    engine = MarkdownIt("commonmark", {"html": False, "linkify": False, "maxNesting": 20})
    engine.enable(["table", "strikethrough"])
    engine.add_render_rule("image", lambda *_: "")  # pictures of the pages that the reader sits in front of
    engine.add_render_rule("fence", _code)
    engine.add_render_rule("code_block", _code)
    engine.add_render_rule(
        "table_open", lambda *_: '<div class="table-scroll" tabindex="0" role="region" aria-label="Table"><table>'
    )
    engine.add_render_rule("table_close", lambda *_: "</table></div>")
    return engine


def _code(renderer: Any, tokens: Any, index: int, options: Any, env: Any) -> str:
    from webapp.ui.draw import highlight

    language = {"sh": "bash", "json": "json", "python": "python", "toml": "toml"}.get(
        tokens[index].info.strip(), "text"
    )
    return f'<pre tabindex="0" class="code"><code>{highlight(tokens[index].content, language)}</code></pre>\n'
