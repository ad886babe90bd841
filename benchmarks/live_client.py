"""Many live clients in one process that do nothing but read the clock.

Argument: JSON with port, kind (ws, sse, poll), path with `{id}`, ids, clients, key. Prints one line when all are
connected; ends and prints its figures when a line arrives on standard input.
"""

from __future__ import annotations

import asyncio
import json
import random
import re
import sys
import time
from typing import Any

MARK = re.compile(rb"@(\d+):(\d+):([\d.]+)#")
UPGRADE = (
    "Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
    "Sec-WebSocket-Version: 13\r\n"
)


class Reader(asyncio.Protocol):
    def __init__(self, config: dict[str, Any], index: int, out: dict[str, Any]) -> None:
        self.config, self.index, self.out = config, index, out
        self.tail = b""
        self.last = -1
        self.up = asyncio.get_running_loop().create_future()
        self.count = self.gaps = 0
        self.lost = False

    def connection_made(self, transport: Any) -> None:
        self.transport = transport
        if self.config["kind"] == "poll":
            asyncio.get_running_loop().call_later(random.uniform(0, 2), self.poll)
        else:
            self.ask(self.config["path"], UPGRADE if self.config["kind"] == "ws" else "")

    def poll(self) -> None:
        if not self.transport.is_closing():
            self.ask(self.config["path"])
            asyncio.get_running_loop().call_later(2.0, self.poll)

    def ask(self, path: str, more: str = "") -> None:
        path = path.replace("{id}", str(self.config["ids"][self.index])).replace("{after}", str(self.out["after"]))
        key = f"Authorization: Bearer {self.config['key']}\r\n" if self.config.get("key") else ""
        self.transport.write(
            f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1:{self.config['port']}\r\n{key}{more}\r\n".encode()
        )

    def data_received(self, data: bytes) -> None:
        now = time.time()
        if not self.up.done():
            self.up.set_result(True)
        data = self.tail + data
        end = 0
        for match in MARK.finditer(data):
            end = match.end()
            index, number, sent = int(match[1]), int(match[2]), float(match[3])
            if index != self.index or number <= self.last:
                continue
            if self.last >= 0 and number != self.last + len(self.config["ids"]):
                self.gaps += 1
            self.last = number
            self.count += 1
            self.out["latency"].append((now - sent) * 1000)
        self.tail = data[max(end, len(data) - 100) :]

    def connection_lost(self, exc: Exception | None) -> None:
        self.lost = True
        if not self.up.done():
            self.up.set_result(False)


async def main() -> None:
    config = json.loads(sys.argv[1])
    loop = asyncio.get_running_loop()
    out: dict[str, Any] = {"latency": [], "after": 0}
    readers: list[Reader] = []
    for n in range(config["clients"]):
        for _ in range(5):
            try:
                made = await loop.create_connection(
                    lambda n=n: Reader(config, n % len(config["ids"]), out), "127.0.0.1", config["port"]
                )
                readers.append(made[1])
                break
            except OSError:
                await asyncio.sleep(0.2)
        if n % 20 == 19:
            await asyncio.gather(*(one.up for one in readers[-20:]))
    up = await asyncio.wait_for(asyncio.gather(*(one.up for one in readers)), 60)
    print(json.dumps({"up": sum(up)}), flush=True)
    await loop.run_in_executor(None, sys.stdin.readline)
    latency = sorted(out["latency"])
    print(json.dumps({
        "latency": latency[:: max(1, len(latency) // 5000)], "received": len(latency),
        "counts": [one.count for one in readers], "gaps": sum(one.gaps for one in readers),
        "lost": sum(one.lost for one in readers),
    }), flush=True)  # fmt: skip


asyncio.run(main())
