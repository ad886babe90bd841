"""Any server that speaks OpenAI's `/embeddings` (Ollama, llama.cpp, vLLM, OpenAI): `openai:<model>@<base URL>`.

Only what the operator lists in BRAINSTEM_EMBEDDERS can be asked, and a private host must be in BRAINSTEM_ALLOW_HOSTS
too: the request goes through the outbound gate like any other.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from webapp.core.errors import BlockedAddress, NoModel, Upstream
from webapp.core.refusals import retry_after, said_by
from webapp.embedding.base import EmbedderInfo, Offsets, guessed_offsets

if TYPE_CHECKING:
    from webapp.core.http import Fetched
    from webapp.embedding.base import Vectors
    from webapp.runtime import Runtime

WINDOW = 512  # tokens; what such models take at least
TIMEOUT = 120.0
ANSWER = 64 * 2**20  # bytes: 64 vectors of 4,096 numbers written out take 6 MB


class OpenAI:
    batch = 64

    def __init__(self, rt: Runtime, argument: str) -> None:
        self._rt = rt
        self.model, _, base = argument.partition("@")
        self.url = base.rstrip("/") + "/embeddings"
        self.host = urlsplit(base).netloc
        self.id = f"openai:{argument}"
        self._dimension: int | None = None

    def info(self) -> EmbedderInfo:
        return EmbedderInfo(self.id, f"{self.model} at {self.host}", self._dimension, WINDOW, True)

    def embed(self, texts: list[str], *, cancelled: Callable[[], bool], urgent: bool) -> Vectors:
        body = json.dumps({"model": self.model, "input": texts, "encoding_format": "float"}).encode()
        answer = self._post(body, cancelled)
        if answer.status != 200:
            raise self._refusal(answer)
        vectors = self._vectors(answer.body, len(texts))
        self._dimension = vectors.shape[1]
        return vectors

    def offsets(self) -> Offsets:
        return guessed_offsets

    def _post(self, body: bytes, cancelled: Callable[[], bool]) -> Fetched:
        from webapp.core.http import safe_fetch
        from webapp.tasks.service import outbound_policy

        headers = {"Content-Type": "application/json", "Accept": "application/json"}
        if self._rt.settings.embedder_key:
            headers["Authorization"] = f"Bearer {self._rt.settings.embedder_key}"
        try:
            return safe_fetch(self.url, policy=outbound_policy(self._rt.settings), method="POST", headers=headers,
                              body=body, timeout=TIMEOUT, max_bytes=ANSWER, max_redirects=0, cancelled=cancelled)  # fmt: skip
        except BlockedAddress as error:
            raise NoModel(f"The embedder {self.model} may not be asked. {error.message}",
                          suggestion=f"Add {self.host} to BRAINSTEM_ALLOW_HOSTS.") from error  # fmt: skip

    def _refusal(self, answer: Fetched) -> Exception:
        said = said_by(answer.body)
        if answer.status in (401, 403):
            return NoModel(f"{self.host} refused: {said}", suggestion="Set BRAINSTEM_EMBEDDER_KEY to a valid key.")
        if answer.status == 404:
            return NoModel(f"{self.host} has no model {self.model}: {said}",
                           suggestion="Load the model there, or name another one in BRAINSTEM_EMBEDDERS.")  # fmt: skip
        again = answer.status in (408, 429) or answer.status >= 500
        return Upstream(f"{self.host} answered {answer.status}: {said}", retryable=again,
                        retry_after=retry_after(answer.headers.get("retry-after")))  # fmt: skip

    def _vectors(self, body: bytes, count: int) -> Vectors:
        import numpy as np

        try:
            rows = sorted(json.loads(body)["data"], key=lambda row: int(row["index"]))
            vectors = np.array([row["embedding"] for row in rows], dtype=np.float32)
        except (ValueError, KeyError, TypeError, RecursionError):
            raise Upstream(f"{self.host} sent no embeddings.", retryable=False) from None
        if not np.isfinite(vectors).all():
            raise Upstream(f"{self.host} sent numbers that are none.", retryable=False)
        if vectors.ndim != 2 or len(vectors) != count or [row["index"] for row in rows] != list(range(count)):
            raise Upstream(f"{self.host} sent other embeddings than asked for.", retryable=False)
        return vectors
