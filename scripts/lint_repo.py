"""Check what the documents and lock files claim: links lead somewhere, docs/security.md names tests that really hold each
drill, and the locks contain what pyproject.toml asks for and what the code imports (hashed, with no place of their own).
"""

from __future__ import annotations

import ast
import re
import sys
import tomllib
from collections.abc import Iterator
from importlib.metadata import packages_distributions
from pathlib import Path
from typing import Any

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).resolve().parent.parent
OURS = {"webapp", "actors", "tests", "scripts", "benchmarks"}


def main() -> int:
    problems = [*check_links(), *check_drills(), *check_locks(), *check_imports()]
    for problem in problems:
        print(problem, file=sys.stderr)
    return 1 if problems else 0


def check_links() -> Iterator[str]:
    for page in [ROOT / "README.md", ROOT / "CHANGELOG.md", *(ROOT / "docs").rglob("*.md")]:
        for target in re.findall(r"\]\(([^)#\s]+)[^)]*\)", page.read_text("utf-8")):
            if "://" not in target and not (page.parent / target).exists():
                yield f"{page.relative_to(ROOT)}: {target} does not exist"


def check_drills() -> Iterator[str]:
    """Each row `| A13 | attack | `tests/file.py` |`: the file is there and speaks of A13."""
    for line in (ROOT / "docs" / "security.md").read_text("utf-8").splitlines():
        row = re.match(r"\| (A\d\d) \|.*\|([^|]*)\|$", line)
        files = re.findall(r"`(tests/[\w/]+\.py)`", row.group(2)) if row else []
        if row and not files:
            yield f"docs/security.md: nothing holds {row.group(1)}"
        for name in files:
            path = ROOT / name
            if not path.is_file() or not re.search(rf"(?i)(?<![a-z0-9]){row.group(1)}(?![0-9])", words_of(path)):
                yield f"docs/security.md: {name} does not try {row.group(1)}"


def words_of(path: Path) -> str:
    """Names such as test_a13_payload and TestA02A03Credentials fall apart into words."""
    return re.sub(r"_|(?<=[a-z0-9])(?=[A-Z])", " ", path.read_text("utf-8"))


def check_locks() -> Iterator[str]:
    with (ROOT / "pyproject.toml").open("rb") as file:
        project: dict[str, Any] = tomllib.load(file)
    run, dev = project["project"]["dependencies"], project["dependency-groups"]["dev"]
    run = run + project["project"]["optional-dependencies"]["minilm"]
    yield from check_lock("requirements.lock", run)
    yield from check_lock("requirements-dev.lock", run + dev)
    yield from check_lock("requirements-build.lock", project["build-system"]["requires"])


def check_lock(name: str, wanted: list[str]) -> Iterator[str]:
    text = (ROOT / name).read_text("utf-8")
    pins: dict[str, list[str]] = {}
    for found, version in re.findall(r"^([\w.-]+)(?:\[.*\])?==([^ \\]+)", text, re.MULTILINE):
        pins.setdefault(canonicalize_name(found), []).append(version)
    for requirement in map(Requirement, wanted):
        versions = pins.get(canonicalize_name(requirement.name), [])
        if not versions or not all(requirement.specifier.contains(version, prereleases=True) for version in versions):
            yield f"{name} has no {requirement}: run `make lock`"
    for place in re.findall(r"^-.*|.*://.*|.*file:.*", text, re.MULTILINE):
        yield f"{name} names a place of its own: {place}"
    entries = re.split(r"\n(?=[a-zA-Z])", text.strip())
    yield from (f"{name}: {entry.split()[0]} has no hash" for entry in entries if "--hash=sha256:" not in entry)


def check_imports() -> Iterator[str]:
    """What the program imports is in requirements.lock, not only in the larger environment of tests."""
    owners = packages_distributions()
    for lock, folders in (("requirements.lock", ("webapp", "actors", "migrations")),
                          ("requirements-dev.lock", ("tests", "scripts"))):  # fmt: skip
        pins = {
            canonicalize_name(name) for name in re.findall(r"^([\w.-]+)(?:\[.*\])?==", (ROOT / lock).read_text(), re.M)
        }
        for folder in folders:
            for path in sorted((ROOT / folder).rglob("*.py")):
                for name in imported(path) - sys.stdlib_module_names - OURS:
                    if not pins & {canonicalize_name(owner) for owner in owners.get(name, [name])}:
                        yield f"{path.relative_to(ROOT)} imports {name}, which {lock} does not hold"


def imported(path: Path) -> set[str]:
    tree = ast.walk(ast.parse(path.read_text("utf-8")))
    found = set()
    for node in tree:
        if isinstance(node, ast.Import):
            found |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
            found.add(node.module.partition(".")[0])
    return found


if __name__ == "__main__":
    sys.exit(main())
