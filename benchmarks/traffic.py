"""Sessions that use two tables all the time, and know what they did to them.

Four write (updates of one row, inserts, deletes of what they inserted) and four read one row at a
time. Each waits some milliseconds between two statements and notes how long each of them took.
"""

from __future__ import annotations

import random
import threading
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, replace

import psycopg2

from foundry.database import Target, open_connection

WRITERS, READERS = 4, 4
OWNERS = 10_000
_PAUSE = 0.008
_HIT = "UPDATE item SET hits = hits + 1 WHERE id = %s"
_VISIT = "UPDATE owner SET visits = visits + 1 WHERE id = %s"
_INSERT = """
INSERT INTO item (owner_id, tag, kind, score, body) VALUES (%s, %s, 'new', 1, 'x') RETURNING id
"""
_DELETE = "DELETE FROM item WHERE id = %s"
_READ = "SELECT hits FROM item WHERE id = %s"
_READ_OWNER = "SELECT name FROM owner WHERE id = %s"
_COUNTED = """
SELECT sum(hits), (SELECT sum(visits) FROM owner), count(*), count(DISTINCT tag) FROM item
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Wait:
    """One statement of a client."""

    what: str
    began: float
    seconds: float


class Client(threading.Thread):
    """A session that sends one short statement after the other, and counts what it did."""

    def __init__(self, target: Target, number: int, rows: int, stop: threading.Event) -> None:
        super().__init__(daemon=True)
        self.waits: list[Wait] = []
        self.errors: Counter[str] = Counter()
        self.done: Counter[str] = Counter()
        self._number, self._rows, self._ended = number, rows, stop
        self._writes = number < WRITERS
        self._drawn = random.Random(number)
        self._own: list[int] = []
        self._connection = open_connection(target)
        self._connection.autocommit = True
        self._cursor = self._connection.cursor()

    def run(self) -> None:
        with closing(self._connection):
            while not self._ended.wait(self._drawn.uniform(0.5, 1.5) * _PAUSE):
                what, statement, value = self._write() if self._writes else self._read()
                began = time.perf_counter()
                try:
                    self._cursor.execute(statement, value)
                    self._note(what, value)
                except psycopg2.Error as error:
                    self.errors[str(error).splitlines()[0]] += 1
                took = time.perf_counter() - began
                self.waits.append(Wait(what=what, began=began, seconds=took))

    def _read(self) -> tuple[str, str, tuple[object, ...]]:
        if self._drawn.random() < 0.2:
            return "read of the owner", _READ_OWNER, (self._drawn.randint(1, OWNERS),)
        return "read", _READ, (self._drawn.randint(1, self._rows),)

    def _write(self) -> tuple[str, str, tuple[object, ...]]:
        drawn = self._drawn.random()
        if drawn < 0.1 and self._own:
            return "delete", _DELETE, (self._own[0],)
        if drawn < 0.3:
            tag = f"new {self._number} {self.done['insert']}"
            return "insert", _INSERT, (self._drawn.randint(1, OWNERS), tag)
        if drawn < 0.4:
            return "update of the owner", _VISIT, (self._drawn.randint(1, OWNERS),)
        return "update", _HIT, (self._drawn.randint(1, self._rows),)

    def _note(self, what: str, value: Sequence[object]) -> None:
        if what == "insert":
            self._own.append(self._cursor.fetchone()[0])
        elif self._cursor.rowcount != 1:
            self.errors[f"{what}: {self._cursor.rowcount} rows"] += 1
        if what == "delete":
            self._own.pop(0)
        self.done[what] += 1


@dataclass(frozen=True, slots=True)
class Traffic:
    """All clients of a run."""

    clients: tuple[Client, ...]

    def waits(self, since: float, until: float) -> list[Wait]:
        """Statements that ran in that time or a part of it, the longest first."""
        found = [
            replace(wait, began=wait.began - since)
            for client in self.clients
            for wait in client.waits.copy()
            if wait.began <= until and wait.began + wait.seconds >= since
        ]
        return sorted(found, key=lambda wait: -wait.seconds)

    def errors(self) -> Counter[str]:
        """What clients were told, and how often."""
        return sum((client.errors for client in self.clients), Counter())

    def wrong(self, target: Target, rows: int) -> int:
        """Compare the tables with what the clients counted, when they have ended."""
        done = sum((client.done for client in self.clients), Counter[str]())
        there = rows + done["insert"] - done["delete"]
        wanted = (done["update"], done["update of the owner"], there, there)
        with closing(open_connection(target)) as connection, connection.cursor() as cursor:
            cursor.execute(_COUNTED)
            return sum(abs(int(n) - m) for n, m in zip(cursor.fetchone(), wanted, strict=True))


@contextmanager
def traffic(target: Target, rows: int) -> Iterator[Traffic]:
    """Have clients at work for a block; all have ended behind it."""
    stop = threading.Event()
    clients = tuple(Client(target, n, rows, stop) for n in range(WRITERS + READERS))
    try:
        for client in clients:
            client.start()
        yield Traffic(clients)
    finally:
        stop.set()
        for client in clients:
            client.join()
