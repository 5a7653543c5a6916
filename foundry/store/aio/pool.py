"""A pool for one event loop: first come, first served, and giving back never waits.

asyncpg's own pool makes a task of each return, and unless told otherwise a round trip; a task that
comes while another one is woken may take its turn. Here a connection that was used by the store
alone goes back in one step, which no cancellation can come between; any other is seen to by a task
of the pool's while its place stays taken.
"""

from __future__ import annotations

import asyncio
import math
import os
import time
import weakref
from collections import deque
from collections.abc import Awaitable, Callable, Coroutine
from contextlib import suppress
from typing import Any

import asyncpg

from foundry.errors import ConnectionFailed, PoolExhausted
from foundry.pool import detach
from foundry.store.aio.connection import Connection

# Firewalls and address translators forget idle connections without a word to either end,
# after minutes at the earliest: only a round trip finds those.
_TRUSTED_IDLE = 30.0
_PATIENCE = 5.0
"""Seconds for a session to answer a question that takes no time."""

BROKEN = (
    asyncpg.PostgresError,
    asyncpg.InterfaceError,
    asyncpg.InternalClientError,
    OSError,
    asyncio.TimeoutError,
)


class Pool:
    """At most `size` connections; `opened` makes one."""

    def __init__(
        self,
        opened: Callable[[], Awaitable[Connection]],
        *,
        size: int,
        timeout: float,
        recycle: float,
    ) -> None:
        self.size = size
        self._loop: asyncio.AbstractEventLoop | None = asyncio.get_running_loop()
        self._opened = opened
        self._timeout = timeout
        self._recycle = recycle or math.inf
        self._idle: list[Connection] = []
        self._out: set[Connection] = set()
        self._taken = 0
        self._waiting: deque[asyncio.Future[None]] = deque()
        self._tasks: set[asyncio.Task[None]] = set()
        self._closed = False
        _pools.add(self)

    @property
    def idle(self) -> int:
        """How many connections wait to be used."""
        return len(self._idle)

    @property
    def taken(self) -> int:
        """How many are in use, being opened or seen to."""
        return self._taken

    async def acquire(self) -> Connection:
        """A connection that works; waits in line up to the time-out, then PoolExhausted."""
        if self._closed:
            raise _closed()
        if not self._is_here():
            raise ConnectionFailed(
                "this pool is of another event loop: connect() in the loop that uses it, and"
                " close_pool() before that one ends"
            )
        # While somebody waits all places are taken.
        if self._taken < self.size:
            self._taken += 1
        else:
            await self._turn()
        try:
            connection = await self._working() or await self._opened()
            if self._closed:
                connection.conn.terminate()
                raise _closed()
        except BaseException:
            self._leave()
            raise
        self._out.add(connection)
        return connection

    async def _turn(self) -> None:
        """Wait for a place; it is handed over, so nobody else can take it in between."""
        loop = asyncio.get_running_loop()
        turn = loop.create_future()
        self._waiting.append(turn)
        timer = loop.call_later(self._timeout, self._give_up, turn)
        try:
            await turn
        except BaseException:
            if turn.done() and not turn.cancelled() and turn.exception() is None:
                self._leave()
            else:
                with suppress(ValueError):
                    self._waiting.remove(turn)
            raise
        finally:
            timer.cancel()

    def _give_up(self, turn: asyncio.Future[None]) -> None:
        if not turn.done():
            turn.set_exception(
                PoolExhausted(
                    f"all {self.size} connections are in use and none came back within "
                    f"{self._timeout:g} seconds: return them sooner (`async with db.atomic():`) "
                    "or raise pool_size"
                )
            )

    def _leave(self) -> None:
        while self._waiting:
            turn = self._waiting.popleft()
            if not turn.done():
                turn.set_result(None)
                return
        self._taken -= 1

    async def _working(self) -> Connection | None:
        """An idle connection that is not too old and answers."""
        while self._idle:
            connection = self._idle.pop()
            try:
                if await self._is_good(connection):
                    return connection
            except BaseException:
                connection.conn.terminate()
                raise
            self._end(connection)
        return None

    async def _is_good(self, connection: Connection) -> bool:
        if connection.conn.is_closed() or self._is_stale(connection):
            return False
        if time.monotonic() - connection.idle_since > _TRUSTED_IDLE:
            try:
                await connection.conn.fetchval("SELECT 1", timeout=_PATIENCE)
            except BROKEN:
                return False
        return True

    def _is_stale(self, connection: Connection) -> bool:
        return time.monotonic() - connection.born > self._recycle

    def _is_here(self) -> bool:
        """Whether the loop that runs is the one that the connections belong to."""
        return self._loop is asyncio.get_running_loop()

    def release(self, connection: Connection) -> None:
        """Take a connection back."""
        if connection not in self._out or not self._is_here():
            return
        if connection.conn.is_closed() or connection.is_settled():
            self._back(connection)
        else:
            self._start(self._settled(connection))

    async def _settled(self, connection: Connection) -> None:
        try:
            await asyncio.wait_for(connection.settle(), _PATIENCE)
        except BaseException as error:
            connection.conn.terminate()
            if not isinstance(error, BROKEN):
                raise
        finally:
            self._back(connection)

    def _back(self, connection: Connection) -> None:
        self._out.discard(connection)
        if self._closed or connection.conn.is_closed() or self._is_stale(connection):
            self._end(connection)
        else:
            connection.idle_since = time.monotonic()
            self._idle.append(connection)
        self._leave()

    def _end(self, connection: Connection) -> None:
        if not connection.conn.is_closed():
            self._start(self._ended(connection))

    async def _ended(self, connection: Connection) -> None:
        try:
            await connection.conn.close(timeout=_PATIENCE)
        except BROKEN:
            connection.conn.terminate()

    def _start(self, work: Coroutine[Any, Any, None]) -> None:
        # The loop holds tasks weakly.
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def close(self) -> None:
        """End every connection; those in use are waited for, up to the time-out.

        Who waits for one gets ConnectionFailed.
        """
        self._closed = True
        if not self._is_here():
            self._abandon()
            return
        while self._waiting:
            turn = self._waiting.popleft()
            if not turn.done():
                turn.set_exception(_closed())
        while self._idle:
            self._end(self._idle.pop())
        deadline = time.monotonic() + self._timeout
        while (self._out or self._tasks) and time.monotonic() < deadline:
            if self._tasks:
                await asyncio.wait(set(self._tasks), timeout=deadline - time.monotonic())
            else:
                await asyncio.sleep(0.01)
        for connection in self._out:
            connection.conn.terminate()

    def _abandon(self) -> None:
        """End connections whose loop has gone; what is left of it may not be asked to."""
        for connection in (*self._idle, *self._out):
            with suppress(RuntimeError):
                connection.conn.terminate()
        self._idle.clear()
        self._out.clear()

    def _forget_parent(self) -> None:
        """Leave the connections to the process that opened them; runs in a forked child.

        Ending one here would take it out of the selector of the parent's loop, which is shared.
        """
        for connection in (*self._idle, *self._out):
            if not connection.conn.is_closed():
                detach(connection.conn._transport.get_extra_info("socket"))
        self._idle.clear()
        self._out.clear()
        self._loop = None


def _closed() -> ConnectionFailed:
    return ConnectionFailed("the pool is closed: connect again")


_pools: weakref.WeakSet[Pool] = weakref.WeakSet()


def _after_fork() -> None:
    for pool in list(_pools):
        pool._forget_parent()


os.register_at_fork(after_in_child=_after_fork)
