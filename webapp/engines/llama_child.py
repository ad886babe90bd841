"""A GGUF model in its own process, by llama-cpp-python (the extra `llama`): newer architectures, prompts read faster.

Only its documented methods are used. Its `generate` reads a prompt in one go that nothing can stop, so the prompt is
read here in steps first, and `generate` finds all but the last token of it read already.
"""

from __future__ import annotations

from collections.abc import Iterator
from importlib import import_module
from typing import Any

from webapp.engines.child import LARGEST_STEP, Child

# Ends of a turn in chat templates; a file names only one of its own as its end of text.
ENDS = ("</s>", "<|eot_id|>", "<|eom_id|>", "<|im_end|>", "<|end|>", "<|endoftext|>", "<end_of_turn>", "<|return|>")
# A state of these cannot be wound back to the part that two prompts share.
STATEFUL = ("mamba", "rwkv", "jamba", "hybrid", "falcon-h1", "lfm", "nemotron_h", "next", "plamo2", "kimi-linear")


class Model(Child):
    def load(self, path: str, threads: int) -> None:
        self.llm = import_module("llama_cpp").Llama(
            model_path=path, n_ctx=self.context, n_threads=threads, n_threads_batch=threads, n_batch=LARGEST_STEP,
            verbose=False,
        )  # fmt: skip
        self.ends = {self.llm.token_eos(), *(self.header.control[end] for end in ENDS if end in self.header.control)}

    def tokens(self, raw: bytes) -> list[int]:
        return list(self.llm.tokenize(raw, add_bos=False, special=False))

    def unread(self, prompt: list[int]) -> list[int]:
        """All but the last token, which `following` reads: the library samples after reading only."""
        shared = 0
        if not any(word in self.header.architecture for word in STATEFUL):
            for old, new in zip(self.llm.eval_tokens, prompt[:-1], strict=False):
                if old != new:
                    break
                shared += 1
        self.llm.reset()
        self.llm.n_tokens = shared
        return prompt[shared:-1]

    def read(self, tokens: list[int]) -> None:
        self.llm.eval(tokens)

    def following(self, prompt: list[int], sampling: dict[str, Any]) -> Iterator[int]:
        if sampling["seed"] is not None:
            self.llm.set_seed(sampling["seed"])
        yield from self.llm.generate(
            prompt, top_k=sampling["top_k"], top_p=sampling["top_p"], temp=sampling["temperature"], reset=True
        )

    def is_end(self, token: int) -> bool:
        return token in self.ends

    def spelled(self, token: int) -> bytes:
        return bytes(self.llm.detokenize([token]))
