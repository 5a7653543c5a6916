"""The transport of tasks: steps run on asyncpg, through the pool's connection of the task."""

from __future__ import annotations

import functools
import re
from collections.abc import (
    AsyncIterable,
    AsyncIterator,
    Callable,
    Coroutine,
    Generator,
    Iterator,
)
from contextlib import asynccontextmanager, suppress
from typing import Any, Concatenate, ParamSpec, TypeVar

import asyncpg
import peewee
import psycopg2.errors
from playhouse.pwasyncio import AsyncPostgresqlDatabase, await_, greenlet_spawn

from foundry.errors import FoundryError, InvalidValue
from foundry.masking import shown
from foundry.store import copying
from foundry.store.aio.connection import Connection
from foundry.store.failing import failure, unreadable
from foundry.store.operations import (
    HAS_ROW_SECURITY,
    Atomic,
    Insert,
    Numbered,
    Operation,
    Query,
    Read,
    Recently,
    Steps,
    Target,
    on_database,
    other_database,
)
from foundry.store.vectors import Packed, settled

P = ParamSpec("P")
T = TypeVar("T")

_WANTED = "what foundry.store.aio.connect() returns; of DB it is .database"

_UNFIT = re.compile(r"invalid input for query argument (\$\d+)")

_COUNTED = re.compile(r"the server expects (\d+) arguments? for this query, (\d+) ")

REFUSED = (
    asyncpg.PostgresError,
    asyncpg.InterfaceError,
    # What asyncpg makes of a session that ends while a statement is being sent.
    asyncpg.InternalClientError,
    OSError,
)


def awaitable(
    steps: Callable[P, Steps[T]],
) -> Callable[Concatenate[AsyncPostgresqlDatabase, P], Coroutine[Any, Any, T]]:
    """The coroutine function that runs those steps on a database and returns their result."""

    @functools.wraps(steps)
    async def call(database: AsyncPostgresqlDatabase, /, *args: P.args, **kwargs: P.kwargs) -> T:
        return await run(database, steps(*args, **kwargs))

    call.__signature__ = on_database(steps)  # type: ignore[attr-defined]
    return call


async def run(database: AsyncPostgresqlDatabase, steps: Steps[T]) -> T:
    """Run steps on the connection of this task, or on one that goes back to the pool.

    A value that is refused takes no connection.
    """
    if not isinstance(database, AsyncPostgresqlDatabase):
        raise other_database(database, _WANTED)
    try:
        operation = next(steps)
    except StopIteration as done:
        result: T = done.value
        return result
    if not database.is_closed():
        return await _run(database, await database.aconnect(), steps, operation)
    connection = await database.aconnect()
    try:
        return await _run(database, connection, steps, operation)
    finally:
        await database.aclose()


async def _run(
    database: AsyncPostgresqlDatabase, connection: Connection, steps: Steps[T], operation: Operation
) -> T:
    try:
        while True:
            try:
                answer = await _answer(database, connection, operation)
            except REFUSED as error:
                # That of an Atomic is one of the caller's own iterable: a file, another database.
                own = isinstance(operation, Atomic)
                if isinstance(error, asyncpg.InternalClientError) and not own:
                    connection.conn.terminate()
                refused: Exception = error if own else failed(error)
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


async def _answer(
    database: AsyncPostgresqlDatabase, connection: Connection, operation: Operation
) -> Any:
    if isinstance(operation, Atomic):
        return await _run_atomic(database, operation.steps)
    # Peewee's lock: what it streams to this task is not disturbed.
    await connection._acquire_lock()
    try:
        if isinstance(operation, Recently):
            return await _recently(connection, operation)
        if isinstance(operation, (Query, Read)):
            if not connection.has_vectors:
                await _look_for_vectors(connection, operation)
            return await connection.conn.fetch(operation.statement.text, *operation.args)
        if not connection.has_vectors and "vector" in operation.target.kinds:
            await connection.register_vectors()
        if isinstance(operation, Numbered):
            statement = _returning(operation.target)
            return await connection.conn.fetchval(statement, *operation.row)
        return await _inserted(connection, operation)
    finally:
        connection._lock.release()


async def _recently(connection: Connection, recently: Recently) -> Any:
    recent, statement = connection.recent, recently.statement
    answer = recent.get(statement)
    if answer is None:
        answer = recent.keep(statement, await connection.conn.fetch(statement.text))
    return answer


async def _look_for_vectors(connection: Connection, operation: Query | Read) -> None:
    """The extension may have come since the connection was made."""
    kinds = operation.kinds if isinstance(operation, Read) else ()
    if "vector" in kinds or any(isinstance(value, Packed) for value in operation.args):
        await connection.register_vectors()


@functools.cache
def _returning(target: Target) -> str:
    """The statement that writes a row and answers the number it was given."""
    given = target.columns[1:]
    numbers = ", ".join(f"${at}" for at in range(1, len(given) + 1))
    return f"INSERT INTO {target.table} ({', '.join(given)}) VALUES ({numbers}) RETURNING id"


@functools.cache
def _each(target: Target) -> str:
    numbers = ", ".join(f"${at}" for at in range(1, len(target.columns) + 1))
    return f"INSERT INTO {target.table} ({', '.join(target.columns)}) VALUES ({numbers})"


async def _inserted(connection: Connection, insert: Insert) -> None:
    target, rows = insert
    session, copied = connection.conn, connection.copied
    if target.table not in copied:
        copied[target.table] = not await session.fetchval(HAS_ROW_SECURITY.text, target.table)
    if not copied[target.table]:
        await session.executemany(_each(target), settled(rows))
        return
    namespace, _, table = target.table.rpartition(".")
    try:
        await session.copy_to_table(
            table,
            schema_name=namespace or None,
            columns=target.columns,
            source=_sent(copying.pieces(target.kinds, rows)),
            format="binary",
        )
    except asyncpg.FeatureNotSupportedError:
        # Row-level security has come since: the next one looks again.
        del copied[target.table]
        raise


async def _sent(pieces: Iterator[bytes]) -> AsyncIterator[bytes]:
    """Each piece is made while the server is at work on those before it."""
    for piece in pieces:
        yield piece


async def _run_atomic(database: AsyncPostgresqlDatabase, steps: Steps[T]) -> T:
    async with atomic(database):
        return await run(database, steps)


@asynccontextmanager
async def atomic(database: AsyncPostgresqlDatabase) -> AsyncIterator[None]:
    """Like `async with database.atomic()`, but what fails inside is what is raised."""
    transaction = database.atomic()
    await _apart(transaction.__aenter__())
    try:
        yield
    except BaseException as error:
        # Where the connection is gone there is nothing to roll back.
        with suppress(peewee.PeeweeException, *REFUSED):
            await transaction.__aexit__(type(error), error, error.__traceback__)
        raise
    await _apart(transaction.__aexit__(None, None, None))


async def _apart(call: Coroutine[Any, Any, T]) -> T:
    """Its result, or the driver's error in place of the one that Peewee makes of it."""
    try:
        return await call
    except peewee.PeeweeException as error:
        cause = getattr(error, "orig", None)
        if not isinstance(cause, REFUSED):
            raise
        refused = failed(cause)
    except REFUSED as error:
        refused = failed(error)
    raise refused


def failed(error: BaseException) -> FoundryError:
    """One line for an error of asyncpg, the same as for psycopg2's."""
    # asyncpg's own words for an argument quote the value.
    unfit = _UNFIT.match(str(error)) if isinstance(error, asyncpg.DataError) else None
    if unfit is not None:
        return InvalidValue(f"argument {unfit[1]}: not of the type of its place")
    counted = _COUNTED.match(str(error)) if isinstance(error, asyncpg.InterfaceError) else None
    if counted is not None:
        return InvalidValue(f"arguments: the statement takes {counted[1]}, got {counted[2]}")
    state = getattr(error, "sqlstate", None)
    constraint = getattr(error, "constraint_name", None)
    placed = getattr(error, "position", None) is not None or constraint is not None
    return failure(
        error,
        sqlstate=state,
        name=_name(state),
        message=shown(getattr(error, "message", None) or "", state=state or "", placed=placed),
        constraint=constraint,
    )


def _name(state: str | None) -> str:
    try:
        return psycopg2.errors.lookup(state or "").__name__
    except KeyError:
        return f"SQLSTATE {state}"


class _Waiting:
    """What a coroutine waits for, to be awaited by another one."""

    def __init__(self, waited: Any) -> None:
        self._waited = waited

    def __await__(self) -> Generator[Any, Any, Any]:
        return (yield self._waited)


async def bridged(call: Coroutine[Any, Any, T]) -> T:
    """Await a call inside which what is not a coroutine may `drawn` from an async iterable."""
    result: T = await greenlet_spawn(_completed, call)
    return result


def _completed(call: Coroutine[Any, Any, T]) -> T:
    failure: BaseException | None = None
    while True:
        try:
            waited = call.send(None) if failure is None else call.throw(failure)
        except StopIteration as done:
            result: T = done.value
            return result
        failure = None
        try:
            await_(_Waiting(waited))
        except BaseException as error:
            failure = error


def drawn(source: AsyncIterable[T]) -> Iterator[T]:
    """What an async iterable gives, for a `for`; only inside `bridged`."""
    iterator = source.__aiter__()
    while True:
        try:
            yield await_(iterator.__anext__())
        except StopAsyncIteration:
            return
