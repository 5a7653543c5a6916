"""Type changes: what PostgreSQL casts by itself, and which values have no place."""

from __future__ import annotations

import psycopg2
import pytest

from foundry.database import Target
from foundry.migrate.casts import misfit, using

TYPES = (
    *("smallint", "integer", "bigint", "numeric", "numeric(6,2)", "real", "double precision"),
    *("text", "character varying", "character varying(5)", "character(5)", "boolean", "uuid"),
    *("date", "timestamp without time zone", "timestamp with time zone", "interval"),
    *("json", "jsonb", "bytea", "inet", "integer[]", "bigint[]", "text[]"),
)
PAIRS = [(old, new) for old in TYPES for new in TYPES if old != new]


@pytest.fixture
def cursor(empty: Target) -> psycopg2.extensions.cursor:
    """A session that is thrown away with its database."""
    connection = psycopg2.connect(**empty.params)
    connection.autocommit = True
    return connection.cursor()


def test_every_pair_of_types_can_be_altered_or_is_refused_by_type(
    cursor: psycopg2.extensions.cursor,
) -> None:
    """While no value is stored, a change of type always has a statement that runs."""
    failed = []
    for old, new in PAIRS:
        cast = using(old, new, '"c"')
        cursor.execute(f"DROP TABLE IF EXISTS t; CREATE TABLE t (c {old})")
        try:
            cursor.execute(f"ALTER TABLE t ALTER c TYPE {new}" + (f" USING {cast}" if cast else ""))
        except psycopg2.Error as error:
            failed.append((old, new, str(error).partition("\n")[0]))
    assert [] == failed, "\n".join(map(str, failed))


def test_every_check_of_a_pair_can_be_asked(cursor: psycopg2.extensions.cursor) -> None:
    """A question that the server cannot read would stop every run."""
    cursor.execute("SHOW server_version_num")
    version = int(cursor.fetchone()[0])
    failed = []
    for old, new in PAIRS:
        where = misfit(old, new, '"c"', version=version)
        cursor.execute(f"DROP TABLE IF EXISTS t; CREATE TABLE t (c {old})")
        try:
            cursor.execute(f"SELECT FROM t WHERE {where or 'true'}")
        except psycopg2.Error as error:
            failed.append((old, new, str(error).partition("\n")[0]))
    assert [] == failed, "\n".join(map(str, failed))


@pytest.mark.parametrize(
    ("old", "new", "value", "stands"),
    [
        ("bigint", "integer", "2147483647", False),
        ("bigint", "integer", "2147483648", True),
        ("character varying", "character varying(5)", "12345", False),
        ("character varying", "character varying(5)", "123456", True),
        ("text", "uuid", "00000000-0000-0000-0000-000000000001", False),
        ("text", "uuid", "one", True),
        ("text", "integer", "-5", False),
        ("text", "integer", "5.5", True),
        ("integer", "bigint", "5", False),
    ],
)
def test_values_that_do_not_fit_are_found(
    cursor: psycopg2.extensions.cursor, old: str, new: str, value: str, stands: bool
) -> None:
    """And the others are not in the way."""
    cursor.execute("SHOW server_version_num")
    where = misfit(old, new, '"c"', version=int(cursor.fetchone()[0])) or "false"
    cursor.execute(f"SELECT count(*) FROM (SELECT %s::{old} AS c) AS t WHERE {where}", (value,))
    assert int(stands) == cursor.fetchone()[0]


def test_an_explicit_cast_is_never_used_where_it_would_cut() -> None:
    """varchar(5) by a cast takes the first five letters and says nothing."""
    assert "" == using("character varying(30)", "character varying(5)", '"c"')
    assert "" == using("text", "character varying(5)", '"c"')
