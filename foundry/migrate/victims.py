"""What has to be away while something else changes, although it stays the same."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from foundry.migrate.calls import calls
from foundry.migrate.compare import Change
from foundry.migrate.objects import (
    Column,
    Constraint,
    Enum,
    Function,
    Grant,
    Index,
    Key,
    Other,
    Place,
    Policy,
    Trigger,
    View,
)
from foundry.migrate.recipes.columns import remade, retyped
from foundry.migrate.recipes.programs import replaceable
from foundry.migrate.recipes.types import grown
from foundry.migrate.snapshot import Snapshot


def recast(before: Snapshot, after: Snapshot, changes: Iterable[Change]) -> frozenset[Key]:
    """Return the enumerated types that are made anew under their names, and their columns."""
    changes = tuple(changes)
    others = [c for c in changes if _relabelled(c)]
    # A transaction cannot use a label it adds.
    if len(others) == len(changes) and all(grown(c.before, c.after) for c in others):
        return frozenset()
    anew = {c.before.place for c in others}
    columns = (c for c in after.kind(Column) if c.enum in anew and c.key in before)
    kept = {c.key for c in columns if before.get(c.key).enum == c.enum}
    return frozenset(kept | {c.key for c in others})


def _relabelled(change: Change) -> bool:
    before, after = change.before, change.after
    both = isinstance(before, Enum) and isinstance(after, Enum)
    return both and before.labels != after.labels


def victims(
    before: Snapshot,
    after: Snapshot,
    changes: Iterable[Change],
    recast: frozenset[Key],
    stale: frozenset[Key],
    *,
    version: int,
) -> frozenset[Key]:
    """Return the keys of what is dropped and made again, to a fixed point.

    A generated column that reads a retyped one takes its indexes with it, those the
    foreign keys that rest on them, a view the views that read it. Of a column that only
    draws its default from what goes, the default goes and comes again. What is renamed
    meanwhile has the key of its new name.
    """
    changes = tuple(changes)
    taken = frozenset(_taken(after, changes))
    moved = set(recast) | {c.key for c in changes if _retyped(c, version)}
    # Only from 17 on can a generated column be told to work its values out again.
    found = {key for key in stale if key[0] == "column" and version < 170000}
    if not moved and not found and not any(_uprooting(c) for c in changes):
        return taken
    anew = {c.key for c in changes if _remade(c, version)} | set(recast)
    gone = moved | {c.before.key for c in changes if c.after is None}
    gone |= {c.key for c in changes if _uprooting(c)}
    renamed = {c.before.key: c.key for c in changes if c.before and c.after}
    while True:
        more = {
            o.key
            for o in before
            if (o.key in after or o.key in renamed)
            and o.key not in found
            and _victim(o, moved | found, anew | found, gone | found)
        }
        if not more:
            break
        found |= more
    drawing = (c for c in before.kind(Column) if c.key in after and calls(c, gone | found))
    return taken | {renamed.get(key, key) for key in found | {c.key for c in drawing}}


def _taken(after: Snapshot, changes: Iterable[Change]) -> Iterator[Key]:
    """Yield privileges on columns that go where a role's on the whole table is taken back."""
    revoked = {
        (c.before.target[1:], c.before.role, c.before.privilege)
        for c in changes
        if isinstance(c.before, Grant) and c.before.target[0] in ("table", "view")
    }
    for grant in after.kind(Grant) if revoked else ():
        whole = (grant.target[1:3], grant.role, grant.privilege)
        if grant.target[0] == "column" and whole in revoked:
            yield grant.key


def _retyped(change: Change, version: int) -> bool:
    before, after = change.before, change.after
    if not (isinstance(before, Column) and isinstance(after, Column)):
        return False
    return retyped(before, after) or _remade(change, version)


def _remade(change: Change, version: int) -> bool:
    before, after = change.before, change.after
    both = isinstance(before, Column) and isinstance(after, Column)
    return both and remade(version, before, after)


def _uprooting(change: Change) -> bool:
    """True when something else may rest on what goes or changes."""
    before, after = change.before, change.after
    match before:
        case Constraint(kind="PRIMARY KEY" | "UNIQUE"):
            return after is None or before.definition != after.definition
        case Index(unique=True):
            return after is None or before.definition != after.definition
        case Function():
            return after is None or not replaceable(before, after)
        case View():
            return True
        case Column():
            return after is None
    return False


def _victim(thing: object, moved: set[Key], anew: set[Key], gone: set[Key]) -> bool:
    """`moved`: columns of another type; `anew`: those dropped and added; `gone`: all that goes."""
    match thing:
        case Column(generated=kind, table=table, reads=reads):
            return bool(kind) and (_any(table, reads, moved) or calls(thing, gone))
        case Constraint() | Index() | Trigger() | Policy() if calls(thing, gone):
            return True
        case Constraint(kind="FOREIGN KEY"):
            return _foreign(thing, moved, gone)
        case Constraint(table=table, columns=columns) | Index(table=table, columns=columns):
            return _any(table, columns, anew) or ("view", *table) in gone
        case Trigger(table=table, columns=columns) | Policy(table=table, columns=columns):
            return _any(table, columns, moved) or ("view", *table) in gone
        case Other(depends=depends, owners=owners):
            return gone.isdisjoint(owners) and not gone.isdisjoint(depends)
        case View(depends=depends) | Function(depends=depends):
            return any(key in gone for key in depends)
        case Grant(target=target):
            return target in gone or ("view", *target[1:3]) in gone
    return False


def _any(table: Place, columns: Iterable[str], keys: set[Key]) -> bool:
    return any(("column", *table, name) in keys for name in columns)


def _foreign(thing: Constraint, moved: set[Key], gone: set[Key]) -> bool:
    if thing.references is None:
        return False
    rests = any((kind, *thing.references, thing.index) in gone for kind in ("constraint", "index"))
    mine = _any(thing.table, thing.columns, moved)
    return rests or mine or _any(thing.references, thing.referenced, moved)
