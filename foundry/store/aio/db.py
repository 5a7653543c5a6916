"""`DB`: statements of one's own, on the same pool."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Sequence
from contextlib import asynccontextmanager
from types import TracebackType
from typing import Any, TypeVar

from asyncpg import Connection as Session
from asyncpg import Record

from foundry.store.aio.connection import Connection
from foundry.store.aio.database import Database, connect
from foundry.store.aio.transport import REFUSED, atomic, failed

T = TypeVar("T")


class DB:
    """Statements of one's own: `db = DB(dsn)`, then `await db.execute(sql, *args)`.

    The first one opens the pool. Parameters are `$1`, `$2`. JSON comes and goes as Python values,
    vectors as float32. Inside `async with db.transaction()` the functions of the store belong to
    the transaction too, with `db.database`.
    """

    def __init__(self, dsn: str | Database | None = None, **options: Any) -> None:
        self._dsn = dsn
        self._options = options
        self._database = dsn if isinstance(dsn, Database) else None
        self._opening = asyncio.Lock()

    async def open(self) -> Database:
        """The database, with its pool; connects when that has not been done."""
        async with self._opening:
            if self._database is None:
                assert not isinstance(self._dsn, Database)
                self._database = await connect(self._dsn, **self._options)
        return self._database

    @property
    def database(self) -> Database:
        """What the functions of the store take; there once something was asked."""
        if self._database is None:
            raise RuntimeError("the database is not open: await db.open()")
        return self._database

    async def execute(self, sql: str, *args: Any) -> str:
        """Run a statement; returns what the server says it did, such as "INSERT 0 1"."""
        return await self._asked(lambda session: session.execute(sql, *args))

    async def executemany(self, sql: str, args: Iterable[Sequence[Any]]) -> None:
        """Run a statement for each sequence of arguments, all or none."""
        await self._asked(lambda session: session.executemany(sql, args))

    async def fetch(self, sql: str, *args: Any) -> list[Record]:
        """Return the rows of a query."""
        return await self._asked(lambda session: session.fetch(sql, *args))

    async def fetchrow(self, sql: str, *args: Any) -> Record | None:
        """Return the first row of a query, if there is one."""
        return await self._asked(lambda session: session.fetchrow(sql, *args))

    async def fetchval(self, sql: str, *args: Any) -> Any:
        """Return the first value of the first row of a query, None without a row."""
        return await self._asked(lambda session: session.fetchval(sql, *args))

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[None]:
        """A transaction of this task, or a savepoint in one."""
        async with atomic(await self.open()):
            yield

    async def close(self) -> None:
        """End the connections of a pool that was opened here."""
        if self._database is not None and not isinstance(self._dsn, Database):
            await self._database.close_pool()
            self._database = None

    async def __aenter__(self) -> DB:
        await self.open()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.close()

    async def _asked(self, ask: Callable[[Session[Any]], Awaitable[T]]) -> T:
        database = await self.open()
        took = database.is_closed()
        connection: Connection = await database.aconnect()
        try:
            async with connection.for_others() as session:
                return await ask(session)
        except REFUSED as error:
            refused = failed(error)
        finally:
            if took:
                database.give_back()
        # Not in the block of the driver's error, which would be the failure's context.
        raise refused
