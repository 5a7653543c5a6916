"""Primary keys."""

from __future__ import annotations

from operator import attrgetter

import pytest
from support.cases import Case, note, prove
from support.server import Server

CASES = (
    Case(
        name="a composite key",
        b=note(
            "a = IntegerField()", "b = TextField()", meta="primary_key = CompositeKey('a', 'b')"
        ),
        actions=("create table",),
    ),
    Case(
        name="a key for a table without one",
        a=note("a = IntegerField()", meta="primary_key = False"),
        b=note("a = IntegerField(primary_key=True)"),
        rows="INSERT INTO note VALUES (1)",
        actions=("create index concurrently", "add constraint"),
        works=(("note", "build"),),
        locks=(
            ("note", "SHARE UPDATE EXCLUSIVE", "build"),
            ("note", "ACCESS EXCLUSIVE", "instant"),
        ),
        checks=("note_pkey",),
    ),
    Case(
        name="a key that is wider",
        a=note("a = IntegerField()", "b = IntegerField()", meta="primary_key = CompositeKey('a',)"),
        b=note(
            "a = IntegerField()", "b = IntegerField()", meta="primary_key = CompositeKey('a', 'b')"
        ),
        actions=("drop constraint", "create index concurrently", "add constraint"),
        works=(("note", "build"),),
    ),
    Case(
        name="a key with a name",
        a=note(
            "a = IntegerField()",
            meta="primary_key = False; constraints = [SQL('CONSTRAINT one PRIMARY KEY (a)')]",
        ),
        b=note(
            "a = IntegerField()",
            meta="primary_key = False; constraints = [SQL('CONSTRAINT two PRIMARY KEY (a)')]",
        ),
        actions=("rename constraint",),
    ),
    Case(
        name="another key beside a reference to the first one that goes",
        a=note("up = ForeignKeyField('self', null=True)"),
        b=note(
            "a = IntegerField(default=1)",
            "b = IntegerField(default=2)",
            meta="primary_key = CompositeKey('a', 'b')",
        ),
        loses=("note.id", "note.up_id"),
        actions_unsaid=True,
        works=(("note", "build"),),
    ),
    Case(
        name="a key goes and its column may be null",
        a=note("a = IntegerField(primary_key=True)"),
        b=note("a = IntegerField(null=True)", meta="primary_key = False"),
        actions=("drop constraint", "drop not null"),
    ),
)


@pytest.mark.parametrize("case", CASES, ids=attrgetter("name"))
def test_a_key_becomes_what_the_model_says(server: Server, case: Case) -> None:
    """Without a time in which nobody can read."""
    prove(server, case)
