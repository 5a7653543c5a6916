"""The query that finds the rows which a statement was refused for: their keys, nothing else."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import replace
from typing import Any

import psycopg2
from peewee import PeeweeException, PostgresqlDatabase

from foundry.masking import driver_error
from foundry.migrate import queries
from foundry.migrate.spelling import path, quote
from foundry.migrate.tokens import Reader, Token, listed, tokens

_NULL, _CHECK, _KEY, _EXCLUSION = "23502", "23514", "23503", "23P01"
_PATIENCE = "1s"


def rows_in_the_way(database: PostgresqlDatabase, error: BaseException) -> str:
    """Return a SELECT of the rows that a change of a table failed on; "" where there is none.

    Of a CHECK, a NOT NULL, a foreign key or an exclusion constraint, as the table is now: what
    failed must be rolled back. The server has planned the query, so it can be run.
    """
    driver = driver_error(error)
    write = _WRITERS.get(driver.pgcode or "") if driver is not None else None
    if driver is None or write is None or not (driver.diag.schema_name and driver.diag.table_name):
        return ""
    # The connection may be what was lost, and the table one that this very file makes.
    with (
        suppress(psycopg2.Error, PeeweeException),
        database.atomic() as transaction,
    ):
        try:
            database.execute_sql(f"SET LOCAL lock_timeout = '{_PATIENCE}'")
            query = write(database, driver)
            if query:
                database.cursor().execute(f"EXPLAIN {query}")
            return query
        finally:
            transaction.rollback()
    return ""


def _not_null(database: PostgresqlDatabase, driver: psycopg2.Error) -> str:
    keys, _ = _seen(database, driver)
    # A row that is written is in nobody's way: it is not there.
    if driver.diag.source_function != "ATRewriteTable":
        return ""
    column = quote(driver.diag.column_name or "")
    return f"SELECT {', '.join(keys)} FROM {_table(driver)} WHERE {column} IS NULL"


def _check(database: PostgresqlDatabase, driver: psycopg2.Error) -> str:
    keys, definition = _seen(database, driver)
    reader = Reader(tokens(definition))
    if driver.diag.source_function != "ATRewriteTable" or not reader.take("check"):
        return ""
    expression = _text(definition, _enclosed(reader))
    # Without another name for the table: the expression may have it.
    return f"SELECT {', '.join(keys)} FROM {_table(driver)} WHERE NOT ({expression})"


def _foreign_key(database: PostgresqlDatabase, driver: psycopg2.Error) -> str:
    keys, definition = _seen(database, driver)
    reader = Reader(tokens(definition))
    if not reader.take("foreign", "key"):
        return ""
    columns = [_text(definition, item) for item in listed(_enclosed(reader))]
    if not reader.take("references"):
        return ""
    other = path(reader.relation())
    referenced = [_text(definition, item) for item in listed(_enclosed(reader))]
    referenced = referenced or list(_asked(database, other, "")[0])
    given = " AND ".join(f"x.{column} IS NOT NULL" for column in columns)
    same = " AND ".join(f"y.{r} = x.{c}" for r, c in zip(referenced, columns, strict=False))
    return (
        f"SELECT {_of('x', keys)} FROM {_table(driver)} AS x WHERE {given} AND NOT EXISTS "
        f"(SELECT FROM {other} AS y WHERE {same})"
    )


def _exclusion(database: PostgresqlDatabase, driver: psycopg2.Error) -> str:
    keys, definition = _seen(database, driver)
    reader = Reader(tokens(definition))
    if not reader.take("exclude"):
        return ""
    if reader.take("using"):
        reader.name()
    pairs = [_pair(definition, item) for item in listed(_enclosed(reader))]
    if not all(token.mark(";") for token in reader.rest()) or any(pair is None for pair in pairs):
        return ""
    same = " AND ".join(f"x.{pair[0]} {pair[1]} y.{pair[0]}" for pair in pairs if pair)
    table = _table(driver)
    return (
        f"SELECT {_of('x', keys)} FROM {table} AS x WHERE EXISTS "
        f"(SELECT FROM {table} AS y WHERE {same} AND x.ctid <> y.ctid)"
    )


def _pair(definition: str, item: Sequence[Token]) -> tuple[str, str] | None:
    """Return a column and its operator; None for an expression, or an operator class."""
    if len(item) < 3 or not item[0].identifier or not item[1].word("with"):
        return None
    return quote(item[0].text), _text(definition, item[2:])


_WRITERS: dict[str, Callable[[PostgresqlDatabase, psycopg2.Error], str]] = {
    _NULL: _not_null,
    _CHECK: _check,
    _KEY: _foreign_key,
    _EXCLUSION: _exclusion,
}


def _seen(database: PostgresqlDatabase, driver: psycopg2.Error) -> tuple[Sequence[str], str]:
    """Return the table's key, and the constraint as it stands or else as it was to be added."""
    name = driver.diag.constraint_name or ""
    keys, there = _asked(database, _table(driver), name)
    sent: Any = driver.cursor.query if driver.cursor is not None else None
    return keys, there or _defined(sent.decode("utf-8", "replace") if sent else "", name)


def _asked(
    database: PostgresqlDatabase, table: str, constraint: str
) -> tuple[Sequence[str], str | None]:
    values = {"table": table, "constraint": constraint}
    row = database.execute_sql(queries.text("offended_table"), values).fetchone()
    keys, definition = row or ((), None)
    return keys or ["ctid"], definition


def _defined(text: str, name: str) -> str:
    """Return the definition of a constraint in a statement; of one without a name, if it is one."""
    found = tokens(text)
    for at, token in enumerate(found[:-2]):
        if token.word("constraint") and found[at + 1].identifier and found[at + 1].text == name:
            return text[found[at + 2].start :]
    starts = [t for t in found if t.word("check", "foreign", "exclude")]
    return text[starts[0].start :] if len(starts) == 1 else ""


def _enclosed(reader: Reader) -> list[Token]:
    """Take what is in parentheses; nothing where none come next."""
    opened = reader.peek()
    if opened is None or not reader.take_mark("("):
        return []
    found: list[Token] = []
    while (token := reader.peek()) and not (token.mark(")") and token.depth == opened.depth):
        found.append(replace(token, depth=token.depth - opened.depth - 1))
        reader.at += 1
    reader.take_mark(")")
    return found


def _text(text: str, found: Sequence[Token]) -> str:
    return text[found[0].start : found[-1].end] if found else ""


def _table(driver: psycopg2.Error) -> str:
    return path((driver.diag.schema_name or "", driver.diag.table_name or ""))


def _of(alias: str, keys: Sequence[str]) -> str:
    return ", ".join(f"{alias}.{key}" for key in keys)
