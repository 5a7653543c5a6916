"""Indexes, by all the ways Peewee has for them."""

from __future__ import annotations

from operator import attrgetter

import pytest
from support.cases import Case, note, prove
from support.server import Server

CASES = (
    Case(
        name="of a field",
        a=note("a = TextField()"),
        b=note("a = TextField(index=True)"),
        actions=("create index concurrently",),
        works=(("note", "build"),),
    ),
    Case(
        name="of a new table",
        b=note("a = TextField(index=True)"),
        actions=("create table", "create index"),
    ),
    Case(
        name="by Meta.indexes",
        a=note("a = TextField()", "b = IntegerField()"),
        b=note("a = TextField()", "b = IntegerField()", meta="indexes = ((('a', 'b'), True),)"),
        actions=("create index concurrently",),
        works=(("note", "build"),),
        locks=(("note", "SHARE UPDATE EXCLUSIVE", "build"),),
        checks=("note_a_b",),
    ),
    Case(
        name="partial, descending, with an expression",
        a=note("a = TextField()", "b = IntegerField()"),
        b=note("a = TextField()", "b = IntegerField()")
        + "Note.add_index(Note.index(fn.LOWER(Note.a), Note.b.desc(nulls='LAST'), "
        "name='by both', where=Note.b > 3))",
        actions=("create index concurrently",),
        works=(("note", "build"),),
    ),
    Case(
        name="by SQL, with all there is",
        a=note("a = TextField()", "b = IntegerField()"),
        b=note("a = TextField()", "b = IntegerField()")
        + "Note.add_index(SQL('CREATE UNIQUE INDEX one ON note (a text_pattern_ops DESC, "
        "(b %% 7)) INCLUDE (id) NULLS NOT DISTINCT WITH (fillfactor=80) WHERE b <> 1'))",
        actions=("create index concurrently",),
        works=(("note", "build"),),
    ),
    Case(
        name="gin of jsonb",
        a=note("a = BinaryJSONField(index=False)"),
        b=note("a = BinaryJSONField()"),
        actions=("create index concurrently",),
        works=(("note", "build"),),
    ),
    Case(
        name="another method",
        a=note("a = IntegerField(index=True)"),
        b=note("a = IntegerField(index=True, index_type='BRIN')"),
        actions=("create index concurrently", "drop index concurrently", "rename index"),
        works=(("note", "build"),),
    ),
    Case(
        name="options",
        a=note("a = IntegerField()")
        + "Note.add_index(SQL('CREATE INDEX one ON note (a) WITH (fillfactor=80)'))",
        b=note("a = IntegerField()")
        + "Note.add_index(SQL('CREATE INDEX one ON note (a) WITH (fillfactor=90)'))",
        actions=("create index concurrently", "drop index concurrently", "rename index"),
        works=(("note", "build"),),
    ),
    Case(
        name="another name",
        a=note("a = IntegerField()") + "Note.add_index(Note.index(Note.a, name='one'))",
        b=note("a = IntegerField()") + "Note.add_index(Note.index(Note.a, name='two'))",
        actions=("rename index",),
    ),
    Case(
        name="one less",
        a=note("a = IntegerField(index=True)"),
        b=note("a = IntegerField()"),
        actions=("drop index concurrently",),
        locks=(("note", "SHARE UPDATE EXCLUSIVE", "instant"),),
        checks=(),
    ),
    Case(
        name="names that change places",
        a=note("a = IntegerField()", "b = IntegerField()")
        + "Note.add_index(SQL('CREATE INDEX x ON note (a)'))\n"
        + "Note.add_index(SQL('CREATE INDEX y ON note (b)'))",
        b=note("a = IntegerField()", "b = IntegerField()")
        + "Note.add_index(SQL('CREATE INDEX y ON note (a)'))\n"
        + "Note.add_index(SQL('CREATE INDEX x ON note (b)'))",
        actions=(
            *("create index concurrently", "drop index concurrently", "rename index"),
            *("create index concurrently", "drop index concurrently", "rename index"),
        ),
        works=(("note", "build"),),
    ),
)


@pytest.mark.parametrize("case", CASES, ids=attrgetter("name"))
def test_an_index_becomes_what_the_model_says(server: Server, case: Case) -> None:
    """Built while others read and write."""
    prove(server, case)
