"""One runner at a time: an advisory lock that is polled, never waited for in the server."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

from peewee import Database, DatabaseError, InterfaceError

from foundry.errors import LockTimeout, MigrationError
from foundry.migrate import queries

# Any constant will do as long as every version of foundry has the same one. Advisory
# locks belong to a database, so runs on two databases do not meet.
KEY = 0x666F756E647279
_POLL = 0.1


@contextmanager
def held(database: Database, *, wait: float, report: Callable[[str], None]) -> Iterator[None]:
    """Hold the lock for a block; LockTimeout when others keep it for `wait` seconds.

    A blocking pg_advisory_lock would hold a snapshot while it waits, and a CREATE INDEX
    CONCURRENTLY of the holder waits for snapshots: the two would wait for each other.
    """
    deadline = time.monotonic() + wait
    reported = False
    while not _try(database):
        row = database.execute_sql(queries.text("lock_holder"), (KEY,)).fetchone()
        who = f' (server process {row[0]}, application "{row[1]}")' if row else ""
        if time.monotonic() >= deadline:
            raise LockTimeout(
                f"another run{who} has held the migration lock for {wait:g} s: wait for it to "
                f"end, or give --wait more seconds"
            )
        if not reported:
            report(f"waiting for another run{who} to finish")
            reported = True
        time.sleep(_POLL * random.uniform(0.5, 1.5))
    try:
        yield
    finally:
        # The server lets go of the lock by itself when the connection is gone.
        with suppress(DatabaseError, InterfaceError):
            database.execute_sql("SELECT pg_advisory_unlock(%s)", (KEY,))


def holder(database: Database) -> int | None:
    """Return the server process of the run that is going on."""
    row = database.execute_sql(queries.text("lock_holder"), (KEY,)).fetchone()
    return row[0] if row else None


def require(database: Database) -> None:
    """Raise MigrationError when the lock is no longer held: DISCARD ALL gives it away."""
    if not database.execute_sql(queries.text("lock_ours"), (KEY,)).fetchone()[0]:
        raise MigrationError(
            "the migration lock was lost, another run may be at work: take DISCARD ALL and "
            "pg_advisory_unlock_all out of the files, and run up again"
        )


def _try(database: Database) -> bool:
    return bool(database.execute_sql("SELECT pg_try_advisory_lock(%s)", (KEY,)).fetchone()[0])
