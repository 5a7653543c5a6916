"""What no plan can lead to, refused in words before one is made."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from foundry.errors import HistoryConflict
from foundry.migrate.objects import (
    Column,
    Constraint,
    Index,
    Key,
    Other,
    Place,
    Policy,
    Table,
    Trigger,
)
from foundry.migrate.snapshot import Snapshot
from foundry.migrate.spelling import ident, printed


def refuse(now: Snapshot, wanted: Snapshot, *, default: str) -> None:
    """Raise HistoryConflict where something stays and what it rests on does not."""
    for thing in wanted:
        # What cannot be made again is refused with what changes, see below.
        for key in () if isinstance(thing, Other) else _reads(thing):
            if key in now and key not in wanted:
                raise HistoryConflict(
                    f"{_named(thing.key, default)} uses {_named(key, default)}, which would go: "
                    f"change or drop the one first, or keep the other"
                )
    for found in wanted.kind(Constraint):
        if found.references:
            _refuse_deferrable(wanted, found, default)
    for table in wanted.kind(Table):
        before = now.get(table.key)
        if before and bool(before.partition_of) != bool(table.partition_of):
            _refuse_unlike(now, wanted, table.place, default)
        if before and before.partition_by != table.partition_by:
            _refuse_key(before, table, default)


def _refuse_key(before: Table, after: Table, default: str) -> None:
    old, new = (
        f"PARTITION BY {t.partition_by}" if t.partition_by else "plain" for t in (before, after)
    )
    raise HistoryConflict(
        f'"{printed(before.place, default)}": a table that is {old} cannot become {new}: declare '
        f"one of another name, copy the rows, then drop the old one and rename the new one"
    )


def _reads(thing: Any) -> Iterable[Key]:
    """Yield what an object uses; of what belongs to its table, the columns it names."""
    columns: tuple[Key, ...] = ()
    if isinstance(thing, (Trigger, Policy)):
        columns = tuple(("column", *thing.table, name) for name in thing.columns)
    return (*getattr(thing, "depends", ()), *getattr(thing, "functions", ()), *columns)


def _refuse_deferrable(wanted: Snapshot, found: Constraint, default: str) -> None:
    assert found.references is not None
    columns = set(found.referenced)
    keys = [c for c in wanted.of_table(Constraint, found.references) if c.kind != "CHECK"]
    keys = [k for k in keys if k.kind in ("PRIMARY KEY", "UNIQUE") and set(k.columns) == columns]
    unique = (i for i in wanted.of_table(Index, found.references) if i.unique and not i.predicate)
    if any(set(index.keys) == columns for index in unique) or any(not k.deferrable for k in keys):
        return
    for key in keys:
        raise HistoryConflict(
            f'"{key.name}" of {printed(key.table, default)} cannot be DEFERRABLE while the foreign '
            f'key "{found.name}" of {printed(found.table, default)} rests on it: drop the foreign '
            f"key first, or leave the constraint as it is"
        )


def _refuse_unlike(now: Snapshot, wanted: Snapshot, place: Place, default: str) -> None:
    """Refuse to attach or detach where more than rows would come or go with it."""
    joins = now.get(("table", *place)).partition_of is None
    side, alone = (wanted, now) if joins else (now, wanted)
    parent: Place = side.get(("table", *place)).partition_of
    verb = "become a partition of" if joins else "leave"
    name, other = printed(place, default), printed(parent, default)
    kinds: tuple[type[Constraint | Index], ...] = (Constraint, Index)
    for held in (o for kind in kinds for o in side.of_table(kind, parent)):
        raise HistoryConflict(
            f'"{name}" cannot {verb} "{other}" in a generated file, since each partition has its '
            f'own "{held.name}": write that one yourself (generate --empty)'
        )
    columns = [
        {c.name: (c.type, c.not_null, c.collation, c.generated) for c in s.of_table(Column, p)}
        for s, p in ((side, parent), (alone, place))
    ]
    for column in sorted({*columns[0], *columns[1]}):
        if columns[0].get(column) != columns[1].get(column):
            raise HistoryConflict(
                f'"{name}" cannot {verb} "{other}" while the column "{column}" is another one in '
                f"each: make them alike in a migration of their own"
            )


def refuse_others(snapshot: Snapshot, rebuilt: Iterable[Key], *, default: str) -> None:
    """Raise HistoryConflict for what would have to be made again and cannot be."""
    keys = frozenset(rebuilt)
    for other in (o for o in snapshot.kind(Other) if o.key in keys):
        parts = [key for key in other.depends if key[0] != "table"] or other.depends
        used = ", ".join(_named(key, default) for key in parts)
        raise HistoryConflict(
            f"{other.description} uses what is changed here ({used}), and nobody could make it "
            f"again as it is: drop it first, and make it again afterwards"
        )


def _named(key: Key, default: str) -> str:
    kind, *names = key
    if kind == "function":
        return f"function {printed((names[0], names[1]), default)}({names[2]})"
    parts = names[1:] if names[0] == default else names
    return f"{kind} {'.'.join(map(ident, parts))}"
