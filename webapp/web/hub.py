"""The live hub: every WebSocket and SSE connection of a process on a fixed number of threads.

A request thread authenticates, then hands its socket over and is free again (bare flask-sock keeps two threads per
socket and is pinned for ever by a client that never reads). From then on

- the *loop* thread reads what clients send (WebSocket frames by wsproto), writes what did not fit at once, pings,
  and drops the silent and the slow;
- the *pump* thread hears bells, reads the events once per task, renders and frames them once per kind of reader, and
  writes to each socket without blocking;
- a third one keeps and frees seats, since their counter may be a server that hangs.

Feeds (what to send) belong to the areas; the hub knows only bytes, topics and cursors.
"""

from __future__ import annotations

import logging
import queue
import selectors
import socket
import threading
import time
from collections import OrderedDict, defaultdict, deque
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from typing import Any, Protocol

from wsproto.connection import Connection, ConnectionType
from wsproto.events import BytesMessage, CloseConnection, Ping, Pong, TextMessage
from wsproto.utilities import LocalProtocolError, RemoteProtocolError

from webapp.core.bus import Bell
from webapp.runtime import Runtime

log = logging.getLogger(__name__)

MAX_MESSAGE = 64 * 1024  # bytes a client may send in one message
MAX_OUT_BYTES = 1024 * 1024  # a slower client than this is dropped
MAX_OUT_ITEMS = 256
SEND_PATIENCE = 5.0  # seconds a full socket may stay full
PING_EVERY = 20.0
KEEP_ALIVE = 15.0  # the same for streams: a comment line
PONG_PATIENCE = 45.0
NEW = 100  # events; a task of which nothing was heard up to there is no new one
BEYOND = 2**62  # no sequence number comes to it
TICK = 1.0  # how long a lost bell can go unnoticed
SEAT_TTL = 60.0
KEEP_SEATS_EVERY = 20.0
NO_PLACE = ("task:", "user:", "all")  # topics
HOOKS = ("on_pong", "on_limited", "on_due")
HELPERS = 4  # threads for what a message of a client's asks of the database
LINGER = 2.0  # seconds for the reader to take the last bytes and close
CREDENTIALS_EVERY = 5.0  # a revoked credential ends its connections within twice this


class Feed(Protocol):
    """What one kind of reader gets. Called by the pump thread only."""

    key: str  # readers with equal keys get equal bytes

    def topics(self) -> Iterable[str]:
        """`task:<id>`, `user:<id>`, `all`, or a place (see `Hub.places`)."""

    def join(self, rt: Runtime, client: Client) -> None:
        """Send the greeting and the present state, set cursors; may close the client."""

    def on_message(self, rt: Runtime, client: Client, text: str) -> None:
        """A text message of the client's."""

    def wants(self, event: Any) -> bool: ...
    def render(self, rt: Runtime, task: Any, events: list[Any]) -> list[tuple[int, str]]:
        """Messages for these events of one task, each with its sequence number."""

    def is_over(self, task: Any) -> bool:
        """True when nothing more can come for this reader: the hub closes it."""

    # Beyond these a feed may have: `on_pong(rt, client, mark)`, see `Hub.acknowledge`; `on_limited(rt, client, text)`, a
    # message that came too fast and was not heard; `on_due(rt, client)`, the moment of `client.due_at`; `on_place(client,
    # name, stand)`, how a place of its topics stands now, which may be as before.

    shows_text: bool  # whether text is told while it is written

    def render_text(self, rt: Runtime, task: Any, after: int) -> tuple[int, list[tuple[int, str]]]:
        """Messages for the text of a task behind `after` bytes, and how many bytes the reader has with them."""


Reader = Callable[[Runtime, list[tuple[str, int]]], list[tuple[Any, list[Any]]]]
Lister = Callable[[Runtime, list[str], list[str]], list[tuple[str, int, str | None]]]
Stand = tuple[str | None, str]  # whose a place is, and a mark that changes with what it shows


class Client:
    """One connection. `kind` is ws, sse, or raw, whose feed writes every byte itself; `queue` (of events) and
    `raw-queue` are the fallback where no socket can be taken over."""

    def __init__(self, kind: str, sock: socket.socket | None, feed: Feed, *, seats: list[str], member: str) -> None:
        self.kind, self.sock, self.feed = kind, sock, feed
        self.seats, self.member = seats, member
        self.since = datetime.now(UTC)
        self.cursors: OrderedDict[str, int] = OrderedDict()
        self.written: dict[str, int] = {}  # task id -> bytes of its live text that were sent
        self.lock = threading.Lock()
        self.out: deque[memoryview] = deque()
        self.out_bytes = 0
        self.queue: queue.Queue[bytes | None] = queue.Queue()
        self.closing = False
        self.closed = False
        self.drop_at: float | None = None  # all is said: until then the reader may take it
        self.full_since: float | None = None
        self.ws = Connection(ConnectionType.SERVER) if kind == "ws" else None
        now = time.monotonic()
        self.ping_every = PING_EVERY if kind == "ws" else KEEP_ALIVE
        self.next_ping = now + self.ping_every
        self.heard = now
        self.app_ping = now
        self.app_ping_limit: float | None = None
        self.due_at: float | None = None  # monotonic; the feed is told once
        self.incoming: list[str] = []
        self.incoming_size = 0
        self.window, self.in_window = now, 0
        self.rate = 100
        self.still_allowed: Callable[[], bool] | None = None  # asks the database; see `Hub._recheck`
        self.credential = ""  # equal for connections that showed the same one

    def cursor(self, task_id: str, default: int) -> int:
        return self.cursors.get(task_id, default)

    def moved(self, task_id: str, seq: int) -> None:
        self.cursors[task_id] = max(seq, self.cursors.get(task_id, 0))
        self.cursors.move_to_end(task_id)
        while len(self.cursors) > 5000:
            self.cursors.popitem(last=False)


class Hub:
    def __init__(self, rt: Runtime, read: Reader, moved_tasks: Lister) -> None:
        """`read(rt, [(task id, after seq)])` loads tasks with their events; `moved_tasks(rt, task ids, owner ids)`
        lists `(task id, seq, owner)` of what a lost bell may have hidden."""
        self.rt, self._read, self._moved_tasks = rt, read, moved_tasks
        self.clients: set[Client] = set()
        # What is no task and moves nevertheless, such as a conversation that another tab asked in: `<sort>:<id>`. Areas
        # tell how many of a sort stand, by id; what is not told is gone.
        self.places: dict[str, Callable[[Runtime, list[str]], dict[str, Stand]]] = {}
        self._topics: dict[str, set[Client]] = defaultdict(set)
        self._known: OrderedDict[str, int] = OrderedDict()
        self._todo: queue.SimpleQueue[tuple[str, Any]] = queue.SimpleQueue()
        self._selector = selectors.DefaultSelector()
        self._wake_r, self._wake_w = socket.socketpair()
        self._loop_todo: deque[Callable[[], None]] = deque()
        self._chores: queue.SimpleQueue[Callable[[], None] | None] = queue.SimpleQueue()
        self._helpers = ThreadPoolExecutor(HELPERS, thread_name_prefix="hub-helper")  # no thread before its first work
        self._next_keep = time.monotonic() + KEEP_SEATS_EVERY
        self._started = False
        self._stop = threading.Event()
        self._lock = threading.Lock()
        self._unlisten: Callable[[], None] = lambda: None

    # -- from request threads ------------------------------------------------------------------------------------

    def adopt(self, client: Client) -> None:
        """Take a connection over. Its feed's greeting is sent by the pump."""
        self._take(client)
        self._todo.put(("join", client))

    def refuse(self, client: Client, code: int, reason: str) -> None:
        """Close a WebSocket that was only accepted so that the browser sees the reason."""
        self._take(client)
        self.close(client, code, reason)

    def _take(self, client: Client) -> None:
        self._ensure_started()
        with self._lock:
            self.clients.add(client)
        if client.sock is None:
            return
        client.sock.setblocking(False)
        if client.sock.family in (socket.AF_INET, socket.AF_INET6):  # not behind a proxy's Unix socket
            client.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._on_loop(lambda: self._register(client))

    def stop(self, patience: float = 3.0) -> None:
        """Tell everybody to come back (1001) and end both threads."""
        if not self._started:
            return
        self._unlisten()
        for client in list(self.clients):
            self.close(client, 1001, "restarting")
        deadline = time.monotonic() + patience
        while any(client.drop_at is None for client in list(self.clients)) and time.monotonic() < deadline:
            time.sleep(0.02)
        self._stop.set()
        self._todo.put(("stop", None))
        self._chores.put(None)
        self._helpers.shutdown(wait=False, cancel_futures=True)
        self._on_loop(lambda: None)

    def stats(self) -> dict[str, int]:
        kinds = [client.kind for client in list(self.clients) if not client.closing]
        return {"websocket": kinds.count("ws"), "sse": len(kinds) - kinds.count("ws")}

    # -- sending (any thread) ------------------------------------------------------------------------------------

    def send_text(self, client: Client, text: str, seq: int | None = None) -> None:
        self._write(client, encode(client.kind, text, seq))

    def send_texts(self, client: Client, messages: Iterable[tuple[int, str]]) -> None:
        """Many at once, `(seq, text)` each: one write, however slow the reader."""
        data = b"".join(encode(client.kind, text, seq) for seq, text in messages)
        if data:
            self._write(client, data)

    def close(self, client: Client, code: int = 1000, reason: str = "") -> None:
        with client.lock:
            if client.closing:
                return
            client.closing = True
        if client.ws is not None:
            try:
                self._write(client, client.ws.send(CloseConnection(code, reason[:120])), last=True)
            except LocalProtocolError:
                log.debug("closing handshake was under way")
        if client.kind.endswith("queue"):
            client.queue.put(None)
        self._on_loop(lambda: self._finish(client))

    def _write(self, client: Client, data: bytes, *, last: bool = False) -> None:
        if client.kind.endswith("queue"):
            client.queue.put(data)
            return
        drop = False
        with client.lock:
            if client.closed or (client.closing and not last):
                return
            left = data if client.out else _send_some(client.sock, data)
            if left:
                client.out.append(memoryview(left))
                client.out_bytes += len(left)
                client.full_since = client.full_since or time.monotonic()
                drop = client.out_bytes > MAX_OUT_BYTES or len(client.out) > MAX_OUT_ITEMS
        if drop:
            self._on_loop(lambda: self._drop(client))
        elif left:
            self._on_loop(lambda: self._want_write(client))

    # -- for feeds (pump thread) ---------------------------------------------------------------------------------

    def aside(self, client: Client, work: Callable[[], Any], then: Callable[[Any], None] = lambda found: None) -> None:
        """Do what may wait (for the database's writer) beside the pump; `then(found)` is called by the pump."""

        def do() -> None:
            try:
                found = work()
            except Exception as exc:
                log.warning("live helper: %s: %s", type(exc).__name__, str(exc)[:200])
                self.close(client, 1011, "something went wrong on our side")
            else:
                self._todo.put(("call", (client, then, found)))

        try:
            self._helpers.submit(do)
        except RuntimeError:
            log.debug("the hub is stopping")

    def acknowledge(self, client: Client, mark: str) -> None:
        """Tell the feed (`on_pong`) once the reader has everything sent so far: it answers a ping that comes after it."""
        self._todo.put(("call", (client, self._ping, (client, mark))))

    def _ping(self, ask: tuple[Client, str]) -> None:
        client, mark = ask
        if client.ws is not None and not client.closing:
            self._write(client, client.ws.send(Ping(mark.encode()[:125])))

    # -- pump ----------------------------------------------------------------------------------------------------

    def _ensure_started(self) -> None:
        with self._lock:
            if self._started:
                return
            self._started = True
            self._unlisten = self.rt.bus.listen(self._hear)
            for target in (self._pump, self._loop, self._do_chores):
                threading.Thread(target=target, name=f"hub-{target.__name__.strip('_')}", daemon=True).start()

    def _do_chores(self) -> None:
        while (chore := self._chores.get()) is not None:
            _survive("seats", chore)

    def _hear(self, bell: Bell) -> None:
        if bell.kind in ("task", "gone", "text", "place"):
            self._todo.put((bell.kind, bell))

    def _pump(self) -> None:
        next_tick = time.monotonic() + TICK
        next_check = time.monotonic() + CREDENTIALS_EVERY
        while not self._stop.is_set():
            batch = self._gather(next_tick)
            try:
                self._handle(batch)
                if time.monotonic() >= next_tick:
                    next_tick = time.monotonic() + TICK
                    self._tick()
                if time.monotonic() >= next_check:
                    next_check = time.monotonic() + CREDENTIALS_EVERY
                    self._recheck()
            except Exception as exc:
                log.warning("live pump: %s: %s", type(exc).__name__, str(exc)[:200])

    def _gather(self, until: float) -> list[tuple[str, Any]]:
        try:
            batch = [self._todo.get(timeout=max(0.01, until - time.monotonic()))]
        except queue.Empty:
            return []
        while len(batch) < 500:
            try:
                batch.append(self._todo.get_nowait())
            except queue.Empty:
                break
        return batch

    def _handle(self, batch: list[tuple[str, Any]]) -> None:
        bells: dict[str, tuple[int, int, str | None]] = {}
        written: set[str] = set()
        moved: set[str] = set()
        for kind, thing in batch:
            if kind == "task":
                first, last, _ = bells.get(thing.id, (thing.seq, thing.seq, None))
                bells[thing.id] = (min(first, thing.seq), max(last, thing.seq), thing.owner)
            elif kind == "text":
                written.add(thing.id)
            elif kind == "place":
                moved.add(thing.id)
            elif kind == "join":
                self._for_client(thing, self._join, thing)
            elif kind == "message":
                client, text = thing
                self._for_client(client, client.feed.on_message, self.rt, client, text)
            elif kind == "call":
                client, action, found = thing
                if not client.closed:  # else it would be watched for ever
                    self._for_client(client, action, found)
            elif kind in HOOKS:
                self._hook(kind, *thing)
            elif kind == "gone":
                self._gone(thing)
            elif kind == "left":
                self._left(thing)
        if written:  # before the events: a reader of pieces gets the last one ahead of the end
            self._deliver_text(written)
        if bells:
            self._deliver(bells)
        if moved:
            self._deliver_places(moved)

    def _hook(self, name: str, client: Client, *told: Any) -> None:
        """What only some feeds want to hear."""
        action = getattr(client.feed, name, None)
        if action is not None:
            self._for_client(client, action, self.rt, client, *told)

    def _for_client(self, client: Client, action: Callable[..., None], *args: Any) -> None:
        """What fails for one must not take the bells and joins of the others with it."""
        try:
            action(*args)
        except Exception as exc:
            log.warning("live client: %s: %s", type(exc).__name__, str(exc)[:200])
            self.close(client, 1011, "something went wrong on our side")

    def _left(self, client: Client) -> None:
        self.unwatch(client, [topic for topic, who in self._topics.items() if client in who])

    def _join(self, client: Client) -> None:
        if client.closed:
            return
        self.watch(client, client.feed.topics())
        client.feed.join(self.rt, client)

    def watch(self, client: Client, topics: Iterable[str]) -> None:
        for topic in topics:
            self._topics[topic].add(client)

    def unwatch(self, client: Client, topics: Iterable[str]) -> None:
        for topic in topics:
            self._topics[topic].discard(client)
            if not self._topics[topic]:
                del self._topics[topic]

    def _gone(self, bell: Bell) -> None:
        for client in self._readers(bell.id, bell.owner):
            if getattr(client.feed, "tells_gone", False):
                self.send_text(client, f'{{"type":"gone","topic":"task:{bell.id}"}}')

    def _recheck(self) -> None:
        """Close what a suspended person, a revoked key, an ended login or an expired token left open."""
        by_credential: dict[str, list[Client]] = defaultdict(list)
        for client in list(self.clients):
            if client.still_allowed is not None:
                by_credential[client.credential].append(client)
        for group in by_credential.values():
            if group[0].still_allowed is not None and not group[0].still_allowed():
                for client in group:
                    self.close(client, 1008, "the login, key or account has ended")

    def _readers(self, task_id: str, owner: str | None) -> set[Client]:
        found = set(self._topics.get(f"task:{task_id}", ()))
        if owner is not None:
            found |= self._topics.get(f"user:{owner}", set())
        return found | self._topics.get("all", set())

    def _deliver(self, bells: dict[str, tuple[int, int, str | None]]) -> None:
        """Read each rung task once, from the oldest place a reader of it needs; render once per kind of reader."""
        wanted: dict[str, tuple[int, set[Client], int]] = {}
        for task_id, (first, last, owner) in bells.items():
            readers = self._readers(task_id, owner)
            if readers:
                seen = self._known.get(task_id, first - 1)
                # A worker's bell may be here before that of who accepted the task: of a new one all is read.
                known = 0 if task_id not in self._known and first <= NEW else seen
                after = min(client.cursor(task_id, known) for client in readers)
                wanted[task_id] = (min(after, known), readers, min(seen, first - 1))
            else:
                self._remember(task_id, last)
        if not wanted:
            return
        for task, events in self._read(self.rt, [(task_id, after) for task_id, (after, *_) in wanted.items()]):
            after, readers, unseen = wanted[task.id]
            # Only what was read: the next tick makes up for a read that failed or was cut short.
            if events or after >= task.seq:
                self._remember(task.id, events[-1].seq if events else task.seq)
            self._fan_out(task, events, readers, unseen)

    def _fan_out(self, task: Any, events: list[Any], readers: set[Client], unseen: int) -> None:
        """`unseen`: where readers start who never saw this task; from its beginning if they were here before it."""
        rendered: dict[tuple[str, int, str], bytes] = {}
        for client in readers:
            after = client.cursor(task.id, 0 if task.created_at >= client.since else unseen)
            mark = (client.feed.key, after, client.kind)
            if mark not in rendered:
                mine = [event for event in events if event.seq > after and client.feed.wants(event)]
                messages = client.feed.render(self.rt, task, mine)
                rendered[mark] = b"".join(encode(client.kind, text, seq) for seq, text in messages)
            if rendered[mark]:
                self._write(client, rendered[mark])
            if events:
                client.moved(task.id, events[-1].seq)
            if client.feed.is_over(task):
                self.close(client)

    def _deliver_text(self, task_ids: Iterable[str]) -> None:
        """Text that is being written moves no event: readers who show it get what is new, drawn once for equal ones."""
        for task_id in task_ids:
            readers = [client for client in self._topics.get(f"task:{task_id}", ()) if client.feed.shows_text]
            for task, _ in self._read(self.rt, [(task_id, BEYOND)]) if readers else ():
                self._fan_out_text(task, readers)

    def _fan_out_text(self, task: Any, readers: list[Client]) -> None:
        drawn: dict[tuple[str, int, str], tuple[int, bytes]] = {}
        for client in readers:
            mark = (client.feed.key, client.written.get(task.id, 0), client.kind)
            if mark not in drawn:
                to, messages = client.feed.render_text(self.rt, task, mark[1])
                drawn[mark] = to, b"".join(encode(client.kind, text, seq) for seq, text in messages)
            client.written[task.id], data = drawn[mark]
            if data:
                self._write(client, data)

    def _deliver_places(self, names: Iterable[str]) -> None:
        watched = [name for name in names if self._topics.get(name)]
        for name, stand in self.stands(watched).items():
            for client in list(self._topics.get(name, ())):
                self._hook("on_place", client, name, stand)

    def stands(self, names: Iterable[str]) -> dict[str, Stand | None]:
        """How these places stand now; None for one that is gone."""
        by_sort: dict[str, list[str]] = defaultdict(list)
        for name in names:
            sort, _, ident = name.partition(":")
            if sort in self.places:
                by_sort[sort].append(ident)
        found: dict[str, Stand | None] = {}
        for sort, idents in by_sort.items():
            there = self.places[sort](self.rt, idents)
            found |= {f"{sort}:{ident}": there.get(ident) for ident in idents}
        return found

    def _remember(self, task_id: str, seq: int) -> None:
        self._known[task_id] = max(seq, self._known.get(task_id, 0))
        self._known.move_to_end(task_id)
        while len(self._known) > 20_000:
            self._known.popitem(last=False)

    def _tick(self) -> None:
        """Bells may be lost: look whether a watched task moved on without one."""
        if not self.clients:
            return
        tasks = [topic[5:] for topic, who in self._topics.items() if who and topic.startswith("task:")]
        owners = [topic[5:] for topic, who in self._topics.items() if who and topic.startswith("user:")]
        missed = {}
        for task_id, seq, owner in self._moved_tasks(self.rt, tasks, owners):
            known = self._known.get(task_id)
            if known is None or seq > known:
                missed[task_id] = ((known or seq - 1) + 1, seq, owner)
        if missed:
            self._deliver(missed)
        self._deliver_places(name for name, who in list(self._topics.items()) if who and not name.startswith(NO_PLACE))

    # -- loop ----------------------------------------------------------------------------------------------------

    def _on_loop(self, action: Callable[[], None]) -> None:
        self._loop_todo.append(action)
        try:
            self._wake_w.send(b"x")
        except (BlockingIOError, OSError):
            return  # the loop is awake, or gone

    def _loop(self) -> None:
        self._wake_r.setblocking(False)
        self._wake_w.setblocking(False)
        self._selector.register(self._wake_r, selectors.EVENT_READ, None)
        next_care = time.monotonic() + 1.0
        while not self._stop.is_set():
            for key, mask in self._selector.select(max(0.01, min(1.0, next_care - time.monotonic()))):
                try:
                    self._serve(key.data, mask)
                except Exception:
                    log.exception("live client failed")
                    if key.data is not None:
                        self._drop(key.data)
            while self._loop_todo:
                _survive("live loop", self._loop_todo.popleft())
            if time.monotonic() >= next_care:
                next_care = time.monotonic() + 1.0
                _survive("live care", self._care)

    def _serve(self, client: Client | None, mask: int) -> None:
        if client is None:
            try:
                while self._wake_r.recv(4096):
                    pass
            except BlockingIOError:
                return
        elif mask & selectors.EVENT_WRITE:
            self._flush(client)
        if client is not None and mask & selectors.EVENT_READ:
            self._receive(client)

    def _register(self, client: Client) -> None:
        if not client.closed and client.sock is not None:
            self._selector.register(client.sock, selectors.EVENT_READ, client)
            if client.out:
                self._want_write(client)

    def _want_write(self, client: Client) -> None:
        if not client.closed and client.sock is not None and client.sock.fileno() >= 0:
            try:
                self._selector.modify(client.sock, selectors.EVENT_READ | selectors.EVENT_WRITE, client)
            except KeyError:
                return  # not registered yet; `_register` looks at the backlog

    def _flush(self, client: Client) -> None:
        with client.lock:
            while client.out:
                left = _send_some(client.sock, client.out[0])
                client.out_bytes -= len(client.out[0]) - len(left)
                if left:
                    if len(left) < len(client.out[0]):
                        client.full_since = time.monotonic()
                    client.out[0] = memoryview(left)
                    return
                client.out.popleft()
            client.full_since = None
            empty = not client.out
        if empty and client.sock is not None:
            self._selector.modify(client.sock, selectors.EVENT_READ, client)
            if client.closing:
                self._finish(client)

    def _receive(self, client: Client) -> None:
        assert client.sock is not None
        try:
            data = client.sock.recv(65536)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        if not data:
            self._drop(client)
        elif client.ws is not None and not client.closing:  # what still comes after that is thrown away
            self._frames(client, data)

    def _frames(self, client: Client, data: bytes) -> None:
        assert client.ws is not None
        client.heard = time.monotonic()
        try:
            client.ws.receive_data(data)
            for event in client.ws.events():
                self._frame(client, event)
                if client.closed or client.closing:
                    return
        except (RemoteProtocolError, LocalProtocolError) as exc:
            hint = getattr(exc, "event_hint", None)
            self.close(client, getattr(hint, "code", None) or 1002, "protocol error")
        except UnicodeDecodeError:
            self.close(client, 1007, "text must be UTF-8")

    def _frame(self, client: Client, event: Any) -> None:
        assert client.ws is not None
        if isinstance(event, Ping):
            self._write(client, client.ws.send(event.response()))
        elif isinstance(event, Pong):
            client.next_ping = time.monotonic() + client.ping_every
            if event.payload:
                self._todo.put(("on_pong", (client, bytes(event.payload).decode("utf-8", "replace"))))
        elif isinstance(event, CloseConnection):
            with client.lock:
                client.closing = True
            try:
                self._write(client, client.ws.send(event.response()), last=True)
            except LocalProtocolError:
                log.debug("both sides closed at once")
            self._finish(client)
        elif isinstance(event, BytesMessage):
            self.close(client, 1003, "text only")
        elif isinstance(event, TextMessage):
            self._text(client, event)

    def _text(self, client: Client, event: TextMessage) -> None:
        client.incoming_size += len(event.data.encode("utf-8", "surrogatepass"))
        client.incoming.append(event.data)
        if client.incoming_size > MAX_MESSAGE or len(client.incoming) > 4096:
            self.close(client, 1009, "message too big")
        elif event.message_finished:
            text = "".join(client.incoming)
            client.incoming, client.incoming_size = [], 0
            kind = "message" if self._within_rate(client) else "on_limited"
            self._todo.put((kind, (client, text)))

    def _within_rate(self, client: Client) -> bool:
        now = time.monotonic()
        if now - client.window >= 60:
            client.window, client.in_window = now, 0
        client.in_window += 1
        if client.in_window <= client.rate:
            return True
        if client.in_window > client.rate * 5:
            self.close(client, 1008, "too many messages")
        elif client.in_window == client.rate + 1 or client.in_window % 20 == 0:
            self.send_text(
                client,
                '{"type":"error","message":"Rate limit exceeded. Please wait before sending more messages.",'
                '"retry_after":60}',
            )
        return False

    def _care(self) -> None:
        now = time.monotonic()
        for client in list(self.clients):
            if client.full_since is not None and now - client.full_since > SEND_PATIENCE:
                self._drop(client)
            elif client.drop_at is not None:
                if now > client.drop_at:
                    self._drop(client)
            elif client.closing:
                self._finish(client)
            elif client.ws is not None and now - client.heard > PONG_PATIENCE:
                self.close(client, 1011, "no answer to ping")
                self._drop(client)
            elif client.due_at is not None and now > client.due_at:
                client.due_at = None
                self._todo.put(("on_due", (client,)))
            elif client.app_ping_limit is not None and now - client.app_ping > client.app_ping_limit:
                self.close(client, 1000, "ping timeout")
            elif now >= client.next_ping:
                client.next_ping = now + client.ping_every
                if client.ws is not None or not client.kind.startswith("raw"):
                    self._write(client, client.ws.send(Ping()) if client.ws is not None else b": keep-alive\n\n")
        if now >= self._next_keep:
            self._next_keep = now + KEEP_SEATS_EVERY
            self._keep_seats()

    def _keep_seats(self) -> None:
        keep: dict[tuple[str, ...], list[str]] = defaultdict(list)
        for client in list(self.clients):
            if client.seats:
                keep[tuple(client.seats)].append(client.member)

        def chore() -> None:
            for seats, members in keep.items():
                self.rt.limits.keep_seats(list(seats), members, SEAT_TTL)

        self._chores.put(chore)

    def _finish(self, client: Client) -> None:
        """After a close frame: let what is queued go out, say that no more comes, and wait for the reader's end.

        Closed at once with unread bytes in it, a connection is reset and the close frame lost on its way.
        """
        with client.lock:
            if client.out:
                client.full_since = client.full_since or time.monotonic()
                return
        if client.sock is None:
            self._drop(client)
        elif not client.closed and client.drop_at is None:
            client.drop_at = time.monotonic() + LINGER
            try:
                client.sock.shutdown(socket.SHUT_WR)
            except OSError:
                self._drop(client)

    def _drop(self, client: Client) -> None:
        with client.lock:
            if client.closed:
                return
            client.closed = client.closing = True
            client.out.clear()
        if client.sock is not None:
            try:
                self._selector.unregister(client.sock)
            except (KeyError, ValueError):
                log.debug("was not registered")
            client.sock.close()
        client.queue.put(None)
        with self._lock:
            self.clients.discard(client)
        self._todo.put(("left", client))
        if client.seats:
            self._chores.put(lambda: self.rt.limits.free_seat(client.seats, client.member))
        if (left := getattr(client.feed, "left", None)) is not None:
            self._chores.put(lambda: left(self.rt))

    def forget(self, client: Client) -> None:
        """For the fallback transport: its generator ended."""
        self._on_loop(lambda: self._drop(client))


def encode(kind: str, text: str, seq: int | None = None) -> bytes:
    """The bytes on the wire: an unmasked WebSocket text frame, an SSE event without `event:`, or as they are."""
    if kind.startswith("raw"):
        return text.encode(errors="replace")
    if kind != "ws":
        head = f"id: {seq}\n" if seq is not None else ""
        return (head + "".join(f"data: {line}\n" for line in text.split("\n")) + "\n").encode(errors="replace")
    payload = text.encode(errors="replace")
    size = len(payload)
    if size < 126:
        return bytes((0x81, size)) + payload
    if size < 65536:
        return b"\x81\x7e" + size.to_bytes(2, "big") + payload
    return b"\x81\x7f" + size.to_bytes(8, "big") + payload


def _send_some(sock: socket.socket | None, data: bytes | memoryview) -> bytes | memoryview:
    """What is left after one write that does not block. A broken pipe counts as sent: the reader will see the end."""
    if sock is None:
        return b""
    try:
        sent = sock.send(data)
    except BlockingIOError:
        return data
    except OSError:
        return b""
    return data[sent:]


def _survive(what: str, action: Callable[[], None]) -> None:
    """These threads serve everybody: no failure may end them."""
    try:
        action()
    except Exception:
        log.exception("%s failed", what)
