"""Those who are compared in store.py: drivers, SQLAlchemy, plain Peewee, and foundry."""

from __future__ import annotations

import asyncio
import io
import json
import random
import struct
import uuid
from collections.abc import Callable, Coroutine, Iterator
from importlib.metadata import version
from itertools import islice
from string import ascii_lowercase
from typing import Any

import asyncpg
import numpy as np
import orjson
import pgvector.asyncpg
import psycopg
import psycopg2
import sqlalchemy as sa
from pgvector.psycopg import register_vector
from pgvector.sqlalchemy import Vector
from psycopg.rows import namedtuple_row
from psycopg.types.json import Jsonb
from sqlalchemy.dialects import postgresql
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column
from store import Contender

import foundry
from foundry.schema import Message, Protocol, User
from foundry.store import aio, conversations, protocols
from foundry.store.conversations import NewMessage

TEXT = "I skipped work today and I feel bad about it. " * 4
ARRAYS = np.random.default_rng(1).standard_normal((500, 384)).astype("f4")
LISTS = ARRAYS.tolist()
_RANDOM = random.Random(1)
_WORDS = ["".join(_RANDOM.choices(ascii_lowercase, k=2 + n % 9)) for n in range(2000)]


def words(count: int) -> str:
    """Text that is compressed as badly as that of a person."""
    return " ".join(_RANDOM.choices(_WORDS, k=count))


STATE = {
    "user_intent": words(20),
    "draft_versions": [{"iteration": n, "content": words(420)} for n in range(280)],
    "scratchpad": [
        {"agent_role": "drafter", "iteration": n, "note": words(40)} for n in range(500)
    ],
    "safety_assessment": {"safety_level": "safe", "concerns": [], "flagged_lines": [1, 2]},
    "iteration_count": 3,
}
_APPEND = "INSERT INTO messages (session_id, role, content) VALUES ({}) RETURNING id"
_EMBEDDED = "INSERT INTO messages (session_id, role, content, embedding) VALUES ({}) RETURNING id"
_COPY = "COPY messages (session_id, role, content, embedding) FROM STDIN (FORMAT BINARY)"
_PAGE = (
    "SELECT id, ts, role, content{} FROM messages WHERE session_id = {} ORDER BY ts, id LIMIT 200"
)
_COMPLETE = "UPDATE protocol_history SET completed_at = now(), state_snapshot = {} WHERE id = {}"
_STATE = "SELECT state_snapshot{} FROM protocol_history WHERE id = {}"


class Base(DeclarativeBase):
    """SQLAlchemy's."""


class Row(Base):
    """A message, as SQLAlchemy has it."""

    __tablename__ = "messages"
    id: Mapped[int] = mapped_column(sa.BigInteger, primary_key=True)
    session_id: Mapped[uuid.UUID]
    role: Mapped[str]
    content: Mapped[str]
    ts: Mapped[Any] = mapped_column(sa.DateTime(timezone=True), server_default=sa.func.now())
    embedding: Mapped[Any] = mapped_column(Vector(384), nullable=True, deferred=False)


PROTOCOLS = sa.table(
    "protocol_history",
    sa.column("id", sa.String),
    sa.column("completed_at"),
    sa.column("state_snapshot", postgresql.JSONB),
)


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
        user = User.create(name="Ada").id
        self.session = conversations.start(self.foundry, user)

    async def _one_task(self) -> None:
        """The task that holds the connection of foundry.store.aio."""
        while (asked := await self._calls.get()) is not None:
            call, done = asked
            done.set_result(await call)

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
        self.foundry.close_all()
        self.alchemy.close()
        self.engine.dispose()
        self.three.close()
        self.raw.close()

    def versions(self) -> str:
        """What is compared."""
        names = ("psycopg2-binary", "psycopg", "asyncpg", "SQLAlchemy", "peewee", "orjson", "numpy")
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


def again(call: Callable[[int], object]) -> Callable[[int], None]:
    """That call, many times."""

    def work(times: int) -> None:
        for number in range(times):
            call(number)

    return work


def again_awaited(call: Callable[[int], Coroutine[Any, Any, Any]]) -> Callable[[int], Any]:
    """The same for a coroutine function."""

    async def work(times: int) -> None:
        for number in range(times):
            await call(number)

    return work


def bulk(rows: int) -> Callable[[Peers], list[Contender]]:
    """Many messages with embeddings."""

    def made(p: Peers) -> list[Contender]:
        few = max(rows // 50, 200)
        packed = _packed(p, rows)
        columns = ("session_id", "role", "content", "embedding")

        def dicts(n: int) -> list[dict[str, Any]]:
            return [
                dict(zip(columns, (p.session, "user", TEXT, ARRAYS[i % 500]), strict=True))
                for i in range(n)
            ]

        def messages(vectors: Any, n: int) -> Iterator[NewMessage]:
            return (NewMessage("user", TEXT, None, vectors[i % 500]) for i in range(n))

        def limit(n: int) -> None:
            p.raw.cursor().copy_expert(_COPY, io.BytesIO(packed), size=1 << 20)

        def three(n: int) -> None:
            with p.binary.copy(_COPY) as copy:
                copy.set_types(["uuid", "text", "text", "vector"])
                for i in range(n):
                    copy.write_row((p.session, "user", TEXT, ARRAYS[i % 500]))

        async def pg(n: int) -> None:
            found = ((p.session, "user", TEXT, ARRAYS[i % 500]) for i in range(n))
            await p.pg.copy_records_to_table("messages", records=found, columns=columns)

        async def ours_awaited(n: int) -> None:
            await aio.conversations.append_many(p.aio, p.session, messages(ARRAYS, n))

        def orm(n: int) -> None:
            with Session(p.engine) as session:
                session.add_all(Row(**one) for one in dicts(n))
                session.commit()

        def peewee(n: int) -> None:
            lists = ({**one, "session": p.session} for one in dicts(n))
            found = [
                {k: v for k, v in one.items() if k != "session_id"} | {"embedding": v}
                for one, v in zip(lists, (LISTS[i % 500] for i in range(n)), strict=True)
            ]
            with p.foundry.atomic():
                for at in range(0, n, 500):
                    Message.insert_many(found[at : at + 500]).execute()

        ours = conversations.append_many
        ways: tuple[tuple[str, str, Any, int], ...] = (
            ("COPY BINARY, packed before", "raw", limit, rows),
            ("foundry", "foundry", lambda n: ours(p.foundry, p.session, messages(ARRAYS, n)), rows),
            (
                "foundry, lists",
                "foundry",
                lambda n: ours(p.foundry, p.session, messages(LISTS, n)),
                rows,
            ),
            ("foundry.store.aio", "aio", ours_awaited, rows),
            ("psycopg3 write_row", "three", three, rows),
            ("asyncpg copy_records", "pg", pg, rows),
            (
                "SQLAlchemy Core",
                "alchemy",
                lambda n: p.alchemy.execute(sa.insert(Row.__table__), dicts(n)),  # type: ignore[arg-type]
                few,
            ),
            ("Peewee insert_many", "foundry", peewee, few),
        )
        return [p.way(name, of, work, n, prepare=p.empty) for name, of, work, n in ways]

    return made


def _packed(p: Peers, rows: int) -> bytes:
    """A whole COPY, ready to be sent."""
    text = TEXT.encode()
    parts = [b"PGCOPY\n\xff\r\n\0" + bytes(8)]
    for i in range(rows):
        vector = struct.pack(">hh", 384, 0) + ARRAYS[i % 500].astype(">f4").tobytes()
        head = struct.pack(">h i16s i4s i", 4, 16, p.session.bytes, 4, b"user", len(text))
        parts += (head, text, struct.pack(">i", len(vector)), vector)
    return b"".join((*parts, b"\xff\xff"))


def append(p: Peers) -> list[Contender]:
    """One message without an embedding."""
    raw, pg = p.raw.cursor(), _APPEND.format("$1, $2, $3")

    def by_driver(_: int) -> None:
        raw.execute(_APPEND.format("%s, %s, %s"), (str(p.session), "user", TEXT))
        raw.fetchone()

    def by_three(_: int) -> None:
        p.binary.execute(_APPEND.format("%b, %b, %b"), (p.session, "user", TEXT))
        p.binary.fetchone()

    ours, awaited = conversations.append, aio.conversations.append
    insert = sa.insert(Row).returning(Row.id)
    values = {"session_id": p.session, "role": "user", "content": TEXT}
    n = 1000
    return [
        p.way("psycopg2", "raw", again(by_driver), n),
        p.way("foundry", "foundry", again(lambda _: ours(p.foundry, p.session, "user", TEXT)), n),
        p.way(
            "foundry.store.aio",
            "aio",
            again_awaited(lambda _: awaited(p.aio, p.session, "user", TEXT)),
            n,
        ),
        p.way("psycopg3, prepared", "three", again(by_three), n),
        p.way(
            "asyncpg", "pg", again_awaited(lambda _: p.pg.fetchval(pg, p.session, "user", TEXT)), n
        ),
        p.way(
            "SQLAlchemy Core",
            "alchemy",
            again(lambda _: p.alchemy.execute(insert, values).one()),
            n,
        ),
        p.way("SQLAlchemy ORM", "alchemy", again(lambda _: _added(p, values)), n // 3),
        p.way(
            "Peewee create",
            "foundry",
            again(lambda _: Message.create(session=p.session, role="user", content=TEXT)),
            n // 3,
        ),
    ]


def _added(p: Peers, values: dict[str, Any]) -> None:
    with Session(p.alchemy) as session:
        session.add(Row(**values))
        session.commit()


def append_embedded(p: Peers) -> list[Contender]:
    """One message with an embedding."""
    pg, three = _EMBEDDED.format("$1, $2, $3, $4"), _EMBEDDED.format("%b, %b, %b, %b")

    def by_three(i: int) -> None:
        p.binary.execute(three, (p.session, "user", TEXT, ARRAYS[i % 500]))
        p.binary.fetchone()

    def ours(vectors: Any) -> Callable[[int], None]:
        return again(
            lambda i: conversations.append(
                p.foundry, p.session, "user", TEXT, embedding=vectors[i % 500]
            )
        )

    def awaited(i: int) -> Any:
        return aio.conversations.append(p.aio, p.session, "user", TEXT, embedding=ARRAYS[i % 500])

    def values(i: int) -> dict[str, Any]:
        found = {"session_id": p.session, "role": "user", "content": TEXT}
        return {**found, "embedding": ARRAYS[i % 500]}

    def create(i: int) -> None:
        Message.create(session=p.session, role="user", content=TEXT, embedding=LISTS[i % 500])

    insert, n = sa.insert(Row).returning(Row.id), 1000
    return [
        p.way("psycopg3, prepared, binary", "three", again(by_three), n),
        p.way("foundry", "foundry", ours(ARRAYS), n),
        p.way("foundry, lists", "foundry", ours(LISTS), n),
        p.way("foundry.store.aio", "aio", again_awaited(awaited), n),
        p.way(
            "asyncpg",
            "pg",
            again_awaited(lambda i: p.pg.fetchval(pg, p.session, "user", TEXT, ARRAYS[i % 500])),
            n,
        ),
        p.way(
            "SQLAlchemy Core",
            "alchemy",
            again(lambda i: p.alchemy.execute(insert, values(i)).one()),
            n // 3,
        ),
        p.way("SQLAlchemy ORM", "alchemy", again(lambda i: _added(p, values(i))), n // 3),
        p.way("Peewee create", "foundry", again(create), n // 3),
    ]


def page(*, embeddings: bool) -> Callable[[Peers], list[Contender]]:
    """200 messages of a session."""
    columns = ", embedding" if embeddings else ""

    def made(p: Peers) -> list[Contender]:
        p.empty()
        many = (NewMessage("user", TEXT, None, one) for one in islice(ARRAYS, 500))
        conversations.append_many(p.foundry, p.session, many)
        p.raw.cursor().execute("VACUUM ANALYZE messages")
        typed = p.three.cursor(binary=True, row_factory=namedtuple_row)

        def by_three(_: int) -> None:
            typed.execute(_PAGE.format(columns, "%b"), (p.session,))
            typed.fetchall()

        def by_driver(_: int) -> None:
            with p.raw.cursor() as cursor:
                cursor.execute(_PAGE.format(columns, "%s"), (str(p.session),))
                cursor.fetchall()

        fields = [Row.id, Row.ts, Row.role, Row.content, *([Row.embedding] if embeddings else [])]
        models = [Message.id, Message.ts, Message.role, Message.content]
        core = _ordered(sa.select(*fields), p)
        entity = _ordered(
            sa.select(Row).options(*([] if embeddings else [sa.orm.defer(Row.embedding)])), p
        )

        def by_orm(_: int) -> None:
            with Session(p.alchemy) as session:
                session.scalars(entity).all()

        def by_peewee(_: int) -> None:
            query = Message.select(*models, *([Message.embedding] if embeddings else []))
            list(
                query.where(Message.session == p.session)
                .order_by(Message.ts, Message.id)
                .limit(200)
            )

        ours, awaited = conversations.page, aio.conversations.page
        how = {"embeddings": embeddings}
        n, few = 60, 12
        return [
            p.way("psycopg3, binary", "three", again(by_three), n),
            p.way("foundry", "foundry", again(lambda _: ours(p.foundry, p.session, **how)), n),
            p.way(
                "foundry.store.aio",
                "aio",
                again_awaited(lambda _: awaited(p.aio, p.session, **how)),
                n,
            ),
            p.way(
                "asyncpg",
                "pg",
                again_awaited(lambda _: p.pg.fetch(_PAGE.format(columns, "$1"), p.session)),
                n,
            ),
            p.way("psycopg2", "raw", again(by_driver), n),
            p.way(
                "SQLAlchemy Core", "alchemy", again(lambda _: p.alchemy.execute(core).all()), few
            ),
            p.way("SQLAlchemy ORM", "alchemy", again(by_orm), few),
            p.way("Peewee models", "foundry", again(by_peewee), few),
        ]

    return made


def _ordered(query: Any, p: Peers) -> Any:
    return query.where(Row.session_id == p.session).order_by(Row.ts, Row.id).limit(200)


def json_write(p: Peers) -> list[Contender]:
    """A state of 1 MB."""
    written = orjson.dumps(STATE).decode()
    ids: list[str] = []
    pg, n = _COMPLETE.format("$1", "$2"), 15
    update = (
        sa.update(PROTOCOLS)
        .where(PROTOCOLS.c.id == sa.bindparam("which"))
        .values(
            completed_at=sa.func.now(), state_snapshot=sa.bindparam("state", type_=postgresql.JSONB)
        )
    )

    def fresh(times: int) -> None:
        p.raw.cursor().execute("TRUNCATE protocol_history CASCADE")
        ids[:] = [protocols.open(p.foundry, "x") for _ in range(times)]

    def by_driver(i: int) -> None:
        p.raw.cursor().execute(_COMPLETE.format("%s", "%s"), (written, ids[i]))

    def by_three(i: int) -> None:
        p.three.execute(_COMPLETE.format("%s", "%s"), (Jsonb(STATE), ids[i]))

    def by_peewee(i: int) -> None:
        Protocol.update(state_snapshot=STATE).where(Protocol.id == ids[i]).execute()

    ways: tuple[tuple[str, str, Any], ...] = (
        ("psycopg2, text written before", "raw", again(by_driver)),
        (
            "foundry",
            "foundry",
            again(lambda i: protocols.complete(p.foundry, ids[i], state=STATE)),
        ),
        (
            "foundry.store.aio",
            "aio",
            again_awaited(lambda i: aio.protocols.complete(p.aio, ids[i], state=STATE)),
        ),
        ("psycopg3 Jsonb", "three", again(by_three)),
        ("asyncpg, json", "pg", again_awaited(lambda i: p.pg.execute(pg, STATE, ids[i]))),
        (
            "SQLAlchemy Core",
            "alchemy",
            again(lambda i: p.alchemy.execute(update, {"which": ids[i], "state": STATE})),
        ),
        ("Peewee update", "foundry", again(by_peewee)),
    )
    return [p.way(name, of, work, n, prepare=fresh) for name, of, work in ways]


def json_read(p: Peers) -> list[Contender]:
    """The same, read."""
    id = protocols.open(p.foundry, "x")
    protocols.complete(p.foundry, id, state=STATE)
    n, query = 30, sa.select(PROTOCOLS.c.state_snapshot).where(PROTOCOLS.c.id == id)

    def by_driver(_: int) -> None:
        with p.raw.cursor() as cursor:
            cursor.execute(_STATE.format("::text", "%s"), (id,))
            cursor.fetchone()

    def by_three(_: int) -> None:
        p.binary.execute(_STATE.format("", "%b"), (id,))
        p.binary.fetchone()

    ways: tuple[tuple[str, str, Any], ...] = (
        ("psycopg2, text that stays text", "raw", again(by_driver)),
        ("foundry", "foundry", again(lambda _: protocols.state(p.foundry, id))),
        (
            "foundry.store.aio",
            "aio",
            again_awaited(lambda _: aio.protocols.state(p.aio, id)),
        ),
        ("psycopg3", "three", again(by_three)),
        (
            "asyncpg, json",
            "pg",
            again_awaited(lambda _: p.pg.fetchval(_STATE.format("", "$1"), id)),
        ),
        ("SQLAlchemy Core", "alchemy", again(lambda _: p.alchemy.execute(query).one())),
        ("Peewee model", "foundry", again(lambda _: Protocol.get_by_id(id))),
    )
    return [p.way(name, of, work, n) for name, of, work in ways]


PATHS: dict[str, tuple[str, Callable[[Peers], list[Contender]]]] = {
    "bulk20k": ("Bulk, 20,000 messages with embeddings, a row", bulk(20_000)),
    "bulk100k": ("Bulk, 100,000 messages with embeddings, a row", bulk(100_000)),
    "append-embedded": ("Append one message with an embedding", append_embedded),
    "append": ("Append one message without", append),
    "page-embedded": ("A page of 200 messages with embeddings", page(embeddings=True)),
    "page": ("A page of 200 messages without", page(embeddings=False)),
    "json-write": ("Write 1 MB of JSON", json_write),
    "json-read": ("Read 1 MB of JSON", json_read),
}
