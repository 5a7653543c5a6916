"""What differs between two snapshots, object by object."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Hashable, Iterator
from dataclasses import dataclass, replace
from typing import Any

from foundry.migrate.objects import Constraint, Index, Key, Object
from foundry.migrate.snapshot import Snapshot


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """An object before and after; None where it is not there."""

    before: Any
    after: Any

    @property
    def key(self) -> Key:
        """The key it has in the end, or had."""
        key: Key = (self.after or self.before).key
        return key


def compare(before: Snapshot, after: Snapshot) -> tuple[Change, ...]:
    """Return the objects that differ, in order of their keys.

    Constraints and indexes that only have another name come as one change.
    """
    there = after.objects.get
    left = {
        key: o
        for key, o in before.objects.items()
        # Snapshots of one plan share most of their objects.
        if (same := there(key)) is not o and same != o
    }
    gone = list(left.values())
    new = [o for key, o in after.objects.items() if key in left or key not in before.objects]
    pairs = _settled(dict(_paired(gone, new)))
    taken = set(pairs.values())
    changes = [Change(before=b, after=after.objects[pairs[b.key]]) for b in gone if b.key in pairs]
    for b in gone:
        if b.key not in pairs:
            same = after.get(b.key) if b.key not in taken else None
            changes.append(Change(before=b, after=same))
    met = {c.before.key for c in changes if c.after is not None and c.before.key == c.after.key}
    changes += [Change(before=None, after=a) for a in new if a.key not in taken | met]
    return tuple(sorted(changes, key=lambda c: c.key))


def _settled(pairs: dict[Key, Key]) -> dict[Key, Key]:
    """Return the renames that find their new name free: one that is dropped is, not renamed."""
    return {old: new for old, new in pairs.items() if new not in pairs}


def _paired(gone: list[Object], new: list[Object]) -> Iterator[tuple[Key, Key]]:
    """Yield the keys of objects that are the same but for their names."""
    waiting: dict[Hashable, list[Key]] = defaultdict(list)
    for a in sorted(new, key=lambda o: o.key):
        if isinstance(a, (Constraint, Index)):
            waiting[_nameless(a)].append(a.key)
    for b in sorted(gone, key=lambda o: o.key):
        if isinstance(b, (Constraint, Index)) and waiting[_nameless(b)]:
            yield b.key, waiting[_nameless(b)].pop(0)


def _nameless(thing: Constraint | Index) -> Hashable:
    # Comments are set after the renaming.
    return replace(thing, name="", comment="")
