"""Writers by the bare sqlite3 driver where the shared script is absent: `wal` has our settings, `naive` the driver's."""

import random
import sqlite3
import threading
import time

PACE = 0.0
SCHEMA = [
    "create table if not exists job(id integer primary key, st text, n int default 0)",
    "create table if not exists event(id integer primary key, job int, t real, body text)",
    "create index if not exists ix on event(job, id)",
]


def connect(path, config):
    if config == "naive":
        return sqlite3.connect(path, timeout=5)
    connection = sqlite3.connect(path, timeout=10, isolation_level=None)
    for pragma in ("journal_mode=wal", "synchronous=normal", "busy_timeout=10000"):
        connection.execute(f"pragma {pragma}")
    return connection


def write(connection, config, job):
    if not connection.in_transaction:
        connection.execute("begin" if config == "naive" else "begin immediate")
    try:
        number = connection.execute("select n from job where id = ?", (job,)).fetchone()[0]
        connection.execute("update job set n = ?, st = 'running' where id = ?", (number + 1, job))
        connection.execute("insert into event(job, t, body) values(?, ?, ?)", (job, time.time(), "x" * 200))
        connection.commit()
        return True
    except sqlite3.OperationalError:
        connection.rollback()
        return False


def threads(path, config, count, until, base=0):
    out = []

    def run(job):
        connection, took, failed = connect(path, config), [], 0
        while time.time() < until:
            if PACE:
                time.sleep(random.expovariate(PACE))
            began = time.perf_counter()
            if write(connection, config, job):
                took.append(time.perf_counter() - began)
            else:
                failed += 1
        out.append((took, failed))
        connection.close()

    running = [threading.Thread(target=run, args=(base + n + 1,)) for n in range(count)]
    for thread in running:
        thread.start()
    for thread in running:
        thread.join()
    return out
