"""Connections kept between the fetches of one run: reuse, and every way to abuse it."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from typing import Any

import pytest

from webapp.core import http
from webapp.core.errors import BlockedAddress, TooLarge, Upstream
from webapp.core.http import OutboundPolicy, safe_fetch, safe_stream
from webapp.core.keepalive import MAX_IDLE_PER_PLACE, KeptAlive

LAN = OutboundPolicy(allow_hosts=frozenset({"127.0.0.1", "127.0.0.2"}))


class Talker:
    """Answers requests on lasting connections; `seen` holds (connection number, path) in order."""

    def __init__(self, host: str = "127.0.0.1", port: int = 0) -> None:
        self.answers: dict[str, list[bytes]] = {}
        self.seen: list[tuple[int, str]] = []
        self.connections = 0
        self.listener = socket.create_server((host, port))
        self.host, self.port = host, self.listener.getsockname()[1]
        self.ended = threading.Condition()
        self.open = 0
        threading.Thread(target=self._accept, daemon=True).start()

    def say(self, path: str, *answers: bytes) -> str:
        self.answers[path] = list(answers)
        return f"http://{self.host}:{self.port}{path}"

    def _accept(self) -> None:
        while True:
            try:
                conn, _ = self.listener.accept()
            except OSError:
                return
            self.connections += 1
            self.open += 1
            threading.Thread(target=self._talk, args=(conn, self.connections), daemon=True).start()

    def _talk(self, conn: socket.socket, number: int) -> None:
        with conn, conn.makefile("rb") as reader:
            try:
                while first := reader.readline():
                    path = first.split()[1].decode()
                    while reader.readline().strip():
                        pass
                    self.seen.append((number, path))
                    answers = self.answers[path]
                    answer = answers.pop(0) if len(answers) > 1 else answers[0]
                    conn.sendall(answer)
                    if b"HANGUP" in answer[:200] or not answer:
                        break
            except OSError:
                pass
        with self.ended:
            self.open -= 1
            self.ended.notify_all()

    def idle(self) -> bool:
        with self.ended:
            return self.ended.wait_for(lambda: self.open == 0, 5)

    def close(self) -> None:
        self.listener.close()


def page(body: bytes = b"hello", status: str = "200 OK", *headers: str) -> bytes:
    head = "".join(f"{line}\r\n" for line in (f"Content-Length: {len(body)}", *headers))
    return f"HTTP/1.1 {status}\r\n{head}\r\n".encode() + body


@pytest.fixture
def talker() -> Iterator[Talker]:
    made = Talker()
    yield made
    made.close()


@pytest.fixture
def keep() -> Iterator[KeptAlive]:
    with KeptAlive() as made:
        yield made


def get(url: str, keep: KeptAlive, **options: Any) -> http.Fetched:
    return safe_fetch(url, **{"policy": LAN, "timeout": 5, "keep": keep, **options})


def test_one_connection_serves_many_pages(talker: Talker, keep: KeptAlive) -> None:
    plain, chunked = talker.say("/a", page()), talker.say("/b", b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
                                                          b"5\r\nhello\r\n0\r\n\r\n")  # fmt: skip
    empty, unchanged = talker.say("/c", page(b"")), talker.say("/d", b"HTTP/1.1 304 Not Modified\r\nETag: x\r\n\r\n")
    for url in (plain, chunked, empty, unchanged, plain):
        get(url, keep)
    assert talker.connections == 1
    assert [path for _, path in talker.seen] == ["/a", "/b", "/c", "/d", "/a"]


def test_without_a_keeper_each_fetch_has_its_own(talker: Talker) -> None:
    url = talker.say("/a", page(b"hello", "200 OK", "X: HANGUP"))
    for _ in range(3):
        safe_fetch(url, policy=LAN)
    assert talker.connections == 3


def test_a_redirect_on_the_same_host_reuses_it(talker: Talker, keep: KeptAlive) -> None:
    talker.say("/new", page(b"there"))
    old = talker.say("/old", page(b"moved", "302 Found", "Location: /new"))
    assert get(old, keep).body == b"there"
    assert talker.connections == 1


def test_bytes_behind_an_answer_are_no_answer(talker: Talker, keep: KeptAlive) -> None:
    """A server (or one in between) that slips a second answer in must not speak for the next address."""
    poisoned = talker.say("/a", page() + page(b"smuggled"))
    clean = talker.say("/b", page(b"mine"))
    assert get(poisoned, keep).body == b"hello"
    assert get(clean, keep).body == b"mine"
    assert talker.connections == 2


def test_late_bytes_are_no_answer_either(talker: Talker, keep: KeptAlive) -> None:
    url = talker.say("/a", page())
    get(url, keep)
    (connection,) = (one for waiting in keep._idle.values() for _, one in waiting)
    peer_sees = connection.sock._sock
    assert connection.is_quiet()
    # What an attacker would send while the connection waits: here by the test through the server's own socket.
    left, right = socket.socketpair()
    with left, right:
        connection.sock._sock = left
        right.sendall(page(b"smuggled"))
        assert not connection.is_quiet()
        connection.sock._sock = peer_sees


def test_a_connection_the_server_closed_is_replaced(talker: Talker, keep: KeptAlive) -> None:
    url = talker.say("/a", page(b"hello", "200 OK", "X: HANGUP"))
    for _ in range(3):
        assert get(url, keep).body == b"hello"
        assert talker.idle()
    assert talker.connections == 3


def test_hanging_up_instead_of_answering_is_tried_once_more(talker: Talker, keep: KeptAlive) -> None:
    first, second = talker.say("/a", page()), talker.say("/b", b"", page(b"at last"))
    get(first, keep)
    assert get(second, keep).body == b"at last"
    assert [number for number, _ in talker.seen] == [1, 1, 2]


def test_a_fresh_connection_that_fails_is_an_error(talker: Talker, keep: KeptAlive) -> None:
    url = talker.say("/b", b"")
    with pytest.raises(Upstream):
        get(url, keep)
    assert talker.connections == 1


def test_a_post_is_never_sent_twice(talker: Talker, keep: KeptAlive) -> None:
    get(talker.say("/a", page()), keep)
    url = talker.say("/post", b"")
    with pytest.raises(Upstream):
        get(url, keep, method="POST", body=b"x=1")
    assert [path for _, path in talker.seen].count("/post") == 1


@pytest.mark.parametrize(
    "answer", [page(b"hello", "200 OK", "Connection: close"), b"HTTP/1.0 200 OK\r\n\r\nuntil HANGUP"]
)
def test_what_ends_with_the_connection_is_not_kept(talker: Talker, keep: KeptAlive, answer: bytes) -> None:
    get(talker.say("/a", answer if b"HANGUP" in answer else answer), keep)
    assert not any(keep._idle.values())


def test_a_body_left_unread_closes_it(talker: Talker, keep: KeptAlive) -> None:
    url = talker.say("/a", page(b"x" * 200_000))
    with safe_stream(url, policy=LAN, keep=keep) as answer:
        next(iter(answer.pieces()))
    assert get(url, keep, max_bytes=1000, on_too_large="truncate").truncated
    with pytest.raises(TooLarge):
        get(url, keep, max_bytes=1000)
    assert not any(keep._idle.values())
    assert talker.idle()


def test_limits_start_anew_with_each_fetch(talker: Talker, keep: KeptAlive) -> None:
    wide = page(b"x", "200 OK", *(f"X-{n}: {'y' * 1000}" for n in range(40)))
    url = talker.say("/a", wide)
    for _ in range(4):  # 160 kB of headers in all, 40 kB each
        assert get(url, keep).status == 200
    assert talker.connections == 1
    too_wide = talker.say("/b", page(b"x", "200 OK", *(f"X-{n}: {'y' * 1000}" for n in range(80))))
    with pytest.raises(Upstream, match="headers"):
        get(too_wide, keep)
    assert talker.connections == 1


def test_the_clock_starts_anew_and_still_ends_a_drip(talker: Talker, keep: KeptAlive) -> None:
    get(talker.say("/a", page()), keep, timeout=5)
    stalled = talker.say("/b", b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nfew")
    with pytest.raises(Upstream, match="within") as error:
        get(stalled, keep, timeout=0.5)
    assert error.value.code == "timeout"
    assert talker.idle()


def test_every_fetch_is_judged_though_a_connection_waits(talker: Talker, keep: KeptAlive) -> None:
    url = talker.say("/a", page())
    get(url, keep)
    with pytest.raises(BlockedAddress):
        get(url, keep, policy=OutboundPolicy())
    assert len(talker.seen) == 1


def test_a_name_that_moves_gets_a_connection_to_where_it_is(keep: KeptAlive) -> None:
    """DNS rebinding: the waiting connection is used only while its address is among those just judged."""
    here = Talker("127.0.0.1")
    there = Talker("127.0.0.2", here.port)
    here.say("/", page(b"here")), there.say("/", page(b"there"))
    answers = [["127.0.0.1"], ["127.0.0.1"], ["127.0.0.2"], ["169.254.169.254"]]
    policy = OutboundPolicy(allow_hosts=frozenset({"a.example"}), resolver=lambda host, port: answers.pop(0))
    url = f"http://a.example:{here.port}/"
    assert [get(url, keep, policy=policy).body for _ in range(3)] == [b"here", b"here", b"there"]
    assert (here.connections, there.connections) == (1, 1)
    with pytest.raises(BlockedAddress):
        get(url, keep, policy=policy)
    here.close(), there.close()


def test_another_name_never_shares_a_connection(talker: Talker, keep: KeptAlive) -> None:
    talker.say("/", page())
    policy = OutboundPolicy(
        allow_hosts=frozenset({"a.example", "b.example"}), resolver=lambda host, port: ["127.0.0.1"]
    )
    for name in ("a", "b", "a"):
        get(f"http://{name}.example:{talker.port}/", keep, policy=policy)
    assert [number for number, _ in talker.seen] == [1, 2, 1]


def test_closing_ends_all_that_wait_and_keeps_no_more(talker: Talker) -> None:
    keep = KeptAlive()
    url = talker.say("/a", page())
    get(url, keep)
    keep.close()
    assert talker.idle()
    get(url, keep)
    assert talker.idle()


def test_only_so_many_wait(talker: Talker, keep: KeptAlive) -> None:
    url = talker.say("/a", page())
    streams = [safe_stream(url, policy=LAN, keep=keep) for _ in range(MAX_IDLE_PER_PLACE + 4)]
    opened = [stream.__enter__() for stream in streams]
    for stream, answer in zip(streams, opened, strict=True):
        list(answer.pieces())
        stream.__exit__(None, None, None)
    assert sum(map(len, keep._idle.values())) == MAX_IDLE_PER_PLACE
