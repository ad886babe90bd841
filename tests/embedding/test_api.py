"""POST /api/v1/semantic/embed and the list of embedders."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest

from tests.conftest import make_cast
from tests.fakes import embedders
from tests.fakes.site import OPEN_LIMITS, Site
from webapp.core.errors import NoModel
from webapp.embedding import distances, service
from webapp.runtime import Runtime

EMBED = "/api/v1/semantic/embed"


@pytest.fixture
def desk(make_rt: Callable[..., Runtime]) -> Iterator[Site]:
    embedders.use()
    env = {"BRAINSTEM_EMBEDDER": "fake", "BRAINSTEM_EMBEDDERS": "fake:wide,st:nobody/has-this", **OPEN_LIMITS}
    rt = make_rt(AUTH_REQUIRED="1", **env)
    made = Site(rt, make_cast(rt))
    yield made
    made.close()


def post(desk: Site, **body: Any) -> Any:
    return desk.program(desk.cast.alice).post(EMBED, json=body)


def test_one_text_and_several(desk: Site) -> None:
    one = post(desk, text="whales sing").json
    assert (one["embedder"], one["dimension"], one["count"], one["distances"]) == ("fake", 32, 1, None)
    assert len(one["embeddings"][0]) == 32
    assert np.linalg.norm(one["embeddings"][0]) == pytest.approx(1, abs=1e-5)
    several = post(desk, texts=["cats purr", "whales sing"], embedder="fake:wide").json
    assert (several["embedder"], several["dimension"], several["count"]) == ("fake:wide", 48, 2)
    assert several["processing_time_ms"] > 0


@pytest.mark.parametrize("metric", ["cosine", "euclidean", "dot", "manhattan"])
def test_four_distances(desk: Site, metric: str) -> None:
    found = post(desk, texts=["whales sing", "cats purr", "whales sing"], metric=metric).json
    table = np.array(found["distances"])
    assert table.shape == (3, 3)
    assert np.allclose(table, table.T, atol=1e-5)
    assert np.allclose(np.diag(table), 1 if metric == "dot" else 0, atol=1e-3)
    assert table[0, 2] == pytest.approx(table[0, 0], abs=1e-3)
    a, b = (np.array(found["embeddings"][number]) for number in (0, 1))
    wanted = {"cosine": 1 - a @ b, "euclidean": np.sqrt(((a - b) ** 2).sum()), "dot": a @ b,
              "manhattan": np.abs(a - b).sum()}  # fmt: skip
    assert table[0, 1] == pytest.approx(wanted[metric], abs=1e-4)


def test_distances_of_vectors_of_any_length() -> None:
    a, b = np.array([[3.0, 4.0]], np.float32), np.array([[6.0, 8.0], [0.0, 0.0]], np.float32)
    assert distances.between(a, b, "cosine")[0] == pytest.approx([0.0, 1.0])
    assert distances.between(a, b, "euclidean")[0] == pytest.approx([5.0, 5.0])
    assert distances.between(a, b, "manhattan")[0] == pytest.approx([7.0, 7.0])
    assert distances.between(a, b, "dot")[0] == pytest.approx([50.0, 0.0])


@pytest.mark.parametrize(
    "body",
    [{}, {"text": ""}, {"texts": []}, {"texts": [""]}, {"text": "a", "texts": ["b"]}, {"text": "x" * 20_001},
     {"texts": ["x"] * 257}, {"text": "x", "metric": "hamming"}],
)  # fmt: skip
def test_what_is_refused(desk: Site, body: dict[str, Any]) -> None:
    answer = post(desk, **body)
    assert answer.status_code == 422, answer.json


def test_an_embedder_that_is_not_offered(desk: Site) -> None:
    """A38."""
    answer = post(desk, text="x", embedder="openai:m@http://169.254.169.254/v1")
    assert answer.status_code == 400
    assert "fake:wide" in answer.json["suggestion"]


def test_a_missing_model_is_503_with_what_to_do(desk: Site) -> None:
    model = service._get(desk.rt, "fake")
    model.broken = NoModel("There is no model.", suggestion="Run: pip install it")  # type: ignore[attr-defined]
    answer = post(desk, text="x")
    assert answer.status_code == 503
    assert answer.json["code"] == "no_model"
    assert answer.json["suggestion"] == "Run: pip install it"


def test_no_transaction_is_open_while_the_model_works(desk: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    checked: list[int] = []
    model: Any = service._get(desk.rt, "fake")
    embed = model.embed

    def look(texts: list[str], **options: Any) -> Any:
        checked.append(desk.rt.engine.pool.checkedout())  # type: ignore[attr-defined]
        return embed(texts, **options)

    monkeypatch.setattr(model, "embed", look)
    assert post(desk, text="x").status_code == 200
    assert checked == [0]


def test_the_list_says_what_each_lacks(desk: Site) -> None:
    found = desk.program(desk.cast.alice).get("/api/v1/semantic/embedders").json
    assert found["default"] == "fake"
    by_id = {one["id"]: one for one in found["embedders"]}
    assert list(by_id) == ["fake", "minilm", "fake:wide", "st:nobody/has-this"]
    assert by_id["fake"]["available"]
    assert by_id["minilm"]["dimension"] == 384
