"""Steps that need a strong lock for an instant: tried briefly, again and again.

A statement that waits for ACCESS EXCLUSIVE keeps everybody who comes after it waiting too, so
it may not wait for long.
"""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from typing import TypeVar

import psycopg2
from peewee import PeeweeException, PostgresqlDatabase
from psycopg2 import sql
from psycopg2.extensions import cursor as Cursor

from foundry.database import Target
from foundry.migrate import queries
from foundry.migrate.blockers import AUTOVACUUM, Blocker, blocking, named, timed_out
from foundry.migrate.watching import polling, sqlstate

T = TypeVar("T")

LOCK_TIMEOUT = 0.1

# lock_not_available, deadlock_detected, serialization_failure.
_ANOTHER_TIME = frozenset({"55P03", "40P01", "40001"})
_LOOK = 0.05
_FREE = 10
"""Looks in one try after which nobody is in the way any more."""
_AGAIN = 5.0
_SHORTEST, _LONGEST, _GROWTH = 0.15, 2.0, 1.5
_CONNECTED = 2.0


def retried(
    attempt: Callable[[], T],
    *,
    database: PostgresqlDatabase,
    target: Target,
    what: str | Callable[[], str],
    wait: float,
    report: Callable[[str], None],
    waits: Callable[[tuple[Blocker, ...]], None] = lambda blockers: None,
    lock_timeout: float = LOCK_TIMEOUT,
    transaction: bool = True,
) -> T:
    """Call `attempt` in a transaction with a short lock_timeout until it has its locks.

    The transaction is begun and committed here, on `database`, which must not be in one; all of
    it is rolled back before `attempt` is called again, at least once more and until it waited
    for `wait` seconds in sum, pauses included and its work not. Then LockTimeout names `what`
    and who was in the way; `report` gets a line about that every few seconds, and `waits` is
    called in another thread when who is in the way changes. Other errors pass through, and so do
    those of an attempt that committed something by itself. A statement that only changes rows is
    given twice the time with each try, after `limits.settled()`: on a table where all is busy it
    would never get all of its rows within the short one.

    Without `transaction` nothing is begun here: for what must stand alone, and may be done again
    where it was done by half.
    """
    if database.in_transaction():
        raise ValueError("retried() needs a session that is not in a transaction")
    named_now = what if callable(what) else lambda: str(what)
    waited, row_timeout = 0.0, lock_timeout
    pauses = _pauses()
    with ExitStack() as stack:
        lookout: _Lookout | None = None
        while True:
            began: list[str] = []
            try:
                with lookout.while_trying() if lookout else ExitStack():
                    if transaction:
                        return _attempted(attempt, database, (lock_timeout, row_timeout), began)
                    return _attempted_alone(attempt, database, lock_timeout)
            except Exception as error:
                if sqlstate(error) not in _ANOTHER_TIME or _committed(database, began):
                    raise
                waited += max(lock_timeout, lookout.blocked if lookout else 0.0)
                row_timeout = max(lock_timeout, min(2 * row_timeout, wait - waited))
                if lookout is None:
                    lookout = _Lookout(database, named_now, report, waits)
                    stack.enter_context(lookout.opened(target))
                    continue
                if waited >= wait:
                    raise timed_out(named_now(), wait, lookout.seen) from error
                lookout.tell()
            _dislodge(database, lookout.seen)
            pause = max(0.0, min(next(pauses), wait - waited))
            waited += pause
            time.sleep(pause)


def _attempted(
    attempt: Callable[[], T],
    database: PostgresqlDatabase,
    timeouts: tuple[float, float],
    began: list[str],
) -> T:
    with database.atomic():
        lock, row = (str(round(min(max(0.001, s) * 1000, 2**31 - 1))) for s in timeouts)
        began.append(
            database.execute_sql(
                queries.text("attempt_begun"), {"lock": lock, "row": row}
            ).fetchone()[-1]
        )
        return attempt()


def _attempted_alone(
    attempt: Callable[[], T], database: PostgresqlDatabase, lock_timeout: float
) -> T:
    before = database.execute_sql("SHOW lock_timeout").fetchone()[0]
    database.execute_sql("SELECT set_config('lock_timeout', %s, false)", (_written(lock_timeout),))
    try:
        return attempt()
    finally:
        # The connection may be what was lost.
        with suppress(PeeweeException, psycopg2.Error):
            database.execute_sql("SELECT set_config('lock_timeout', %s, false)", (before,))


def _written(lock_timeout: float) -> str:
    return str(max(1, round(lock_timeout * 1000)))


def _committed(database: PostgresqlDatabase, began: list[str]) -> bool:
    """True when the attempt ended the transaction it was called in: it cannot be repeated."""
    status = [
        database.execute_sql(queries.text("attempt_status"), (xid,)).fetchone()[0] for xid in began
    ]
    return "committed" in status


def _dislodge(database: PostgresqlDatabase, blockers: tuple[Blocker, ...]) -> None:
    """Have autovacuum leave the tables it is at, unless it is there against wraparound.

    An attempt is too short for that. SHARE UPDATE EXCLUSIVE is a lock that autovacuum conflicts
    with and readers and writers do not, so it may be waited for.
    """
    pids = [blocker.pid for blocker in blockers if blocker.kind == AUTOVACUUM]
    if not pids:
        return
    # What fails here, for want of a privilege say, is no worse than before.
    with suppress(PeeweeException, psycopg2.Error), database.atomic():
        database.execute_sql(queries.text("past_deadlock_timeout"))
        held = database.execute_sql(queries.text("vacuumed_tables"), {"pids": pids}).fetchall()
        lock = sql.SQL("LOCK TABLE ONLY {} IN SHARE UPDATE EXCLUSIVE MODE")
        for namespace, name in held:
            database.cursor().execute(lock.format(sql.Identifier(namespace, name)))


def _pauses() -> Iterator[float]:
    pause = _SHORTEST
    while True:
        # Two runs that got into each other's way must not do so again.
        yield pause * random.uniform(0.5, 1.0)
        pause = min(pause * _GROWTH, _LONGEST)


class _Lookout:
    """Looks, from a session of its own, who is in the way during an attempt.

    When the attempt has failed its wait is over and nobody can tell any more.
    """

    def __init__(
        self,
        database: PostgresqlDatabase,
        what: Callable[[], str],
        report: Callable[[str], None],
        waits: Callable[[tuple[Blocker, ...]], None],
    ) -> None:
        self.seen: tuple[Blocker, ...] = ()
        self.blocked = 0.0
        """Seconds that somebody was seen to be in the way, in the last try."""
        self._waits = waits
        self._looked = 0.0
        self._blocking = False
        self._free = 0
        self._shown: frozenset[int] = frozenset()
        self._pid = database.connection().info.backend_pid
        self._what = what
        self._report = report
        self._told_at: float | None = None
        self._alone = False
        self._ready = threading.Event()
        self._trying = threading.Event()

    @contextmanager
    def opened(self, target: Target) -> Iterator[None]:
        with polling(target, self._look, every=_LOOK, lost=self._lost):
            self._ready.wait(_CONNECTED)
            try:
                yield
            finally:
                self._waits(())

    @contextmanager
    def while_trying(self) -> Iterator[None]:
        self.blocked, self._blocking = 0.0, False
        self._trying.set()
        try:
            yield
        finally:
            self._trying.clear()

    def tell(self) -> None:
        now = time.monotonic()
        if self._told_at is None or now >= self._told_at + _AGAIN:
            self._told_at = now
            self._report(f"{self._what()} waits for {named(self.seen) or 'a lock'}")

    def _look(self, cursor: Cursor) -> None:
        self._ready.set()
        now = time.monotonic()
        passed, self._looked = min(now - self._looked, 2 * _LOOK), now
        found = blocking(cursor, self._pid) if self._trying.is_set() else ()
        self.blocked += passed if found and self._blocking else 0.0
        self._blocking = bool(found)
        self._free = 0 if found or not self._trying.is_set() else self._free + 1
        if self._free == _FREE:
            self._waits(())
            self._shown = frozenset()
        if found:
            pids = frozenset(b.pid for b in found)
            if pids != self._shown:
                self._waits(found)
            self._shown, self.seen = pids, found

    def _lost(self, reason: str) -> None:
        self._ready.set()
        if not self._alone:
            self._alone = True
            self._report(f"who is in the way is not shown: {reason}")
