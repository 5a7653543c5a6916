"""Numbers for what a server is told, and what is said of which table."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass

from foundry.migrate.objects import (
    Column,
    Constraint,
    Enum,
    Grant,
    Index,
    Object,
    Place,
    Policy,
    Sequence,
    Table,
    Trigger,
    View,
)
from foundry.migrate.recorded import Parts, digest
from foundry.migrate.script import Script
from foundry.migrate.snapshot import Snapshot

# A name that is spelled by the numbers of its letters.
_ESCAPED = re.compile(r"""(?<!\w)e'[^']*\\[0-7xu]|(?<!\w)u&['"]""")
_WORD = re.compile(r"\w+")


def parts_of(script: Script, surroundings: Iterable[str]) -> Parts:
    """Return numbers for all that the server is told; `surroundings` is what else it goes by."""
    setting = script.setting
    tokens = setting.naming.stands_for
    # The same in every run, unlike themselves; they share their random beginning.
    random = next(iter(tokens.values())).rpartition("_")[0]
    common = [
        *surroundings,
        repr((setting.path, sorted(setting.namespaces), sorted(setting.extensions))),
        *(f"{name} {token.replace(random, 'shadow')}" for name, token in tokens.items()),
        *(s.sql.replace(random, "shadow") for s in script.extensions),
    ]
    tables: dict[Place, list[str]] = {table.place: [] for table in script.built}
    for s in script.statements:
        text = s.sql.replace(random, "shadow")
        if s.table is None:
            common.append(f"{s.shape} {text}")
        else:
            tables[s.table].append(text)
    numbers = {place: digest(texts)[:32] for place, texts in tables.items()}
    return Parts(common=digest(common), tables=numbers)


@dataclass(frozen=True, slots=True, kw_only=True)
class Names:
    """Names that are looked for in SQL: in any case, in strings, with the mark of an array type.

    A name that is no plain word, or as long as a name can be, is found in parts of words, too.
    """

    plain: frozenset[str]
    odd: frozenset[str]

    @classmethod
    def of(cls, names: Iterable[str]) -> Names:
        """Sort them."""
        small = {name.lower() for name in names}
        plain = {n for n in small if _WORD.fullmatch(n) and len(n.encode()) < 60}
        return cls(plain=frozenset(plain), odd=frozenset(small - plain))

    def within(self, text: str) -> Iterator[str]:
        """Yield those that a text in small letters has."""
        if self.odd:
            # Quotes and backslashes are doubled where they stand.
            bare = text.replace('""', '"').replace("''", "'").replace("\\\\", "\\")
            yield from (name for name in self.odd if name in bare)
        near = [name for name in self.plain if name in text] if len(self.plain) < 200 else True
        if near:
            words = set(_WORD.findall(text))
            yield from self.plain & (words | {w[1:] for w in words if w[0] == "_"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Said:
    """The SQL of one table in small letters: what others may rest on, and the rest."""

    shape: str
    rest: str

    @property
    def all(self) -> str:
        """Both."""
        return f"{self.shape}\n{self.rest}"


def said(script: Script) -> tuple[dict[Place, Said], Said]:
    """Return the SQL of every table, and what belongs to none."""
    shapes: dict[Place | None, list[str]] = {table.place: [] for table in script.built}
    rests: dict[Place | None, list[str]] = {}
    for s in script.statements:
        (shapes if s.shape else rests).setdefault(s.table, []).append(s.sql.lower())
    found = {
        place: Said(shape="\n".join(texts), rest="\n".join(rests.get(place, ())))
        for place, texts in shapes.items()
        if place is not None
    }
    none = Said(shape="\n".join(shapes.get(None, ())), rest="\n".join(rests.get(None, ())))
    return found, none


def escaped(text: str) -> bool:
    """True where a text in small letters may have a name that is not spelled out."""
    return ("\\" in text or "u&" in text) and _ESCAPED.search(text) is not None


@dataclass(frozen=True, slots=True, kw_only=True)
class Owners:
    """Which of some tables an object is part of: its own table, or the one it partitions."""

    tables: Mapping[Place, Place | None]
    sequences: Mapping[Place, Place | None]

    @classmethod
    def of(cls, owners: Collection[Place], snapshot: Snapshot) -> Owners:
        """Find the owner of every table and of every sequence that a column owns."""
        parents = {t.place: t.partition_of for t in snapshot.kind(Table)}

        def owner(place: Place | None) -> Place | None:
            while place is not None and place not in owners:
                place = parents.get(place)
            return place

        tables = {place: owner(place) for place in parents}
        sequences = {
            s.place: tables.get(s.owner[:2]) for s in snapshot.kind(Sequence) if s.owner is not None
        }
        return cls(tables=tables, sequences=sequences)

    def __call__(self, one: Object) -> Place | None:
        """Return the table; None for what belongs to none of them."""
        if isinstance(one, Table):
            return self.tables.get(one.place)
        if isinstance(one, (Column, Constraint, Index, Trigger, Policy)):
            return self.tables.get(one.table)
        if isinstance(one, Sequence):
            return self.sequences.get(one.place)
        if isinstance(one, Grant):
            place = (one.target[1], one.target[2]) if len(one.target) > 2 else ("", "")
            kinds = {"table": self.tables, "column": self.tables, "sequence": self.sequences}
            return kinds[one.target[0]].get(place) if one.target[0] in kinds else None
        return None


def relations(one: Object) -> Iterator[Place]:
    """Yield what an object is called among the relations of its namespace."""
    if isinstance(one, (Table, View, Sequence, Enum)):
        yield one.place
    elif isinstance(one, Index) or (isinstance(one, Constraint) and one.kind not in _UNINDEXED):
        yield (one.table[0], one.name)
    elif isinstance(one, Column) and one.identity_sequence:
        yield (one.table[0], one.identity_sequence)


_UNINDEXED = ("FOREIGN KEY", "CHECK")


def names(one: Object) -> Iterator[Place]:
    """Yield the names that the server keeps apart when it chooses another one."""
    yield from relations(one)
    if isinstance(one, Constraint) and one.kind in _UNINDEXED:
        yield (one.table[0], one.name)
    elif isinstance(one, Column) and one.not_null_name:
        yield (one.table[0], one.not_null_name)
