"""What a server made of some statements, kept as text: nothing needs to be built again.

The text belongs to one release: what another one wrote is not read.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, fields
from functools import cache
from importlib import resources
from operator import attrgetter
from typing import Any, get_args

from foundry.migrate.objects import Object, Place
from foundry.migrate.snapshot import Snapshot

_KINDS: dict[str, type[Any]] = {kind.__name__: kind for kind in get_args(Object)}
_NAMES = {kind: tuple(f.name for f in fields(kind)) for kind in _KINDS.values()}
# MISSING is equal to nothing that a row holds.
_DEFAULTS = {kind: tuple(f.default for f in fields(kind)) for kind in _KINDS.values()}
_READERS = (
    *(
        "assemble",
        "catalog",
        "objects",
        "parts",
        "plain",
        "portion",
        "reading",
        "recorded",
        "snapshot",
    ),
)


@cache
def release() -> str:
    """Return a number for everything that reads a catalog, and writes and reads a record."""
    total = hashlib.sha256()
    package = resources.files("foundry.migrate")
    sources = [package.joinpath(f"{name}.py") for name in _READERS]
    queries = [q for q in package.joinpath("sql").iterdir() if q.name.startswith("catalog_")]
    for source in (*sources, *sorted(queries, key=attrgetter("name"))):
        total.update(source.read_bytes())
    return total.hexdigest()


def digest(parts: Iterable[str]) -> str:
    """Return a number for texts, in their order, and for the release."""
    total = hashlib.sha256(release().encode())
    for part in parts:
        total.update(b"%d " % len(part) + part.encode())
    return total.hexdigest()


@dataclass(frozen=True, slots=True, kw_only=True)
class Parts:
    """Numbers for what a server is told: of each table, and of all that tables have in common."""

    common: str = ""
    tables: Mapping[Place, str] = field(default_factory=dict)
    """In the order they are made."""

    @property
    def whole(self) -> str:
        """A number for everything."""
        return digest([self.common, *(f"{place} {self.tables[place]}" for place in self.tables)])


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """What a server made, and what it was told."""

    snapshot: Snapshot
    parts: Parts = field(default_factory=Parts)


def dumped(record: Record) -> str:
    """Write a record as text; `loaded` makes an equal one of it, attribute by attribute."""
    rows: dict[str, list[list[Any]]] = {}
    for one in record.snapshot:
        kind = type(one)
        row = [getattr(one, name) for name in _NAMES[kind]]
        defaults = _DEFAULTS[kind]
        while row and row[-1] == defaults[len(row) - 1]:
            row.pop()
        rows.setdefault(kind.__name__, []).append(row)
    tables = [[*place, number] for place, number in record.parts.tables.items()]
    whole = [release(), record.parts.common, tables, rows]
    return json.dumps(whole, ensure_ascii=False, separators=(",", ":"))


def loaded(text: str) -> Record | None:
    """Read what `dumped` wrote; None when another release did, or somebody else."""
    try:
        written_by, common, tables, rows = json.loads(text)
        if written_by != release():
            return None
        made = (_made(_KINDS[name], row) for name, some in rows.items() for row in some)
        numbers = {(namespace, name): number for namespace, name, number in tables}
        return Record(snapshot=Snapshot.of(made), parts=Parts(common=common, tables=numbers))
    except (ValueError, TypeError, KeyError, IndexError, AttributeError):
        return None


def _made(kind: type[Any], row: list[Any]) -> Object:
    values = [tuple(map(_frozen, v)) if v.__class__ is list else v for v in row]
    made: Object = kind(**dict(zip(_NAMES[kind], values, strict=False)))
    return made


def _frozen(value: Any) -> Any:
    return tuple(map(_frozen, value)) if value.__class__ is list else value
