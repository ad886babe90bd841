"""The documentation that comes with the program as its first collection."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import ROOT, make_cast
from webapp.core.context import ANONYMOUS, Ctx
from webapp.core.errors import Forbidden
from webapp.knowledge.models import Collection, Document, Source
from webapp.knowledge.service import collections, demo, removal
from webapp.runtime import Runtime
from webapp.tasks.models import Task


def rows(rt: Runtime, model: Any, *where: Any) -> list[Any]:
    from sqlalchemy import select

    with rt.unit(write=False) as db:
        return list(db.scalars(select(model).where(*where).order_by(model.id)))


def test_it_is_loaded_once_and_again_only_when_the_documents_changed(
    both_rt: Runtime, monkeypatch: Any, tmp_path: Path
) -> None:
    rt = both_rt
    demo.ensure(rt)
    demo.ensure(rt)
    assert [one.kind for one in rows(rt, Task)] == [demo.KIND]
    told: list[str] = []
    count = demo.load(rt, told.append)["documents"]
    assert count == len(rows(rt, Document)) >= 5
    assert "The house on one page" in {one.title for one in rows(rt, Document)}
    assert rows(rt, Source)[0].state == "ready"
    assert demo.load(rt, told.append) == {"documents": count}
    assert told == [f"{count} of {count} documents are new or changed, 0 are gone",
                    f"0 of {count} documents are new or changed, 0 are gone"]  # fmt: skip

    (tmp_path / "docs").mkdir()
    (tmp_path / "README.md").write_text("# Other\n\nOther words.")
    monkeypatch.setattr(demo, "ROOT", tmp_path)
    assert demo.load(rt, told.append) == {"documents": 1}
    assert told[-1] == f"1 of 1 documents are new or changed, {count - 1} are gone"
    before = len(rows(rt, Task))
    demo.ensure(rt)  # the first task still waits: it will look at what there is then
    assert len(rows(rt, Task)) == before


def test_everybody_reads_it_and_an_administrator_deletes_it_for_good(both_rt: Runtime) -> None:
    rt, cast = both_rt, make_cast(both_rt)
    demo.load(rt)
    with rt.unit() as db:
        for who in (cast.charlie, ANONYMOUS):
            (one,) = collections.list_(Ctx(rt, db, who))
            assert (one.access, one.collection.bundled) == ("everyone", True)
            with pytest.raises(Forbidden):
                collections.remove(Ctx(rt, db, who), one.collection.id)
        collections.remove(Ctx(rt, db, cast.root), one.collection.id)
    removal.empty(rt, one.collection.id)
    assert demo.load(rt) == {"documents": 0}
    before = len(rows(rt, Task))
    demo.ensure(rt)
    assert len(rows(rt, Task)) == before
    assert (len(rows(rt, Document)), len(rows(rt, Collection))) == (0, 1)


def test_a_wheel_carries_every_document() -> None:
    wheel = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["hatch"]["build"]["targets"]["wheel"]
    carried = set(wheel["force-include"])
    assert {str(path.relative_to(ROOT)) for path in (ROOT / "docs").glob("*.md")} | {"README.md"} <= carried


def test_it_can_be_switched_off(make_rt: Any) -> None:
    rt = make_rt(BRAINSTEM_DEMO="0")
    demo.ensure(rt)
    assert rows(rt, Task) == []
