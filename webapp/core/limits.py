"""Rate limits (sliding window) and counted seats, in memory or in Redis."""

from __future__ import annotations

import math
import threading
import time
from collections import defaultdict
from functools import lru_cache
from typing import Any, Protocol


class Limits(Protocol):
    def hit(self, key: str, spec: str) -> int | None:
        """Count one; None when allowed, else whole seconds until it would be."""

    def take_seat(self, groups: dict[str, int], member: str, ttl: float) -> str | None:
        """Take a seat in every group (name -> size) for `ttl` seconds; the name of a full group, or None."""

    def keep_seats(self, groups: list[str], members: list[str], ttl: float) -> None: ...
    def free_seat(self, groups: list[str], member: str) -> None: ...


class RateLimits:
    """Rates by the `limits` library. Storage trouble lets the request pass: limits protect, they do not decide."""

    def __init__(self, storage_uri: str, **options: Any) -> None:
        self._uri, self._options = storage_uri, options
        self._strategy: Any = None
        self._lock = threading.Lock()

    def hit(self, key: str, spec: str) -> int | None:
        strategy = self._get()
        item = _parse(spec)
        try:
            if strategy.hit(item, key):
                return None
            reset, _left = strategy.get_window_stats(item, key)
        except Exception:
            return None
        return max(1, math.ceil(reset - time.time()))

    def _get(self) -> Any:
        with self._lock:
            if self._strategy is None:
                from limits.storage import storage_from_string
                from limits.strategies import SlidingWindowCounterRateLimiter

                self._strategy = SlidingWindowCounterRateLimiter(storage_from_string(self._uri, **self._options))
        return self._strategy


@lru_cache(maxsize=64)
def _parse(spec: str) -> Any:
    from limits import parse

    return parse(spec)


class MemoryLimits:
    """Embedded mode: one process counts every hit and holds every seat.

    The library's own storage in memory starts a thread for every few hits; its sliding window is ten lines.
    """

    def __init__(self) -> None:
        self._seats: dict[str, dict[str, float]] = defaultdict(dict)
        self._seats_lock = threading.Lock()
        self._windows: dict[tuple[str, str], tuple[int, int, int]] = {}  # number of the window, hits before it, in it
        self._windows_lock = threading.Lock()

    def hit(self, key: str, spec: str) -> int | None:
        item = _parse(spec)
        size, allowed = float(item.get_expiry()), int(item.amount)
        number, passed = divmod(time.time() / size, 1.0)
        with self._windows_lock:
            last, before, within = self._windows.get((key, spec), (0, 0, 0))
            if last != number:
                before, within = (within if last == number - 1 else 0), 0
            if int(before * (1.0 - passed)) + within >= allowed:
                return _wait(before, within, allowed, passed, size)
            self._windows[(key, spec)] = (int(number), before, within + 1)
            if len(self._windows) > 20_000:
                self._forget_windows()
        return None

    def _forget_windows(self) -> None:
        now = time.time()
        self._windows = {
            (key, spec): window
            for (key, spec), window in self._windows.items()
            if window[0] >= now // _parse(spec).get_expiry() - 1
        }

    def take_seat(self, groups: dict[str, int], member: str, ttl: float) -> str | None:
        now = time.monotonic()
        with self._seats_lock:
            for group, size in groups.items():
                seats = self._seats[group]
                for gone in [one for one, until in seats.items() if until < now]:
                    del seats[gone]
                if len(seats) >= size and member not in seats:
                    return group
            for group in groups:
                self._seats[group][member] = now + ttl
        return None

    def keep_seats(self, groups: list[str], members: list[str], ttl: float) -> None:
        until = time.monotonic() + ttl
        with self._seats_lock:
            for group in groups:
                self._seats[group].update((member, until) for member in members if member in self._seats[group])

    def free_seat(self, groups: list[str], member: str) -> None:
        with self._seats_lock:
            for group in groups:
                self._seats[group].pop(member, None)
                if not self._seats[group]:
                    del self._seats[group]


def _wait(before: int, within: int, allowed: int, passed: float, size: float) -> int:
    """Whole seconds until a hit fits: hits of the window before count less and less while this one passes."""
    if within >= allowed:  # the next window begins with these
        return max(1, math.ceil((1.0 - passed + _faded(within, allowed, 0)) * size))
    return max(1, math.ceil((_faded(before, allowed, within) - passed) * size))


def _faded(before: int, allowed: int, within: int) -> float:
    return max(0.0, 1.0 - (allowed - within) / before)


# KEYS: one sorted set per group. ARGV: member, ttl, then each group's size. Redis's own clock decides.
_TAKE = """
local t = redis.call('TIME'); local now = tonumber(t[1]) + tonumber(t[2]) / 1e6
for i, key in ipairs(KEYS) do
  redis.call('ZREMRANGEBYSCORE', key, '-inf', now)
  if redis.call('ZCARD', key) >= tonumber(ARGV[2 + i]) and not redis.call('ZSCORE', key, ARGV[1]) then return i end
end
for _, key in ipairs(KEYS) do
  redis.call('ZADD', key, now + tonumber(ARGV[2]), ARGV[1]); redis.call('EXPIRE', key, math.ceil(tonumber(ARGV[2])) + 60)
end
return 0
"""


class RedisLimits(RateLimits):
    """Deployment: seats are counted over all processes; they expire when a process dies."""

    def __init__(self, url: str) -> None:
        super().__init__(url, socket_timeout=0.5, socket_connect_timeout=0.5)
        self._url = url
        self._client: Any = None

    def take_seat(self, groups: dict[str, int], member: str, ttl: float) -> str | None:
        names = list(groups)
        try:
            full = self._redis().eval(
                _TAKE, len(names), *[_key(name) for name in names], member, ttl, *[groups[name] for name in names]
            )
        except Exception:
            return None  # without Redis the process's own cap still holds
        return names[full - 1] if full else None

    def keep_seats(self, groups: list[str], members: list[str], ttl: float) -> None:
        for member in members:
            self.take_seat(dict.fromkeys(groups, 1 << 30), member, ttl)

    def free_seat(self, groups: list[str], member: str) -> None:
        try:
            pipe = self._redis().pipeline(transaction=False)
            for group in groups:
                pipe.zrem(_key(group), member)
            pipe.execute()
        except Exception:
            return  # the seat expires by itself

    def _redis(self) -> Any:
        if self._client is None:
            import redis

            self._client = redis.Redis.from_url(self._url, socket_timeout=0.5, socket_connect_timeout=0.5)
        return self._client


def _key(group: str) -> str:
    return f"brainstem:seats:{group}"
