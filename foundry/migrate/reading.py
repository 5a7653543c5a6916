"""What the catalog queries returned, and how their rows hang together."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from foundry.migrate.objects import Key, Place

Row = tuple[Any, ...]
Number = tuple[int, int]
"""A column by the oid of its table and its number."""

# Of an expression as the server keeps it; an operator has a function, too.
_CALLED = re.compile(r":(?:op)?funcid (\d+)")


def called(nodes: str) -> Iterable[int]:
    """Return the oids of the functions that a stored expression calls."""
    return map(int, _CALLED.findall(nodes))


@dataclass(frozen=True, slots=True, kw_only=True)
class Uses:
    """What the texts of one object use."""

    keys: set[Key]
    """Tables, columns, views, sequences and enums."""
    functions: set[Key]

    def columns(self, table: Place) -> tuple[str, ...]:
        """Return the names of the columns of one table, sorted."""
        return tuple(sorted(k[3] for k in self.keys if k[0] == "column" and k[1:3] == table))

    def drawn(self) -> Place | None:
        """Return the first sequence, if there is one."""
        found = sorted(k for k in self.keys if k[0] == "sequence")
        return (found[0][1], found[0][2]) if found else None


def _nothing() -> Uses:
    return Uses(keys=set(), functions=set())


NOTHING = _nothing()


class Reading:
    """The rows of every query, and what is found in them by oid.

    `text` rewrites what the server printed; `default` is the namespace in the server whose names
    print without it.
    """

    def __init__(
        self, rows: Mapping[str, Sequence[Row]], *, text: Callable[[str], str], default: str
    ) -> None:
        self.rows = rows
        self.text = text
        self.default = default
        self.spaces: dict[int, str] = {oid: real for oid, _, real, *_ in rows["spaces"]}
        self._real: dict[str, str] = {name: real for _, name, real, *_ in rows["spaces"]}
        self.relations: dict[int, Key] = {
            oid: ("view" if kind in "vm" else "table", self.spaces[space], name)
            for oid, space, name, kind, *_ in rows["relations"]
        }
        self.names: dict[int, dict[int, str]] = defaultdict(dict)
        for oid, number, name, *_ in rows["columns"]:
            self.names[oid][number] = name
        self._uses = self._used()

    def place(self, namespace: str, name: str) -> Place:
        """Return a place by a namespace of the server, which need not be one of those read."""
        return (self._real.get(namespace, namespace), name)

    def relation(self, oid: int) -> Place | None:
        """Return the place of a table or view; None of a member of an extension."""
        key = self.relations.get(oid)
        return (key[1], key[2]) if key else None

    def columns(self, relation: int, numbers: Iterable[int]) -> tuple[str, ...]:
        """Return the names of columns; expressions, whose number is 0, are left out."""
        names = self.names[relation]
        return tuple([names[n] for n in numbers if n in names])

    def uses(self, kind: str, oid: int, number: int = 0) -> Uses:
        """Return what an object's texts use."""
        return self._uses.get((kind, oid, number), NOTHING)

    def _used(self) -> dict[tuple[str, int, int], Uses]:
        found: dict[tuple[str, int, int], Uses] = defaultdict(_nothing)
        for kind, oid, number, *used in self.rows["dependencies"]:
            uses, key = found[kind, oid, number], self.key(*used)
            (uses.functions if key[0] == "function" else uses.keys).add(key)
            if key[0] == "column":
                uses.keys.add(("table", *key[1:3]))
        return found

    def key(self, used: str, namespace: str, name: str, part: str | None) -> Key:
        """Return the key of what is used; `part` is a column, or the arguments of a function."""
        place = self.place(namespace, name)
        if used == "function":
            return (used, *place, self.text(part or ""))
        return (used, *place, part) if used == "column" and part else (used, *place)
