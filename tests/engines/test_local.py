"""A real GGUF file in a real child process. Its weights are noise: this shows plumbing, never quality."""

from __future__ import annotations

import importlib.util
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import psutil
import pytest

from tests.fakes import tiny_gguf
from webapp.core import resident
from webapp.core.errors import Invalid, NoModel, TaskCancelled, TaskTimedOut, Unavailable
from webapp.engines import service
from webapp.engines.base import Request
from webapp.engines.child import Writer
from webapp.runtime import Runtime

pytest.importorskip("ctransformers")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = tmp_path / "models"
    folder.mkdir()
    tiny_gguf.write(folder / "tiny.gguf")
    return folder


@pytest.fixture
def rt(make_rt: Callable[..., Runtime], folder: Path) -> Iterator[Runtime]:
    rt = make_rt(BRAINSTEM_MODELS_DIR=str(folder), BRAINSTEM_MODEL_THREADS="1")
    yield rt
    for info in service.available(rt):
        service.engine(rt, info.id).unload()  # type: ignore[attr-defined]


def ask(text: str, **more: Any) -> Request:
    return Request(({"role": "user", "content": text},), **{"max_tokens": 16, "seed": 1, **more})


def test_text_comes_in_pieces_with_measured_numbers(rt: Runtime) -> None:
    pieces: list[str] = []
    found = service.generate(rt, "", ask("Hello", max_tokens=24), on_text=pieces.append)
    assert "".join(pieces) == found.text
    assert found.model == "ggml:tiny.gguf"
    assert found.finish in ("stop", "length")
    assert found.completion_tokens
    assert len(pieces) > 1
    assert (found.prompt_tokens or 0) > 5
    assert set(found.seconds) == {"load", "prompt", "generate", "first_token"}
    again = service.generate(rt, "", ask("Hello", max_tokens=24))
    assert again.text == found.text, "the same seed writes the same"
    assert "load" not in again.seconds, "it was loaded already"
    other = service.generate(rt, "", ask("Hello", max_tokens=24, seed=2, temperature=1.0))
    assert other.text != found.text


def test_what_loading_took_is_told_once_by_the_first_answer(rt: Runtime) -> None:
    """M099: a chat counts tokens first, which loads the model; its answer took that time all the same."""
    assert service.engine(rt, "ggml:tiny.gguf").count(["Hello"])[0] > 1
    first, second = (service.generate(rt, "", ask("Hello", max_tokens=4)) for _ in range(2))
    assert first.seconds["load"] > 0
    assert "load" not in second.seconds


def test_text_that_breaks_the_library_s_own_tokenizer(rt: Runtime) -> None:
    """Bug 1: its buffer has room for as many tokens as there are characters."""
    for text in ("😀" * 64, "日本語" * 40, "</s>" * 20, "é" * 100, "a\0b", "\ud800"):
        [count] = service.engine(rt, "ggml:tiny.gguf").count([text])
        assert count >= len(text.encode("utf-8", "replace")) / 4
        with suppress(Invalid):  # the longer ones are more than the window holds
            assert service.generate(rt, "", ask(text, max_tokens=2)).prompt_tokens


def test_letters_at_the_very_end_are_not_lost() -> None:
    """Bug 2: bytes that are no ASCII were held back until an ASCII byte came, which may be never."""
    writer = Writer([])
    assert [writer.add(bytes([byte])) for byte in "日本".encode()] == ["", "", "日", "", "", "本"]
    assert writer.add(b"\xe6") == ""
    assert writer.rest() == "\ufffd"


def test_nothing_of_a_stop_word_is_told() -> None:
    writer = Writer(["User:", "###"])
    told = "".join(writer.add(piece.encode()) for piece in ("Yes, U", "s", "er", ": and more"))
    assert (told, writer.stopped, writer.rest()) == ("Yes, ", True, "")
    writer = Writer(["User:"])
    assert writer.add(b"Us") + writer.rest() == "Us"


def test_a_prompt_beyond_the_window_is_refused_before_it_is_read(rt: Runtime) -> None:
    """Bug 3: the library goes on and writes garbage."""
    with pytest.raises(Invalid) as caught:
        service.generate(rt, "", ask("the of and to in " * 100))
    assert caught.value.code == "context_overflow"
    assert "256" in caught.value.message


def test_two_at_once_wait_for_each_other(rt: Runtime) -> None:
    """Bug 4: one model in two threads crashes."""
    found: list[str] = []

    def go(seed: int) -> None:
        found.append(service.generate(rt, "", ask("Hello", max_tokens=40, seed=seed)).finish)

    threads = [threading.Thread(target=go, args=(seed,)) for seed in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert len(found) == 4


def test_a_cancelled_run_ends_soon_and_the_model_stays(rt: Runtime) -> None:
    engine: Any = service.engine(rt, "ggml:tiny.gguf")
    engine.count(["warm"])
    pid = engine.status()["pid"]
    told: list[str] = []
    begun = time.monotonic()
    long = ask("Hello", max_tokens=10_000, temperature=1.0)
    found = service.generate(rt, "", long, on_text=told.append, cancelled=lambda: len(told) > 3)
    assert (found.finish, found.text) == ("cancelled", "".join(told))
    assert time.monotonic() - begun < 3
    assert service.generate(rt, "", ask("Hello")).text
    assert engine.status()["pid"] == pid


def test_a_killed_child_is_an_error_and_the_next_run_has_a_fresh_one(rt: Runtime) -> None:
    engine: Any = service.engine(rt, "ggml:tiny.gguf")
    killed: list[int] = []

    def kill(_text: str) -> None:
        if not killed:
            killed.append(engine.status()["pid"])
            os.kill(killed[0], signal.SIGKILL)

    with pytest.raises(Unavailable) as caught:
        service.generate(rt, "", ask("Hello", max_tokens=10_000, temperature=1.0), on_text=kill)
    assert caught.value.retryable
    assert service.generate(rt, "", ask("Hello")).text
    assert engine.status()["pid"] != killed[0]


def test_a_file_that_was_exchanged_is_loaded_anew(rt: Runtime, folder: Path) -> None:
    engine: Any = service.engine(rt, "ggml:tiny.gguf")
    engine.count(["warm"])
    pid = engine.status()["pid"]
    tiny_gguf.write(folder / "new.gguf", seed=5).replace(folder / "tiny.gguf")
    engine.count(["warm"])
    assert engine.status()["pid"] != pid


def test_broken_files_are_listed_with_their_reason(rt: Runtime, folder: Path) -> None:
    (folder / "bad.gguf").write_bytes(b"GGUF" + b"\xff" * 60)
    whole = (folder / "tiny.gguf").read_bytes()
    (folder / "short.gguf").write_bytes(whole[:-70_000])  # a good head, and the weights end in the middle
    bad, short, tiny = service.available(rt)
    assert (bad.available, short.available, tiny.available) == (False, False, True)
    assert "not a usable GGUF" in str(bad.missing)
    assert "end in the middle" in str(short.missing)
    for name in ("bad", "short"):
        with pytest.raises(NoModel):
            service.generate(rt, f"ggml:{name}.gguf", ask("Hello"))
    assert service.generate(rt, "ggml:tiny.gguf", ask("Hello")).text


@pytest.mark.parametrize("name", ["ggml:../tiny.gguf", "ggml:/etc/passwd", "ggml:", "ggml:none.gguf", "rot13:x", ""])
def test_only_listed_files_can_be_named(make_rt: Callable[..., Runtime], tmp_path: Path, name: str) -> None:
    """A38."""
    (tmp_path / "models").mkdir()
    tiny_gguf.write(tmp_path / "tiny.gguf")
    rt = make_rt(BRAINSTEM_MODELS_DIR=str(tmp_path / "models"))
    with pytest.raises(NoModel) as caught:
        service.generate(rt, name, ask("Hello"))
    assert "GGUF" in str(caught.value.suggestion)


# -- another library, and more files than may be loaded --------------------------------------------------------------


@pytest.fixture
def llama_rt(make_rt: Callable[..., Runtime], folder: Path, monkeypatch: pytest.MonkeyPatch) -> Runtime:
    """With llama-cpp-python where it is installed, else with a stand-in of its documented methods."""
    if importlib.util.find_spec("llama_cpp") is None:
        monkeypatch.syspath_prepend(str(Path(tiny_gguf.__file__).parent / "llama"))
    return make_rt(BRAINSTEM_MODELS_DIR=str(folder), BRAINSTEM_MODEL_THREADS="1")


def test_llama_cpp_is_taken_where_it_is_installed(llama_rt: Runtime) -> None:
    info = service.engine(llama_rt, "ggml:tiny.gguf").info()
    assert (info.available, info.details["library"]) == (True, "llama_cpp")
    pieces: list[str] = []
    found = service.generate(llama_rt, "", ask("Hello", temperature=0.0), on_text=pieces.append)
    assert found.text == "".join(pieces)
    assert found.text
    assert found.completion_tokens == 16
    assert service.generate(llama_rt, "", ask("Hello", temperature=0.0)).text == found.text
    assert service.generate(llama_rt, "", ask("Hello you", temperature=0.0)).text
    with pytest.raises(Invalid, match="window"):
        service.generate(llama_rt, "", ask("the of and to in " * 100))


def test_a_file_that_no_library_here_knows_says_what_to_install(make_rt: Callable[..., Runtime], folder: Path) -> None:
    rt = make_rt(BRAINSTEM_MODELS_DIR=str(folder), BRAINSTEM_MODEL_LIBRARY="ctransformers")
    tiny_gguf.write(folder / "tiny.gguf", **{"general.architecture": "qwen2"})
    [info] = service.available(rt)
    assert not info.available
    assert "qwen2" in str(info.missing)
    assert "llama-cpp-python" in str(info.suggestion)


def test_one_file_is_in_memory_at_a_time(rt: Runtime, folder: Path) -> None:
    tiny_gguf.write(folder / "other.gguf", seed=5)
    tiny, other = (service.engine(rt, f"ggml:{name}.gguf") for name in ("tiny", "other"))
    loaded = lambda: [one.info().details["loaded"] for one in (tiny, other)]  # noqa: E731
    tiny.count(["warm"])
    assert loaded() == [True, False]
    assert tiny.info().details["memory"] > 1_000_000
    other.count(["warm"])
    assert loaded() == [False, True]
    assert tiny.info().details["memory"] is None


def test_a_busy_file_is_waited_for_and_the_wait_can_be_cancelled(rt: Runtime, folder: Path) -> None:
    tiny_gguf.write(folder / "other.gguf", seed=5)
    writing, leave = threading.Event(), threading.Event()

    def hold(_text: str) -> None:
        writing.set()
        leave.wait(20)

    busy = threading.Thread(
        target=service.generate, args=(rt, "ggml:tiny.gguf", ask("Hello")), kwargs={"on_text": hold}
    )
    busy.start()
    assert writing.wait(30)
    with pytest.raises(TaskCancelled):
        service.generate(rt, "ggml:other.gguf", ask("Hello"), cancelled=lambda: True)
    found: list[str] = []
    waiting = threading.Thread(
        target=lambda: found.append(service.generate(rt, "ggml:other.gguf", ask("Hello")).finish)
    )
    waiting.start()
    assert not found
    leave.set()
    busy.join(30)
    waiting.join(30)
    assert len(found) == 1


# -- stopping --------------------------------------------------------------------------------------------------------


def test_a_child_that_hangs_in_native_code_is_killed(rt: Runtime) -> None:
    """Cancelled within 10 s inside a native call: a stopped process is one that never comes back from it."""
    engine: Any = service.engine(rt, "ggml:tiny.gguf")
    frozen: list[float] = []

    def freeze(_text: str) -> None:
        if not frozen:
            frozen.append(time.monotonic())
            os.kill(engine.status()["pid"], signal.SIGSTOP)

    long = ask("Hello", max_tokens=10_000, temperature=1.0)
    done = service.generate(rt, "", long, on_text=freeze, cancelled=lambda: bool(frozen))
    assert done.finish == "cancelled"
    assert time.monotonic() - frozen[0] < 10
    assert engine.status()["memory"] is None, "its memory is free"
    assert service.generate(rt, "", ask("Hello")).text


def test_a_child_that_hangs_ends_at_the_time_limit(rt: Runtime) -> None:
    engine: Any = service.engine(rt, "ggml:tiny.gguf")
    engine.count(["warm"])
    frozen: list[float] = []

    def freeze(_text: str) -> None:
        if not frozen:
            frozen.append(time.monotonic())
            os.kill(engine.status()["pid"], signal.SIGSTOP)

    for _ in range(5):  # random weights may say the end, or fill the context, before the signal is there
        frozen.clear()
        try:
            service.generate(rt, "", ask("Hello", max_tokens=10_000, temperature=1.0), on_text=freeze, timeout=3.0)
        except TaskTimedOut:
            break
    else:
        pytest.fail("it never ended at its time limit")
    assert time.monotonic() - frozen[0] < 10


def test_a_child_that_froze_while_it_waited_is_replaced(rt: Runtime, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(resident, "WAKES", 1.0)
    engine: Any = service.engine(rt, "ggml:tiny.gguf")
    engine.count(["warm"])
    frozen = engine.status()["pid"]
    os.kill(frozen, signal.SIGSTOP)
    assert service.generate(rt, "", ask("Hello")).text
    assert engine.status()["pid"] != frozen


def test_memory_is_given_back_when_nobody_needs_it(make_rt: Callable[..., Runtime], folder: Path) -> None:
    rt = make_rt(BRAINSTEM_MODELS_DIR=str(folder), BRAINSTEM_MODEL_IDLE_SECONDS="5", BRAINSTEM_MODEL_THREADS="1")
    engine: Any = service.engine(rt, "ggml:tiny.gguf")
    engine.count(["warm"])
    pid = engine.status()["pid"]
    psutil.Process(pid).wait(20)
    assert engine.status() == {"running": False, "pid": None, "memory": None, "waiting": 0}
