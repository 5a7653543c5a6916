"""Views and materialised views."""

from __future__ import annotations

from operator import attrgetter

import pytest
from support.cases import Case, note, prove
from support.server import Server

CASES = (
    Case(
        name="a view",
        a=note("a = TextField()") + "OBJECTS = []",
        b=note("a = TextField()")
        + "OBJECTS = [declare.View(name='titles', create='CREATE VIEW titles AS SELECT "
        "id, a FROM note')]",
        actions=("create view",),
    ),
    Case(
        name="a column more at its end",
        a=note("a = TextField()")
        + "OBJECTS = [declare.View(name='titles', create='CREATE VIEW titles AS SELECT "
        "id FROM note')]",
        b=note("a = TextField()")
        + "OBJECTS = [declare.View(name='titles', create='CREATE VIEW titles AS SELECT "
        "id, a FROM note')]",
        actions=("replace view",),
    ),
    Case(
        name="a column less",
        a=note("a = TextField()")
        + "OBJECTS = [declare.View(name='titles', create='CREATE VIEW titles AS SELECT "
        "id, a FROM note')]",
        b=note("a = TextField()")
        + "OBJECTS = [declare.View(name='titles', create='CREATE VIEW titles AS SELECT "
        "id FROM note')]",
        actions=("drop view", "create view"),
    ),
    Case(
        name="a view of a column that gets another type, and a view of that view",
        a=note("a = IntegerField()")
        + "OBJECTS = [declare.View(name='one', create='CREATE VIEW one AS SELECT a FROM "
        "note'), declare.View(name='two', create='CREATE VIEW two AS SELECT a FROM "
        "one')]",
        b=note("a = BigIntegerField()")
        + "OBJECTS = [declare.View(name='one', create='CREATE VIEW one AS SELECT a FROM "
        "note'), declare.View(name='two', create='CREATE VIEW two AS SELECT a FROM "
        "one')]",
        rows="INSERT INTO note (a) VALUES (1)",
        actions=("drop view", "drop view", "retype column", "create view", "create view"),
        works=(("note", "rewrite"),),
    ),
    Case(
        name="views that read each other the other way round",
        a=note("a = IntegerField()")
        + "OBJECTS = [declare.View(name='two', create='CREATE VIEW two AS SELECT a, id FROM "
        "note'), declare.View(name='one', create='CREATE VIEW one AS SELECT a, id FROM two')]",
        b=note("a = IntegerField()")
        + "OBJECTS = [declare.View(name='one', create='CREATE VIEW one AS SELECT a FROM "
        "note'), declare.View(name='two', create='CREATE VIEW two AS SELECT a FROM one')]",
        actions=("drop view", "drop view", "create view", "create view"),
    ),
    Case(
        name="a view of a view that both read another one now",
        a=note("a = IntegerField()")
        + "OBJECTS = [declare.View(name='b', create='CREATE VIEW b AS SELECT a, id FROM note'), "
        "declare.View(name='a', create='CREATE VIEW a AS SELECT a, id FROM b'), "
        "declare.View(name='c', create='CREATE VIEW c AS SELECT a, id FROM note')]",
        b=note("a = IntegerField()")
        + "OBJECTS = [declare.View(name='c', create='CREATE VIEW c AS SELECT a FROM note'), "
        "declare.View(name='a', create='CREATE VIEW a AS SELECT a FROM c'), "
        "declare.View(name='b', create='CREATE VIEW b AS SELECT a FROM c')]",
        actions=("drop view",) * 3 + ("create view",) * 3,
    ),
    Case(
        name="a materialised view",
        a=note("a = IntegerField()") + "OBJECTS = []",
        b=note("a = IntegerField()")
        + "OBJECTS = [declare.MaterializedView('sums', 'SELECT sum(a) AS s FROM note')]",
        rows="INSERT INTO note (a) VALUES (41)",
        actions=("create view",),
        query="SELECT s FROM sums",
        expected=((41,),),
    ),
    Case(
        name="an index of a materialised view that nobody declares",
        a=note("a = IntegerField()")
        + "OBJECTS = [declare.MaterializedView('sums', 'SELECT a FROM note')]",
        b=note("a = IntegerField()")
        + "OBJECTS = [declare.MaterializedView('sums', 'SELECT a FROM note')]",
        rows="CREATE INDEX sums_a ON sums (a)",
        actions=("drop index",),
    ),
)


@pytest.mark.parametrize("case", CASES, ids=attrgetter("name"))
def test_a_view_becomes_what_is_declared(server: Server, case: Case) -> None:
    """And what rests on a changed table is made anew."""
    prove(server, case)
