"""Where a plan halts on its way: one snapshot at the end of each file.

First what is instant, in one transaction; then what takes time and must not make others
wait; at the end what loses something.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

from foundry.migrate.calls import calls, shaken
from foundry.migrate.compare import Change, compare
from foundry.migrate.objects import (
    Column,
    Constraint,
    Enum,
    Function,
    Index,
    Key,
    Namespace,
    Object,
    Place,
    Sequence,
    Table,
)
from foundry.migrate.recipes.columns import remade, retyped
from foundry.migrate.recipes.programs import succeeded
from foundry.migrate.recipes.types import grown, made_anew
from foundry.migrate.snapshot import Snapshot
from foundry.migrate.spelling import respelled
from foundry.migrate.swaps import swappable


@dataclass(frozen=True, slots=True, kw_only=True)
class Halts:
    """The snapshots after each stage, and what waits from one for the next."""

    labelled: Snapshot
    """With new labels of enumerated types; a transaction cannot use those it adds."""
    base: Snapshot
    online: Snapshot
    deferred: tuple[Column, ...]
    """New columns whose rows get their values online."""
    swapped: frozenset[Key] = frozenset()
    """Columns that get another type online, by way of a second one."""


def halts(live: Snapshot, wanted: Snapshot, *, version: int) -> Halts:
    """Return where to halt on the way from `live` to `wanted`."""
    standing = frozenset(t.place for t in live.kind(Table) if t.key in wanted)
    labelled = live.changed(add=list(_labelled(live, wanted)))
    changes = compare(live, wanted)
    calling = shaken(live, wanted)
    swapped = swappable(live, wanted, changes, calling, version=version)
    way = _Way(live, wanted, standing, version, calling, swapped)
    online = wanted.changed(add=[c.before for c in changes if _kept(c, way)])
    # A partition that leaves has its columns already.
    filled = standing - {t.place for t in live.kind(Table) if t.partition_of}
    deferred = tuple(
        c.after
        for c in changes
        if isinstance(c.after, Column) and c.before is None and _needs_fill(c.after, filled)
    )
    base = _base(way, online, changes, deferred)
    return Halts(labelled=labelled, base=base, online=online, deferred=deferred, swapped=swapped)


def _labelled(live: Snapshot, wanted: Snapshot) -> Iterator[Enum]:
    for found in live.kind(Enum):
        after = wanted.get(found.key)
        if after and after.labels != found.labels and grown(found, after):
            yield replace(found, labels=after.labels)


def _kept(change: Change, way: _Way) -> bool:
    """True for what goes with the last file: whatever holds data, and what rests on it."""
    before = change.before
    live, wanted, standing = way.live, way.wanted, way.standing
    if before is None or change.after is not None or before.key in wanted:
        return False
    match before:
        case Sequence(owner=owner) if owner is not None:
            return ("column", *owner) not in wanted
        case Function() if succeeded(wanted, before):
            return any(_kept(c, way) for c in _callers(way, before.key))
        case Table() | Sequence() | Function() | Enum() | Namespace():
            return True
        case Column() if made_anew(before, live, wanted):
            # Its values need not become labels that are left.
            return False
        case Column():
            return before.table not in standing or not (before.generated or _joins(before, wanted))
        case Constraint() | Index() if _in_the_way(way, before):
            return False
        case Constraint(kind="FOREIGN KEY") if not _key_stays(before, live, wanted):
            return False
        case Constraint() | Index():
            return before.table not in standing or _on_dropped(before, live, wanted)
    table = getattr(before, "table", None) or getattr(before, "target", (None,))[1:3]
    return ("table", *table) in live and ("table", *table) not in wanted


def _callers(way: _Way, function: Key) -> Iterator[Change]:
    """Yield what goes and calls a function."""
    for thing in way.live:
        if thing.key not in way.wanted and calls(thing, {function}):
            yield Change(before=thing, after=None)


def _joins(column: Column, wanted: Snapshot) -> bool:
    """True when its table becomes a partition, which has the columns of its parent."""
    table = wanted.get(("table", *column.table))
    return table is not None and table.partition_of is not None


def _on_dropped(thing: Constraint | Index, live: Snapshot, wanted: Snapshot) -> bool:
    columns = [("column", *thing.table, name) for name in thing.columns]
    return any(key in live and key not in wanted for key in columns)


def _key_stays(foreign: Constraint, live: Snapshot, wanted: Snapshot) -> bool:
    """True when what a foreign key rests on is there until the last file, too."""
    if foreign.references is None:
        return True
    for kind in ("constraint", "index"):
        key = live.get((kind, *foreign.references, foreign.index))
        if key is not None:
            kept = key.key not in wanted and _on_dropped(key, live, wanted)
            return kept or wanted.get(key.key) == key
    return True


def _needs_fill(after: Column, standing: frozenset[Place]) -> bool:
    if after.table not in standing or after.identity or after.generated:
        return False
    return after.volatile if after.default else after.not_null and not after.fill_once


@dataclass(frozen=True, slots=True)
class _Way:
    live: Snapshot
    wanted: Snapshot
    standing: frozenset[Place]
    version: int
    shaken: frozenset[Key]
    """Functions whose callers cannot stay as they are."""
    swapped: frozenset[Key]

    def touched(self, table: Place, columns: tuple[str, ...]) -> bool:
        """True when a column gets another type on the way."""
        for name in columns:
            before = self.live.get(("column", *table, name))
            after = self.wanted.get(("column", *table, name))
            moved = before and after and after.key not in self.swapped
            if moved and self.rewritten(before, after):
                return True
            gone = before and not after
            if gone and (before.generated or made_anew(before, self.live, self.wanted)):
                return True
        return False

    def in_key(self, column: Column) -> bool:
        """True for a column of a primary key."""
        return column.name in self.live.primary_key(column.table)

    def rewritten(self, before: Column, after: Column) -> bool:
        again = retyped(before, after) or remade(self.version, before, after)
        other = before.default != after.default or calls(after, self.shaken)
        computed = bool(before.generated and after.generated and other)
        return again or computed or made_anew(before, self.live, self.wanted)


def _base(
    way: _Way, online: Snapshot, changes: tuple[Change, ...], deferred: tuple[Column, ...]
) -> Snapshot:
    add: list[Object] = [_without_values(column) for column in deferred]
    drop = list(_fragile(way))
    for change in changes:
        match change.after or change.before:
            case Column() as column if column.key in way.swapped:
                add.append(change.before)
            case Column() as column if column.table in way.standing:
                add += _columns(way, change)
            case Table() as table if any(key[1:3] == table.place for key in way.swapped):
                add += _toasted_as_before(change)
            case Constraint() | Index() as thing if thing.table in way.standing:
                _later(way, change, add, drop)
            case Constraint() as new if change.before is None and not _rests(way, online, new):
                drop.append(new.key)
    return online.changed(add=add, drop=drop)


def _fragile(way: _Way) -> Iterator[Key]:
    """Yield what is made again although it is the same.

    Of a retyped column the server reads its own text in another way; what a function returned
    is kept by indexes and believed of checks.
    """
    things: list[Constraint | Index] = [*way.live.kind(Constraint), *way.live.kind(Index)]
    for found in things:
        kept = found.table in way.standing and found.key in way.wanted
        text = found.definition
        moved = respelled(text) != text and way.touched(found.table, found.columns)
        if kept and (moved or calls(found, way.shaken)):
            yield found.key


def _without_values(column: Column) -> Column:
    return replace(column, not_null=False, not_null_name="", not_null_valid=True)


def _columns(way: _Way, change: Change) -> list[Object]:
    """Return the column with what waits: NOT NULL, and an identity, which needs it."""
    before, after = change.before, change.after
    if before is None or after is None or after.not_null == before.not_null:
        return []
    if before.not_null:
        # A primary key that goes online holds on to it.
        kept = replace(after, not_null=True, not_null_name=before.not_null_name)
        return [kept] if way.in_key(before) else []
    waiting = _without_values(after)
    if after.identity and not before.identity:
        waiting = replace(waiting, identity="", identity_options="", identity_sequence="")
    return [waiting]


def _toasted_as_before(change: Change) -> list[Object]:
    """Return the table with what waits: options of TOAST, which a column may bring first."""
    before, after = change.before, change.after
    if before is None or after is None:
        return []

    def mixed(of: str) -> tuple[str, ...]:
        kept = [o for o in getattr(after, of) if not o.startswith("toast.")]
        return (*kept, *(o for o in getattr(before, of) if o.startswith("toast.")))

    return [replace(after, options=tuple(sorted(mixed("options"))), given=mixed("given"))]


def _later(way: _Way, change: Change, add: list[Object], drop: list[Key]) -> None:
    """Leave a constraint or index of a table in use as it is, or away, until the online file."""
    before, after = change.before, change.after
    if isinstance(after, Constraint) and after.kind == "EXCLUDE":
        return  # there is no other way than at once, and that in one transaction
    if before is None:
        drop.append(after.key)
        return
    if after is not None and before.key != after.key:
        return  # a rename is instant
    if after is None and before.key in way.wanted:
        return  # so is the end of one whose name another one gets
    if _in_the_way(way, before):
        drop.append(before.key)
    else:
        add.append(before)


def _in_the_way(way: _Way, before: Constraint | Index) -> bool:
    if way.touched(before.table, before.columns) or calls(before, way.shaken):
        return True
    if isinstance(before, Constraint) and before.references:
        return way.touched(before.references, before.referenced)
    return False


def _rests(way: _Way, online: Snapshot, new: Constraint) -> bool:
    """False for a foreign key of a new table to a key that is only built later."""
    if new.references is None or new.references not in way.standing:
        return True
    there = way.live.of_table(Constraint, new.references)
    unique = way.live.of_table(Index, new.references)
    return any(c.name == new.index and set(c.columns) == set(new.referenced) for c in there) or (
        any(i.name == new.index and set(i.keys) == set(new.referenced) for i in unique)
    )
