"""Unique constraints, as against unique indexes."""

from __future__ import annotations

from contextlib import closing
from operator import attrgetter

import pytest
from support.cases import Case, note, prove, schema_of
from support.differ import Desk, build
from support.server import Server

CASES = (
    Case(
        name="a constraint",
        a=note("a = IntegerField()", "b = IntegerField()"),
        b=note(
            "a = IntegerField()",
            "b = IntegerField()",
            meta="constraints = [SQL('CONSTRAINT one UNIQUE (a, b)')]",
        ),
        rows="INSERT INTO note (a, b) VALUES (1, 1), (1, 2)",
        actions=("create index concurrently", "add constraint"),
        works=(("note", "build"),),
    ),
    Case(
        name="a constraint, and rows are in the way",
        a=note("a = IntegerField()"),
        b=note("a = IntegerField()", meta="constraints = [SQL('CONSTRAINT one UNIQUE (a)')]"),
        rows="INSERT INTO note (a) VALUES (77), (77)",
        actions=("create index concurrently", "add constraint"),
        works=(("note", "build"),),
        refused=("one",),
    ),
    Case(
        name="nulls are not distinct, and it is checked at the end",
        a=note(
            "a = IntegerField(null=True)", meta="constraints = [SQL('CONSTRAINT one UNIQUE (a)')]"
        ),
        b=note(
            "a = IntegerField(null=True)",
            meta="constraints = [SQL('CONSTRAINT one UNIQUE NULLS NOT DISTINCT (a) "
            "DEFERRABLE INITIALLY DEFERRED')]",
        ),
        actions=("drop constraint", "create index concurrently", "add constraint"),
        works=(("note", "build"),),
    ),
    Case(
        name="a unique field is an index",
        a=note("a = IntegerField()"),
        b=note("a = IntegerField(unique=True)"),
        actions=("create index concurrently",),
        works=(("note", "build"),),
    ),
    Case(
        name="a unique field, and rows are in the way",
        a=note("a = IntegerField()"),
        b=note("a = IntegerField(unique=True)"),
        rows="INSERT INTO note (a) VALUES (77), (77)",
        actions=("create index concurrently",),
        works=(("note", "build"),),
        refused=("note_a",),
    ),
    Case(
        name="an expression, and rows are in the way",
        a=note("a = TextField(null=True)"),
        b=note("a = TextField(null=True)") + "Note.add_index(SQL('CREATE UNIQUE INDEX one ON note "
        '((lower(a) || 1) COLLATE "C" text_pattern_ops DESC, (id %% 2)) WHERE id > 1\'))',
        rows="INSERT INTO note (id, a) VALUES (1, 'e'), (2, 'a'), (3, 'e'), (5, 'E'), (4, 'b')",
        actions=("create index concurrently",),
        works=(("note", "build"),),
        refused=("one", "id=3", "id=5"),
    ),
    Case(
        name="an expression over what becomes another type, and rows are in the way",
        a=note("a = TextField()"),
        b=note("a = IntegerField()")
        + "Note.add_index(SQL('CREATE UNIQUE INDEX one ON note ((a + 1))'))",
        rows="INSERT INTO note (id, a) VALUES (1, '7'), (2, ' 7')",
        actions=("retype column", "create index concurrently"),
        works=(("note", "rewrite"), ("note", "build")),
        refused=("one", "id=1", "id=2"),
    ),
    Case(
        name="an expression of a function that is not there yet",
        a=note("a = IntegerField()"),
        b=note("a = IntegerField(constraints=[SQL('CONSTRAINT c CHECK (twice(a) > 0)')])")
        + "Note.add_index(SQL('CREATE UNIQUE INDEX one ON note (twice(a))'))\n"
        "OBJECTS = [declare.Function(name='twice', create='CREATE FUNCTION twice(n int) "
        "RETURNS int LANGUAGE sql IMMUTABLE RETURN n * 2')]",
        rows="INSERT INTO note (a) VALUES (1), (2)",
        actions_unsaid=True,
        works=(("note", "build"),),
    ),
    Case(
        name="an expression that has no duplicates where it is null",
        a=note("a = TextField(null=True)"),
        b=note("a = TextField(null=True)")
        + "Note.add_index(SQL('CREATE UNIQUE INDEX one ON note (lower(a))'))",
        rows="INSERT INTO note (a) VALUES (NULL), (NULL), ('a')",
        actions=("create index concurrently",),
        works=(("note", "build"),),
    ),
    Case(
        name="what is no duplicate: nulls, and rows that a predicate leaves out",
        a=note("a = IntegerField(null=True)", "b = IntegerField()"),
        b=note(
            "a = IntegerField(null=True)",
            "b = IntegerField()",
            meta="constraints = [SQL('CONSTRAINT one UNIQUE (a)')]",
        )
        + "Note.add_index(Note.index(Note.b, unique=True, name='two', where=Note.b > 5))",
        rows="INSERT INTO note (a, b) VALUES (NULL, 1), (NULL, 1), (1, 6)",
        actions=("create index concurrently", "create index concurrently", "add constraint"),
        works=(("note", "build"),),
    ),
)


@pytest.mark.parametrize("case", CASES, ids=attrgetter("name"))
def test_what_is_unique_is_made_unique_online(server: Server, case: Case) -> None:
    """Rows in the way are named."""
    prove(server, case)


def test_a_constraint_goes_when_the_next_one_is_ready(server: Server) -> None:
    """Its index takes time, and meanwhile rows are still unique."""
    key = "constraints = [SQL('CONSTRAINT one UNIQUE (%s)')]"
    before, after = (
        schema_of(note("a = IntegerField()", "b = IntegerField()", meta=key % columns))
        for columns in ("a", "a, b")
    )
    with closing(Desk(server)) as desk:
        target = desk.database()
        build(desk, target, before)
        expected = ("create index concurrently", "drop constraint", "add constraint")
        assert expected == desk.actions(target, after)
