"""Functions."""

from __future__ import annotations

from operator import attrgetter

import pytest
from support.cases import Case, note, prove
from support.server import Server

CASES = (
    Case(
        name="a function",
        a=note("a = TextField()") + "OBJECTS = []",
        b=note("a = TextField()")
        + "OBJECTS = [declare.Function(name='twice', create='CREATE FUNCTION twice(n "
        "int) RETURNS int LANGUAGE sql IMMUTABLE AS $$ SELECT n * 2 $$')]",
        actions=("create function",),
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
)


@pytest.mark.parametrize("case", CASES, ids=attrgetter("name"))
def test_a_function_becomes_what_is_declared(server: Server, case: Case) -> None:
    """Replaced where PostgreSQL allows it."""
    prove(server, case)
