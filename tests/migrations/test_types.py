"""Changes of a type: values are kept, or the change is refused."""

from __future__ import annotations

from operator import attrgetter

import pytest
from support.cases import Case, note, prove
from support.server import Server

CASES = (
    Case(
        name="varchar grows",
        a=note("a = CharField(max_length=10)"),
        b=note("a = CharField(max_length=20)"),
        rows="INSERT INTO note (a) VALUES ('0123456789')",
        actions=("retype column",),
        query="SELECT a FROM note",
        expected=(("0123456789",),),
    ),
    Case(
        name="varchar shrinks and its values fit",
        a=note("a = CharField(max_length=10)"),
        b=note("a = CharField(max_length=5)"),
        rows="INSERT INTO note (a) VALUES ('01234')",
        actions=("retype column",),
        works=(("note", "rewrite"),),
        query="SELECT a FROM note",
        expected=(("01234",),),
    ),
    Case(
        name="varchar shrinks and a value does not fit",
        a=note("a = CharField(max_length=10)"),
        b=note("a = CharField(max_length=5)"),
        rows="INSERT INTO note (a) VALUES ('01234'), ('secretive')",
        actions=("retype column",),
        works=(("note", "rewrite"),),
        refused=("2",),
    ),
    Case(
        name="text to varchar",
        a=note("a = TextField()"),
        b=note("a = CharField(max_length=5)"),
        rows="INSERT INTO note (a) VALUES ('01234')",
        actions=("retype column",),
        works=(("note", "rewrite"),),
    ),
    Case(
        name="text to varchar with spaces at the end that do not fit",
        a=note("a = TextField()"),
        b=note("a = CharField(max_length=5)"),
        rows="INSERT INTO note (a) VALUES ('01234   ')",
        actions=("retype column",),
        works=(("note", "rewrite"),),
        refused=("1",),
    ),
    Case(
        name="varchar to text",
        a=note("a = CharField(max_length=5)"),
        b=note("a = TextField()"),
        actions=("retype column",),
    ),
    Case(
        name="varchar with a check of a list",
        a=note("a = CharField(max_length=5, constraints=[Check(\"a IN ('x', 'y')\")], index=True)"),
        b=note("a = CharField(max_length=9, constraints=[Check(\"a IN ('x', 'y')\")], index=True)"),
        rows="INSERT INTO note (a) VALUES ('x')",
        # PostgreSQL would read its own text of the check in another way.
        actions=("drop constraint", "retype column", "add constraint", "validate constraint"),
        works=(("note", "scan"),),
    ),
    Case(
        name="int to bigint",
        a=note("a = IntegerField(index=True)"),
        b=note("a = BigIntegerField(index=True)"),
        rows="INSERT INTO note (a) VALUES (2147483647)",
        actions=("retype column",),
        works=(("note", "rewrite"),),
        query="SELECT a FROM note",
        expected=((2147483647,),),
    ),
    Case(
        name="bigint to int and a value does not fit",
        a=note("a = BigIntegerField()"),
        b=note("a = IntegerField()"),
        rows="INSERT INTO note (a) VALUES (1), (2147483648)",
        actions=("retype column",),
        works=(("note", "rewrite"),),
        refused=("2",),
    ),
    Case(
        name="a key from int to bigint with what refers to it",
        a=note("a = TextField()") + note("note = ForeignKeyField(Note)", name="Mark"),
        b=note("id = BigAutoField()", "a = TextField()")
        + note("note = ForeignKeyField(Note)", name="Mark"),
        rows="INSERT INTO note (a) VALUES ('x'); INSERT INTO mark (note_id) VALUES (1)",
        actions=(
            "drop constraint",
            "drop default",
            "alter sequence",
            "retype column",
            "retype column",
            "set default",
            "add constraint",
        ),
        works=(("note", "rewrite"), ("mark", "rewrite")),
        after="INSERT INTO note (a) VALUES ('y')",
        query="SELECT id FROM note ORDER BY id",
        expected=((1,), (2,)),
    ),
    Case(
        name="timestamp to timestamptz is read as UTC",
        a=note("a = DateTimeField()"),
        b=note("a = DateTimeTZField()"),
        rows="INSERT INTO note (a) VALUES ('2026-07-01 12:00'); SET timezone = 'Asia/Tokyo'",
        actions=("retype column",),
        query="SELECT extract(epoch FROM a)::bigint FROM note",
        expected=((1782907200,),),
    ),
    Case(
        name="numeric gets more digits",
        a=note("a = DecimalField(max_digits=5, decimal_places=2)"),
        b=note("a = DecimalField(max_digits=9, decimal_places=2)"),
        rows="INSERT INTO note (a) VALUES (123.45)",
        actions=("retype column",),
    ),
    Case(
        name="numeric loses places that are in use",
        a=note("a = DecimalField(max_digits=5, decimal_places=2)"),
        b=note("a = DecimalField(max_digits=5, decimal_places=1)"),
        rows="INSERT INTO note (a) VALUES (1.25)",
        actions=("retype column",),
        works=(("note", "rewrite"),),
        refused=("1",),
    ),
    Case(
        name="text to jsonb",
        a=note("a = TextField()"),
        b=note("a = BinaryJSONField(index=False)"),
        rows="INSERT INTO note (a) VALUES ('{\"k\": 1}')",
        actions=("retype column",),
        works=(("note", "rewrite"),),
        query="SELECT a ->> 'k' FROM note",
        expected=(("1",),),
    ),
    Case(
        name="text to jsonb and a value is none",
        texts=True,
        a=note("a = TextField()"),
        b=note("a = BinaryJSONField(index=False)"),
        rows="INSERT INTO note (a) VALUES ('{\"k\": 1}'), ('secret')",
        actions=("retype column",),
        works=(("note", "rewrite"),),
        refused=("2",),
    ),
    Case(
        name="text to integer",
        a=note("a = TextField(constraints=[SQL(\"DEFAULT '1'\")])"),
        b=note("a = IntegerField(constraints=[SQL('DEFAULT 1')])"),
        rows="INSERT INTO note (a) VALUES (' 12 ')",
        actions=("drop default", "retype column", "set default"),
        works=(("note", "rewrite"),),
        query="SELECT a FROM note",
        expected=((12,),),
    ),
    Case(
        name="text to uuid",
        a=note("a = TextField()"),
        b=note("a = UUIDField()"),
        rows="INSERT INTO note (a) VALUES ('00000000-0000-0000-0000-000000000001')",
        actions=("retype column",),
        works=(("note", "rewrite"),),
    ),
    Case(
        name="an array of integers to one of bigints",
        a=note("a = ArrayField(IntegerField, index=False)"),
        b=note("a = ArrayField(BigIntegerField, index=False)"),
        rows="INSERT INTO note (a) VALUES ('{1,2}')",
        actions=("retype column",),
        works=(("note", "rewrite"),),
    ),
    Case(
        name="types without a cast while no value is stored",
        a=note("a = UUIDField(null=True)", "b = BinaryJSONField(null=True, index=False)"),
        b=note("a = IntegerField(null=True)", "b = IntegerField(null=True)"),
        rows="INSERT INTO note (a, b) VALUES (NULL, NULL)",
        actions=("retype column", "retype column"),
        works=(("note", "rewrite"),),
    ),
    Case(
        name="types without a cast where a value is stored",
        texts=True,
        a=note("a = UUIDField()"),
        b=note("a = IntegerField()"),
        rows="INSERT INTO note (a) VALUES (gen_random_uuid())",
        actions=("retype column",),
        works=(("note", "rewrite"),),
        refused=("1",),
    ),
)


@pytest.mark.parametrize("case", CASES, ids=attrgetter("name"))
def test_a_type_changes_without_loss(server: Server, case: Case) -> None:
    """What does not fit is named by its key, and nothing is changed."""
    prove(server, case)
