"""Models by sentence-transformers: what is said without it, and with it the same vectors as ours."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from webapp.core.errors import NoModel
from webapp.embedding import minilm, service, transformers
from webapp.runtime import Runtime

INSTALLED = importlib.util.find_spec("sentence_transformers") is not None


def test_without_the_extra_it_says_what_to_install(
    make_rt: Callable[..., Runtime], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(transformers, "_installed", lambda: False)
    rt = make_rt(BRAINSTEM_EMBEDDERS="st:some/model")
    about = service.info(rt, "st:some/model")
    assert (about.label, about.available, about.suggestion) == ("model", False, "Run: pip install 'brainstem[embed]'")
    with pytest.raises(NoModel) as told:
        service.embed(rt, "st:some/model", ["x"])
    assert told.value.suggestion == "Run: pip install 'brainstem[embed]'"


def test_a_folder_says_its_window_and_its_dimension(make_rt: Callable[..., Runtime], tmp_path: Path) -> None:
    (tmp_path / "1_Pooling").mkdir()
    (tmp_path / "1_Pooling" / "config.json").write_text('{"word_embedding_dimension": 768}')
    (tmp_path / "sentence_bert_config.json").write_text('{"max_seq_length": 512}')
    about = service.info(make_rt(BRAINSTEM_EMBEDDERS=f"st:{tmp_path}"), f"st:{tmp_path}")
    assert (about.dimension, about.max_tokens) == (768, 512)


@pytest.mark.slow
@pytest.mark.skipif(not INSTALLED, reason="sentence-transformers is not installed")
def test_the_same_weights_give_the_same_vectors(make_rt: Callable[..., Runtime]) -> None:
    folder = minilm._folder()
    if folder is None:
        pytest.skip("the weights are not installed")
    rt = make_rt(BRAINSTEM_EMBEDDERS=f"st:{folder}")
    texts = ["A man is eating food.", "short", "word " * 400]
    theirs, ours = service.embed(rt, f"st:{folder}", texts), service.embed(rt, "minilm", texts)
    assert float(np.min(np.sum(theirs * ours, axis=1))) > 0.9999
    assert service.offsets(rt, f"st:{folder}")("Hello there") == [(0, 5), (6, 11)]
