"""A FastAPI hub where the shared script is absent: one Redis subscription of the process, one queue a socket.

B2_REDIS: port. `uvicorn b2_progress:asgi`; events are published to `ev:<number>` of database 9.
"""

import asyncio
import os
from contextlib import asynccontextmanager, suppress

import redis.asyncio
from fastapi import FastAPI, WebSocket

readers: dict[int, set[asyncio.Queue[str]]] = {}


async def fan_out() -> None:
    feed = redis.asyncio.Redis(port=int(os.environ.get("B2_REDIS", "26379")), db=9).pubsub()
    await feed.psubscribe("ev:*")
    async for message in feed.listen():
        if message["type"] == "pmessage":
            for queue in list(readers.get(int(message["channel"][3:]), ())):
                queue.put_nowait(message["data"].decode())


@asynccontextmanager
async def life(_app):
    task = asyncio.create_task(fan_out())
    yield
    task.cancel()
    with suppress(asyncio.CancelledError):
        await task


asgi = FastAPI(lifespan=life)


@asgi.get("/ping")
async def ping() -> str:
    return "ok"


@asgi.websocket("/ws/hub/{job}")
async def hub(socket: WebSocket, job: int) -> None:
    await socket.accept()
    queue: asyncio.Queue[str] = asyncio.Queue()
    readers.setdefault(job, set()).add(queue)
    try:
        while True:
            await socket.send_text(await queue.get())
    finally:
        readers[job].discard(queue)
