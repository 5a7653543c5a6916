"""Changes of a type by way of a second column, and where that cannot be."""

from __future__ import annotations

from contextlib import closing
from operator import attrgetter

import pytest
from support.cases import SWAPPED, SWAPPED_NULLABLE, Case, note, prove, schema_of
from support.differ import Desk, build, execute
from support.migrations import rows
from support.server import Server

INDEX = "create index concurrently"
SMALL, LARGE = (
    note("a = IntegerField()", "b = TextField()"),
    note("a = BigIntegerField()", "b = TextField()"),
)
BUILD, SCAN = (("note", "build"),), (("note", "scan"),)


def unique(kind: str) -> str:
    """A column with two unique constraints, one of them deferrable, and a comment on each."""
    rules = "['CONSTRAINT one UNIQUE (a, b) INCLUDE (id) WITH (fillfactor = 70)'"
    return note(
        f"a = {kind}(null=True)",
        "b = TextField()",
        meta=f"constraints = [SQL(t) for t in {rules}, 'CONSTRAINT two UNIQUE NULLS NOT DISTINCT "
        "(a) DEFERRABLE INITIALLY DEFERRED']]",
    )


def indexed(kind: str) -> str:
    """A column with indexes that say more than its name."""
    texts = (
        "CREATE INDEX one ON note (b DESC, a DESC NULLS LAST) INCLUDE (id) WHERE b > 'a'",
        'CREATE UNIQUE INDEX "Two, (a)" ON note (b COLLATE "C" text_pattern_ops) INCLUDE (a)',
        "CREATE INDEX three ON note USING brin (a) WITH (pages_per_range = 7)",
        "CREATE INDEX four ON note (lower(b))",
    )
    return note(f"a = {kind}()", "b = TextField()") + "".join(
        f"Note.add_index(SQL({text!r}))\n" for text in texts
    )


def hostile(kind: str) -> str:
    """Names in which everything is that could end a text."""
    return (
        f"class Note(Model):\n    a = {kind}(column_name='Grö\"ße 9%%; \\' -- $$', index=True,"
        " null=True, constraints=[SQL('DEFAULT 7')])\n"
        "    class Meta:\n        table_name = 'No\"te'\n"
    )


def elsewhere(kind: str) -> str:
    """A table of another namespace."""
    fields = (f"a = {kind}(unique=True)", "b = TextField()")
    return 'NAMESPACES = ["Far off"]\n' + note(*fields, meta="schema = 'Far off'")


CASES = (
    Case(
        name="a column that brings TOAST, and an option of that",
        a=note(
            "a = IntegerField()", meta="table_settings = ['WITH (toast.autovacuum_enabled=off)']"
        ),
        b=note("a = TextField()", meta="table_settings = ['WITH (toast.autovacuum_enabled=off)']"),
        rows="INSERT INTO note (a) VALUES (1)",
        actions_unsaid=True,
        works=SCAN,
    ),
    Case(
        name="what a column has",
        a=note("a = IntegerField(constraints=[SQL('DEFAULT 5')], help_text='before')"),
        b=note("a = BigIntegerField(constraints=[SQL('DEFAULT 6')], help_text='after')"),
        beside="ALTER TABLE note ALTER a SET STATISTICS 50, ALTER a SET (n_distinct = 5)",
        rows="INSERT INTO note DEFAULT VALUES",
        actions=SWAPPED,
        works=SCAN,
        locks=(
            ("note", "ACCESS EXCLUSIVE", "instant"),
            ("note", "ROW EXCLUSIVE", "fill"),
            ("note", "SHARE UPDATE EXCLUSIVE", "scan"),
        ),
        after="INSERT INTO note DEFAULT VALUES",
        query="SELECT a FROM note ORDER BY id",
        expected=((5,), (6,)),
    ),
    Case(
        name="unique constraints",
        a=unique("IntegerField"),
        b=unique("BigIntegerField"),
        beside="COMMENT ON CONSTRAINT two ON note IS 'it''s'",
        rows="INSERT INTO note (a, b) VALUES (1, 'x'), (NULL, 'x')",
        actions=(*SWAPPED_NULLABLE, INDEX, INDEX),
        works=BUILD,
    ),
    Case(
        name="indexes that say more than columns",
        a=indexed("IntegerField"),
        b=indexed("BigIntegerField"),
        beside="COMMENT ON INDEX one IS 'it''s'",
        rows="INSERT INTO note (a, b) VALUES (1, 'x')",
        actions=(*SWAPPED, INDEX, INDEX, INDEX),
        works=BUILD,
    ),
    Case(
        name="checks",
        a=note(
            "a = IntegerField(null=True, constraints=[Check('a > 0')])",
            "b = IntegerField()",
            meta="constraints = [SQL('CONSTRAINT c CHECK (a < b OR b = 0)')]",
        ),
        b=note(
            "a = BigIntegerField(null=True, constraints=[Check('a > 0')])",
            "b = IntegerField()",
            meta="constraints = [SQL('CONSTRAINT c CHECK (a < b OR b = 0)')]",
        ),
        beside="COMMENT ON CONSTRAINT c ON note IS 'it''s'",
        rows="INSERT INTO note (a, b) VALUES (1, 2), (7, 0)",
        actions=(*SWAPPED_NULLABLE, "validate constraint", "validate constraint"),
        works=SCAN,
    ),
    Case(
        name="two columns in one index",
        a=note("a = IntegerField()", "b = TextField()", meta="indexes = ((('a', 'b'), True),)"),
        b=note(
            "a = BigIntegerField()",
            "b = CharField(max_length=9, null=True)",
            meta="indexes = ((('a', 'b'), True),)",
        ),
        rows="INSERT INTO note (a, b) VALUES (1, 'x'), (1, 'y')",
        actions=(*SWAPPED, "add column", "fill column", INDEX),
        works=BUILD,
        query="SELECT a, b FROM note ORDER BY id",
        expected=((1, "x"), (1, "y")),
    ),
    Case(
        name="an index that comes, and one that goes",
        a=note("a = IntegerField()", "b = TextField()")
        + "Note.add_index(SQL('CREATE INDEX old ON note (b, a)'))",
        b=note("a = BigIntegerField()", "b = TextField()")
        + "Note.add_index(SQL('CREATE INDEX new ON note (a, b)'))",
        actions=(*SWAPPED, "drop index concurrently", INDEX),
        works=BUILD,
    ),
    Case(
        name="NOT NULL comes with the type",
        a=note("a = IntegerField(null=True)"),
        b=note("a = BigIntegerField()"),
        rows="INSERT INTO note (a) VALUES (1)",
        actions=SWAPPED,
        works=SCAN,
    ),
    Case(
        name="NOT NULL comes with the type and a row is in the way",
        a=note("a = IntegerField(null=True)"),
        b=note("a = BigIntegerField()"),
        rows="INSERT INTO note (a) VALUES (1), (NULL)",
        actions=SWAPPED,
        works=SCAN,
        refused=("id=2",),
    ),
    Case(
        name="names that hold everything",
        a=hostile("IntegerField"),
        b=hostile("TextField"),
        rows='INSERT INTO "No""te" DEFAULT VALUES',
        actions=(*SWAPPED_NULLABLE, INDEX),
        works=(('"No""te"', "build"),),
        query='SELECT * FROM "No""te"',
        expected=((1, "7"),),
    ),
    Case(
        name="another namespace",
        a=elsewhere("IntegerField"),
        b=elsewhere("BigIntegerField"),
        rows="""INSERT INTO "Far off".note (a, b) VALUES (1, 'x')""",
        actions=(*SWAPPED, INDEX),
        works=(('"Far off".note', "build"),),
    ),
    Case(
        name="a collation under an index",
        a=note("a = TextField(index=True)"),
        b=note("a = TextField(index=True, collation='\"C\"')"),
        rows="INSERT INTO note (a) VALUES ('x')",
        actions=(*SWAPPED, INDEX),
        works=BUILD,
    ),
    Case(
        name="one way writes rows and the other does not",
        a=note("a = CharField(max_length=9)"),
        b=note("a = CharField(max_length=5)"),
        rows="INSERT INTO note (a) VALUES ('x')",
        actions=SWAPPED,
        works=SCAN,
    ),
    Case(
        name="a column that is renamed, too",
        a=note("a = IntegerField(index=True)"),
        b=note("b = BigIntegerField(index=True)", meta="renames = {'b': 'a'}"),
        rows="INSERT INTO note (a) VALUES (1)",
        actions_unsaid=True,
        works=BUILD,
        query="SELECT b FROM note",
        expected=((1,),),
    ),
)


def stays(
    name: str,
    beside: str = "",
    *more: str,
    a: str = SMALL,
    b: str = LARGE,
    rows: str = "",
) -> Case:
    """A case of a column that is changed where it is."""
    return Case(
        name=name,
        a=a,
        b=b,
        rows=rows,
        beside=beside,
        actions=("retype column", *more),
        works=(("note", "rewrite"),),
    )


def on(kind: str, text: str) -> str:
    """A table with an index that is written out."""
    return note(f"a = {kind}()", "b = TextField()") + f"Note.add_index(SQL({text!r}))"


EXPRESSION = "CREATE INDEX i ON note ((a + 1))"
SOME = "CREATE INDEX i ON note (b) WHERE a IS NOT NULL"
POLICY = "OBJECTS = [declare.RowSecurity(Note), declare.Policy(Note, 'mine', using='a > 0')]\n"
STAYS = (
    stays(
        "no primary key",
        a=note("a = IntegerField()", meta="primary_key = False"),
        b=note("a = BigIntegerField()", meta="primary_key = False"),
    ),
    stays(
        "an index of an expression",
        a=on("IntegerField", EXPRESSION),
        b=on("BigIntegerField", EXPRESSION),
    ),
    stays("an index of some rows", a=on("IntegerField", SOME), b=on("BigIntegerField", SOME)),
    stays("a publication of all tables", "CREATE PUBLICATION news FOR ALL TABLES"),
    stays("statistics of columns", "CREATE STATISTICS s ON b, id FROM note"),
    stays("replica identity", "ALTER TABLE note REPLICA IDENTITY FULL"),
    stays("an index the rows are in the order of", "CLUSTER note USING note_pkey"),
    stays(
        "a trigger of somebody's",
        "CREATE TRIGGER t BEFORE UPDATE ON note FOR EACH ROW "
        "EXECUTE FUNCTION suppress_redundant_updates_trigger()",
    ),
    stays("a right to one column", "GRANT SELECT (a) ON note TO PUBLIC", "grant"),
    stays(
        "a function of its rows", "CREATE FUNCTION f(note) RETURNS int LANGUAGE sql AS 'SELECT 1'"
    ),
    stays(
        "a policy that reads it",
        "",
        "drop policy",
        "create policy",
        a=SMALL + POLICY,
        b=LARGE + POLICY,
    ),
    Case(
        name="an index that becomes a constraint",
        a=on("IntegerField", "CREATE UNIQUE INDEX one ON note (a)"),
        b=note(
            "a = BigIntegerField()",
            "b = TextField()",
            meta="constraints = [SQL('CONSTRAINT one UNIQUE (a)')]",
        ),
        actions_unsaid=True,
        works=(("note", "build"), ("note", "rewrite")),
    ),
    # It goes: no model has it.
    stays("a sequence that it owns", "", "drop sequence", rows="CREATE SEQUENCE s OWNED BY note.a"),
    stays("row security for its owner, too", "ALTER TABLE note FORCE ROW LEVEL SECURITY"),
    Case(
        name="another primary key",
        a=note("k = TextField(primary_key=True)", "m = TextField()", "a = IntegerField()"),
        b=note("k = TextField()", "m = TextField(primary_key=True)", "a = BigIntegerField()"),
        actions=("retype column", INDEX, "drop constraint", "add constraint"),
        works=(("note", "build"), ("note", "rewrite")),
    ),
)


@pytest.mark.parametrize("case", CASES, ids=attrgetter("name"))
def test_a_column_is_swapped_with_all_it_has(case: Case, server: Server) -> None:
    """The plan, the hazards, that it applies, what pg_dump says, and nothing to do then."""
    prove(server, case)


@pytest.mark.parametrize("case", STAYS, ids=attrgetter("name"))
def test_what_hangs_on_a_column_keeps_it_in_its_place(case: Case, server: Server) -> None:
    """One ALTER TABLE as ever, and the head says that it writes every row."""
    prove(server, case)


def test_a_table_that_others_inherit_from_keeps_its_column(server: Server) -> None:
    """Their rows would see no trigger."""
    with closing(Desk(server)) as desk:
        target = desk.database()
        build(desk, target, schema_of(SMALL))
        execute(target, "CREATE TABLE more () INHERITS (note); INSERT INTO more VALUES (1, 2, '')")
        assert 0 == desk.generate(target, schema_of(LARGE)).code
        assert {("note", "rewrite")} == desk.heads().works
        assert 0 == desk.up(target).code
        assert [(2, "bigint")] == rows(target, "SELECT a, pg_typeof(a)::text FROM more")
