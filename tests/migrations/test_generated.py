"""Generated columns."""

from __future__ import annotations

from operator import attrgetter

import pytest
from support.cases import Case, note, prove
from support.server import Server

F = (
    "OBJECTS = [declare.Function(name='f', create='CREATE FUNCTION f(n int) RETURNS int"
    " IMMUTABLE RETURN {}')]"
)
CASES = (
    Case(
        name="a stored column",
        a=note("a = IntegerField()"),
        b=note(
            "a = IntegerField()",
            "b = IntegerField(null=True, constraints=[SQL('GENERATED ALWAYS AS (a * 2) STORED')])",
        ),
        rows="INSERT INTO note (a) VALUES (21)",
        actions=("add column",),
        works=(("note", "rewrite"),),
        query="SELECT b FROM note",
        expected=((42,),),
        locks=(("note", "ACCESS EXCLUSIVE", "rewrite"),),
        checks=(),
    ),
    Case(
        name="another expression",
        a=note(
            "a = IntegerField()",
            "b = IntegerField(null=True, constraints=[SQL('GENERATED ALWAYS AS (a * 2) STORED')])",
        ),
        b=note(
            "a = IntegerField()",
            "b = IntegerField(null=True, constraints=[SQL('GENERATED ALWAYS AS (a * 3) STORED')])",
        ),
        rows="INSERT INTO note (a) VALUES (2)",
        actions=("set expression",),
        works=(("note", "rewrite"),),
        since=17,
        query="SELECT b FROM note",
        expected=((6,),),
    ),
    Case(
        name="a column that is made anew, and its key and index get other names",
        a=note(
            "a = IntegerField()",
            "b = TextField(constraints=[SQL('GENERATED ALWAYS AS (md5(a::text)) STORED')])",
            meta="constraints = [SQL('CONSTRAINT one UNIQUE (b, a)')]; "
            "indexes = [SQL('CREATE INDEX first ON note (b)')]",
        ),
        b=note(
            "a = IntegerField()",
            "b = BigIntegerField(constraints=[SQL('GENERATED ALWAYS AS (a * 2) STORED')])",
            meta="constraints = [SQL('CONSTRAINT other UNIQUE (b, a)')]; "
            "indexes = [SQL('CREATE INDEX second ON note (b)')]",
        ),
        rows="INSERT INTO note (a) VALUES (2)",
        actions=(
            "drop constraint",
            "drop index",
            "drop column",
            "add column",
            "add constraint",
            "create index",
        ),
        works=(("note", "rewrite"),),
        query="SELECT b FROM note",
        expected=((4,),),
    ),
    Case(
        name="it becomes an ordinary column",
        a=note(
            "a = IntegerField()",
            "b = IntegerField(null=True, constraints=[SQL('GENERATED ALWAYS AS (a * 2) STORED')])",
        ),
        b=note("a = IntegerField()", "b = IntegerField(null=True)"),
        rows="INSERT INTO note (a) VALUES (2)",
        actions=("drop expression",),
        query="SELECT b FROM note",
        expected=((4,),),
    ),
    Case(
        name="an ordinary column becomes generated",
        a=note("a = IntegerField()", "b = IntegerField(null=True)"),
        b=note(
            "a = IntegerField()",
            "b = IntegerField(null=True, constraints=[SQL('GENERATED ALWAYS AS (a * 2) STORED')])",
        ),
        actions=("drop column", "add column"),
        works=(("note", "rewrite"),),
        loses=("note.b",),
    ),
    Case(
        name="a column that a generated one reads gets another type",
        a=note(
            "a = IntegerField()",
            "b = BigIntegerField(null=True, constraints=[SQL('GENERATED ALWAYS AS (a * "
            "2) STORED')])",
        ),
        b=note(
            "a = BigIntegerField()",
            "b = BigIntegerField(null=True, constraints=[SQL('GENERATED ALWAYS AS (a * "
            "2) STORED')])",
        ),
        rows="INSERT INTO note (a) VALUES (2)",
        actions=("drop column", "retype column", "add column"),
        works=(("note", "rewrite"),),
        query="SELECT b FROM note",
        expected=((4,),),
    ),
    Case(
        name="another type and expression, with no cast between the types",
        a=note(
            "a = TextField()",
            "b = TextField(null=True, constraints=[SQL('GENERATED ALWAYS AS (lower(a)) STORED')])",
        ),
        b=note(
            "a = TextField()",
            "b = BigIntegerField(null=True, "
            "constraints=[SQL('GENERATED ALWAYS AS (length(a)) STORED')])",
        ),
        rows="INSERT INTO note (a) VALUES ('xyz')",
        actions=("drop column", "add column"),
        works=(("note", "rewrite"),),
        query="SELECT b FROM note",
        expected=((3,),),
    ),
    Case(
        name="another expression under a check that stays",
        a=note(
            "a = IntegerField()",
            "b = IntegerField(null=True, constraints=[SQL('GENERATED ALWAYS AS (a + 1) STORED'), "
            "Check('b < 9', name='small')])",
        ),
        b=note(
            "a = IntegerField()",
            "b = IntegerField(null=True, constraints=[SQL('GENERATED ALWAYS AS (a * 3) STORED'), "
            "Check('b < 9', name='small')])",
        ),
        rows="INSERT INTO note (a) VALUES (1), (4)",
        actions_unsaid=True,
        works=(("note", "rewrite"),),
        refused=("small", "id=2"),
    ),
    Case(
        name="another expression under a key that stays",
        a=note(
            "a = IntegerField()",
            "b = IntegerField(null=True, constraints=[SQL('GENERATED ALWAYS AS (a + 1) STORED'), "
            "SQL('UNIQUE')])",
        ),
        b=note(
            "a = IntegerField()",
            "b = IntegerField(null=True, constraints=[SQL('GENERATED ALWAYS AS (a / 3) STORED'), "
            "SQL('UNIQUE')])",
        ),
        rows="INSERT INTO note (a) VALUES (1), (2), (9)",
        actions_unsaid=True,
        works=(("note", "rewrite"),),
        refused=("note_b_key", "id=1", "id=2"),
    ),
    Case(
        name="under a check, of a column that gets another type",
        a=note(
            "a = TextField()",
            "b = IntegerField(null=True, constraints=[SQL('GENERATED ALWAYS AS "
            "(length(a::text)) STORED'), Check('b > 1', name='long')])",
        ),
        b=note(
            "a = IntegerField()",
            "b = IntegerField(null=True, constraints=[SQL('GENERATED ALWAYS AS "
            "(length(a::text)) STORED'), Check('b > 1', name='long')])",
        ),
        rows="INSERT INTO note (a) VALUES ('12'), ('01')",
        actions_unsaid=True,
        works=(("note", "rewrite"),),
        refused=("long", "id=2"),
    ),
    Case(
        name="a stored column goes with its index and what references it",
        a=note(
            "a = IntegerField()",
            "b = IntegerField(null=True, unique=True, "
            "constraints=[SQL('GENERATED ALWAYS AS (a * 2) STORED')])",
            meta="indexes = ((('a', 'b'), False),)",
        )
        + note("b = ForeignKeyField(Note, field='b')", name="Mark"),
        b=note("a = IntegerField()") + note("b_id = IntegerField(index=True)", name="Mark"),
        actions=("drop constraint", "drop index", "drop index", "drop column"),
    ),
    Case(
        name="another expression, and a check of the old one goes",
        a=note(
            "a = IntegerField()",
            "b = IntegerField(null=True, constraints=[SQL('GENERATED ALWAYS AS (a) STORED'), "
            "Check('b < 10')])",
        ),
        b=note(
            "a = IntegerField()",
            "b = IntegerField(null=True, constraints=[SQL('GENERATED ALWAYS AS (a + 10) STORED')])",
        ),
        rows="INSERT INTO note (a) VALUES (1)",
        query="SELECT b FROM note",
        expected=((11,),),
        actions_unsaid=True,
        works=(("note", "rewrite"),),
    ),
    Case(
        name="another result of a function, and a check of the old one goes",
        a=note(
            "a = IntegerField()",
            "b = IntegerField(null=True, constraints=[SQL('GENERATED ALWAYS AS (f(a)) STORED'), "
            "Check('b < 10')])",
        )
        + F.format("n"),
        b=note(
            "a = IntegerField()",
            "b = IntegerField(null=True, constraints=[SQL('GENERATED ALWAYS AS (f(a)) STORED')])",
        )
        + F.format("n + 10"),
        rows="INSERT INTO note (a) VALUES (1)",
        query="SELECT b FROM note",
        expected=((11,),),
        actions_unsaid=True,
        works=(("note", "rewrite"),),
    ),
)


@pytest.mark.parametrize("case", CASES, ids=attrgetter("name"))
def test_a_generated_column_is_made_anew_where_it_has_to_be(server: Server, case: Case) -> None:
    """Its values are those of its expression."""
    prove(server, case)
