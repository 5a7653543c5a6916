"""Changes that meet: names handed on, values that come and are checked in one go."""

from __future__ import annotations

from operator import attrgetter

import pytest
from support.cases import Case, note, prove
from support.server import Server

TWO = note("x = IntegerField()", meta="table_name = 't'") + note(
    "x = IntegerField()", "w = TextField()", meta="table_name = 'u'", name="Other"
)

PARTED = note(
    "a = IntegerField(null=True)",
    meta="table_settings = ['PARTITION BY LIST (a)']; primary_key = False",
)
APART = PARTED + note(
    "a = IntegerField(null=True)", meta="table_name = 'one'; primary_key = False", name="One"
)
JOINED = PARTED + "OBJECTS = [declare.Partition(Note, 'one', 'FOR VALUES IN (1)')]"

BY_A = "table_settings = ['PARTITION BY LIST (a)']"


def _parted(*fields: str, meta: str = "primary_key = False") -> tuple[str, str]:
    """Return a partitioned table and one beside it, and the one as a partition of the other."""
    parted = note(*fields, meta=f"{BY_A}; {meta}")
    apart = note(*fields, meta=f"table_name = 'one'; {meta}", name="One")
    joined = "OBJECTS = [declare.Partition(Note, 'one', 'FOR VALUES IN (1)')]"
    return parted + apart, parted + joined


REQUIRED = _parted("a = IntegerField()", "b = TextField()")
INDEXED = _parted("a = IntegerField(index=True)")
KEYED = _parted("a = IntegerField(primary_key=True)", meta="legacy_table_names = True")

# Names that begin alike, and are cut where something is put behind them.
LONG = "i" * 62
UNIQUE = "constraints = [SQL('CONSTRAINT %s UNIQUE (a)'), SQL('CONSTRAINT %s UNIQUE (b)')]"
KEYS = "constraints = [SQL('CONSTRAINT %s UNIQUE (a, b)'), SQL('CONSTRAINT %s UNIQUE (b, a)')]"
MOODS = """
M = declare.Enum('mood', (%s))
O = declare.Enum('mood_before', ('x',))
OBJECTS = [M, O]
"""

CASES = (
    Case(
        name="a table with NOT NULL becomes a partition",
        a=REQUIRED[0],
        b=REQUIRED[1],
        rows="INSERT INTO one (a, b) VALUES (1, 'x')",
        actions_unsaid=True,
        query="SELECT a, b FROM note",
        expected=((1, "x"),),
        works=(("one", "scan"),),
    ),
    Case(
        name="a partition with NOT NULL becomes a table",
        a=REQUIRED[1],
        b=REQUIRED[0],
        rows="INSERT INTO note (a, b) VALUES (1, 'x')",
        actions_unsaid=True,
        query="SELECT a, b FROM one",
        expected=((1, "x"),),
    ),
    Case(
        name="a table joins what has an index",
        a=INDEXED[0],
        b=INDEXED[1],
        refused_early=('"one" cannot become a partition of "note"', '"note_a"'),
    ),
    Case(
        name="a partition leaves what has a key",
        a=KEYED[1],
        b=KEYED[0],
        refused_early=('"one" cannot leave "note"', '"note_pkey"'),
    ),
    Case(
        name="a table joins one whose columns are other ones",
        a=note("a = IntegerField()", meta=f"{BY_A}; primary_key = False")
        + note(
            "a = IntegerField(null=True)",
            meta="table_name = 'one'; primary_key = False",
            name="One",
        ),
        b=note("a = IntegerField()", meta=f"{BY_A}; primary_key = False")
        + "OBJECTS = [declare.Partition(Note, 'one', 'FOR VALUES IN (1)')]",
        refused_early=('"one" cannot become a partition of "note"', '"a"'),
    ),
    Case(
        name="an index beside one with the name that it would have meanwhile",
        a=note("a = IntegerField()", "b = IntegerField()")
        + "Note.add_index(SQL('CREATE INDEX ix ON note (a)'))\n"
        + "Note.add_index(SQL('CREATE INDEX ix_new ON note (b)'))",
        b=note("a = IntegerField()", "b = IntegerField()")
        + "Note.add_index(SQL('CREATE INDEX ix ON note (a, b)'))\n"
        + "Note.add_index(SQL('CREATE INDEX ix_new ON note (b)'))",
        actions_unsaid=True,
        works=(("note", "build"),),
    ),
    Case(
        name="a unique constraint beside one with the name that it would have meanwhile",
        a=note("a = IntegerField()", "b = IntegerField()", meta=UNIQUE % ("k", "k_new")),
        b=note("a = IntegerField()", "b = IntegerField()", meta=KEYS % ("k", "k_new")),
        actions_unsaid=True,
        works=(("note", "build"),),
    ),
    Case(
        name="unique constraints whose long names begin alike",
        a=note("a = IntegerField()", "b = IntegerField()", meta=UNIQUE % (LONG + "a", LONG + "b")),
        b=note("a = IntegerField()", "b = IntegerField()", meta=KEYS % (LONG + "a", LONG + "b")),
        actions_unsaid=True,
        works=(("note", "build"),),
    ),
    Case(
        name="an enumerated type beside one with the name that it would have meanwhile",
        a=MOODS % "'a', 'b', 'c'" + note("m = M.field()"),
        b=MOODS % "'a', 'b'" + note("m = M.field()"),
        actions_unsaid=True,
        works=(("note", "rewrite"),),
    ),
    Case(
        name="a table becomes a partition",
        a=APART,
        b=JOINED,
        rows="INSERT INTO one (a) VALUES (1)",
        actions_unsaid=True,
        query="SELECT a FROM note",
        expected=((1,),),
        works=(("one", "scan"),),
    ),
    Case(
        name="a partition becomes a table",
        a=JOINED,
        b=APART,
        rows="INSERT INTO note (a) VALUES (1)",
        actions_unsaid=True,
        query="SELECT a FROM one",
        expected=((1,),),
    ),
    Case(
        name="tables hand their names on",
        a=TWO,
        b=note("x = IntegerField()", meta="table_name = 'u'; renamed_from = 't'")
        + note(
            "x = IntegerField()",
            "w = TextField()",
            meta="table_name = 'v'; renamed_from = 'u'",
            name="Other",
        ),
        rows="INSERT INTO t (x) VALUES (1); INSERT INTO u (x, w) VALUES (2, 'kept')",
        actions_unsaid=True,
        query="SELECT u.x, v.w FROM u, v",
        expected=((1, "kept"),),
    ),
    Case(
        name="columns hand their names on",
        a=note("x = IntegerField()", "y = IntegerField()"),
        b=note(
            "y = IntegerField()",
            "z = IntegerField()",
            meta="renames = {'y': 'x', 'z': 'y'}",
        ),
        rows="INSERT INTO note (x, y) VALUES (1, 2)",
        actions_unsaid=True,
        query="SELECT y, z FROM note",
        expected=((1, 2),),
    ),
    Case(
        name="names that only change places",
        a=note("x = IntegerField(null=True)", "y = IntegerField(null=True)"),
        b=note(
            "x = IntegerField(null=True)",
            "y = IntegerField(null=True)",
            meta="renames = {'y': 'x', 'x': 'y'}",
        ),
        refused_early=("only change names", "two migrations"),
    ),
    Case(
        name="names that only change places, beside others",
        a=note("x = IntegerField()", "y = IntegerField()", "v = IntegerField()"),
        b=note(
            "x = IntegerField()",
            "y = IntegerField()",
            "w = IntegerField()",
            meta="renames = {'y': 'x', 'x': 'y', 'w': 'v'}",
        ),
        refused_early=('"x" and "y" only change names', "two migrations"),
    ),
    Case(
        name="a new column that would be unique with one value for all",
        a=note("x = IntegerField()"),
        b=note("x = IntegerField()", "y = IntegerField(default=1, unique=True)"),
        rows="INSERT INTO note (x) VALUES (1), (2)",
        actions_unsaid=True,
        refused=("note_y", "id=1"),
        works=(("note", "build"),),
    ),
    Case(
        name="a new column whose value its check forbids",
        a=note("x = IntegerField()"),
        b=note("x = IntegerField()", "y = IntegerField(default=-1, constraints=[Check('y > 0')])"),
        rows="INSERT INTO note (x) VALUES (1)",
        actions_unsaid=True,
        refused=("note_y_check", "id=1"),
        works=(("note", "scan"),),
    ),
    Case(
        name="texts that are one number",
        a=note("x = TextField()"),
        b=note("x = DecimalField(10, 2, unique=True)"),
        rows="INSERT INTO note (x) VALUES ('1.0'), ('1.00')",
        actions_unsaid=True,
        refused=("note_x", "id=1"),
        works=(("note", "build"),),
        texts=True,
    ),
    Case(
        name="a unique index of some rows",
        a=note("x = IntegerField()"),
        b=note("x = IntegerField()")
        + "Note.add_index(Note.index(Note.x, unique=True, name='one', where=Note.x > 5))",
        rows="INSERT INTO note (x) VALUES (1), (1), (7), (7)",
        actions_unsaid=True,
        works=(("note", "build"),),
        refused=("one", "id=3"),
    ),
    Case(
        name="a default that a function of the models gives",
        a=note("x = IntegerField()"),
        b=note("x = IntegerField()", "y = IntegerField(default=lambda: 7)"),
        rows="INSERT INTO note (x) VALUES (1)",
        actions_unsaid=True,
        query="SELECT y FROM note",
        expected=((7,),),
    ),
    Case(
        name="text becomes its bytes",
        a=note("x = TextField()"),
        b=note("x = BlobField()"),
        rows=r"INSERT INTO note (x) VALUES ('a\b')",
        actions_unsaid=True,
        works=(("note", "scan"),),
        query="SELECT convert_from(x, 'UTF8') FROM note",
        expected=((r"a\b",),),
    ),
    Case(
        name="a column of a partitioned table",
        a=note(
            "a = IntegerField(primary_key=True)", meta="table_settings = ['PARTITION BY RANGE (a)']"
        ),
        b=note(
            "a = IntegerField(primary_key=True)",
            "b = IntegerField(null=True)",
            meta="table_settings = ['PARTITION BY RANGE (a)']",
        ),
        actions=("add column",),
    ),
)


@pytest.mark.parametrize("case", CASES, ids=attrgetter("name"))
def test_changes_that_meet_go_well_or_are_refused(server: Server, case: Case) -> None:
    """Nothing is lost on the way, and what cannot go well is known before it begins."""
    prove(server, case)
