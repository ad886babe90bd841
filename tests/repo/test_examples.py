"""The packages of docs/examples are installed as their documents say, and the program finds and loads each."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import ROOT

pytestmark = pytest.mark.slow
EXAMPLES = sorted(path for path in (ROOT / "docs" / "examples").iterdir() if (path / "pyproject.toml").is_file())


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """All of them in one folder, by pip and without a network; built from copies, so that nothing stays behind here."""
    target, copies = tmp_path_factory.mktemp("installed"), tmp_path_factory.mktemp("examples")
    for example in EXAMPLES:
        shutil.copytree(example, copies / example.name, ignore=shutil.ignore_patterns("__pycache__", "build", "dist"))
    command = [sys.executable, "-m", "pip", "install", "-q", "--disable-pip-version-check", "--no-deps", "--no-index",
               "--no-build-isolation", "--target", str(target), *(str(path) for path in sorted(copies.iterdir()))]  # fmt: skip
    subprocess.run(command, check=True, timeout=180)
    return target


def test_there_is_one_of_each() -> None:
    groups = set[str]()
    for example in EXAMPLES:
        project: dict[str, Any] = tomllib.loads((example / "pyproject.toml").read_text())["project"]
        groups |= set(project["entry-points"])
        assert any(example.name in path.read_text("utf-8") for path in (ROOT / "docs").glob("adding-*.md")), (
            example.name
        )
    assert groups >= {"brainstem.kinds", "brainstem.channels", "brainstem.engines"}


def test_the_program_finds_and_loads_each(installed: Path, tmp_path: Path) -> None:
    env = {**os.environ, "PYTHONPATH": os.pathsep.join((str(installed), str(ROOT))), "BRAINSTEM_HOME": str(tmp_path)}
    done = subprocess.run([sys.executable, "-m", "webapp.cli", "plugins"], env=env, cwd=tmp_path, capture_output=True,
                          text=True, timeout=120, check=True)  # fmt: skip
    lines = {line.split()[0]: line for line in done.stdout.splitlines()}
    for example in EXAMPLES:
        project = tomllib.loads((example / "pyproject.toml").read_text())["project"]
        for points in project["entry-points"].values():
            for name in points:
                assert lines[name].rstrip().endswith("ok"), lines[name]
                assert f"{project['name']} {project['version']}" in lines[name].replace("_", "-")
