"""What no honest client sends (A12): each is closed with the right code, the server stays small, others notice nothing."""

from __future__ import annotations

import os
import threading
import time
import zlib
from collections.abc import Iterator
from typing import Any

import pytest

from tests.live.client import BINARY, CLOSE, PING, TEXT, WS, Refused, frame
from tests.live.conftest import CLUSTER, Person, Site

ROOM = 20 * 2**20  # bytes that abuse may cost in all


@pytest.fixture
def witness(site: Site) -> Iterator[WS]:
    """Somebody else's socket, open all the time, which must not notice."""
    person = site.person("witness")
    with person.ws("/ws/tasks/") as ws:
        assert ws.next()["type"] == "connected"
        ws.ping_json()
        before = site.rss()
        yield ws
        began = time.monotonic()
        ws.ping_json()
        assert time.monotonic() - began < 1.0
        task_id = person.start(steps=2)
        ws.expect(type="result", task_id=task_id)
        assert site.rss() - before < ROOM
        assert b"Traceback" not in site.server.log.read_bytes()


def _open(person: Person) -> WS:
    ws = person.ws("/ws/tasks/", timeout=20)
    assert ws.next()["type"] == "connected"
    return ws


def test_a_message_of_100_mb(site: Site, alice: Person, witness: WS) -> None:
    ws = _open(alice)
    peak = _peak_while(site, lambda: ws.raw(frame(TEXT, b"x" * 100_000_000)))
    assert ws.wait_closed()[0] == 1009
    assert peak < ROOM


def _peak_while(site: Site, action: Any) -> int:
    before, peak, done = site.rss(), 0, threading.Event()

    def look() -> None:
        nonlocal peak
        while not done.wait(0.02):
            peak = max(peak, site.rss() - before)

    looker = threading.Thread(target=look)
    looker.start()
    action()
    done.set()
    looker.join()
    return peak


def test_just_within_and_just_beyond_the_size(alice: Person, witness: WS) -> None:
    ws = _open(alice)
    ws.send('{"type":"ping","pad":"' + "x" * (64 * 1024 - 24) + '"}')
    assert ws.next()["type"] == "pong"
    ws.send('{"type":"ping","pad":"' + "x" * (64 * 1024) + '"}')
    assert ws.wait_closed()[0] == 1009


@pytest.mark.parametrize("piece", [b"", b"x"])
def test_a_million_fragments(site: Site, alice: Person, witness: WS, piece: bytes) -> None:
    ws = _open(alice)
    many = frame(TEXT, b'"', fin=False) + frame(0, piece, fin=False) * 1_000_000
    assert _peak_while(site, lambda: ws.raw(many)) < ROOM
    assert ws.wait_closed()[0] == 1009


def test_compression_is_offered_and_not_taken(site: Site, alice: Person, witness: WS) -> None:
    offer = {"Sec-WebSocket-Extensions": "permessage-deflate; client_max_window_bits, x-webkit-deflate-frame"}
    ws = WS(site.ws_url + "/ws/tasks/", {**alice.headers, **offer})
    assert "sec-websocket-extensions" not in ws.head.lower()
    ws.next()
    packer = zlib.compressobj(wbits=-15)
    bomb = packer.compress(b"x" * 50_000_000) + packer.flush(zlib.Z_SYNC_FLUSH)
    ws.raw(frame(TEXT, bomb[:-4], rsv1=True))
    assert ws.wait_closed()[0] == 1002


@pytest.mark.parametrize("text", [b"\xff\xfe", b"abc\xed\xa0\x80", b"\xc0\xaf", b"ok \xf0\x9f"])
def test_invalid_utf8(alice: Person, witness: WS, text: bytes) -> None:
    ws = _open(alice)
    ws.raw(frame(TEXT, text))
    assert ws.wait_closed()[0] == 1007


def test_a_character_cut_by_fragments_is_valid(alice: Person, witness: WS) -> None:
    ws = _open(alice)
    text = '{"type":"ping","x":"\U0001f600"}'.encode()
    for at in range(len(text)):
        ws.raw(frame(TEXT if at == 0 else 0, text[at : at + 1], fin=at == len(text) - 1))
    assert ws.next()["type"] == "pong"
    ws.close()


def test_binary(alice: Person, witness: WS) -> None:
    ws = _open(alice)
    ws.raw(frame(BINARY, b"\0\1\2"))
    assert ws.wait_closed()[0] == 1003


@pytest.mark.parametrize(
    "data",
    [
        frame(0x3, b"reserved opcode"), frame(0, b"continues nothing"), frame(PING, b"x" * 126),
        frame(TEXT, b"a", fin=False) + frame(TEXT, b"b"), frame(PING, fin=False), frame(CLOSE, b"\x03"),
        frame(CLOSE, (999).to_bytes(2, "big")), b"\x81\x05hello", os.urandom(4000),
    ],
    ids=["opcode", "continuation", "long ping", "interleaved", "cut ping", "short close", "bad code", "unmasked", "noise"],
)  # fmt: skip
def test_broken_frames(alice: Person, witness: WS, data: bytes) -> None:
    ws = _open(alice)
    ws.raw(data)
    ws.raw(frame(TEXT, b"{}") * 3)  # noise may look like a long frame that has begun
    if ws.next(1.0) is None and ws.closed is None:
        return ws.vanish()
    assert ws.wait_closed()[0] in (1002, 1003, 1006, 1007, 1009)
    return None


def test_10_000_messages_a_second(site: Site, alice: Person, witness: WS) -> None:
    ws = _open(alice)
    ws.raw(frame(TEXT, b'{"type":"ping"}') * 100 + frame(TEXT, b"{") * 20_000)
    code, reason = ws.wait_closed()
    assert (code, reason) == (1008, "too many messages")


def test_a_flood_of_protocol_pings(alice: Person, witness: WS) -> None:
    """Each is answered, unless nobody reads the answers: then the connection goes."""
    ws = _open(alice)
    ws.raw(frame(PING, b"p") * 200)
    answers = sum(m["type"] == "protocol pong" for m in ws.all(0.3))
    assert answers == 200
    ws.raw(frame(PING, b"x" * 125) * 300_000)  # reads nothing meanwhile
    try:
        ws.wait_closed(8)
    except AssertionError:
        ws.ping_json()
    ws.sock.close()


def test_half_open_and_half_sent(site: Site, alice: Person, witness: WS) -> None:
    """Connections that vanish, stop in the middle of a frame, or close one side only."""
    for _ in range(30):
        ws = _open(alice)
        ws.raw(frame(TEXT, b"x" * 1000)[:500])
        ws.vanish()
    half = [_open(alice) for _ in range(10)]
    for ws in half:
        ws.raw(frame(TEXT, b"x" * 60000)[:-1])
    for ws in half:
        import socket

        ws.sock.shutdown(socket.SHUT_WR)
        assert ws.wait_closed(3)[0] in (1006, 1005)
    # All of them have given their seats back.
    again = [_open(alice) for _ in range(50)]
    for ws in again:
        ws.close()


@pytest.mark.skipif(bool(CLUSTER), reason="the buffers before and behind the proxy hold all that is sent here")
def test_a_reader_that_never_reads(site: Site, alice: Person, witness: WS) -> None:
    """It is dropped with what it was owed; the task and everybody else go on."""
    ws = WS(f"{site.ws_url}/ws/tasks/", alice.headers)
    import socket

    ws.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65536)
    reader = _open(alice)
    task_id = alice.start(steps=1, burst=3000, size=1900)
    got = 0
    while (message := reader.next(20))["type"] != "result":
        got += message["type"] == "info"
    assert got == 3000, "the one who reads has all of it"
    assert alice.finished(task_id)["status"] == "completed"
    seen = ws.all(1.0)
    assert ws.closed is not None
    assert len(seen) < 3000, "dropped: never read"
    reader.close()


def test_200_sockets_at_once(site: Site, witness: WS) -> None:
    """The cap in all holds against many people; the 201st is told."""
    people = [site.person("many") for _ in range(5)]
    opened, refused = [], 0
    for person in people:
        for _ in range(50):
            try:
                ws = person.ws("/ws/tasks/")
            except Refused:  # with 429 by a proxy, which counts connections of one address
                if not CLUSTER:
                    raise
                refused += 1
                continue
            if ws.next() is None:
                assert ws.closed is not None
                assert ws.closed[0] in (1008, 1013)
                refused += 1
            else:
                opened.append(ws)
    assert len(opened) <= 200
    assert refused >= 50
    for ws in opened:
        ws.vanish()
    time.sleep(0.5)


def test_slow_requests_around_live_connections(site: Site, alice: Person) -> None:
    """Sockets hold no request thread: with 50 open ones pages answer as quickly as before."""
    opened = [_open(alice) for _ in range(49)]
    began = time.monotonic()
    for _ in range(20):
        assert alice.get("/api/v1/utils/ai-tasks/recent/").status_code == 200
    assert time.monotonic() - began < 3
    for ws in opened:
        ws.vanish()
