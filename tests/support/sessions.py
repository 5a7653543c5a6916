"""Sessions that hold locks, and statements that wait for them."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from typing import TypeVar

import psycopg2
from psycopg2.extensions import connection

from foundry.database import Target

T = TypeVar("T")


@contextmanager
def session(target: Target, name: str = "other") -> Iterator[connection]:
    """Open a session in autocommit mode; closes it at the end."""
    params = {**target.params, "application_name": name}
    with closing(psycopg2.connect(**params)) as conn:
        conn.autocommit = True
        yield conn


@contextmanager
def holding(target: Target, *statements: str, name: str = "holder") -> Iterator[connection]:
    """Open a session that has run statements in a transaction and is idle in it."""
    with session(target, name) as conn:
        for statement in ("BEGIN", *statements):
            ran(conn, statement)
        yield conn


def pid_of(conn: connection) -> int:
    """Return the server process of a session that is open."""
    pid = conn.info.backend_pid
    assert pid
    return pid


def ran(conn: connection, statement: str, *values: object) -> list[tuple[object, ...]]:
    """Run a statement; returns its rows."""
    with conn.cursor() as cursor:
        cursor.execute(statement, values or None)
        return list(cursor.fetchall()) if cursor.description is not None else []


class Running:
    """A statement that runs in another thread; `failure` is what became of it."""

    def __init__(self, conn: connection, statement: str) -> None:
        self.failure: psycopg2.Error | None = None
        self._conn = conn
        self._statement = statement
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        try:
            ran(self._conn, self._statement)
        except psycopg2.Error as error:
            self.failure = error

    def ended(self) -> psycopg2.Error | None:
        """Wait for the end of the statement."""
        self._thread.join(30)
        assert not self._thread.is_alive()
        return self.failure


@contextmanager
def waiting(target: Target, statement: str, name: str = "waiting") -> Iterator[connection]:
    """Open a session whose statement waits for a lock; cancels it at the end."""
    with session(target, name) as conn, session(target, "looker") as looker:
        running = Running(conn, statement)
        try:
            eventually(lambda: is_waiting(looker, pid_of(conn)))
            yield conn
        finally:
            ran(looker, "SELECT pg_cancel_backend(%s)", pid_of(conn))
            running.ended()


def is_waiting(looker: connection, pid: int) -> bool:
    """Whether a server process waits for a lock."""
    return bool(ran(looker, "SELECT FROM pg_locks WHERE pid = %s AND NOT granted", pid))


def eventually(question: Callable[[], T], seconds: float = 20) -> T:
    """Ask until the answer is true; returns it."""
    deadline = time.monotonic() + seconds
    while not (answer := question()):
        assert time.monotonic() < deadline, "it never was so"
        time.sleep(0.02)
    return answer
