"""docs/api-guide.md: every block is run as printed against a real server, and what it answers has the printed shape."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import ROOT, missing

pytestmark = pytest.mark.slow

GUIDE = ROOT / "docs" / "api-guide.md"
PRINTED = "http://127.0.0.1:8000"
FENCE = re.compile(r"^```(\w+)\n(.*?)^```$", re.DOTALL | re.MULTILINE)
END = "=== end of block {} ==="


@dataclass(frozen=True)
class Block:
    number: int
    code: str
    shape: Any = None  # of what it prints, where the page says


def blocks() -> tuple[list[Block], list[Block]]:
    """(the shell's, Python's); a JSON block belongs to the one before it."""
    found: dict[str, list[Block]] = {"sh": [], "python": []}
    last = ""
    for number, (language, code) in enumerate(FENCE.findall(GUIDE.read_text("utf-8"))):
        if language == "json":
            one = found[last].pop()
            found[last].append(Block(one.number, one.code, json.loads(code)))
        else:
            last = language  # a KeyError here: a block of a language that nobody runs
            found[last].append(Block(number, code))
    return found["sh"], found["python"]


def fits(shape: Any, given: Any, where: str = "answer") -> None:
    """All that is printed is there, of the same type; each item of a list like the one that is printed."""
    if isinstance(shape, dict):
        assert isinstance(given, dict), f"{where} is {given!r}"
        for name, value in shape.items():
            assert name in given, f"{where} has no {name}: {sorted(given)}"
            fits(value, given[name], f"{where}.{name}")
    elif isinstance(shape, list):
        assert isinstance(given, list), where
        assert given or not shape, f"{where} is empty"
        for number, item in enumerate(given if shape else ()):
            fits(shape[min(number, len(shape) - 1)], item, f"{where}[{number}]")
    elif isinstance(shape, float):
        assert isinstance(given, int | float), where
    elif shape is not None:
        assert type(given) is type(shape), f"{where} is {given!r}, not like {shape!r}"


def same_words(shape: Any, given: Any, where: str = "answer") -> None:
    """Texts that are printed whole are what is answered; ids, places and reasons are only sketched."""
    if isinstance(shape, dict):
        for name, value in shape.items():
            same_words(value, given[name], f"{where}.{name}")
    elif isinstance(shape, list):
        for one, other in zip(shape, given, strict=False):
            same_words(one, other, where)
    elif isinstance(shape, str) and "..." not in shape:
        assert given == shape or given.startswith(shape), where


def test_every_block_of_the_shell(make_server: Any, tmp_path: Path) -> None:
    if shutil.which("curl") is None or shutil.which("bash") is None:
        missing("curl")
    server = make_server()
    shell, _ = blocks()
    assert len(shell) > 8
    script = "\n".join(f"{block.code}\nprintf '\\n%s\\n' '{END.format(block.number)}'" for block in shell)
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    done = subprocess.run(["bash", "-e", "-c", script.replace(PRINTED, server.url)], cwd=tmp_path, timeout=120,
                          capture_output=True, text=True, env={"PATH": path, "HOME": str(tmp_path), "no_proxy": "*"})  # fmt: skip
    assert done.returncode == 0, done.stderr[-2000:]
    rest = done.stdout
    for block in shell:
        said, mark, rest = rest.partition(END.format(block.number))
        assert mark, f"the script ended before {block.code}\n{done.stderr[-2000:]}"
        if block.shape is None:
            continue
        text = said.strip()
        given = json.loads(text if text[:1] in "[{" or text.isdigit() else json.dumps(text))
        fits(block.shape, given)
        same_words(block.shape, given)


def test_every_block_of_python(make_server: Any, tmp_path: Path) -> None:
    server = make_server()
    _, python = blocks()
    assert python
    for block in python:
        done = subprocess.run([sys.executable, "-c", block.code.replace(PRINTED, server.url)], cwd=tmp_path, timeout=120,
                              capture_output=True, text=True, env={"PATH": os.environ["PATH"], "no_proxy": "*"})  # fmt: skip
        assert done.returncode == 0, done.stderr
        assert done.stdout.splitlines()[-1].strip(), "it prints its summary"


def test_a_shape_that_is_not_answered_is_found() -> None:
    printed = {"id": "01a1...", "items": [{"text": "One.", "score": 0.5}]}
    fits(printed, {"id": "7", "items": [{"text": "One.", "score": 1}], "more": None})
    for wrong in ({"id": 7, "items": printed["items"]}, {"id": "7", "items": []}, {"id": "7"},
                  {"id": "7", "items": [{"text": "One."}]}):  # fmt: skip
        with pytest.raises(AssertionError):
            fits(printed, wrong)
    with pytest.raises(AssertionError):
        same_words(printed, {"id": "7", "items": [{"text": "Two.", "score": 0.5}]})
