"""Those who are compared in store.py: drivers, SQLAlchemy, plain Peewee, and foundry."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Coroutine
from importlib.metadata import version
from typing import Any

import asyncpg
import pgvector.asyncpg
import psycopg
import psycopg2
import sqlalchemy as sa
import vectorstore
from pgvector.psycopg import register_vector
from store import Contender

import foundry
from foundry.schema import User
from foundry.store import aio, conversations


class Peers:
    """A connection for each, and a session with messages."""

    def __init__(self, url: str) -> None:
        self.loop = asyncio.new_event_loop()
        self.raw = psycopg2.connect(url)
        self.raw.autocommit = True
        self.raw.cursor().execute("SET TIME ZONE 'UTC'; DROP INDEX idx_messages_embedding")
        self.three = psycopg.connect(url, autocommit=True, prepare_threshold=0)
        self.three.execute("SET TIME ZONE 'UTC'")
        register_vector(self.three)
        self.binary = self.three.cursor(binary=True)
        self.engine = sa.create_engine(url.replace("postgresql://", "postgresql+psycopg://"))
        self.alchemy = self.engine.connect().execution_options(isolation_level="AUTOCOMMIT")
        self.foundry = foundry.connect(url)
        self.foundry.connect()
        self.pg: Any = self.wait(asyncpg.connect(url))
        self.wait(pgvector.asyncpg.register_vector(self.pg))
        self.wait(
            self.pg.set_type_codec(
                "jsonb", schema="pg_catalog", encoder=json.dumps, decoder=json.loads
            )
        )
        self.aio = self.wait(aio.connect(url, bind=False))
        self._calls: asyncio.Queue[Any] = asyncio.Queue()
        self._task = self.loop.create_task(self._one_task())
        self.inside(self.aio.aconnect())
        self.langchain: Any = vectorstore.opened(url, "session_id", "role")
        user = User.create(name="Ada").id
        self.session = conversations.start(self.foundry, user)

    async def _one_task(self) -> None:
        """The task that holds the connection of foundry.store.aio."""
        while (asked := await self._calls.get()) is not None:
            call, done = asked
            try:
                done.set_result(await call)
            except Exception as error:
                done.set_exception(error)

    def wait(self, call: Coroutine[Any, Any, Any]) -> Any:
        """The result of a call."""
        return self.loop.run_until_complete(call)

    def inside(self, call: Coroutine[Any, Any, Any]) -> Any:
        """The result of a call by the one task."""
        done = self.loop.create_future()
        self._calls.put_nowait((call, done))
        return self.loop.run_until_complete(done)

    def close(self) -> None:
        """End the connections."""
        self._calls.put_nowait(None)
        self.wait(self._task)
        self.wait(self.aio.close_pool())
        self.wait(self.pg.close())
        self.loop.close()
        if self.langchain:
            self.langchain.close()
        self.foundry.close_all()
        self.alchemy.close()
        self.engine.dispose()
        self.three.close()
        self.raw.close()

    def versions(self) -> str:
        """What is compared."""
        names = ["psycopg2-binary", "psycopg", "asyncpg", "SQLAlchemy", "peewee", "orjson", "numpy"]
        names += ["langchain-postgres"] if self.langchain else []
        with self.raw.cursor() as cursor:
            cursor.execute("SHOW server_version")
            row = cursor.fetchone()
        said = ", ".join(f"{name} {version(name)}" for name in names)
        return f"PostgreSQL {row[0] if row else ''}, {said}"

    def pid(self, of: str) -> int:
        """The server's process for a connection."""
        found = {
            "raw": lambda: self.raw.info.backend_pid,
            "three": lambda: self.three.info.backend_pid,
            "alchemy": lambda: self.alchemy.scalar(sa.text("SELECT pg_backend_pid()")),
            "foundry": lambda: self.foundry.connection().info.backend_pid,
            "pg": lambda: self.pg.get_server_pid(),
            "aio": lambda: self.inside(self.aio.aexecute_sql("SELECT pg_backend_pid()")).fetchone()[
                0
            ],
            "langchain": lambda: self.langchain.pid,
        }
        pid: int = found[of]()
        return pid

    def empty(self, _: int = 0) -> None:
        """No message at all."""
        self.raw.cursor().execute("TRUNCATE messages")

    def way(
        self, name: str, of: str, work: Callable[[int], object], times: int, **options: Any
    ) -> Contender:
        """A contender on one of the connections; a coroutine function is awaited."""
        if asyncio.iscoroutinefunction(work):
            wait = self.inside if of == "aio" else self.wait
            call = work
            work = lambda n: wait(call(n))  # noqa: E731
        return Contender(name=name, pid=self.pid(of), work=work, times=times, **options)


def again(call: Callable[..., object], *first: Any) -> Callable[[int], None]:
    """That call, many times, with these arguments and its number."""

    def work(times: int) -> None:
        for number in range(times):
            call(*first, number)

    return work


def again_awaited(
    call: Callable[..., Coroutine[Any, Any, Any]], *first: Any
) -> Callable[[int], Coroutine[Any, Any, None]]:
    """The same for what has to be awaited."""

    async def work(times: int) -> None:
        for number in range(times):
            await call(*first, number)

    return work
