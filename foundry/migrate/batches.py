"""A long UPDATE run in batches: each in a transaction of its own, in the order of a key.

What a batch did commits together with a note of where it ended, so a run that was killed goes
on behind it and no row is changed twice. What would not come to the same in parts runs whole.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import psycopg2
from peewee import PostgresqlDatabase

from foundry.errors import MigrationError
from foundry.migrate import queries
from foundry.migrate.spelling import path, quote, quoted
from foundry.migrate.updates import Update, is_momentary

"""Rows of the table in a batch."""

Retry = Callable[[Callable[[], Any]], Any]

_PROBE = "foundry_batch_probe"

# The rows of a batch are read off the index whatever the planner thinks of it: on a table
# without statistics it would sort all rows that are left, for each batch. What is switched
# off counts as very costly before PostgreSQL 18, and what is costly is compiled: each batch.
# Pages that go to the disk at once are not left for the end of a checkpoint, where everybody
# who commits would wait for them.
_SETTINGS = (
    "SET LOCAL plan_cache_mode = force_custom_plan; SET LOCAL enable_seqscan = off; "
    "SET LOCAL enable_sort = off; SET LOCAL jit = off; "
    "SET LOCAL backend_flush_after = '512kB'; "
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Key:
    """The columns whose order the batches follow, and the operators that make the order."""

    columns: tuple[str, ...]
    types: tuple[str, ...]
    collations: tuple[str | None, ...]
    less: str
    at_most: str
    at_least: str
    more: str
    grows: bool
    """New rows come behind all others."""

    @property
    def kind(self) -> list[Any]:
        """Return what must not change between two runs: the text of a key is read by it."""
        return [list(self.columns), list(self.types), list(self.collations)]


@dataclass(frozen=True, slots=True, kw_only=True)
class Position:
    """How far a run is; keys are the texts of their values."""

    turn: int = 1
    until: tuple[str, ...] = ()
    """The last key when the turn began; empty before."""
    after: tuple[str, ...] = ()
    """The last key of the last batch; empty before the first one of a turn."""
    passed: int = 0
    """Rows of the table that were looked at."""
    changed: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Batches:
    """An UPDATE that comes to the same in batches."""

    update: Update
    key: Key
    estimate: int
    """Rows of the table, as the server's statistics have it; 0 where it has none."""
    start: Position = Position()

    @property
    def turns(self) -> int:
        """How often the table is gone through.

        Twice where the statement fills what is NULL: others may have written NULL again, or
        inserted it, behind the batches. A row that was filled is not touched again. Any other
        statement would change rows twice, and what was inserted since it began is none of its.
        """
        return 2 if self.update.repeats else 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Whole:
    """An UPDATE that is run as it stands."""

    reason: str
    """To be put after "it runs whole: "."""


def plan_batches(
    database: PostgresqlDatabase, update: Update, *, note: str | None = None
) -> Batches | Whole:
    """Return how to run an UPDATE; `note` is what `run` saved last, if a run was cut short.

    Waits for others' locks on the table as any SELECT does. MigrationError where the note says
    that rows were changed, and going on is not possible without changing them again.
    """
    noted = json.loads(note) if note else None
    found = _plan(database, update, tuple(noted["key"]) if noted else ())
    if noted is None:
        return found
    if isinstance(found, Batches) and found.key.kind == [noted["key"], *noted["kind"]]:
        return replace(found, start=_position(noted))
    if update.repeats:
        return found
    reason = (
        found.reason
        if isinstance(found, Whole)
        else "that is no key any more, or one of other types"
    )
    raise MigrationError(
        f'"{update.table[-1]}" was updated in part, by the key ({quoted(noted["key"])}), and the '
        f"rest cannot be found: {reason}; undo that and run it again"
    )


def run(
    database: PostgresqlDatabase,
    batches: Batches,
    *,
    save: Callable[[str], None],
    size: int,
    pause: float = 0.0,
    progress: Callable[[int, int], None] = lambda passed, total: None,
    retry: Retry = lambda batch: batch(),
) -> int:
    """Run the batches and return how many rows were changed, those of earlier runs included.

    `save` is called within the transaction of each batch and writes the note there. `progress`
    is told the rows that were looked at and an estimate of all. `retry` calls what it is given,
    and may call it again after an error of the driver (psycopg2.Error, not Peewee's): locks
    that cannot be had, deadlocks. `pause` is in seconds, after each batch that changed rows.
    """
    texts = _statements(batches, size)
    position = batches.start
    with _prepared(database, texts, retry):
        while position.turn <= batches.turns:
            before = position
            position = retry(partial(_step, database, batches, position, save))
            if position.passed > before.passed:
                total = batches.estimate * batches.turns
                progress(position.passed, max(position.passed, total))
            if position.changed > before.changed:
                time.sleep(pause)
    return position.changed


def _step(
    database: PostgresqlDatabase,
    batches: Batches,
    position: Position,
    save: Callable[[str], None],
) -> Position:
    with database.atomic():
        cursor = database.cursor()
        if not position.until:
            cursor.execute("EXECUTE foundry_batch_last")
            last = cursor.fetchone()
            return replace(position, until=tuple(last)) if last else _next_turn(position)
        kind = "next" if position.after else "first"
        cursor.execute(*_call(f"find_{kind}", (*position.until, *position.after), _SETTINGS))
        found = cursor.fetchone()
        if found is None:
            return _next_turn(position)
        passed, *key = found
        if tuple(key) == position.after:
            # Digits that extra_float_digits cuts off, for one: it would never end.
            raise MigrationError(
                f'"{batches.update.table[-1]}": keys that differ have the same text: '
                f"set extra_float_digits to 1"
            )
        cursor.execute(*_call(f"change_{kind}", (*key, *position.after)))
        following = replace(
            position,
            after=tuple(key),
            passed=position.passed + passed,
            changed=position.changed + cursor.rowcount,
        )
        save(_note(batches.key, following))
    return following


def _next_turn(position: Position) -> Position:
    return replace(position, turn=position.turn + 1, until=(), after=())


def _call(name: str, values: Sequence[str], before: str = "") -> tuple[str, Sequence[str]]:
    return f"{before}EXECUTE foundry_batch_{name} ({', '.join(['%s'] * len(values))})", values


def _note(key: Key, position: Position) -> str:
    return json.dumps(
        {
            "key": key.columns,
            "kind": key.kind[1:],
            "turn": position.turn,
            "until": position.until,
            "after": position.after,
            "passed": position.passed,
            "changed": position.changed,
        }
    )


def _position(noted: dict[str, Any]) -> Position:
    return Position(
        turn=noted["turn"],
        until=tuple(noted["until"]),
        after=tuple(noted["after"]),
        passed=noted["passed"],
        changed=noted["changed"],
    )


@contextmanager
def _prepared(
    database: PostgresqlDatabase, texts: Sequence[tuple[str, str]], retry: Retry
) -> Iterator[None]:
    cursor = database.cursor()
    made = []
    try:
        for name, text in texts:
            # A cursor of its own: the driver looks for no % in a text without values.
            retry(partial(cursor.execute, f"PREPARE foundry_batch_{name} {text}"))
            made.append(name)
        yield
    finally:
        # The connection may be gone, and its statements with it.
        with suppress(psycopg2.Error):
            for name in made:
                cursor.execute(f"DEALLOCATE foundry_batch_{name}")


def _statements(batches: Batches, size: int) -> list[tuple[str, str]]:
    """Return what to prepare: of each batch its last key is found, then its rows are changed."""
    key, update = batches.key, batches.update
    width = len(key.columns)
    once = f"({', '.join(key.types)})"
    twice = f"({', '.join([*key.types, *key.types])})"
    until = _compared(batches, key.at_most, key.at_most, first=1)
    after = _compared(batches, key.more, key.at_least, first=1 + width)
    where = f"({update.where or 'true'}) AND {until}"
    change = f"UPDATE {update.relation} SET {update.changes} WHERE {where}"
    texts = ", ".join(f"{c}::pg_catalog.text" for c in _columns(batches, collated=False))
    last = f"SELECT {texts} FROM {update.relation} ORDER BY {_order(batches, key.more)} LIMIT 1"
    return [
        ("last", f"AS {last}"),
        ("find_first", f"{once} AS {_find(batches, until, size)}"),
        ("find_next", f"{twice} AS {_find(batches, f'{until} AND {after}', size)}"),
        ("change_first", f"{once} AS {change}"),
        ("change_next", f"{twice} AS {change} AND {after}"),
    ]


def _find(batches: Batches, where: str, size: int) -> str:
    order = _order(batches, batches.key.less)
    columns = _columns(batches, collated=False)
    texts = ", ".join(f"{c}::pg_catalog.text AS k{n}" for n, c in enumerate(columns))
    names = ", ".join(f"k{n}" for n, _ in enumerate(columns))
    return (
        f"SELECT place, {names} FROM (SELECT pg_catalog.row_number() OVER (ORDER BY {order}) "
        f"AS place, {texts} FROM {batches.update.relation} WHERE {where} "
        f"ORDER BY {order} LIMIT {size:d}) AS batch ORDER BY place DESC LIMIT 1"
    )


def _columns(batches: Batches, *, collated: bool = True) -> list[str]:
    reference = quote(batches.update.reference)
    key = batches.key
    return [
        f"{reference}.{quote(name)}" + (f" COLLATE {collation}" if collated and collation else "")
        for name, collation in zip(key.columns, key.collations, strict=True)
    ]


def _order(batches: Batches, operator: str) -> str:
    return ", ".join(f"{column} USING {operator}" for column in _columns(batches))


def _compared(batches: Batches, operator: str, leading: str, *, first: int) -> str:
    """Return a comparison of the key with parameters, the first of which has this number."""
    columns = _columns(batches)
    values = [f"${number}" for number in range(first, first + len(columns))]
    compared = f"({', '.join(columns)}) {operator} ({', '.join(values)})"
    if len(columns) == 1:
        return compared
    # The planner knows how much a comparison of columns leaves, and guesses for rows.
    return f"{compared} AND {columns[0]} {leading} {values[0]}"


def _plan(
    database: PostgresqlDatabase, update: Update, preferred: tuple[str, ...]
) -> Batches | Whole:
    if update.obstacle:
        return Whole(reason=update.obstacle)
    assigned = [a.column for a in update.assignments]
    named = path(update.table)
    rows = _rows(database, "table", table=named, assigned=assigned)
    if not rows:
        return Whole(reason=f'there is no table "{update.table[-1]}"')
    oid, kind, parent, rules, secured, trigger, estimate = rows[0]
    obstacle = (
        (kind not in ("r", "p") and "it is about no ordinary table")
        or (parent and not update.only and "other tables inherit from the table")
        or (rules and "the table has rules")
        or (secured and "row security applies")
        or (trigger and f'trigger "{trigger}" would see it in parts')
        or _unique_obstacle(database, update, oid)
        or _function_obstacle(database, update, oid)
    )
    if obstacle:
        return Whole(reason=obstacle)
    keys = [_key(row) for row in _rows(database, "keys", oid=oid, assigned=assigned)]
    if not keys:
        return Whole(
            reason="no unique index is over columns that are NOT NULL and stay as they are"
        )
    if not update.repeats:
        keys = [key for key in keys if key.grows]
    if not keys:
        return Whole(
            reason="it does not only fill what is NULL, and without a key that counts up it "
            "could change rows that others insert meanwhile"
        )
    key = next((k for k in keys if k.columns == preferred), keys[0])
    return Batches(update=update, key=key, estimate=estimate)


def _key(row: Sequence[Any]) -> Key:
    columns, types, collations, operators, grows = row
    names = ("less", "at_most", "at_least", "more")
    by: dict[str, Any] = dict(zip(names, operators, strict=True))
    return Key(
        columns=tuple(columns), types=tuple(types), collations=tuple(collations), grows=grows, **by
    )


def _unique_obstacle(database: PostgresqlDatabase, update: Update, oid: int) -> str:
    """Return why rows of two batches could be in each other's way for a while.

    Not where a column is filled: NULL is in nobody's way.
    """
    assigned = {a.column for a in update.assignments}
    for name, computed in _rows(database, "unique", oid=oid):
        if name in assigned and (computed or name not in update.filled):
            return f'the values of "{name}" are unique'
    return ""


def _function_obstacle(database: PostgresqlDatabase, update: Update, oid: int) -> str:
    """Return why its expressions may see what earlier batches did.

    The server itself resolves what they call: a view of them is made and taken back.
    """
    names = [a.column for a in update.assignments if a.value.upper() == "DEFAULT"]
    defaults = dict(_rows(database, "defaults", oid=oid, names=names))
    values = [
        defaults.get(a.column, "NULL") if a.column in names else a.value for a in update.assignments
    ]
    if not update.repeats and any(map(is_momentary, (*values, update.where))):
        return "it would see another moment in each batch"
    asked = ", ".join(f"({value}\n) IS NULL AS c{n}" for n, value in enumerate(values))
    view = (
        f"CREATE TEMPORARY VIEW {_PROBE} AS SELECT {asked} FROM {update.relation} "
        f"WHERE {update.where or 'true'}"
    )
    with database.atomic() as transaction:
        try:
            database.cursor().execute(view)
            found = _rows(database, "functions", view=f"pg_temp.{_PROBE}")
        except (psycopg2.ProgrammingError, psycopg2.InternalError, psycopg2.NotSupportedError) as e:
            return f"what it calls cannot be seen ({e.diag.message_primary})"
        finally:
            transaction.rollback()
    return f"function {found[0][0]} may read what batches before have changed" if found else ""


def _rows(database: PostgresqlDatabase, name: str, **values: Any) -> list[Any]:
    cursor = database.cursor()
    cursor.execute(queries.text(f"batch_{name}"), values)
    return list(cursor.fetchall())
