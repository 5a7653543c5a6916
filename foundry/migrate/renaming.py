"""Declared renames: the live database as it will be once they are done.

Texts that name something renamed are predicted here, for `diff` and where nothing can be tried
out; the files of `generate` go by what a server says of them.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from typing import Any

from foundry.errors import HistoryConflict
from foundry.migrate.objects import (
    Column,
    Constraint,
    Enum,
    Index,
    Key,
    Place,
    Policy,
    Sequence,
    Table,
    Trigger,
    View,
)
from foundry.migrate.snapshot import Snapshot
from foundry.migrate.spelling import literal, printed, quote, relation, renamed, spare
from foundry.migrate.steps import Call, Renames, Step


def renamings(
    live: Snapshot, wanted: Snapshot, declared: Renames, *, default: str
) -> tuple[Snapshot, tuple[Step, ...], tuple[Step, ...]]:
    """Return the live snapshot after the renames, and the steps there and back.

    A rename that was done already, or whose old name is nowhere, is passed over.
    """
    there: list[Step] = []
    back: list[Step] = []
    now = live
    for old, new in _tables(live, wanted, declared):
        there.append(_table_step(old, new, default, now))
        now = _table_renamed(now, old, new, default)
        back.append(_table_step(new, old, default, now))
    for place, old_name, new_name in _columns(now, wanted, declared):
        there.append(_column_step(place, old_name, new_name, default, now))
        now = _column_renamed(now, place, old_name, new_name)
        back.append(_column_step(place, new_name, old_name, default, now))
    for enum, label, new_label in _labels(now, wanted, declared):
        there.append(_label_step(enum, label, new_label, default))
        now = _relabelled(now, enum, label, new_label, default)
        back.append(_label_step(now.get(enum.key), new_label, label, default))
    for old, new in _sequences(now, wanted):
        there.append(_sequence_step(old, new, default, now))
        now = _sequence_renamed(now, old, new, default)
        back.append(_sequence_step(new, old, default, now))
    return now, tuple(there), tuple(reversed(back))


def _tables(live: Snapshot, wanted: Snapshot, declared: Renames) -> Iterator[tuple[Place, Place]]:
    before = {t.place for t in live.kind(Table)}
    after = {t.place for t in wanted.kind(Table)}
    for namespace in sorted({old[0] for old, _ in declared.tables}):
        names = {name for place, name in before if place == namespace}
        then = {name for place, name in after if place == namespace}
        pairs = {old[1]: new[1] for old, new in declared.tables if old[0] == namespace}
        for old_name, new_name in _ordered(_open(pairs, names, then), names):
            yield (namespace, old_name), (namespace, new_name)


def _columns(
    live: Snapshot, wanted: Snapshot, declared: Renames
) -> Iterator[tuple[Place, str, str]]:
    for place in dict.fromkeys(table for table, _, _ in declared.columns):
        names = {c.name for c in live.of_table(Column, place)}
        after = {c.name for c in wanted.of_table(Column, place)}
        pairs = {old: new for table, old, new in declared.columns if table == place}
        done = _ordered(_open(pairs, names, after), names)
        yield from ((place, old, new) for old, new in done)


def _free(pairs: Mapping[str, str], names: set[str]) -> dict[str, str]:
    """Return the renames whose new name is free, or is given up by another one."""
    left = dict(pairs)
    while True:
        found = {old: new for old, new in left.items() if new not in names or new in left}
        if found == left:
            return found
        left = found


def _open(pairs: Mapping[str, str], names: set[str], after: set[str]) -> dict[str, str]:
    """Return the renames that are still to be done: the old name is there, the new one not.

    Where both are there and both are wanted it was done. Where only the new one is, nobody can
    tell what it is; nor can names that only change places be told from those that have.
    """
    there = {old: new for old, new in pairs.items() if old in names and new in after}
    left = _free(there, names)
    for old, new in there.items():
        if old not in left and old not in after:
            raise HistoryConflict(
                f'"{old}" is to be renamed to "{new}", and both are there: if it was done, take '
                f'the rename out of the model; if not, drop or rename "{new}" in a migration of '
                f"your own first"
            )
    circle = left
    while any(new not in circle for new in circle.values()):
        circle = {old: new for old, new in circle.items() if new in circle}
    if circle:
        listed = " and ".join(f'"{name}"' for name in sorted(circle))
        raise HistoryConflict(
            f"{listed} only change names: rename by way of another name, in two migrations"
        )
    return left


def _ordered(pairs: Mapping[str, str], names: Iterable[str]) -> Iterator[tuple[str, str]]:
    """Yield renames so that each new name is free.

    Sequences may have changed places; they go by way of another name.
    """
    left, taken = dict(pairs), set(names)
    while left:
        free = next((old for old, new in left.items() if new not in taken), None)
        if free is None:
            old, new = next(iter(left.items()))
            aside = spare(old, "_before", taken)
            yield old, aside
            taken = (taken - {old}) | {aside}
            left = {aside if o == old else o: n for o, n in left.items()}
            continue
        new = left.pop(free)
        taken = (taken - {free}) | {new}
        yield free, new


def _labels(live: Snapshot, wanted: Snapshot, declared: Renames) -> Iterator[tuple[Enum, str, str]]:
    for place, old, new in declared.labels:
        found, after = live.get(("enum", *place)), wanted.get(("enum", *place))
        if found is None or after is None:
            continue
        first, then = set(found.labels), set(after.labels)
        if old in first - then and new in then - first:
            yield found, old, new


def _label_step(enum: Enum, old: str, new: str, default: str) -> Step:
    name = relation(enum.place, default)
    sql = f"ALTER TYPE {name} RENAME VALUE {literal(old)} TO {literal(new)}"
    labels = tuple(new if label == old else label for label in enum.labels)
    return Step(
        action="rename enum label", sql=sql, before=enum, after=replace(enum, labels=labels)
    )


def _relabelled(now: Snapshot, enum: Enum, old: str, new: str, default: str) -> Snapshot:
    """Return the snapshot with the label renamed, and wherever it is a constant."""
    found = now.get(enum.key)
    labels = tuple(new if label == old else label for label in found.labels)
    type_name = printed(enum.place, default)
    was, is_ = (f"{literal(label)}::{type_name}" for label in (old, new))
    texts = ("default", "definition", "expression", "predicate", "index", "query")

    def relabelled(thing: Any) -> Any:
        said = {name: getattr(thing, name) for name in texts if hasattr(thing, name)}
        new_texts = {name: text.replace(was, is_) for name, text in said.items()}
        return replace(thing, **new_texts) if new_texts != said else thing

    return Snapshot.of(relabelled(o) for o in now.changed(add=[replace(found, labels=labels)]))


def _sequences(live: Snapshot, wanted: Snapshot) -> Iterator[tuple[Place, Place]]:
    """Yield sequences that belong to the same column under another name."""
    owned = {s.owner: s for s in wanted.kind(Sequence) if s.owner}
    moves: dict[str, dict[str, str]] = {}
    for found in live.kind(Sequence):
        new = owned.get(found.owner) if found.owner else None
        if new is not None and new.place != found.place and new.namespace == found.namespace:
            moves.setdefault(found.namespace, {})[found.name] = new.name
    for namespace, pairs in sorted(moves.items()):
        names = {s.name for s in live.kind(Sequence) if s.namespace == namespace}
        for old, name in _ordered(_free(pairs, names), names):
            yield (namespace, old), (namespace, name)


def unknown(live: Snapshot, wanted: Snapshot, declared: Renames) -> Iterator[str]:
    """Yield a note on each rename of what is nowhere: it may be a mistyped one."""
    lacks = 'of "{}": there is no {} "{}", so "{}" is made anew'
    for old, new in declared.tables:
        if ("table", *old) not in live and ("table", *new) not in live:
            yield "renamed_from " + lacks.format(new[1], "table", old[1], new[1])
    earlier = {new: old for old, new in declared.tables}
    for table, name, field in declared.columns:
        places = (table, earlier.get(table, table))
        there = {c.name for place in places for c in live.of_table(Column, place)}
        if there and ("column", *table, field) in wanted and not there & {name, field}:
            yield "renames " + lacks.format(table[1], "column", name, field)


def looking(live: Snapshot, wanted: Snapshot, there: Iterable[Step]) -> tuple[Key, ...]:
    """Return the wanted views and policies that read something renamed, and views that read them.

    They are made anew from their declaration where no server can be asked what it makes of
    their text. A policy's own table is no matter: there the text can be told.
    """
    gone: set[Key] = set()
    earlier: dict[Place, Place] = {}
    for step in there:
        if isinstance(step.before, Table) and isinstance(step.after, Table):
            earlier[step.after.place] = step.before.place
            gone.add(step.before.key)
        elif isinstance(step.before, Column):
            table = step.before.table
            gone.add(("column", *earlier.get(table, table), step.before.name))
    readers: list[View | Policy] = [*live.kind(View), *_far(live)]
    readers = [o for o in readers if o.key in wanted]
    found: set[Key] = set()
    while True:
        left = (o for o in readers if o.key not in found)
        more = {o.key for o in left if any(_reads(k, gone | found) for k in o.depends)}
        if not more:
            return tuple(sorted(found))
        found |= more


def _far(live: Snapshot) -> Iterator[Policy]:
    """Yield policies with what they read of other tables."""
    for policy in live.kind(Policy):
        yield replace(policy, depends=tuple(k for k in policy.depends if k[1:3] != policy.table))


def _reads(key: Key, names: set[Key]) -> bool:
    return key in names or (key[0] == "column" and ("table", *key[1:3]) in names)


def _table_step(old: Place, new: Place, default: str, now: Snapshot) -> Step:
    sql = f"ALTER TABLE {relation(old, default)} RENAME TO {quote(new[1])}"
    before = now.get(("table", *old))
    return Step(action="rename table", sql=sql, before=before, after=replace(before, name=new[1]))


def _column_step(place: Place, old: str, new: str, default: str, now: Snapshot) -> Step:
    before = now.get(("column", *place, old))
    what = f"RENAME COLUMN {quote(old)} TO {quote(new)}"
    plain = place[0] == default and "." not in place[1]
    return Step(
        action="rename column",
        sql=f"ALTER TABLE {relation(place, default)} {what}",
        before=before,
        after=replace(before, name=new),
        call=Call(name="rename_column", arguments=(place[1], old, new)) if plain else None,
    )


def _sequence_step(old: Place, new: Place, default: str, now: Snapshot) -> Step:
    before = now.get(("sequence", *old))
    sql = f"ALTER SEQUENCE {relation(old, default)} RENAME TO {quote(new[1])}"
    after = replace(before, name=new[1])
    return Step(action="rename sequence", sql=sql, before=before, after=after)


def _table_renamed(now: Snapshot, old: Place, new: Place, default: str) -> Snapshot:
    return Snapshot.of(_of_table(o, old, new, default) for o in now)


def _of_table(thing: Any, old: Place, new: Place, default: str) -> Any:
    if isinstance(thing, Table) and thing.place == old:
        return replace(thing, name=new[1])
    if isinstance(thing, Sequence) and thing.owner and thing.owner[:2] == old:
        return replace(thing, owner=(*new, thing.owner[2]))
    if isinstance(thing, Constraint) and thing.references == old:
        head, word, tail = thing.definition.partition(" REFERENCES ")
        was, now = printed(old, default), printed(new, default)
        tail = now + tail.removeprefix(was) if tail.startswith(was) else tail
        thing = replace(thing, references=new, definition=head + word + tail)
    if isinstance(thing, Trigger) and thing.table == old:
        text = renamed(thing.definition, {old[1]: new[1]})
        thing = replace(thing, definition=text)
    if getattr(thing, "table", None) == old:
        thing = replace(thing, table=new)
    if hasattr(thing, "depends"):
        keys = tuple((k[0], *new, *k[3:]) if k[1:3] == old else k for k in thing.depends)
        thing = replace(thing, depends=keys)
    if hasattr(thing, "target") and thing.target[1:3] == old:
        return replace(thing, target=(thing.target[0], *new, *thing.target[3:]))
    return thing


def _column_renamed(now: Snapshot, place: Place, old: str, new: str) -> Snapshot:
    return Snapshot.of(_of_column(o, place, {old: new}) for o in now)


def _of_column(thing: Any, place: Place, names: Mapping[str, str]) -> Any:
    if isinstance(thing, Constraint):
        return _constraint(thing, place, names)
    if isinstance(thing, Table) and thing.place == place:
        return replace(thing, partition_by=renamed(thing.partition_by, names))
    if isinstance(thing, Sequence) and thing.owner and thing.owner[:2] == place:
        owner = names.get(thing.owner[2], thing.owner[2])
        return replace(thing, owner=(*place, owner))
    if hasattr(thing, "depends"):
        keys = tuple(_key(k, place, names) for k in thing.depends)
        thing = replace(thing, depends=keys)
    if hasattr(thing, "target"):
        return replace(thing, target=_key(thing.target, place, names))
    if getattr(thing, "table", None) != place:
        return thing
    if isinstance(thing, Column):
        default = renamed(thing.default, names) if thing.generated else thing.default
        reads = tuple(names.get(r, r) for r in thing.reads)
        name = names.get(thing.name, thing.name)
        return replace(thing, name=name, default=default, reads=reads)
    if isinstance(thing, (Index, Policy, Trigger)):
        columns = tuple(names.get(c, c) for c in thing.columns)
        thing = replace(thing, definition=renamed(thing.definition, names), columns=columns)
    if isinstance(thing, Index):
        plain = tuple(names.get(c, c) for c in thing.keys)
        thing = replace(thing, keys=plain, predicate=renamed(thing.predicate, names))
    return thing


def _key(key: Key, place: Place, names: Mapping[str, str]) -> Key:
    if key[0] != "column" or key[1:3] != place:
        return key
    return (*key[:3], names.get(key[3], key[3]))


def _constraint(thing: Constraint, place: Place, names: Mapping[str, str]) -> Constraint:
    head, word, tail = thing.definition.partition(" REFERENCES ")
    if thing.kind != "FOREIGN KEY":
        head, word, tail = thing.definition, "", ""
    if thing.table == place:
        head = renamed(head, names)
        columns, reads = (
            tuple(names.get(c, c) for c in some) for some in (thing.columns, thing.reads)
        )
        expression, index = renamed(thing.expression, names), thing.index
        index = index if thing.kind == "FOREIGN KEY" else renamed(index, names)
        thing = replace(thing, columns=columns, reads=reads, expression=expression, index=index)
    if thing.references == place:
        table, bracket, rest = tail.partition("(")
        tail = table + bracket + renamed(rest, names)
        referenced = tuple(names.get(c, c) for c in thing.referenced)
        thing = replace(thing, referenced=referenced)
    return replace(thing, definition=head + word + tail)


def _sequence_renamed(now: Snapshot, old: Place, new: Place, default: str) -> Snapshot:
    was, is_ = (f"'{printed(p, default)}'".replace("''", "'") for p in (old, new))

    def moved(thing: Any) -> Any:
        if isinstance(thing, Sequence) and thing.place == old:
            return replace(thing, name=new[1])
        if isinstance(thing, Column) and thing.sequence == old:
            return replace(thing, sequence=new, default=thing.default.replace(was, is_))
        return thing

    return Snapshot.of(moved(o) for o in now)
