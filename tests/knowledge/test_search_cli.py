"""`brainstem search`: passages on a terminal and for programs, by words alone where the vectors are another's."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import ROOT, make_cast
from webapp.core.context import Ctx
from webapp.knowledge.models import SearchEvent
from webapp.knowledge.service import collections, documents
from webapp.runtime import Runtime

FEES = "# Fees\n\nBoats pay by length.\n\n| Length | Fee |\n|---|---|\n| over 12 m | **31** crowns |\n"


@pytest.fixture
def home(make_rt: Callable[..., Runtime]) -> tuple[Path, Runtime]:
    rt = make_rt(BRAINSTEM_DEMO="0")
    cast = make_cast(rt)
    with rt.unit() as db:
        ctx = Ctx(rt, db, cast.alice)
        papers, letters = collections.create(ctx, "Papers").id, collections.create(ctx, "Letters").id
    for where, key, title, text in ((papers, "fees", "Fees of the quay", FEES), (papers, "fog", "Fog", "Fog closes the port."),
                                    (letters, "l", "A letter", "The fee of 31 crowns is too high.")):  # fmt: skip
        documents.store(
            rt, where, documents.Incoming(key, title, text, "text/markdown", url=f"https://port.example/{key}")
        )
    return rt.settings.home_dir, rt


def find(home: Path, *args: str) -> subprocess.CompletedProcess[str]:
    env = {**os.environ, "BRAINSTEM_HOME": str(home), "PYTHONPATH": str(ROOT)}
    line = [sys.executable, "-m", "webapp.cli", "search", *args]
    return subprocess.run(line, env=env, capture_output=True, text=True, timeout=120, check=False)


def test_a_person_reads_where_it_stands_and_words_without_markup(home: tuple[Path, Runtime]) -> None:
    done = find(home[0], "how", "many", "crowns", "--mode", "keyword")
    assert done.returncode == 0, done.stderr
    assert " 1. " in done.stdout
    assert "https://port.example/fees" in done.stdout
    assert "over 12 m · 31 crowns" in done.stdout
    assert "|" not in done.stdout
    assert "**" not in done.stdout
    assert "Traceback" not in done.stderr


def test_a_program_gets_what_the_api_answers_and_the_search_is_remembered(home: tuple[Path, Runtime]) -> None:
    folder, rt = home
    done = find(folder, "crowns", "--mode", "keyword", "--collection", "Letters", "-k", "5", "--json")
    found: dict[str, Any] = json.loads(done.stdout)
    assert [one["title"] for one in found["results"]] == ["A letter"]
    best = found["results"][0]
    assert best["citation"]["quote"] == best["text"]
    assert [best["snippet"][a:b] for a, b in best["marks"]] == ["crowns"]
    with rt.unit(write=False) as db:
        assert [(row.via, row.query) for row in db.query(SearchEvent)] == [("cli", "crowns")]


def test_nothing_found_is_exit_code_one_and_mistakes_are_one_line(home: tuple[Path, Runtime]) -> None:
    assert find(home[0], "zeppelin", "--mode", "keyword").returncode == 1
    for args in (("x", "-c", "Nowhere"), ("x", "--mode", "magic"), ("x", "-k", "0")):
        done = find(home[0], *args)
        assert done.returncode in (1, 2)
        assert "Traceback" not in done.stderr, args
        assert done.stderr.strip()
