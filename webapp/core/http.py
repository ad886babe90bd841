"""The one way out: every outbound HTTP request of the project goes through `safe_fetch` (rules 19 and 20).

    page = safe_fetch(url, policy=policy, expected=("text/html",))
    with safe_stream(url, policy=policy, method="POST", body=prompt, timeout=600) as answer:
        for piece in answer.pieces(): ...

What holds for each request: `webapp.core.addresses` judged the URL and its addresses; the connection goes to
exactly such an address while Host, SNI and certificate check use the name; no proxies, cookies or netrc from
the environment; redirects are followed here, each hop judged anew; one deadline covers everything; headers,
body and decompression are capped. Errors are those of `webapp.core.errors`; a status of 4xx or 5xx is an
answer, not an error.

Each hop uses a connection of its own and closes it: nothing is shared between fetches, so nothing leaks
from one into the next. A run of many fetches (a crawl) may bring a `KeptAlive`: then a connection whose answer
was read to its end waits there for the next request to the same origin and address, and every fetch is still
judged as if it were the first. `requests` is imported at the first fetch, not with this module.
"""

from __future__ import annotations

import functools
import io
import re
import socket
import time
import zlib
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Literal
from urllib.parse import quote, urljoin

from webapp.core.addresses import UNSAFE, OutboundPolicy, Target, check_url
from webapp.core.errors import (
    BadRequest,
    BlockedAddress,
    TaskCancelled,
    TooLarge,
    UnsupportedMedia,
    Upstream,
)

if TYPE_CHECKING:
    import ssl

    import requests

    from webapp.core.keepalive import KeptAlive

__all__ = ["Fetched", "OutboundPolicy", "Stream", "Target", "check_url", "safe_fetch", "safe_stream"]

USER_AGENT = "Brainstem"
MAX_BYTES = 10 * 2**20
MAX_HEADER_BYTES = 64 * 2**10
MAX_RATIO, RATIO_FROM = 100, 2**20  # decoded : wire, looked at once this much is decoded
PIECE = 64 * 2**10
POLL = 0.25  # seconds between two looks at `cancelled` while the other side is silent
ADDRESS_TIMEOUT = 5.0  # seconds for one of several addresses to accept
DRAIN = 32 * 2**10  # a redirect's body up to this is read for the sake of its connection
REDIRECTS = frozenset({301, 302, 303, 307, 308})
METHODS = frozenset({"GET", "HEAD", "OPTIONS", "POST", "PUT", "PATCH", "DELETE"})
# Framing and connection are ours: two opinions about a length are how requests get smuggled.
OWN_HEADERS = frozenset(
    {"host", "content-length", "transfer-encoding", "te", "trailer", "expect", "accept-encoding"}
    | {"connection", "keep-alive", "upgrade", "proxy-authorization", "proxy-connection"}
)
# All that follows a redirect to another origin; anything else may be a credential under a name of its own.
HARMLESS_HEADERS = frozenset(
    {"accept", "accept-language", "content-type", "user-agent"} | {"if-modified-since", "if-none-match", "range"}
)


@dataclass(frozen=True)
class Fetched:
    """An answer read to its end, or to `max_bytes` (`truncated`). `headers` ignores case."""

    url: str  # of the last hop, without fragment
    status: int
    headers: Mapping[str, str]
    body: bytes  # decompressed
    content_type: str  # "text/html": lower case, no parameters, "" if absent
    charset: str | None  # as declared, lower case
    truncated: bool
    redirects: tuple[str, ...]  # the URLs that redirected, oldest first
    elapsed_ms: int


def safe_fetch(
    url: str,
    *,
    policy: OutboundPolicy,
    method: str = "GET",
    headers: Mapping[str, str] | None = None,
    body: bytes | None = None,
    timeout: float = 30.0,
    max_bytes: int = MAX_BYTES,
    on_too_large: Literal["fail", "truncate"] = "fail",
    max_redirects: int = 5,
    user_agent: str = USER_AGENT,
    cancelled: Callable[[], bool] = lambda: False,
    expected: str | Collection[str] | None = None,
    keep: KeptAlive | None = None,
) -> Fetched:
    """Fetch `url` within `timeout` seconds, all hops, headers and body included.

    max_bytes: of the decompressed body; beyond it `on_too_large` decides.
    max_redirects: 0 returns a 3xx as it is.
    cancelled: looked at before each hop, with each piece of the answer, and every 0.25 s of silence.
    expected: content types ("text/html") or families ("text/") wanted of a 2xx answer; another one is
      refused before its body is read. An answer that declares none passes.
    keep: where connections of the same run wait between its fetches.
    Raises BlockedAddress, BadRequest (before any connection, or at the redirect that earned it), Upstream
    (`retryable` says if it may pass), TooLarge, UnsupportedMedia, TaskCancelled.
    """
    started = time.monotonic()
    with safe_stream(
        url,
        policy=policy,
        method=method,
        headers=headers,
        body=body,
        timeout=timeout,
        max_bytes=max_bytes,
        on_too_large=on_too_large,
        max_redirects=max_redirects,
        user_agent=user_agent,
        cancelled=cancelled,
        expected=expected,
        keep=keep,
    ) as answer:
        content = b"".join(answer.pieces())
    return Fetched(
        url=answer.url,
        status=answer.status,
        headers=answer.headers,
        body=content,
        content_type=answer.content_type,
        charset=answer.charset,
        truncated=answer.truncated,
        redirects=answer.redirects,
        elapsed_ms=round((time.monotonic() - started) * 1000),
    )


@contextmanager
def safe_stream(
    url: str,
    *,
    policy: OutboundPolicy,
    method: str = "GET",
    headers: Mapping[str, str] | None = None,
    body: bytes | None = None,
    timeout: float = 30.0,
    max_bytes: int = MAX_BYTES,
    on_too_large: Literal["fail", "truncate"] = "fail",
    max_redirects: int = 5,
    user_agent: str = USER_AGENT,
    cancelled: Callable[[], bool] = lambda: False,
    expected: str | Collection[str] | None = None,
    keep: KeptAlive | None = None,
) -> Iterator[Stream]:
    """`safe_fetch` for those who read as it arrives (server-sent events). Leaving the block hangs up."""
    call = _Call(*_clean_request(method, headers, body, user_agent))
    clock = _Clock(timeout, cancelled)
    target = check_url(url, policy, timeout=clock.remaining())
    hops: list[tuple[Target, str]] = []
    while True:
        clock.check()
        wire_limit = 8 * max_bytes + MAX_HEADER_BYTES
        exchange = (
            _exchange(call, target, clock, wire_limit)
            if keep is None
            else (_exchange_kept(call, target, clock, wire_limit, keep))
        )
        with exchange as response:
            location = response.headers.get("location")
            if not (response.status_code in REDIRECTS and location and max_redirects):
                answer = Stream(response, call, target, clock, max_bytes, on_too_large)
                answer.redirects = tuple(hop.url for hop, _ in hops)
                answer.check_type(expected)
                yield answer
                return
            status = response.status_code
        if len(hops) == max_redirects:
            raise Upstream("Too many redirects.", code="too_many_redirects", retryable=False)
        hops.append((target, call.method))
        call, target = _next_hop(call, target, status, location, policy, clock)
        if any(target.url == past.url and call.method == method for past, method in hops):
            raise Upstream("The redirects run in a circle.", code="redirect_loop", retryable=False)


# -- the request -----------------------------------------------------------------------------------------

_TOKEN = re.compile(r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")
_VALUE = re.compile(r"[^\x00-\x08\x0a-\x1f\x7f]*")


@dataclass(frozen=True)
class _Call:
    method: str
    headers: dict[str, str]
    body: bytes | None


def _clean_request(
    method: str, headers: Mapping[str, str] | None, body: bytes | None, user_agent: str
) -> tuple[str, dict[str, str], bytes | None]:
    """Refuses what could end a header line early or change the framing (BadRequest)."""
    if body is not None and not isinstance(body, bytes):
        raise TypeError("body must be bytes")  # requests would encode or stream others its own way
    if method.upper() not in METHODS:
        raise BadRequest("That HTTP method is not supported.")
    fields = {"User-Agent": user_agent, "Accept": "*/*"}
    for name, value in (headers or {}).items():
        if not _TOKEN.fullmatch(name):
            raise BadRequest("A header name has characters that are not allowed.")
        if name.lower() in OWN_HEADERS:
            raise BadRequest(f"The header {name} is set by the sender itself.")
        fields = {key: old for key, old in fields.items() if key.lower() != name.lower()}
        fields[name] = value.strip(" \t")
    for name, value in fields.items():
        if not _VALUE.fullmatch(value) or not _is_latin1(value):
            raise BadRequest(f"The value of the header {name} has characters that are not allowed.")
    return method.upper(), fields, body


def _is_latin1(text: str) -> bool:
    return all(ord(char) < 256 for char in text)


def _next_hop(
    call: _Call, here: Target, status: int, location: str, policy: OutboundPolicy, clock: _Clock
) -> tuple[_Call, Target]:
    """Where a redirect leads, judged like any other URL (RFC 9110 15.4)."""
    there = _judge_redirect(_absolute(here.url, location), policy, clock)
    if here.scheme == "https" and there.scheme == "http":
        raise BlockedAddress("A redirect from https to http was refused.")
    if there.private and not here.private:
        # The operator trusts the person who names a private host, not every page of the web.
        raise BlockedAddress("A redirect from a public to a private address was refused.")
    if (status == 303 and call.method != "HEAD") or (status in (301, 302) and call.method == "POST"):
        kept = {k: v for k, v in call.headers.items() if not k.lower().startswith("content-")}
        call = _Call("GET", kept, None)
    if not _same_owner(here, there):
        kept = {k: v for k, v in call.headers.items() if k.lower() in HARMLESS_HEADERS}
        call = replace(call, headers=kept)
    return call, there


def _judge_redirect(url: str, policy: OutboundPolicy, clock: _Clock) -> Target:
    """As `check_url`, but says that it was the redirect, and blames the server for a URL that is none."""
    try:
        return check_url(url, policy, timeout=clock.remaining())
    except BlockedAddress as error:
        reason = f"A redirect was refused. {error.message}"
        raise BlockedAddress(reason, suggestion=error.suggestion) from error
    except BadRequest as error:
        raise Upstream(f"A redirect is broken. {error.message}", code="malformed", retryable=False) from error


def _absolute(base: str, location: str) -> str:
    """http.client read the header as latin-1; servers send UTF-8, and now and then a bare space."""
    try:
        location = location.encode("latin-1").decode("utf-8")
    except UnicodeError:
        location = quote(location, safe="".join(map(chr, range(0x20, 0x7F))), encoding="latin-1")
    location = location.strip(" ").replace(" ", "%20")
    if UNSAFE.search(location):  # before urljoin, which silently drops tabs and line ends
        raise BlockedAddress("The redirect contains control characters or a backslash.")
    try:
        return urljoin(base, location)
    except ValueError as error:  # it minds brackets that do not match
        raise Upstream("A redirect is broken.", code="malformed", retryable=False) from error


def _same_owner(here: Target, there: Target) -> bool:
    upgraded = (here.scheme, here.port, there.scheme, there.port) == ("http", 80, "https", 443)
    return here.host == there.host and (here.origin == there.origin or upgraded)


# -- the exchange ----------------------------------------------------------------------------------------


@contextmanager
def _exchange(call: _Call, target: Target, clock: _Clock, wire_limit: int) -> Iterator[requests.Response | _Answer]:
    """One request on one connection, closed at the end whatever happens."""
    adapter = _adapter_class()(target, clock, wire_limit)
    with closing(adapter):
        with _translated(target.host):
            response = adapter.send(_prepared(call, target), stream=True)
        with closing(response):
            yield response


@contextmanager
def _exchange_kept(call: _Call, target: Target, clock: _Clock, wire_limit: int, keep: KeptAlive) -> Iterator[_Answer]:
    """One request on a connection that may have served this run before, or may serve it again.

    A server may close a waiting connection at any moment; then the request is sent once more on a new one, if that
    is harmless (RFC 9110 9.2.2).
    """
    place = (*target.origin, target.private)
    harmless = call.method in ("GET", "HEAD", "OPTIONS")
    connection = keep.take(place, target.addresses) if harmless else None
    used = connection is not None
    while True:
        connection = connection or _connection(target, clock, wire_limit)
        connection.begin(clock, wire_limit)
        try:
            with _translated(target.host):
                answer = _Answer(_asked(connection, call, target))
            break
        except BaseException as error:
            connection.close()
            if not (used and isinstance(error, Upstream) and error.code == "connection"):
                raise
            connection, used = None, False
    whole = False
    try:
        yield answer
        whole = answer.finish()
    finally:
        answer.raw.close()
        if whole and connection.sock is not None:
            connection.rest()
            keep.give(place, connection)
        else:
            connection.close()


def _connection(target: Target, clock: _Clock, wire_limit: int) -> Any:
    plain, secure = _connection_classes()
    if target.scheme == "https":
        return secure(target, clock, wire_limit, host=target.host, port=target.port, ssl_context=_tls_context())
    return plain(target, clock, wire_limit, host=target.host, port=target.port)


def _asked(connection: Any, call: _Call, target: Target) -> Any:
    own = {"Host": target.authority, "Accept-Encoding": "gzip, deflate"}
    connection.request(call.method, target.path, body=call.body, headers=call.headers | own,
                       preload_content=False, decode_content=False)  # fmt: skip
    return connection.getresponse()


class _Answer:
    """What `Stream` needs of an answer, without requests around it."""

    def __init__(self, raw: Any) -> None:
        self.raw = raw
        self.status_code: int = raw.status
        self.headers: Mapping[str, str] = raw.headers

    def finish(self) -> bool:
        """True when the answer was read to its end and nothing came behind it."""
        original = self.raw._original_response
        if original.isclosed() is False and original.length is not None and original.length <= DRAIN:
            with suppress(Exception):  # what is wrong with a body nobody asked for only costs the connection
                self.raw.read()
        if original.isclosed() is False and original.length == 0:
            original.close()
        return original.isclosed() and not original.will_close and not original.leftover


def _prepared(call: _Call, target: Target) -> requests.PreparedRequest:
    """Without a Session: no environment, no netrc, no cookie jar, no redirects by requests."""
    import requests

    own = {"Host": target.authority, "Accept-Encoding": "gzip, deflate", "Connection": "close"}
    return requests.Request(call.method, target.url, headers=call.headers | own, data=call.body).prepare()


@functools.cache
def _adapter_class() -> Any:
    """Requests' transport, except that it can reach nothing but the one judged target."""
    from requests.adapters import HTTPAdapter

    class Adapter(HTTPAdapter):
        def __init__(self, target: Target, clock: _Clock, wire_limit: int) -> None:
            super().__init__(pool_connections=1, pool_maxsize=1)
            self.target = target
            self.pool = _pool(target, clock, wire_limit)

        def get_connection_with_tls_context(self, *args: Any, **kwargs: Any) -> Any:
            return self.pool

        def cert_verify(self, *args: Any, **kwargs: Any) -> None:
            """Nothing to set: the pool's TLS context always verifies."""

        def request_url(self, *args: Any, **kwargs: Any) -> str:
            return self.target.path  # as judged, not as a second parser reads it

        def close(self) -> None:
            self.pool.close()
            super().close()

    return Adapter


def _pool(target: Target, clock: _Clock, wire_limit: int) -> Any:
    """A pool of one connection. It carries the host's name, so SNI and certificate check use that; only
    `_new_conn` knows the address."""
    from urllib3 import HTTPConnectionPool, HTTPSConnectionPool

    plain, secure = _connection_classes()
    pool: Any
    if target.scheme == "https":
        pool = HTTPSConnectionPool(target.host, target.port, ssl_context=_tls_context())
    else:
        pool = HTTPConnectionPool(target.host, target.port)
    kind = secure if target.scheme == "https" else plain
    pool.ConnectionCls = functools.partial(kind, target, clock, wire_limit)
    return pool


@functools.cache
def _tls_context() -> ssl.SSLContext:
    """The system's certificates (so an operator's own authority and SSL_CERT_FILE work) and certifi's.
    Made once: loading them takes longer than a fetch."""
    import ssl

    import certifi

    context = ssl.create_default_context()
    context.load_verify_locations(certifi.where())
    context.set_alpn_protocols(["http/1.1"])
    return context


@functools.cache
def _connection_classes() -> tuple[Any, Any]:
    from http.client import HTTPResponse

    from urllib3.connection import HTTPConnection, HTTPSConnection

    class FinalResponse(HTTPResponse):
        def begin(self) -> None:
            """Skips every 1xx: http.client skips 100 only and takes a 103 for the answer (RFC 9110 15.2).
            The header budget of the socket ends an endless row of them."""
            super().begin()
            while 100 <= self.status < 200:
                self.headers = self.msg = None  # type: ignore[assignment]
                super().begin()

        leftover = False

        def _close_conn(self) -> None:
            """Bytes behind the end of this answer would be taken for the beginning of the next."""
            if self.fp is not None and not self.fp.closed:
                buffered: Any = self.fp
                buffered.raw.dry = True
                self.leftover = bool(buffered.peek(1))
            super()._close_conn()  # type: ignore[misc]

    class Pinned:
        response_class = FinalResponse
        sock: Any

        def __init__(self, target: Target, clock: _Clock, wire_limit: int, **kwargs: Any) -> None:
            super().__init__(**kwargs)
            self.target, self.clock, self.wire_limit = target, clock, wire_limit

        def _new_conn(self) -> socket.socket:
            return _connect(self.target, self.clock)

        def connect(self) -> None:
            super().connect()  # type: ignore[misc]
            self.address = self.sock.getpeername()[0]
            self.sock = _GuardedSocket(self.sock, self.clock)

        def begin(self, clock: _Clock, wire_limit: int) -> None:
            """For the next request: its own deadline and its own limits."""
            self.clock, self.wire_limit = clock, wire_limit
            if self.sock is not None:
                self.sock._clock = clock

        def rest(self) -> None:
            self.sock.allow(0, _headers_too_large)

        def is_quiet(self) -> bool:
            """Nothing has come since the last answer: neither its end nor bytes nobody asked for."""
            from urllib3.util.wait import wait_for_read

            plain = self.sock._sock
            return not (getattr(plain, "pending", int)() or wait_for_read(plain, 0))

        def getresponse(self) -> Any:
            guard = self.sock  # gone from here once the answer says "close"
            guard.allow(MAX_HEADER_BYTES, _headers_too_large)
            response = super().getresponse()  # type: ignore[misc]
            guard.allow(self.wire_limit, _body_too_large)
            return response

    return (
        type("PinnedHTTP", (Pinned, HTTPConnection), {}),
        type("PinnedHTTPS", (Pinned, HTTPSConnection), {}),
    )


def _headers_too_large() -> Upstream:
    message = f"The server sent more than {MAX_HEADER_BYTES // 1024} kB of headers."
    return Upstream(message, code="headers_too_large", retryable=False)


def _body_too_large() -> TooLarge:
    return TooLarge("The server sent more than was allowed.")


# -- time ------------------------------------------------------------------------------------------------


class _Clock:
    """One deadline and one cancel switch for a whole fetch."""

    def __init__(self, timeout: float, cancelled: Callable[[], bool]) -> None:
        self.timeout = timeout
        self.at = time.monotonic() + timeout
        self.cancelled = cancelled

    def remaining(self) -> float:
        """Seconds left, above zero. Raises Upstream at the deadline."""
        left = self.at - time.monotonic()
        if left <= 0:
            raise self.late()
        return left

    def late(self) -> Upstream:
        return Upstream(f"No complete answer within {self.timeout:g} s.", code="timeout", retryable=True)

    def check(self) -> None:
        if self.cancelled():
            raise TaskCancelled
        self.remaining()


def _connect(target: Target, clock: _Clock) -> socket.socket:
    """To the first checked address that accepts; a dead one must not use up the time of the next."""
    for left in range(len(target.addresses), 0, -1):
        clock.check()
        seconds = clock.remaining() if left == 1 else min(ADDRESS_TIMEOUT, clock.remaining() / left)
        try:
            sock = _dial(target.addresses[-left], target.port, seconds)
        except OSError as error:
            failure = error
        else:
            # For the TLS handshake: Python bounds it as a whole, not per packet.
            sock.settimeout(max(0.001, clock.at - time.monotonic()))
            return sock
    clock.remaining()
    raise Upstream(f"{target.host} cannot be reached.", code="unreachable", retryable=True) from failure


def _dial(address: str, port: int, seconds: float) -> socket.socket:
    """The only line of the project that opens an outgoing HTTP connection. `address` is never a name."""
    sock = socket.create_connection((address, port), timeout=seconds)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return sock


class _GuardedSocket:
    """A connected socket, plain or TLS, that obeys the clock and counts what it receives.

    A timeout per operation lets a server that drips bytes go on for ever, so each single receive waits only
    for what is left of the whole fetch, in slices of POLL so that a cancel is seen in silence too.
    """

    def __init__(self, sock: socket.socket, clock: _Clock) -> None:
        self._sock = sock
        self._clock = clock
        self.allow(0, _headers_too_large)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._sock, name)

    def allow(self, budget: int, error: Callable[[], Exception]) -> None:
        """How many bytes may come from now on, and what to raise beyond. http.client reads through a buffer
        and asks for more only when that is empty, so an exhausted budget means they were all headers."""
        self._budget, self._error = budget, error

    def settimeout(self, seconds: float | None) -> None:
        """Not for others to set."""

    def sendall(self, data: bytes) -> None:
        view = memoryview(data)
        while view:
            self._clock.check()
            self._sock.settimeout(self._clock.remaining())
            view = view[self._sock.send(view[:PIECE]) :]

    def recv_into(self, buffer: Any) -> int:
        if self._budget <= 0:
            raise self._error()
        while True:
            self._clock.check()
            self._sock.settimeout(min(POLL, self._clock.remaining()))
            try:
                count = self._sock.recv_into(buffer)
            except TimeoutError:
                continue
            self._budget -= count
            return count

    def makefile(self, mode: str, *args: Any, **kwargs: Any) -> io.BufferedReader:
        return io.BufferedReader(_Reader(self))


class _Reader(io.RawIOBase):
    def __init__(self, guard: _GuardedSocket) -> None:
        self._guard = guard
        # Held only for its count in the socket's books: http.client closes the socket while the answer is
        # still being read, and the socket waits for its files.
        self._hold = guard._sock.makefile("rb", buffering=0)
        self.dry = False  # only what is in the buffer already may still be read

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int | None:
        return None if self.dry else self._guard.recv_into(buffer)

    def close(self) -> None:
        self._hold.close()
        super().close()


# -- the answer ------------------------------------------------------------------------------------------


class Stream:
    """An answer whose headers are here and whose body is still coming."""

    def __init__(
        self,
        response: requests.Response | _Answer,
        call: _Call,
        target: Target,
        clock: _Clock,
        max_bytes: int,
        on_too_large: Literal["fail", "truncate"],
    ) -> None:
        self.url = target.url
        self.status = response.status_code
        self.headers: Mapping[str, str] = response.headers
        self.content_type, self.charset = _media_type(response.headers.get("content-type", ""))
        self.redirects: tuple[str, ...] = ()
        self.truncated = False
        self._raw = response.raw
        self._host = target.host
        self._clock = clock
        self._max_bytes = max_bytes
        self._fail = on_too_large == "fail"
        self._no_body = call.method == "HEAD" or self.status in (204, 304)

    def check_type(self, expected: str | Collection[str] | None) -> None:
        """Raises UnsupportedMedia; an error page of another type is not what it is about."""
        if not expected or not self.content_type or not 200 <= self.status < 300:
            return
        wanted = (expected,) if isinstance(expected, str) else expected
        families = tuple(kind for kind in wanted if kind.endswith("/"))
        if self.content_type not in wanted and not self.content_type.startswith(families):
            raise UnsupportedMedia(f"The server answered with {self.content_type}.")

    def pieces(self) -> Iterator[bytes]:
        """The decompressed body as it arrives, never more than `max_bytes` in all."""
        if self._no_body:
            return
        unpacker = _unpacker(self.headers.get("content-encoding", ""))
        self._refuse_early(unpacker)
        total = wire = 0
        for packed in self._wire_pieces():
            wire += len(packed)
            for piece in unpacker.feed(packed):
                self._clock.check()
                total += len(piece)
                _check_ratio(total, wire)
                if total > self._max_bytes:
                    yield self._cut(piece, total)
                    return
                yield piece
        if not unpacker.whole:
            raise _broken_off(self._host)

    def _refuse_early(self, unpacker: _Plain | _Inflate) -> None:
        """A declared length says something about the body only where nothing is packed."""
        length = self.headers.get("content-length", "")
        declared = int(length) if re.fullmatch("[0-9]{1,18}", length) else 0
        if self._fail and isinstance(unpacker, _Plain) and declared > self._max_bytes:
            raise self._too_large()

    def _wire_pieces(self) -> Iterator[bytes]:
        with _translated(self._host):
            if self._raw.chunked:
                yield from self._raw.read_chunked(PIECE, decode_content=False)
                return
            while piece := self._raw.read1(PIECE, decode_content=False):
                yield piece

    def _cut(self, piece: bytes, total: int) -> bytes:
        if self._fail:
            raise self._too_large()
        self.truncated = True
        return piece[: len(piece) - (total - self._max_bytes)]

    def _too_large(self) -> TooLarge:
        return TooLarge(f"The answer is larger than {self._max_bytes} bytes.")


def _media_type(header: str) -> tuple[str, str | None]:
    """("text/html", "utf-8") of `Text/HTML; charset="UTF-8"`."""
    kind, *parameters = header.split(";")
    for parameter in parameters:
        name, _, value = parameter.partition("=")
        if name.strip().lower() == "charset":
            return kind.strip().lower(), value.strip(" \t\"'").lower() or None
    return kind.strip().lower(), None


def _check_ratio(total: int, wire: int) -> None:
    if total > RATIO_FROM and total > wire * MAX_RATIO:
        raise TooLarge("The answer unpacks to more than a hundred times its size.", code="decompression_bomb")


def _unpacker(encoding: str) -> _Plain | _Inflate:
    """gzip and deflate only: others were not asked for, and chains of them serve bombs."""
    match encoding.strip().lower():
        case "" | "identity":
            return _Plain()
        case "gzip" | "x-gzip":
            return _Inflate(gzip=True)
        case "deflate":
            return _Inflate(gzip=False)
    raise Upstream("The server used a compression that was not asked for.", code="encoding", retryable=False)


class _Plain:
    whole = True

    def feed(self, data: bytes) -> Iterable[bytes]:
        return (data,)


class _Inflate:
    """Unpacks in pieces of at most PIECE bytes, so that a bomb is seen before it is in memory."""

    def __init__(self, *, gzip: bool) -> None:
        self._gzip = gzip
        self._head = b""
        self._zlib: Any = None

    @property
    def whole(self) -> bool:
        return self._zlib is None or self._zlib.eof

    def feed(self, data: bytes) -> Iterator[bytes]:
        while data := self._begin(data):
            try:
                piece = self._zlib.decompress(data, PIECE)
            except zlib.error as error:
                message = "The server's compression is damaged."
                raise Upstream(message, code="encoding", retryable=False) from error
            data = self._zlib.unconsumed_tail or self._zlib.unused_data
            if piece:
                yield piece

    def _begin(self, data: bytes) -> bytes:
        """Makes sure a decompressor is there for `data`; nothing is returned while there is none to be had."""
        if self._zlib is not None and not self._zlib.eof:
            return data
        data, self._head = self._head + data, b""
        if len(data) < 2:
            self._head = data
            return b""
        if self._gzip:
            if self._zlib is not None and not data.startswith(b"\x1f\x8b"):
                return b""  # padding behind the last gzip member
            self._zlib = zlib.decompressobj(16 + zlib.MAX_WBITS)
            return data
        if self._zlib is not None:
            return b""
        # "deflate" without the zlib header: common, though RFC 9110 8.4.1.2 forbids it.
        zlib_header = data[0] & 15 == zlib.DEFLATED and int.from_bytes(data[:2], "big") % 31 == 0
        self._zlib = zlib.decompressobj(zlib.MAX_WBITS if zlib_header else -zlib.MAX_WBITS)
        return data


# -- errors ----------------------------------------------------------------------------------------------


@contextmanager
def _translated(host: str) -> Iterator[None]:
    """What the libraries raise becomes Upstream; our own errors, raised inside them, pass as they are."""
    from http.client import HTTPException

    from urllib3.exceptions import HTTPError

    try:
        yield
    except (OSError, HTTPException, HTTPError, ValueError) as error:
        raise _upstream(error, host) from error


def _upstream(error: BaseException, host: str) -> Upstream:
    """The libraries wrap the cause up to four times; only the innermost tells what happened."""
    import ssl
    from http.client import IncompleteRead

    from urllib3.exceptions import InvalidChunkLength  # an IncompleteRead too, but no cut: nonsense

    causes = list(_causes(error))
    if _any(causes, ssl.SSLCertVerificationError):
        return Upstream(f"The TLS certificate of {host} is not valid.", code="tls", retryable=False)
    if _any(causes, TimeoutError):
        return Upstream(f"{host} took too long.", code="timeout", retryable=True)
    if _any(causes, ssl.SSLEOFError, ssl.SSLZeroReturnError, ConnectionError):
        return _broken_off(host)
    if _any(causes, ssl.SSLError):
        return Upstream(f"No secure connection to {host} is possible.", code="tls", retryable=False)
    cut = _any(causes, IncompleteRead) and not _any(causes, InvalidChunkLength)
    if cut or "prematurely" in str(error):
        return _broken_off(host)
    return Upstream(f"{host} sent no proper HTTP answer.", code="malformed", retryable=False)


def _broken_off(host: str) -> Upstream:
    return Upstream(f"{host} broke the connection off.", code="connection", retryable=True)


def _any(causes: list[BaseException], *kinds: type[BaseException]) -> bool:
    return any(isinstance(cause, kinds) for cause in causes)


def _causes(error: BaseException) -> Iterator[BaseException]:
    """The error and what it wraps: as argument, as `reason`, as cause."""
    seen: list[BaseException] = []
    waiting: list[Any] = [error]
    while waiting:
        one = waiting.pop()
        if isinstance(one, BaseException) and one not in seen:
            seen.append(one)
            waiting += [*one.args, getattr(one, "reason", None), one.__cause__, one.__context__]
            yield one
