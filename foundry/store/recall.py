"""How much an index finds of what an exact scan finds, and the effort that takes."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from psycopg2.extensions import cursor as Cursor

from foundry.store.searching import EXACTLY, nearest
from foundry.store.tuning import DEPTHS, EF_MOST

SAMPLE = 100
"""Stored embeddings that are searched for."""

Told = Callable[[str, int, int], object]
"""Told what is being done, how far it is, and how far it goes."""

# The same ones again while nothing changes, so that a second run finds what the first one found.
_QUERIES = """
    SELECT embedding::text FROM messages WHERE vector_norm(embedding) > 0
    ORDER BY hashint8extended(id, 0), id LIMIT %s
"""
_EXACT = f"""
    SELECT array_agg(distance ORDER BY distance) FROM (
        SELECT {EXACTLY} AS distance FROM messages AS m WHERE m.embedding IS NOT NULL
        ORDER BY distance LIMIT $2) AS n
"""
_BY_INDEX = "SELECT array_agg(distance ORDER BY distance) FROM ({}) AS n"
_STEP = 1.35
_ROUNDING = 1e-9

# IVFFlat misses more of what is unlike all that is stored; HNSW pays for the last misses tenfold.
_MARGINS = {"ivfflat": 7 / 8, "hnsw": 1 / 2}


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """The least effort for each depth, and the recall that it gave; none where none gave it."""

    effort: dict[int, int]
    recall: dict[int, float]


def measured(
    cursor: Cursor, method: str, *, narrow: bool, lists: int, rows: int, aim: float, told: Told
) -> Found:
    """Find the effort for a recall of `aim`, as an average over the sample.

    Of the shortfall that `aim` leaves a part is kept as a margin: the sample is not the queries
    that come.
    """
    cursor.execute(_QUERIES, (SAMPLE,))
    queries = [text for (text,) in cursor.fetchall()]
    depths = [depth for depth in DEPTHS if depth < rows]
    found = Found(effort={}, recall={})
    # One list is the whole table.
    if not queries or not depths or (method == "ivfflat" and lists == 1):
        return found
    truth = [
        _distances(cursor, _EXACT, query, depths[-1] + 1)
        for query in _counted(queries, "searching exactly", told)
    ]
    wanted = 1 - (1 - aim) * (1 - _MARGINS[method]) - _ROUNDING
    sql = _BY_INDEX.format(nearest("true", 2, narrow=narrow))
    for effort in _efforts(method, lists):
        with _with_effort(cursor, method, effort):
            told(f"measuring the recall of {effort}", 0, 0)
            got = [_distances(cursor, sql, query, depths[-1] + 1) for query in queries]
        for depth in depths:
            value = _recall(truth, got, depth)
            if depth not in found.effort and value >= wanted:
                found.effort[depth] = effort
                found.recall[depth] = round(value, 4)
        if len(found.effort) == len(depths):
            break
    return found


def _counted(queries: Sequence[str], what: str, told: Told) -> Iterator[str]:
    for at, query in enumerate(queries):
        told(what, at, len(queries))
        yield query


def _efforts(method: str, lists: int) -> Iterator[int]:
    most = EF_MOST if method == "hnsw" else lists
    effort = 10 if method == "hnsw" else 1
    while effort < most:
        yield effort
        effort = max(effort + 1, round(effort * _STEP))
    yield most


@contextmanager
def _with_effort(cursor: Cursor, method: str, effort: int) -> Iterator[None]:
    setting = "hnsw.ef_search" if method == "hnsw" else "ivfflat.probes"
    cursor.execute("BEGIN")
    try:
        cursor.execute("SET LOCAL enable_sort = off; SET LOCAL enable_seqscan = off")
        cursor.execute(
            "SELECT set_config('jit', 'off', true), set_config(%s, %s, true)",
            (setting, str(effort)),
        )
        yield
    finally:
        cursor.execute("ROLLBACK")


def _distances(cursor: Cursor, sql: str, query: str, depth: int) -> list[float]:
    text = sql.replace("%", "%%").replace("$1", "%(query)s").replace("$2", "%(depth)s")
    cursor.execute(text, {"query": query, "depth": depth})
    ((found,),) = cursor.fetchall()
    # The first one is the message whose embedding is sought: no merit.
    return list(found or ())[1:]


def _recall(truth: Sequence[Sequence[float]], got: Sequence[Sequence[float]], depth: int) -> float:
    """By distance: of messages that are equally far any will do."""
    pairs = [
        (exact[depth - 1], found)
        for exact, found in zip(truth, got, strict=True)
        if len(exact) >= depth
    ]
    # Whole numbers to the end: a sum of shares would miss what is aimed at by its last digit.
    hits = sum(distance <= last for last, found in pairs for distance in found[:depth])
    return hits / (depth * len(pairs)) if pairs else 0.0
