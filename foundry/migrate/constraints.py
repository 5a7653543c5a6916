"""A constraint that is there before the step that adds it: another tool's, or another one."""

from __future__ import annotations

import secrets
from dataclasses import dataclass
from typing import Any

import psycopg2
from peewee import PostgresqlDatabase

from foundry.errors import MigrationError
from foundry.migrate import queries
from foundry.migrate.spelling import path, quote
from foundry.migrate.tokens import Name, Reader, listed, tokens

_NOT_VALID = " NOT VALID"


@dataclass(frozen=True, slots=True, kw_only=True)
class AddsConstraint:
    """`ALTER TABLE table ADD CONSTRAINT name definition` and nothing else."""

    table: Name
    name: str
    definition: str
    using: str = ""
    """Name of the index that becomes the constraint; empty where one is built."""

    @property
    def relation(self) -> str:
        """The table, in double quotes."""
        return path(self.table)


def read_constraint(text: str) -> AddsConstraint | None:
    """Return the constraint that a text adds; None for any other statement."""
    reader = Reader(tokens(text))
    if not reader.take("alter", "table"):
        return None
    reader.take("if", "exists")
    table = reader.relation()
    found = reader.rest()
    action = Reader(found)
    several = len(listed(found)) != 1 or any(token.mark(";") for token in found[:-1])
    if several or not table or not action.take("add", "constraint"):
        return None
    name, rest = action.name(), action.rest()
    if len(name) != 1 or not rest:
        return None
    return AddsConstraint(
        table=table,
        name=name[0],
        definition=text[rest[0].start :].rstrip().removesuffix(";"),
        using=_index(Reader(rest)),
    )


def _index(reader: Reader) -> str:
    if reader.take("unique", "using", "index") or reader.take("primary", "key", "using", "index"):
        return (reader.name() or ("",))[-1]
    return ""


def rest_of(database: PostgresqlDatabase, made: AddsConstraint) -> str | None:
    """Return what is left to do of a constraint: nothing (""), a statement, or None for all of it.

    In a transaction. MigrationError where another constraint of the table has its name.
    """
    values = {"table": made.relation, "name": made.name}
    found = _rows(database, queries.text("standing_constraint"), values)
    if not found:
        return None
    there, valid, index = found[0]
    if made.using:
        # Its index has taken the constraint's name, and what it is over cannot be told any more.
        kind = made.definition.split()[0].upper()
        alike, whole = made.using == made.name == index and there.startswith(kind), True
    else:
        wanted = _wanted(database, made)
        alike = there.removesuffix(_NOT_VALID) == wanted.removesuffix(_NOT_VALID)
        whole = bool(valid) or wanted.endswith((_NOT_VALID, " NOT ENFORCED"))
    if not alike:
        raise MigrationError(
            f'"{made.table[-1]}" has a constraint "{made.name}" already, and it is another one: '
            f"drop or rename it, and run it again"
        )
    return "" if whole else f"ALTER TABLE {made.relation} VALIDATE CONSTRAINT {quote(made.name)}"


def _wanted(database: PostgresqlDatabase, made: AddsConstraint) -> str:
    """Have the server print the constraint, on an empty table with the same columns."""
    name = f"foundry_copy_{secrets.token_hex(6)}"
    # By the table's own name, which its expressions may have; a temporary one may not refer to
    # others, and a foreign key has no expressions.
    foreign = made.definition.split()[0].lower() == "foreign"
    place = (*made.table[:-1], name) if foreign else ("pg_temp", made.table[-1])
    copy = path(place)
    kind = "TABLE" if foreign else "TEMPORARY TABLE"
    with database.atomic() as transaction:
        try:
            cursor = database.cursor()
            # Not LIKE, which brings NOT NULL with it.
            cursor.execute(f"CREATE {kind} {copy} AS TABLE {made.relation} WITH NO DATA")
            # Not by its own name, which an index would have twice.
            cursor.execute(f"ALTER TABLE {copy} ADD CONSTRAINT {name}_c {made.definition}")
            return str(
                _rows(
                    database,
                    queries.text("standing_constraint"),
                    {"table": copy, "name": f"{name}_c"},
                )[0][0]
            )
        except (psycopg2.ProgrammingError, psycopg2.DataError, psycopg2.NotSupportedError):
            return ""  # then it is none that could be there
        finally:
            transaction.rollback()


def _rows(database: PostgresqlDatabase, query: str, values: dict[str, str]) -> list[Any]:
    cursor = database.cursor()
    cursor.execute(query, values)
    return list(cursor.fetchall())
