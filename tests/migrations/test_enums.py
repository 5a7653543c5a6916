"""Enumerated types."""

from __future__ import annotations

from operator import attrgetter

import pytest
from support.cases import SWAPPED, Case, note, prove
from support.server import Server

CASES = (
    Case(
        name="a type and a column of it",
        a=note("a = TextField()"),
        b="MOOD = declare.Enum('mood', ('good', 'it\\'s bad'))\n"
        + note("a = TextField()", "b = MOOD.field(null=True)")
        + "OBJECTS = [MOOD]",
        actions=("create enum", "add column"),
    ),
    Case(
        name="a label at the beginning, one at the end and one between",
        a="MOOD = declare.Enum('mood', ('a', 'c'))\n"
        + note("b = MOOD.field()")
        + "OBJECTS = [MOOD]",
        b="MOOD = declare.Enum('mood', ('z', 'a', 'b', 'c', 'd'))\n"
        + note("b = MOOD.field()")
        + "OBJECTS = [MOOD]",
        rows="INSERT INTO note (b) VALUES ('a'), ('c')",
        actions=("add enum label", "add enum label", "add enum label"),
        query="SELECT b::text FROM note ORDER BY b",
        expected=(("a",), ("c",)),
    ),
    Case(
        name="a label gets another name",
        a="MOOD = declare.Enum('mood', ('a', 'b'))\n"
        + note("b = MOOD.field()")
        + "OBJECTS = [MOOD]",
        b="MOOD = declare.Enum('mood', ('a', 'z'), renames={'z': 'b'})\n"
        + note("b = MOOD.field()")
        + "OBJECTS = [MOOD]",
        rows="INSERT INTO note (b) VALUES ('b')",
        actions=("rename enum label",),
        query="SELECT b::text FROM note",
        expected=(("z",),),
    ),
    Case(
        name="text becomes an enum",
        a="MOOD = declare.Enum('mood', ('a', 'b'))\n"
        + note("b = TextField()")
        + "OBJECTS = [MOOD]",
        b="MOOD = declare.Enum('mood', ('a', 'b'))\n"
        + note("b = MOOD.field()")
        + "OBJECTS = [MOOD]",
        rows="INSERT INTO note (b) VALUES ('b')",
        actions=SWAPPED,
        works=(("note", "scan"),),
        locks=(
            ("note", "ACCESS EXCLUSIVE", "instant"),
            ("note", "ROW EXCLUSIVE", "fill"),
            ("note", "SHARE UPDATE EXCLUSIVE", "scan"),
        ),
        checks=("note.b TYPE mood",),
    ),
    Case(
        name="text becomes an enum that is made for it and a value is no label",
        a=note("b = TextField()"),
        b="MOOD = declare.Enum('mood', ('a', 'b'))\n"
        + note("b = MOOD.field()")
        + "OBJECTS = [MOOD]",
        rows="INSERT INTO note (b) VALUES ('b'), ('c')",
        actions=("create enum", *SWAPPED),
        works=(("note", "scan"),),
        refused=("id=2;",),
    ),
    Case(
        name="a label goes that no row has",
        a="MOOD = declare.Enum('mood', ('a', 'b', 'c'))\n"
        + note("b = MOOD.field()")
        + "OBJECTS = [MOOD]",
        b="MOOD = declare.Enum('mood', ('c', 'z'), renames={'z': 'b'})\n"
        + note("b = MOOD.field()")
        + "OBJECTS = [MOOD]",
        rows="INSERT INTO note (b) VALUES ('b'), ('c')",
        actions_unsaid=True,
        query="SELECT b::text FROM note ORDER BY id",
        expected=(("z",), ("c",)),
        works=(("note", "rewrite"),),
    ),
    Case(
        name="a label goes of a type with a comment",
        a="MOOD = declare.Enum('mood', ('a', 'b'), comment='how it is')\n"
        + note("b = MOOD.field()")
        + "OBJECTS = [MOOD]",
        b="MOOD = declare.Enum('mood', ('a',), comment='how it is')\n"
        + note("b = MOOD.field()")
        + "OBJECTS = [MOOD]",
        actions=("rename enum", "create enum", "retype column", "drop enum", "comment"),
        works=(("note", "rewrite"),),
    ),
    Case(
        name="a new column that is checked, of a type that is made anew with the label it gets",
        a="MOOD = declare.Enum('mood', ('a', 'b'))\n"
        + note("b = MOOD.field()")
        + "OBJECTS = [MOOD]",
        b="MOOD = declare.Enum('mood', ('b', 'c'))\n"
        + note("b = MOOD.field()", "c = MOOD.field(default='c', constraints=[Check(\"c <> 'b'\")])")
        + "OBJECTS = [MOOD]",
        rows="INSERT INTO note (b) VALUES ('b')",
        actions_unsaid=True,
        works=(("note", "rewrite"), ("note", "scan")),
        query="SELECT c::text FROM note",
        expected=(("c",),),
    ),
    Case(
        name="a label goes that is a default",
        a="MOOD = declare.Enum('mood', ('a', 'b', 'c'))\n"
        + note("b = MOOD.field(constraints=[SQL(\"DEFAULT 'c'\")])")
        + "OBJECTS = [MOOD]",
        b="MOOD = declare.Enum('mood', ('a', 'b'))\n"
        + note("b = MOOD.field(constraints=[SQL(\"DEFAULT 'b'\")])")
        + "OBJECTS = [MOOD]",
        rows="INSERT INTO note (b) VALUES ('a')",
        actions_unsaid=True,
        works=(("note", "rewrite"),),
    ),
    Case(
        name="a label goes that a row has",
        a="MOOD = declare.Enum('mood', ('a', 'c'))\n"
        + note("b = MOOD.field()")
        + "OBJECTS = [MOOD]",
        b="MOOD = declare.Enum('mood', ('c', 'd'))\n"
        + note("b = MOOD.field()")
        + "OBJECTS = [MOOD]",
        rows="INSERT INTO note (b) VALUES ('c'), ('a')",
        actions_unsaid=True,
        refused=("id=2;",),
        works=(("note", "rewrite"),),
    ),
    Case(
        name="labels go with the columns that have them, beside what is built online",
        a="MOOD = declare.Enum('mood', ('a', 'c'))\n"
        + note(
            "b = MOOD.field(constraints=[SQL(\"DEFAULT 'a'\")], index=True)",
            "n = IntegerField()",
            meta="constraints = [Check(\"b <> 'c'\")]",
        )
        + "OBJECTS = [MOOD]",
        b="MOOD = declare.Enum('mood', ('z',))\n"
        + note("n = IntegerField(index=True)")
        + "OBJECTS = [MOOD]",
        rows="INSERT INTO note (b, n) VALUES ('a', 1)",
        actions_unsaid=True,
        loses=("column note.b and its values",),
        works=(("note", "build"),),
    ),
    Case(
        name="a label goes that is in an array",
        a="MOOD = declare.Enum('mood', ('a', 'c'))\n"
        + note("b = ArrayField(MOOD.field, index=False)")
        + "OBJECTS = [MOOD]",
        b="MOOD = declare.Enum('mood', ('c', 'd'))\n"
        + note("b = ArrayField(MOOD.field, index=False)")
        + "OBJECTS = [MOOD]",
        rows="INSERT INTO note (b) VALUES ('{c,a}'), ('{c}')",
        actions_unsaid=True,
        refused=("id=1;",),
        works=(("note", "rewrite"),),
    ),
)


@pytest.mark.parametrize("case", CASES, ids=attrgetter("name"))
def test_an_enum_becomes_what_is_declared(server: Server, case: Case) -> None:
    """In place, where PostgreSQL can."""
    prove(server, case)
