"""The steps of a search by embedding and by words, as one order."""

from __future__ import annotations

import functools
import re
from datetime import datetime
from typing import Any
from uuid import UUID

from foundry.errors import InvalidValue, StoreError
from foundry.schema.conversations import text_of
from foundry.store import filters, strict
from foundry.store.choosing import choose
from foundry.store.filters import Where
from foundry.store.operations import Query, Statement, Steps
from foundry.store.rows import HybridRow, Rows, rows_of
from foundry.store.searching import (
    EXACTLY,
    FEW,
    aside,
    counted,
    direction,
    looked,
    nearest,
)

CONSTANT = 60
"""Of reciprocal rank fusion (Cormack, Clarke, Büttcher, SIGIR 2009): 1 / (60 + place) for each."""

_CONFIGURATION = re.compile(r"[a-z_][a-z0-9_]*(\.[a-z_][a-z0-9_]*)?")
_NO_SUCH_OBJECT = "42704"
_TOO_LONG = "54000"

_FUSED = """
    WITH near AS (
        SELECT id, distance, row_number() OVER (ORDER BY distance, id) AS place
        FROM ({near}) AS n
    ), said AS (
        SELECT id, rank, row_number() OVER (ORDER BY rank DESC, id DESC) AS place
        FROM (SELECT m.id, ts_rank_cd({content}, q.words)::float8 AS rank
              FROM messages AS m,
                   websearch_to_tsquery('{configuration}'::regconfig, ${words}) AS q(words)
              WHERE {content} @@ q.words AND {found}
              ORDER BY rank DESC, m.id DESC LIMIT ${depth}) AS t
    )
    SELECT (SELECT count(*) FROM near), m.id, m.session_id, m.ts, m.role, m.content,
           (coalesce(1.0 / ({constant} + near.place), 0)
            + coalesce(1.0 / ({constant} + said.place), 0))::float8 AS score,
           near.distance, said.rank
    FROM near FULL JOIN said USING (id) JOIN messages AS m USING (id)
    ORDER BY score DESC, m.id LIMIT $2
"""


class _Statements:
    """The ways to do it; the vector is `$1`, the limit `$2`, and after the filter depth, words."""

    def __init__(self, names: tuple[str, ...], configuration: str) -> None:
        found, last = filters.condition(names, 3), 3 + len(names)
        self._words = {
            "content": text_of(configuration),
            "configuration": configuration,
            "found": found,
            "constant": CONSTANT,
            "depth": last,
            "words": last + 1,
        }
        self.exact = self._fused(
            f"SELECT m.id, {EXACTLY} AS distance FROM messages AS m"
            f" WHERE m.embedding IS NOT NULL AND {found} ORDER BY distance, m.id LIMIT ${last}"
        )
        tested = filters.test(names, 3)
        self.index, self.narrow = (
            self._fused(
                f"SELECT id, distance FROM ({nearest(tested, last + 2, narrow=narrow)}) AS i"
                f" WHERE kept ORDER BY distance, id LIMIT ${last}"
            )
            for narrow in (False, True)
        )

    def _fused(self, near: str) -> Statement:
        return Statement(_FUSED.format(near=near, **self._words))


@functools.lru_cache(256)
def _statements(names: tuple[str, ...], configuration: str) -> _Statements:
    return _Statements(names, configuration)


@functools.cache
def _count(names: tuple[str, ...]) -> Statement:
    return Statement(counted(names, 1))


def hybrid(
    words: str,
    embedding: Any,
    limit: int = 10,
    *,
    user: UUID | str | None = None,
    session: UUID | str | None = None,
    role: str | None = None,
    since: datetime | None = None,
    until: datetime | None = None,
    configuration: str = "simple",
    depth: int | None = None,
) -> Steps[Rows[HybridRow]]:
    """Return the `limit` messages that are best by words and by embedding, the best first.

    Each of the `depth` nearest and of the `depth` that fit the words best (by default four times
    the limit, at least 50) counts by its place. `words` is what one writes into a search engine:
    all of them, "in this order", or, -not. `configuration` is PostgreSQL's for text search.
    """
    said = strict.text(words, "hybrid.words")
    sought = direction(embedding, "hybrid.embedding")
    most = strict.integer(limit, "hybrid.limit", low=1, high=100_000)
    deep = max(50, 4 * most) if depth is None else strict.integer(depth, "hybrid.depth", low=1)
    kept = filters.where("hybrid", user=user, session=session, role=role, since=since, until=until)
    if not _CONFIGURATION.fullmatch(strict.text(configuration, "hybrid.configuration")):
        raise InvalidValue("hybrid.configuration: not a name like simple or english")
    statements = _statements(kept.names, configuration)
    args = (sought, most, *kept.args, deep, said)
    try:
        return rows_of(HybridRow, (yield from _found(statements, args, kept, deep)))
    except StoreError as error:
        if error.sqlstate == _NO_SUCH_OBJECT:
            raise InvalidValue("hybrid.configuration: the server has no such one") from None
        if error.sqlstate == _TOO_LONG:
            raise InvalidValue(
                "hybrid.words: more than PostgreSQL searches for; use fewer"
            ) from None
        raise


def _found(
    statements: _Statements, args: tuple[Any, ...], kept: Where, deep: int
) -> Steps[list[tuple[Any, ...]]]:
    few = False
    if kept.indexed:
        few = (yield Query(_count(kept.names), kept.args))[0][0] <= FEW
    if not few:
        facts = yield from looked(kept)
        way = choose(facts, deep, filtered=bool(kept.names), indexed=kept.indexed)
        if way is not None:
            by_index = statements.narrow if way.narrow else statements.index
            rows = yield from aside(facts, way, by_index, (*args, way.depth))
            if rows and rows[0][0] == deep:
                return [row[1:] for row in rows]
    return [row[1:] for row in (yield Query(statements.exact, args))]
