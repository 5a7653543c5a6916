"""Columns and indexes of pgvector."""

from __future__ import annotations

from operator import attrgetter

import pytest
from support.cases import SWAPPED_NULLABLE, Case, note, prove
from support.server import Server

CASES = (
    Case(
        name="a column of vectors",
        needs="vector",
        given="CREATE EXTENSION vector",
        a=note("a = TextField()"),
        b=note("a = TextField()", "v = VectorField(dimensions=3, null=True)"),
        actions=("create extension", "add column"),
    ),
    Case(
        name="other dimensions while no vector is stored",
        needs="vector",
        given="CREATE EXTENSION vector",
        a=note("v = VectorField(dimensions=3, null=True)"),
        b=note("v = VectorField(dimensions=4, null=True)"),
        rows="INSERT INTO note (v) VALUES (NULL)",
        actions=SWAPPED_NULLABLE,
    ),
    Case(
        name="other dimensions where vectors are stored",
        needs="vector",
        given="CREATE EXTENSION vector",
        a=note("v = VectorField(dimensions=3, null=True)"),
        b=note("v = VectorField(dimensions=4, null=True)"),
        rows="INSERT INTO note (v) VALUES ('[1,2,3]')",
        actions=SWAPPED_NULLABLE,
        refused=("1",),
    ),
    Case(
        name="an hnsw index with its options",
        needs="vector",
        given="CREATE EXTENSION vector",
        a=note("v = VectorField(dimensions=3)"),
        b=note("v = VectorField(dimensions=3)")
        + "OBJECTS = [declare.Index(Note, declare.Opclass(Note.v, 'vector_cosine_ops'), "
        "name='near', using='hnsw', options={'m': 8})]",
        rows="INSERT INTO note (v) VALUES ('[1,2,3]')",
        actions=("create index concurrently",),
        works=(("note", "build"),),
    ),
    Case(
        name="a tuned option is left alone",
        needs="vector",
        given="CREATE EXTENSION vector",
        a=note("v = VectorField(dimensions=3)")
        + "OBJECTS = [declare.Index(Note, declare.Opclass(Note.v, 'vector_cosine_ops'), "
        "name='near', using='ivfflat', options={'lists': 7})]",
        b=note("v = VectorField(dimensions=3)")
        + "OBJECTS = [declare.Index(Note, declare.Opclass(Note.v, 'vector_cosine_ops'), "
        "name='near', using='ivfflat', options={'lists': declare.tuned(1)})]",
        unchanged=True,
    ),
    Case(
        name="a table with an optional column, and the extension stays on the way back",
        needs="vector",
        given="CREATE EXTENSION vector",
        rows="DROP EXTENSION vector",
        b=note(
            "a = TextField()",
            "v = declare.optional(VectorField(dimensions=3, null=True), needs='extension:vector')",
        ),
        actions=("create table", "create extension", "add column"),
        back=False,
    ),
)


@pytest.mark.parametrize("case", CASES, ids=attrgetter("name"))
def test_vectors_are_seen(server: Server, case: Case) -> None:
    """Where the extension is."""
    prove(server, case)
