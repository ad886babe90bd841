"""An embedder for tests that are not about models: words hashed into 32 numbers, at once and the same everywhere.

families.add_setting((SETTING,)) and BRAINSTEM_EMBEDDERS=fake,fake:other
"""

from __future__ import annotations

import hashlib
import re
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from webapp.embedding.base import EmbedderInfo, Offsets

SETTING = "fake=tests.fakes.embedders:Fake"


class Fake:
    """`fake:<name>`: vectors differ by name. `calls`: the texts of each call."""

    batch = 16

    def __init__(self, rt: Any, argument: str = "") -> None:
        self.name = argument
        self.calls: list[list[str]] = []
        self.dimension = 48 if argument.startswith("wide") else 32
        self.pause = 0.05 if argument.startswith("slow") else 0.0
        self.broken: Exception | None = None

    def info(self) -> EmbedderInfo:
        name = f"fake:{self.name}" if self.name else "fake"
        return EmbedderInfo(name, "Fake", self.dimension, 24 if self.name.startswith("narrow") else 64, True)

    def embed(self, texts: list[str], *, cancelled: Callable[[], bool], urgent: bool) -> Any:
        if self.broken is not None:
            raise self.broken
        time.sleep(self.pause)
        self.calls.append(texts)
        return np.array([self.vector(text) for text in texts], dtype=np.float32)

    def vector(self, text: str) -> Any:
        found = np.full(self.dimension, 1e-3, np.float32)
        for word in re.findall(r"\w+", text.lower()):
            digest = hashlib.sha256(f"{self.name} {word}".encode()).digest()
            found[digest[0] % self.dimension] += 1 if digest[1] % 2 else -1
        return found

    def offsets(self) -> Offsets:
        return lambda text: [match.span() for match in re.finditer(r"\w+|[^\w\s]", text)]


def use(home: Path | None = None) -> None:
    """Make the family known to this process."""
    from webapp.embedding.service import families

    families.add_setting((SETTING,))
