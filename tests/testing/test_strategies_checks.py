"""What the strategies read of a CHECK is what the server keeps it to."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import peewee
import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis.errors import InvalidArgument
from hypothesis.strategies import SearchStrategy
from peewee import Check, Model
from playhouse import postgres_ext

from foundry import fields
from foundry.database import Database, connect
from foundry.fixtures.strategies import from_model, save_all

TYPES: dict[str, Any] = {
    "int": lambda null: peewee.IntegerField(null=null),
    "small": lambda null: peewee.SmallIntegerField(null=null),
    "big": lambda null: peewee.BigIntegerField(null=null),
    "real": lambda null: peewee.FloatField(null=null),
    "double": lambda null: peewee.DoubleField(null=null),
    "decimal": lambda null: peewee.DecimalField(max_digits=6, decimal_places=2, null=null),
    "fine": lambda null: peewee.DecimalField(max_digits=8, decimal_places=4, null=null),
    "huge": lambda null: peewee.DecimalField(max_digits=38, decimal_places=18, null=null),
    "text": lambda null: peewee.TextField(null=null),
    "char8": lambda null: peewee.CharField(max_length=8, null=null),
    "fixed3": lambda null: peewee.FixedCharField(max_length=3, null=null),
    "fixed5000": lambda null: peewee.FixedCharField(max_length=5000, null=null),
    "unique": lambda null: peewee.TextField(unique=True, null=null),
    "blob": lambda null: peewee.BlobField(null=null),
    "bool": lambda null: peewee.BooleanField(null=null),
    "uuid": lambda null: peewee.UUIDField(null=null),
    "date": lambda null: peewee.DateField(null=null),
    "time": lambda null: peewee.TimeField(null=null),
    "naive": lambda null: peewee.DateTimeField(null=null),
    "aware": lambda null: fields.TimestampTZField(null=null),
    "utc": lambda null: fields.TimestampField(null=null),
    "json": lambda null: fields.JSONField(null=null),
    "choice": lambda null: peewee.CharField(choices=[("x", "X"), ("y", "Y")], null=null),
    "ints": lambda null: postgres_ext.ArrayField(peewee.IntegerField, index=False, null=null),
    "table": lambda null: postgres_ext.ArrayField(
        peewee.IntegerField, dimensions=2, index=False, null=null
    ),
}

READ = [
    # Numbers and what a literal is compared as.
    ("a int", "a > 3"),
    ("a int", "3 < a AND 9 >= a"),
    ("a int", "a <> 0 AND a != 1 AND a BETWEEN -1 AND 2"),
    ("a int", "a NOT BETWEEN 1 AND 5"),
    ("a int", "NOT (a BETWEEN -5 AND 5 OR a = 7)"),
    ("a int", "a > -3 AND a < - 1"),
    ("a int", "a IN (1, 2.5)"),
    ("a int", "a NOT IN (1, 2) AND a BETWEEN 0 AND 4"),
    ("a int", "a > 1.5 AND a < 1e2"),
    ("a int", "a >= '5' AND a < 8::integer"),
    ("a int", "a::numeric > 1.5 AND a::double precision < 3.5"),
    ("a int", "((((a)))) > ((1))"),
    ("a small", "a > 1.5 AND a < 1e2"),
    ("a small", "a < 99999999999 AND a > 32760"),
    ("a small", "a::integer BETWEEN 1 AND 3"),
    ("a big", "a > 9223372036854775800"),
    ("a big", "a::numeric < 2.5 AND a > 0"),
    ("a real", "a <= 0.1 AND a >= 0"),
    ("a real", "a < 0.1 AND a > 0.0999999"),
    ("a real", "a BETWEEN 0.7 AND 0.95"),
    ("a real", "a >= 0.7 AND a <= '0.70000005'"),
    ("a real", "a IN (0.1, 0.5)"),
    ("a real", "a = '0.1' OR a = 0.5"),
    ("a real", "a = 0.1::real"),
    ("a real", "a::double precision <= 0.1 AND a > 0"),
    ("a real", "a < 1e300 AND a > -1e300 AND a <> 0.5"),
    ("a real", "a > 0 AND a < 1e-44"),
    ("a real", "a <> 'NaN' AND a > '-Infinity'"),
    ("a double", "a > 0 AND a <= 0.1"),
    ("a double", "a > '-Infinity' AND a <> 'NaN'"),
    ("a double", "a < 0.1::double precision AND a > 0.0999999999999999"),
    ("a decimal", "a > 0 AND a < 0.05 AND a <> 0.02"),
    ("a decimal", "a IN (0.5, 1.234)"),
    ("a huge", "a >= 0 AND a < 1e19"),
    ("a huge", "a > 99999999999999999999.999999999999999990"),
    ("a int, b big", "a < b"),
    ("a int, b int", "NOT (a >= b)"),
    ("a small, b small, c small", "a < b AND b < c"),
    ("a small, b small", "b < a AND a < -32760"),
    ("a int null, b int, c int", "b <= a AND a <= c"),
    ("a decimal, b fine", "a < b"),
    ("a int, b decimal", "b >= a"),
    ("a real, b real", "a < b"),
    ("a real, b double", "a <= b"),
    ("a double, b real", "a < b"),
    ("a int, b int", "a < b AND b BETWEEN 1 AND 3"),
    # Text.
    ("a char8", "a IN ('x', 'it''s') OR length(a) = 8"),
    ("a char8", "length(a) NOT IN (0, 1)"),
    ("a char8", "char_length(a) > 5 AND a::text <> 'abcdef'"),
    ("a text", "length(a) = 64"),
    ("a text", "length(a) > 1.5 AND character_length(a) < 4"),
    ("a text", "length(a) BETWEEN 3000 AND 3050"),
    ("a text", "length(a) IN (8, 11)"),
    ("a text", "a = 'x'::text OR a = 'y'::varchar"),
    ("a text", "a IN ('50%%', '100%%')"),
    ("a text", "a LIKE 'a.%%' AND a NOT LIKE '%%b'"),
    ("a text", "NOT a LIKE '%%a%%' AND a LIKE '__%%'"),
    ("a text", "a LIKE '$_[]^%%'"),
    ("a text", "a ~~ 'x_' AND a !~~ '_y'"),
    ("a fixed3", "a <> 'abc' AND length(a) = 3"),
    ("a fixed3", "a ~ '^[A-Z]{3}$'"),
    ("a fixed3", "a ~ '^[A-C ]*$' AND a <> 'AAA'"),
    ("a fixed3", "a IN ('x', 'yyy', 'toolong')"),
    ("a fixed5000", "a <> 'abc'"),
    ("a fixed3, b fixed3", "a <> b"),
    ("a text, b text", "a <> b"),
    ("a char8, b text", "a = b"),
    ("a choice", "a <> 'x'"),
    ("a blob", "length(a) <= 3"),
    ("a blob", "length(a) > 1000"),
    # Regular expressions.
    ("a text", "length(a) = 64 AND a ~ '^[0-9a-f]+$'"),
    ("a text", "a ~ '^[A-Z0-9]+$' AND length(a) = 10"),
    ("a char8", "a ~ '^[a-z0-9]{6,}$'"),
    ("a char8", r"a ~ '^[^@\s]+@[^@\s]+$'"),
    ("a text", r"a ~ '^[^@]+@[^@]+\.[^@]+$'"),
    ("a text", r"a ~ '^[A-Z]{2}-?\d{3,4}$'"),
    ("a text", r"a ~ '^[\w.-]+$'"),
    ("a text", r"a ~ '^\W\D\S$'"),
    ("a text", "a ~ '^[]a]+$' OR a ~ '^[^]a-]$'"),
    ("a text", "a ~ '^[$^]x$'"),
    ("a text", "a ~ '^(a|b$)' AND a !~ 'c'"),
    ("a text", "a ~ '^(ab|(?:c|d)+?){2}x*$'"),
    ("a text", "a ~ '^a$'"),
    ("a text", r"a ~ '^\\x' AND a ~ 'y'"),
    ("a text", r"a ~ '\.\$$'"),
    ("a text", "a ~ '[A-Z]' AND a ~ '[0-9]' AND length(a) >= 8"),
    ("a text", "a ~ '^.{2}$' AND length(a) < 3"),
    ("a text", "a ~ '^x{0}y+$' AND length(a) BETWEEN 20 AND 30"),
    ("a text", "a ~ '^[a-b]?[c-d]{2}[e-f]*$' AND length(a) > 5"),
    ("a text", r"a !~ '\s'"),
    ("a text", r"a !~ '\w'"),
    ("a text", r"a !~ '\d' AND length(a) > 0"),
    ("a text", r"a !~ '[^\w]'"),
    ("a text", "a !~ 'a.b' AND a ~ '^a.?.?b?$'"),
    ("a text", "a ~ '^[一-龥]{2}$'"),
    # Times.
    ("a naive", "a >= '2020-01-01' AND a < '2020-01-02'"),
    ("a naive", "a >= TIMESTAMP '2020-01-01 00:00:00' AND a <= '2020-01-01 00:00:01'"),
    ("a naive", "a < '2020-01-02'::date AND a > '2020-01-01 23:59:59'::timestamp"),
    ("a naive, b naive", "a < b"),
    ("a date", "a BETWEEN '2020-01-01' AND '2020-01-03'"),
    ("a date", "a > date '2020-01-01' AND a < '2020-01-03'"),
    ("a date, b date", "a < b AND b < '0001-01-05'"),
    ("a aware", "a > '2020-01-01 00:00:00+00' AND a < '2020-01-01 03:00:00.5+02'"),
    ("a aware", "a >= timestamptz '2020-01-01 00:00:00Z'"),
    ("a utc", "a >= '2020-01-01' AND a < '2020-01-02'"),
    ("a time", "a >= '08:00' AND a < '08:00:01'"),
    ("a time", "a > time '23:59:59.999998'"),
    # The rest of the types.
    ("a bool", "a = 't'"),
    ("a bool", "NOT a"),
    ("a bool null", "a IS NOT FALSE"),
    ("a bool null", "a IS TRUE"),
    ("a bool null", "a IS NOT TRUE"),
    ("a bool, b int null", "NOT a OR b IS NOT NULL"),
    ("a bool", "a = 'of'::boolean OR a <> false"),
    ("a uuid", "a <> '00000000-0000-0000-0000-000000000000'"),
    ("a uuid", "a = '12345678-0000-0000-0000-000000000000'::uuid"),
    ("a json", "jsonb_typeof(a) <> 'object'"),
    ("a json", "jsonb_typeof(a) IN ('number', 'string')"),
    ("a json", "jsonb_typeof(a) = 'array'"),
    ("a ints", "cardinality(a) BETWEEN 1 AND 3"),
    ("a ints", "cardinality(a) > 8"),
    ("a table", "cardinality(a) <= 3"),
    ("a table", "cardinality(a) BETWEEN 5 AND 7"),
    # Lists.
    ("a char8", "a = ANY(ARRAY['x', 'y'])"),
    ("a text", "a = ANY(ARRAY['x', 'y']::text[])"),
    ("a text", "a = ANY('{x, y}')"),
    ("a text", "a <> ALL(ARRAY['x', 'y']) AND length(a) = 1"),
    ("a text", "NOT a = ANY(ARRAY['', '0'])"),
    ("a int", "a = ANY('{1,2}'::integer[])"),
    # Null, and conditions of conditions.
    ("a int null", "a IS NOT NULL"),
    ("a int null", "a NOTNULL OR a ISNULL"),
    ("a int null", "a IS DISTINCT FROM 3 AND a IS NOT NULL AND a BETWEEN 2 AND 4"),
    ("a int null", "a IS NOT DISTINCT FROM 3"),
    ("a int null, b int null", "a IS DISTINCT FROM b"),
    ("a int null, b int null", "a IS NOT DISTINCT FROM b"),
    ("a int null, b int null", "(a IS NULL) = (b IS NULL)"),
    ("a int null, b int null", "(a IS NULL) <> (b IS NULL)"),
    ("a int null, b int null", "(a IS NULL AND b IS NULL) != (a IS NOT NULL)"),
    ("a int null, b int null", "a IS NULL OR b IS NULL OR a < b"),
    ("a int, b int", "(a = 1 AND b < 0) OR (a = 2 AND NOT (b <= 0 OR b > 9))"),
    ("a int, b int", "NOT (a > 0 AND b > 0)"),
    ("a text null, b text null", "NOT (a LIKE 'x%%' AND b IS NULL)"),
    ("a int, id2 int", "id > 0 AND id >= 1 AND id <> 0 AND id IS NOT NULL AND a > id2"),
    ("length int, name text", "length > 0 AND length(name) > 1"),
    ("date date", "date > date '2020-01-01' AND date < '2020-01-03'"),
    ("userAge int", '"userAge" > 3'),
    (", ".join(f"a{n} int null" for n in range(7)), " AND ".join(["a0 > 0", "a6 < 0"])),
]

REFUSED = [
    ("a text", "a ~ '^[^[:space:]]+$'"),
    ("a text", "a ~ '^[a-z[:digit:]]+$'"),
    ("a text", "a !~ '[^a-z[:space:]]'"),
    ("a text", "a ~ '^[a[.-.]]$'"),
    ("a text", "a ~ '^[[=a=]]$'"),
    ("a text", "a ~ '^a{,3}$'"),
    ("a text", "a ~ '^a*+$'"),
    ("a text", "a ~ '^a**$'"),
    ("a text", "a ~ '*a'"),
    ("a text", "a ~ 'a(?=b)'"),
    ("a text", "a ~ '***:a'"),
    ("a text", r"a ~ '\mfoo\M'"),
    ("a text", r"a ~ '[\n]'"),
    ("a text", r"a ~ '(a)\1'"),
    ("a text", "a ~ '[z-a]'"),
    ("a text", "a ~ '[a-c-e]'"),
    ("a text", "a ~ 'a{3,2}'"),
    ("a text", "a ~ 'a{256}'"),
    ("a text", "a ~ '(a'"),
    ("a text", "a ~ 'a)'"),
    ("a text", r"a ~ 'a\'"),
    ("a text", "a ~ '[a'"),
    ("a text", "a ~ '" + "(" * 30 + "a" + ")" * 30 + "'"),
    ("a text", "a ~* '^x+$'"),
    ("a text", "a ILIKE 'x%%'"),
    ("a text", r"a LIKE 'a\_%%'"),
    ("a text", "a > ''"),
    ("a text", "trim(a) <> ''"),
    ("a text", "a = lower(a)"),
    ("a text", "a::char = 'x'"),
    ("a text", "a = 'xyz'::char"),
    ("a text", "a = ANY('{x,NULL}')"),
    ("a text", "a = ANY('{\"x\",y}')"),
    ("a text, b text", "length(a) <= length(b)"),
    ("a text, b text", "length(a) = length(b)"),
    ("a text, b text", "a ~ b"),
    ("a text, b text", "a LIKE b"),
    ("a text, b fixed3", "a <> b"),
    ("a fixed3", "a <> 'ab '"),
    ("a int", "a::text > '5'"),
    ("a int", "a::text <> '05' AND a::text = '5'"),
    ("a int", "a >= 2.5::integer AND a < 4"),
    ("a int", "a::smallint > 3"),
    ("a int", "a %% 5 = 0"),
    ("a int", "- a < 3"),
    ("a int", "a <> id"),
    ("a int", "id > 5 OR a > 3"),
    ("a int", "COALESCE(a, 1) > 0"),
    ("a int", "CASE WHEN a > 3 THEN true ELSE false END"),
    ("a int", "(a > 3) IS TRUE"),
    ("a int", "(a > 3) IS NOT FALSE"),
    ("a int", "(a > 3) = (a < 5)"),
    ("a int", "a BETWEEN SYMMETRIC 5 AND 1"),
    ("a int", "(" * 300 + "a" + ")" * 300 + " > 1"),
    ("a int", "NOT " * 300 + "a > 1"),
    ("a int", " AND ".join(f"(a <> {n} OR a > {n})" for n in range(7))),
    ("a int, b int", "a > b - 1"),
    ("a int, b double", "a < b"),
    ("a decimal", "a < 0.1::float"),
    ("a big", "a > 0.1::float"),
    ("a double", "a < 'NaN'"),
    ("a double", "a < 0.1::real"),
    ("a decimal", "a < 'NaN'"),
    ("a real", "a IN (0.5, 'NaN')"),
    ("a bool, b int null", "a = (b IS NOT NULL)"),
    ("a json", "jsonb_typeof(a->'x') = 'string'"),
    ("a date", "a::timestamp < '2020-01-01'"),
    ("a date, b naive", "a < b"),
    ("a naive", "a < '2020-01-01 00:00:00+00'::timestamptz"),
    ("a naive", "a < '2020-01-01 00:00:00+05'"),
    ("a aware", "a < '2020-01-01'"),
    ("a time", "a < '24:00'"),
]

IMPOSSIBLE = [
    ("a int", "a > 3 AND a < 2"),
    ("a int", "a IN (1.5, 2.5)"),
    ("a int null", "a IS NULL AND a IS NOT NULL"),
    ("a int", "a IS NULL"),
    ("a int null", "(a > 3 AND a < 2) AND a IS NOT NULL"),
    ("a int", "a > 99999999999"),
    ("a real", "a = 0.1"),
    ("a real", "a > 1e300"),
    ("a date", "a > '9999-12-31'"),
    ("a time", "a > '23:59:59.999999'"),
    ("a unique", "length(a) >= 3000"),
    ("a char8", "a ~ '^[a-z]{9,}$'"),
    ("a char8", "a ~ '^[a-z]{2}$' AND length(a) > 2"),
    ("a text", r"a ~ '^[^\s!-~]$'"),
    ("a fixed3", "length(a) = 2"),
    ("a choice", "a = 'z'"),
    ("a table", "cardinality(a) = 23"),
    ("a bool", "a AND NOT a"),
    ("a json", "jsonb_typeof(a) = 'null'"),
]


def made(columns: str, *conditions: str) -> type[Model]:
    """A model of these columns and checks."""
    body: dict[str, Any] = {}
    for column in columns.split(", "):
        name, kind, *null = column.split()
        body[name] = TYPES[kind](bool(null))
    constraints = [Check(condition) for condition in conditions]
    meta = type("Meta", (), {"constraints": constraints, "table_name": "judged"})
    return type("Judged", (Model,), {**body, "Meta": meta})


def drawn(strategy: SearchStrategy[Any], count: int = 20) -> list[Any]:
    """Some examples, the same in every run."""
    found: list[Any] = []

    @settings(
        max_examples=count,
        derandomize=True,
        deadline=None,
        database=None,
        phases=[Phase.generate],
        suppress_health_check=[HealthCheck.too_slow],
    )
    @given(strategy)
    def collect(example: Any) -> None:
        found.append(example)

    collect()
    return found


@pytest.fixture(scope="module")
def judge(server: Any) -> Iterator[Database]:
    """A database in which a case makes its table and takes it back."""
    name = server.create()
    pool = connect(server.url(name), pool_size=1, bind=False)
    with pool.connection_context():
        yield pool
    pool.close_all()
    server.drop(name)


def printed(judge: Database) -> list[str]:
    """The checks of the table as the server prints them, and Peewee is to send them."""
    query = """
        SELECT pg_catalog.pg_get_constraintdef(oid) FROM pg_catalog.pg_constraint
        WHERE contype = 'c' AND conrelid = 'judged'::regclass
    """
    found = [row[0] for row in judge.execute_sql(query).fetchall()]
    return [text.removeprefix("CHECK (")[:-1].replace("%", "%%") for text in found]


@pytest.mark.parametrize(("columns", "condition"), READ)
def test_rows_pass_what_is_read(judge: Database, columns: str, condition: str) -> None:
    """As it was written, and as PostgreSQL prints it."""
    model = made(columns, condition)
    with judge.bind_ctx([model]), judge.atomic() as undo:
        model.create_table()
        again = made(columns, *printed(judge))
        save_all(drawn(from_model(model)))
        with judge.bind_ctx([again]):
            save_all(drawn(from_model(again)))
        undo.rollback()


@pytest.mark.parametrize(("columns", "condition"), REFUSED)
def test_what_is_not_read_is_refused(columns: str, condition: str) -> None:
    """With the fields to give instead; given ones are trusted."""
    model = made(columns, condition)
    names = [column.split()[0] for column in columns.split(", ")]
    with pytest.raises(InvalidArgument, match=rf"is not understood: give {names[0]}="):
        from_model(model)
    from_model(model, **dict.fromkeys(names, 1))


@pytest.mark.parametrize(("columns", "condition"), IMPOSSIBLE)
def test_what_no_row_passes_is_said_at_once(columns: str, condition: str) -> None:
    """With the fields that it is about."""
    with pytest.raises(InvalidArgument, match="no values were found that pass the checks of a"):
        from_model(made(columns, condition))


REACHED = [
    ("a int", "a = 1 OR a IN (5, 6)", {1, 5, 6}),
    ("a int", "a NOT IN (2, 3) AND a BETWEEN 1 AND 4", {1, 4}),
    ("a int null", "a = 1 OR a IS NULL", {1, None}),
    ("a int null", "a > 3 AND a < 2", {None}),
    ("a bool null", "a IS NOT FALSE", {True, None}),
    ("a int", "a > -2 AND NOT a > 1", {-1, 0, 1}),
    ("a char8", "a LIKE 'x' OR a = ANY('{y, z}')", {"x", "y", "z"}),
    ("a text", "a ~ '^[a-c]$'", {"a", "b", "c"}),
    ("a text", r"a ~ '^[^\s!-/2-~]$'", {"0", "1"}),
    ("a text", "length(a) <= 2 AND a ~ '^x*$'", {"", "x", "xx"}),
    ("a real", "a IN (0.1, 0.5) AND a > 0.2", {0.5}),
    ("a time", "a > '23:59:59.999998'", {peewee.datetime.time.max}),
    ("a int null", "a IS DISTINCT FROM 1 AND (a = 2 OR a IS NULL)", {2, None}),
]


@pytest.mark.parametrize(("columns", "condition", "values"), REACHED)
def test_everything_that_passes_is_drawn(columns: str, condition: str, values: set[Any]) -> None:
    """Every part of an OR, every member of a list, null where it may be."""
    assert values == {one.a for one in drawn(from_model(made(columns, condition)), 60)}


def test_moments_are_of_several_zones() -> None:
    """What is the same moment for the server is not the same text."""
    assert 2 < len({one.a.utcoffset() for one in drawn(from_model(made("a aware")), 60)})


def test_checks_of_different_columns_are_not_multiplied() -> None:
    """Two ways to pass each of nine are not five hundred."""
    names = [f"a{number}" for number in range(9)]
    columns = ", ".join(f"{name} int null" for name in names)
    model = made(columns, *(f"{name} IS NULL OR {name} > 0" for name in names))
    for row in drawn(from_model(model)):
        assert all(value is None or value > 0 for value in row.__data__.values())


def test_many_ways_to_pass_checks_of_the_same_columns_are_refused() -> None:
    """By the names of the columns."""
    ways = " OR ".join(f"a = {number}" for number in range(10))
    with pytest.raises(InvalidArgument, match="the checks of a, b can be passed in 100 ways"):
        from_model(made("a int, b int", f"{ways} OR b > 3"[:-9], f"a > b OR {ways}"[:-9]))
