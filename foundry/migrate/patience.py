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
from foundry.migrate.blockers import AUTOVACUUM, Blocker, blocking, named, statement, timed_out
from foundry.migrate.watching import polling, sqlstate

T = TypeVar("T")

LOCK_TIMEOUT = 0.1

# lock_not_available, deadlock_detected, serialization_failure.
_ANOTHER_TIME = frozenset({"55P03", "40P01", "40001"})
_LOOK = 0.05
_AGAIN = 5.0
_SHORTEST, _LONGEST, _GROWTH = 0.15, 2.0, 1.5
_CONNECTED = 2.0

_BEGUN = """
SELECT pg_catalog.set_config('lock_timeout', %s, true), pg_catalog.pg_current_xact_id()::text
"""
_STATUS = "SELECT pg_catalog.pg_xact_status(%s::xid8)"
# A waiting session has autovacuum cancelled after deadlock_timeout, never before.
_PAST_DEADLOCK_TIMEOUT = """
SELECT pg_catalog.set_config('lock_timeout', (500 + 1000 * extract(epoch FROM
    pg_catalog.current_setting('deadlock_timeout')::interval))::int::text, true)
"""


def retried(
    attempt: Callable[[], T],
    *,
    database: PostgresqlDatabase,
    target: Target,
    what: str,
    wait: float,
    report: Callable[[str], None],
    lock_timeout: float = LOCK_TIMEOUT,
    transaction: bool = True,
) -> T:
    """Call `attempt` in a transaction with a short lock_timeout until it has its locks.

    The transaction is begun and committed here, on `database`, which must not be in one; all of
    it is rolled back before `attempt` is called again, at least once more and for `wait`
    seconds. Then LockTimeout names `what` and who was in the way; `report` gets a line about
    that every few seconds. Other errors pass through, and so do those of an attempt that
    committed something by itself.

    Without `transaction` nothing is begun here: for what must stand alone, and may be done again
    where it was done by half.
    """
    if database.in_transaction():
        raise ValueError("retried() needs a session that is not in a transaction")
    deadline = time.monotonic() + wait
    pauses = _pauses()
    with ExitStack() as stack:
        lookout: _Lookout | None = None
        while True:
            began: list[str] = []
            try:
                with lookout.while_trying() if lookout else ExitStack():
                    if transaction:
                        return _attempted(attempt, database, lock_timeout, began)
                    return _attempted_alone(attempt, database, lock_timeout)
            except Exception as error:
                if sqlstate(error) not in _ANOTHER_TIME or _committed(database, began):
                    raise
                if lookout is None:
                    lookout = _Lookout(database, what, report)
                    stack.enter_context(lookout.opened(target))
                    continue
                if time.monotonic() >= deadline:
                    raise timed_out(what, wait, lookout.seen) from error
                lookout.tell()
            _dislodge(database, lookout.seen)
            time.sleep(max(0.0, min(next(pauses), deadline - time.monotonic())))


def _attempted(
    attempt: Callable[[], T], database: PostgresqlDatabase, lock_timeout: float, began: list[str]
) -> T:
    with database.atomic():
        began.append(database.execute_sql(_BEGUN, (_written(lock_timeout),)).fetchone()[1])
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
    status = [database.execute_sql(_STATUS, (xid,)).fetchone()[0] for xid in began]
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
        database.execute_sql(_PAST_DEADLOCK_TIMEOUT)
        held = database.execute_sql(statement("vacuumed_tables"), {"pids": pids}).fetchall()
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
        self, database: PostgresqlDatabase, what: str, report: Callable[[str], None]
    ) -> None:
        self.seen: tuple[Blocker, ...] = ()
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
            yield

    @contextmanager
    def while_trying(self) -> Iterator[None]:
        self._trying.set()
        try:
            yield
        finally:
            self._trying.clear()

    def tell(self) -> None:
        now = time.monotonic()
        if self._told_at is None or now >= self._told_at + _AGAIN:
            self._told_at = now
            self._report(f"{self._what} waits for {named(self.seen) or 'a lock'}")

    def _look(self, cursor: Cursor) -> None:
        self._ready.set()
        if self._trying.is_set():
            self.seen = blocking(cursor, self._pid) or self.seen

    def _lost(self, reason: str) -> None:
        self._ready.set()
        if not self._alone:
            self._alone = True
            self._report(f"who is in the way is not shown: {reason}")
