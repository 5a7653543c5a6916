"""Two designs, one to become the other, drawn by Hypothesis."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, replace

from hypothesis import assume
from hypothesis import strategies as st

from foundry.fixtures.besides import (
    EnumDesign,
    FunctionDesign,
    GrantDesign,
    PartitionDesign,
    ViewDesign,
)
from foundry.fixtures.designs import Brief, Design, TableDesign
from foundry.fixtures.edits import edits
from foundry.fixtures.renames import objects_moved, objects_renamed
from foundry.fixtures.schemas import schemas
from foundry.fixtures.settling import settled

# Taken out of a Schema these stay in the database.
_STAYING = (EnumDesign, FunctionDesign, ViewDesign, PartitionDesign)


@dataclass(frozen=True, slots=True, kw_only=True)
class Pair:
    """Two schemas, to be printed with a failing example."""

    a: Design
    b: Design


@st.composite
def far(draw: st.DrawFn, *, vector: bool = False, objects: Collection[str] = ()) -> Pair:
    """Two schemas that have nothing to do with each other but their words."""
    made = schemas(vector=vector, objects=objects)
    return with_left(draw(made), draw(made))


@st.composite
def near(draw: st.DrawFn, *, vector: bool = False, objects: Collection[str] = ()) -> Pair:
    """A schema and one that was made from it by a few changes."""
    a = draw(schemas(vector=vector, objects=objects))
    pair = with_left(a, draw(edits(a, max_edits=6, vector=vector, objects=objects)))
    assume(pair.a != pair.b)
    return pair


def with_left(a: Design, b: Design) -> Pair:
    """Give B what it has not of A and nothing would take away."""
    others = tuple(t for t in b.tables if not _split_otherwise(a, t))
    taken = {t.place for t in others}
    taken |= {(t.namespace, t.renamed_from) for t in others}
    left = tuple(table for table in a.tables if table.place not in taken)
    swapped = {t.place for t in left}
    objects = tuple(
        o for o in b.objects if not (isinstance(o, PartitionDesign) and o.table in swapped)
    )
    whole = replace(b, tables=(*others, *left), objects=objects)
    whole = settled(replace(whole, objects=(*whole.objects, *_left(a, whole))))
    return Pair(a=a, b=_with_views(a, whole))


def _with_views(a: Design, b: Design) -> Design:
    """Let views of which no column is left read another one: as they are they cannot stay."""
    known = {v.name for v in b.kind(ViewDesign)}
    table = b.tables[0]
    made = [
        ViewDesign(table.place, view.name, (table.columns[0].name,))
        for view in a.kind(ViewDesign)
        if view.name not in known
    ]
    return replace(b, objects=(*b.objects, *made))


def _split_otherwise(a: Design, now: TableDesign) -> bool:
    """Whether a table would become partitioned, or by another key: PostgreSQL cannot do that."""
    then = a.table(now.namespace, now.renamed_from or now.name)
    return then is not None and _split(then, {}) != _split(now, dict(now.renames))


def _split(table: TableDesign, renames: dict[str, str]) -> tuple[str, ...]:
    if table.partitioned is None:
        return ()
    columns = table.partitioned.columns
    return (table.partitioned.template, *(renames.get(name, name) for name in columns))


def _left(a: Design, b: Design) -> tuple[Brief, ...]:
    """Return the objects that are there afterwards too, by the names they have then.

    Of a role that no grant names any more nothing is taken away.
    """
    known = {(type(o), o.name) for o in b.objects if isinstance(o, _STAYING)}
    roles = {g.to for g in b.kind(GrantDesign)}
    objects = a.objects
    for now in b.tables:
        objects = objects_moved(objects, (now.namespace, now.renamed_from or now.name), now.place)
        for new, old in now.renames:
            objects = objects_renamed(objects, now.place, old, new)
    return tuple(
        one
        for one in objects
        if (isinstance(one, _STAYING) and (type(one), one.name) not in known)
        or (isinstance(one, GrantDesign) and one.to not in roles)
    )
