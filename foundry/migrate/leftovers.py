"""What a statement that is no transaction may have left when a run ended in its middle.

Told by definition, not by what was noted: the half may be another tool's.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable
from typing import Any

from peewee import PostgresqlDatabase
from psycopg2 import sql

from foundry.errors import MigrationError
from foundry.migrate.statements import CreatesIndex, Detaches, Reindexes, Statement
from foundry.migrate.tokens import Name, Reader, tokens

_INDEX = """
SELECT c.oid, i.indisvalid, i.indisunique,
       pg_catalog.pg_get_indexdef(c.oid), c.oid::pg_catalog.regclass::text,
       i.indrelid = t.oid,
       EXISTS (SELECT FROM pg_catalog.pg_stat_progress_create_index AS p
               WHERE p.datname = pg_catalog.current_database()
                 -- Who may not see what another role builds sees that it holds the table.
                 AND (p.index_relid = c.oid OR p.index_relid IS NULL AND EXISTS (
                     SELECT FROM pg_catalog.pg_locks AS l
                     WHERE l.pid = p.pid AND l.relation = t.oid AND l.granted
                       AND l.mode = 'ShareUpdateExclusiveLock')))
FROM pg_catalog.pg_class AS t
JOIN pg_catalog.pg_class AS c ON c.relnamespace = t.relnamespace AND c.relname = %(name)s
JOIN pg_catalog.pg_index AS i ON i.indexrelid = c.oid
WHERE t.oid = pg_catalog.to_regclass(%(table)s)
"""
_DEFINITION = """
SELECT i.indisunique, pg_catalog.pg_get_indexdef(i.indexrelid)
FROM pg_catalog.pg_index AS i
WHERE i.indrelid = pg_catalog.to_regclass(%(table)s)
"""
# What REINDEX CONCURRENTLY builds beside the old one, and leaves beside the new one.
_REBUILT = """
SELECT c.oid::pg_catalog.regclass::text
FROM pg_catalog.pg_index AS i
JOIN pg_catalog.pg_class AS c ON c.oid = i.indexrelid
JOIN pg_catalog.pg_class AS t ON t.oid = i.indrelid
WHERE NOT i.indisvalid AND c.relname ~ '_cc(new|old)[0-9]*$'
  AND (%(of)s::regclass IS NULL OR t.oid = %(of)s::regclass OR t.oid =
       (SELECT o.indrelid FROM pg_catalog.pg_index AS o WHERE o.indexrelid = %(of)s::regclass))
  AND (%(namespace)s::text IS NULL OR t.relnamespace::regnamespace::text = %(namespace)s)
"""
_DETACHING = """
SELECT i.inhdetachpending FROM pg_catalog.pg_inherits AS i
WHERE i.inhrelid = pg_catalog.to_regclass(%(partition)s)
  AND i.inhparent = pg_catalog.to_regclass(%(table)s)
"""


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
        name = _written(statement.drops_index.name)
        there = database.execute_sql("SELECT pg_catalog.to_regclass(%s)", (name,)).fetchone()[0]
        return began and there is None
    if statement.reindexes is not None and began:
        _clear_rebuilt(database, statement.reindexes, report)
    if statement.detaches is not None and began:
        return _detached(database, statement.detaches, report)
    return False


def clear(
    database: PostgresqlDatabase, statement: Statement, report: Callable[[str], None]
) -> bool:
    """Take away the half that a statement left which has just failed; says whether it is gone."""
    made = statement.creates_index
    if made is not None and made.name is not None:
        found = _found(database, made)
        if found is not None and not found[1] and not found[6]:
            _drop(database, found[4], report)
    if statement.reindexes is not None:
        _clear_rebuilt(database, statement.reindexes, report)
    # A partition cannot be attached again by half; what is left is finished by the next run.
    return statement.detaches is None or _pending(database, statement.detaches) is not True


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
    alike = same_table and (unique, _body(definition)) == _wanted(database, text, made)
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
    values = {"name": made.name, "table": _written(made.table)}
    return database.execute_sql(_INDEX, values).fetchone()


def _wanted(database: PostgresqlDatabase, text: str, made: CreatesIndex) -> tuple[bool, str]:
    """Have the server print the index that the statement makes, on an empty copy of the table."""
    reader = Reader(tokens(text))
    while not reader.take("on"):
        reader.at += 1
    reader.relation()
    rest = reader.peek()
    body = text[rest.start :] if rest else ""
    like = sql.SQL(".").join(map(sql.Identifier, made.table))
    copy = sql.Identifier(*made.table[:-1], f"foundry_copy_{secrets.token_hex(6)}")
    with database.atomic() as transaction:
        try:
            cursor = database.cursor()
            cursor.execute(sql.SQL("CREATE TABLE {} (LIKE {})").format(copy, like))
            unique = sql.SQL("UNIQUE " if made.unique else "")
            cursor.execute(
                sql.SQL("CREATE {}INDEX ON {} ").format(unique, copy).as_string(cursor) + body
            )
            cursor.execute(_DEFINITION, {"table": copy.as_string(cursor)})
            is_unique, definition = cursor.fetchone()
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
    of = _written(made.name) if made.kind in ("index", "table") else None
    namespace = made.name[-1] if made.kind == "schema" else None
    found = database.execute_sql(_REBUILT, {"of": of, "namespace": namespace}).fetchall()
    for (printed,) in found:
        _drop(database, printed, report)


def _detached(database: PostgresqlDatabase, made: Detaches, report: Callable[[str], None]) -> bool:
    pending = _pending(database, made)
    if pending:
        table, partition = _written(made.table), _written(made.partition)
        report(f"finishing to detach {partition}")
        database.cursor().execute(f"ALTER TABLE {table} DETACH PARTITION {partition} FINALIZE")
    return pending is not False


def _pending(database: PostgresqlDatabase, made: Detaches) -> bool | None:
    """Return whether it is detached by half; None when it is no partition of the table."""
    values = {"table": _written(made.table), "partition": _written(made.partition)}
    row = database.execute_sql(_DETACHING, values).fetchone()
    return None if row is None else bool(row[0])


def _drop(database: PostgresqlDatabase, printed: str, report: Callable[[str], None]) -> None:
    report(f"dropping the half-made index {printed}")
    # As regclass prints it: quoted where that is needed.
    database.cursor().execute(f"DROP INDEX CONCURRENTLY {printed}")


def _written(name: Name) -> str:
    return ".".join('"' + part.replace('"', '""') + '"' for part in name)
