"""Doors to the live hub: WebSocket by flask-sock, server-sent events, and the limits before them."""

from __future__ import annotations

import itertools
import logging
import queue
import socket
import ssl
from collections.abc import Callable, Iterator
from typing import Any

from flask import Flask, Response, current_app, request
from flask_sock import Sock
from simple_websocket import Server
from wsproto.utilities import RemoteProtocolError

from webapp.core.context import Actor
from webapp.core.db import new_id
from webapp.core.errors import AppError, BadRequest, Forbidden, TooManyRequests, Unavailable
from webapp.web import guard
from webapp.web.api import ROUTES, Route
from webapp.web.hub import SEAT_TTL, Client, Feed, Hub

log = logging.getLogger(__name__)
MakeFeed = Callable[..., Feed]
CORS = {"Access-Control-Allow-Origin": "*"}


class _NoThread:
    """simple-websocket wants a reader thread per socket; the hub reads instead."""

    name = ""

    def __init__(self, target: Any = None) -> None: ...

    def start(self) -> None: ...


class _Handshake(Server):
    """simple-websocket's handshake without per-message compression: frames are encoded once for all readers."""

    def __init__(self, environ: dict[str, Any]) -> None:
        super().__init__(environ, thread_class=_NoThread)

    def _handle_events(self) -> bool:
        from wsproto.events import AcceptConnection, Request

        for event in self.ws.events():
            if isinstance(event, Request):
                self.sock.sendall(self.ws.send(AcceptConnection()))
                return True
        return False


class LiveSock(Sock):
    """flask-sock whose routes hand the socket to the hub and free their thread."""

    def live(self, path: str, make: MakeFeed, *, app_ping: float | None = None, scope: str = "events:read") -> None:
        """`make(ctx, **path) -> Feed` runs authenticated; app_ping: seconds without a client's ping until the end.

        scope: what an API key must be allowed to do, as on the streams.
        """
        rule_endpoint = "ws_" + path.strip("/").replace("/", "_").translate(str.maketrans("", "", "<>:"))

        def view(**values: Any) -> Any:
            return _open_websocket(make, values, app_ping, scope)

        for rule in {path, path.rstrip("/") or "/", path.rstrip("/") + "/"}:
            name = rule_endpoint + ("_slash" if rule.endswith("/") else "")
            self.live_app.add_url_rule(rule, endpoint=name, view_func=view, websocket=True)
        ROUTES.append(Route("WS", path, "optional", rule_endpoint, "agentic", stream=True))

    live_app: Flask


def init(app: Flask) -> LiveSock:
    sock = LiveSock()
    sock.init_app(app)
    sock.live_app = app
    return sock


def hub() -> Hub:
    found: Hub = current_app.extensions["hub"]
    return found


class _Gone(Response):
    """The connection is no longer ours to answer on; gunicorn closes its side of the books on StopIteration."""

    def __call__(self, *args: Any) -> Any:
        raise StopIteration


def _open_websocket(make: MakeFeed, values: dict[str, Any], app_ping: float | None, scope: str) -> Any:
    from webapp.web import auth as web_auth
    from webapp.web.api import _plain_path, make_ctx

    _plain_path(values)
    web_auth.check_ws_origin(request)
    if "gunicorn.socket" not in request.environ:
        raise Unavailable("this server cannot hand over WebSockets; use SSE or polling")
    rt = current_app.extensions["runtime"]
    refusal: tuple[int, str] | None = None
    feed: Feed | None = None
    actor: Actor | None = None
    try:
        with rt.unit(write=False) as db:
            actor = guard.admit(db, "optional")
            guard.check_scope(actor, scope)
            feed = make(make_ctx(db, actor), **values)
    except AppError as exc:
        # Accepted and then closed: a refused upgrade would show browsers 1006 and no reason (contract C01).
        refusal = (1008, exc.message)
    seats, member, full = _take_seats(actor) if refusal is None else ([], "", None)
    if full is not None:
        refusal = (1013, "too many live connections") if full == "total" else (1008, "too many connections of yours")
    try:
        handshake = _Handshake(request.environ)
    except (RemoteProtocolError, OSError, RuntimeError) as exc:
        rt.limits.free_seat(seats, member)
        raise BadRequest("this is no WebSocket handshake") from exc
    taken = socket.socket(fileno=handshake.sock.detach())
    client = Client("ws", taken, feed or _Nothing(), seats=seats, member=member)
    if refusal is not None:
        hub().refuse(client, *refusal)
        return _Gone()
    client.rate = rt.settings.ws_messages_per_minute
    client.app_ping_limit = app_ping
    _watch(client, actor)
    hub().adopt(client)
    return _Gone()


def open_stream(actor: Actor, feed: Feed, *, headers: dict[str, str] | None = None) -> Any:
    """Answer with server-sent events of `feed`. The thread is freed where the server lets go of its socket."""
    rt = current_app.extensions["runtime"]
    if request.method == "HEAD":
        return Response(headers={"Content-Type": "text/event-stream; charset=utf-8", **(headers or {})})
    seats, member, full = _take_seats(actor)
    if full == "total":
        raise Unavailable("too many live connections", retry_after=10, suggestion="Poll instead, or close a tab.")
    if full is not None:
        raise TooManyRequests("too many live connections of yours", retry_after=10)
    fields = {
        "Content-Type": "text/event-stream; charset=utf-8",
        "Cache-Control": "no-cache, no-transform",
        "X-Accel-Buffering": "no",
        "X-Content-Type-Options": "nosniff",
        **(headers or {}),
    }
    given = request.environ.get("gunicorn.socket")
    taken = _take_plain_socket(given, fields) if given is not None else None
    client = Client("sse" if taken else "queue", taken, feed, seats=seats, member=member)
    _watch(client, actor)
    hub().adopt(client)
    if taken is not None:
        return _Gone()
    stopping = rt.stopping
    return Response(_drain(hub(), client, stopping), headers=fields)


def hold(actor: Actor, feed: Feed) -> Any:
    """Let a caller wait for an answer whose every byte `feed` writes, head included. The thread is freed where the
    server lets go of its socket. `feed.left(rt)` is called when the connection is over.

    Raises TooManyRequests when the caller holds too many connections, Unavailable when all do.
    """
    seats, member, full = _take_seats(actor)
    if full == "total":
        raise Unavailable("too many open connections", retry_after=10)
    if full is not None:
        raise TooManyRequests("too many open connections of yours", retry_after=10)
    given = request.environ.get("gunicorn.socket")
    taken = socket.socket(fileno=given.detach()) if given is not None and not isinstance(given, ssl.SSLSocket) else None
    client = Client("raw" if taken else "raw-queue", taken, feed, seats=seats, member=member)
    _watch(client, actor)
    hub().adopt(client)
    if taken is not None:
        return _Gone()
    return _relayed(client)


def _relayed(client: Client) -> Response:
    """The answer that the feed writes, through this thread."""
    stopping = current_app.extensions["runtime"].stopping
    parts = _drained(hub(), client, stopping)
    head, _, first = next(parts, b"HTTP/1.1 503 \r\n\r\n").partition(b"\r\n\r\n")
    status, *lines = head.decode("latin-1").split("\r\n")
    fields = [(name, value) for name, _, value in (line.partition(": ") for line in lines) if name != "Connection"]
    return Response(itertools.chain([first], parts), int(status.split()[1]), fields)


def caller_left() -> Callable[[], bool]:
    """A function that says if the caller has closed the connection; where that cannot be seen it says no."""
    given = request.environ.get("gunicorn.socket")
    if given is None or isinstance(given, ssl.SSLSocket):
        return lambda: False

    def left() -> bool:
        try:
            return bool(given.recv(1, socket.MSG_PEEK | socket.MSG_DONTWAIT) == b"")
        except BlockingIOError:
            return False
        except OSError:
            return True

    return left


def _take_plain_socket(given: Any, fields: dict[str, str]) -> socket.socket | None:
    if isinstance(given, ssl.SSLSocket):
        return None
    head = "".join(f"{name}: {value}\r\n" for name, value in fields.items())
    taken = socket.socket(fileno=given.detach())
    taken.settimeout(5)
    try:
        taken.sendall(f"HTTP/1.1 200 OK\r\n{head}Connection: close\r\n\r\nretry: 3000\n\n".encode("latin-1"))
    except OSError:
        log.debug("the stream's client left at once")
    return taken


def _drain(the_hub: Hub, client: Client, stopping: Any) -> Iterator[bytes]:
    yield b"retry: 3000\n\n"
    yield from _drained(the_hub, client, stopping)


def _drained(the_hub: Hub, client: Client, stopping: Any) -> Iterator[bytes]:
    try:
        while not stopping.is_set():
            try:
                data = client.queue.get(timeout=1.0)
            except queue.Empty:
                continue
            if data is None:
                return
            yield data
    finally:
        the_hub.forget(client)


def _watch(client: Client, actor: Actor | None) -> None:
    """Let the hub ask now and then whether what was shown at the door still counts."""
    from webapp.web import auth as web_auth

    if actor is None or actor.via in ("local", "anonymous"):
        return
    shown = web_auth.credentials_from(request)
    client.credential = f"{shown.by_program}\n{shown.session_cookie}"
    client.still_allowed = web_auth.watch_credentials()


def _take_seats(actor: Actor | None) -> tuple[list[str], str, str | None]:
    """Seats of the user and of all; the name of what is full, if anything is."""
    rt = current_app.extensions["runtime"]
    who = (actor.id if actor else None) or request.remote_addr or "nobody"
    member = new_id()
    groups = {f"user:{who}": rt.settings.ws_per_user, "total": rt.settings.ws_total}
    full = rt.limits.take_seat(groups, member, SEAT_TTL)
    if full is not None:
        return [], "", "total" if full == "total" else "user"
    return list(groups), member, None


class _Nothing:
    key = "nothing"
    shows_text = False

    def topics(self) -> list[str]:
        return []

    def join(self, rt: Any, client: Client) -> None: ...

    def on_message(self, rt: Any, client: Client, text: str) -> None: ...

    def wants(self, event: Any) -> bool:
        return False

    def render(self, rt: Any, task: Any, events: list[Any]) -> list[tuple[int, str]]:
        return []

    def render_text(self, rt: Any, task: Any, after: int) -> tuple[int, list[tuple[int, str]]]:
        return 0, []

    def is_over(self, task: Any) -> bool:
        return True


__all__ = ["Forbidden", "LiveSock", "hub", "init", "open_stream"]
