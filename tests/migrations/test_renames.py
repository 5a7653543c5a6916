"""Renames, as the models state them."""

from __future__ import annotations

from operator import attrgetter

import pytest
from support.cases import Case, note, prove
from support.server import Server

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
        name="not stated, so nothing is guessed",
        a=note("a = TextField(null=True)"),
        b=note("b = TextField(null=True)"),
        rows="INSERT INTO note (a) VALUES ('x')",
        actions=("add column", "drop column"),
        loses=("note.a",),
        query="SELECT id, b FROM note",
        expected=((1, None),),
    ),
)


@pytest.mark.parametrize("case", CASES, ids=attrgetter("name"))
def test_what_is_renamed_keeps_its_rows(server: Server, case: Case) -> None:
    """A rename is stated, never guessed."""
    prove(server, case)
