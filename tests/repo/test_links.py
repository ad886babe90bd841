"""Links in the documents lead to files that are there, and to headings that those files have."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.conftest import ROOT
from webapp.help.service import anchor_of

PAGES = [ROOT / "README.md", ROOT / "CHANGELOG.md", *sorted((ROOT / "docs").rglob("*.md"))]
LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")
CODE = re.compile(r"^```.*?^```$|^    .*$|`[^`\n]*`", re.DOTALL | re.MULTILINE)


def anchors(path: Path) -> set[str]:
    found: list[str] = []
    for line in re.sub(r"^```.*?^```$", "", path.read_text("utf-8"), flags=re.DOTALL | re.MULTILINE).splitlines():
        if heading := re.match(r"#{1,6} (.*)", line):
            name = anchor_of(re.sub(r"[`*]", "", heading[1]))
            number = sum(one == name or re.fullmatch(rf"{re.escape(name)}-\d+", one) is not None for one in found)
            found.append(f"{name}-{number}" if number else name)
    return set(found)


def dead(page: Path) -> list[str]:
    wrong = []
    for target in LINK.findall(CODE.sub("", page.read_text("utf-8"))):
        if "://" in target or target.startswith("mailto:"):
            continue
        file, _, anchor = target.partition("#")
        there = page.parent / file if file else page
        if not there.exists() or (anchor and anchor not in anchors(there)):
            wrong.append(target)
    return wrong


@pytest.mark.parametrize("page", PAGES, ids=lambda path: str(path.relative_to(ROOT)))
def test_every_link_leads_somewhere(page: Path) -> None:
    assert dead(page) == []


def test_a_dead_link_is_found(tmp_path: Path) -> None:
    (tmp_path / "b.md").write_text("# One\n\n## What `it` does, now\n\n```sh\n# no heading\n```\n## One\n")
    page = tmp_path / "a.md"
    page.write_text("[a](b.md) [b](b.md#what-it-does-now) [c](b.md#one-1) [d](c.md) [e](b.md#no-heading) `[f](g.md)`\n")
    assert dead(page) == ["c.md", "b.md#no-heading"]


def test_the_index_names_every_document() -> None:
    index = (ROOT / "docs" / "README.md").read_text("utf-8")
    missing = [path.name for path in (ROOT / "docs").glob("*.md") if f"]({path.name})" not in index]
    assert missing == ["README.md"]
