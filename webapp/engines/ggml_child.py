"""A GGUF model in its own process (`webapp.core.resident`), by ctransformers behind a wrapper.

Four faults of ctransformers 0.2.27 are gone around here: its tokenizer writes past its buffer on text of several
bytes a character; its stream holds back what is not ASCII and loses it at the end; it does not look at the context's
length; one model in two threads crashes (here one process holds one model and does one thing at a time).
"""

from __future__ import annotations

import codecs
import time
from collections.abc import Generator
from ctypes import c_int
from pathlib import Path
from typing import Any

from webapp.core import resident
from webapp.core.errors import Invalid
from webapp.engines import gguf
from webapp.engines.prompts import Piece, pieces

STEP = 32  # tokens of the prompt between two looks at "stop": about a second on two slow cores


class Model:
    def __init__(self, path: str, threads: int, context: int) -> None:
        from ctransformers import LLM, Config

        started = time.monotonic()
        self.header = gguf.read(Path(path))
        self.context = min(context, self.header.context_length or context)
        config = Config(context_length=self.context, threads=threads, gpu_layers=0, batch_size=STEP)
        self.llm = LLM(path, model_type=self.header.architecture, config=config)
        self.load_seconds = time.monotonic() - started

    def describe(self) -> dict[str, Any]:
        return {"context": self.context, "load_seconds": self.load_seconds}

    def count(self, texts: list[str]) -> list[int]:
        return [len(self._tokens(text)) for text in texts]

    def generate(
        self,
        messages: list[dict[str, str]],
        max_tokens: int,
        temperature: float,
        top_p: float,
        stop: list[str],
        seed: int | None,
    ) -> Generator[str, None, dict[str, Any]]:
        """Yields text; its value is {"finish", "prompt_tokens", "completion_tokens", "seconds"}."""
        begun = time.monotonic()
        prompt = self._prompt(messages)
        room = self.context - len(prompt)
        if room < min(max_tokens, 16):
            raise overflow(len(prompt), self.context)
        sampling = {
            "temperature": temperature,
            "top_p": top_p,
            "top_k": 40 if temperature > 0 else 1,
            "seed": -1 if seed is None else seed,
        }
        if not self._read(prompt):
            return self._told("cancelled", prompt, 0, begun, time.monotonic())
        read = time.monotonic()
        writer, count, finish = _Writer(stop), 0, "length"
        for count in range(1, min(max_tokens, room) + 1):
            if resident.stop_asked():
                finish = "cancelled"
                break
            token = self.llm.sample(**sampling)
            if self.llm.is_eos_token(token):
                finish, count = "stop", count - 1
                break
            if piece := writer.add(self.llm.detokenize([token], decode=False)):
                yield piece
            if writer.stopped:
                finish = "stop"
                break
            self.llm.eval([token])
        if rest := writer.rest():
            yield rest
        return self._told(finish, prompt, count, begun, read)

    def _told(self, finish: str, prompt: list[int], count: int, begun: float, read: float) -> dict[str, Any]:
        seconds = {"load": self.load_seconds, "prompt": read - begun, "generate": time.monotonic() - read}
        return {"finish": finish, "prompt_tokens": len(prompt), "completion_tokens": count, "seconds": seconds}

    def _prompt(self, messages: list[dict[str, str]]) -> list[int]:
        parts = pieces(self.header.chat_template, messages, self.header.control, self.header.bos, self.header.eos)
        return [token for part in parts for token in self._ids(part)]

    def _ids(self, part: Piece) -> list[int]:
        return [part] if isinstance(part, int) else self._tokens(part)

    def _tokens(self, text: str) -> list[int]:
        """As many as the bytes of the text, and one for the space it puts before it: the library makes room for as
        many as there are characters, and writes on."""
        raw = text.replace("\0", " ").encode("utf-8", "replace")
        if not raw:
            return []
        found = (c_int * (len(raw) + 8))()
        count = self.llm.ctransformers_llm_tokenize(raw, False, found)
        return list(found[: max(0, count)])

    def _read(self, prompt: list[int]) -> bool:
        """The prompt into the model; what it shares with the one before is kept. False when it was stopped."""
        todo = list(self.llm.prepare_inputs_for_generation(prompt, reset=True))
        for start in range(0, len(todo), STEP):
            if resident.stop_asked():
                return False
            self.llm.eval(todo[start : start + STEP])
        return True


def overflow(tokens: int, context: int) -> Invalid:
    return Invalid(
        f"the prompt has {tokens:,} tokens and the model's window holds {context:,}",
        code="context_overflow",
        suggestion="Shorten the text, or choose a model with a larger window.",
    )


class _Writer:
    """Bytes of tokens to text: whole characters only, and nothing of a stop word."""

    def __init__(self, stop: list[str]) -> None:
        self.stop = [word for word in stop if word]
        self.hold = max((len(word) for word in self.stop), default=1) - 1
        self.decoder = codecs.getincrementaldecoder("utf-8")("replace")
        self.kept = ""
        self.stopped = False

    def add(self, data: bytes) -> str:
        self.kept += self.decoder.decode(data)
        found = [at for word in self.stop if (at := self.kept.find(word)) >= 0]
        if found:
            self.stopped = True
            piece, self.kept = self.kept[: min(found)], ""
            return piece
        cut = len(self.kept) - self.hold
        piece, self.kept = (self.kept[:cut], self.kept[cut:]) if cut > 0 else ("", self.kept)
        return piece

    def rest(self) -> str:
        return "" if self.stopped else self.kept + self.decoder.decode(b"", True)
