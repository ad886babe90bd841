"""Foreign Markdown on our pages: readable, harmless, and marked exactly where a citation points."""

from __future__ import annotations

import re

import pytest

from webapp.knowledge.markup import render

TEXT = """# Heat

Water **boils** at 100 degrees.

- first item
- second item

| a | b |
|---|---|
| one | two |

```
code here
```

Last [link](https://example.org/x) and end.
"""


@pytest.mark.parametrize(
    "nasty",
    [
        "<script>alert(1)</script>", "<img src=x onerror=alert(1)>", "[x](javascript:alert(1))", "[x](data:text/html,a)",
        "![x](https://tracker.example/pixel.png)", "<a href='javascript:alert(1)'>x</a>", "[x](vbscript:a)",
        "[x]: javascript:alert(1)\n\n[x]", "<https://ok.example/><style>*{}</style>", "[x](/\\evil.example)",
    ],
)  # fmt: skip
def test_nothing_foreign_runs_or_is_fetched(nasty: str) -> None:
    html = str(render(nasty))
    assert not re.search(r"<(script|img|style|iframe|a href=.(?!https://ok))", html), html
    assert not re.search(r"<[^>]*href=.\s*(javascript|data|vbscript|/)", html), html


def test_links_tell_their_server_nothing() -> None:
    html = str(render("[x](https://example.org/)"))
    assert 'rel="noopener noreferrer nofollow ugc"' in html
    assert 'target="_blank"' in html


def words(html: str) -> str:
    return "".join(re.sub(r"<[^>]*>", "", found) for found in re.findall(r"<mark[^>]*>(.*?)</mark>", html, re.DOTALL))


@pytest.mark.parametrize(
    ("quote", "shown"),
    [
        ("Water **boils** at", "Water boils at"),
        ("# Heat", "Heat"),
        ("- first item\n- second item", "first itemsecond item"),
        ("| one | two |", "onetwo"),
        ("Heat\n\nWater **boils** at 100 degrees.", "HeatWater boils at 100 degrees."),
        ("code here", "code here"),
        ("Last [link](https://example.org/x) and", "Last link and"),
        ("100", "100"),
    ],
)
def test_the_span_is_marked_in_what_it_becomes(quote: str, shown: str) -> None:
    start = TEXT.index(quote)
    html = str(render(TEXT, (start, start + len(quote))))
    assert words(html) == shown
    assert html.count('id="cited"') == 1
    assert re.sub(r"</?mark[^>]*>", "", html) == str(render(TEXT))


@pytest.mark.parametrize("span", [(0, 5), (TEXT.index("example.org"), TEXT.index("example.org") + 4), (0, len(TEXT))])
def test_where_the_border_cannot_be_shown_the_stored_text_is(span: tuple[int, int]) -> None:
    html = str(render(TEXT, span))
    assert html.count('id="cited"') == 1
    assert "\ue000" not in html


def test_any_span_of_any_text_is_marked_once_and_leaves_no_border_behind() -> None:
    for start in range(0, len(TEXT), 3):
        for length in (1, 2, 7, 40):
            if not TEXT[start : start + length].strip(" \n|-#`*"):
                continue
            html = str(render(TEXT, (start, start + length)))
            assert html.count('id="cited"') == 1, (start, length)
            assert "\ue000" not in html
            assert "\ue001" not in html


def test_a_page_full_of_openings_is_rendered_in_time() -> None:
    import time

    began = time.perf_counter()
    for nasty in ("[" * 40_000, "*a " * 13_000, ">" * 40_000, "`" * 40_000, "![" * 20_000, "- " * 20_000, "|" * 40_000):
        render(nasty)
    assert time.perf_counter() - began < 20
