"""What an answer's Markdown becomes: sources that are there, sentences without support, and nothing that acts."""

from __future__ import annotations

import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from webapp.chat import markup

ALLOWED = re.compile(r"<(/?)([a-z0-9]+)([^>]*)>")


def html(text: str, **more: object) -> str:
    return str(markup.render(text, href="/s/", prefix="p", icons="/icons.svg", **more))  # type: ignore[arg-type]


def test_numbers_open_the_sources_that_are_there() -> None:
    found = html("It is so [1]. Also [2, 3] and [9], `[1]`, [1](https://a.example/).", numbers=(1, 2, 3))
    assert re.findall(r'href="/s/(\d+)"', found) == ["1", "2", "3"]
    assert "[9]" in found
    assert "<code>[1]</code>" in found
    assert 'href="https://a.example/"' in found


def test_no_source_no_link() -> None:
    assert "<a" not in html("It is so [1].")


def test_a_table_s_row_without_support_stays_a_row() -> None:
    text = "| Length | Fee |\n| --- | --- |\n| 6 m | 7 crowns [1] |\n| 12 m | nothing [?] |\n\nSo it is."
    start = text.index("| 12 m")
    found = html(text, numbers=(1,), unsupported=[(start, text.index("\n\nSo"))])
    assert found.count("<tr>") == 3
    assert re.findall(r'<span class="unsupported"[^>]*>([^<]*)</span>', found) == ["12 m", "nothing"]
    assert "<p>So it is.</p>" in found


def test_while_it_is_written_a_number_opens_nothing() -> None:
    found = html("It is so [1], `[2]` and [?].", pending=True)
    assert '<span class="cite is-pending">1</span>' in found
    assert "<a" not in found
    assert "<code>[2]</code>" in found


def test_sentences_without_support_are_marked_and_their_mark_is_told() -> None:
    text = "# Head\n\nTrue [1]. Penguins **fly** there. [?]\n\n- An item is wrong.\n"
    start, item = text.index("Penguins"), text.index("- An")
    found = html(text, numbers=(1,), unsupported=[(start, start + 27), (item, item + 19)])
    marked = re.findall(r'<span class="unsupported"[^>]*>([^<]*)</span>', found)
    assert marked == ["Penguins ", "fly", " there.", "An item is wrong."]
    assert '<sup class="doubt"' in found
    assert "[?]" not in found
    assert "<h2>Head</h2>" in found


def test_spans_that_do_not_fit_do_no_harm() -> None:
    assert "unsupported" not in html("short", unsupported=[(40, 80), (3, 3), (5, 2)])
    assert html("a \ue000b\ue001 c", unsupported=[(0, 3)]) == "<p>a b c</p>\n"


def test_code_is_coloured_named_and_can_be_copied() -> None:
    found = html('```python\ndef f(): return "<b>"\n```\n\n```nonsense\n<i>\n```')
    assert '<span class="k">def</span>' in found
    assert "&lt;b&gt;" in found
    assert "<i>" not in found
    assert re.findall(r'data-copy-from="#([^"]+)"', found) == re.findall(
        r'<pre class="code code-nowrap" id="([^"]+)"', found
    )


EVIL = (
    "[x](javascript:alert(1))", "[x](java\tscript:alert(1))", "[x](data:text/html,hi)", "[x](vbscript:x)",
    "<img src=x onerror=alert(1)>", "<svg/onload=alert(1)>", "<math><mtext></form><mglyph><style></math>",
    "![p](https://evil.example/?d=1)", "![p][r]\n\n[r]: https://evil.example/", "<div hx-get=/api hx-trigger=load>",
    "<base href=//evil.example>", '<a id="ask" name="body">x</a>', "[x](<javascript:alert(1)>)", "&lt;script&gt;",
    "```\n<script>\n```", "````html\n```\n<script>alert(1)</script>\n", "<scr", "[a](//evil.example/x)",
    '[x](https://a.example/"onmouseover="alert(1))', "<!--", "<![CDATA[", "**<u>**", "| <b> |\n|-|\n| <i> |",
)  # fmt: skip


@pytest.mark.parametrize("evil", EVIL)
def test_each_state_of_a_hostile_text_is_harmless(evil: str) -> None:
    """A18, A19, A21: as it is streamed, one character after the other."""
    for end in range(1, len(evil) + 1):
        harmless(html(evil[:end], numbers=(1,)))


@settings(max_examples=150, deadline=None)
@given(st.lists(st.sampled_from([*EVIL, "[1]", "\n\n", "> ", "`", "word ", "<", "\ue000", "- "]), max_size=8))
def test_and_so_is_any_mixture(parts: list[str]) -> None:
    text = "".join(parts)
    harmless(html(text, numbers=(1,), unsupported=[(0, len(text) // 2), (len(text) // 2, len(text))]))


def harmless(found: str) -> None:
    for _, name, attributes in ALLOWED.findall(found):
        assert name in markup.TAGS, found
        for attribute in re.findall(r'([a-z-]+)=(?:"[^"]*"|\S+)', re.sub(r'="[^"]*"', '=""', attributes)):
            assert not attribute.startswith(("on", "hx-", "style", "src")), found
            assert attribute != "name", found
        assert not re.search(r'\bid="(?!code-p-)', attributes), found
    for where in re.findall(r'<[^>]*\bhref="([^"]*)"', found):
        assert re.match(r"(https?://|mailto:|/s/\d+$|/icons\.svg#)", where), where
