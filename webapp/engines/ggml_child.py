"""A GGUF model in its own process (`webapp.core.resident`), by ctransformers behind a wrapper.

Four faults of ctransformers 0.2.27 are gone around here: its tokenizer writes past its buffer on text of several
bytes a character; its stream holds back what is not ASCII and loses it at the end; it does not look at the context's
length; one model in two threads crashes (here one process holds one model and does one thing at a time).
"""

from __future__ import annotations

from collections.abc import Iterator
from ctypes import c_int
from typing import Any

from webapp.engines.child import FIRST_STEP, Child


class Model(Child):
    def load(self, path: str, threads: int) -> None:
        from ctransformers import LLM, Config

        config = Config(context_length=self.context, threads=threads, gpu_layers=0, batch_size=FIRST_STEP)
        self.llm = LLM(path, model_type=self.header.architecture, config=config)

    def tokens(self, raw: bytes) -> list[int]:
        """As many as the bytes of the text, and one for the space it puts before it: the library makes room for as
        many as there are characters, and writes on."""
        found = (c_int * (len(raw) + 8))()
        count = self.llm.ctransformers_llm_tokenize(raw, False, found)
        return list(found[: max(0, count)])

    def unread(self, prompt: list[int]) -> list[int]:
        return list(self.llm.prepare_inputs_for_generation(prompt, reset=True))

    def read(self, tokens: list[int]) -> None:
        self.llm.eval(tokens, threads=self.crew.now())

    def following(self, prompt: list[int], sampling: dict[str, Any]) -> Iterator[int]:
        sampling["seed"] = -1 if sampling["seed"] is None else sampling["seed"]
        while True:
            token = self.llm.sample(**sampling)
            yield token
            self.llm.eval([token], threads=self.crew.now())

    def is_end(self, token: int) -> bool:
        return bool(self.llm.is_eos_token(token))

    def spelled(self, token: int) -> bytes:
        return bytes(self.llm.detokenize([token], decode=False))
