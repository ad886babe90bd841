"""Dramatiq actors: three lines each. `dramatiq.actor` takes the global broker, so it is set first."""

from actors import broker  # noqa: F401  isort: skip
from actors import crawling, embedding, inference, interactive, maintenance, workflows  # noqa: F401
