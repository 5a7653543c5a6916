"""The transport of threads: steps run on psycopg2, through the pool's connection of the thread."""

from __future__ import annotations

import functools
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any, Concatenate, ParamSpec, TypeVar
from weakref import WeakKeyDictionary

import peewee
import psycopg2
import psycopg2.errors
from psycopg2.extensions import (
    TRANSACTION_STATUS_IDLE,
    QuotedString,
    connection,
    cursor,
    register_adapter,
)
from psycopg2.extras import execute_values, register_uuid

from foundry.database import Database
from foundry.errors import ConnectionFailed, FoundryError, StoreError
from foundry.masking import primary
from foundry.store import copying
from foundry.store.failing import UNREADABLE, failure, unreadable
from foundry.store.operations import (
    HAS_ROW_SECURITY,
    Atomic,
    Insert,
    Numbered,
    Operation,
    Query,
    Read,
    Recently,
    Statement,
    Steps,
    on_database,
    other_database,
)
from foundry.store.recent import Recent
from foundry.store.vectors import Packed, settled, written

P = ParamSpec("P")
T = TypeVar("T")

_WANTED = "what foundry.connect() returns (that of aio.connect() is for foundry.store.aio)"


def blocking(steps: Callable[P, Steps[T]]) -> Callable[Concatenate[Database, P], T]:
    """The function that runs those steps on a database and returns their result."""

    @functools.wraps(steps)
    def call(database: Database, /, *args: P.args, **kwargs: P.kwargs) -> T:
        return run(database, steps(*args, **kwargs))

    call.__signature__ = on_database(steps)  # type: ignore[attr-defined]
    return call


def run(database: Database, steps: Steps[T]) -> T:
    """Run steps on the connection of this thread, or on one that goes back to the pool.

    A value that is refused takes no connection.
    """
    if not isinstance(database, Database):
        raise other_database(database, _WANTED)
    try:
        operation = next(steps)
    except StopIteration as done:
        result: T = done.value
        return result
    if database.is_closed():
        with database.connection_context():
            return _run(database, steps, operation)
    return _run(database, steps, operation)


def _run(database: Database, steps: Steps[T], operation: Operation) -> T:
    conn: connection = database.connection()
    if conn.closed:
        # Nothing is opened in its place: who has it may have set a role or a schema in it.
        raise ConnectionFailed(
            "the connection of this thread has ended: close it (`db.close()`, or leave its"
            " `with` block) and call again"
        )
    with conn.cursor() as cursor:
        try:
            while True:
                try:
                    answer = _answer(database, cursor, operation)
                except psycopg2.Error as error:
                    # That of an Atomic is one of the caller's own iterable.
                    own = isinstance(operation, Atomic)
                    refused: Exception = error if own else _failure(error)
                except Exception as error:
                    refused = unreadable(operation, error)
                else:
                    operation = steps.send(answer)
                    continue
                # Not in the block of the driver's error, which would be the failure's context.
                operation = steps.throw(refused)
        except StopIteration as done:
            result: T = done.value
            return result


def _answer(database: Database, cursor: cursor, operation: object) -> Any:
    kind = type(operation)
    if kind is Query:
        return _queried(cursor, operation)  # type: ignore[arg-type]
    if kind is Recently:
        return _recently(cursor, operation)  # type: ignore[arg-type]
    if kind is Numbered:
        return _numbered(cursor, operation)  # type: ignore[arg-type]
    if kind is Insert:
        return _inserted(cursor, operation)  # type: ignore[arg-type]
    if kind is Read:
        return _read(cursor, operation)  # type: ignore[arg-type]
    assert isinstance(operation, Atomic)
    return _run_atomic(database, operation.steps)


def _run_atomic(database: Database, steps: Steps[T]) -> T:
    """Like `with database.atomic()`, but what fails inside is what is raised."""
    transaction = database.atomic()
    with _peewee_apart():
        transaction.__enter__()
    try:
        result = run(database, steps)
    except BaseException as error:
        # Where the connection is gone there is nothing to roll back, and Peewee says so.
        with suppress(peewee.InterfaceError, peewee.OperationalError):
            transaction.__exit__(type(error), error, error.__traceback__)
        raise
    with _peewee_apart():
        transaction.__exit__(None, None, None)
    return result


@contextmanager
def _peewee_apart() -> Iterator[None]:
    """Raises the driver's error in place of the one that Peewee makes of it."""
    try:
        yield
    except peewee.PeeweeException as error:
        cause = getattr(error, "orig", None)
        if not isinstance(cause, psycopg2.Error):
            raise
        refused = _failure(cause)
    else:
        return
    raise refused


def _queried(cursor: cursor, query: Query) -> list[tuple[Any, ...]]:
    statement, args = query
    if statement.arranged is not None:
        args = statement.arranged(args)
    cursor.execute(statement.pyformat, args)
    return cursor.fetchall() if cursor.description else []


def _recently(cursor: cursor, recently: Recently) -> list[tuple[Any, ...]]:
    recent = _known(cursor).recent
    answer = recent.get(recently.statement)
    if answer is None:
        answer = recent.keep(recently.statement, _queried(cursor, Query(recently.statement)))
    found: list[tuple[Any, ...]] = answer
    return found


class _Source:
    """A file of pieces: psycopg2 sends what it reads, however long.

    Each piece is made while the server is at work on those before it.
    """

    __slots__ = ("_pieces",)

    def __init__(self, pieces: Iterator[bytes]) -> None:
        self._pieces = pieces

    def read(self, size: int = -1, /) -> bytes:
        return next(self._pieces, b"")

    readline = read


_RESERVE = Statement("SELECT nextval($1::regclass) FROM generate_series(1, $2) ORDER BY 1 DESC")
_RESERVED_FOR = 0.005
_RESERVED_AT_MOST = 16


class _Reserved:
    """Numbers of a sequence that a connection has taken in advance, for some milliseconds.

    COPY returns nothing, so a number comes first, and asking for it costs as much as the row. A
    busy connection takes some at once; they are forgotten so soon that rows are in the order
    of their numbers as nearly as with a transaction that takes its time, and that nobody begins
    the sequence anew meanwhile.
    """

    __slots__ = ("_numbers", "_size", "_until")

    def __init__(self) -> None:
        self._numbers: list[int] = []
        self._size = 1
        self._until = 0.0

    def next(self, cursor: cursor, sequence: str) -> int:
        busy = time.monotonic() < self._until
        if not (busy and self._numbers):
            self._size = min(2 * self._size, _RESERVED_AT_MOST) if busy else 1
            rows = _queried(cursor, Query(_RESERVE, (sequence, self._size)))
            self._numbers = [number for (number,) in rows]
        self._until = time.monotonic() + _RESERVED_FOR
        return self._numbers.pop()


class _Known:
    """What a connection knows: numbers taken in advance, tables that COPY may write, answers."""

    __slots__ = ("_copied", "_reserved", "recent")

    def __init__(self) -> None:
        self.recent = Recent()
        self._copied: dict[str, bool] = {}
        self._reserved: dict[str, _Reserved] = {}

    def number(self, cursor: cursor, sequence: str) -> int:
        reserved = self._reserved.get(sequence)
        if reserved is None:
            reserved = self._reserved[sequence] = _Reserved()
        return reserved.next(cursor, sequence)

    def may_copy(self, cursor: cursor, table: str) -> bool:
        """Whether the table has no row-level security, under which COPY FROM is refused."""
        copied = self._copied.get(table)
        if copied is None:
            ((secured,),) = _queried(cursor, Query(HAS_ROW_SECURITY, (table,)))
            copied = self._copied[table] = not secured
        return copied

    def forget(self, table: str) -> None:
        """Look again before the next COPY: row-level security has come since."""
        self._copied.pop(table, None)


_connections: WeakKeyDictionary[connection, _Known] = WeakKeyDictionary()


def _known(cursor: cursor) -> _Known:
    known = _connections.get(cursor.connection)
    if known is None:
        known = _connections[cursor.connection] = _Known()
    return known


def _numbered(cursor: cursor, numbered: Numbered) -> int:
    target, sequence, row, timed = numbered
    if timed and cursor.connection.get_transaction_status() == TRANSACTION_STATUS_IDLE:
        number = _known(cursor).number(cursor, sequence)
    else:
        # Of rows of one time the numbers tell which came first.
        ((number,),) = _queried(cursor, Query(_RESERVE, (sequence, 1)))
    _inserted(cursor, Insert(target, ((number, *row),)))
    return number


def _inserted(cursor: cursor, insert: Insert) -> None:
    target, rows = insert
    known = _known(cursor)
    if known.may_copy(cursor, target.table):
        try:
            cursor.copy_expert(target.copy, _Source(copying.pieces(target.kinds, rows)))
        except psycopg2.errors.FeatureNotSupported:
            known.forget(target.table)
            raise
    else:
        execute_values(cursor, target.insert, settled(rows), page_size=len(rows))


class _Sink:
    """A file that keeps the pieces written to it."""

    __slots__ = ("write",)

    def __init__(self, pieces: list[bytes]) -> None:
        self.write = pieces.append


def _read(cursor: cursor, read: Read) -> list[tuple[Any, ...]]:
    statement, kinds, args = read
    if statement.arranged is not None:
        args = statement.arranged(args)
    # COPY takes no parameters: the values are in the text, quoted by the driver.
    select = cursor.mogrify(statement.pyformat, args)
    pieces: list[bytes] = []
    cursor.copy_expert(b"COPY (" + select + b") TO STDOUT (FORMAT BINARY)", _Sink(pieces))
    return copying.parsed(kinds, b"".join(pieces))


def _failure(error: psycopg2.Error) -> FoundryError:
    if isinstance(error, psycopg2.DataError) and error.pgcode is None:
        # The driver's own word, for an answer that it cannot read.
        return StoreError(f"{UNREADABLE}, or in a DateStyle of the session's that is not ISO")
    refused = failure(
        error,
        sqlstate=error.pgcode,
        name=type(error).__name__,
        message=primary(error),
        constraint=error.diag.constraint_name,
    )
    if error.diag.statement_position is not None:
        # libpq shows the line of the statement, in which the values are.
        refused.__cause__ = None
    return refused


def _literal(vector: Packed) -> QuotedString:
    return QuotedString(written(vector))


register_adapter(Packed, _literal)
# Peewee does the same.
register_uuid()  # type: ignore[no-untyped-call]
