"""Checks."""

from __future__ import annotations

from operator import attrgetter

import pytest
from support.cases import Case, note, prove
from support.server import Server

CASES = (
    Case(
        name="a check without a name",
        a=note("a = IntegerField()"),
        b=note("a = IntegerField(constraints=[Check('a > 0')])"),
        rows="INSERT INTO note (a) VALUES (1)",
        actions=("add constraint", "validate constraint"),
        works=(("note", "scan"),),
        locks=(("note", "ACCESS EXCLUSIVE", "instant"), ("note", "SHARE UPDATE EXCLUSIVE", "scan")),
        checks=("note_a_check",),
    ),
    Case(
        name="rows are in the way",
        a=note("a = IntegerField()"),
        b=note("a = IntegerField(constraints=[Check('a > 0', name='positive')])"),
        rows="INSERT INTO note VALUES (91, 5), (92, -777), (93, -777), (94, -777), (95, -777)",
        actions=("add constraint", "validate constraint"),
        works=(("note", "scan"),),
        refused=("positive", "id=92", "id=93", "id=94"),
    ),
    Case(
        name="a list of values grows",
        a=note("a = CharField(max_length=9, constraints=[Check(\"a IN ('x', 'y')\")])"),
        b=note("a = CharField(max_length=9, constraints=[Check(\"a IN ('x', 'y', 'z')\")])"),
        actions=("drop constraint", "add constraint", "validate constraint"),
        works=(("note", "scan"),),
    ),
    Case(
        name="a condition of two columns with hostile text",
        a=note("a = TextField()", "b = TextField()"),
        b=note(
            "a = TextField()",
            "b = TextField()",
            meta='constraints = [Check("a <> b OR a LIKE \'100%% \\"\\"\\" it\'\'s\\n\'", '
            "name='The \\\"rule\\\"')]",
        ),
        actions=("add constraint", "validate constraint"),
        works=(("note", "scan"),),
    ),
    Case(
        name="another name",
        a=note("a = IntegerField(constraints=[Check('a > 0', name='one')])"),
        b=note("a = IntegerField(constraints=[Check('a > 0', name='two')])"),
        actions=("rename constraint",),
    ),
    Case(
        name="a check less",
        a=note("a = IntegerField(constraints=[Check('a > 0'), Check('a < 9')])"),
        b=note("a = IntegerField(constraints=[Check('a < 9')])"),
        actions=("drop constraint", "rename constraint"),
    ),
    Case(
        name="one that was not validated",
        a=note("a = IntegerField()"),
        b=note("a = IntegerField(constraints=[Check('a > 0', name='positive')])"),
        rows="ALTER TABLE note ADD CONSTRAINT positive CHECK (a > 0) NOT VALID",
        actions=("validate constraint",),
        works=(("note", "scan"),),
    ),
)


@pytest.mark.parametrize("case", CASES, ids=attrgetter("name"))
def test_a_check_becomes_what_the_model_says(server: Server, case: Case) -> None:
    """Validated while others read and write."""
    prove(server, case)
