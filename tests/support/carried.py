"""Rows carried from the tables of one design into those of another, by the server alone.

What INSERT makes of a value is what a migration is to make of it; what INSERT refuses is what
a migration has to refuse. Types are cast as the server does it on assignment, else by an explicit
cast, else by way of text.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass

import psycopg2
from psycopg2 import errors
from psycopg2.extensions import connection, cursor

from foundry.database import Target
from foundry.fixtures.besides import EnumDesign, PartitionDesign
from foundry.fixtures.designs import ColumnDesign, Design, TableDesign, family_of, quoted

Contents = list[Counter[tuple[object, ...]]]
_NO_CAST = (errors.DatatypeMismatch, errors.CannotCoerce)
_KEYS = """
    SELECT conrelid::regclass::text, quote_ident(conname), pg_get_constraintdef(oid)
    FROM pg_constraint
    WHERE (contype = 'f' OR condeferrable) AND conparentid = 0 ORDER BY contype DESC
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Move:
    """A table that stays: what it was, what it is, and the columns that stay in it."""

    a: TableDesign
    b: TableDesign
    pairs: tuple[tuple[ColumnDesign, ColumnDesign], ...]
    labels: tuple[tuple[str, dict[str, str]], ...] = ()
    """By an enumerated type of A the new names of its labels."""

    def turned(self) -> Move:
        """Return the way back."""
        return Move(
            a=self.b,
            b=self.a,
            pairs=tuple((b, a) for a, b in self.pairs),
            labels=tuple((t, {new: old for old, new in ls.items()}) for t, ls in self.labels),
        )


def moves(a: Design, b: Design) -> tuple[Move, ...]:
    """Return what stays from one design to the other, by the renames that the second states."""
    found = []
    labels = tuple((e.type, {old: new for new, old in e.renames}) for e in b.kind(EnumDesign))
    for now in b.tables:
        then = a.table(now.namespace, now.renamed_from or now.name)
        if then is None:
            continue
        renamed = dict(now.renames)
        pairs = [(then.column(renamed.get(c.name, c.name)), c) for c in now.columns]
        kept = tuple((old, new) for old, new in pairs if old is not None)
        found.append(Move(a=then, b=now, pairs=kept, labels=labels))
    return tuple(found)


def contents(target: Target, found: Sequence[Move]) -> Contents:
    """Return the rows of the tables moved from, in the columns that stay, as text."""
    with closing(_session(target)) as session, session.cursor() as on:
        return [Counter(_rows(on, move.a, [old.name for old, _ in move.pairs])) for move in found]


def projected(found: Contents, whole: Sequence[Move], part: Sequence[Move]) -> Contents:
    """Return contents in those columns that the second moves have of the first."""
    columns = []
    for values, all_of, some in zip(found, whole, part, strict=True):
        at = [all_of.pairs.index(pair) for pair in some.pairs]
        rows: Counter[tuple[object, ...]] = Counter()
        for row, times in values.items():
            rows[tuple(row[place] for place in at) if at else (1,)] += times
        columns.append(rows)
    return columns


def carry(
    source: Target, goal: Target, found: Sequence[Move], a: Design, b: Design
) -> psycopg2.Error | None:
    """Copy the rows of A into the empty tables of B; returns why the server does not take them."""
    with closing(_session(source)) as read, closing(_session(goal)) as session:
        # Without triggers: those of foreign keys would want the tables in an order.
        try:
            with session, session.cursor() as on:
                on.execute("SET session_replication_role = replica")
                for move in found:
                    _carry(read, on, move, a, b)
                for new in {*b.kind(PartitionDesign)} - {*a.kind(PartitionDesign)}:
                    _attach_last(on, new, found)
            with session, session.cursor() as on:
                on.execute(_KEYS)
                keys = on.fetchall()
                for table, name, _ in keys:
                    on.execute(f"ALTER TABLE {table} DROP CONSTRAINT {name}")
                for table, name, definition in keys[::-1]:
                    on.execute(f"ALTER TABLE {table} ADD CONSTRAINT {name} {definition}")
        except (psycopg2.IntegrityError, psycopg2.DataError) as error:
            return error
    return None


def _session(target: Target) -> connection:
    session = psycopg2.connect(**target.params)
    with session, session.cursor() as on:
        on.execute("SET TimeZone = 'UTC'; SET DateStyle = ISO; SET IntervalStyle = postgres")
    return session


def _rows(on: cursor, table: TableDesign, names: Sequence[str]) -> list[tuple[object, ...]]:
    texts = ", ".join(f"{quoted(name)}::text" for name in names) or "1"
    on.execute(f"SELECT {texts} FROM {table.sql()}")
    return list(on.fetchall())


def _carry(read: connection, on: cursor, move: Move, a: Design, b: Design) -> None:
    pairs = [(old, new) for old, new in move.pairs if not new.generated]
    with read.cursor() as reading:
        found = _rows(reading, move.a, [old.name for old, _ in pairs])
    forms = [_cast(on, move.b, a.type_of(old), new, b.type_of(new)) for old, new in pairs]
    names = [quoted(new.name) for _, new in pairs]
    kept = {new.name for _, new in move.pairs}
    for column in move.b.columns:
        if column.name not in kept and column.python_default is not None and not column.default:
            names.append(quoted(column.name))
            forms.append(on.mogrify("%s", (_given(column),)).decode().replace("%", "%%"))
    listed = f"({', '.join(names)}) OVERRIDING SYSTEM VALUE VALUES ({', '.join(forms)})"
    for row in found:
        if names:
            values = [_labelled(move, old, v) for (old, _), v in zip(pairs, row, strict=False)]
            on.execute(f"INSERT INTO {move.b.sql()} {listed}".replace("%%s", "%s"), values)
        else:
            on.execute(f"INSERT INTO {move.b.sql()} DEFAULT VALUES")


def _given(column: ColumnDesign) -> object:
    return bool(column.python_default) if column.type == "boolean" else column.python_default


def _labelled(move: Move, old: ColumnDesign, value: object) -> object:
    return dict(move.labels).get(old.type, {}).get(str(value), value)


def _attach_last(on: cursor, new: PartitionDesign, found: Sequence[Move]) -> None:
    """Have the rows of a partition where they were before there was one."""
    if new.table not in {move.b.place for move in found}:
        return
    name, whole = (
        ".".join(quoted(n) for n in (new.table[0], t) if n) for t in (new.name, new.table[1])
    )
    on.execute(f"SELECT count(*) FROM {name}")
    if on.fetchone() != (0,):
        on.execute(f"ALTER TABLE {whole} DETACH PARTITION {name}")
        on.execute(f"INSERT INTO {whole} OVERRIDING SYSTEM VALUE SELECT * FROM {name}")
        on.execute(f"ALTER TABLE {whole} ATTACH PARTITION {name} {new.bound}")


def _cast(on: cursor, table: TableDesign, old: str, column: ColumnDesign, new: str) -> str:
    """Return what turns a text, the value in A, into the value in B."""
    # Labels are unique as text; the type of before may not be there any more.
    known = "text" if family_of(old) == "enum" else old
    if old == new and family_of(old) == "enum":
        return f"CAST(%s AS {new})"
    for form in ("{}", f"CAST({{}} AS {new})"):
        on.execute("SAVEPOINT attempt")
        try:
            tried = form.format(f"CAST(NULL AS {known})")
            into = f"{table.sql()} ({quoted(column.name)}) OVERRIDING SYSTEM VALUE"
            on.execute(f"INSERT INTO {into} SELECT {tried} WHERE false")
            return form.format(f"CAST(%s AS {known})")
        except _NO_CAST:
            on.execute("ROLLBACK TO SAVEPOINT attempt")
    return f"CAST(CAST(CAST(%s AS {known}) AS text) AS {new})"
