"""Which tables a change of the models touches: the others are what the server said before.

What two tables have to do with each other is told by names alone: one that stands in a table's
SQL counts as the other table's. A wrong guess costs time, and no more. Where nothing certain
can be said, everything is built.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, replace

from foundry.created import MaterializedView, Partition, View
from foundry.migrate.objects import (
    Column,
    Constraint,
    Enum,
    Function,
    Index,
    Object,
    Place,
    Policy,
    Sequence,
    Trigger,
)
from foundry.migrate.parts import Names, Owners, Said, escaped, names, relations, said
from foundry.migrate.recorded import Parts, Record
from foundry.migrate.script import Script
from foundry.migrate.snapshot import Snapshot

# Of all tables; for more of them it is not worth it.
_MOST = 0.5
# The end of a name that the server chose when another one was taken.
_NUMBERED = re.compile(r"_(?:key|idx|pkey|excl|seq|fkey|check|not_null)\d+\Z")
# What the record has in the very same words, also of a table that was only begun.
_AS_BEFORE = (Column, Constraint, Index, Sequence, Trigger, Policy)
_OF_NONE = (Enum, Function)


@dataclass(frozen=True, slots=True, kw_only=True)
class Portion:
    """The statements for the tables that a change touches, and what becomes of the answer."""

    script: Script
    merged: Callable[[Snapshot], Snapshot | None]
    """Put an answer into the record; None when it turns out that all has to be built."""


def portion(script: Script, parts: Parts, record: Record) -> Portion | None:
    """Return what has to be built where a record is at hand; None when that is everything."""
    if record.parts.common != parts.common or not record.parts.tables:
        return None
    # What a view is may depend on any table.
    if any(isinstance(o, (View, MaterializedView)) for o in script.objects):
        return None
    change = _Change.of(script, parts, record)
    build = change.touched()
    if build is None:
        return None
    beside = change.beside(build)
    if len(build) + len(beside) > _MOST * len(parts.tables) or change.is_numbered(build):
        return None
    statements = tuple(
        s
        for s in script.statements
        if s.table is None or s.table in build or (s.table in beside and s.shape)
    )
    return Portion(
        script=replace(script, statements=statements),
        merged=lambda answer: change.merged(answer, build),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class _Change:
    """A record, and the models after it."""

    record: Record
    parts: Parts
    owners: Owners
    said: Mapping[Place, Said]
    of_none: Said
    names: Mapping[Place, set[str]]
    """What the relations of a table are called, in the record and in the models."""

    @classmethod
    def of(cls, script: Script, parts: Parts, record: Record) -> _Change:
        owners = Owners.of(record.parts.tables, record.snapshot)
        found: dict[Place, set[str]] = defaultdict(set)
        for one in record.snapshot:
            owner = owners(one)
            if owner is not None:
                found[owner].update(name for _, name in relations(one))
        for place in parts.tables:
            found[place].add(place[1])
        naming = script.setting.naming
        for made in script.objects:
            if isinstance(made, Partition):
                meta = made.model._meta
                found[naming.place(meta.schema, meta.table_name)].add(made.name)
        tables, none = said(script)
        return cls(
            record=record, parts=parts, owners=owners, said=tables, of_none=none, names=found
        )

    def touched(self) -> frozenset[Place] | None:
        """Return the tables to build; None when what belongs to no table rests on one of them."""
        old, new = self.record.parts.tables, self.parts.tables
        reached = {place for place in new if old.get(place) != new[place]}
        reached |= old.keys() - new.keys()
        build, pending = set(reached), set(reached)
        while pending:
            looked_for = Names.of(name for place in pending for name in self.names[place])
            if _any(looked_for.within(self.of_none.rest)):
                return None
            pending = set()
            for place, texts in self.said.items():
                if place in reached:
                    continue
                if _any(looked_for.within(texts.shape)):
                    pending.add(place)
                elif place not in build and _any(looked_for.within(texts.rest)):
                    build.add(place)
            reached |= pending
            build |= pending
        if any(escaped(texts.all) for texts in (*self.said.values(), self.of_none)):
            return None
        return frozenset(build & new.keys())

    def beside(self, build: Collection[Place]) -> frozenset[Place]:
        """Return the tables that some rest on and that have to be there, without their keys."""
        owners: dict[str, set[Place]] = defaultdict(set)
        for place in self.said.keys() - set(build):
            for name in self.names[place]:
                owners[name.lower()].add(place)
        known = Names.of(owners)
        found: set[Place] = set()
        pending = [self.of_none.rest, *(self.said[place].all for place in build)]
        while pending:
            named = {p for text in pending for name in known.within(text) for p in owners[name]}
            pending = [self.said[place].shape for place in named - found]
            found |= named
        return frozenset(found)

    def is_numbered(self, build: Collection[Place]) -> bool:
        """True when a name that is kept was chosen because another one was taken."""
        for one in self.record.snapshot:
            owner = self.owners(one)
            if owner is None or owner in build or owner not in self.said:
                continue
            for _, name in names(one):
                if _NUMBERED.search(name) and name.lower() not in self.said[owner].all:
                    return True
        return False

    def merged(self, answer: Snapshot, build: Collection[Place]) -> Snapshot | None:
        """Put the tables that were built into the record; None where the two do not agree."""
        owners, record = Owners.of(self.parts.tables, answer), self.record.snapshot
        gone = set(build) | (self.record.parts.tables.keys() - self.parts.tables.keys())
        left = record.changed(drop=[k for k, o in record.objects.items() if self.owners(o) in gone])
        for one in answer:
            begun = owners(one) not in build and self._is_known(one, owners(one))
            if begun and repr(left.get(one.key)) != repr(one):
                return None
        made = [one for one in answer if owners(one) in build]
        # What belongs to no table is always built, and a record need not have it.
        made += [one for one in answer if owners(one) is None and one.key not in left]
        taken = {name for one in left for name in names(one)}
        if not taken.isdisjoint(name for one in made for name in names(one)):
            return None
        if self._is_named({name for one in made for _, name in relations(one)}, build):
            return None
        return left.changed(add=made)

    @staticmethod
    def _is_known(one: Object, owner: Place | None) -> bool:
        return (isinstance(one, _AS_BEFORE) and owner is not None) or isinstance(one, _OF_NONE)

    def _is_named(self, found: Iterable[str], build: Collection[Place]) -> bool:
        known = {name for place in build for name in self.names[place]}
        new = Names.of(name for name in found if name not in known)
        texts = [self.said[place].all for place in self.said.keys() - set(build)]
        return _any(new.within("\n".join([self.of_none.rest, *texts])))


def _any(found: Iterable[str]) -> bool:
    return next(iter(found), None) is not None
