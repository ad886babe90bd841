"""The queue peers where the shared script is absent: Celery, and a job body that every side runs.

Calls used by the benches: PORT, SQL, M, _tl, db, insert, start, stop, sender. B1_PORT, B1_TMP, B1_SQLITE, B1_PG as
there. Loaded with B1_LIB=celery it is the Celery application.
"""

import json
import os
import signal
import sqlite3
import subprocess
import sys
import threading
import time

import redis

PORT = int(os.environ.get("B1_PORT", "26379"))
SQL, DSN = os.environ.get("B1_SQLITE", "b1.sqlite3"), os.environ.get("B1_PG", "")
HERE = os.path.dirname(os.path.abspath(__file__))
M = redis.Redis(port=PORT, db=6)
_tl = threading.local()

WORKERS = {
    "celery-prefork-2": ["-c", "2"],
    "celery-threads-16": ["-P", "threads", "-c", "16"],
}


def db(row):
    connection = getattr(_tl, row, None)
    if connection is None:
        if row == "sqlite":
            connection = sqlite3.connect(SQL, timeout=30, isolation_level=None)
            connection.execute("pragma journal_mode=wal")
            connection.execute("pragma synchronous=normal")
            connection.execute("create table if not exists job(id integer primary key, st text, t real, payload text)")
        else:
            import psycopg

            connection = psycopg.connect(DSN, autocommit=True)
        setattr(_tl, row, connection)
    return connection


def insert(row):
    slot = "?" if row == "sqlite" else "%s"
    sql = f"insert into job(st, t, payload) values('queued', {slot}, {slot}) returning id"
    return db(row).execute(sql, (time.time(), "x" * 200)).fetchone()[0]


def status(row, id, value):
    slot = "?" if row == "sqlite" else "%s"
    db(row).execute(f"update job set st = {slot} where id = {slot}", (value, id))


def body(sent, row="", id=0, jobs=0):
    now = time.time()
    if row:
        status(row, id, "running")
        status(row, id, "done")
    if not jobs:
        M.rpush("lat", now - sent)
        return
    count = M.incr("k")
    if count == 1:
        M.set("t0", now)
    if count == jobs:
        M.rpush("fin", time.time())


if os.environ.get("B1_LIB") == "celery":
    from celery import Celery

    app = Celery("b1", broker=f"redis://127.0.0.1:{PORT}/1")
    app.conf.update(worker_prefetch_multiplier=1, task_acks_late=True, task_serializer="json", accept_content=["json"],
                    task_ignore_result=True, broker_connection_retry_on_startup=True)  # fmt: skip
    job = app.task(name="job")(body)


def start(label):
    command = [sys.executable, "-m", "celery", "-A", "b1_queue:app", "worker", "-l", "ERROR", "--without-gossip",
               "--without-mingle", *WORKERS[label]]  # fmt: skip
    return subprocess.Popen(command, cwd=os.environ.get("B1_TMP", "."), env=_env(), start_new_session=True,
                            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)  # fmt: skip


def stop(process):
    for number in (signal.SIGTERM, signal.SIGKILL):
        try:
            os.killpg(process.pid, number)
            process.wait(8)
            return
        except ProcessLookupError:
            return
        except subprocess.TimeoutExpired:
            continue


def sender(_library):
    """A process that sends; `command(n, 0, row, jobs)` -> [seconds in all, p50 us, p95 us]."""
    process = subprocess.Popen([sys.executable, "-c", "import b1_queue; b1_queue._send()"], env=_env(), text=True,
                               stdin=subprocess.PIPE, stdout=subprocess.PIPE)  # fmt: skip

    def command(n, _sleep=0, row="", jobs=0):
        process.stdin.write(json.dumps([n, row, jobs]) + "\n")
        process.stdin.flush()
        return json.loads(process.stdout.readline())

    return process, command


def _send():
    for line in sys.stdin:
        n, row, jobs = json.loads(line)
        took = []
        for _ in range(n):
            began = time.perf_counter()
            id = insert(row) if row else 0
            job.delay(time.time(), row, id, jobs)
            took.append(time.perf_counter() - began)
        took.sort()
        print(json.dumps([sum(took), took[n // 2] * 1e6, took[int(n * 0.95)] * 1e6]), flush=True)


def _env():
    return {**os.environ, "B1_LIB": "celery", "PYTHONPATH": HERE}
