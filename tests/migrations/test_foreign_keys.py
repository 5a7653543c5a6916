"""Foreign keys."""

from __future__ import annotations

from operator import attrgetter

import pytest
from support.cases import Case, note, prove
from support.server import Server

GOAL = note(
    "x = IntegerField()",
    "y = IntegerField()",
    name="Goal",
    meta="indexes = ((('x', 'y'), True),)",
)
REFERENCE = "constraints = [SQL('FOREIGN KEY (a) REFERENCES note (a) %s')]"
CASES = (
    Case(
        name="a foreign key",
        a=note("a = TextField()") + note("note_id = IntegerField(null=True)", name="Mark"),
        b=note("a = TextField()")
        + note("note = ForeignKeyField(Note, null=True, index=False)", name="Mark"),
        rows="INSERT INTO note (a) VALUES ('x'); INSERT INTO mark (note_id) VALUES (1), (NULL)",
        actions=("add constraint", "validate constraint"),
        works=(("mark", "scan"), ("note", "scan")),
        locks=(
            ("mark", "SHARE ROW EXCLUSIVE", "instant"),
            ("note", "SHARE ROW EXCLUSIVE", "instant"),
            ("mark", "SHARE UPDATE EXCLUSIVE", "scan"),
            ("note", "ROW SHARE", "scan"),
        ),
        checks=("mark_note_id_fkey",),
    ),
    Case(
        name="a row is in the way",
        a=note("a = TextField()") + note("note_id = IntegerField()", name="Mark"),
        b=note("a = TextField()")
        + note("note = ForeignKeyField(Note, index=False, constraint_name='points')", name="Mark"),
        rows="INSERT INTO mark (note_id) VALUES (777)",
        actions=("add constraint", "validate constraint"),
        works=(("mark", "scan"), ("note", "scan")),
        refused=("points", "1"),
    ),
    Case(
        name="actions and deferral",
        a=note("up = ForeignKeyField('self', null=True)"),
        b=note(
            "up = ForeignKeyField('self', null=True, on_delete='CASCADE', "
            "on_update='SET NULL', deferrable='INITIALLY DEFERRED')"
        ),
        actions=("drop constraint", "add constraint", "validate constraint"),
        works=(("note", "scan"),),
    ),
    Case(
        name="a cycle of two",
        a=note("a = TextField()") + note("note = ForeignKeyField(Note)", name="Mark"),
        b=note("a = TextField()", "mark = DeferredForeignKey('Mark', null=True)")
        + note("note = ForeignKeyField(Note)", name="Mark"),
        actions=(
            "add column",
            "create index concurrently",
            "add constraint",
            "validate constraint",
        ),
        works=(("mark", "scan"), ("note", "build")),
    ),
    Case(
        name="to a unique column",
        b=note("a = TextField(unique=True)")
        + note("note = ForeignKeyField(Note, field='a')", name="Mark"),
        actions=("create table", "create table", "create index", "create index", "add constraint"),
    ),
    Case(
        name="a foreign key goes",
        a=note("a = TextField()") + note("note = ForeignKeyField(Note)", name="Mark"),
        b=note("a = TextField()") + note("note_id = IntegerField(index=True)", name="Mark"),
        actions=("drop constraint",),
        locks=(("mark", "ACCESS EXCLUSIVE", "instant"), ("note", "ACCESS EXCLUSIVE", "instant")),
        checks=(),
    ),
    Case(
        name="of two columns",
        a=note(
            "a = IntegerField()", "b = IntegerField()", meta="constraints = [SQL('UNIQUE (a, b)')]"
        )
        + note("a = IntegerField()", "b = IntegerField()", name="Tag"),
        b=note(
            "a = IntegerField()", "b = IntegerField()", meta="constraints = [SQL('UNIQUE (a, b)')]"
        )
        + note(
            "a = IntegerField()",
            "b = IntegerField()",
            name="Tag",
            meta="constraints = [SQL('FOREIGN KEY (a, b) REFERENCES note (a, b) MATCH FULL')]",
        ),
        actions=("add constraint", "validate constraint"),
        works=(("note", "scan"), ("tag", "scan")),
    ),
    Case(
        name="MATCH FULL and a row that has one of two",
        a=GOAL + note("a = IntegerField(null=True)", "b = IntegerField(null=True)"),
        b=GOAL
        + note(
            "a = IntegerField(null=True)",
            "b = IntegerField(null=True)",
            meta="constraints = [SQL('CONSTRAINT pair FOREIGN KEY (a, b) "
            "REFERENCES goal (x, y) MATCH FULL')]",
        ),
        rows="INSERT INTO goal (x, y) VALUES (1, 2); "
        "INSERT INTO note (a, b) VALUES (1, 2), (NULL, NULL), (1, NULL)",
        actions_unsaid=True,
        refused=("pair", "id=3;"),
        works=(("goal", "scan"), ("note", "scan")),
    ),
    Case(
        name="of a new table to a column that becomes unique",
        a=note("a = IntegerField()"),
        b=note("a = IntegerField()", meta="constraints = [SQL('CONSTRAINT one UNIQUE (a)')]")
        + note("a = IntegerField()", name="Tag", meta=REFERENCE % ""),
        actions=(
            *("create table", "create index concurrently"),
            *("add constraint", "add constraint", "validate constraint"),
        ),
        works=(("note", "build"),),
    ),
    Case(
        name="another action while the column it references gets another type",
        a=note("a = IntegerField(unique=True)")
        + note("a = IntegerField()", name="Tag", meta=REFERENCE % ""),
        b=note("a = BigIntegerField(unique=True)")
        + note("a = IntegerField()", name="Tag", meta=REFERENCE % "ON DELETE CASCADE"),
        actions=("drop constraint", "retype column", "add constraint", "validate constraint"),
        works=(("note", "rewrite"), ("note", "scan"), ("tag", "scan")),
    ),
    Case(
        name="a key goes that a table of others rests on",
        a=note("a = IntegerField()", meta="constraints = [SQL('CONSTRAINT one UNIQUE (a)')]"),
        b=note("a = IntegerField()"),
        beside="CREATE TABLE theirs (a int CONSTRAINT theirs_a REFERENCES note (a))",
        refused_early=('"theirs_a" of theirs rests on a key of note',),
    ),
)


@pytest.mark.parametrize("case", CASES, ids=attrgetter("name"))
def test_a_foreign_key_becomes_what_the_model_says(server: Server, case: Case) -> None:
    """Validated while others read and write."""
    prove(server, case)
