"""The paths of store.py that write and read the state of a protocol."""

from __future__ import annotations

import random
from functools import partial
from string import ascii_lowercase
from typing import Any

import orjson
import sqlalchemy as sa
from peers import Peers, again, again_awaited
from psycopg.types.json import Jsonb
from sqlalchemy.dialects import postgresql
from store import Contender

from foundry.schema import Protocol
from foundry.store import aio, protocols

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
_WRITTEN = orjson.dumps(STATE).decode()
_COMPLETE = "UPDATE protocol_history SET completed_at = now(), state_snapshot = {} WHERE id = {}"
_STATE = "SELECT state_snapshot{} FROM protocol_history WHERE id = {}"

PROTOCOLS = sa.table(
    "protocol_history",
    sa.column("id", sa.String),
    sa.column("completed_at"),
    sa.column("state_snapshot", postgresql.JSONB),
)
_UPDATE = (
    sa.update(PROTOCOLS)
    .where(PROTOCOLS.c.id == sa.bindparam("which"))
    .values(
        completed_at=sa.func.now(), state_snapshot=sa.bindparam("state", type_=postgresql.JSONB)
    )
)


def json_write(p: Peers) -> list[Contender]:
    """A state of 1 MB."""
    ids: list[str] = []
    ways: tuple[tuple[str, str, Any], ...] = (
        ("psycopg2, text written before", "raw", again(_write_psycopg2, p, ids)),
        ("foundry", "foundry", again(_write_ours, p, ids)),
        ("foundry.store.aio", "aio", again_awaited(_write_awaited, p, ids)),
        ("psycopg3 Jsonb", "three", again(_write_psycopg3, p, ids)),
        ("asyncpg, json", "pg", again_awaited(_write_asyncpg, p, ids)),
        ("SQLAlchemy Core", "alchemy", again(_write_core, p, ids)),
        ("Peewee update", "foundry", again(_write_peewee, ids)),
    )
    fresh = partial(_fresh, p, ids)
    return [p.way(name, of, work, 15, prepare=fresh) for name, of, work in ways]


def _fresh(p: Peers, ids: list[str], times: int) -> None:
    """So many protocols without a state, and no other."""
    p.raw.cursor().execute("TRUNCATE protocol_history CASCADE")
    ids[:] = [protocols.open(p.foundry, "x") for _ in range(times)]


def _write_psycopg2(p: Peers, ids: list[str], i: int) -> None:
    p.raw.cursor().execute(_COMPLETE.format("%s", "%s"), (_WRITTEN, ids[i]))


def _write_ours(p: Peers, ids: list[str], i: int) -> None:
    protocols.complete(p.foundry, ids[i], state=STATE)


def _write_awaited(p: Peers, ids: list[str], i: int) -> Any:
    return aio.protocols.complete(p.aio, ids[i], state=STATE)


def _write_psycopg3(p: Peers, ids: list[str], i: int) -> None:
    p.three.execute(_COMPLETE.format("%s", "%s"), (Jsonb(STATE), ids[i]))


def _write_asyncpg(p: Peers, ids: list[str], i: int) -> Any:
    return p.pg.execute(_COMPLETE.format("$1", "$2"), STATE, ids[i])


def _write_core(p: Peers, ids: list[str], i: int) -> None:
    p.alchemy.execute(_UPDATE, {"which": ids[i], "state": STATE})


def _write_peewee(ids: list[str], i: int) -> None:
    Protocol.update(state_snapshot=STATE).where(Protocol.id == ids[i]).execute()


def json_read(p: Peers) -> list[Contender]:
    """The same, read."""
    id = protocols.open(p.foundry, "x")
    protocols.complete(p.foundry, id, state=STATE)
    query = sa.select(PROTOCOLS.c.state_snapshot).where(PROTOCOLS.c.id == id)
    ways: tuple[tuple[str, str, Any], ...] = (
        ("psycopg2, text that stays text", "raw", again(_read_psycopg2, p, id)),
        ("foundry", "foundry", again(_read_ours, p, id)),
        ("foundry.store.aio", "aio", again_awaited(_read_awaited, p, id)),
        ("psycopg3", "three", again(_read_psycopg3, p, id)),
        ("asyncpg, json", "pg", again_awaited(_read_asyncpg, p, id)),
        ("SQLAlchemy Core", "alchemy", again(_read_core, p, query)),
        ("Peewee model", "foundry", again(_read_peewee, id)),
    )
    return [p.way(name, of, work, 30) for name, of, work in ways]


def _read_psycopg2(p: Peers, id: str, _: int) -> None:
    with p.raw.cursor() as cursor:
        cursor.execute(_STATE.format("::text", "%s"), (id,))
        cursor.fetchone()


def _read_ours(p: Peers, id: str, _: int) -> None:
    protocols.state(p.foundry, id)


def _read_awaited(p: Peers, id: str, _: int) -> Any:
    return aio.protocols.state(p.aio, id)


def _read_psycopg3(p: Peers, id: str, _: int) -> None:
    p.binary.execute(_STATE.format("", "%b"), (id,))
    p.binary.fetchone()


def _read_asyncpg(p: Peers, id: str, _: int) -> Any:
    return p.pg.fetchval(_STATE.format("", "$1"), id)


def _read_core(p: Peers, query: Any, _: int) -> None:
    p.alchemy.execute(query).one()


def _read_peewee(id: str, _: int) -> None:
    Protocol.get_by_id(id)
