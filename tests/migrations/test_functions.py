"""Functions."""

from __future__ import annotations

from operator import attrgetter

import pytest
from support.cases import Case, note, prove
from support.server import Server


def plus(returns: str, *more: str) -> str:
    """A function, and what else is declared."""
    made = (
        f"CREATE FUNCTION plus(n bigint) RETURNS {returns}"
        " LANGUAGE sql IMMUTABLE AS $$ SELECT $1 + 1 $$"
    )
    return f"OBJECTS = [declare.Function(name='plus', create='{made}'), {', '.join(more)}]"


def beside(field: str, index: str = "") -> str:
    """A table that comes, with a column and perhaps an index."""
    added = f"Log.add_index(declare.Index(Log, SQL('{index}'), name='by_it'))\n" if index else ""
    return note("a = TextField()") + f"class Log(Model):\n    {field}\n\n{added}"


TWICE = (
    "declare.Function(name='twice', create='CREATE FUNCTION twice(n bigint) RETURNS bigint"
    " IMMUTABLE RETURN plus(n)::bigint')"
)
# What comes with the new function has gone again before that goes, whatever it is in.
CALLERS = (
    ("an index of a new table", beside("pass", "plus(id)"), (), ()),
    ("a check", beside("a = IntegerField(constraints=[Check('plus(a) > 1')])"), (), ()),
    ("a default", beside("a = IntegerField(constraints=[SQL('DEFAULT plus(1)')])"), (), ()),
    (
        "a generated column",
        beside("a = BigIntegerField(constraints=[SQL('GENERATED ALWAYS AS (plus(1)) STORED')])"),
        (),
        (),
    ),
    (
        "a policy",
        beside("pass"),
        ("declare.RowSecurity(Log)", "declare.Policy(Log, 'p', using='plus(id) > 0')"),
        (),
    ),
    (
        "a default of a new column",
        note("a = TextField()\n    b = IntegerField(constraints=[SQL('DEFAULT plus(1)')])"),
        (),
        (),
    ),
    (
        "a generated column of a table that is there",
        note(
            "a = TextField()\n    b = BigIntegerField(null=True,"
            " constraints=[SQL('GENERATED ALWAYS AS (plus(1)) STORED')])"
        ),
        (),
        (("note", "rewrite"),),
    ),
    ("a function that calls it", note("a = TextField()"), (TWICE,), ()),
    ("an index over one that calls it", beside("pass", "twice(id)"), (TWICE,), ()),
)

CASES = (
    Case(
        name="a function, and one that calls it",
        a=note("a = TextField()") + "OBJECTS = []",
        b=note("a = TextField()")
        + "OBJECTS = [declare.Function(name='twice', create='CREATE FUNCTION twice(n "
        "int) RETURNS int LANGUAGE sql IMMUTABLE AS $$ SELECT n * 2 $$'), "
        "declare.Function(name='thrice', create='CREATE FUNCTION thrice(n int) RETURNS int "
        "RETURN twice(n) + n')]",
        actions=("create function", "create function"),
    ),
    Case(
        name="another body",
        a=note("a = TextField()")
        + "OBJECTS = [declare.Function(name='twice', create='CREATE FUNCTION twice(n "
        "int) RETURNS int LANGUAGE sql IMMUTABLE AS $$ SELECT n * 2 $$')]",
        b=note("a = TextField()")
        + "OBJECTS = [declare.Function(name='twice', create='CREATE FUNCTION twice(n "
        'int) RETURNS int LANGUAGE sql IMMUTABLE AS $$ SELECT n + n -- 100% """\n '
        "$$')]".replace("\n ", "\\n "),
        actions=("replace function",),
        locks=(),
        checks=(),
    ),
    Case(
        name="another result",
        a=note("a = TextField()")
        + "OBJECTS = [declare.Function(name='twice', create='CREATE FUNCTION twice(n "
        "int) RETURNS int LANGUAGE sql IMMUTABLE AS $$ SELECT n * 2 $$')]",
        b=note("a = TextField()")
        + "OBJECTS = [declare.Function(name='twice', create='CREATE FUNCTION twice(n "
        "int) RETURNS bigint LANGUAGE sql IMMUTABLE AS $$ SELECT n::bigint * 2 $$')]",
        actions=("drop function", "create function"),
    ),
    Case(
        name="a check calls a function by way of another one",
        b=note("a = IntegerField(constraints=[Check('thrice(a) > 0')])")
        + "OBJECTS = [declare.Function(name='twice', create='CREATE FUNCTION twice(n "
        "int) RETURNS int LANGUAGE sql IMMUTABLE AS $$ SELECT n * 2 $$'), "
        "declare.Function(name='thrice', create='CREATE FUNCTION thrice(n int) RETURNS int "
        "IMMUTABLE RETURN twice(n) + n')]",
        actions=("create function", "create function", "create table"),
    ),
    Case(
        name="functions of the rows of a table that comes with them",
        b=note("a = TextField()")
        + "OBJECTS = [declare.Function(name='one', create='CREATE FUNCTION one(n note) "
        "RETURNS text RETURN n.a'), "
        "declare.Function(name='two', create='CREATE FUNCTION two(n note) "
        "RETURNS text RETURN one(n)')]",
        actions=("create table", "create function", "create function"),
    ),
    Case(
        name="functions that read a view that comes with them",
        b=note("a = IntegerField()")
        + "OBJECTS = [declare.View(name='v', create='CREATE VIEW v AS SELECT a FROM note'), "
        "declare.Function(name='one', create='CREATE FUNCTION one() "
        "RETURNS bigint RETURN (SELECT max(a) FROM v)'), "
        "declare.Function(name='two', create='CREATE FUNCTION two() RETURNS bigint RETURN one()')]",
        actions=("create table", "create view", "create function", "create function"),
    ),
    Case(
        name="a function of a type that a check calls, beside one that calls another",
        b="MOOD = declare.Enum('mood', ('good', 'bad'))\n"
        + note("m = MOOD.field(constraints=[Check('felt(m) > 0')])")
        + "OBJECTS = [MOOD, declare.Function(name='felt', create='CREATE FUNCTION felt(m mood) "
        "RETURNS int IMMUTABLE RETURN length(m::text)')]",
        beside="CREATE FUNCTION two(x int) RETURNS int IMMUTABLE RETURN x; "
        "CREATE FUNCTION one(x int) RETURNS int IMMUTABLE RETURN two(x); "
        "CREATE TABLE theirs (a int CHECK (one(a) > 0))",
        actions=("create enum", "create function", "create table"),
    ),
    Case(
        name="another argument, and a call that the old function would fit better",
        a=note("a = TextField()") + plus("bigint"),
        b=beside("pass", "plus(id)") + plus("bigint").replace("n bigint", "n bigint, m int = 0"),
        actions=("drop function", "create function", "create table", "create index"),
    ),
    *(
        Case(
            name=f"another result, and {name}",
            a=note("a = TextField()") + plus("bigint"),
            b=b + plus("numeric", *more),
            actions_unsaid=True,
            works=works,
        )
        for name, b, more, works in CALLERS
    ),
)


@pytest.mark.parametrize("case", CASES, ids=attrgetter("name"))
def test_a_function_becomes_what_is_declared(server: Server, case: Case) -> None:
    """Replaced where PostgreSQL allows it."""
    prove(server, case)
