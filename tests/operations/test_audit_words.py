"""Whatever is written into the audit log is read there in words."""

from __future__ import annotations

import re

from jinja2 import Environment, FileSystemLoader

from tests.conftest import ROOT

ACTION = re.compile(r'audit\.record\(\s*[^"]*"([a-z_]+\.[a-z_]+)"(?: if \w+ else "([a-z_.]+)")?')


def test_every_action_has_its_words() -> None:
    words = (
        Environment(loader=FileSystemLoader(ROOT / "templates"), autoescape=True)
        .get_template("operations/_audit_words.html")
        .module.AUDIT_WORDS
    )  # type: ignore[attr-defined]
    found = {
        action
        for path in (ROOT / "webapp").rglob("*.py")
        for pair in ACTION.findall(path.read_text(encoding="utf-8"))
        for action in pair
        if action
    }
    assert len(found) > 30
    assert found - set(words) == set()
