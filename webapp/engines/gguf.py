"""The head of a GGUF file, read with suspicion: what model it is, its window, its chat template, its control tokens.

Format: https://github.com/ggml-org/ggml/blob/master/docs/gguf.md. Every length is checked against the bytes that are
there before anything is made of it, since loaders have believed such numbers to their harm (attack drill A38).
"""

from __future__ import annotations

import math
import struct
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO

from webapp.core.errors import Invalid

MAGIC = b"GGUF"
VERSIONS = (2, 3)
MOST_PAIRS, MOST_TENSORS = 4096, 100_000
LONGEST_STRING, LONGEST_ARRAY = 4 * 2**20, 4 * 2**20
SCALARS = {0: "B", 1: "b", 2: "H", 3: "h", 4: "I", 5: "i", 6: "f", 7: "?", 10: "Q", 11: "q", 12: "d"}
STRING, ARRAY = 8, 9
CONTROL = 3  # a token's type: never written as text
# Weights in a block and bytes of one, by type of tensor; newer types are not checked for their length.
BLOCKS = {0: (1, 4), 1: (1, 2), 2: (32, 18), 3: (32, 20), 6: (32, 22), 7: (32, 24), 8: (32, 34), 9: (32, 36),
          10: (256, 84), 11: (256, 110), 12: (256, 144), 13: (256, 176), 14: (256, 210), 15: (256, 292)}  # fmt: skip
FILE_TYPES = {0: "F32", 1: "F16", 2: "Q4_0", 3: "Q4_1", 7: "Q8_0", 8: "Q5_0", 9: "Q5_1", 10: "Q2_K", 12: "Q3_K_M",
              14: "Q4_K_S", 15: "Q4_K_M", 16: "Q5_K_S", 17: "Q5_K_M", 18: "Q6_K"}  # fmt: skip


@dataclass(frozen=True)
class Header:
    architecture: str
    name: str
    context_length: int | None
    quantisation: str | None
    chat_template: str | None
    bos: int | None
    eos: int | None
    control: dict[str, int] = field(default_factory=dict)  # text of a control token -> its id
    layers: int | None = None
    size: int = 0  # bytes of the file


def read(path: Path) -> Header:
    """Raises Invalid (code broken_model) for what is no GGUF of version 2 or 3, or says impossible things."""
    size = path.stat().st_size
    try:
        with path.open("rb") as file:
            pairs = _checked(_Reader(file, size))
    except (struct.error, UnicodeDecodeError, EOFError, OverflowError) as exc:
        raise broken(path, str(exc) or "it ends in the middle") from None
    except _Lie as lie:
        raise broken(path, str(lie)) from None
    return _header(path, pairs, size)


def broken(path: Path, why: str) -> Invalid:
    return Invalid(
        f"{path.name} is not a usable GGUF file: {why[:200]}.",
        code="broken_model",
        suggestion="Download it again and compare its checksum.",
    )


def _header(path: Path, pairs: dict[str, Any], size: int) -> Header:
    architecture = _text(pairs.get("general.architecture"))
    if not architecture:
        raise broken(path, "it names no architecture")
    tokens, types = pairs.get("tokenizer.ggml.tokens") or [], pairs.get("tokenizer.ggml.token_type") or []
    control = {
        token: number for number, (token, kind) in enumerate(zip(tokens, types, strict=False)) if kind == CONTROL
    }
    return Header(
        architecture=architecture,
        name=_text(pairs.get("general.name")) or path.stem,
        context_length=_whole(pairs.get(f"{architecture}.context_length")),
        quantisation=FILE_TYPES.get(_whole(pairs.get("general.file_type")) or 0),
        chat_template=_text(pairs.get("tokenizer.chat_template")) or None,
        bos=_whole(pairs.get("tokenizer.ggml.bos_token_id")),
        eos=_whole(pairs.get("tokenizer.ggml.eos_token_id")),
        control=control,
        layers=_whole(pairs.get(f"{architecture}.block_count")),
        size=size,
    )


def _text(value: Any) -> str:
    return value.strip() if isinstance(value, str) else ""


def _whole(value: Any) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) else None


class _Lie(ValueError):
    """A number in the file that cannot be true."""


class _Reader:
    def __init__(self, file: BinaryIO, size: int) -> None:
        self.file, self.size = file, size

    def take(self, length: int) -> bytes:
        if length > self.size - self.file.tell():
            raise _Lie("a length goes past the end of the file")
        return self.file.read(length)

    def scalar(self, code: str) -> Any:
        return struct.unpack("<" + code, self.take(struct.calcsize("<" + code)))[0]

    def string(self) -> str:
        length = self.scalar("Q")
        if length > LONGEST_STRING:
            raise _Lie("a text is longer than four million bytes")
        return self.take(length).decode("utf-8", "replace")

    def value(self, kind: int, depth: int = 0) -> Any:
        if kind in SCALARS:
            return self.scalar(SCALARS[kind])
        if kind == STRING:
            return self.string()
        if kind != ARRAY or depth > 1:
            raise _Lie(f"a value has the unknown type {kind}")
        inner, length = self.scalar("I"), self.scalar("Q")
        if length > LONGEST_ARRAY:
            raise _Lie("a list is longer than four million")
        if inner in SCALARS:
            code = SCALARS[inner]
            return list(struct.unpack(f"<{length}{code}", self.take(length * struct.calcsize("<" + code))))
        return [self.value(inner, depth + 1) for _ in range(length)]


def _checked(reader: _Reader) -> dict[str, Any]:
    """The pairs of metadata, once the weights they announce are known to be in the file."""
    if reader.take(4) != MAGIC:
        raise _Lie("it does not begin with GGUF")
    version, tensors, pairs = reader.scalar("I"), reader.scalar("Q"), reader.scalar("Q")
    if version not in VERSIONS:
        raise _Lie(f"version {version} is not one of 2 and 3")
    if tensors > MOST_TENSORS or pairs > MOST_PAIRS:
        raise _Lie("it claims more parts than any model has")
    found = {reader.string(): reader.value(reader.scalar("I")) for _ in range(pairs)}
    needed = max((_end_of_tensor(reader) for _ in range(tensors)), default=0)
    align = _whole(found.get("general.alignment")) or 32
    start = -(-reader.file.tell() // align) * align
    if start + needed > reader.size:  # a loader maps the file and reads nothing, or crashes, past its end
        raise _Lie("its weights end in the middle")
    return found


def _end_of_tensor(reader: _Reader) -> int:
    reader.string()
    dimensions = reader.scalar("I")
    if dimensions > 8:
        raise _Lie("a tensor has more than eight dimensions")
    shape = [reader.scalar("Q") for _ in range(dimensions)]
    kind, offset = reader.scalar("I"), reader.scalar("Q")
    weights, size = BLOCKS.get(kind, (1, 0))
    return int(offset + math.prod(shape) // weights * size)
