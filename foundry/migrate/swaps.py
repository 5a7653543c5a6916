"""Which columns get another type by way of a second one: those that nothing else hangs on.

Any other is changed by one ALTER TABLE, which writes every row under its lock.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

from foundry.migrate.calls import calls
from foundry.migrate.casts import using
from foundry.migrate.compare import Change
from foundry.migrate.modes import Work
from foundry.migrate.objects import (
    Column,
    Constraint,
    Function,
    Grant,
    Index,
    Key,
    Other,
    Place,
    Policy,
    Table,
    Trigger,
    View,
)
from foundry.migrate.objects import Sequence as Numbers
from foundry.migrate.recipes.columns import remade, retyped
from foundry.migrate.recipes.swapping import reworded, touching
from foundry.migrate.recipes.types import made_anew
from foundry.migrate.retyping import retyping
from foundry.migrate.snapshot import Snapshot


def swappable(
    live: Snapshot,
    wanted: Snapshot,
    changes: Sequence[Change],
    shaken: frozenset[Key],
    *,
    version: int,
) -> frozenset[Key]:
    """Return the columns to swap on the way from one snapshot to another, and back.

    None of a table that has its rows written under a lock all the same.
    """
    rewritten: dict[Place, list[Change]] = defaultdict(list)
    for change in changes:
        before, after = change.before, change.after
        if isinstance(before, Column) and isinstance(after, Column):
            again = remade(version, before, after) and after.generated == "STORED"
            if again or (retyped(before, after) and slow(live, before, after)):
                rewritten[after.table].append(change)
    sides = _Sides(live, wanted, shaken)
    return frozenset(
        change.key
        for table, found in rewritten.items()
        if sides.free(table) and all(sides.simple(one) for one in found)
        for change in found
    )


def needed(before: Snapshot, after: Snapshot, late: frozenset[Key]) -> frozenset[Key]:
    """Return which of the columns that may be swapped are, in this direction.

    Those of a table none of which has its rows written, nor a check, are changed at once.
    """
    found: set[Key] = set()
    for table in {(key[1], key[2]) for key in late}:
        here = {key for key in late if (key[1], key[2]) == table}
        names = {key[3] for key in here}
        some = (one for side in (before, after) for one in touching(side, table, names))
        checked = any(isinstance(o, Constraint) and o.kind == "CHECK" for o in some)
        if checked or any(slow(before, before.get(key), after.get(key)) for key in here):
            found |= here
    return frozenset(found)


def slow(live: Snapshot, before: Column, after: Column) -> bool:
    """True when ALTER COLUMN TYPE writes rows, or an index, under its lock."""
    if using(before.type, after.type, "x"):
        return True
    if retyping(before.type, after.type) is Work.REWRITE:
        return True
    indexed = any(touching(live, before.table, {before.name}))
    return before.collation != after.collation and indexed


@dataclass(frozen=True, slots=True)
class _Sides:
    live: Snapshot
    wanted: Snapshot
    shaken: frozenset[Key]

    @property
    def both(self) -> tuple[Snapshot, Snapshot]:
        return (self.live, self.wanted)

    def free(self, table: Place) -> bool:
        """True for a table that can have a trigger and a column more for a while."""
        key: Key = ("table", *table)
        live, wanted = (side.get(key) for side in self.both)
        if live is None or wanted is None or live.entangled:
            return False
        if not all(_ordinary(one) for one in (live, wanted)):
            return False
        if any(side.of_table(Trigger, table) for side in self.both):
            return False
        if any(_used(side, table) for side in self.both) or self.recast(table):
            return False
        keys = [side.primary_key(table) for side in self.both]
        # The batches follow its order.
        return bool(keys[0]) and keys[0] == keys[1]

    def recast(self, table: Place) -> bool:
        """True where an enumerated type is made anew, and the rows with it."""
        columns = self.live.of_table(Column, table)
        return any(made_anew(column, *self.both) for column in columns)

    def simple(self, change: Change) -> bool:
        """True for a column that nothing hangs on but what can be made again beside it."""
        columns: tuple[Column, Column] = (change.before, change.after)
        if any(_special(one) or calls(one, self.shaken) for one in columns):
            return False
        pairs = zip(self.both, columns, strict=True)
        if any(_hung_on(side, one) for side, one in pairs):
            return False
        return self.movable(change.after.table, change.after.name)

    def movable(self, table: Place, name: str) -> bool:
        """True when each index and constraint of a column can be made of another one."""
        found = [tuple(touching(side, table, {name})) for side in self.both]
        if not all(_plain(one, name) for some in found for one in some):
            return False
        there, wanted = ({one.key for one in some} for some in found)
        # Of one name, and on other columns then; or an index that becomes a constraint.
        names = (("index", *key[1:]) for key in there ^ wanted)
        others = (("constraint", *key[1:]) for key in there ^ wanted)
        known = [sum(key in side for side in self.both) for key in (*names, *others)]
        return sum(known) == len(there ^ wanted)


def _ordinary(table: Table) -> bool:
    parted = table.partition_by or table.partition_of
    return not (parted or table.force_row_security or table.replica_identity != "DEFAULT")


def _used(side: Snapshot, table: Place) -> bool:
    """True where something uses a table as it is; columns of it that views read do no harm."""
    key: Key = ("table", *table)
    functions = any(key in function.depends for function in side.kind(Function))
    others = (k[:3] for o in side.kind(Other) for k in (*o.depends, *o.owners))
    return functions or any(("table", *k[1:]) == key for k in others)


def _special(column: Column) -> bool:
    counted = column.identity or column.sequence is not None
    return bool(column.generated or counted or column.checked or not column.not_null_valid)


def _hung_on(side: Snapshot, column: Column) -> bool:
    table, name, key = column.table, column.name, column.key
    return (
        any(name in made.reads for made in side.of_table(Column, table))
        or any(key in view.depends for view in side.kind(View))
        or any(name in policy.columns for policy in side.of_table(Policy, table))
        or any(grant.target == key for grant in side.kind(Grant))
        or any(numbers.owner == (*table, name) for numbers in side.kind(Numbers))
        or any(_refers(one, table, name) for one in side.kind(Constraint))
    )


def _refers(one: Constraint, table: Place, name: str) -> bool:
    return one.references == table and name in one.referenced


def _plain(one: Index | Constraint, column: str) -> bool:
    if isinstance(one, Index):
        return one.valid and reworded(one.definition, {column: column}) is not None
    if one.kind == "UNIQUE":
        return reworded(one.index, {column: column}) is not None
    return one.kind == "CHECK"
