"""The accept route as a careful FastAPI author writes it: key look-up, validation, row and event, enqueue, 201.

It works on the very tables of Brainstem (same columns, same indexes), with SQLAlchemy Core and one transaction. It
has no rate limit, no CSRF rule, no request ids and no security headers.

ACCEPT_DB: SQLAlchemy URL of a migrated database. ACCEPT_REDIS: port of Redis; empty: a queue inside the process.
Started as `uvicorn benchmarks.peers.accept_api:app`.
"""

import hashlib
import json
import os
import queue
import threading
import uuid
from datetime import UTC, datetime
from typing import Annotated, Any, Literal

from fastapi import FastAPI, Header, HTTPException
from pydantic import BaseModel, Field, ValidationError
from sqlalchemy import MetaData, Table, create_engine, event, insert, select

URL = os.environ["ACCEPT_DB"]
REDIS = os.environ.get("ACCEPT_REDIS", "")
SQLITE = URL.startswith("sqlite")

engine = create_engine(URL, pool_size=10, max_overflow=30)
if SQLITE:

    @event.listens_for(engine, "connect")
    def _connect(connection, _record):
        connection.isolation_level = None
        for pragma in ("journal_mode=WAL", "synchronous=NORMAL", "foreign_keys=ON", "busy_timeout=15000"):
            connection.execute(f"PRAGMA {pragma}")

    @event.listens_for(engine, "begin")
    def _begin(connection):
        connection.exec_driver_sql("BEGIN IMMEDIATE")


meta = MetaData()
users, keys, tasks, events = (
    Table(n, meta, autoload_with=engine) for n in ("users", "api_keys", "tasks", "task_events")
)
engine.dispose()
LOOK_UP = (
    select(keys.c.scopes, keys.c.expires_at, keys.c.revoked_at, users.c.id, users.c.username, users.c.is_active)
    .join(users, users.c.id == keys.c.user_id)
)  # fmt: skip

if REDIS:
    import redis

    client = redis.Redis(port=int(REDIS), db=8)

    def enqueue(task_id: str) -> None:
        client.lpush("jobs", json.dumps({"id": str(uuid.uuid4()), "args": [task_id]}))

else:
    waiting: queue.SimpleQueue[str] = queue.SimpleQueue()
    enqueue = waiting.put

    def _drain() -> None:
        while True:
            waiting.get()

    threading.Thread(target=_drain, daemon=True).start()


class Config(BaseModel):
    prompt: str = ""
    n: int = 0


class TaskIn(BaseModel):
    title: str = Field("", max_length=300)
    task_type: str = Field(max_length=64)
    task_config: dict[str, Any] = {}
    priority: Literal["low", "normal", "high", "urgent"] = "normal"


class TaskOut(BaseModel):
    id: str
    title: str
    task_type: str
    task_config: dict[str, Any]
    status: str
    progress: int
    message: str
    created_by: str
    priority: str
    created_at: str
    updated_at: str


app = FastAPI()


@app.get("/api/v1/ready")
def ready() -> dict[str, bool]:
    return {"ready": True}


@app.post("/api/v1/utils/ai-tasks/", status_code=201)
def create(body: TaskIn, authorization: Annotated[str, Header()]) -> TaskOut:
    secret = authorization.removeprefix("Bearer ")
    now = datetime.now(UTC)
    at = now.replace(tzinfo=None) if SQLITE else now
    with engine.begin() as connection:
        key_hash = hashlib.sha256(secret.encode()).hexdigest()
        row = connection.execute(LOOK_UP.where(keys.c.key_hash == key_hash)).first()
        ended = row is None or row.revoked_at is not None or (row.expires_at is not None and row.expires_at <= at)
        if ended or not row.is_active:
            raise HTTPException(401, "bad key")
        if "tasks:write" not in row.scopes:
            raise HTTPException(403, "scope")
        try:
            params = Config.model_validate(body.task_config).model_dump(mode="json")
        except ValidationError as exc:
            raise HTTPException(400, exc.errors()) from None
        task_id = str(uuid.uuid4())
        connection.execute(insert(tasks), {
            "id": task_id, "owner_id": row.id, "kind": body.task_type, "title": body.title, "status": "queued",
            "queue": "interactive", "rank": 2, "progress": 0, "message": "Waiting", "seq": 1, "params": params,
            "attempt": 0, "max_attempts": 1, "crashes": 0, "fence": 0, "time_limit": 7200.0,
            "cancel_requested": False, "created_at": at, "updated_at": at,
        })  # fmt: skip
        connection.execute(insert(events), {
            "task_id": task_id, "seq": 1, "type": "status", "level": "info", "status": "queued", "progress": 0,
            "message": "Queued", "at": at,
        })  # fmt: skip
    enqueue(task_id)
    stamp = now.isoformat()
    return TaskOut(id=task_id, title=body.title, task_type=body.task_type, task_config=params, status="pending",
                   progress=0, message="Waiting", created_by=row.username, priority=body.priority, created_at=stamp,
                   updated_at=stamp)  # fmt: skip
