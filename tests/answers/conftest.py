"""A shelf of alice's with a few documents, found by an instant embedder."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.conftest import make_cast
from tests.fakes import embedders
from tests.knowledge.conftest import Shelf
from tests.knowledge.test_embed import Quiet
from webapp.core.chroma import Folder
from webapp.core.context import Ctx
from webapp.knowledge import embed
from webapp.knowledge.service import collections

TEXTS = {
    "oil": (
        "Oil crisis",
        "# Oil crisis\n\nThe oil embargo began in October 1973. Sheikh Yamani led the talks in Vienna.\n\n"
        "The price of oil rose by 300 percent.[3] Speed limits were set in many countries.",
    ),
    "cats": ("Cats", "Cats sleep most of the day and hunt at night. A cat's whiskers measure the width of gaps."),
    "normans": ("Normans", "The Normans gave their name to Normandy. Their leader Rollo swore fealty to King Charles."),
}


@pytest.fixture(params=["embedded", pytest.param("distributed", marks=pytest.mark.services)])
def shelf(request: pytest.FixtureRequest, make_rt: Callable[..., object], tmp_path: Path) -> Iterator[Shelf]:
    embedders.use()
    env = {} if request.param == "embedded" else request.getfixturevalue("swept_services").env
    rt = make_rt(BRAINSTEM_EMBEDDERS="fake", BRAINSTEM_EMBEDDER="fake", **env)
    rt.vectors = Folder(tmp_path / "chroma")  # type: ignore[attr-defined]
    cast = make_cast(rt)  # type: ignore[arg-type]
    with rt.unit() as db:  # type: ignore[attr-defined]
        made = collections.create(Ctx(rt, db, cast.alice), "Papers", embedder="fake")  # type: ignore[arg-type]
    shelf = Shelf(rt, cast, made.id)  # type: ignore[arg-type]
    put(shelf, {key: f"{title}\n{text}" for key, (title, text) in TEXTS.items()})
    yield shelf
    rt.vectors.close()  # type: ignore[attr-defined]


def put(shelf: Shelf, texts: dict[str, str]) -> None:
    """Texts, each with its title in the first line, stored and embedded."""
    for key, text in texts.items():
        title, _, body = text.partition("\n")
        shelf.put(key, body, title)
    embed.embed_collection(shelf.rt, shelf.collection_id, Quiet())
