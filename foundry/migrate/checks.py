"""Questions to ask before anything is changed: which rows stand in the way?"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace

from foundry.migrate.casts import Type, using
from foundry.migrate.compare import Change, compare
from foundry.migrate.objects import Column, Constraint, Enum, Index, Key, Place, Table
from foundry.migrate.snapshot import Snapshot
from foundry.migrate.spelling import ident, printed, quote, quoted, relation
from foundry.migrate.steps import HOLE, Check, Renames
from foundry.migrate.survival import holds, misfit

_KEYS = ("PRIMARY KEY", "UNIQUE")


def checks(
    live: Snapshot,
    now: Snapshot,
    wanted: Snapshot,
    renames: Renames,
    *,
    version: int,
    default: str,
) -> tuple[Check, ...]:
    """Return the checks of a plan, to be asked of the database as it is.

    `now` is `live` with the declared renames done: names in the queries are new names.
    """
    asker = _Asker(live, now, wanted, renames, version, default)
    found: list[Check] = [*asker.labels()]
    for change in _resting(wanted, compare(now, wanted)):
        match change.after:
            case Column() as column if ("table", *column.table) in now:
                found += asker.column(change, column)
            case Constraint() as constraint if ("table", *constraint.table) in now:
                found += asker.constraint(change, constraint)
            case Index(unique=True) as index if ("table", *index.table) in now:
                found += asker.index(change, index)
            case Table(partition_of=parent) as table if parent:
                found += asker.partition(change, table)
    # Columns come first, and with them whether values fit: the other questions cast them.
    return tuple(found)


def _resting(wanted: Snapshot, changes: tuple[Change, ...]) -> Iterator[Change]:
    """Yield the changes; what rests on values that become others comes as if it were new."""
    moved = {c.key for c in changes if _moved(c)}
    made = (c for c in wanted.kind(Column) if c.generated)
    moved |= {c.key for c in made if not moved.isdisjoint(("column", *c.table, r) for r in c.reads)}
    found: list[Constraint | Index] = [*wanted.kind(Constraint), *wanted.kind(Index)]
    asked = {o.key: Change(before=None, after=o) for o in found if not moved.isdisjoint(_on(o))}
    yield from (c for c in changes if c.key not in asked)
    yield from asked.values()


def _on(thing: Constraint | Index) -> Iterator[Key]:
    yield from (("column", *thing.table, name) for name in thing.columns)
    if isinstance(thing, Constraint) and thing.references:
        yield from (("column", *thing.references, name) for name in thing.referenced)


def _moved(change: Change) -> bool:
    """True for a column whose values, or what is equal among them, become others."""
    before, after = change.before, change.after
    if not (isinstance(before, Column) and isinstance(after, Column)):
        return False
    if after.generated and (before.generated, before.default) != (after.generated, after.default):
        return True
    old, new = Type.of(before.type), Type.of(after.type)
    same = holds(old, new) and (old.base == new.base or new.base != "citext")
    return (before.type != after.type and not same) or before.collation != after.collation


def _now(name: str) -> str:
    """Return the name, in a query, of what a key holds now."""
    return f"{name} now"


def _listed(values: Mapping[str, str]) -> str:
    return ", ".join(f"{value} AS {quote(name)}" for name, value in values.items() if value)


@dataclass(frozen=True, slots=True)
class _Asker:
    live: Snapshot
    now: Snapshot
    wanted: Snapshot
    renames: Renames
    version: int
    default: str

    def column(self, change: Change, after: Column) -> Iterator[Check]:
        name = f"{printed(after.table, self.default)}.{ident(after.name)}"
        before = change.before
        if before is None:
            bare = not (after.default or after.identity or after.generated or after.fill)
            if after.not_null and bare:
                # Which rows does the expression that the author writes leave without one?
                check = self.check(f"{name} NOT NULL", after.table, f"({HOLE}) IS NULL", raw=True)
                yield replace(check, column=after.key)
            return
        if after.not_null and not before.not_null:
            where = f"{quote(after.name)} IS NULL"
            yield self.check(f"{name} NOT NULL", after.table, where, raw=True)
        if before.type != after.type and not after.generated:
            yield from self.retyped(before, after)

    def labels(self) -> Iterator[Check]:
        """Ask for rows with labels that go, where the enumerated type keeps its name."""
        for after in self.wanted.kind(Column):
            before = self.now.get(after.key)
            kept, left = before and self.enum(before, self.now), self.enum(after, self.wanted)
            if not (kept and left) or before.type != after.type or after.generated:
                continue
            if not set(kept.labels) <= set(left.labels):
                yield from self.retyped(before, after)

    def retyped(self, before: Column, after: Column) -> Iterator[Check]:
        name, column = printed(after.table, self.default), quote(after.name)
        labels = self.allowed(after)
        where = misfit(before.type, after.type, column, version=self.version, labels=labels)
        if where:
            what = f"{name}.{ident(after.name)} TYPE {after.type}"
            yield self.check(what, after.table, where, raw=True)

    @staticmethod
    def enum(column: Column, side: Snapshot) -> Enum | None:
        return side.get(("enum", *column.enum)) if column.enum else None

    def allowed(self, column: Column) -> tuple[str, ...] | None:
        """Return the labels of a column's enumerated type, also under their present names."""
        found = self.enum(column, self.wanted)
        if found is None:
            return None
        old = [
            o for place, o, n in self.renames.labels if place == found.place and n in found.labels
        ]
        return (*found.labels, *old)

    def constraint(self, change: Change, after: Constraint) -> Iterator[Check]:
        before = change.before
        same = before is not None and before.definition == after.definition and before.valid
        if same or not after.valid or not self.askable(after.table, after.columns):
            return
        if after.kind == "CHECK":
            where = f"NOT ({after.expression})"
            yield self.check(after.name, after.table, where)
        elif after.kind in _KEYS:
            nulls = "NULLS NOT DISTINCT" in after.definition
            terms = tuple(map(quote, after.columns))
            yield self.unique(after.name, after.table, terms, nulls=nulls)
        elif after.kind == "FOREIGN KEY":
            yield from self.foreign(after)

    def index(self, change: Change, after: Index) -> Iterator[Check]:
        before = change.before
        same = before == after or (
            before is not None
            and (before.definition, before.unique, before.valid) == (after.definition, True, True)
        )
        terms = tuple(map(quote, after.keys)) or tuple(f"({term})" for term in after.terms)
        if terms and not same and self.askable(after.table, after.columns):
            nulls, some = "NULLS NOT DISTINCT" in after.definition, after.predicate
            yield self.unique(after.name, after.table, terms, nulls=nulls, some=some)

    def partition(self, change: Change, after: Table) -> Iterator[Check]:
        """Ask for rows that are in the default partition and belong to a new one, or to none.

        Those of a table that is attached have to be of its own.
        """
        before, name = change.before, after.name
        same = before and (before.partition_of, before.bound) == (after.partition_of, after.bound)
        if same or not after.admits:
            return
        if before:
            yield self.check(name, after.place, f"NOT ({after.admits})")
        for other in self.now.kind(Table):
            beside = other.partition_of == after.partition_of and other.bound == "DEFAULT"
            if beside and other.key != after.key:
                yield self.check(name, other.place, after.admits)

    def askable(self, table: Place, columns: tuple[str, ...]) -> bool:
        """True when it can be told what the columns will hold."""
        return all(self.value(table, name) for name in columns)

    def value(self, table: Place, name: str) -> str:
        """Return what a column will hold, as an expression over the columns of `now`."""
        table = self.holder(table)
        before = self.now.get(("column", *table, name))
        after = self.wanted.get(("column", *table, name)) or before
        if self.computed(table, name):
            return f"({after.default})" if self.askable(table, after.reads) else ""
        if before is None:
            given = after.default or after.fill or ("NULL" if not after.not_null else "")
            counted = after.sequence or after.identity
            return f"({given})::{after.type}" if given and not counted else ""
        if before.type == after.type:
            return quote(name)
        return using(before.type, after.type, quote(name)) or f"{quote(name)}::{after.type}"

    def computed(self, table: Place, name: str) -> bool:
        """True for a generated column whose values become others: of what it reads, or how."""
        table = self.holder(table)
        before = self.now.get(("column", *table, name))
        after = self.wanted.get(("column", *table, name))
        if after is None or not after.generated:
            return False
        return before != after or any(self.value(table, c) != quote(c) for c in after.reads)

    def foreign(self, after: Constraint) -> Iterator[Check]:
        there = after.references is not None and ("table", *after.references) in self.now
        if not there or after.references is None:
            return
        if not self.askable(after.references, after.referenced):
            return
        pairs = zip(after.columns, after.referenced, strict=True)
        match = " AND ".join(f"r.{quote(b)} = t.{quote(a)}" for a, b in pairs)
        filled = " AND ".join(f"t.{quote(a)} IS NOT NULL" for a in after.columns)
        source = self.source(after.references, "r")
        where = f"{filled} AND NOT EXISTS (SELECT FROM {source} WHERE {match})"
        if "MATCH FULL" in after.definition:
            some = ", ".join(f"t.{quote(a)}" for a in after.columns)
            where += f" OR num_nulls({some}) BETWEEN 1 AND {len(after.columns) - 1}"
        yield self.check(after.name, after.table, where)

    def unique(
        self,
        name: str,
        table: Place,
        equal: tuple[str, ...],
        *,
        nulls: bool,
        some: str = "",
    ) -> Check:
        """Ask for rows in which all of some expressions are what they are in another one."""
        keys, names = self.keys(table, raw=True), ", ".join(equal)
        filled = [] if nulls else [f"{value} IS NOT NULL" for value in equal]
        terms = [*filled, *([some] if some else [])]
        where = f" WHERE {' AND '.join(terms)}" if terms else ""
        counted = f"SELECT {self.keys(table)}, count(*) OVER (PARTITION BY {names}) AS found"
        inner = f"{counted} FROM {self.source(table, 't')}{where}"
        return Check(name=name, query=f"SELECT {keys} FROM ({inner}) AS u WHERE found > 1 LIMIT 3")

    def check(self, name: str, table: Place, where: str, *, raw: bool = False) -> Check:
        keys, source = self.keys(table, raw=raw), self.source(table, "t", raw=raw)
        return Check(name=name, query=f"SELECT {keys} FROM {source} WHERE {where} LIMIT 3")

    def holder(self, table: Place) -> Place:
        """Return the table that says what the columns are: of a partition, the whole one."""
        found = self.now.get(("table", *table))
        parent = found.partition_of if isinstance(found, Table) else None
        return self.holder(parent) if parent else table

    def before(self, table: Place) -> Place:
        """Return a table's present name."""
        old = next((o for o, n in self.renames.tables if n == table), table)
        return old if ("table", *old) in self.live else table

    def keys(self, table: Place, *, raw: bool = False) -> str:
        """Return the columns that say which row it is, with what they hold now."""
        names = self.now.primary_key(table)
        if raw or not names:
            return quoted(names) or "ctid"
        kept = (self.value(table, name) == quote(name) for name in names)
        pairs = zip(names, kept, strict=True)
        return ", ".join(quote(n) if k else f"{quote(_now(n))} AS {quote(n)}" for n, k in pairs)

    def source(self, table: Place, alias: str, *, raw: bool = False) -> str:
        """Return the table under its present name, with columns under the new ones.

        They hold what they will hold, or, if `raw`, what they hold now.
        """
        name = relation(self.before(table), self.default)
        hidden = "" if self.now.primary_key(table) else ", ctid"
        table = self.holder(table)
        old, names = self.before(table), {n: o for t, o, n in self.renames.columns if t == table}
        there = [c.name for c in self.now.of_table(Column, table)]
        pairs = [(names.get(name, name), name) for name in there]
        pairs = [(o if ("column", *old, o) in self.live else n, n) for o, n in pairs]
        found = f"{name} AS {quote(alias)}"
        if any(o != n for o, n in pairs):
            listed = ", ".join(f"{quote(o)} AS {quote(n)}" for o, n in pairs)
            found = f"(SELECT {listed}{hidden} FROM {name}) AS {quote(alias)}"
        after = [c.name for c in self.wanted.of_table(Column, table)]
        values = {c: self.value(table, c) for c in dict.fromkeys((*there, *after))}
        if raw or values == {c: quote(c) for c in there}:
            return found
        shown = {_now(c): quote(c) for c in self.now.primary_key(table) if values[c] != quote(c)}
        made = {c: v for c, v in values.items() if self.computed(table, c)}
        given = {c: v for c, v in {**values, **shown}.items() if c not in made}
        found = f"(SELECT {_listed(given)}{hidden} FROM {found}) AS {quote(alias)}"
        if not any(made.values()):
            return found
        return f"(SELECT *, {_listed(made)} FROM {found}) AS {quote(alias)}"
