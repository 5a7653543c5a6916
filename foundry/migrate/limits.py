"""How long a statement of a migration may take, and wait, in the transaction that is open."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from peewee import PostgresqlDatabase

from foundry.errors import MigrationError
from foundry.migrate import queries
from foundry.migrate.blockers import masked
from foundry.migrate.handed import Migrator
from foundry.migrate.instant import is_instant, is_instant_operation
from foundry.migrate.statements import parts, read
from foundry.migrate.tokens import Token, inside, tokens
from foundry.migrate.watching import sqlstate

LIMIT = 30.0
"""Seconds. Others may stand behind its lock, so better none than one that takes longer."""

_TIMEOUT = "lock_timeout"
_CANCELED = "57014"
_SHOWN = 100


class Limited(Migrator):
    """playhouse's migrator, with a limit for each operation that should take an instant."""

    doing = ""
    """The operation that is run, or was run last, for messages."""

    def migrate(self, *operations: Any) -> None:
        """Run operations in the transaction that is open."""
        for operation in operations:
            self.take(operation)
            self.doing = said(operation)
            name, text = operation_name(operation), self._text(operation)
            texts = stated(text) if name == "sql" else ()
            if len(texts) > 1:
                self._run_each(texts)
                continue
            instant = is_instant(text) if name == "sql" else is_instant_operation(name)
            with limited(self.database, instant=instant, rows=changes_rows(text)):
                operation.run()

    def _run_each(self, texts: Sequence[str]) -> None:
        for text in texts:
            with limited(self.database, instant=is_instant(text), rows=changes_rows(text)):
                self.database.cursor().execute(text)

    def _text(self, operation: Any) -> str:
        if operation_name(operation) != "sql":
            return ""
        try:
            text, params = (*operation.args, *operation.kwargs.values(), None)[:2]
            # As peewee sends it: without parameters too, %% is read as %.
            return str(self.database.cursor().mogrify(text, params or ()).decode())
        except Exception:  # running it will say what is wrong with it
            return ""


def operation_name(operation: Any) -> str:
    """Return the name of the method that made an operation; empty for what is none."""
    return getattr(getattr(operation, "fn", None), "__name__", "")


def stated(text: str) -> tuple[str, ...]:
    """Return what to send of a text, one after the other: the statements of one that says
    lock_timeout, so that `limited` puts back what was chosen before each of the others.

    MigrationError for a block of code that sets it, where nobody can come between.
    """
    if _TIMEOUT not in text.lower():
        return (text,)
    found = parts(text)
    if any(_is_block(part) for part in found):
        raise MigrationError(
            f"a DO sets {_TIMEOUT}: take that out, so that nobody waits for long behind the locks "
            f"it asks for; the run tries again until it has them"
        )
    return found if _says_timeout(tokens(text)) else (text,)


def _is_block(text: str) -> bool:
    found = tokens(text)
    # One that commits runs alone, and waits as long as it says.
    if not found[0].word("do") or not read(text).transactional:
        return False
    return any(_says_timeout(tokens(inside(t))) for t in found if t.kind == "string")


def _says_timeout(found: Sequence[Token]) -> bool:
    return any(
        inside(token).lower() == _TIMEOUT if token.kind == "string" else token.text == _TIMEOUT
        for token in found
    )


def said(operation: Any) -> str:
    """Return what an operation does in a few words, without literals."""
    name = operation_name(operation)
    if name != "sql" or not operation.args:
        return name
    text = masked(str(operation.args[0]).replace("%%", "%"))
    return text if len(text) <= _SHOWN else f"{text[: _SHOWN - 1]}…"


def changes_rows(text: str) -> bool:
    """True for one statement that can do nothing but change rows."""
    found = tokens(text)
    ends = [t for t in found if t.mark(";")]
    alone = not ends or ends == [found[-1]]
    return alone and bool(found) and found[0].word("insert", "update", "delete", "merge")


def settled(database: PostgresqlDatabase, *, rows: bool) -> float:
    """Set how long the next statement may wait for a lock, within retried().

    `rows` says that it only changes rows. Returns the statement_timeout in seconds, 0 for none.
    """
    return float(database.execute_sql(queries.text("settled_timeouts"), (rows,)).fetchone()[0])


@contextmanager
def limited(database: PostgresqlDatabase, *, instant: bool, rows: bool = False) -> Iterator[None]:
    """Run one statement, in the transaction that is open, for LIMIT seconds at most if `instant`.

    MigrationError when they are over, or when the statement_timeout is that the file has set.
    """
    own = settled(database, rows=rows)
    limit = min(own or LIMIT, LIMIT) if instant else own
    if limit != own:
        database.execute_sql(f"SET LOCAL statement_timeout = {round(limit * 1000)}")
    started = time.monotonic()
    try:
        yield
    except Exception as error:
        if sqlstate(error) == _CANCELED and 0 < limit <= time.monotonic() - started:
            raise MigrationError(_over(limit, own=limit == own)) from error
        raise
    if limit != own:
        database.execute_sql(f"SET LOCAL statement_timeout = {round(own * 1000)}")


def _over(limit: float, *, own: bool) -> str:
    if own:
        return (
            f"a statement took longer than the {limit:g} s of the statement_timeout that the file "
            f"sets: raise or remove that, and run it again"
        )
    return (
        f"a statement that takes an instant did not end in {limit:g} s and was ended: look for "
        f"what holds it up (an event trigger, the disk), and run it again"
    )
