"""Any sentence-transformers model by folder or name (`st:<folder or name>`), in a child process that stays.

Needs the extra: pip install 'brainstem[embed]'. A name is looked up in HF_HOME, else in HOME/models/huggingface, and
downloaded there from the hub; a folder needs no network and gets none. `Encoder` is what runs in the child.
"""

from __future__ import annotations

import importlib
import importlib.util
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from webapp.core.errors import NoModel
from webapp.embedding.base import EmbedderInfo, Offsets, from_bytes
from webapp.embedding.local import LocalModel, threads_for

if TYPE_CHECKING:
    from webapp.embedding.base import Vectors
    from webapp.runtime import Runtime

INSTALL = "Run: pip install 'brainstem[embed]'"
DOWNLOAD = 1800.0  # seconds for the first start, which may fetch a model
WINDOW = 256  # until the model has said what its own is


class SentenceTransformers:
    batch = 8

    def __init__(self, rt: Runtime, argument: str) -> None:
        self.name = argument
        self.folder = Path(argument) if Path(argument).is_dir() else None
        cache = os.environ.get("HF_HOME") or str(rt.settings.home_dir / "models" / "huggingface")
        kept = {name: os.environ[name] for name in ("HF_ENDPOINT", "HF_TOKEN", "HF_HUB_OFFLINE") if name in os.environ}
        self._model = LocalModel(
            argument, "webapp.embedding.transformers:Encoder", self._arguments, threads=threads_for(rt),
            network=self.folder is None, env={"HF_HOME": cache, "TOKENIZERS_PARALLELISM": "false", "HF_HUB_ETAG_TIMEOUT": "5",
                 **kept},
            start_timeout=DOWNLOAD,
        )  # fmt: skip
        self._about: dict[str, int] = _declared(self.folder) if self.folder else {}

    def info(self) -> EmbedderInfo:
        missing = suggestion = None
        if not _installed():
            missing, suggestion = "sentence-transformers is not installed", INSTALL
        return EmbedderInfo(f"st:{self.name}", Path(self.name).name, self._about.get("dimension"),
                            self._about.get("window", WINDOW), missing is None, missing, suggestion)  # fmt: skip

    def embed(self, texts: list[str], *, cancelled: Callable[[], bool], urgent: bool) -> Vectors:
        answer = self._model.call("embed", texts, cancelled=cancelled, urgent=urgent)
        self._about = {"dimension": answer["dimension"], "window": answer["window"]}
        return from_bytes(answer)

    def offsets(self) -> Offsets:
        if self.folder and (self.folder / "tokenizer.json").is_file():
            from webapp.embedding.minilm import whole_tokenizer

            tokenizer = whole_tokenizer(self.folder / "tokenizer.json")
            return lambda text: list(tokenizer.encode(text, add_special_tokens=False).offsets)
        return lambda text: [
            (start, end) for start, end in self._model.call("offsets", text, cancelled=lambda: False, urgent=False)
        ]

    def close(self) -> None:
        self._model.close()

    def _arguments(self) -> dict[str, Any]:
        if not _installed():
            raise NoModel(f"The embedder {self.name} needs sentence-transformers.", suggestion=INSTALL)
        return {"name": self.name}


def _installed() -> bool:
    return importlib.util.find_spec("sentence_transformers") is not None


def _declared(folder: Path) -> dict[str, int]:
    """What the files of a model say about it, as far as they do."""
    found = {}
    for key, file, name in (("window", "sentence_bert_config.json", "max_seq_length"),
                            ("dimension", "1_Pooling/config.json", "word_embedding_dimension")):  # fmt: skip
        try:
            found[key] = int(json.loads((folder / file).read_text("utf-8"))[name])
        except (OSError, ValueError, KeyError, TypeError):
            continue
    return found


# -- in the child ----------------------------------------------------------------------------------------------------


class Encoder:
    def __init__(self, name: str) -> None:
        library = importlib.import_module("sentence_transformers")  # of an extra: not in the locks
        try:
            self.model = library.SentenceTransformer(name, device="cpu", trust_remote_code=False)
        except (OSError, ValueError) as error:
            reason = " ".join(str(error).split())[:300]
            raise NoModel(f"The model {name} cannot be loaded: {reason}",
                          suggestion="Give the folder of a model, or let the server reach the hub once.") from error  # fmt: skip

    def embed(self, texts: list[str]) -> dict[str, Any]:
        vectors = self.model.encode(texts, batch_size=len(texts), convert_to_numpy=True, show_progress_bar=False)
        return {"dimension": int(vectors.shape[1]), "vectors": vectors.astype("<f4").tobytes(),
                "window": int(self.model.max_seq_length or WINDOW)}  # fmt: skip

    def offsets(self, text: str) -> list[list[int]]:
        found = self.model.tokenizer(text, add_special_tokens=False, return_offsets_mapping=True, truncation=False)
        return [[int(start), int(end)] for start, end in found["offset_mapping"]]
