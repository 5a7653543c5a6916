"""Functions."""

from __future__ import annotations

from operator import attrgetter

import pytest
from support.cases import Case, note, prove
from support.server import Server

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
)


@pytest.mark.parametrize("case", CASES, ids=attrgetter("name"))
def test_a_function_becomes_what_is_declared(server: Server, case: Case) -> None:
    """Replaced where PostgreSQL allows it."""
    prove(server, case)
