"""Partitioned tables."""

from __future__ import annotations

from operator import attrgetter

import pytest
from support.cases import Case, note, prove
from support.server import Server

SPLIT = note(
    "a = IntegerField(primary_key=True)", meta="table_settings = ['PARTITION BY RANGE (a)']"
)
ONE = "ONE = declare.Partition(Note, 'note_1', 'FOR VALUES FROM (1) TO (10)')\n"
TWO = "declare.Partition(Note, 'note_2', 'FOR VALUES FROM (10) TO (20)')"
REST = "declare.Partition(Note, 'note_x', 'DEFAULT')"
OTHER = """
class Log(Model):
    c = IntegerField(primary_key=True)

    class Meta:
        table_settings = ['PARTITION BY RANGE (c)']

OTHERS = declare.Partition(Log, 'log_x', 'DEFAULT')
"""
CASES = (
    Case(
        name="a partitioned table and its partitions",
        b=note(
            "a = IntegerField(primary_key=True)", meta="table_settings = ['PARTITION BY RANGE (a)']"
        )
        + "OBJECTS = [declare.Partition(Note, 'note_1', 'FOR VALUES FROM (1) TO (10)'), "
        "declare.Partition(Note, 'note_x', 'DEFAULT')]",
        actions=("create table", "create table", "create table"),
    ),
    Case(
        name="a partition more",
        a=note(
            "a = IntegerField(primary_key=True)", meta="table_settings = ['PARTITION BY RANGE (a)']"
        )
        + "OBJECTS = [declare.Partition(Note, 'note_1', 'FOR VALUES FROM (1) TO (10)')]",
        b=note(
            "a = IntegerField(primary_key=True)", meta="table_settings = ['PARTITION BY RANGE (a)']"
        )
        + "OBJECTS = [declare.Partition(Note, 'note_1', 'FOR VALUES FROM (1) TO (10)'), "
        "declare.Partition(Note, 'note_2', 'FOR VALUES FROM (10) TO (20)')]",
        beside="CREATE TABLE theirs PARTITION OF note FOR VALUES FROM (90) TO (99) PARTITION BY "
        "LIST (a); CREATE TABLE one_of_theirs PARTITION OF theirs FOR VALUES IN (90)",
        rows="INSERT INTO note VALUES (1)",
        actions=("create table",),
        locks=(("note", "ACCESS EXCLUSIVE", "instant"),),
        checks=(),
    ),
    Case(
        name="a partition more, beside a default one",
        a=SPLIT + OTHER + ONE + f"OBJECTS = [ONE, {REST}, OTHERS]",
        b=SPLIT + OTHER + ONE + f"OBJECTS = [ONE, {REST}, {TWO}, OTHERS]",
        rows="INSERT INTO note VALUES (1), (25); INSERT INTO log VALUES (12)",
        actions=("create table",),
        works=(("note", "scan"), ("note_x", "scan")),
        checks=("note_2",),
    ),
    Case(
        name="a partition more, whose rows are in the default one",
        a=SPLIT + ONE + f"OBJECTS = [ONE, {REST}]",
        b=SPLIT + ONE + f"OBJECTS = [ONE, {REST}, {TWO}]",
        rows="INSERT INTO note VALUES (1), (12), (13), (25)",
        actions=("create table",),
        works=(("note", "scan"), ("note_x", "scan")),
        refused=("note_2", "a=12", "a=13"),
    ),
    Case(
        name="a partition of other rows",
        a=SPLIT + ONE + "OBJECTS = [ONE]",
        b=SPLIT + "OBJECTS = [declare.Partition(Note, 'note_1', 'FOR VALUES FROM (1) TO (5)')]",
        rows="INSERT INTO note VALUES (1)",
        actions=("detach partition", "attach partition"),
        works=(("note_1", "scan"),),
    ),
    Case(
        name="a partition of other rows than it has",
        a=SPLIT + ONE + "OBJECTS = [ONE]",
        b=SPLIT + "OBJECTS = [declare.Partition(Note, 'note_1', 'FOR VALUES FROM (1) TO (5)')]",
        rows="INSERT INTO note VALUES (1), (7)",
        actions=("detach partition", "attach partition"),
        works=(("note_1", "scan"),),
        refused=("note_1", "a=7"),
    ),
    Case(
        name="the column they are made by, renamed",
        a=SPLIT + ONE + "OBJECTS = [ONE]",
        b=note(
            "b = IntegerField(primary_key=True)",
            meta="table_settings = ['PARTITION BY RANGE (b)']; renames = {'b': 'a'}",
        )
        + ONE
        + "OBJECTS = [ONE]",
        rows="INSERT INTO note VALUES (1)",
        actions_unsaid=True,
    ),
    Case(
        name="that column renamed, and a partition whose rows are in the default one",
        a=SPLIT + ONE + f"OBJECTS = [ONE, {REST}]",
        b=note(
            "b = IntegerField(primary_key=True)",
            meta="table_settings = ['PARTITION BY RANGE (b)']; renames = {'b': 'a'}",
        )
        + ONE
        + f"OBJECTS = [ONE, {REST}, {TWO}]",
        rows="INSERT INTO note VALUES (1), (12)",
        actions_unsaid=True,
        works=(("note", "scan"), ("note_x", "scan")),
        refused=("note_2", "b=12"),
    ),
    Case(
        name="a column and an index on all of them",
        a=note(
            "a = IntegerField(primary_key=True)", meta="table_settings = ['PARTITION BY RANGE (a)']"
        )
        + "OBJECTS = [declare.Partition(Note, 'note_1', 'FOR VALUES FROM (1) TO (10)')]",
        b=note(
            "a = IntegerField(primary_key=True)",
            "b = TextField(null=True, index=True)",
            meta="table_settings = ['PARTITION BY RANGE (a)']",
        )
        + "OBJECTS = [declare.Partition(Note, 'note_1', 'FOR VALUES FROM (1) TO (10)')]",
        rows="INSERT INTO note VALUES (1)",
        actions=("add column", "create index"),
        works=(("note", "build"),),
        locks=(("note", "ACCESS EXCLUSIVE", "instant"), ("note", "SHARE", "build")),
        checks=(),
    ),
)


@pytest.mark.parametrize("case", CASES, ids=attrgetter("name"))
def test_a_partitioned_table_becomes_what_is_declared(server: Server, case: Case) -> None:
    """With its partitions."""
    prove(server, case)
