"""Text while it is written: what a reader shows between two states of a row. It may be lost; the row is the truth.

A position is a number of bytes of the text's UTF-8. A writer shows the fence of its claim: one that was thought dead
cannot write into its successor's text.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import OrderedDict
from collections.abc import Callable
from typing import Any, NamedTuple, Protocol

log = logging.getLogger(__name__)

KEPT = 900.0  # seconds after the last piece
LONGEST = 4 * 2**20  # bytes of one text
BELL_EVERY = 0.05  # seconds: people see no more, and a reader draws each state
NOTE_EVERY = 1.0  # seconds between two snapshots in a row


class Written(NamedTuple):
    """fence 0: nothing is known of it. length: of the whole text; text: what comes after the asked position."""

    fence: int
    length: int
    text: str


NOTHING = Written(0, 0, "")


class Streams(Protocol):
    def append(self, task_id: str, fence: int, text: str) -> int:
        """The text's new length; -1 when a newer claim writes it. Never raises: 0 when it could not be kept."""

    def replace(self, task_id: str, fence: int, text: str) -> int:
        """The whole text anew, by the same rules."""

    def read(self, task_id: str, after: int = 0) -> Written:
        """Never raises. `after` is a length that was read before; one beyond the text reads from its start."""


class MemoryStreams:
    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._texts: OrderedDict[str, tuple[int, bytearray, float]] = OrderedDict()
        self._lock = threading.Lock()
        self._clock = clock

    def append(self, task_id: str, fence: int, text: str) -> int:
        return self._put(task_id, fence, text.encode("utf-8", "replace"), fresh=False)

    def replace(self, task_id: str, fence: int, text: str) -> int:
        return self._put(task_id, fence, text.encode("utf-8", "replace"), fresh=True)

    def _put(self, task_id: str, fence: int, data: bytes, *, fresh: bool) -> int:
        with self._lock:
            known, kept, _ = self._texts.get(task_id, (0, bytearray(), 0.0))
            if fence < known:
                return -1
            kept = bytearray() if fresh or fence > known else kept
            if len(kept) + len(data) <= LONGEST:
                kept += data
            now = self._clock()
            self._texts[task_id] = (fence, kept, now)
            self._texts.move_to_end(task_id)
            while next(iter(self._texts.values()))[2] < now - KEPT:
                self._texts.popitem(last=False)
            return len(kept)

    def read(self, task_id: str, after: int = 0) -> Written:
        with self._lock:
            fence, kept, _ = self._texts.get(task_id, (0, b"", 0.0))
            return Written(fence, len(kept), _from(bytes(kept), after))


# KEYS: the text, its fence. ARGV: fence, text, seconds to keep, "1" for the whole text anew, most bytes.
_PUT = """
local known = tonumber(redis.call('GET', KEYS[2]) or '0')
local fence = tonumber(ARGV[1])
if fence < known then return -1 end
if fence > known or ARGV[4] == '1' then redis.call('DEL', KEYS[1]) end
redis.call('SET', KEYS[2], ARGV[1], 'EX', ARGV[3])
local length = redis.call('STRLEN', KEYS[1])
if length + #ARGV[2] <= tonumber(ARGV[5]) then length = redis.call('APPEND', KEYS[1], ARGV[2]) end
redis.call('EXPIRE', KEYS[1], ARGV[3])
return length
"""


class RedisStreams:
    def __init__(self, url: str) -> None:
        self._url = url
        self._client: Any = None
        self._put_script: Any = None
        self._down_until = 0.0
        self._lock = threading.Lock()

    def append(self, task_id: str, fence: int, text: str) -> int:
        return self._put(task_id, fence, text, "0")

    def replace(self, task_id: str, fence: int, text: str) -> int:
        return self._put(task_id, fence, text, "1")

    def _put(self, task_id: str, fence: int, text: str, fresh: str) -> int:
        def work() -> int:
            words = [fence, text.encode("utf-8", "replace"), int(KEPT), fresh, LONGEST]
            return int(self._put_script(keys=_keys(task_id), args=words))

        return int(self._ask(work, 0))

    def read(self, task_id: str, after: int = 0) -> Written:
        def work() -> Written:
            text_key, fence_key = _keys(task_id)
            pipe = self._client.pipeline(transaction=True)
            pipe.get(fence_key).strlen(text_key).getrange(text_key, max(0, after), -1)
            fence, length, data = pipe.execute()
            if after > length:
                data = self._client.get(text_key) or b""
            return Written(int(fence or 0), int(length), data.decode("utf-8", "replace"))

        found: Written = self._ask(work, NOTHING)
        return found

    def _ask(self, work: Callable[[], Any], otherwise: Any) -> Any:
        """A Redis that hangs or is away costs one short wait in five seconds, and the live text."""
        if time.monotonic() < self._down_until:
            return otherwise
        try:
            self._connect()
            return work()
        except Exception as exc:
            self._down_until = time.monotonic() + 5.0
            log.warning("live text is not kept for now (%s)", type(exc).__name__)
            return otherwise

    def _connect(self) -> None:
        with self._lock:
            if self._client is None:
                import redis

                self._client = redis.Redis.from_url(self._url, socket_timeout=1.0, socket_connect_timeout=1.0)
                self._put_script = self._client.register_script(_PUT)

    def close(self) -> None:
        if self._client is not None:
            self._client.close()


def _keys(task_id: str) -> list[str]:
    return [f"brainstem:text:{{{task_id}}}", f"brainstem:text:{{{task_id}}}:fence"]


def _from(data: bytes, after: int) -> str:
    return data[after if 0 < after <= len(data) else 0 :].decode("utf-8", "replace")


class Writer:
    """What a runner holds: gathers the pieces of a model, keeps them in the stream and rings, at a calm pace.

    ring(length): the bell; it may ring in a thread of ours, for the last pieces before a model thinks again. note(text):
    a snapshot for the row; it may raise TaskLost.
    """

    def __init__(
        self,
        streams: Streams,
        task_id: str,
        fence: int,
        *,
        ring: Callable[[int], None],
        note: Callable[[str], None],
        clock: Callable[[], float] = time.monotonic,
        timer: Callable[[float, Callable[[], None]], threading.Timer] = threading.Timer,
    ) -> None:
        self._timer = timer
        self._streams, self._task_id, self._fence = streams, task_id, fence
        self._ring, self._note, self._clock = ring, note, clock
        self._pieces: list[str] = []
        self._fresh: list[str] = []
        self._kept = 0  # bytes that the stream holds of ours
        self._lock = threading.Lock()  # pieces go out in their order, whoever sends them
        self._later: threading.Timer | None = None
        self._told_at, self._noted_at = -BELL_EVERY, clock()
        self.first_at: float | None = None  # when the first piece came, by the clock
        streams.replace(task_id, fence, "")

    @property
    def text(self) -> str:
        return "".join(self._pieces)

    def write(self, piece: str) -> None:
        if not piece:
            return
        now = self._clock()
        if self.first_at is None:
            self.first_at = now
        with self._lock:
            self._pieces.append(piece)
            self._fresh.append(piece)
            due = now - self._told_at >= BELL_EVERY
            if not due and self._later is None:
                self._later = self._timer(BELL_EVERY - (now - self._told_at), self.flush)
                self._later.daemon = True
                self._later.start()
        if due:
            self.flush()
        if now - self._noted_at >= NOTE_EVERY:
            self._noted_at = now
            self._note(self.text)

    def flush(self) -> None:
        """Into the stream, and ring. What a lost Redis forgot is written again as a whole."""
        with self._lock:
            later, self._later = self._later, None
            if later is not None:
                later.cancel()
            self._told_at = self._clock()
            length = self._send()
        if length:
            self._ring(length)

    def _send(self) -> int:
        """Bytes of the whole, 0 when there was nothing new."""
        fresh, self._fresh = "".join(self._fresh), []
        if not fresh:
            return 0
        self._kept += len(fresh.encode("utf-8", "replace"))
        length = self._streams.append(self._task_id, self._fence, fresh)
        if 0 < length < LONGEST and length != self._kept:
            self._streams.replace(self._task_id, self._fence, self.text)
        return self._kept

    def start_again(self) -> None:
        """Forget what was written: the next piece begins a new text."""
        with self._lock:
            self._pieces, self._fresh, self._kept = [], [], 0
            self._streams.replace(self._task_id, self._fence, "")
