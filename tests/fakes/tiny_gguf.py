"""A GGUF file of a llama with seeded random weights: real for the loader, noise as a writer.

Layout as of https://github.com/ggml-org/ggml/blob/master/docs/gguf.md, version 3, all tensors F32.
"""

from __future__ import annotations

import struct
from pathlib import Path
from typing import Any

import numpy as np

VOCAB, CONTEXT = 512, 256
TINY = (2, 64, 4, 128)  # layers, dimensions, heads, feed forward
SLOW = (8, 512, 8, 1408)  # a hundred megabytes: some seconds for an answer, so that it can be stopped in the middle
ALIGN = 32
TEMPLATE = (
    "{% for m in messages %}<|{{ m['role'] }}|>\n{{ m['content'] }}</s>\n{% endfor %}"
    "{% if add_generation_prompt %}<|assistant|>\n{% endif %}"
)


def write(
    path: Path, *, template: str = TEMPLATE, seed: int = 0, shape: tuple[int, int, int, int] = TINY, **changes: Any
) -> Path:
    """changes: metadata by key, None leaves one out."""
    layers, dim, heads, ffn = shape
    tokens, scores, types = _vocabulary()
    pairs: dict[str, Any] = {
        "general.architecture": "llama",
        "general.name": "random tiny",
        "general.file_type": 0,
        "llama.context_length": CONTEXT,
        "llama.embedding_length": dim,
        "llama.block_count": layers,
        "llama.feed_forward_length": ffn,
        "llama.attention.head_count": heads,
        "llama.attention.head_count_kv": heads,
        "llama.attention.layer_norm_rms_epsilon": 1e-5,
        "llama.rope.dimension_count": dim // heads,
        "tokenizer.ggml.model": "llama",
        "tokenizer.ggml.tokens": tokens,
        "tokenizer.ggml.scores": scores,
        "tokenizer.ggml.token_type": types,
        "tokenizer.ggml.bos_token_id": 1,
        "tokenizer.ggml.eos_token_id": 2,
        "tokenizer.ggml.unknown_token_id": 0,
        "tokenizer.chat_template": template,
    } | changes
    tensors = _tensors(np.random.default_rng(seed), layers, dim, ffn)
    pairs = {key: value for key, value in pairs.items() if value is not None}
    head = b"GGUF" + struct.pack("<IQQ", 3, len(tensors), len(pairs))
    head += b"".join(_string(key) + _value(value) for key, value in pairs.items())
    body, offset = bytearray(), 0
    for name, data in tensors.items():
        shape = data.shape[::-1]
        head += _string(name) + struct.pack(f"<I{len(shape)}QIQ", len(shape), *shape, 0, offset)
        raw = data.astype("<f4").tobytes()
        raw += b"\0" * (-len(raw) % ALIGN)
        body += raw
        offset += len(raw)
    path.write_bytes(head + b"\0" * (-len(head) % ALIGN) + bytes(body))
    return path


def _vocabulary() -> tuple[list[str], list[float], list[int]]:
    """Control tokens, all bytes, printable letters and a few words with all their beginnings (merging is pairwise)."""
    words = [
        "the",
        "of",
        "and",
        "to",
        "in",
        "is",
        "a",
        "that",
        "for",
        "it",
        "as",
        "was",
        "on",
        "with",
        "be",
        "by",
        "you",
    ]
    pieces = ["\u2581"] + [chr(code) for code in range(33, 127)]
    pieces += [("\u2581" + word)[:end] for word in words for end in range(2, len(word) + 2)]
    plain = list(dict.fromkeys(pieces))
    tokens = ["<unk>", "<s>", "</s>"] + [f"<0x{byte:02X}>" for byte in range(256)] + plain
    types = [2, 3, 3] + [6] * 256 + [1] * len(plain)
    scores = [0.0] * 259 + [-float(number) for number in range(len(plain))]
    while len(tokens) < VOCAB:
        tokens.append(f"\u2581w{len(tokens)}")
        types.append(1)
        scores.append(-1e4 - len(tokens))
    return tokens[:VOCAB], scores[:VOCAB], types[:VOCAB]


def _tensors(rng: Any, layers: int, dim: int, ffn: int) -> dict[str, Any]:
    def noise(*shape: int) -> Any:
        return rng.standard_normal(shape, dtype=np.float32) / np.sqrt(shape[-1])

    found = {"token_embd.weight": noise(VOCAB, dim)}
    for layer in range(layers):
        at = f"blk.{layer}."
        for name in ("attn_q", "attn_k", "attn_v", "attn_output"):
            found[f"{at}{name}.weight"] = noise(dim, dim)
        found[f"{at}ffn_gate.weight"] = noise(ffn, dim)
        found[f"{at}ffn_up.weight"] = noise(ffn, dim)
        found[f"{at}ffn_down.weight"] = noise(dim, ffn)
        found[f"{at}attn_norm.weight"] = np.ones(dim)
        found[f"{at}ffn_norm.weight"] = np.ones(dim)
    return found | {"output_norm.weight": np.ones(dim), "output.weight": noise(VOCAB, dim)}


def _string(text: str) -> bytes:
    raw = text.encode()
    return struct.pack("<Q", len(raw)) + raw


def _value(value: Any) -> bytes:
    if isinstance(value, str):
        return struct.pack("<I", 8) + _string(value)
    if isinstance(value, int):
        return struct.pack("<II", 4, value)
    if isinstance(value, float):
        return struct.pack("<If", 6, value)
    if isinstance(value[0], str):
        return struct.pack("<IIQ", 9, 8, len(value)) + b"".join(_string(one) for one in value)
    code, kind = ("f", 6) if isinstance(value[0], float) else ("i", 5)
    return struct.pack(f"<IIQ{len(value)}{code}", 9, kind, len(value), *value)
