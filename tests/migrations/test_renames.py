"""Renames, as the models state them."""

from __future__ import annotations

from operator import attrgetter

import pytest
from support.cases import Case, note, prove
from support.server import Server

GRANTED = """
OBJECTS = [
    V := declare.View(name='v', create='CREATE VIEW v AS SELECT %s FROM note'),
    declare.Grant(('SELECT',), on=V, to='pg_monitor'),
]
"""
LABELLED = """
OBJECTS = [M, declare.View(name='v', create="CREATE VIEW v AS SELECT id FROM note WHERE m = '%s'")]
"""
USERS = note("name = TextField()", meta="table_name = 'users'", name="User")
POLICED = (
    note("owner = TextField()")
    + """
OBJECTS = [
    declare.RowSecurity(Note),
    declare.Policy(Note, 'own', using='owner IN (SELECT %s FROM %s WHERE id > 0)'),
]
"""
)
SERIALS = """
class Serial(Field):
    field_type = 'serial'
"""

CASES = (
    Case(
        name="a table",
        a=note("a = TextField(index=True, constraints=[Check(\"a <> ''\")])")
        + note("note = ForeignKeyField(Note)", name="Mark"),
        b=note(
            "a = TextField(index=True, constraints=[Check(\"a <> ''\")])",
            meta="table_name = 'page'; legacy_table_names = False; renamed_from = 'note'",
        )
        + note("note = ForeignKeyField(Note)", name="Mark"),
        rows="INSERT INTO note (a) VALUES ('x'); INSERT INTO mark (note_id) VALUES (1)",
        actions=(
            "rename table",
            "rename sequence",
            "rename constraint",
            "rename constraint",
            "rename index",
            "rename not null",
            "rename not null",
        ),
        since=18,
        query="SELECT id, a FROM page",
        expected=((1, "x"),),
        locks=(("note", "ACCESS EXCLUSIVE", "instant"), ("page", "ACCESS EXCLUSIVE", "instant")),
        checks=(),
    ),
    Case(
        name="a column",
        a=note(
            "a = TextField(index=True, constraints=[Check(\"a <> ''\")])",
            "c = IntegerField(null=True)",
        ),
        b=note(
            "b = TextField(index=True, constraints=[Check(\"b <> ''\")])",
            "c = IntegerField(null=True)",
            meta="renames = {'b': 'a'}",
        ),
        rows="INSERT INTO note (a) VALUES ('x')",
        actions=("rename column", "rename constraint", "rename index", "rename not null"),
        since=18,
        query="SELECT id, b FROM note",
        expected=((1, "x"),),
    ),
    Case(
        name="to the names they have",
        a=note("a = TextField(null=True)"),
        b=note(
            "a = TextField(null=True)",
            "b = TextField(null=True)",
            meta="renamed_from = 'note'; renames = {'a': 'a'}",
        ),
        actions=("add column",),
    ),
    Case(
        name="a column named as a type, beside one that is cast to it",
        a=note("text = TextField()", "kind = CharField(constraints=[Check(\"kind <> ''\")])")
        + "Note.add_index(SQL(\"CREATE INDEX p ON note (id) WHERE kind = 'x'\"))",
        b=note(
            "body = TextField()",
            "kind = CharField(constraints=[Check(\"kind <> ''\")])",
            meta="renames = {'body': 'text'}",
        )
        + "Note.add_index(SQL(\"CREATE INDEX p ON note (id) WHERE kind = 'x'\"))",
        actions=("rename column", "rename not null"),
        since=18,
    ),
    Case(
        name="a column named as a function, beside a call of it",
        a=note(
            "age = IntegerField(null=True)",
            "born = DateTimeField(constraints=[Check(\"age(born) > interval '1 day'\")])",
        ),
        b=note(
            "years = IntegerField(null=True)",
            "born = DateTimeField(constraints=[Check(\"age(born) > interval '1 day'\")])",
            meta="renames = {'years': 'age'}",
        ),
        actions=("rename column",),
    ),
    Case(
        name="columns named as words of an index",
        a=note("btree = TextField()", "year = DateField()")
        + "Note.add_index(SQL('CREATE INDEX i ON note (btree, extract(year from year))'))",
        b=note("b = TextField()", "y = DateField()", meta="renames = {'b': 'btree', 'y': 'year'}")
        + "Note.add_index(SQL('CREATE INDEX i ON note (b, extract(year from y))'))",
        actions_unsaid=True,
    ),
    Case(
        name="an index gets another expression meanwhile",
        a=note("a = TextField()") + "Note.add_index(SQL('CREATE INDEX i ON note (lower(a))'))",
        b=note("b = TextField()", meta="renames = {'b': 'a'}")
        + "Note.add_index(SQL('CREATE INDEX i ON note (upper(b))'))",
        actions_unsaid=True,
        works=(("note", "build"),),
    ),
    Case(
        name="a column under views that nobody declared, one over the other",
        a=note("a = IntegerField()"),
        b=note("b = BigIntegerField()", meta="renames = {'b': 'a'}"),
        rows="CREATE VIEW v AS SELECT a, id FROM note; CREATE VIEW w AS SELECT a FROM v;"
        "INSERT INTO note (a) VALUES (7)",
        rest="CREATE VIEW v AS SELECT b AS a, id FROM note; CREATE VIEW w AS SELECT a FROM v",
        works=(("note", "rewrite"),),
        actions_unsaid=True,
        query="SELECT a FROM w",
        expected=((7,),),
    ),
    Case(
        name="a table under a view that nobody declared",
        a=note("a = IntegerField()"),
        b=note("a = IntegerField()", meta="table_name = 'page'; renamed_from = 'note'"),
        rows="CREATE VIEW v AS SELECT a, id FROM note; INSERT INTO note (a) VALUES (7)",
        rest="CREATE VIEW v AS SELECT a, id FROM page",
        actions_unsaid=True,
        query="SELECT a FROM v",
        expected=((7,),),
    ),
    Case(
        name="a column under a declared view with a grant, and a view that nobody declared on it",
        a=note("a = IntegerField()") + GRANTED % "a",
        b=note("b = IntegerField()", meta="renames = {'b': 'a'}") + GRANTED % "b AS a",
        rows="CREATE VIEW w AS SELECT a FROM v",
        rest="CREATE VIEW w AS SELECT a FROM v",
        actions=(
            *("drop view", "drop view", "create view", "create view", "grant"),
            *("rename column", "rename not null"),
        ),
        since=18,
    ),
    Case(
        name="a label under a view, and a value for what had none",
        a="M = declare.Enum('mood', ('a', 'b'))\n"
        + note("m = M.field()", "x = IntegerField(null=True)")
        + LABELLED % "a",
        b="M = declare.Enum('mood', ('z', 'b'), renames={'z': 'a'})\n"
        + note("m = M.field()", "x = IntegerField()")
        + LABELLED % "z",
        works=(("note", "scan"),),
        actions_unsaid=True,
    ),
    Case(
        name="a table that a policy reads",
        a=USERS + POLICED % ("name", "users"),
        b=note(
            "name = TextField()",
            meta="table_name = 'members'; renamed_from = 'users'",
            name="User",
        )
        + POLICED % ("name", "members"),
        actions_unsaid=True,
    ),
    Case(
        name="a column that a policy of another table reads",
        a=USERS + POLICED % ("name", "users"),
        b=note(
            "login = TextField()",
            meta="table_name = 'users'; renames = {'login': 'name'}",
            name="User",
        )
        + POLICED % ("login", "users"),
        actions_unsaid=True,
    ),
    Case(
        name="both names are there and only the new one is wanted",
        a=note("a = TextField(null=True)", "b = TextField()"),
        b=note("b = TextField()", meta="renames = {'b': 'a'}"),
        refused_early=('"a" is to be renamed to "b", and both are there', "take the rename out"),
    ),
    Case(
        name="done, and the old name is taken again",
        a=note("a = TextField(null=True)", "b = TextField(null=True)", "c = TextField(null=True)"),
        b=note("a = TextField(null=True)", "b = TextField(null=True)", meta="renames = {'b': 'a'}"),
        actions=("drop column",),
        loses=("note.c",),
    ),
    Case(
        name="not done yet, and the old name is taken again",
        a=note("a = TextField(null=True)"),
        b=note(
            "a = IntegerField(null=True)",
            "b = TextField(null=True)",
            meta="renames = {'b': 'a'}",
        ),
        rows="INSERT INTO note (a) VALUES ('x')",
        actions=("rename column", "add column"),
        query="SELECT a, b FROM note",
        expected=((None, "x"),),
    ),
    Case(
        name="to a name with a percent sign, and another such to none",
        a=note("c = TextField(null=True)", "x = TextField(column_name='e%%1', null=True)"),
        b=note(
            "c = TextField(column_name='d%%1', null=True)",
            "x = TextField(null=True)",
            meta="renames = {'c': 'c', 'x': 'e%%1'}",
        ),
        rows="INSERT INTO note VALUES (1, 'kept', 'too')",
        actions=("rename column", "rename column"),
        query="SELECT * FROM note",
        expected=((1, "kept", "too"),),
    ),
    Case(
        name="sequences that changed places",
        a=SERIALS + note("x = Serial()", "y = Serial()"),
        b=SERIALS + note("x = Serial()", "y = Serial()"),
        rows="ALTER SEQUENCE note_x_seq RENAME TO t; ALTER SEQUENCE note_y_seq RENAME TO "
        "note_x_seq; ALTER SEQUENCE t RENAME TO note_y_seq",
        actions_unsaid=True,
    ),
    Case(
        name="not stated, so nothing is guessed",
        a=note("a = TextField(null=True)"),
        b=note("b = TextField(null=True)"),
        rows="INSERT INTO note (a) VALUES ('x')",
        actions=("add column", "drop column"),
        loses=("note.a",),
        query="SELECT id, b FROM note",
        expected=((1, None),),
    ),
    Case(
        name="done and still stated while a row is in the way",
        a=note("b = IntegerField()"),
        b=note(
            "b = IntegerField(constraints=[Check('b > 0')])",
            meta="renamed_from = 'page'; renames = {'b': 'a'}",
        ),
        rows="INSERT INTO note (b) VALUES (-7)",
        actions=("add constraint", "validate constraint"),
        works=(("note", "scan"),),
        refused=("note_b_check", "id=1"),
    ),
    Case(
        name="not done yet while a row is in the way",
        a=note("a = IntegerField()"),
        b=note(
            "b = IntegerField(constraints=[Check('b > 0')])",
            meta="table_name = 'page'; renamed_from = 'note'; renames = {'b': 'a'}",
        ),
        rows="INSERT INTO note (a) VALUES (-7)",
        actions_unsaid=True,
        works=(("page", "scan"),),
        refused=("page_b_check", "id=1"),
    ),
)


@pytest.mark.parametrize("case", CASES, ids=attrgetter("name"))
def test_what_is_renamed_keeps_its_rows(server: Server, case: Case) -> None:
    """A rename is stated, never guessed."""
    prove(server, case)
