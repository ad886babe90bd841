"""Live text: kept by fence, read from any place, and its writer's pace. In memory and in Redis."""

from __future__ import annotations

import threading

import pytest

from webapp.core import streams
from webapp.core.streams import MemoryStreams, RedisStreams, Writer
from webapp.runtime import Runtime


@pytest.fixture
def kept(both_rt: Runtime) -> streams.Streams:
    return both_rt.streams


def test_pieces_add_up_and_are_read_from_any_place(kept: streams.Streams) -> None:
    assert kept.read("t") == (0, 0, "")
    assert kept.append("t", 1, "Grüße ") == 8
    assert kept.append("t", 1, "日本") == 14
    assert kept.read("t") == (1, 14, "Grüße 日本")
    assert kept.read("t", 8).text == "日本"
    assert kept.read("t", 14).text == ""
    assert kept.read("t", 99).text == "Grüße 日本", "a reader of a longer, older text begins again"


def test_a_new_claim_begins_anew_and_the_old_one_is_refused(kept: streams.Streams) -> None:
    kept.append("t", 1, "old")
    assert kept.append("t", 2, "new") == 3
    assert kept.append("t", 1, " words") == -1
    assert kept.replace("t", 1, "old") == -1
    assert kept.read("t") == (2, 3, "new")
    assert kept.replace("t", 2, "other") == 5
    assert kept.read("other") == (0, 0, "")


def test_memory_forgets_what_nobody_wrote_for_a_while() -> None:
    now = [0.0]
    kept = MemoryStreams(clock=lambda: now[0])
    kept.append("a", 1, "x")
    now[0] = streams.KEPT + 1
    kept.append("b", 1, "y")
    assert kept.read("a").length == 0
    assert kept.read("b").text == "y"


def test_a_redis_that_is_away_costs_only_the_live_text() -> None:
    gone = RedisStreams("redis://127.0.0.1:1/0")
    assert gone.append("t", 1, "x") == 0
    assert gone.read("t") == (0, 0, "")


class Pace:
    def __init__(self, kept: streams.Streams) -> None:
        self.now, self.rung, self.noted = 0.0, [], []  # type: ignore[var-annotated]
        self.writer = Writer(kept, "t", 1, ring=self.rung.append, note=self.noted.append, clock=lambda: self.now,
                             timer=lambda seconds, flush: threading.Timer(3600, flush))  # fmt: skip

    def at(self, now: float, piece: str) -> None:
        self.now = now
        self.writer.write(piece)


def test_a_writer_rings_at_most_every_50_ms_and_notes_each_second(kept: streams.Streams) -> None:
    pace = Pace(kept)
    for at, piece in ((0.5, "a"), (0.51, "b"), (0.54, "c"), (0.56, "d"), (1.2, "e")):
        pace.at(at, piece)
    assert (pace.rung, pace.noted, pace.writer.first_at) == ([1, 4, 5], ["abcde"], 0.5)
    pace.at(1.21, "f")
    assert kept.read("t").text == "abcde"
    pace.writer.flush()
    assert (kept.read("t").text, pace.rung[-1]) == ("abcdef", 6)


def test_the_last_pieces_before_a_model_thinks_again_are_shown(kept: streams.Streams) -> None:
    """They wait for the bell's pace, never for the next piece, which may take a minute."""
    rung: list[int] = []
    told = threading.Event()

    def ring(length: int) -> None:
        rung.append(length)
        if length == 12:
            told.set()

    writer = Writer(kept, "t", 1, ring=ring, note=lambda text: None)
    for piece in ("one ", "two ", "four"):
        writer.write(piece)
    assert told.wait(5)
    assert kept.read("t").text == "one two four"
    assert rung == [4, 12]


def test_pieces_keep_their_order_whoever_sends_them(kept: streams.Streams) -> None:
    writer = Writer(kept, "t", 1, ring=lambda length: None, note=lambda text: None,
                    timer=lambda seconds, flush: threading.Timer(0.0002, flush))  # fmt: skip
    wanted = "".join(f"{number} " for number in range(3000))
    for number in range(3000):
        writer.write(f"{number} ")
    writer.flush()
    assert kept.read("t").text == wanted


def test_what_a_lost_redis_forgot_is_written_again(kept: streams.Streams) -> None:
    pace = Pace(kept)
    pace.at(1, "one ")
    kept.replace("t", 1, "")  # it came back empty
    pace.at(2, "two")
    assert kept.read("t").text == "one two"
