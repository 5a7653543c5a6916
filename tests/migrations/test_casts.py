"""Type changes: what PostgreSQL casts by itself, and which values have no place."""

from __future__ import annotations

import psycopg2
import pytest

from foundry.database import Target
from foundry.migrate.casts import using
from foundry.migrate.survival import misfit, rounds

TYPES = (
    *("smallint", "integer", "bigint", "numeric", "numeric(6,2)", "real", "double precision"),
    *("text", "character varying", "character varying(5)", "character(5)", "boolean", "uuid"),
    *("date", "timestamp without time zone", "timestamp with time zone", "interval"),
    *("timestamp(3) with time zone", "time without time zone", "time with time zone"),
    *("json", "jsonb", "bytea", "inet", "integer[]", "bigint[]", "text[]", "boolean[]"),
    *("double precision[]", "character varying(3)[]", "date[]", "jsonb[]", "bit(8)"),
)
PAIRS = [(old, new) for old in TYPES for new in TYPES if old != new]


@pytest.fixture
def cursor(empty: Target) -> psycopg2.extensions.cursor:
    """A session that is thrown away with its database."""
    connection = psycopg2.connect(**empty.params)
    connection.autocommit = True
    found = connection.cursor()
    found.execute("SET timezone = 'UTC'")  # as the runner's sessions
    return found


def test_every_pair_of_types_can_be_asked_and_altered_without_the_rows_in_the_way(
    cursor: psycopg2.extensions.cursor,
) -> None:
    """Neither fails on a value, but texts that PostgreSQL 15 cannot be asked of."""
    version = version_of(cursor)
    failed = []
    for old, new in PAIRS:
        where = misfit(old, new, '"c"', version=version) or "false"
        cast = using(old, new, '"c"')
        values = VALUES[old.partition("(")[0].removesuffix("[]")]
        value = "ARRAY[v]" if "[]" in old else "v"
        cursor.execute(f"DROP TABLE IF EXISTS t; CREATE TEMP TABLE t (c {old})")
        cursor.execute(f"INSERT INTO t SELECT {value}::{old} FROM unnest(%s) AS v", (values,))
        try:
            cursor.execute(f"DELETE FROM t WHERE {where}")
            if version < 160000 and where == "false":
                cursor.execute("DELETE FROM t")
            cursor.execute(f"ALTER TABLE t ALTER c TYPE {new}" + (f" USING {cast}" if cast else ""))
        except psycopg2.Error as error:
            failed.append((old, new, str(error).partition("\n")[0]))
    assert [] == failed, "\n".join(map(str, failed))


# Of each type: what is usual, and what is far out.
VALUES = {
    "smallint": ["1", "32767", "-32768"],
    "integer": ["0", "1", "20240101", "2147483647", "-2147483648"],
    "bigint": ["0", "1", "9223372036854775807", "-9223372036854775808"],
    "numeric": ["0", "1", "1.25", "-1234.56", "NaN"],
    "real": ["0", "1.5", "3.4e38", "1e-37", "NaN", "Infinity"],
    "double precision": ["0", "1", "0.1", "1e300", "1e-300", "9.3e18", "NaN", "-Infinity"],
    "text": ["", "a", "1", "t", "now", "1e400", "12:00", "2024-02-03", "{1,2}", "[]", '"a"'],
    "character varying": ["", "ab ", "1.5"],
    "character": ["ab"],
    "boolean": ["t", "f"],
    "uuid": ["00000000-0000-0000-0000-000000000001"],
    "date": ["2024-02-03", "infinity"],
    "timestamp without time zone": ["2024-02-03", "2024-02-03 04:05:06.789", "infinity"],
    "timestamp with time zone": ["2024-02-03", "2024-02-03 04:05:06.789", "-infinity"],
    "timestamp": ["2024-02-03"],
    "time without time zone": ["12:00", "24:00"],
    "time with time zone": ["12:00+05"],
    "interval": ["1 year 2 days", "-00:00:01"],
    "json": ["null", "1", '"a"', '{"a": 1}', "[1]", '"2024-02-03"', "true"],
    "jsonb": ["null", "1", '"a"', '{"a": 1}', "[1]", '"2024-02-03"', "true"],
    "bytea": ["", "abc", "0123456789abcdef"],
    "inet": ["10.0.0.1", "10.0.0.1/8", "::1"],
    "bit": ["10000001"],
}


def version_of(cursor: psycopg2.extensions.cursor) -> int:
    """Return the version of the server as a number."""
    cursor.execute("SHOW server_version_num")
    return int(cursor.fetchone()[0])


KEPT = (
    ("bigint", "integer", "2147483647"),
    ("character varying", "character varying(5)", "12345"),
    ("character varying", "character(5)", "ab"),
    ("character(5)", "character varying(2)", "ab"),
    ("text", "uuid", "00000000-0000-0000-0000-000000000001"),
    ("text", "integer", "-5"),
    ("text", "integer", " 05 "),
    ("text", "boolean", "t"),
    ("text", "numeric", "1.0"),
    ("text", "numeric(6,2)", "1.2"),
    ("text", "double precision", "0.10"),
    ("text", "double precision", "1e3"),
    ("text", "date", "2024-02-03"),
    ("text", "date", "20240203"),
    ("text", "timestamp without time zone", "2024-05-06T07:08:09.123456"),
    ("text", "timestamp without time zone", "2024-05-06 07:08:09+00"),
    ("text", "timestamp with time zone", "2024-05-06 07:08:09+05"),
    ("text", "time without time zone", "7:08"),
    ("text", "jsonb", '{"b": 1, "a": {"b": 2}}'),
    ("text", "json", '{"a": 1, "a": 2}'),
    ("text", "integer[]", "{1, 2}"),
    ("text[]", "integer[]", "{1,02,NULL}"),
    ("text[]", "character varying(3)[]", "{abc}"),
    ("json", "jsonb", '{"a": 1}'),
    ("jsonb", "integer", '"5"'),
    ("jsonb", "uuid", '"00000000-0000-0000-0000-000000000001"'),
    ("integer", "bigint", "5"),
    ("integer", "boolean", "1"),
    ("bigint", "boolean", "0"),
    ("numeric", "boolean", "1.0"),
    ("boolean", "smallint", "t"),
    ("boolean", "numeric(3,2)", "t"),
    ("boolean[]", "bigint[]", "{t,f}"),
    ("double precision", "bigint", "1e15"),
    ("double precision", "integer", "-2147483648"),
    ("bigint", "double precision", "9007199254740992"),
    ("numeric", "double precision", "0.1"),
    ("double precision", "numeric", "0.1"),
    ("timestamp without time zone", "date", "2024-02-03"),
    ("time with time zone", "time without time zone", "12:00+00"),
    ("bit(8)", "bit varying(8)", "10000001"),
)
LOST = (
    ("bigint", "integer", "2147483648"),
    ("character varying", "character varying(5)", "123456"),
    ("character varying", "character(5)", "ab "),
    ("text", "uuid", "one"),
    ("text", "integer", "5.5"),
    ("integer", "boolean", "7"),
    ("smallint", "boolean", "2"),
    ("numeric", "boolean", "0.5"),
    ("boolean", "numeric(2,2)", "t"),
    ("double precision", "bigint", "9223372036854775808"),
    ("double precision", "integer", "1.5"),
    ("double precision", "integer", "NaN"),
    ("bigint", "double precision", "9007199254740993"),
    ("double precision", "numeric", "0.12345678901234567"),
    ("integer", "real", "16777217"),
    ("integer", "numeric(4,2)", "100"),
    ("integer", "date", "20240101"),
    ("uuid", "integer", "00000000-0000-0000-0000-000000000001"),
    ("bytea", "character varying(2)", "abc"),
    ("timestamp without time zone", "date", "2024-02-03 00:01"),
    ("timestamp with time zone", "timestamp(3) with time zone", "2024-02-03 00:00:00.0001"),
    ("time with time zone", "time without time zone", "12:00+05"),
    ("bigint[]", "integer[]", "{1,2147483648}"),
    ("text[]", "character varying(3)[]", "{abc,abcd}"),
    ("text[]", "integer[]", "{1,x}"),
    ("double precision[]", "integer[]", "{{1.5},{2}}"),
)
# What PostgreSQL 15 cannot be asked.
LOST_AS_TEXT = (
    ("text", "timestamp without time zone", "2024-05-06 07:08:09+05"),
    ("text", "timestamp without time zone", "2024-05-06 07:08:09 Asia/Tokyo"),
    ("text", "timestamp without time zone", "2024-05-06 07:08:09.1234567"),
    ("text", "timestamp with time zone", "now"),
    ("text", "timestamp with time zone", "Tomorrow"),
    ("text", "timestamp(3) with time zone", "2024-05-06 07:08:09.1234"),
    ("text", "date", "2024-02-03 23:59"),
    ("text", "date", "2024-02-03 00:00+05"),
    ("text", "date", "today"),
    ("text", "date", "soon"),
    ("text", "time without time zone", "2024-02-03 23:59"),
    ("text", "time without time zone", "12:00+05"),
    ("text", "numeric(6,2)", "1.239"),
    ("text", "double precision", "0.12345678901234567"),
    ("text", "real", "0.123456789"),
    ("text", "jsonb", '{"a": 1, "a": 2}'),
    ("text", "jsonb", '{"a": "\\u0000"}'),
    ("text", "date[]", "{2024-02-03 23:59}"),
    ("text", "text[]", "hello"),
    ("text[]", "date[]", "{2024-02-03,2024-02-03 23:59}"),
    ("json", "jsonb", '[{"a": 1, "a": 1}]'),
    ("json", "jsonb", '["\\u0000"]'),
    ("json", "date", '"2024-02-03 23:59"'),
    ("integer", "text[]", "5"),
)


@pytest.mark.parametrize(("old", "new", "value"), KEPT)
def test_values_that_the_new_type_holds_are_not_in_the_way(
    cursor: psycopg2.extensions.cursor, old: str, new: str, value: str
) -> None:
    """Nor is another spelling of the same value; and the change can then be made."""
    where = misfit(old, new, '"c"', version=version_of(cursor)) or "false"
    cursor.execute(f"CREATE TABLE t (c {old})")
    cursor.execute(f"INSERT INTO t VALUES (%s::{old})", (value,))
    cursor.execute(f"SELECT count(*) FROM t WHERE {where}")
    assert 0 == cursor.fetchone()[0]
    cast = using(old, new, '"c"')
    cursor.execute(f"ALTER TABLE t ALTER c TYPE {new}" + (f" USING {cast}" if cast else ""))


@pytest.mark.parametrize(("old", "new", "value"), [*LOST, *LOST_AS_TEXT])
def test_values_that_do_not_fit_are_found_or_their_loss_is_stated(
    cursor: psycopg2.extensions.cursor, old: str, new: str, value: str
) -> None:
    """Found, unless it is text on a server that cannot be asked what a type reads."""
    version = version_of(cursor)
    where = misfit(old, new, '"c"', version=version)
    if version < 160000 and (old, new, value) in LOST_AS_TEXT:
        assert rounds(old, new, version=version) or new == "text[]"
        return
    cursor.execute(f"SELECT count(*) FROM (SELECT %s::{old} AS c) AS t WHERE {where}", (value,))
    assert 1 == cursor.fetchone()[0]


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("timestamp without time zone", "time without time zone"),
        ("timestamp with time zone", "time with time zone"),
        ("vector(3)", "halfvec(3)"),
        ("text", "vector(3)"),
    ],
)
def test_what_every_value_loses_is_a_loss_and_no_question(old: str, new: str) -> None:
    """A question would stop every run, and nothing that its rows could be corrected to."""
    assert rounds(old, new, version=180000)


def test_nothing_is_lost_where_the_server_reads_all_of_a_text_or_refuses_it() -> None:
    """Whatever it can be asked."""
    for new in ("integer", "uuid", "json", "numeric", "inet", "character varying", "integer[]"):
        assert not rounds("text", new, version=150000)


def test_an_explicit_cast_is_never_used_where_it_would_cut() -> None:
    """varchar(5) by a cast takes the first five letters and says nothing."""
    assert "" == using("character varying(30)", "character varying(5)", '"c"')
    assert "" == using("text", "character varying(5)", '"c"')
