"""Keeping search fast: the table vacuumed, the vector index trained, its recall measured.

Run now and then, by hand or by a timer, also while the application is at work: readers and
writers are not held up.
"""

from __future__ import annotations

import math
import random
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, closing, contextmanager, nullcontext, suppress
from dataclasses import asdict, dataclass, replace
from typing import Any

import psycopg2
from psycopg2 import errors, sql
from psycopg2.extensions import connection
from psycopg2.extensions import cursor as Cursor

from foundry.database import Database, open_connection
from foundry.errors import InvalidValue, LockTimeout, StoreError
from foundry.masking import primary
from foundry.schema.conversations import DIMENSIONS
from foundry.store import recall as recalls
from foundry.store.operations import other_database
from foundry.store.recall import Told
from foundry.store.searching import INDEX
from foundry.store.tuning import Tuning, commented, parsed

Watch = Callable[[str, connection], AbstractContextManager[None]]
"""Wraps a long statement of a session: shows how far it is, and bounds its waits."""

# Any constant will do; not that of the migrator, which it need not wait for.
_KEY = 0x666F756E6474756E
_POLL = 0.1
_BRIEFLY = 0.1
_ROWS_A_LIST, _MANY = 1000, 1_000_000

_BEGIN = """
SET statement_timeout = 0; SET idle_in_transaction_session_timeout = 0;
SET idle_session_timeout = 0; SET row_security = off; SET extra_float_digits = 1
"""
# A client that was killed: its statement ends, and its locks with it.
_CHECKING = "SET client_connection_check_interval = '1s'"
_LEFTOVERS = """
SELECT n.nspname, x.relname
FROM pg_catalog.pg_index AS i
JOIN pg_catalog.pg_class AS x ON x.oid = i.indexrelid
JOIN pg_catalog.pg_namespace AS n ON n.oid = x.relnamespace
WHERE i.indrelid = 'messages'::pg_catalog.regclass AND NOT i.indisvalid
  AND x.relname ~ '_cc(new|old)[0-9]*$'
  AND NOT EXISTS (SELECT FROM pg_catalog.pg_stat_progress_create_index AS p
                  WHERE p.relid = i.indrelid)
"""
_MEMORY = "SELECT setting::bigint FROM pg_catalog.pg_settings WHERE name = 'maintenance_work_mem'"
_OWNER = """
SELECT pg_catalog.quote_ident(pg_catalog.pg_get_userbyid(c.relowner)),
       pg_catalog.pg_has_role(c.relowner, 'USAGE')
FROM pg_catalog.pg_class AS c WHERE c.oid = 'messages'::pg_catalog.regclass
"""
_COUNT = "SELECT count(*) FROM messages WHERE embedding IS NOT NULL"


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """What `maintain` did and found."""

    index: str | None
    """None where there is no vector index."""
    method: str | None = None
    rows: int = 0
    """Messages with an embedding."""
    lists_before: int | None = None
    lists: int | None = None
    trained: bool = False
    """True when the index was built anew, with `lists`."""
    alike: int = 1
    """How many indexes serve the same order; more than one are not used."""
    removed: tuple[str, ...] = ()
    """Half-made indexes of a run that was killed."""
    aim: float = 0.0
    effort: dict[int, int]
    """How much is needed for so many of the nearest: probes, or ef_search."""
    recall: dict[int, float]
    """What that gave on the sample."""
    seconds: float = 0.0

    def values(self) -> dict[str, Any]:
        """Return it as JSON values."""
        return asdict(self)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Index:
    namespace: str
    name: str
    method: str
    narrow: bool
    lists: int
    comment: str | None
    table: int | None
    alike: int
    """How many serve the same order: the planner takes which it likes."""

    @property
    def known(self) -> Tuning | None:
        """What was measured of it, and of the table as it is."""
        known = parsed(self.comment)
        return known if known is not None and known.table == self.table else None

    @property
    def path(self) -> sql.Identifier:
        return sql.Identifier(self.namespace, self.name)


def _unwatched(what: str, session: connection) -> AbstractContextManager[None]:
    return nullcontext()


def maintain(
    database: Database,
    *,
    recall: float = 0.99,
    wait: float = 600.0,
    report: Callable[[str], object] = lambda line: None,
    told: Told = lambda what, done, total: None,
    watch: Watch = _unwatched,
) -> Report:
    """Vacuum the messages, train the index if they have outgrown it, measure its recall.

    Works on a connection of its own, as a role that owns the table. `recall` is what search has
    to find on average of what an exact scan finds. No lock is waited for longer than `wait`
    seconds: then LockTimeout, and a later run goes on.
    """
    if not isinstance(database, Database):
        raise other_database(database, "what foundry.connect() returns")
    _check(recall, "maintain.recall", 0.5, 1)
    _check(wait, "maintain.wait", 0, 1_000_000)
    began = time.monotonic()
    with (
        closing(open_connection(database.target, application_name="foundry maintain")) as session,
        _refusals(wait),
    ):
        session.autocommit = True
        work = _Work(session, recall=recall, wait=wait, report=report, told=told, watch=watch)
        work.claim()
        done = work.done()
    return replace(done, seconds=round(time.monotonic() - began, 3))


def _check(value: object, path: str, low: float, high: float) -> None:
    if type(value) not in (int, float) or not low <= value <= high:  # type: ignore[operator]
        raise InvalidValue(f"{path}: not from {low} to {high}")


@contextmanager
def _refusals(wait: float) -> Iterator[None]:
    try:
        yield
    except errors.LockNotAvailable as error:
        raise LockTimeout(
            f"maintenance waited {wait:g} s for a lock on messages",
            "let the others end, or give --wait more seconds, and run it again",
        ) from error
    except psycopg2.Error as error:
        advice = ""
        if isinstance(error, errors.InsufficientPrivilege):
            advice = ": run it as the owner of the table"
        elif isinstance(error, errors.UndefinedTable):
            advice = ': run "python -m foundry.migrate up"'
        raise StoreError(
            f"maintenance was refused, {primary(error)}{advice}", sqlstate=error.pgcode
        ) from error


class _Work:
    """One run of maintenance, in a session of its own."""

    def __init__(
        self,
        session: connection,
        *,
        recall: float,
        wait: float,
        report: Callable[[str], object],
        told: Told,
        watch: Watch,
    ) -> None:
        self.session = session
        self.cursor: Cursor = session.cursor()
        self.recall, self.wait = recall, wait
        self.report, self.told, self.watch = report, told, watch

    def claim(self) -> None:
        """Take the lock of maintenance; the server gives it back when the session ends."""
        # A pooler makes a process number up. Its session would keep the lock and the settings.
        if self._one("SELECT pg_catalog.pg_backend_pid()") != self.session.info.backend_pid:
            raise StoreError("maintenance cannot go through a pooler: use the server's own URL")
        self.cursor.execute(_BEGIN)
        self._limit_locks()
        with suppress(errors.InvalidParameterValue, errors.InsufficientPrivilege):
            self.cursor.execute(_CHECKING)
        deadline, waiting = time.monotonic() + self.wait, False
        while not self._one("SELECT pg_catalog.pg_try_advisory_lock(%s)", (_KEY,)):
            if time.monotonic() >= deadline:
                raise LockTimeout(
                    f"another run of maintenance has gone on for {self.wait:g} s",
                    "wait for it to end, or give --wait more seconds",
                )
            if not waiting:
                self.report("waiting for another run of maintenance to finish")
            waiting = True
            time.sleep(_POLL * random.uniform(0.5, 1.5))

    def done(self) -> Report:
        """Do it all; each part leaves something that is whole."""
        self._check_owner()
        removed = self._clear()
        self._long("vacuuming messages", sql.SQL("VACUUM (ANALYZE) messages"))
        index = self._index()
        if index is None:
            return Report(index=None, removed=removed, effort={}, recall={})
        rows: int = self._one(_COUNT)
        before, known = index.lists, index.known
        lists = _lists(rows) if index.method == "ivfflat" else None
        trained = lists is not None and _outgrown(known, rows, index.lists, lists)
        if lists is not None and trained:
            self._train(index, rows, lists)
            index = self._index() or index
        kept = index.lists if index.method == "ivfflat" else None
        found = self._measured(index, rows)
        trained_on = known.rows if known is not None and not trained else rows
        tuning = Tuning(
            recall=self.recall, rows=trained_on, table=index.table, lists=kept, effort=found.effort
        )
        self._note(index, tuning)
        return Report(
            index=index.name,
            method=index.method,
            rows=rows,
            lists_before=before if kept is not None else None,
            lists=kept,
            trained=trained,
            alike=index.alike,
            removed=removed,
            aim=self.recall,
            effort=found.effort,
            recall=found.recall,
        )

    def _measured(self, index: _Index, rows: int) -> recalls.Found:
        if index.alike > 1:
            return recalls.Found(effort={}, recall={})
        return recalls.measured(
            self.cursor,
            index.method,
            narrow=index.narrow,
            lists=index.lists,
            rows=rows,
            aim=self.recall,
            told=self.told,
        )

    def _check_owner(self) -> None:
        """Refuse another role at once: VACUUM would do nothing, and only warn."""
        self.cursor.execute(_OWNER)
        ((owner, owns),) = self.cursor.fetchall()
        if not owns:
            raise StoreError(
                f"maintenance is for the owner of messages: run it as {owner}", sqlstate="42501"
            )

    def _index(self) -> _Index | None:
        self.cursor.execute(INDEX)
        row = self.cursor.fetchone()
        names = ("namespace", "name", "method", "narrow", "lists", "comment", "table", "alike")
        return None if row is None else _Index(**dict(zip(names, row[: len(names)], strict=True)))

    def _train(self, index: _Index, rows: int, lists: int) -> None:
        """Build the index anew with other lists.

        What was measured is made good for both, as the option changes: searches go on meanwhile.
        A run that is killed then leaves an index that the next run knows is to be trained.
        """
        option = sql.SQL("ALTER INDEX {} SET (lists = {})").format(index.path, sql.Literal(lists))
        known = index.known
        noted = [] if known is None else [_comment(index, known.before(lists))]
        self._briefly([option, *noted])
        memory = max(self._one(_MEMORY), _kilobytes(rows, lists))
        self.cursor.execute("SET maintenance_work_mem = %s", (f"{memory}kB",))
        self.report(f"training {index.name}: {lists} lists for {rows:,} embeddings")
        statement = sql.SQL("REINDEX INDEX CONCURRENTLY {}").format(index.path)
        try:
            self._long(f"training {index.name}", statement)
        except psycopg2.Error:
            # Nothing that goes wrong here hides what went wrong before.
            with suppress(psycopg2.Error):
                self._clear()
            raise

    def _note(self, index: _Index, tuning: Tuning) -> None:
        """Keep what was found; nothing is written where it is known already."""
        if parsed(index.comment) != tuning:
            self._briefly([_comment(index, tuning)])

    def _clear(self) -> tuple[str, ...]:
        """Drop what a REINDEX CONCURRENTLY that was killed has left."""
        self.cursor.execute(_LEFTOVERS)
        found = self.cursor.fetchall()
        for namespace, name in found:
            self.report(f"dropping the half-made index {name}")
            path = sql.Identifier(namespace, name)
            self._long(f"dropping {name}", sql.SQL("DROP INDEX CONCURRENTLY {}").format(path))
        return tuple(name for _, name in found)

    def _long(self, what: str, statement: sql.Composable) -> None:
        with self.watch(what, self.session):
            self.cursor.execute(statement)

    def _briefly(self, statements: Sequence[sql.Composable]) -> None:
        """Run statements in a transaction that waits for its locks an instant, again and again.

        Whoever plans a query of the table would stand behind one that waits for longer.
        """
        deadline = time.monotonic() + self.wait
        while True:
            try:
                self._limit_locks(_BRIEFLY)
                self.cursor.execute("BEGIN")
                for statement in statements:
                    self.cursor.execute(statement)
                self.cursor.execute("COMMIT")
            except errors.LockNotAvailable:
                self.cursor.execute("ROLLBACK")
                if time.monotonic() >= deadline:
                    raise
            else:
                break
            finally:
                with suppress(psycopg2.Error):
                    self._limit_locks()
            time.sleep(_POLL * random.uniform(1.0, 3.0))

    def _limit_locks(self, seconds: float | None = None) -> None:
        milliseconds = round((self.wait if seconds is None else seconds) * 1000)
        self.cursor.execute("SET lock_timeout = %s", (max(1, milliseconds),))

    def _one(self, query: str, values: tuple[Any, ...] = ()) -> Any:
        self.cursor.execute(query, values)
        ((value,),) = self.cursor.fetchall()
        return value


def _comment(index: _Index, tuning: Tuning) -> sql.Composed:
    text = sql.Literal(commented(index.comment, tuning))
    return sql.SQL("COMMENT ON INDEX {} IS {}").format(index.path, text)


def _lists(rows: int) -> int:
    """What pgvector's documentation begins with."""
    return max(1, rows // _ROWS_A_LIST) if rows <= _MANY else math.isqrt(rows)


def _outgrown(known: Tuning | None, rows: int, lists: int, wanted: int) -> bool:
    """True when the centres of the lists come from a table that was another one.

    One list has no centre to speak of. Where nothing is known the index may have been built on
    an empty table, and its centres be worth nothing.
    """
    if wanted == lists == 1:
        return False
    if known is None or known.training or known.lists != lists:
        return True
    return not known.rows / 2 <= rows <= known.rows * 2


def _kilobytes(rows: int, lists: int) -> int:
    """Memory to train with: samples, centres, and the distances between them."""
    samples = min(max(50 * lists, 10_000), max(rows, 1))
    numbers = samples * (DIMENSIONS + 4 + lists) + lists * (3 * DIMENSIONS + lists)
    return 16_384 + numbers * 4 * 5 // 4 // 1024
