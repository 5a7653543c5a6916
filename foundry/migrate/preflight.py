"""Ask whether rows stand in the way of pending files, before anything is changed."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

import psycopg2
from peewee import PostgresqlDatabase
from psycopg2 import errors

from foundry.errors import DataInTheWay, MigrationError
from foundry.migrate.failure import told
from foundry.migrate.files import MigrationFile

_SHOWN = 3
_LONGEST = 80
# No other number of dimensions is made of a vector.
_EMBEDDING = re.compile(r" TYPE (\S*\.)?(vector|halfvec|sparsevec)\(")

# The question is about something that an earlier file of the same group makes: it has no
# rows yet that could be in the way.
_NOT_YET = (
    errors.UndefinedTable,
    errors.UndefinedColumn,
    errors.UndefinedObject,
    errors.UndefinedFunction,
    errors.InvalidSchemaName,
)
# What reads labels of enumerated types: texts of rows that are none were asked for before,
# without it, so this is a label that is not there yet.
_LABELS = "enum_in"


def group_of(file: MigrationFile, plan: Sequence[MigrationFile]) -> tuple[MigrationFile, ...]:
    """Return the files to ask for before this one: its group's, when it is the first of it."""
    if not file.head.group:
        return (file,)
    group = tuple(f for f in plan if f.head.group == file.head.group)
    return group if group[:1] == (file,) else ()


def refuse_rows(database: PostgresqlDatabase, files: Sequence[MigrationFile]) -> None:
    """Raise DataInTheWay for the first check that finds rows; only their keys are named."""
    for file in files:
        for name, query in file.head.checks:
            asked, remedy = _with_fills(file, name, query)
            found = _found(database, file, name, asked)
            if found:
                raise DataInTheWay(
                    f'"{file.name}": rows stand in the way of "{name}": {", ".join(found)}; '
                    f"{remedy}"
                )


def _with_fills(file: MigrationFile, check: str, query: str) -> tuple[str, str]:
    """Return the query with what the author of the file wrote, and what to do about rows."""
    remedy = "correct or delete them and run up again"
    if _EMBEDDING.search(check):
        remedy = (
            "they have to be embedded again: delete the new files, add a second column, fill it, "
            "then drop the first, and in a third migration rename the second"
        )
    for name, text in file.head.fills:
        if f"{{{name}}}" in query:
            # In the file it goes through the driver, which reads %% as %.
            query = query.replace(f"{{{name}}}", text.replace("%%", "%"))
            remedy = f'write into the file what "{name}" is for them and run up again'
    return query, remedy


def _found(
    database: PostgresqlDatabase, file: MigrationFile, name: str, query: str
) -> tuple[str, ...]:
    with database.atomic() as transaction:
        # A cursor of its own: the driver looks for no % in a query without parameters.
        cursor = database.cursor()
        try:
            cursor.execute("SET TRANSACTION READ ONLY")
            cursor.execute(query)
            columns = [column.name for column in cursor.description or ()]
            return tuple(_key(columns, row) for row in cursor.fetchmany(_SHOWN))
        except _NOT_YET:
            return ()
        except psycopg2.DataError as error:
            if error.diag.source_function == _LABELS:
                return ()
            # What fails on a row now would fail on it later; which row, nobody is told.
            raise DataInTheWay(
                f'"{file.name}": a row stands in the way of "{name}", which cannot be asked of it '
                f"({told(error)}): correct or delete it and run up again"
            ) from error
        except psycopg2.Error as error:
            raise MigrationError(
                f'"{file.name}": "{name}" cannot be checked: {told(error)}'
            ) from error
        finally:
            transaction.rollback()


def _key(columns: Sequence[str], row: Sequence[Any]) -> str:
    pairs = [f"{c}={_short(v)}" for c, v in zip(columns, row, strict=True)]
    return pairs[0] if len(pairs) == 1 else f"({', '.join(pairs)})"


def _short(value: object) -> str:
    text = "NULL" if value is None else str(value)
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]}…"
