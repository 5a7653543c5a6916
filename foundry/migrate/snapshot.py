"""All objects of a database, by key, kind and table."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from operator import attrgetter, itemgetter
from types import MappingProxyType
from typing import Any, TypeVar

from foundry.migrate.objects import Column, Constraint, Key, Object, Place

_T = TypeVar("_T", bound=Any)


@dataclass(frozen=True, slots=True)
class Snapshot:
    """Every object of a database, by key."""

    objects: Mapping[Key, Object]
    # What `kind` and `of_table` have sorted once, by class and table.
    _sorted: dict[Any, tuple[Any, ...]] = field(
        default_factory=dict, init=False, repr=False, compare=False
    )

    @classmethod
    def of(cls, objects: Iterable[Object]) -> Snapshot:
        """Collect objects; a later one of the same key takes the place of an earlier one."""
        return cls(MappingProxyType({o.key: o for o in objects}))

    def __iter__(self) -> Iterator[Object]:
        return iter(self.objects.values())

    def __len__(self) -> int:
        return len(self.objects)

    def __contains__(self, key: object) -> bool:
        return key in self.objects

    def get(self, key: Key) -> Any:
        """Return the object of that key, or None."""
        return self.objects.get(key)

    def kind(self, wanted: type[_T]) -> tuple[_T, ...]:
        """Return the objects of one class, in order of their keys."""
        if not self._sorted:
            found: dict[type, list[tuple[Key, Object]]] = {}
            for key, one in self.objects.items():
                found.setdefault(type(one), []).append((key, one))
            for kind, pairs in found.items():
                pairs.sort(key=itemgetter(0))
                self._sorted[kind] = tuple([one for _, one in pairs])
        return self._sorted.get(wanted, ())

    def of_table(self, wanted: type[_T], table: Place) -> tuple[_T, ...]:
        """Return a table's objects of one class; columns come in their order."""
        if (wanted, None) not in self._sorted:
            tables: dict[Place, list[Any]] = {}
            for one in self.kind(wanted):
                tables.setdefault(one.table, []).append(one)
            for place, found in tables.items():
                if wanted is Column:
                    found.sort(key=attrgetter("position"))
                self._sorted[wanted, place] = tuple(found)
            self._sorted[wanted, None] = ()
        return self._sorted.get((wanted, table), ())

    def primary_key(self, table: Place) -> tuple[str, ...]:
        """Return the columns of a table's primary key, in order; none where it has none."""
        for found in self.of_table(Constraint, table):
            if found.kind == "PRIMARY KEY":
                return tuple(found.columns)
        # A partition has its parent's.
        parent = getattr(self.get(("table", *table)), "partition_of", None)
        return self.primary_key(parent) if parent else ()

    def changed(self, *, add: Iterable[Object] = (), drop: Iterable[Key] = ()) -> Snapshot:
        """Return this snapshot with some objects replaced or added and some taken out."""
        left = dict(self.objects)
        for key in drop:
            left.pop(key, None)
        left.update((o.key, o) for o in add)
        return Snapshot(MappingProxyType(left))
