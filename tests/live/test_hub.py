"""The hub alone, over socket pairs: framing, order, slow readers, close frames, patience."""

from __future__ import annotations

import json
import socket
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any

import pytest
from wsproto.connection import Connection, ConnectionType
from wsproto.events import BytesMessage, CloseConnection, Ping, TextMessage

from webapp.core.bus import Bell, MemoryBus
from webapp.core.limits import MemoryLimits
from webapp.web import hub as hub_module
from webapp.web.hub import Client, Hub, encode


@dataclass
class Event:
    seq: int


class Feed:
    """Sends each event's number; counts how often it renders."""

    def __init__(self, hub: Hub, key: str = "same", topic: str = "task:t") -> None:
        self.hub, self.key, self.topic = hub, key, topic
        self.rendered = 0
        self.messages: list[str] = []
        self.pad = ""
        self.over = False
        self.broken = False

    def topics(self) -> list[str]:
        return [self.topic]

    def join(self, rt: Any, client: Client) -> None:
        if self.broken:
            raise RuntimeError("no greeting")
        client.moved("t", rt.bench.seq)
        self.hub.send_text(client, '{"type":"hello"}')

    def on_message(self, rt: Any, client: Client, text: str) -> None:
        if self.broken or text == "break":
            raise RuntimeError("no answer")
        self.messages.append(text)
        self.hub.send_text(client, text)

    def wants(self, event: Event) -> bool:
        return True

    def render(self, rt: Any, task: Any, events: list[Event]) -> list[tuple[int, str]]:
        self.rendered += 1
        return [(e.seq, json.dumps({"seq": e.seq, "pad": self.pad}, ensure_ascii=False)) for e in events]

    def is_over(self, task: Any) -> bool:
        return self.over


class Bench:
    """A hub whose one task `t` has as many events as `seq` says."""

    def __init__(self) -> None:
        self.rt = SimpleNamespace(bus=MemoryBus(), limits=MemoryLimits(), bench=self)
        self.seq = 0
        self.began = datetime.now(UTC)
        self.reads = 0
        self.hub = Hub(self.rt, self.read, self.moved)  # type: ignore[arg-type]
        self.sockets: list[socket.socket] = []

    def read(self, rt: Any, wanted: list[tuple[str, int]]) -> list[tuple[Any, list[Any]]]:
        self.reads += 1
        task = SimpleNamespace(id="t", seq=self.seq, created_at=self.began)
        return [(task, [Event(n) for n in range(after + 1, self.seq + 1)]) for name, after in wanted if name == "t"]

    def moved(self, rt: Any, tasks: list[str], owners: list[str]) -> list[tuple[str, int, str | None]]:
        return [("t", self.seq, None)] if self.seq else []

    def happen(self, count: int = 1) -> None:
        self.seq += count
        self.rt.bus.ring(Bell("task", "t", self.seq, None))

    def connect(self, feed: Feed | None = None, kind: str = "ws", *, room: int = 0) -> tuple[Reader, Client]:
        ours, theirs = socket.socketpair()
        if room:
            ours.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, room)
        client = Client(kind, ours, feed or Feed(self.hub), seats=[], member="")
        self.sockets += [ours, theirs]
        return Reader(theirs), client


class Reader:
    def __init__(self, sock: socket.socket) -> None:
        self.sock = sock
        self.ws = Connection(ConnectionType.CLIENT)
        self.waiting: list[Any] = []
        self.part = ""
        self.raw = b""

    def next(self, timeout: float = 3.0) -> Any:
        """The next text, `Ping` or `CloseConnection`; None at the end or when nothing comes."""
        until = time.monotonic() + timeout
        while True:
            if self.waiting:
                return self.waiting.pop(0)
            self.sock.settimeout(max(0.01, until - time.monotonic()))
            try:
                data = self.sock.recv(65536)
            except (TimeoutError, OSError):
                return None
            if not data:
                return None
            self.raw += data
            self.ws.receive_data(data)
            for event in self.ws.events():
                if isinstance(event, TextMessage):
                    self.part += event.data
                    if event.message_finished:
                        self.waiting.append(json.loads(self.part))
                        self.part = ""
                else:
                    self.waiting.append(event)

    def send(self, event: Any) -> None:
        self.sock.sendall(self.ws.send(event))

    def ended(self, timeout: float = 3.0) -> bool:
        until = time.monotonic() + timeout
        while time.monotonic() < until:
            self.sock.settimeout(max(0.01, until - time.monotonic()))
            try:
                if not self.sock.recv(65536):
                    return True
            except TimeoutError:
                return False
            except OSError:
                return True
        return False


@pytest.fixture
def bench() -> Iterator[Bench]:
    made = Bench()
    yield made
    made.hub.stop(0.1)
    for one in made.sockets:
        one.close()


def _until(true: Callable[[], bool], patience: float = 3.0) -> None:
    deadline = time.monotonic() + patience
    while not true():
        assert time.monotonic() < deadline
        time.sleep(0.01)


@pytest.mark.parametrize("size", [0, 1, 125, 126, 127, 65535, 65536, 200_000])
def test_frames_of_every_length(size: int) -> None:
    reader = Connection(ConnectionType.CLIENT)
    reader.receive_data(encode("ws", "é" * (size // 2) + "x" * (size % 2)))
    events = list(reader.events())
    assert len("".join(e.data for e in events).encode()) == size
    assert events[-1].message_finished


def test_events_of_a_stream_on_the_wire() -> None:
    assert encode("sse", "one\ntwo", 7) == b"id: 7\ndata: one\ndata: two\n\n"
    assert encode("sse", "x") == b"data: x\n\n"
    assert encode("ws", "\ud800") == b"\x81\x01?"
    assert encode("sse", "\ud800") == b"data: ?\n\n"


def test_encoded_once_for_equal_readers(bench: Bench) -> None:
    feeds = [Feed(bench.hub) for _ in range(20)] + [Feed(bench.hub, "other")]
    readers = []
    for feed in feeds:
        reader, client = bench.connect(feed)
        bench.hub.adopt(client)
        assert reader.next() == {"type": "hello"}
        readers.append(reader)
    bench.happen()
    assert all(reader.next()["seq"] == 1 for reader in readers)
    assert sum(feed.rendered for feed in feeds) == 2, "once for each kind of reader"
    assert bench.reads == 1


class OfAPerson(Feed):
    """Of tasks that begin while it reads: it has no place in them."""

    def join(self, rt: Any, client: Client) -> None:
        self.hub.send_text(client, '{"type":"hello"}')


@pytest.mark.parametrize(("began", "told"), [("later", [1, 2, 3]), ("before", [2, 3])])
def test_the_worker_is_heard_before_who_accepted_the_task(bench: Bench, began: str, told: list[int]) -> None:
    """Two processes ring, and their bells may change places. What began before one came is not told again."""
    reader, client = bench.connect(OfAPerson(bench.hub, topic="user:o"))
    bench.hub.adopt(client)
    assert reader.next() == {"type": "hello"}
    bench.began += timedelta(seconds=1 if began == "later" else -1)
    bench.seq = 2
    bench.rt.bus.ring(Bell("task", "t", 2, "o"))
    assert [reader.next()["seq"] for _ in told[:-1]] == told[:-1]
    bench.rt.bus.ring(Bell("task", "t", 1, "o"))
    bench.seq = 3
    bench.rt.bus.ring(Bell("task", "t", 3, "o"))
    assert reader.next()["seq"] == 3
    assert reader.next(0.3) is None


def test_order_under_concurrent_senders(bench: Bench) -> None:
    """Each sender's messages arrive in its order and whole, though the socket's buffer is small."""
    reader, client = bench.connect(room=4096)
    bench.hub.adopt(client)
    reader.next()
    pad = "é" * 700

    def send(who: int) -> None:
        for number in range(100):
            bench.hub.send_text(client, json.dumps({"who": who, "n": number, "pad": pad}, ensure_ascii=False))
            time.sleep(0.0005)

    senders = [threading.Thread(target=send, args=(who,)) for who in range(6)]
    for sender in senders:
        sender.start()
    got = [reader.next() for _ in range(600)]
    assert all(message["pad"] == pad for message in got), "a frame was cut"
    for who in range(6):
        assert [m["n"] for m in got if m["who"] == who] == list(range(100))


def test_a_frame_is_never_cut_by_a_slow_reader(bench: Bench) -> None:
    feed = Feed(bench.hub)
    feed.pad = "ü" * 150_000
    reader, client = bench.connect(feed, room=4096)
    bench.hub.adopt(client)
    reader.next()
    bench.happen()
    _until(lambda: client.out_bytes > 100_000)
    bench.hub.send_text(client, '{"last":1}')
    assert reader.next()["pad"] == feed.pad
    assert reader.next() == {"last": 1}
    _until(lambda: not client.out and client.out_bytes == 0)


def test_many_small_messages_at_once_make_no_slow_reader(bench: Bench) -> None:
    reader, client = bench.connect(room=4096)
    bench.hub.adopt(client)
    reader.next()
    bench.happen(2000)
    time.sleep(0.2)
    assert [reader.next()["seq"] for _ in range(2000)] == list(range(1, 2001))


def test_a_reader_that_owes_too_much_is_dropped(bench: Bench) -> None:
    feed = Feed(bench.hub)
    feed.pad = "x" * 300_000
    reader, client = bench.connect(feed, room=4096)
    other, beside = bench.connect(Feed(bench.hub, "other"))
    for one in (client, beside):
        bench.hub.adopt(one)
    other.next()
    reader.next()
    for number in range(5):
        bench.happen()
        assert other.next()["seq"] == number + 1, "the others lose nothing by it"
    _until(lambda: client.closed and client not in bench.hub.clients)
    assert not client.out
    assert reader.ended()


def test_a_reader_that_takes_nothing_is_dropped_in_time(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hub_module, "SEND_PATIENCE", 0.3)
    feed = Feed(bench.hub)
    feed.pad = "x" * 20_000
    reader, client = bench.connect(feed, room=4096)
    bench.hub.adopt(client)
    reader.next()
    bench.happen()
    _until(lambda: client.closed)


def test_close_frames(bench: Bench) -> None:
    reader, client = bench.connect()
    bench.hub.adopt(client)
    reader.next()
    bench.hub.close(client, 1008, "x" * 200)
    bench.hub.close(client, 1000, "once is enough")
    bench.hub.send_text(client, '{"never":1}')
    closed = reader.next()
    assert isinstance(closed, CloseConnection)
    assert (closed.code, closed.reason) == (1008, "x" * 120)
    assert reader.next() is None, "nothing after a close frame"
    reader.sock.close()
    _until(lambda: client.closed)


def test_a_close_frame_goes_after_what_waits(bench: Bench) -> None:
    feed = Feed(bench.hub)
    feed.pad = "x" * 200_000
    reader, client = bench.connect(feed, room=4096)
    bench.hub.adopt(client)
    reader.next()
    bench.happen()
    _until(lambda: client.out_bytes > 0)
    bench.hub.close(client, 1001, "restarting")
    assert reader.next()["pad"] == feed.pad
    closed = reader.next()
    assert isinstance(closed, CloseConnection)
    assert closed.code == 1001


def test_the_close_frame_survives_unread_bytes(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """A reader that goes on sending sees why it was closed; it is waited for, but not long."""
    monkeypatch.setattr(hub_module, "LINGER", 0.5)
    reader, client = bench.connect()
    bench.hub.adopt(client)
    reader.next()
    reader.send(BytesMessage(b"x"))
    for _ in range(50):
        reader.sock.sendall(b"\0" * 10_000)
    closed = reader.next()
    assert isinstance(closed, CloseConnection)
    assert closed.code == 1003
    _until(lambda: client.closed, 3)


def test_a_readers_close_is_answered(bench: Bench) -> None:
    reader, client = bench.connect()
    bench.hub.adopt(client)
    reader.next()
    reader.send(CloseConnection(1000))
    closed = reader.next()
    assert isinstance(closed, CloseConnection)
    assert closed.code == 1000
    reader.sock.close()
    _until(lambda: not bench.hub.clients)


def test_no_ping_from_the_client_for_too_long(bench: Bench) -> None:
    """90 s where the contract asks for pings (M176); here the limit is short. Protocol pongs do not count."""
    reader, client = bench.connect()
    client.app_ping_limit = 1.0
    bench.hub.adopt(client)
    reader.next()
    closed = reader.next(4)
    assert isinstance(closed, CloseConnection)
    assert (closed.code, closed.reason) == (1000, "ping timeout")


def test_half_open_connections_are_found(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing heard, not even a pong: 1011 and gone. Whoever answers pings stays."""
    monkeypatch.setattr(hub_module, "PONG_PATIENCE", 1.5)
    silent, dead = bench.connect()
    alive, good = bench.connect()
    for one in (dead, good):
        one.ping_every = 0.2
        one.next_ping = 0
        bench.hub.adopt(one)
    until = time.monotonic() + 4
    pings = 0
    while time.monotonic() < until:
        event = alive.next(0.2)
        if isinstance(event, Ping):
            pings += 1
            alive.send(event.response())
    assert pings >= 2
    assert not good.closed
    assert dead.closed
    seen = [silent.next(0.2) for _ in range(8)]
    assert any(isinstance(e, CloseConnection) and e.code == 1011 for e in seen)


def test_streams_get_a_comment_when_nothing_happens(bench: Bench) -> None:
    assert hub_module.KEEP_ALIVE == 15.0
    assert hub_module.PING_EVERY <= 30
    ours, theirs = socket.socketpair()
    client = Client("sse", ours, Feed(bench.hub), seats=[], member="")
    client.next_ping = 0
    bench.sockets.append(theirs)
    bench.hub.adopt(client)
    theirs.settimeout(3)
    got = b""
    while b"keep-alive" not in got:
        got += theirs.recv(4096)
    assert got == b'data: {"type":"hello"}\n\n: keep-alive\n\n'


def test_one_that_fails_takes_nobody_with_it(bench: Bench) -> None:
    """A join and a message that raise close that connection (1011); bells and messages of the same batch are kept."""
    bad = Feed(bench.hub)
    bad.broken = True
    reader, client = bench.connect(bad)
    good, beside = bench.connect(Feed(bench.hub, "other"))
    bench.hub.adopt(beside)
    good.next()
    hub = bench.hub
    bench.seq = 1
    hub._for_client(client, hub._join, client)  # as in the batch below, without a race
    hub._handle([("join", client), ("message", (beside, "break")), ("task", Bell("task", "t", 1, None))])
    closed = good.next()
    if not isinstance(closed, CloseConnection):
        closed = good.next()
    assert closed.code == 1011
    third, later = bench.connect(Feed(bench.hub, "third"))
    hub.adopt(later)
    assert third.next() == {"type": "hello"}
    bench.happen()
    assert third.next()["seq"] == 2
    assert reader is not None


def test_a_ping_due_on_a_closing_connection_harms_nobody(bench: Bench) -> None:
    feed = Feed(bench.hub)
    feed.pad = "x" * 200_000
    _, client = bench.connect(feed, room=4096)
    other, beside = bench.connect(Feed(bench.hub, "other"))
    for one in (client, beside):
        bench.hub.adopt(one)
    other.next()
    bench.happen()
    _until(lambda: client.out_bytes > 0)
    bench.hub.close(client, 1000)
    client.next_ping = 0
    time.sleep(1.3)  # the care of every second has seen it
    assert other.next()["seq"] == 1
    other.send(TextMessage('{"still":"here"}'))
    assert other.next() == {"still": "here"}


def test_a_lost_bell_is_made_up_for(bench: Bench) -> None:
    reader, client = bench.connect()
    bench.hub.adopt(client)
    reader.next()
    bench.happen()
    assert reader.next()["seq"] == 1
    bench.seq = 3  # and no bell
    assert [reader.next()["seq"], reader.next()["seq"]] == [2, 3]


def test_the_end_closes_after_the_last_event(bench: Bench) -> None:
    feed = Feed(bench.hub)
    reader, client = bench.connect(feed)
    bench.hub.adopt(client)
    reader.next()
    feed.over = True
    bench.happen(3)
    assert [reader.next()["seq"] for _ in range(3)] == [1, 2, 3]
    assert isinstance(reader.next(), CloseConnection)


def test_stopping_tells_everybody_to_come_back(bench: Bench) -> None:
    readers = []
    for _ in range(5):
        reader, client = bench.connect()
        bench.hub.adopt(client)
        reader.next()
        readers.append(reader)
    began = time.monotonic()
    bench.hub.stop()
    assert time.monotonic() - began < 1.5
    for reader in readers:
        closed = reader.next()
        assert isinstance(closed, CloseConnection)
        assert closed.code == 1001


def test_nothing_is_kept_of_those_who_left(bench: Bench) -> None:
    for number in range(30):
        reader, client = bench.connect(Feed(bench.hub, topic=f"task:{number}"))
        bench.hub.adopt(client)
        reader.next()
        reader.sock.close()
    _until(lambda: not bench.hub.clients and not bench.hub._topics)


def test_seats_are_freed_though_their_counter_hangs(bench: Bench) -> None:
    """The loop waits for no server: with a counter that takes half a second others are served meanwhile."""
    freed = []

    def slow(groups: list[str], member: str) -> None:
        time.sleep(0.3)
        freed.append(member)

    bench.rt.limits.free_seat = slow
    gone = []
    for number in range(5):
        reader, client = bench.connect()
        client.seats, client.member = ["total"], str(number)
        bench.hub.adopt(client)
        reader.next()
        gone.append(reader)
    other, beside = bench.connect()
    bench.hub.adopt(beside)
    other.next()
    for reader in gone:
        reader.sock.close()
    began = time.monotonic()
    other.send(TextMessage("{}"))
    assert other.next() == {}
    assert time.monotonic() - began < 0.3
    _until(lambda: sorted(freed) == list("01234"), 4)
