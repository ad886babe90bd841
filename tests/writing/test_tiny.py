"""The plumbing with a real file of a model in its child process: noise is written, and nothing of it is believed."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.fakes import tiny_gguf
from tests.research.conftest import Den

BEES = ("Bees make honey from the nectar of flowers. A hive holds about 40,000 bees in summer. The queen lays all the eggs. "
        "Honey keeps for years because it holds little water. Bees keep warm in winter by trembling.")  # fmt: skip


@pytest.fixture
def desk(den_of: Callable[..., Any], tmp_path: Path) -> Den:
    folder = tmp_path / "gguf"
    folder.mkdir()
    tiny_gguf.write(folder / "tiny.gguf")
    return den_of(BRAINSTEM_MODELS_DIR=str(folder))  # type: ignore[no-any-return]


def test_noise_about_a_text_is_no_summary_of_it(desk: Den) -> None:
    task_id = desk.lab.start_kind(
        "summary", {"content": BEES, "max_length": 30, "engine": "ggml:tiny.gguf"}, desk.cast.alice
    )
    desk.work()
    row = desk.lab.row(task_id)
    assert row.status == "completed", row.error
    assert row.result is not None
    assert row.result["words"] <= 30
    assert all(one["text"] in BEES for one in row.result["sentences"])
    assert "So this is made of sentences of the sources." in row.result["notes"][0]


def test_noise_of_the_wrong_length_is_called_that(desk: Den) -> None:
    """Its window of 256 takes little more than a letter a token: what does not fit is said with what to do."""
    params = {"topic": "Mason bees", "content_type": "social_post", "length": 20, "engine": "ggml:tiny.gguf"}
    task_id = desk.lab.start_kind("content_generation", params, desk.cast.alice)
    desk.work()
    row = desk.lab.row(task_id)
    if row.status == "failed":
        assert "window holds 256" in (row.error or "")
        return
    result = row.result
    assert result is not None
    assert result["engine"] == "ggml:tiny.gguf"
    assert result["mode"] == "text"
    counted = sum(row["words"] for row in result["sections"])
    assert result["words"] == counted
    assert result["within_limits"] is (18 <= counted <= 22)
    if not result["within_limits"]:
        assert any("20 were asked for" in note for note in result["notes"])
