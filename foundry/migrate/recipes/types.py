"""Namespaces, extensions, enumerated types and sequences."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from foundry.migrate.casts import Type
from foundry.migrate.compare import Change
from foundry.migrate.objects import Column, Enum, Extension, Namespace, Sequence
from foundry.migrate.recipes.columns import continued, set_aside
from foundry.migrate.recipes.move import Move, Phase, Planned
from foundry.migrate.recipes.serials import made_by_column
from foundry.migrate.recipes.values import comment
from foundry.migrate.snapshot import Snapshot
from foundry.migrate.spelling import literal, quote
from foundry.migrate.steps import Step


def _step(action: str, sql: str, change: Change) -> Step:
    return Step(action=action, sql=sql, before=change.before, after=change.after)


def _commented(target: str, change: Change) -> Planned:
    old = change.before.comment if change.before else ""
    if change.after and old != change.after.comment:
        sql = f"COMMENT ON {target} IS {comment(change.after.comment)}"
        yield Phase.COMMENTS, _step("comment", sql, change)


def namespace(move: Move, change: Change) -> Planned:
    """Yield the steps of a namespace that comes or goes."""
    match change:
        case Change(before=None, after=Namespace(name=name)):
            sql = f"CREATE SCHEMA {quote(name)}"
            yield Phase.NAMESPACES, _step("create namespace", sql, change)
        case Change(before=Namespace(name=name), after=None):
            sql = f"DROP SCHEMA {quote(name)}"
            yield Phase.NAMESPACES_OFF, _step("drop namespace", sql, change)
    yield from _commented(f"SCHEMA {quote(change.key[1])}", change)


def extension(move: Move, change: Change) -> Planned:
    """Yield the step of an extension that is wanted; one that is there stays."""
    if isinstance(change.after, Extension) and change.before is None:
        # Installing it twice is no error: others may have done it meanwhile.
        sql = f"CREATE EXTENSION IF NOT EXISTS {quote(change.after.name)}"
        yield Phase.NAMESPACES, _step("create extension", sql, change)


# Extensions by the types they bring, besides the one of their own name.
_BRINGS = {"halfvec": "vector", "sparsevec": "vector"}


def needed(move: Move, changes: Iterable[Change]) -> Planned:
    """Yield the extensions of new columns: they are here, and may be missing elsewhere."""
    changed = [c for c in changes if isinstance(c.after, Column)]
    types = {Type.of(c.after.type).base for c in changed}
    types -= {Type.of(c.before.type).base for c in changed if c.before is not None}
    for name in sorted({_BRINGS.get(t, t) for t in types}):
        key = ("extension", name)
        if key in move.before and key in move.after:
            yield from extension(move, Change(before=None, after=move.after.get(key)))


def enum(move: Move, change: Change) -> Planned:
    """Yield the steps of an enumerated type that comes, goes or gets other labels."""
    match change:
        case Change(before=None, after=Enum() as after):
            yield Phase.ENUMS, _step("create enum", _created(move, after), change)
        case Change(before=Enum() as before, after=None):
            sql = f"DROP TYPE {move.name(before.place)}"
            yield Phase.ENUMS_OFF, _step("drop enum", sql, change)
        case Change(after=Enum() as after) if change.key in move.recast:
            yield from _made_anew(move, after, change)
            change = replace(change, before=None)  # what was said of it went with it
        case Change(before=Enum() as before, after=Enum() as after):
            yield from _grown(move, before, after, change)
    yield from _commented(f"TYPE {move.name((change.key[1], change.key[2]))}", change)


def _created(move: Move, after: Enum) -> str:
    labels = ", ".join(map(literal, after.labels))
    return f"CREATE TYPE {move.name(after.place)} AS ENUM ({labels})"


def grown(before: Enum, after: Enum) -> bool:
    """True when the labels of before all are in after, in the same order."""
    return tuple(x for x in after.labels if x in before.labels) == before.labels


def made_anew(column: Column, before: Snapshot, after: Snapshot) -> bool:
    """True for a column whose enumerated type loses labels or has them in another order."""
    key = ("enum", *(column.enum or ()))
    old, new = before.get(key), after.get(key)
    return bool(old and new and not grown(old, new))


def _grown(move: Move, before: Enum, after: Enum, change: Change) -> Planned:
    for number, label in enumerate(after.labels):
        if label not in before.labels:
            where = _neighbour(before, after, number)
            sql = f"ALTER TYPE {move.name(after.place)} ADD VALUE {literal(label)}{where}"
            yield Phase.ENUMS, _step("add enum label", sql, change)


def _made_anew(move: Move, after: Enum, change: Change) -> Planned:
    old = set_aside(move, after.place)
    sql = f"ALTER TYPE {move.name(after.place)} RENAME TO {quote(old[1])}"
    yield Phase.RENAMES, _step("rename enum", sql, change)
    yield Phase.ENUMS, _step("create enum", _created(move, after), change)
    yield Phase.ENUMS_OFF, _step("drop enum", f"DROP TYPE {move.name(old)}", change)


def _neighbour(before: Enum, after: Enum, number: int) -> str:
    # Labels are added in order: the one before is always there.
    if number:
        return f" AFTER {literal(after.labels[number - 1])}"
    return f" BEFORE {literal(before.labels[0])}" if before.labels else ""


def sequence(move: Move, change: Change) -> Planned:
    """Yield the steps of a sequence that comes, goes or changes."""
    match change:
        case Change(before=None, after=Sequence() as after):
            yield from _sequence(move, after, change)
        case Change(before=Sequence() as before, after=None):
            yield from _unsequenced(move, before, change)
        case Change(before=Sequence() as before, after=Sequence() as after):
            yield from _resequenced(move, before, after, change)
    yield from _commented(f"SEQUENCE {move.name((change.key[1], change.key[2]))}", change)


def _sequence(move: Move, after: Sequence, change: Change) -> Planned:
    owner = after.owner
    fresh = owner is not None and ("table", *owner[:2]) not in move.before
    if fresh and made_by_column(move.after, after):
        return
    name = move.name(after.place)
    sql = f"CREATE SEQUENCE {name} AS {after.type} {after.options}"
    yield Phase.SEQUENCES, _step("create sequence", sql, change)
    if owner is None:
        return
    yield from _owned(move, after, change)
    column = move.before.get(("column", *owner))
    if column is not None:
        if column.identity_sequence == after.name:
            aside = quote(set_aside(move, after.place)[1])
            sql = f"ALTER SEQUENCE {name} RENAME TO {aside}"
            yield Phase.RENAMES, _step("rename sequence", sql, change)
        yield from continued(move, after.place, column, change)


def _owned(move: Move, after: Sequence, change: Change) -> Planned:
    to = f"{move.name(after.owner[:2])}.{quote(after.owner[2])}" if after.owner else "NONE"
    sql = f"ALTER SEQUENCE {move.name(after.place)} OWNED BY {to}"
    yield Phase.OWNERS, _step("own sequence", sql, change)


def _unsequenced(move: Move, before: Sequence, change: Change) -> Planned:
    if before.owner and ("column", *before.owner) not in move.after:
        return  # it goes with its column
    place = before.place
    if _taken(move, before):
        aside = set_aside(move, place)
        sql = f"ALTER SEQUENCE {move.name(place)} RENAME TO {quote(aside[1])}"
        yield Phase.RENAMES, _step("rename sequence", sql, change)
        place = aside
    yield Phase.SEQUENCES_OFF, _step("drop sequence", f"DROP SEQUENCE {move.name(place)}", change)


def _taken(move: Move, before: Sequence) -> bool:
    """True when an identity takes the name of a sequence that goes."""
    column = move.after.get(("column", *before.owner)) if before.owner else None
    return column is not None and column.identity_sequence == before.name


def _resequenced(move: Move, before: Sequence, after: Sequence, change: Change) -> Planned:
    if (before.type, before.options) != (after.type, after.options):
        sql = f"ALTER SEQUENCE {move.name(after.place)} AS {after.type} {after.options}"
        yield Phase.SEQUENCES, _step("alter sequence", sql, change)
    if before.owner != after.owner:
        yield from _owned(move, after, change)
