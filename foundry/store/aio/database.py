"""`connect()`: a pool for asyncio on the database that a URL names."""

from __future__ import annotations

import asyncio
import logging
from pathlib import Path
from typing import Any

import asyncpg
from playhouse.pwasyncio import AsyncPgAtomic, AsyncPostgresqlDatabase

from foundry.database import Target, proxy, resolve
from foundry.errors import ConnectionFailed
from foundry.schema import Message
from foundry.schema.base import look_once
from foundry.store.aio.connection import Connection, Session
from foundry.store.aio.pool import Pool
from foundry.store.aio.reaching import arguments, reached
from foundry.transactions import undone

logger = logging.getLogger("foundry")


class Atomic(AsyncPgAtomic):  # type: ignore[misc]
    """A transaction, or a savepoint of an open one, that gives back the connection it took.

    Peewee's keeps it until the task is over, and begins and ends in a greenlet.
    """

    async def __aenter__(self) -> Atomic:
        self._took = self.db.is_closed()
        try:
            await self._abegin()
        except BaseException:
            self._give_back()
            raise
        self.db._state.transactions.append(self)
        return self

    async def __aexit__(self, kind: type[BaseException] | None, *failure: object) -> None:
        self.db._state.transactions.pop()
        outermost = not self.db._state.transactions
        try:
            if kind is None:
                await self._keep(outermost=outermost)
            else:
                await self._undo(outermost=outermost)
        finally:
            self._give_back()

    async def _keep(self, *, outermost: bool) -> None:
        try:
            await self.acommit(False)
        except BaseException:
            # It is over for the server, and asyncpg refuses to say ROLLBACK after it.
            self._forget(outermost=outermost)
            raise
        if outermost and self.db._state.conn.conn.answered == "ROLLBACK":
            self._forget(outermost=outermost)
            raise undone()
        if outermost and self.db._state.commit_callbacks:
            await self.db.run(self.db._run_commit_callbacks)

    async def _undo(self, *, outermost: bool) -> None:
        self._forget(outermost=outermost)
        try:
            await self.arollback(False)
        except Exception:
            # A session that has ended has undone it, and what ended it is raised, or what is
            # on its way already.
            if not self.db._state.conn.conn.is_closed():
                raise

    def _forget(self, *, outermost: bool) -> None:
        if outermost:
            self.db._clear_commit_callbacks()

    def _give_back(self) -> None:
        if self._took:
            self.db.give_back()


class Database(AsyncPostgresqlDatabase):  # type: ignore[misc]
    """Peewee's PostgreSQL database for asyncio on one `target`, a connection per task.

    At most `pool_size` connections. A task waits up to `pool_timeout` seconds for one, then gets
    PoolExhausted. A connection older than `pool_recycle` seconds is not handed out again (0: no
    limit). `await db.close_pool()` ends them.
    """

    def __init__(
        self,
        target: Target,
        *,
        pool_size: int = 20,
        pool_timeout: float = 30,
        pool_recycle: float = 3600,
        statement_cache_size: int = 100,
    ) -> None:
        if pool_size < 1:
            raise ValueError("pool_size must allow at least one connection")
        self.target = target
        self.pool_timeout = pool_timeout
        self.pool_recycle = pool_recycle
        self.statement_cache_size = statement_cache_size
        super().__init__(
            target.dbname or target.where, pool_size=pool_size, acquire_timeout=pool_timeout
        )
        self._pool: Pool | None = None

    def __repr__(self) -> str:
        return f"<foundry.store.aio.Database {self.target.describe()}>"

    def get_binary_type(self) -> type:
        """Return what asyncpg takes for bytea; Peewee's adapter would ask psycopg 3 for it."""
        return bytes

    @property
    def pool(self) -> Pool | None:
        """The connections, once there has been one."""
        return self._pool

    def atomic(self, *args: Any, **kwargs: Any) -> Atomic:
        """A transaction of this task, or a savepoint: `async with db.atomic():`."""
        return Atomic(self, *args, **kwargs)

    transaction = savepoint = atomic

    def give_back(self) -> None:
        """Return the connection of this task to the pool, at once."""
        connection = self._state.conn
        self._state.reset()
        if connection is not None and self._pool is not None:
            self._pool.release(connection)

    async def opened(self) -> Connection:
        """A connection of its own, in UTC, with the codecs of the store."""
        wanted = arguments(self.target)
        settings = {"application_name": "foundry", **wanted.pop("server_settings")}
        session = await reached(
            self.target,
            asyncpg.connect(
                **wanted,
                connection_class=Session,
                server_settings={**settings, "TimeZone": "UTC"},
                statement_cache_size=self.statement_cache_size,
            ),
        )
        try:
            connection = Connection(session)
            await reached(self.target, connection.register())
        except BaseException:
            session.terminate()
            raise
        return connection

    async def aconnect(self) -> Connection:
        """The connection of this task; one of the pool's where it has none."""
        if self._closing:
            raise ConnectionFailed("the pool is being closed: connect again")
        if self.in_transaction() and self._state.conn is not None and self._state.conn.stale():
            # On another connection it would be done, and not be part of the transaction.
            raise ConnectionFailed(
                "the connection of this transaction has ended, and nothing of it was done: leave"
                " its `async with` block and begin again"
            )
        connection: Connection = await super().aconnect()
        return connection

    async def _create_pool_async(self) -> Pool:
        return Pool(
            self.opened,
            size=self._pool_size,
            timeout=self.pool_timeout,
            recycle=self.pool_recycle,
        )

    async def _acquire_conn_async(self) -> Connection:
        # Not Peewee's, which starts a task for each of two time-outs; the pool has its own.
        if self._pool is None:
            self._pool = await self._create_pool_async()
        connection: Connection = await self._pool.acquire()
        connection._pool = self._pool
        return connection

    async def _pool_release(self, conn: Connection) -> None:
        if self._pool is not None:
            self._pool.release(conn)

    async def _pool_close(self) -> None:
        if self._pool is not None:
            await self._pool.close()


async def connect(
    url: str | None = None,
    *,
    bind: bool = True,
    env_file: str | Path = ".env",
    pool_size: int = 20,
    pool_timeout: float = 30,
    pool_recycle: float = 3600,
    statement_cache_size: int = 100,
) -> Database:
    """A pool on the database of `url`, else DATABASE_URL, else `env_file`, else embedded.

    As `foundry.connect`, for asyncio; with `bind` the models are this database's, so bind only
    one of the two. Behind a pooler that knows no prepared statements, `statement_cache_size` is 0.
    """
    # Finding the embedded server may start it.
    target = await asyncio.to_thread(resolve, url, env_file=env_file)
    db = Database(
        target,
        pool_size=pool_size,
        pool_timeout=pool_timeout,
        pool_recycle=pool_recycle,
        statement_cache_size=statement_cache_size,
    )
    try:
        await db.aconnect()
        await db.run(look_once, db, Message.embedding)
    except BaseException:
        await db.close_pool()
        raise
    finally:
        db.give_back()
    if bind:
        proxy.initialize(db)
    logger.info("connected to %s", db.target.describe())
    return db
