"""Partitioned tables."""

from __future__ import annotations

from operator import attrgetter

import pytest
from support.cases import Case, note, prove
from support.server import Server

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
