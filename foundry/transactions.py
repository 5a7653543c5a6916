"""How a transaction ends: committed, or by the first error that there was."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import peewee
from playhouse.pool import PooledPostgresqlDatabase

from foundry.errors import StoreError


def undone() -> StoreError:
    """What to say of a transaction that could not be committed."""
    return StoreError(
        "nothing of the transaction is stored: a statement in it was refused, and it went on;"
        " let the error leave its `atomic()` block, or put that statement into one of its own",
        sqlstate="25P02",
    )


class _Savepoint(peewee._savepoint):
    """Peewee's; of a session that has ended there is nothing to undo."""

    def rollback(self, begin: bool = True) -> None:
        with self.db._undoing():
            super().rollback(begin)


class Transactional(PooledPostgresqlDatabase):  # type: ignore[misc]
    """Peewee's pooled database, with ends of transactions that say what happened."""

    def rollback(self) -> None:
        """Undoes the transaction of this thread; one whose session has ended is undone already.

        So what ended it is what is raised out of `with db.atomic()`.
        """
        with self._undoing():
            super().rollback()

    def commit(self) -> None:
        """Commits the transaction of this thread; StoreError where the server undoes it instead.

        It does, and says so in the answer alone, where a statement failed and somebody caught that.
        """
        if self.is_closed():
            raise peewee.InterfaceError("nothing to commit: the connection is not open")
        if self.execute_sql("COMMIT").statusmessage == "ROLLBACK":
            raise undone()

    def savepoint(self) -> _Savepoint:
        """A savepoint, as a context manager."""
        return _Savepoint(self)

    @contextmanager
    def _undoing(self) -> Iterator[None]:
        """Around what undoes something: a session that has ended has undone it, known or not."""
        try:
            yield
        except peewee.PeeweeException:
            if not self._has_ended():
                raise

    def _has_ended(self) -> bool:
        return not self.is_closed() and bool(self._state.conn.closed)
