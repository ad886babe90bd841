"""What every library that runs a GGUF file in a child process shares: prompt, window, stops, measures.

A library fills in how to read tokens, and the next token; `webapp.core.resident` calls the public methods.
"""

from __future__ import annotations

import codecs
import time
from collections.abc import Generator, Iterator
from pathlib import Path
from typing import Any

from webapp.core import resident
from webapp.core.errors import Invalid
from webapp.engines import gguf
from webapp.engines.crew import Crew
from webapp.engines.prompts import Piece, pieces

FIRST_STEP, LARGEST_STEP = 16, 256  # tokens of the prompt between two looks at "stop"
QUICK, SLOW = 0.4, 1.0  # seconds: steps that took less become larger, that took more smaller
ROOM = 16  # tokens an answer must have


class Child:
    """One file in one process, one thing at a time."""

    def __init__(self, path: str, threads: int, context: int, fixed: bool = True) -> None:
        """fixed: always so many threads; else fewer while others want the cores."""
        started = time.monotonic()
        self.header = gguf.read(Path(path))
        self.context = min(context, self.header.context_length or context)
        self.step = FIRST_STEP
        self.crew = Crew(threads, fixed=fixed)
        self.load(path, threads)
        self.load_seconds = time.monotonic() - started
        self.untold: dict[str, float] = {"load": self.load_seconds}  # of the first run, whatever made it load

    # -- filled in by a library --------------------------------------------------------------------------------------

    def load(self, path: str, threads: int) -> None:
        raise NotImplementedError

    def tokens(self, raw: bytes) -> list[int]:
        """Of text without control tokens, which it cannot hold by any spelling."""
        raise NotImplementedError

    def unread(self, prompt: list[int]) -> list[int]:
        """What of the prompt must still be read; what it shares with the run before is kept."""
        raise NotImplementedError

    def read(self, tokens: list[int]) -> None:
        raise NotImplementedError

    def following(self, prompt: list[int], sampling: dict[str, Any]) -> Iterator[int]:
        """Tokens after the prompt that was read, without an end of their own."""
        raise NotImplementedError

    def is_end(self, token: int) -> bool:
        raise NotImplementedError

    def spelled(self, token: int) -> bytes:
        raise NotImplementedError

    # -- asked by the parent -----------------------------------------------------------------------------------------

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
        if room < min(max_tokens, ROOM):
            raise overflow(len(prompt), self.context)
        sampling = {"temperature": temperature, "top_p": top_p, "top_k": 40 if temperature > 0 else 1, "seed": seed}
        if not self._read(prompt):
            return self._told("cancelled", prompt, 0, begun, time.monotonic())
        read = time.monotonic()
        writer, count, finish = Writer(stop), 0, "length"
        following = self.following(prompt, sampling)
        for count in range(1, min(max_tokens, room) + 1):
            if resident.stop_asked():
                finish = "cancelled"
                break
            token = next(following)
            if self.is_end(token):
                finish, count = "stop", count - 1
                break
            if piece := writer.add(self.spelled(token)):
                yield piece
            if writer.stopped:
                finish = "stop"
                break
        if rest := writer.rest():
            yield rest
        return self._told(finish, prompt, count, begun, read)

    def _told(self, finish: str, prompt: list[int], count: int, begun: float, read: float) -> dict[str, Any]:
        seconds = {**self.untold, "prompt": read - begun, "generate": time.monotonic() - read}
        self.untold = {}
        return {"finish": finish, "prompt_tokens": len(prompt), "completion_tokens": count, "seconds": seconds}

    def _prompt(self, messages: list[dict[str, str]]) -> list[int]:
        parts = pieces(self.header.chat_template, messages, self.header.control, self.header.bos, self.header.eos)
        return [token for part in parts for token in self._ids(part)]

    def _ids(self, part: Piece) -> list[int]:
        return [part] if isinstance(part, int) else self._tokens(part)

    def _tokens(self, text: str) -> list[int]:
        raw = text.replace("\0", " ").encode("utf-8", "replace")
        return self.tokens(raw) if raw else []

    def _read(self, prompt: list[int]) -> bool:
        """The prompt into the model, in steps as long as leave a "stop" unheard for a second or so.

        False when it was stopped.
        """
        todo = self.unread(prompt)
        while todo:
            if resident.stop_asked():
                return False
            now, todo = todo[: self.step], todo[self.step :]
            begun = time.monotonic()
            self.read(now)
            self._pace(len(now), time.monotonic() - begun)
        return True

    def _pace(self, tokens: int, took: float) -> None:
        if took > SLOW:
            self.step = max(1, self.step // 2)
        elif took < QUICK and tokens == self.step:
            self.step = min(LARGEST_STEP, self.step * 2)


def overflow(tokens: int, context: int) -> Invalid:
    return Invalid(
        f"the prompt has {tokens:,} tokens and the model's window holds {context:,}",
        code="context_overflow",
        suggestion="Shorten the text, or choose a model with a larger window.",
    )


class Writer:
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
