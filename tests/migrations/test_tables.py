"""Tables as wholes, and their storage parameters."""

from __future__ import annotations

from operator import attrgetter

import pytest
from support.cases import Case, note, prove
from support.server import Server

CASES = (
    Case(
        name="a first table",
        b=note("title = CharField(max_length=80)", "body = TextField(null=True)"),
        actions=("create table",),
    ),
    Case(
        name="two tables that refer to each other",
        b=note("mark = DeferredForeignKey('Mark', null=True)")
        + note("note = ForeignKeyField(Note)", name="Mark"),
        actions=(
            "create table",
            "create table",
            "create index",
            "create index",
            "add constraint",
            "add constraint",
        ),
    ),
    Case(
        name="names that need quotes",
        b=note(
            "order = IntegerField(column_name='Order \"by\"', index=True)",
            meta="table_name = 'select.from'",
        ),
        actions=("create table", "create index"),
    ),
    Case(
        name="names of 63 bytes",
        b=note("a = IntegerField(column_name='é' * 31, unique=True)", meta="table_name = 'ü' * 31"),
        actions=("create table", "create index"),
    ),
    Case(
        name="a storage parameter",
        a=note("a = TextField()"),
        b=note(
            "a = TextField()",
            meta="table_settings = ['WITH (autovacuum_enabled=false, fillfactor=70)']",
        ),
        actions=("set table options",),
        locks=(("note", "SHARE UPDATE EXCLUSIVE", "instant"),),
        checks=(),
    ),
    Case(
        name="a storage parameter less",
        a=note(
            "a = TextField()",
            meta="table_settings = ['WITH (autovacuum_enabled=false, fillfactor=70)']",
        ),
        b=note("a = TextField()", meta="table_settings = ['WITH (fillfactor=80)']"),
        actions=("set table options", "set table options"),
    ),
    Case(
        name="a table without a key",
        b=note("a = TextField()", meta="primary_key = False"),
        actions=("create table",),
    ),
    Case(
        name="a model that left leaves its table",
        a=note("a = TextField()") + note("a = TextField()", name="Other"),
        b=note("a = TextField()"),
        unchanged=True,
    ),
    Case(
        name="storage parameters, in the order they are given in",
        a=note("a = TextField()"),
        b=note(
            "a = TextField()",
            meta="table_settings = ['WITH (fillfactor=60, autovacuum_enabled=false)']",
        ),
        actions=("set table options",),
    ),
    Case(
        name="storage parameters in another order",
        a=note(
            "a = TextField()",
            meta="table_settings = ['WITH (autovacuum_enabled=false, fillfactor=60)']",
        ),
        b=note(
            "a = TextField()",
            meta="table_settings = ['WITH (fillfactor=60, autovacuum_enabled=false)']",
        ),
        unchanged=True,
    ),
    Case(
        name="tables of others",
        given="CREATE TABLE theirs (id int PRIMARY KEY, note text); CREATE VIEW theirs_too "
        "AS SELECT * FROM theirs",
        b=note("a = TextField()"),
        actions=("create table",),
    ),
    Case(
        name="what models do not say stays",
        a=note("a = IntegerField(unique=True, constraints=[Check('a > 0', name='c')])"),
        b=note("a = IntegerField(unique=True, constraints=[Check('a > 0', name='c')])"),
        rows="ALTER TABLE note REPLICA IDENTITY FULL; ALTER TABLE note SET UNLOGGED; "
        "ALTER TABLE note ENABLE ROW LEVEL SECURITY; ALTER TABLE note ALTER a SET STATISTICS 9; "
        "ALTER TABLE note ALTER a SET (n_distinct = 5); COMMENT ON TABLE note IS 'x'; "
        "COMMENT ON COLUMN note.a IS 'x'; COMMENT ON CONSTRAINT c ON note IS 'x'; "
        "COMMENT ON INDEX note_a IS 'x'; COMMENT ON SEQUENCE note_id_seq IS 'x'",
        unchanged=True,
    ),
)


@pytest.mark.parametrize("case", CASES, ids=attrgetter("name"))
def test_a_table_becomes_what_its_model_says(server: Server, case: Case) -> None:
    """And again what it was."""
    prove(server, case)
