"""What licences the packages of requirements.lock have, read from what is installed: the text of docs/licences.md.

`make docs` writes it, `make check` fails when it is out of date or a licence is unknown or not one that we can pass on.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, metadata
from pathlib import Path

from packaging.utils import canonicalize_name

ROOT = Path(__file__).resolve().parent.parent

# As SPDX names them. LGPL and MPL bind their own files, which are used as they come and can be exchanged.
ALLOWED = {
    "0BSD", "Apache-2.0", "BSD-2-Clause", "BSD-3-Clause", "CC0-1.0", "CNRI-Python", "ISC", "LGPL-2.1-or-later",
    "LGPL-3.0-only", "LGPL-3.0-or-later", "MIT", "MIT-0", "MIT-CMU", "MPL-1.1", "MPL-2.0", "PSF-2.0", "Zlib",
}  # fmt: skip
# What packages wrote before there was one way to write it.
SPDX = {
    "3-Clause BSD License": "BSD-3-Clause", "Apache 2": "Apache-2.0", "Apache 2.0": "Apache-2.0",
    "Apache License Version 2.0": "Apache-2.0", "Apache License, Version 2.0": "Apache-2.0",
    "Apache Software License": "Apache-2.0", "BSD": "BSD-3-Clause", "BSD License": "BSD-3-Clause",
    "GNU Lesser General Public License v3 or later (LGPLv3+)": "LGPL-3.0-or-later", "ISC License": "ISC",
    "ISC License (ISCL)": "ISC", "MIT License": "MIT", "Mozilla Public License 2.0 (MPL 2.0)": "MPL-2.0",
    "The BSD 2-Clause License": "BSD-2-Clause",
}  # fmt: skip
# In the lock for another system or Python, and so not installed where this is written.
ELSEWHERE = {"async-timeout": "Apache-2.0", "colorama": "BSD-3-Clause", "httpx2-jsfetch": "BSD-3-Clause"}

HEAD = """\
# Licences

<!-- Made by `make docs` from the packages' own metadata; `make check` fails when it is out of date. -->

Brainstem is under the MIT licence. It is shipped with, or installs, what stands below; each package brings the full text
of its licence. LGPL and MPL bind the files they came with,
which are used unchanged and can be exchanged for others.

| Package | Licence |
| --- | --- |
"""


def page() -> str:
    rows = {**packages(), **vendored()}
    return HEAD + "".join(f"| {name} | {licence} |\n" for name, licence in sorted(rows.items()))


def packages() -> dict[str, str]:
    return {name: licence_of(name) for name in locked()}


def locked() -> list[str]:
    text = (ROOT / "requirements.lock").read_text("utf-8")
    return sorted({canonicalize_name(name) for name in re.findall(r"^([\w.-]+)(?:\[.*\])?==", text, re.MULTILINE)})


def licence_of(name: str) -> str:
    """As an SPDX expression, or in the package's own words where nobody knows what those mean; "" for none at all."""
    try:
        said = metadata(name)
    except PackageNotFoundError:
        return ELSEWHERE.get(name, "")
    if said.get("License-Expression"):
        return str(said["License-Expression"])
    named = str(said.get("License") or "").strip()
    classified = [line.rpartition(" :: ")[2] for line in said.get_all("Classifier") or () if line.startswith("License")]
    words = [word for word in (named, *classified) if SPDX.get(word, word) in ALLOWED]
    return SPDX.get(words[0], words[0]) if words else (named.splitlines() or classified or [""])[0][:80]


def vendored() -> dict[str, str]:
    """Files of others in static/vendor, by the list that stands beside them."""
    listed = json.loads((ROOT / "static" / "vendor" / "vendor.lock.json").read_text("utf-8"))["files"]
    return {f"{one['name']} (in static)": one["licence"] for one in listed}


def problems() -> Iterator[str]:
    for name, licence in {**packages(), **vendored()}.items():
        if not licence:
            yield f"{name} names no licence (scripts/licences.py: ELSEWHERE, if it is for another system)"
        elif not allowed(licence):
            yield f"{name} is under {licence!r}, which is not in ALLOWED of scripts/licences.py"


def allowed(expression: str) -> bool:
    """Of an SPDX expression: all that AND joins, one of what OR joins; OR binds less."""
    words = re.findall(r"[()]|[\w.+-]+", expression)
    if " ".join(words).replace("( ", "(").replace(" )", ")") != expression:
        return False
    try:
        fine, rest = _either(words)
    except IndexError:
        return False
    return fine and not rest


def _either(words: list[str]) -> tuple[bool, list[str]]:
    fine, words = _both(words)
    while words and words[0] == "OR":
        other, words = _both(words[1:])
        fine = fine or other
    return fine, words


def _both(words: list[str]) -> tuple[bool, list[str]]:
    fine, words = _one(words)
    while words and words[0] == "AND":
        other, words = _one(words[1:])
        fine = fine and other
    return fine, words


def _one(words: list[str]) -> tuple[bool, list[str]]:
    if words[0] == "(":
        fine, words = _either(words[1:])
        return fine and words[0] == ")", words[1:]
    return words[0] in ALLOWED, words[1:]
