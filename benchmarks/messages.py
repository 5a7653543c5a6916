"""The paths of store.py that write and read messages."""

from __future__ import annotations

import io
import struct
import uuid
from collections.abc import Callable, Iterator
from functools import partial
from itertools import islice
from typing import Any

import numpy as np
import sqlalchemy as sa
from peers import Peers, again, again_awaited
from pgvector.sqlalchemy import Vector
from psycopg.rows import namedtuple_row
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column
from store import Contender

from foundry.schema import Message
from foundry.store import aio, conversations
from foundry.store.conversations import NewMessage

TEXT = "I skipped work today and I feel bad about it. " * 4
ARRAYS = np.random.default_rng(1).standard_normal((500, 384)).astype("f4")
LISTS = ARRAYS.tolist()
_COLUMNS = ("session_id", "role", "content", "embedding")
_COPY = "COPY messages (session_id, role, content, embedding) FROM STDIN (FORMAT BINARY)"
_APPEND = "INSERT INTO messages (session_id, role, content) VALUES ({}) RETURNING id"
_EMBEDDED = "INSERT INTO messages (session_id, role, content, embedding) VALUES ({}) RETURNING id"
_EMBEDDED_PSYCOPG3 = _EMBEDDED.format("%b, %b, %b, %b")
_EMBEDDED_ASYNCPG = _EMBEDDED.format("$1, $2, $3, $4")
_PAGE = (
    "SELECT id, ts, role, content{} FROM messages WHERE session_id = {} ORDER BY ts, id LIMIT 200"
)


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


_INSERT = sa.insert(Row).returning(Row.id)


def bulk(rows: int) -> Callable[[Peers], list[Contender]]:
    """Many messages with embeddings."""

    def made(p: Peers) -> list[Contender]:
        few = max(rows // 50, 200)
        ways: tuple[tuple[str, str, Any, int], ...] = (
            ("COPY BINARY, packed before", "raw", partial(_bulk_packed, p, _packed(p, rows)), rows),
            ("foundry", "foundry", partial(_bulk_ours, p, ARRAYS), rows),
            ("foundry, lists", "foundry", partial(_bulk_ours, p, LISTS), rows),
            ("foundry.store.aio", "aio", partial(_bulk_awaited, p), rows),
            ("psycopg3 write_row", "three", partial(_bulk_psycopg3, p), rows),
            ("asyncpg copy_records", "pg", partial(_bulk_asyncpg, p), rows),
            ("SQLAlchemy Core", "alchemy", partial(_bulk_core, p), few),
            ("Peewee insert_many", "foundry", partial(_bulk_peewee, p), few),
        )
        if p.langchain:
            ways += (("langchain-postgres", "langchain", partial(_bulk_langchain, p), few),)
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


def _messages(vectors: Any, n: int) -> Iterator[NewMessage]:
    return (NewMessage("user", TEXT, None, vectors[i % 500]) for i in range(n))


def _dicts(p: Peers, n: int) -> list[dict[str, Any]]:
    return [
        dict(zip(_COLUMNS, (p.session, "user", TEXT, ARRAYS[i % 500]), strict=True))
        for i in range(n)
    ]


def _bulk_packed(p: Peers, packed: bytes, _: int) -> None:
    p.raw.cursor().copy_expert(_COPY, io.BytesIO(packed), size=1 << 20)


def _bulk_ours(p: Peers, vectors: Any, n: int) -> None:
    conversations.append_many(p.foundry, p.session, _messages(vectors, n))


async def _bulk_awaited(p: Peers, n: int) -> None:
    await aio.conversations.append_many(p.aio, p.session, _messages(ARRAYS, n))


def _bulk_psycopg3(p: Peers, n: int) -> None:
    with p.binary.copy(_COPY) as copy:
        copy.set_types(["uuid", "text", "text", "vector"])
        for i in range(n):
            copy.write_row((p.session, "user", TEXT, ARRAYS[i % 500]))


async def _bulk_asyncpg(p: Peers, n: int) -> None:
    found = ((p.session, "user", TEXT, ARRAYS[i % 500]) for i in range(n))
    await p.pg.copy_records_to_table("messages", records=found, columns=_COLUMNS)


def _bulk_core(p: Peers, n: int) -> None:
    p.alchemy.execute(sa.insert(Row.__table__), _dicts(p, n))  # type: ignore[arg-type]


def _bulk_peewee(p: Peers, n: int) -> None:
    same = {"session": p.session, "role": "user", "content": TEXT}
    found = [{**same, "embedding": LISTS[i % 500]} for i in range(n)]
    with p.foundry.atomic():
        for at in range(0, n, 500):
            Message.insert_many(found[at : at + 500]).execute()


def _bulk_langchain(p: Peers, n: int) -> None:
    p.langchain.add(p.session, TEXT, [LISTS[i % 500] for i in range(n)])


def append(p: Peers) -> list[Contender]:
    """One message without an embedding."""
    values, n = {"session_id": p.session, "role": "user", "content": TEXT}, 1000
    return [
        p.way("psycopg2", "raw", again(_append_psycopg2, p, p.raw.cursor()), n),
        p.way("foundry", "foundry", again(_append_ours, p), n),
        p.way("foundry.store.aio", "aio", again_awaited(_append_awaited, p), n),
        p.way("psycopg3, prepared", "three", again(_append_psycopg3, p), n),
        p.way("asyncpg", "pg", again_awaited(_append_asyncpg, p, _APPEND.format("$1, $2, $3")), n),
        p.way("SQLAlchemy Core", "alchemy", again(_append_core, p, values), n),
        p.way("SQLAlchemy ORM", "alchemy", again(_append_orm, p, values), n // 3),
        p.way("Peewee create", "foundry", again(_append_peewee, p), n // 3),
    ]


def _append_psycopg2(p: Peers, cursor: Any, _: int) -> None:
    cursor.execute(_APPEND.format("%s, %s, %s"), (str(p.session), "user", TEXT))
    cursor.fetchone()


def _append_ours(p: Peers, _: int) -> None:
    conversations.append(p.foundry, p.session, "user", TEXT)


def _append_awaited(p: Peers, _: int) -> Any:
    return aio.conversations.append(p.aio, p.session, "user", TEXT)


def _append_psycopg3(p: Peers, _: int) -> None:
    p.binary.execute(_APPEND.format("%b, %b, %b"), (p.session, "user", TEXT))
    p.binary.fetchone()


def _append_asyncpg(p: Peers, statement: str, _: int) -> Any:
    return p.pg.fetchval(statement, p.session, "user", TEXT)


def _append_core(p: Peers, values: dict[str, Any], _: int) -> None:
    p.alchemy.execute(_INSERT, values).one()


def _append_orm(p: Peers, values: dict[str, Any], _: int) -> None:
    with Session(p.alchemy) as session:
        session.add(Row(**values))
        session.commit()


def _append_peewee(p: Peers, _: int) -> None:
    Message.create(session=p.session, role="user", content=TEXT)


def append_embedded(p: Peers) -> list[Contender]:
    """One message with an embedding."""
    n = 1000
    found = [
        p.way("psycopg3, prepared, binary", "three", again(_embedded_psycopg3, p), n),
        p.way("foundry", "foundry", again(_embedded_ours, p, ARRAYS), n),
        p.way("foundry, lists", "foundry", again(_embedded_ours, p, LISTS), n),
        p.way("foundry.store.aio", "aio", again_awaited(_embedded_awaited, p), n),
        p.way("asyncpg", "pg", again_awaited(_embedded_asyncpg, p), n),
        p.way("SQLAlchemy Core", "alchemy", again(_embedded_core, p), n // 3),
        p.way("SQLAlchemy ORM", "alchemy", again(_embedded_orm, p), n // 3),
        p.way("Peewee create", "foundry", again(_embedded_peewee, p), n // 3),
    ]
    if p.langchain:
        found += [p.way("langchain-postgres", "langchain", again(_embedded_langchain, p), n // 3)]
    return found


def _embedded_psycopg3(p: Peers, i: int) -> None:
    p.binary.execute(_EMBEDDED_PSYCOPG3, (p.session, "user", TEXT, ARRAYS[i % 500]))
    p.binary.fetchone()


def _embedded_ours(p: Peers, vectors: Any, i: int) -> None:
    conversations.append(p.foundry, p.session, "user", TEXT, embedding=vectors[i % 500])


def _embedded_awaited(p: Peers, i: int) -> Any:
    return aio.conversations.append(p.aio, p.session, "user", TEXT, embedding=ARRAYS[i % 500])


def _embedded_asyncpg(p: Peers, i: int) -> Any:
    return p.pg.fetchval(_EMBEDDED_ASYNCPG, p.session, "user", TEXT, ARRAYS[i % 500])


def _values(p: Peers, i: int) -> dict[str, Any]:
    found = {"session_id": p.session, "role": "user", "content": TEXT}
    return {**found, "embedding": ARRAYS[i % 500]}


def _embedded_core(p: Peers, i: int) -> None:
    _append_core(p, _values(p, i), i)


def _embedded_orm(p: Peers, i: int) -> None:
    _append_orm(p, _values(p, i), i)


def _embedded_peewee(p: Peers, i: int) -> None:
    Message.create(session=p.session, role="user", content=TEXT, embedding=LISTS[i % 500])


def _embedded_langchain(p: Peers, i: int) -> None:
    p.langchain.add(p.session, TEXT, [LISTS[i % 500]])


def page(*, embeddings: bool) -> Callable[[Peers], list[Contender]]:
    """200 messages of a session."""
    columns = ", embedding" if embeddings else ""
    how, n, few = {"embeddings": embeddings}, 60, 12

    def made(p: Peers) -> list[Contender]:
        _fill(p)
        typed = p.three.cursor(binary=True, row_factory=namedtuple_row)
        core, entity = _selects(p, embeddings)
        models = [Message.id, Message.ts, Message.role, Message.content]
        models += [Message.embedding] if embeddings else []
        return [
            p.way("psycopg3, binary", "three", again(_page_psycopg3, p, typed, columns), n),
            p.way("foundry", "foundry", again(_page_ours, p, how), n),
            p.way("foundry.store.aio", "aio", again_awaited(_page_awaited, p, how), n),
            p.way("asyncpg", "pg", again_awaited(_page_asyncpg, p, columns), n),
            p.way("psycopg2", "raw", again(_page_psycopg2, p, columns), n),
            p.way("SQLAlchemy Core", "alchemy", again(_page_core, p, core), few),
            p.way("SQLAlchemy ORM", "alchemy", again(_page_orm, p, entity), few),
            p.way("Peewee models", "foundry", again(_page_peewee, p, models), few),
        ]

    return made


def _fill(p: Peers) -> None:
    """500 messages and no other."""
    p.empty()
    many = (NewMessage("user", TEXT, None, one) for one in islice(ARRAYS, 500))
    conversations.append_many(p.foundry, p.session, many)
    p.raw.cursor().execute("VACUUM ANALYZE messages")


def _selects(p: Peers, embeddings: bool) -> tuple[Any, Any]:
    """SQLAlchemy's, of columns and of objects."""
    columns = [Row.id, Row.ts, Row.role, Row.content, *([Row.embedding] if embeddings else [])]
    options = [] if embeddings else [sa.orm.defer(Row.embedding)]
    core, entity = (
        query.where(Row.session_id == p.session).order_by(Row.ts, Row.id).limit(200)
        for query in (sa.select(*columns), sa.select(Row).options(*options))
    )
    return core, entity


def _page_psycopg3(p: Peers, cursor: Any, columns: str, _: int) -> None:
    cursor.execute(_PAGE.format(columns, "%b"), (p.session,))
    cursor.fetchall()


def _page_ours(p: Peers, how: dict[str, bool], _: int) -> None:
    conversations.page(p.foundry, p.session, **how)


def _page_awaited(p: Peers, how: dict[str, bool], _: int) -> Any:
    return aio.conversations.page(p.aio, p.session, **how)


def _page_asyncpg(p: Peers, columns: str, _: int) -> Any:
    return p.pg.fetch(_PAGE.format(columns, "$1"), p.session)


def _page_psycopg2(p: Peers, columns: str, _: int) -> None:
    with p.raw.cursor() as cursor:
        cursor.execute(_PAGE.format(columns, "%s"), (str(p.session),))
        cursor.fetchall()


def _page_core(p: Peers, query: Any, _: int) -> None:
    p.alchemy.execute(query).all()


def _page_orm(p: Peers, query: Any, _: int) -> None:
    with Session(p.alchemy) as session:
        session.scalars(query).all()


def _page_peewee(p: Peers, fields: list[Any], _: int) -> None:
    query = Message.select(*fields).where(Message.session == p.session)
    list(query.order_by(Message.ts, Message.id).limit(200))
