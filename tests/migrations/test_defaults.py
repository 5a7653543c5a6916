"""Defaults of the server."""

from __future__ import annotations

from operator import attrgetter

import pytest
from support.cases import Case, note, prove
from support.server import Server

CASES = (
    Case(
        name="a default is set",
        a=note("a = TextField()"),
        b=note("a = TextField(constraints=[SQL(\"DEFAULT 'it''s 100%% \\\"x\\\"'\")])"),
        actions=("set default",),
        after="INSERT INTO note DEFAULT VALUES",
        query="SELECT a FROM note",
        expected=(('it\'s 100% "x"',),),
        locks=(("note", "ACCESS EXCLUSIVE", "instant"),),
        checks=(),
    ),
    Case(
        name="a default is changed",
        a=note("a = IntegerField(constraints=[SQL('DEFAULT 1')])"),
        b=note("a = IntegerField(constraints=[SQL('DEFAULT 2')])"),
        actions=("set default",),
    ),
    Case(
        name="a default goes",
        a=note("a = DateTimeTZField(constraints=[SQL('DEFAULT now()')])"),
        b=note("a = DateTimeTZField()"),
        actions=("drop default",),
    ),
    Case(
        name="lines and quotes of all kinds",
        a=note("a = TextField()"),
        b=note(
            'a = TextField(constraints=[SQL("DEFAULT E\'\\"\\"\\"\\n\\\\\\\\x00\'\'${x}{0}\'")])'
        ),
        actions=("set default",),
    ),
)


@pytest.mark.parametrize("case", CASES, ids=attrgetter("name"))
def test_a_default_becomes_what_the_field_says(server: Server, case: Case) -> None:
    """Rows that are there keep their values."""
    prove(server, case)
