"""Reading the head of a model file that may lie (A38)."""

from __future__ import annotations

import random
import struct
from contextlib import suppress
from pathlib import Path

import pytest

from tests.fakes import tiny_gguf
from webapp.core.errors import Invalid
from webapp.engines import gguf


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_gguf.write(tmp_path_factory.mktemp("gguf") / "tiny.gguf")


def test_what_a_file_says_of_itself(model: Path) -> None:
    found = gguf.read(model)
    assert (found.architecture, found.name, found.context_length, found.layers) == ("llama", "random tiny", 256, 2)
    assert (found.bos, found.eos, found.control) == (1, 2, {"<s>": 1, "</s>": 2})
    assert found.quantisation == "F32"
    assert found.chat_template == tiny_gguf.TEMPLATE.strip()
    assert found.size == model.stat().st_size


def test_every_shortened_file_is_refused(model: Path, tmp_path: Path) -> None:
    whole = model.read_bytes()
    head = whole.index(b"token_embd.weight")
    cut = tmp_path / "cut.gguf"
    for end in [0, 3, 4, 8, 23, *range(24, head - 8, 97)]:
        cut.write_bytes(whole[:end])
        with pytest.raises(Invalid) as caught:
            gguf.read(cut)
        assert caught.value.code == "broken_model"


def test_lengths_are_not_believed(model: Path, tmp_path: Path) -> None:
    whole = bytearray(model.read_bytes())
    lie = tmp_path / "lie.gguf"
    for at in (8, 16, 24):  # tensors, pairs, the first key's length
        for value in (2**63, 2**40, 5000 if at == 16 else 2**33):
            lie.write_bytes(whole[:at] + struct.pack("<Q", value) + whole[at + 8 :])
            with pytest.raises(Invalid):
                gguf.read(lie)


def test_noise_in_the_head_never_breaks_the_reader(model: Path, tmp_path: Path) -> None:
    whole, dice = model.read_bytes(), random.Random(7)
    head, noisy = whole.index(b"token_embd.weight"), tmp_path / "noisy.gguf"
    for _ in range(300):
        changed = bytearray(whole)
        for _ in range(3):
            changed[dice.randrange(4, head)] = dice.randrange(256)
        noisy.write_bytes(changed)
        with suppress(Invalid):  # and nothing else
            gguf.read(noisy)
