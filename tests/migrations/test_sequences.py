"""Sequences."""

from __future__ import annotations

from operator import attrgetter

import pytest
from support.cases import Case, note, prove
from support.server import Server

CASES = (
    Case(
        name="one that a field names",
        a=note("a = IntegerField()"),
        b=note("a = IntegerField(sequence='numbers')"),
        actions=("create sequence", "set default"),
        locks=(("note", "ACCESS EXCLUSIVE", "instant"),),
        checks=(),
    ),
    Case(
        name="a serial column that is no key",
        a="class Serial(IntegerField):\n    field_type = 'SERIAL'\n" + note("a = TextField()"),
        b="class Serial(IntegerField):\n    field_type = 'SERIAL'\n"
        + note("a = TextField()", "b = Serial(unique=True)"),
        rows="INSERT INTO note (a) VALUES ('x'), ('y')",
        actions=(
            "create sequence",
            "add column",
            "own sequence",
            "set default",
            "fill column",
            "add not null",
            "validate constraint",
            "create index concurrently",
        ),
        works=(("note", "build"),),
        checks=(),
        since=18,
        query="SELECT count(DISTINCT b) FROM note",
        expected=((2,),),
    ),
)


@pytest.mark.parametrize("case", CASES, ids=attrgetter("name"))
def test_a_sequence_comes_with_its_column(server: Server, case: Case) -> None:
    """And goes with it."""
    prove(server, case)
