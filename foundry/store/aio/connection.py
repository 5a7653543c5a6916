"""A connection of asyncpg for Peewee and for the store, and the values that travel on it."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from functools import partial
from typing import Any

import asyncpg
from playhouse.pwasyncio import AsyncPostgresqlConnection

from foundry.store import strict
from foundry.store.payloads import loaded
from foundry.store.recent import Recent
from foundry.store.vectors import Packed, unpacked, written

_VECTOR = """
SELECT n.nspname FROM pg_catalog.pg_type AS t
JOIN pg_catalog.pg_namespace AS n ON n.oid = t.typnamespace
JOIN pg_catalog.pg_depend AS d ON d.classid = 'pg_type'::regclass AND d.objid = t.oid
JOIN pg_catalog.pg_extension AS e ON e.oid = d.refobjid AND d.deptype = 'e'
WHERE t.typname = 'vector' AND e.extname = 'vector'
"""


class Session(asyncpg.Connection):  # type: ignore[misc]
    """asyncpg's, that remembers what the server answered last to a statement without arguments."""

    answered = ""

    async def execute(self, query: str, *args: Any, timeout: float | None = None) -> str:
        """Run a statement; returns the server's word for what it did."""
        self.answered = await super().execute(query, *args, timeout=timeout)
        return self.answered


class Connection(AsyncPostgresqlConnection):  # type: ignore[misc]
    """A session with the codecs of the store: JSON as Python values, vectors as float32.

    Peewee is given the text of a vector, as psycopg2 gives it, so that fields read what they
    always read.
    """

    conn: Session

    def __init__(self, session: Session) -> None:
        super().__init__(session)
        self.born = self.idle_since = time.monotonic()
        self.copied: dict[str, bool] = {}
        self.recent = Recent()
        self.has_vectors = False
        self.touched = False
        self.interrupted = False
        self._for_peewee = False

    async def register(self) -> None:
        """Set the codecs; the one of vectors as soon as the database has them."""
        for kind, version in (("json", b""), ("jsonb", b"\x01")):
            await self.conn.set_type_codec(
                kind,
                schema="pg_catalog",
                encoder=partial(_json_sent, version),
                decoder=partial(_json_read, len(version)),
                format="binary",
            )
        await self.register_vectors()

    async def register_vectors(self) -> None:
        """Set the codec of vectors, where the extension is there."""
        namespace = await self.conn.fetchval(_VECTOR)
        if namespace is None:
            return
        await self.conn.set_type_codec(
            "vector",
            schema=namespace,
            encoder=_vector_bytes,
            decoder=self._vector,
            format="binary",
        )
        self.has_vectors = True

    def _vector(self, data: bytes) -> Any:
        if self._for_peewee or self._streaming:
            return written(Packed(data))
        return unpacked(data)

    async def _execute(self, sql: str, params: Any = None) -> Any:
        """Run what Peewee sends; only one statement at a time is on its way."""
        self._for_peewee = True
        try:
            with self._touching():
                return await super()._execute(sql, params)
        finally:
            self._for_peewee = False

    @asynccontextmanager
    async def for_others(self) -> AsyncIterator[Session]:
        """The session for statements that nobody here knows: they may leave settings behind."""
        # Peewee's lock: one statement at a time is on its way.
        await self._acquire_lock()
        try:
            with self._touching():
                yield self.conn
        finally:
            self._lock.release()

    @contextmanager
    def _touching(self) -> Iterator[None]:
        """Notes that a statement may leave something behind, and one that was given up more:
        how the session stands is not known before the server has answered."""
        self.touched = True
        try:
            yield
        except asyncio.CancelledError:
            self.interrupted = True
            raise

    def is_settled(self) -> bool:
        """Whether the next one may have the connection as it is."""
        return not (self.touched or self._is_open())

    def _is_open(self) -> bool:
        """Whether a transaction is open, or was when its BEGIN was given up."""
        return self.conn.is_in_transaction() or getattr(self.conn, "_top_xact", None) is not None

    async def settle(self) -> None:
        """Bring the session back to where it began, or end it: an open transaction is not kept."""
        if self.interrupted:
            # asyncpg first waits until the server has given up the statement.
            await self.conn.fetchval("SELECT 1")
        if self._is_open():
            self.conn.terminate()
        elif self.touched:
            await self.conn.reset()
        self.touched = self.interrupted = False


def _json_sent(version: bytes, value: Any) -> bytes:
    """JSON of a value; a text is taken for JSON that is written already."""
    if isinstance(value, bytes):
        return version + value
    text = value if isinstance(value, str) else strict.payload(value, "argument")
    return version + text.encode()


def _json_read(skipped: int, data: bytes) -> Any:
    return loaded(data[skipped:])


def _vector_bytes(value: Any) -> bytes:
    """The binary form of a vector, also from its text."""
    if isinstance(value, Packed):
        return value
    if isinstance(value, str):
        value = [float(number) for number in value.strip()[1:-1].split(",")]
    return strict.vector(value, "argument")
