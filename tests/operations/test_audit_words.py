"""Whatever is written into the audit log is read there in words."""

from __future__ import annotations

import re
from typing import Any

import pytest
from jinja2 import Environment, FileSystemLoader

from tests.conftest import ROOT
from webapp.core.audit import AuditEntry
from webapp.operations import service

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


ID = "01a2028c-ba6f-789f-95a8-3ff71f754e7a"


@pytest.mark.parametrize(
    ("action", "detail", "facts"),
    [
        ("quota.set", {"quota": "stored_bytes", "before": None, "after": 209_715_200}, [("limit", "Stored files"), ("after", "200 MB")]),
        ("schedule.change", {"before": {"interval": 90.0}, "after": {"interval": 300.0}},
         [("before", "every 90 seconds"), ("after", "every 5 minutes")]),
        ("settings.change", {"registration": [False, True]}, [("registration", "no → yes")]),
        ("letters.purge", {"letters": [ID] * 5}, [("letters", "01a2028c…4e7a, 01a2028c…4e7a, 01a2028c…4e7a and 2 more")]),
        ("task.cancel", {"many": 12_345, "nothing": "", "none": []}, [("many", "12,345")]),
    ],
)  # fmt: skip
def test_what_an_entry_knows_is_said_for_people(action: str, detail: dict[str, Any], facts: list[Any]) -> None:
    said = service.audit_words(AuditEntry(action=action, object_id=ID, detail=detail))
    assert [(fact.label, fact.value) for fact in said.facts] == facts
    assert (said.of, said.title) == ("01a2028c…4e7a", ID), "no name is known: a short id, the whole one beside it"


def test_a_name_stands_for_the_id() -> None:
    said = service.audit_words(AuditEntry(action="user.suspend", object_id=ID, detail={"name": "ingrid"}))
    assert (said.of, said.code, said.title, said.facts) == ("ingrid", False, ID, [])
