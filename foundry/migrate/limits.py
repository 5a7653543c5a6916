"""How long a statement may take that should take an instant."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from peewee import PostgresqlDatabase

from foundry.errors import MigrationError
from foundry.migrate.handed import Migrator
from foundry.migrate.instant import is_instant, is_instant_operation
from foundry.migrate.watching import sqlstate

LIMIT = 30.0
"""Seconds. Others may stand behind its lock, so better none than one that takes longer."""

_CANCELED = "57014"


class Limited(Migrator):
    """playhouse's migrator, with a limit for each operation that should take an instant."""

    def migrate(self, *operations: Any) -> None:
        """Run operations in the transaction that is open."""
        for operation in operations:
            self.take(operation)
            with limited(self.database, instant=self._is_instant(operation)):
                operation.run()

    def _is_instant(self, operation: Any) -> bool:
        name = getattr(getattr(operation, "fn", None), "__name__", "")
        if name != "sql":
            return is_instant_operation(name)
        try:
            text = self.database.cursor().mogrify(*operation.args).decode()
        except Exception:  # running it will say what is wrong with it
            return False
        return is_instant(text)


@contextmanager
def limited(database: PostgresqlDatabase, *, instant: bool) -> Iterator[None]:
    """Run one statement, in the transaction that is open, for LIMIT seconds at most if `instant`.

    MigrationError when they are over.
    """
    if not instant:
        yield
        return
    database.execute_sql(f"SET LOCAL statement_timeout = {round(LIMIT * 1000)}")
    started = time.monotonic()
    try:
        yield
    except Exception as error:
        if sqlstate(error) == _CANCELED and time.monotonic() - started >= LIMIT:
            raise MigrationError(
                f"a statement that takes an instant did not end in {LIMIT:g} s and was ended: "
                f"look for what holds it up (an event trigger, the disk), and run it again"
            ) from error
        raise
    database.execute_sql("SET LOCAL statement_timeout = 0")
