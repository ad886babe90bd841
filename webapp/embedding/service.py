"""Texts to vectors by name of an embedder. The one door of this area.

Names: `minilm` (the default, comes with the program), and what the operator lists in BRAINSTEM_EMBEDDERS:
`st:<folder or name>`, `openai:<model>@<base URL>`, or a family of an installed package (group brainstem.embedders).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from webapp.core.errors import BadRequest, NoModel, NotFound
from webapp.core.registry import Registry
from webapp.embedding.base import Embedder, EmbedderInfo, Family, Offsets, guessed_offsets, unit_length

if TYPE_CHECKING:
    from webapp.embedding.base import Vectors
    from webapp.runtime import Runtime

__all__ = ["EmbedderInfo", "available", "check", "default", "embed", "info", "offsets"]

FEW = 4  # so many texts are somebody's question: they overtake the batches of documents
LONGEST = 20_000  # characters of a text that are looked at; windows are 512 tokens and less

families: Registry[Family] = Registry(
    "brainstem.embedders",
    noun="embedder",
    builtin={
        "minilm": "webapp.embedding.minilm:MiniLM",
        "st": "webapp.embedding.transformers:SentenceTransformers",
        "openai": "webapp.embedding.remote:OpenAI",
    },
)


def embed(
    rt: Runtime,
    embedder: str,
    texts: list[str],
    *,
    cancelled: Callable[[], bool] = lambda: False,
    urgent: bool | None = None,
) -> Vectors:
    """Float32 (len(texts), dimension), rows of length 1, in the order of the texts.

    urgent: go before the batches of others; by default when there are few texts.
    Raises NoModel (503, with a suggestion), Unavailable, Upstream, TaskCancelled.
    """
    import numpy as np

    model = _get(rt, embedder)
    urgent = len(texts) <= FEW if urgent is None else urgent
    # Texts of about the same length share a batch: what is filled up costs as much as what is read.
    order = sorted(range(len(texts)), key=lambda number: len(texts[number]))
    found: list[Vectors] = []
    for start in range(0, len(order), model.batch):
        batch = [texts[number][:LONGEST] for number in order[start : start + model.batch]]
        found.append(model.embed(batch, cancelled=cancelled, urgent=urgent))
    if not found:
        return np.zeros((0, info(rt, embedder).dimension or 0), np.float32)
    vectors = np.empty((len(texts), found[0].shape[1]), np.float32)
    vectors[order] = np.vstack(found)
    return unit_length(vectors)


def info(rt: Runtime, embedder: str) -> EmbedderInfo:
    """Also of one that is not there (any more): `available` is False then and `missing` says why."""
    try:
        return _get(rt, embedder).info()
    except NoModel as error:
        return EmbedderInfo(embedder, embedder, None, 256, False, error.message, error.suggestion)


def available(rt: Runtime) -> list[EmbedderInfo]:
    """All that can be chosen, the default first; some may lack something (`available`, `missing`)."""
    names = dict.fromkeys([default(rt), "minilm", *rt.settings.embedders])
    return [info(rt, name) for name in names]


def default(rt: Runtime) -> str:
    return str(rt.settings.embedder)


def check(rt: Runtime, embedder: str) -> str:
    """The name, if a collection may use it. Raises BadRequest, with those that may be used."""
    names = [one.id for one in available(rt)]
    if embedder not in names:
        raise BadRequest(
            f"embedder: there is no embedder {embedder[:100]}",
            code="unknown_embedder",
            details=[{"loc": ["embedder"], "msg": "there is no such embedder", "type": "unknown_embedder"}],
            suggestion="Use one of: " + ", ".join(names),
        )
    return embedder


def offsets(rt: Runtime, embedder: str) -> Offsets:
    """A function from a text to the spans of its tokens in characters, by the embedder's own tokenizer.

    For an embedder that is not there: by a guess, so that texts can be kept until it is.
    """
    try:
        return _get(rt, embedder).offsets()
    except NoModel:
        return guessed_offsets


def _get(rt: Runtime, embedder: str) -> Embedder:
    if embedder != "minilm" and embedder not in rt.settings.embedders and embedder != default(rt):
        raise NoModel(f"The embedder {embedder[:100]} is not set up here.",
                      suggestion=f"Add {embedder[:200]} to BRAINSTEM_EMBEDDERS.")  # fmt: skip
    family, _, argument = embedder.partition(":")
    try:
        make = families.get(family)
    except NotFound as error:
        raise NoModel(error.message, suggestion="Use minilm, st:<name> or openai:<model>@<base URL>.") from error
    return rt.kept(f"embedder {embedder}", lambda: make(rt, argument))
