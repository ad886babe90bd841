"""Do the database and Redis answer? Asked in threads of their own, so that what hangs never hangs a page.

At most one question to each is under way: while a frozen server has not answered, nobody asks it again.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any
from weakref import WeakKeyDictionary

from sqlalchemy import Engine
from sqlalchemy.exc import DBAPIError

from webapp.runtime import Runtime

PATIENCE = 1.0  # seconds a page waits for an answer
HARDLY = 0.1  # and for one that had none the last time
SLOW = 0.25  # a trivial question that takes longer is worth a line
TOO_SLOW = 0.6  # a page of ten questions would take longer than a person should wait


@dataclass(frozen=True)
class Look:
    """`database` and each of `others`: None when it answers, else why not. `seconds`: the database's trivial answer."""

    database: str | None
    seconds: float
    others: dict[str, str] = field(default_factory=dict)

    @property
    def usable(self) -> bool:
        return self.database is None and self.seconds < TOO_SLOW


class _Question:
    """One thing to ask, and the answer of the last time."""

    def __init__(self, check: Callable[[], Any]) -> None:
        self._check = check  # what it returns is trouble too, if it is anything
        self._lock = threading.Lock()
        self._done = threading.Event()
        self._done.set()
        self._began = 0.0
        self._well = True
        self.answer: Any = None
        self.trouble: str | None = None
        self.seconds = 0.0

    def ask(self, until: float) -> None:
        """Wait for an answer until `until` (monotonic). Who did not answer well last time is hardly waited for."""
        with self._lock:
            if self._done.is_set():
                self._done.clear()
                self._began = time.monotonic()
                threading.Thread(target=self._run, name="probe", daemon=True).start()
        if self._done.wait(max(0.0, until - time.monotonic()) if self._well else HARDLY):
            return
        self.seconds = time.monotonic() - self._began
        if self._well:
            self.trouble, self._well = f"no answer within {PATIENCE:g} s", False

    def _run(self) -> None:
        try:
            self.answer, trouble = self._check(), None
        except Exception as exc:
            trouble = type(exc).__name__
        self.seconds, self.trouble = time.monotonic() - self._began, trouble
        self._well = trouble is None and not self.answer
        self._done.set()


_questions: WeakKeyDictionary[Engine, tuple[_Question, _Question]] = WeakKeyDictionary()


def look(rt: Runtime) -> Look:
    """Ask both at once. Takes at most `PATIENCE` and a little."""
    database, others = _questions.setdefault(
        rt.engine, (_Question(lambda: _select_one(rt.engine)), _Question(lambda: _other_troubles(rt)))
    )
    until = time.monotonic() + PATIENCE
    database.ask(until)
    if rt.roles:
        others.ask(until)
    if database.trouble or database.seconds >= SLOW:
        # `ping` asks the database as well: what it says, or does not say, is no news of the others then.
        return Look(database.trouble, database.seconds)
    if others.trouble:
        return Look(None, database.seconds, {"redis": others.trouble})
    return Look(None, database.seconds, others.answer or {})


def _other_troubles(rt: Runtime) -> dict[str, str]:
    return {name: trouble for name, trouble in rt.ping().items() if trouble and name != "database"}


def _select_one(engine: Engine) -> None:
    for last in (False, True):
        try:
            with engine.connect().execution_options(readonly=True) as connection:
                connection.exec_driver_sql("SELECT 1")
            return
        except DBAPIError as exc:
            if last or not exc.connection_invalidated:  # a kept connection died with a restarted server
                raise
