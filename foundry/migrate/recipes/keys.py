"""Constraints and indexes: at once on new tables, step by step on those in use."""

from __future__ import annotations

from dataclasses import replace

from foundry.migrate.compare import Change
from foundry.migrate.objects import Constraint, Index, Place
from foundry.migrate.recipes.move import Move, Phase, Planned
from foundry.migrate.recipes.programs import dropped
from foundry.migrate.recipes.values import comment
from foundry.migrate.spelling import ident, quote, relation, respelled
from foundry.migrate.steps import Call, Step

_KEYS = ("PRIMARY KEY", "UNIQUE")
_ADDED = {
    "PRIMARY KEY": Phase.KEYS,
    "UNIQUE": Phase.KEYS,
    "EXCLUDE": Phase.KEYS,
    "CHECK": Phase.CHECKS,
    "FOREIGN KEY": Phase.FOREIGN_KEYS,
}


def constraint(move: Move, change: Change) -> Planned:
    """Yield the steps of a constraint that comes, goes, changes or is renamed."""
    before, after = change.before, change.after
    if before is not None and after is not None:
        if _same(before, after) and change.key not in move.rebuilt:
            yield from _kept(move, before, after, change)
            return
        yield from _dropped(move, before, Change(before=before, after=None))
        yield from _added(move, after, Change(before=None, after=after))
    elif before is not None:
        yield from _dropped(move, before, change)
    elif after.kind != "FOREIGN KEY" and ("table", *after.table) not in move.before:
        yield from commented(move, "", after, change)  # CREATE TABLE made it
    else:
        yield from _added(move, after, change)


def _same(before: Constraint, after: Constraint) -> bool:
    # One that was not validated can be; the way back is another constraint.
    alike = (before.kind, before.definition) == (after.kind, after.definition)
    return alike and (after.valid or not before.valid)


def _kept(move: Move, before: Constraint, after: Constraint, change: Change) -> Planned:
    table = after.table
    if before.name != after.name:
        sql = move.alter(table, f"RENAME CONSTRAINT {quote(before.name)} TO {quote(after.name)}")
        yield Phase.RENAMES, move.step(table, "rename constraint", sql, change)
    if after.valid and not before.valid:
        yield validated(move, after, change)
    yield from commented(move, before.comment, after, change)


def commented(move: Move, old: str, after: Constraint, change: Change) -> Planned:
    """Yield the step that gives a constraint its comment, where it has another one."""
    if old != after.comment:
        where = f"{quote(after.name)} ON {move.name(after.table)}"
        sql = f"COMMENT ON CONSTRAINT {where} IS {comment(after.comment)}"
        yield Phase.COMMENTS, move.step(after.table, "comment", sql, change)


def _dropped(move: Move, before: Constraint, change: Change) -> Planned:
    phase = Phase.FOREIGN_KEYS_OFF if before.kind == "FOREIGN KEY" else Phase.KEYS_OFF
    sql = move.alter(before.table, f"DROP CONSTRAINT {quote(before.name)}")
    call = move.call(before.table, "drop_constraint", before.name)
    yield phase, move.step(before.table, "drop constraint", sql, change, call)


def _added(move: Move, after: Constraint, change: Change) -> Planned:
    table, phase = after.table, _ADDED[after.kind]
    name, text = quote(after.name), respelled(after.source or after.definition)
    if after.kind in _KEYS and move.busy(table):
        yield from _key_by_index(move, after, change)
    elif after.kind in ("CHECK", "FOREIGN KEY") and (move.busy(table) or not after.valid):
        sql = move.alter(table, f"ADD CONSTRAINT {name} {text} NOT VALID")
        yield phase, move.step(table, "add constraint", sql, change)
        if after.valid:
            yield validated(move, after, change)
    else:
        sql = move.alter(table, f"ADD CONSTRAINT {name} {text}")
        yield phase, move.step(table, "add constraint", sql, change)
    yield from commented(move, "", after, change)


def validated(move: Move, after: Constraint, change: Change) -> tuple[Phase, Step]:
    """Return the step that has a constraint's rows looked at while others write."""
    sql = move.alter(after.table, f"VALIDATE CONSTRAINT {quote(after.name)}")
    step = move.step(after.table, "validate constraint", sql, change)
    return Phase.VALIDATIONS, step


def _key_by_index(move: Move, after: Constraint, change: Change) -> Planned:
    """Build the index while others work, then make it the constraint's."""
    table, name = after.table, quote(after.name)
    names = [(kind, *table, after.name) for kind in ("constraint", "index")]
    clash = any(key in move.before for key in names)
    built = quote(_beside(move, after.name)) if clash else name
    on = f"{built} ON {move.name(table)} {respelled(after.index)}"
    sql = f"CREATE UNIQUE INDEX CONCURRENTLY {on}"
    # The old key goes when the new one is there.
    phase = Phase.BEFORE_ALL if clash else Phase.KEYS
    yield phase, move.step(table, "create index concurrently", sql, change)
    later = f" {after.deferrable}" if after.deferrable else ""
    sql = move.alter(table, f"ADD CONSTRAINT {name} {after.kind} USING INDEX {built}{later}")
    yield Phase.KEYS, move.step(table, "add constraint", sql, change)


def _beside(move: Move, name: str) -> str:
    """Return the name an index has until the one it replaces is gone."""
    return move.spare(name, "_new")


def index(move: Move, change: Change) -> Planned:
    """Yield the steps of an index that comes, goes, changes or is renamed."""
    before, after = change.before, change.after
    if before is not None and dropped(move, before.table):
        before = None  # it goes with its view
    if before is None and after is None:
        return
    if before is None:
        yield from _indexed(move, after, after.name, change)
    elif after is None:
        yield _unindexed(move, before, change)
    elif _same_index(before, after) and change.key not in move.rebuilt:
        yield from _kept_index(move, before, after, change)
    elif before.name == after.name and before.valid and change.key not in move.rebuilt:
        yield from _replaced(move, before, after, change)
    else:
        yield _unindexed(move, before, Change(before=before, after=None))
        yield from _indexed(move, after, after.name, Change(before=None, after=after))


def _same_index(before: Index, after: Index) -> bool:
    return replace(before, name="", comment="") == replace(after, name="", comment="")


def _kept_index(move: Move, before: Index, after: Index, change: Change) -> Planned:
    if before.name != after.name:
        old = move.name((before.table[0], before.name))
        sql = f"ALTER INDEX {old} RENAME TO {quote(after.name)}"
        yield Phase.RENAMES, move.step(after.table, "rename index", sql, change)
    yield from commented_index(move, before.comment, after, change)


def commented_index(move: Move, old: str, after: Index, change: Change) -> Planned:
    """Yield the step that gives an index its comment, where it has another one."""
    if old != after.comment:
        name = move.name((after.table[0], after.name))
        sql = f"COMMENT ON INDEX {name} IS {comment(after.comment)}"
        yield Phase.COMMENTS, move.step(after.table, "comment", sql, change)


def _phase(move: Move, table: Place, phase: Phase) -> Phase:
    return Phase.VIEW_INDEXES if ("view", *table) in move.after else phase


def _indexed(move: Move, after: Index, name: str, change: Change) -> Planned:
    table, busy = after.table, move.busy(after.table)
    phase = _phase(move, table, Phase.INDEXES)
    unique = "UNIQUE " if after.unique else ""
    how = "CONCURRENTLY " if busy else ""
    on = f"{quote(name)} ON {move.name(table)} {respelled(after.definition)}"
    action = "create index concurrently" if busy else "create index"
    call = None if busy or name != after.name else _plain(move, after)
    step = move.step(table, action, f"CREATE {unique}INDEX {how}{on}", change, call)
    yield phase, step
    yield from commented_index(move, "", after, change)


def _plain(move: Move, after: Index) -> Call | None:
    """Return playhouse's add_index for what it can say: columns of a btree."""
    columns = ", ".join(map(ident, after.keys))
    if not after.keys or after.definition != f"USING btree ({columns})":
        return None
    namespace, bare = after.table
    if namespace != move.default or "." in bare:
        return None
    words: tuple[tuple[str, str | bool], ...] = (("name", after.name),)
    if after.unique:
        words = (("unique", True), *words)
    return Call(name="add_index", arguments=(bare, after.keys), keywords=words)


def _unindexed(move: Move, before: Index, change: Change) -> tuple[Phase, Step]:
    busy = move.busy(before.table)
    name = relation((before.table[0], before.name), move.default)
    if busy:
        sql = f"DROP INDEX CONCURRENTLY {name}"
        step = move.step(before.table, "drop index concurrently", sql, change)
        return Phase.INDEXES_OFF, step
    sql = f"DROP INDEX {name}"
    call = move.call((before.table[0], before.name), "drop_index", before.name)
    if call is not None:
        call = replace(call, arguments=(before.table[1], before.name))
    return Phase.INDEXES_OFF, move.step(before.table, "drop index", sql, change, call)


def _replaced(move: Move, before: Index, after: Index, change: Change) -> Planned:
    """Build the new index beside the old one, so that there always is one."""
    table = after.table
    if not move.busy(table):
        yield _unindexed(move, before, Change(before=before, after=None))
        yield from _indexed(move, after, after.name, Change(before=None, after=after))
        return
    beside = _beside(move, after.name)
    for _, step in _indexed(move, replace(after, comment=""), beside, change):
        yield Phase.INDEXES, step
    _, step = _unindexed(move, before, Change(before=before, after=None))
    yield Phase.INDEXES, step
    sql = f"ALTER INDEX {move.name((table[0], beside))} RENAME TO {quote(after.name)}"
    yield Phase.INDEXES, move.step(table, "rename index", sql, change)
    yield from commented_index(move, "", after, change)
