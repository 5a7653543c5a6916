"""What a statement that is no transaction may have left when a run ended in its middle.

Told by definition, not by what was noted: the half may be another tool's.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import psycopg2
from peewee import PostgresqlDatabase
from psycopg2 import sql

from foundry.errors import MigrationError
from foundry.migrate import queries
from foundry.migrate.spelling import path
from foundry.migrate.statements import (
    CreatesIndex,
    Detaches,
    DropsIndex,
    Outside,
    Reindexes,
    Statement,
)
from foundry.migrate.tokens import Reader, tokens


def settled(
    database: PostgresqlDatabase,
    text: str,
    statement: Statement,
    *,
    began: bool,
    report: Callable[[str], None],
) -> bool:
    """Return whether nothing is left to do for a statement; takes away its half if there is one.

    `began` says that an earlier run of this file began it. MigrationError where something else
    has the name of what it makes.
    """
    if statement.creates_index is not None:
        return _index_settled(database, text, statement.creates_index, report)
    if statement.drops_index is not None:
        return began and _valid(database, statement.drops_index) is None
    if statement.reindexes is not None and began:
        _clear_rebuilt(database, statement.reindexes, report)
    if statement.detaches is not None and began:
        return _pending(database, statement.detaches) is None
    if statement.outside is not None and began:
        return _outside_settled(database, statement.outside, report)
    return False


def unknown(statement: Statement) -> bool:
    """True for what leaves nothing by which it could be told whether it was done."""
    told = (statement.creates_index, statement.drops_index, statement.reindexes, statement.detaches)
    return not (statement.transactional or statement.commits or statement.patient or any(told))


def _outside_settled(
    database: PostgresqlDatabase, outside: Outside, report: Callable[[str], None]
) -> bool:
    values = {"kind": outside.kind, "name": outside.name}
    (there,) = database.execute_sql(queries.text("named_outside"), values).fetchone()
    if there is not outside.there:
        return False
    state, who = ("there", "made") if there else ("gone", "ended")
    report(
        f'{outside.kind} "{outside.name}" is {state}: it is taken for what the run that was cut '
        f"short {who}, and not compared with the step"
    )
    return True


def clear(database: PostgresqlDatabase, statement: Statement, report: Callable[[str], None]) -> str:
    """Take away the half that a statement left which has just failed; returns what stays of it."""
    made = statement.creates_index
    if made is not None and made.name is not None:
        found = _found(database, made)
        if found is not None and not found[1] and not found[6]:
            _drop(database, found[4], report)
    if statement.reindexes is not None:
        _clear_rebuilt(database, statement.reindexes, report)
    if statement.commits:
        return "what it has committed stands"
    dropped = statement.drops_index
    if dropped is not None and _valid(database, dropped) is False:
        return f'index "{dropped.name[-1]}" is INVALID by now: the next run drops it'
    # A partition cannot be attached again by half; what is left is finished by the next run.
    half = statement.detaches is not None and _pending(database, statement.detaches)
    return "the partition is detached by half: the next run goes on with that" if half else ""


def detached(database: PostgresqlDatabase, statement: Statement) -> bool:
    """Finish to detach a partition that is detached by half; says whether it was."""
    pending = statement.detaches is not None and _pending(database, statement.detaches)
    if pending and statement.detaches is not None:
        _finish(database, statement.detaches)
    return bool(pending)


def _finish(database: PostgresqlDatabase, made: Detaches) -> None:
    table, partition = path(made.table), path(made.partition)
    database.cursor().execute(f"ALTER TABLE {table} DETACH PARTITION {partition} FINALIZE")


def _valid(database: PostgresqlDatabase, dropped: DropsIndex) -> bool | None:
    """Return whether an index is valid; None when it is not there."""
    row = database.execute_sql(queries.text("index_valid"), (path(dropped.name),)).fetchone()
    return None if row is None else bool(row[0])


def drop(database: PostgresqlDatabase, made: CreatesIndex) -> None:
    """Drop an index that a statement made, and no other one of its name; if it is there."""
    found = _found(database, made)
    if found is not None and found[5]:
        database.cursor().execute(f"DROP INDEX CONCURRENTLY IF EXISTS {found[4]}")


def _index_settled(
    database: PostgresqlDatabase, text: str, made: CreatesIndex, report: Callable[[str], None]
) -> bool:
    found = _found(database, made)
    if found is None or made.name is None:
        return False
    _, valid, unique, definition, printed, same_table, building = found
    if building:
        raise MigrationError(
            f'index "{made.name}" is being built by another session: wait for it to end, and '
            f"run up again"
        )
    wanted = _wanted(database, text, made) if same_table else None
    # An INVALID one holds nothing: where the two cannot be compared it is built again.
    alike = same_table and (wanted == (unique, _body(definition)) if wanted else not valid)
    if not alike:
        state = "" if valid else "INVALID "
        raise MigrationError(
            f'there is an {state}index "{made.name}" already, and it is another one: drop or '
            f"rename it"
        )
    if valid:
        report(f'index "{made.name}" is there already')
        return True
    _drop(database, printed, report)
    return False


def _found(database: PostgresqlDatabase, made: CreatesIndex) -> Any:
    values = {"name": made.name, "table": path(made.table)}
    return database.execute_sql(queries.text("made_index"), values).fetchone()


def _wanted(database: PostgresqlDatabase, text: str, made: CreatesIndex) -> tuple[bool, str] | None:
    """Have the server print the index that the statement makes, on an empty copy of the table.

    None where it cannot: an expression may name the table with its namespace.
    """
    reader = Reader(tokens(text))
    while not reader.take("on"):
        reader.at += 1
    reader.relation()
    rest = reader.peek()
    body = text[rest.start :] if rest else ""
    # By the table's own name, which its expressions may have.
    copy = sql.Identifier("pg_temp", made.table[-1])
    with database.atomic() as transaction:
        try:
            cursor = database.cursor()
            like = sql.SQL(".").join(map(sql.Identifier, made.table))
            cursor.execute(sql.SQL("CREATE TEMPORARY TABLE {} (LIKE {})").format(copy, like))
            unique = sql.SQL("UNIQUE " if made.unique else "")
            cursor.execute(
                sql.SQL("CREATE {}INDEX ON {} ").format(unique, copy).as_string(cursor) + body
            )
            cursor.execute(queries.text("copied_index"), {"table": copy.as_string(cursor)})
            is_unique, definition = cursor.fetchone()
        except (psycopg2.ProgrammingError, psycopg2.DataError, psycopg2.NotSupportedError):
            return None
        finally:
            transaction.rollback()
    return bool(is_unique), _body(definition)


def _body(definition: str) -> str:
    """Return what pg_get_indexdef prints after the table."""
    reader = Reader(tokens(definition))
    while not reader.take("on"):
        reader.at += 1
    reader.relation()
    rest = reader.peek()
    return definition[rest.start :] if rest else ""


def _clear_rebuilt(
    database: PostgresqlDatabase, made: Reindexes, report: Callable[[str], None]
) -> None:
    values = {
        "kind": made.kind,
        "name": path(made.name),
        "namespace": "".join(made.name[-1:]),
    }
    found = database.execute_sql(queries.text("rebuilt_indexes"), values).fetchall()
    for (printed,) in found:
        _drop(database, printed, report)


def _pending(database: PostgresqlDatabase, made: Detaches) -> bool | None:
    """Return whether it is detached by half; None when it is no partition of the table."""
    values = {"table": path(made.table), "partition": path(made.partition)}
    row = database.execute_sql(queries.text("detaching"), values).fetchone()
    return None if row is None else bool(row[0])


def _drop(database: PostgresqlDatabase, printed: str, report: Callable[[str], None]) -> None:
    report(f"dropping the half-made index {printed}")
    # As regclass prints it: quoted where that is needed.
    database.cursor().execute(f"DROP INDEX CONCURRENTLY {printed}")
