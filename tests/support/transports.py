"""The functions of the store on either transport, for tests that are the same on both."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager
from types import ModuleType
from typing import Any

from foundry.database import Database, connect
from foundry.store import aio
from foundry.store import conversations as blocking_conversations
from foundry.store import protocols as blocking_protocols
from foundry.store import search as blocking_search


class _Atomic:
    """`with` for `async with`."""

    def __init__(self, looped: Looped) -> None:
        self._looped = looped
        self._atomic = looped.database.atomic()

    def __enter__(self) -> _Atomic:
        self._looped.wait(self._atomic.__aenter__())
        return self

    def __exit__(self, *failure: Any) -> None:
        self._looped.wait(self._atomic.__aexit__(*failure))

    def rollback(self) -> None:
        """What Peewee's does: the block goes on with a new one."""
        self._looped.wait(self._atomic.arollback())


class Looped:
    """A database of `foundry.store.aio` for a test that waits for each call; all in one task."""

    def __init__(self, url: str, **options: Any) -> None:
        self._loop = asyncio.new_event_loop()
        self.database = self._loop.run_until_complete(aio.connect(url, bind=False, **options))
        self._calls: asyncio.Queue[Any] = asyncio.Queue()
        self._worker = self._loop.create_task(self._work())
        self.target = self.database.target

    async def _work(self) -> None:
        while (call := await self._calls.get()) is not None:
            coroutine, done = call
            try:
                done.set_result(await coroutine)
            except Exception as error:
                done.set_exception(error)

    def wait(self, call: Coroutine[Any, Any, Any]) -> Any:
        """The result of a call, which the one task awaits."""
        done = self._loop.create_future()
        self._calls.put_nowait((call, done))
        return self._loop.run_until_complete(done)

    def atomic(self) -> _Atomic:
        """A transaction of that task."""
        return _Atomic(self)

    def execute_sql(self, sql: str, params: Any = None) -> Any:
        """As Peewee's, on the connection of that task."""
        return self.wait(self.database.aexecute_sql(sql, params))

    @contextmanager
    def connection_context(self) -> Iterator[Looped]:
        """A connection for the task."""
        self.wait(self.database.aconnect())
        yield self
        self.wait(self.database.aclose())

    def close_all(self) -> None:
        """End it all; nothing may be in use."""
        self._calls.put_nowait(None)
        self._loop.run_until_complete(self._worker)
        pool = self.database.pool
        self._loop.run_until_complete(self.database.close_pool())
        self._loop.run_until_complete(self._loop.shutdown_default_executor())
        self._loop.close()
        assert pool is None or 0 == pool.taken


def beside(db: Database | Looped, url: str) -> Database | Looped:
    """Another database on the same transport."""
    return Looped(url) if isinstance(db, Looped) else connect(url, bind=False)


class _Functions:
    """A module of the store, on the transport of the database that is given."""

    def __init__(self, blocking: ModuleType, awaitable: ModuleType) -> None:
        self._blocking = blocking
        self._awaitable = awaitable

    def __getattr__(self, name: str) -> Callable[..., Any]:
        blocking, awaitable = getattr(self._blocking, name), getattr(self._awaitable, name)

        def call(db: Database | Looped, *args: Any, **kwargs: Any) -> Any:
            if isinstance(db, Looped):
                return db.wait(awaitable(db.database, *args, **kwargs))
            return blocking(db, *args, **kwargs)

        return call


conversations = _Functions(blocking_conversations, aio.conversations)
protocols = _Functions(blocking_protocols, aio.protocols)
search = _Functions(blocking_search, aio.search)
