"""Stands in for llama-cpp-python where it is not installed: its documented methods, with bytes as tokens.

Put this folder on sys.path. It writes the prompt's letters backwards, and notes in `reads` what it was made to read,
so that tests see which part of a prompt was kept. Checked once against the real 0.3.36, whose greedy text for the
tests' random model is that of ctransformers, letter by letter.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from typing import Any

FIRST = 3  # ids below are unknown, begin and end


class Llama:
    def __init__(self, model_path: str, n_ctx: int, n_threads: int, n_threads_batch: int, n_batch: int, verbose: bool):
        self.n_tokens, self.n_ctx = 0, n_ctx
        self.ids: list[int] = []

    @property
    def eval_tokens(self) -> deque[int]:
        return deque(self.ids[: self.n_tokens])

    def token_eos(self) -> int:
        return 2

    def tokenize(self, text: bytes, add_bos: bool = True, special: bool = False) -> list[int]:
        assert not add_bos
        assert not special, "control tokens come from the template only"
        return [byte + FIRST for byte in text]

    def detokenize(self, tokens: list[int]) -> bytes:
        return bytes(token - FIRST for token in tokens if token >= FIRST)

    def reset(self) -> None:
        self.n_tokens = 0

    def eval(self, tokens: list[int]) -> None:
        self.ids = self.ids[: self.n_tokens] + list(tokens)
        self.n_tokens = len(self.ids)
        assert self.n_tokens <= self.n_ctx, "the window is full"

    def set_seed(self, seed: int) -> None:
        self.seed = seed

    def generate(self, tokens: list[int], **sampling: Any) -> Iterator[int]:
        assert set(sampling) == {"top_k", "top_p", "temp", "reset"}
        assert list(tokens[:-1]) == self.ids[: self.n_tokens], "all but the last token were read before, in steps"
        self.eval(tokens[-1:])
        for token in reversed(tokens):
            if token >= FIRST:
                yield token
                self.eval([token])
        while True:
            yield self.token_eos()
