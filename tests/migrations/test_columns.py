"""Columns: added, dropped, with null and without."""

from __future__ import annotations

from contextlib import closing
from operator import attrgetter

import pytest
from support.cases import Case, note, prove, schema_of
from support.differ import Desk, build, execute
from support.migrations import rows
from support.server import Server

CASES = (
    Case(
        name="a column that may be null",
        a=note("a = TextField()"),
        b=note("a = TextField()", "b = IntegerField(null=True)"),
        rows="INSERT INTO note (a) VALUES ('x')",
        actions=("add column",),
        query="SELECT id, a, b FROM note",
        expected=((1, "x", None),),
    ),
    Case(
        name="a column with a default",
        a=note("a = TextField()"),
        b=note("a = TextField()", "b = IntegerField(constraints=[SQL('DEFAULT 7')])"),
        rows="INSERT INTO note (a) VALUES ('x')",
        actions=("add column",),
        query="SELECT id, a, b FROM note",
        expected=((1, "x", 7),),
    ),
    Case(
        name="a column whose default differs from row to row",
        a=note("a = TextField()"),
        b=note("a = TextField()", "b = UUIDField(constraints=[SQL('DEFAULT gen_random_uuid()')])"),
        rows="INSERT INTO note (a) VALUES ('x'), ('y')",
        actions=("add column", "set default", "fill column", "add not null", "validate constraint"),
        works=(("note", "scan"),),
        since=18,
        query="SELECT count(DISTINCT b) FROM note",
        expected=((2,),),
    ),
    Case(
        name="a column without null that Python has a default for",
        a=note("a = TextField()"),
        b=note("a = TextField()", "b = CharField(default='it\\'s 100% \"x\"\\n')"),
        rows="INSERT INTO note (a) VALUES ('x')",
        actions=("add column", "drop default"),
        query="SELECT id, b FROM note",
        expected=((1, 'it\'s 100% "x"\n'),),
    ),
    Case(
        name="a column that goes",
        a=note("a = TextField()", "b = IntegerField(null=True)"),
        b=note("a = TextField()"),
        rows="INSERT INTO note (a, b) VALUES ('x', 1)",
        actions=("drop column",),
        loses=("note.b",),
        query="SELECT id, a FROM note",
        expected=((1, "x"),),
    ),
    Case(
        name="a column that goes with all that rests on it",
        a=note(
            "a = TextField()",
            "b = IntegerField(index=True, constraints=[Check('b > 0')])",
            meta="indexes = ((('a', 'b'), True),)",
        ),
        b=note("a = TextField()"),
        actions=("drop index", "drop index", "drop constraint", "drop column"),
        loses=("note.b",),
    ),
    Case(
        name="null is no longer allowed",
        a=note("a = TextField(null=True)"),
        b=note("a = TextField()"),
        rows="INSERT INTO note (a) VALUES ('x')",
        actions=("add not null", "validate constraint"),
        works=(("note", "scan"),),
        since=18,
        locks=(("note", "ACCESS EXCLUSIVE", "instant"), ("note", "SHARE UPDATE EXCLUSIVE", "scan")),
        checks=("note.a NOT NULL",),
    ),
    Case(
        name="null is no longer allowed, and is there",
        a=note("a = TextField(null=True)"),
        b=note("a = TextField()"),
        rows="INSERT INTO note (a) VALUES ('secret'), (NULL), (NULL), (NULL), (NULL)",
        actions=("add not null", "validate constraint"),
        works=(("note", "scan"),),
        since=18,
        refused=("a", "2", "3", "4"),
    ),
    Case(
        name="null is allowed",
        a=note("a = TextField()"),
        b=note("a = TextField(null=True)"),
        actions=("drop not null",),
    ),
    Case(
        name="a collation",
        a=note("a = TextField()"),
        b=note("a = TextField(collation='\"C\"')"),
        rows="INSERT INTO note (a) VALUES ('x')",
        actions=("retype column",),
        works=(("note", "build"),),
    ),
    Case(
        name="a column without null that nothing fills, on a table with rows",
        a=note("a = TextField()"),
        b=note("a = TextField()", "b = IntegerField()"),
        rows="INSERT INTO note (a) VALUES ('secret')",
        actions=("add column", "fill column", "add not null", "validate constraint"),
        works=(("note", "scan"),),
        since=18,
        refused=("FILL_NOTE_B", "1"),
        locks=(
            ("note", "ACCESS EXCLUSIVE", "instant"),
            ("note", "ROW EXCLUSIVE", "fill"),
            ("note", "SHARE UPDATE EXCLUSIVE", "scan"),
        ),
        checks=("note.b NOT NULL",),
    ),
    Case(
        name="a column without null that nothing fills, on a table without rows",
        a=note("a = TextField()"),
        b=note("a = TextField()", "b = IntegerField()"),
        actions=("add column", "fill column", "add not null", "validate constraint"),
        works=(("note", "scan"),),
        since=18,
    ),
)


@pytest.mark.parametrize("case", CASES, ids=attrgetter("name"))
def test_a_column_becomes_what_its_field_says(server: Server, case: Case) -> None:
    """Values stay, but for columns that go."""
    prove(server, case)


WATCHED = """
CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE 'not you'; END $$;
CREATE TRIGGER watch BEFORE INSERT OR UPDATE ON note FOR EACH ROW EXECUTE FUNCTION refuse();
"""
UNTOUCHED = """
CREATE TRIGGER off BEFORE UPDATE ON note FOR EACH ROW EXECUTE FUNCTION refuse();
ALTER TABLE note DISABLE TRIGGER off;
CREATE TRIGGER "no UPDATE" BEFORE INSERT ON note FOR EACH ROW EXECUTE FUNCTION refuse();
"""
DEAF = "CREATE RULE deaf AS ON UPDATE TO note DO INSTEAD NOTHING"


def test_one_value_for_all_rows_writes_none_of_them(server: Server) -> None:
    """So it fires no trigger and meets no rule."""
    with closing(Desk(server)) as desk:
        target = desk.database()
        build(desk, target, schema_of(note("a = TextField()")))
        execute(target, "INSERT INTO note (a) VALUES ('x')", WATCHED, DEAF)
        after = schema_of(note("a = TextField()", "b = IntegerField(default=7)"))
        assert "watch" not in desk.generate(target, after).out
        assert 0 == desk.up(target).code
        assert [("x", 7)] == rows(target, "SELECT a, b FROM note")
        assert not desk.differs(target, after)


def test_triggers_that_see_an_update_of_every_row_are_named(server: Server) -> None:
    """Before it is run: what they do then is for the author to decide."""
    with closing(Desk(server)) as desk:
        target = desk.database()
        build(desk, target, schema_of(note("a = TextField()")))
        execute(target, WATCHED, UNTOUCHED)
        generated = desk.generate(target, schema_of(note("a = TextField()", "b = TextField()")))
        assert "fires its triggers (watch)" in generated.out + generated.err, generated


def test_a_type_that_no_value_can_become_is_named(server: Server) -> None:
    """Before it is run, with another way; values that are generated are worked out anew."""
    computed = "b = %s(null=True, constraints=[SQL('GENERATED ALWAYS AS (%s) STORED')])"
    before = note("a = UUIDField(null=True)", computed % ("UUIDField", "a"))
    after = note("a = DateField(null=True)", computed % ("DateField", "a"))
    with closing(Desk(server)) as desk:
        target = desk.database()
        build(desk, target, schema_of(before))
        said = desk.generate(target, schema_of(after)).out
    assert 'no value of "a" (uuid) is one of date' in said
    assert 'no value of "b"' not in said
