"""What the models do not answer for stays as it is."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import Any, TypeVar

from foundry.migrate.objects import (
    Column,
    Constraint,
    Enum,
    Extension,
    Function,
    Grant,
    Index,
    Namespace,
    Object,
    Other,
    Place,
    Policy,
    Sequence,
    Table,
    Trigger,
    View,
)
from foundry.migrate.snapshot import Snapshot
from foundry.migrate.steps import Managed

_T = TypeVar("_T", bound=Object)


def scoped(
    live: Snapshot,
    wanted: Snapshot,
    managed: Managed,
    *,
    prune: frozenset[Place] = frozenset(),
) -> Snapshot:
    """Return `wanted` with everything of `live` that nobody asked to change.

    `live` has its declared renames done; `prune` names tables that go although no model
    covers them.
    """
    scope = _Scope(live, wanted, managed, prune)
    mine = [scope.adopted(o) for o in wanted]
    found = Snapshot.of([*(o for o in live if scope.stays(o)), *mine])
    # A privilege goes with what it is on, whoever gave it.
    grants = found.kind(Grant)
    return found.changed(drop=[g.key for g in grants if g.target in live and g.target not in found])


class _Scope:
    def __init__(
        self,
        live: Snapshot,
        wanted: Snapshot,
        managed: Managed,
        prune: frozenset[Place],
    ) -> None:
        self.live = live
        self.wanted = wanted
        self.managed = managed
        self.prune = prune

    def ours(self, table: Place) -> bool:
        return table in self.managed.tables

    def named(self, thing: Any) -> bool:
        return thing.key[:3] in self.managed.names

    def stays(self, thing: Object) -> bool:
        """True for an object of the live database that the models do not decide on."""
        if thing.key in self.managed.waiting:
            return True
        match thing:
            case Namespace() | Extension() | Other():
                return True
            case Enum() | Function() | View():
                return not self.named(thing)
            case Sequence(owner=owner):
                if owner is not None and owner[:2] in self.prune:
                    return False
                return not (self.ours(owner[:2]) if owner else self.named(thing))
            case Table(place=place):
                return self.beside(place)
            case Column() | Constraint():
                return self.beside(thing.table)
            case Index():
                declared = thing.key in self.managed.indexes
                return not declared and self.beside(thing.table) and not self.of_view(thing.table)
            case Trigger() | Policy():
                return thing.table not in self.prune and not (
                    self.managed.whole and self.ours(thing.table)
                )
            case Grant():
                return self.granted(thing)
        raise AssertionError(thing)

    def beside(self, table: Place) -> bool:
        # Partitions that operators add are not ours, either.
        return table not in self.prune and not self.ours(table)

    def of_view(self, place: Place) -> bool:
        return ("view", *place) in self.managed.names

    def granted(self, thing: Grant) -> bool:
        place = (thing.target[1], thing.target[2]) if len(thing.target) > 2 else None
        if place in self.prune:
            return False
        known = thing.target[:3] in self.managed.names or (place and self.ours(place))
        if thing.target[0] == "namespace":
            known = thing.target in self.wanted
        return not (known and thing.role in self.managed.roles)

    def adopted(self, thing: Object) -> Object:
        """Return a wanted object with the attributes that its models cannot declare."""
        before = self.live.get(thing.key)
        if before is None:
            return thing
        match thing:
            case Table():
                return self.table(before, thing)
            case Column():
                return self.column(before, thing)
            case Index():
                return _tuned(before, self.commented(before, thing))
            case Constraint():
                return self.commented(before, thing)
            case View():
                return _dressed(before, thing)
            case Sequence() | Namespace():
                return self.commented(before, thing)
        return thing

    def commented(self, before: Any, thing: _T) -> _T:
        described: Any = thing
        return thing if described.comment else _with(thing, comment=before.comment)

    def table(self, before: Table, thing: Table) -> Table:
        kept = _with(thing, replica_identity=before.replica_identity, unlogged=before.unlogged)
        if thing.place not in self.managed.commented:
            kept = _with(kept, comment=before.comment)
        if not self.managed.whole:
            flags = (before.row_security, before.force_row_security)
            kept = _with(kept, row_security=flags[0], force_row_security=flags[1])
        return kept

    def column(self, before: Column, thing: Column) -> Column:
        kept = _with(thing, statistics=before.statistics, options=before.options)
        if thing.table in self.managed.commented:
            return kept
        return _with(kept, comment=before.comment)


def _with(thing: _T, **attributes: Any) -> _T:
    # Most are as they should be, and a copy is slow.
    same = all(getattr(thing, name) == value for name, value in attributes.items())
    copied: _T = thing if same else replace(thing, **attributes)
    return copied


def _dressed(before: View, after: View) -> View:
    """Return a view with what no declaration says of its columns, and its rules."""
    names = {name for name, _ in after.columns}
    return _with(
        after,
        defaults=tuple(pair for pair in before.defaults if pair[0] in names),
        notes=tuple(pair for pair in before.notes if pair[0] in names),
        rules=before.rules,
    )


def _tuned(before: Index, after: Index) -> Index:
    """Return an index with the storage parameters that maintenance has set."""
    if not after.tuned or before.definition == after.definition:
        return after
    patterns = [_value_of(name) for name in after.tuned]

    def bare(text: str) -> str:
        for pattern in patterns:
            text = pattern.sub("", text)
        return text

    same = bare(before.definition) == bare(after.definition)
    return replace(after, definition=before.definition) if same else after


def _value_of(name: str) -> re.Pattern[str]:
    return re.compile(rf"(?<=[( ]){re.escape(name)}='[^']*'")
