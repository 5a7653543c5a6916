"""Questions to the history's own tables, which somebody may have locked."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from peewee import OperationalError, PostgresqlDatabase

from foundry.database import Target
from foundry.errors import LockTimeout
from foundry.migrate.watching import sqlstate, watching

T = TypeVar("T")

_LOCKED = "55P03"
_AT_ONCE = 0.2
# Behind the watcher's own bound, for a watcher that cannot look.
_LATER = 5.0


def reached(
    ask: Callable[[], T],
    *,
    database: PostgresqlDatabase,
    target: Target,
    what: str,
    wait: float,
    report: Callable[[str], None],
) -> T:
    """Call `ask` in a transaction; LockTimeout names `what` and who has locked it.

    Nobody has to wait behind who only reads or writes rows, so this may wait in the server. It
    works on a standby, too.
    """

    def within(seconds: float) -> T:
        with database.atomic():
            database.execute_sql(f"SET LOCAL lock_timeout = {round(seconds * 1000)}")
            return ask()

    try:
        return within(_AT_ONCE)
    except OperationalError as error:
        if sqlstate(error) != _LOCKED:
            raise
    pid = database.connection().info.backend_pid
    try:
        with watching(target, pid, what=what, wait=wait, report=report):
            return within(wait + _LATER)
    except OperationalError as error:
        if sqlstate(error) != _LOCKED:
            raise
        raise LockTimeout(
            f"{what} waited {wait:g} s for a lock",
            "wait for who holds it to end, or give --wait more seconds, and run it again",
        ) from error
