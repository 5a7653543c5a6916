"""The steps of finding the messages nearest to an embedding, whatever else they have to be."""

from __future__ import annotations

import functools
import math
import re
import struct
from datetime import datetime
from typing import Any
from uuid import UUID

from foundry.errors import InvalidValue
from foundry.schema.conversations import DIMENSIONS
from foundry.store import filters, strict, vectors
from foundry.store.choosing import ByIndex, Facts, choose
from foundry.store.filters import Where
from foundry.store.operations import Atomic, Query, Recently, Statement, Steps
from foundry.store.rows import NearRow, Rows, rows_of

FEW = 5500
"""Messages of a session or user that are not worth a second look."""

_SESSIONS = 8
"""Sessions of a user whose messages are counted."""

_FIRST = 200
"""Sessions of a user that these are drawn from: to draw from thousands takes a millisecond."""

_UNKNOWN = 0.5
"""The share of a user of whom nobody knows: the first answer of the index will tell."""

COLUMNS = "id, session_id, ts, role, content"
_MESSAGE = ", ".join(f"m.{name}" for name in COLUMNS.split(", "))
# The sum is in no index: what is sorted by it is all that the filter leaves.
EXACTLY = "(m.embedding <=> $1::vector) + 0"

# The one index that is measured, and used.
INDEX = """
    SELECT s.nspname, x.relname, a.amname, o.opcname = 'halfvec_cosine_ops' AS narrow,
           coalesce((SELECT option_value::int
                     FROM pg_catalog.pg_options_to_table(x.reloptions)
                     WHERE option_name = 'lists'), 100) AS lists,
           pg_catalog.obj_description(x.oid, 'pg_class') AS comment,
           pg_catalog.pg_relation_filenode(n.indrelid)::bigint AS of_table,
           count(*) OVER (PARTITION BY o.opcname) AS alike,
           x.oid::bigint AS id, pg_catalog.pg_relation_filenode(x.oid)::bigint AS file
    FROM pg_catalog.pg_index AS n
    JOIN pg_catalog.pg_class AS x ON x.oid = n.indexrelid
    JOIN pg_catalog.pg_namespace AS s ON s.oid = x.relnamespace
    JOIN pg_catalog.pg_am AS a ON a.oid = x.relam AND a.amname IN ('hnsw', 'ivfflat')
    JOIN pg_catalog.pg_opclass AS o ON o.oid = n.indclass[0]
         AND o.opcname IN ('vector_cosine_ops', 'halfvec_cosine_ops')
    WHERE n.indrelid = 'messages'::pg_catalog.regclass AND n.indisvalid
      AND n.indpred IS NULL
    ORDER BY a.amname, o.opcname DESC, x.relname LIMIT 1
"""
# That index, and the planner's own estimate of the rows. Of two that serve the same order the
# planner takes the one that it thinks cheaper, which need not be the one that was measured.
_FACTS = Statement(
    f"""
    SELECT i.amname, coalesce(i.narrow, false), coalesce(i.lists, 100), i.comment, i.of_table,
           CASE WHEN t.relpages > 0 AND t.reltuples >= 0
                THEN t.reltuples::float8 / t.relpages * t.blocks ELSE 5.0 * t.blocks END,
           i.id, i.file
    FROM (SELECT c.reltuples, c.relpages, pg_catalog.pg_relation_size(c.oid)
                 / pg_catalog.current_setting('block_size')::bigint AS blocks
          FROM pg_catalog.pg_class AS c WHERE c.oid = 'messages'::pg_catalog.regclass) AS t
    LEFT JOIN ({INDEX}) AS i ON i.alike = 1
    """
)
# What is set is for this one statement: a plan that sorts is cheaper to the planner's mind where
# it is not. And what a plan without sorting is taken to cost would have it compiled.
# Row-level security is a filter that nobody here knows; by role, which any call may have changed.
# And the facts may be a second old, and of the tables of another search_path.
_SET = Statement(
    "SELECT set_config('enable_sort', 'off', true), set_config('jit', 'off', true),"
    " set_config($1, $2, true), row_security_active('messages')"
    " OR pg_relation_filenode('messages') IS DISTINCT FROM $3::oid"
    " OR pg_relation_filenode($4::oid) IS DISTINCT FROM $5::oid"
)
_NARROW = f"halfvec({DIMENSIONS})"


class _Statements:
    """The ways to search with a filter by these; the vector is `$1`, the limit `$2`."""

    def __init__(self, names: tuple[str, ...]) -> None:
        self.exact = Statement(_exact(filters.condition(names, 3)))
        tested, last = filters.test(names, 3), 3 + len(names)
        self.index = self._by_index(tested, last, narrow=False)
        self.narrow = self._by_index(tested, last, narrow=True)

    @staticmethod
    def _by_index(tested: str, depth: int, *, narrow: bool) -> Statement:
        return Statement(
            f"SELECT {COLUMNS}, distance FROM ({nearest(tested, depth, narrow=narrow)}) AS n"
            " WHERE kept ORDER BY distance, id LIMIT $2"
        )


def _exact(found: str) -> str:
    return (
        f"SELECT {_MESSAGE}, {EXACTLY} AS distance FROM messages AS m"
        f" WHERE m.embedding IS NOT NULL AND {found} ORDER BY distance, m.id LIMIT $2"
    )


def counted(names: tuple[str, ...], first: int) -> str:
    """SQL of how many messages a filter leaves, as `few`, up to one more than FEW."""
    return (
        "SELECT count(*) AS few FROM (SELECT FROM messages AS m"
        f" WHERE {filters.condition(names, first)} LIMIT {FEW + 1}) AS s"
    )


@functools.cache
def _few(names: tuple[str, ...]) -> Statement:
    """How many messages are left, and where they are few all that is sought of them."""
    guarded = _exact(f"c.few <= {FEW} AND {filters.condition(names, 3)}")
    return Statement(
        f"SELECT c.few, t.* FROM ({counted(names, 3)}) AS c"
        f" LEFT JOIN LATERAL ({guarded}) AS t ON true"
    )


def nearest(tested: str, depth: int, *, narrow: bool) -> str:
    """SQL of the nearest by the index, as many as `$depth`, and whether the filter keeps each."""
    order = f"m.embedding::{_NARROW} <=> $1::{_NARROW}" if narrow else "distance"
    return (
        f"SELECT {_MESSAGE}, m.embedding <=> $1::vector AS distance, {tested} AS kept"
        f" FROM messages AS m ORDER BY {order} LIMIT ${depth}"
    )


# About how many messages a user has, by some of their first sessions; NULL where one of these is
# too long to be counted for that. The planner knows only what an average session has.
_OF_USER = Statement(
    f"""
    SELECT CASE WHEN max(q.few) <= {FEW} THEN avg(q.few)
           * (SELECT count(*) FROM sessions AS s WHERE s.user_id = $1) END::bigint
    FROM (SELECT (SELECT count(*) FROM (
                 SELECT FROM messages AS m WHERE m.session_id = r.id LIMIT {FEW + 1}) AS l) AS few
          FROM (SELECT f.id FROM (
                SELECT s.id FROM sessions AS s WHERE s.user_id = $1 LIMIT {_FIRST}) AS f
                ORDER BY random() LIMIT {_SESSIONS}) AS r
          OFFSET 0) AS q
    """
)


_PLAN_ROWS = re.compile(r" rows=(\d+) ")


@functools.cache
def _estimated(names: tuple[str, ...]) -> Statement:
    """What the planner thinks a filter leaves: it has the values of 30,000 rows."""
    return Statement(f"EXPLAIN SELECT FROM messages AS m WHERE {filters.test(names, 1)}")


@functools.cache
def _statements(names: tuple[str, ...]) -> _Statements:
    return _Statements(names)


def near(
    embedding: Any,
    limit: int = 10,
    *,
    user: UUID | str | None = None,
    session: UUID | str | None = None,
    role: str | None = None,
    since: datetime | None = None,
    until: datetime | None = None,
) -> Steps[Rows[NearRow]]:
    """Return the `limit` messages nearest to an embedding by cosine distance, nearest first.

    They are of that user, session and role, from `since` on and before `until`, and as many as
    there are, up to `limit`. A message without an embedding is not found.
    """
    sought = direction(embedding, "near.embedding")
    most = strict.integer(limit, "near.limit", low=1)
    kept = filters.where("near", user=user, session=session, role=role, since=since, until=until)
    statements = _statements(kept.names)
    args = (sought, most, *kept.args)
    if kept.indexed:
        rows = yield Query(_few(kept.names), args)
        if rows[0][0] <= FEW:
            return rows_of(NearRow, [row[1:] for row in rows if row[1] is not None])
    facts = yield from looked(kept)
    way = choose(facts, most, filtered=bool(kept.names), indexed=kept.indexed)
    while way is not None:
        by_index = statements.narrow if way.narrow else statements.index
        rows = yield from aside(facts, way, by_index, (*args, way.depth))
        if len(rows) == most:
            return rows_of(NearRow, rows)
        way = deeper(facts, way, most, len(rows), kept)
    return rows_of(NearRow, (yield Query(statements.exact, args)))


def deeper(facts: Facts, way: ByIndex, limit: int, found: int, kept: Where) -> ByIndex | None:
    """The next way where one found too few: near the vector the filter leaves so many."""
    if not kept.names:
        return None
    facts = facts._replace(share=found / way.depth)
    further = choose(facts, limit, filtered=True, indexed=kept.indexed)
    return further if further is not None and further.depth > way.depth else None


def looked(kept: Where) -> Steps[Facts]:
    """What there is to know before a way is chosen: the index, and how much a filter leaves."""
    facts = Facts(*(yield Recently(_FACTS))[0])
    rest, args, share, left = kept.names, kept.args, 1.0, None
    if not rest or facts.method is None:
        return facts
    if rest[0] == "user":
        ((left,),) = yield Query(_OF_USER, args[:1])
        share = _UNKNOWN if left is None else left / max(facts.rows, left, 1)
        rest, args = rest[1:], args[1:]
    if rest:
        plan = yield Query(_estimated(rest), args)
        thought = _PLAN_ROWS.search(plan[0][0])
        assert thought is not None
        share *= min(1, int(thought[1]) / max(facts.rows, 1))
    return facts._replace(share=share, left=left)


class _Answer(Exception):
    """The rows of a statement, on their way out of a transaction that is rolled back."""

    def __init__(self, rows: list[tuple[Any, ...]]) -> None:
        super().__init__()
        self.rows = rows


def aside(
    facts: Facts, way: ByIndex, statement: Statement, args: tuple[Any, ...]
) -> Steps[list[tuple[Any, ...]]]:
    """Run a SELECT with the settings of a way, and leave no trace of them.

    It finds nothing where row-level security hides some messages, or the index is not that of
    the facts any more.

    When a savepoint is released what was set in it stays set for the caller's transaction; when
    it is rolled back it is not.
    """
    try:
        yield Atomic(_set_apart(facts, way, statement, args))
    except _Answer as answer:
        return answer.rows
    raise AssertionError("a transaction without an answer")


def _set_apart(
    facts: Facts, way: ByIndex, statement: Statement, args: tuple[Any, ...]
) -> Steps[None]:
    known = (facts.table, facts.oid, facts.file)
    (*_, other) = (yield Query(_SET, (way.setting, str(way.effort), *known)))[0]
    raise _Answer([] if other else (yield Query(statement, args)))


_TINY, _HUGE = 1e-12, 1e12
# By the first byte of a float32, sign and exponent: from 2e-12 to 5e11, and above.
_ORDINARY = re.compile(rb"[\x2c-\x52\xac-\xd2]")
_LARGE = re.compile(rb"[\x53-\x7f\xd3-\xff]")


def direction(embedding: Any, path: str) -> vectors.Packed:
    """The embedding, by another length where its own is beyond what the server can square."""
    packed = strict.vector(embedding, path, dimensions=DIMENSIONS)
    first = packed[4::4]
    if _ORDINARY.search(first) and not _LARGE.search(first):
        return packed
    numbers = vectors.layout(DIMENSIONS).unpack_from(packed, 4)
    longest = max(map(abs, numbers))
    if not longest:
        raise InvalidValue(f"{path}: zero, which has no direction")
    if _TINY < longest < _HUGE:
        return packed
    _, exponent = math.frexp(longest)
    scaled = (math.ldexp(number, -exponent) for number in numbers)
    return vectors.Packed(struct.pack(f">HH{DIMENSIONS}f", DIMENSIONS, 0, *scaled))
