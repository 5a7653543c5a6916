"""What is declared by a statement of its own: views, functions, triggers, policies, grants."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from typing import Any

from foundry.migrate.compare import Change
from foundry.migrate.objects import (
    Column,
    Constraint,
    Function,
    Grant,
    Index,
    Key,
    Place,
    Policy,
    Trigger,
    View,
)
from foundry.migrate.recipes.move import Move, Phase, Planned
from foundry.migrate.recipes.values import comment, parameters, with_options
from foundry.migrate.snapshot import Snapshot
from foundry.migrate.spelling import quote, respelled
from foundry.migrate.steps import Step


def _step(action: str, sql: str, change: Change) -> Step:
    return Step(action=action, sql=sql, before=change.before, after=change.after)


def view(move: Move, change: Change) -> Planned:
    """Yield the steps of a view that comes, goes, changes or is in the way."""
    before, after = change.before, change.after
    if before is not None and after is not None and not dropped(move, before.place):
        yield from _replaced(move, before, after, change)
        return
    if before is not None:
        kind = _kind(before)
        sql = f"DROP {kind} {move.name(before.place)}"
        gone = Change(before=before, after=None)
        yield Phase.VIEWS_OFF, _step("drop view", sql, gone)
    if after is not None:
        yield Phase.VIEWS, _step("create view", _view(move, after), change)
        for column, value in after.defaults:
            what = f"ALTER COLUMN {quote(column)} SET DEFAULT {respelled(value)}"
            sql = f"ALTER VIEW {move.name(after.place)} {what}"
            yield Phase.VIEW_INDEXES, _step("set default", sql, change)
        for rule in after.rules:
            sql = respelled(rule).rstrip(";")
            yield Phase.VIEW_INDEXES, _step("create rule", sql, change)
        for column, text in after.notes:
            name = f"{move.name(after.place)}.{quote(column)}"
            sql = f"COMMENT ON COLUMN {name} IS {comment(text)}"
            yield Phase.COMMENTS, _step("comment", sql, change)
        yield from _commented(move, "", after, change)


def dropped(move: Move, place: Place) -> bool:
    """True for a view that is dropped, whether it comes back or not."""
    key: Key = ("view", *place)
    before, after = move.before.get(key), move.after.get(key)
    if before is None:
        return False
    return after is None or key in move.rebuilt or not _extends(before, after)


def _kind(found: View) -> str:
    return "MATERIALIZED VIEW" if found.materialized else "VIEW"


def _extends(before: View, after: View) -> bool:
    """True when CREATE OR REPLACE VIEW leads from one to the other."""
    same_start = after.columns[: len(before.columns)] == before.columns
    if after.materialized or before.materialized:
        return before == replace(after, comment=before.comment, options=before.options)
    return same_start


def _view(move: Move, after: View) -> str:
    options = with_options(after.given or after.options)
    query = respelled(after.query)
    empty = " WITH NO DATA" if after.materialized and not after.populated else ""
    return f"CREATE {_kind(after)} {move.name(after.place)}{options} AS\n{query}{empty}"


def _replaced(move: Move, before: View, after: View, change: Change) -> Planned:
    name = move.name(after.place)
    if (before.query, before.columns) != (after.query, after.columns):
        query = respelled(after.query)
        options = with_options(after.given or after.options)
        sql = f"CREATE OR REPLACE VIEW {name}{options} AS\n{query}"
        yield Phase.VIEWS, _step("replace view", sql, change)
    else:
        for what in parameters(before.options, after.given or after.options):
            sql = f"ALTER {_kind(after)} {name} {what}"
            yield Phase.VIEWS, _step("set view options", sql, change)
    yield from _commented(move, before.comment, after, change)


def _commented(move: Move, old: str, after: View, change: Change) -> Planned:
    if old != after.comment:
        target = f"{_kind(after)} {move.name(after.place)}"
        sql = f"COMMENT ON {target} IS {comment(after.comment)}"
        yield Phase.COMMENTS, _step("comment", sql, change)


def function(move: Move, change: Change) -> Planned:
    """Yield the steps of a function that comes, goes, changes or is in the way."""
    before, after = change.before, change.after
    kept = before and after and before.key not in move.replaced
    if before is not None and not kept:
        sql = f"DROP {before.kind} {_function(move, before)}"
        step = _step("drop function", sql, Change(before=before, after=None))
        yield _off(move, before), step
    if after is None:
        return
    if not kept or before.definition != after.definition:
        action = "replace function" if kept else "create function"
        yield _when(move, after), _step(action, after.definition.rstrip(), change)
    if (before.comment if kept else "") != after.comment:
        target = f"{after.kind} {_function(move, after)}"
        sql = f"COMMENT ON {target} IS {comment(after.comment)}"
        yield Phase.COMMENTS, _step("comment", sql, change)


def _off(move: Move, before: Function) -> Phase:
    """Return when a function goes: with a view that it reads, before its like comes.

    One that only goes does so before a table of whose rows it is, else after all tables.
    """
    read = _with_rests(move.before, before.depends)
    if any(dropped(move, (key[1], key[2])) for key in read if key[0] == "view"):
        return Phase.VIEWS_OFF
    if before.key in move.replaced:
        return Phase.FUNCTIONS_REPLACED
    first = any(key not in move.after for key in read if key[0] in ("table", "column"))
    return Phase.FUNCTIONS_FIRST_OFF if first else Phase.FUNCTIONS_OFF


def _when(move: Move, after: Function) -> Phase:
    """Return the phase of a function: before the tables only if one of them calls it."""
    views = [key for key in _with_rests(move.after, after.depends) if key[0] == "view"]
    if any(key not in move.before or dropped(move, (key[1], key[2])) for key in views):
        return Phase.VIEWS
    return Phase.FUNCTIONS if after.key in _called(move.after) else Phase.LATER_FUNCTIONS


def _called(side: Snapshot) -> set[Key]:
    """Return what tables call, and what that rests on."""
    kinds: tuple[type[Column | Constraint | Index], ...] = (Column, Constraint, Index)
    return _with_rests(side, (k for kind in kinds for o in side.kind(kind) for k in o.functions))


def _with_rests(side: Snapshot, keys: Iterable[Key]) -> set[Key]:
    """Return keys with all that the functions among them rest on, by way of others, too."""
    found: set[Key] = set()
    new = set(keys)
    while new:
        found |= new
        functions = (side.get(key) for key in new if key[0] == "function" and key in side)
        new = {key for one in functions for key in one.depends} - found
    return found


def replaceable(before: Function, after: Function) -> bool:
    """True when CREATE OR REPLACE leads from one to the other.

    It changes neither the names nor the defaults of arguments: the first line of the text.
    """
    lines = [found.definition.partition("\n")[0] for found in (before, after)]
    return before.returns == after.returns and lines[0] == lines[1]


def succeeded(after: Snapshot, found: Function) -> bool:
    """True for a function that goes while one of its name and other arguments does not."""
    return found.key not in after and any(f.key[:3] == found.key[:3] for f in after.kind(Function))


def replaced(
    before: Snapshot, after: Snapshot, changes: Iterable[Change], rebuilt: frozenset[Key]
) -> frozenset[Key]:
    """Return the functions that go before their like comes, and those that rest on them.

    What calls one of them has to be away by then, also where its table goes later.
    """
    found = {key for key in rebuilt if key[0] == "function"}
    for change in changes:
        old, new = change.before, change.after
        if isinstance(old, Function):
            again = new is not None and not replaceable(old, new)
            if again or (new is None and succeeded(after, old)):
                found.add(old.key)
    while more := {
        f.key for f in before.kind(Function) if f.key not in found and found & set(f.depends)
    }:
        found |= more
    return frozenset(found)


def computed(move: Move, change: Change) -> Planned:
    """Yield what works results out again that a function has changed."""
    before: Any = change.before
    match change.after:
        case View(place=place) if not dropped(move, place):
            sql = f"REFRESH MATERIALIZED VIEW {move.name(place)}"
            yield Phase.REFRESHES, _step("refresh view", sql, change)
        case Column(table=table, name=name, default=default) if before.default == default:
            what = f"ALTER COLUMN {quote(name)} SET EXPRESSION AS ({respelled(default)})"
            step = move.step(table, "set expression", move.alter(table, what), change)
            yield Phase.EXPRESSIONS, step


def _function(move: Move, found: Function) -> str:
    return f"{move.name((found.namespace, found.name))}({found.arguments})"


def trigger(move: Move, change: Change) -> Planned:
    """Yield the steps of a trigger that comes, goes or changes."""
    before, after = change.before, change.after
    same = before and after and before.definition == after.definition
    if before is not None and dropped(move, before.table):
        same = False  # it went with its view
    elif before is not None and not (same and change.key not in move.rebuilt):
        sql = f"DROP TRIGGER {quote(before.name)} ON {move.name(before.table)}"
        step = move.step(before.table, "drop trigger", sql, Change(before=before, after=None))
        yield Phase.TRIGGERS_OFF, step
    if after is None:
        return
    old = before if same and change.key not in move.rebuilt else None
    if old is None:
        step = move.step(after.table, "create trigger", respelled(after.definition), change)
        yield Phase.TRIGGERS, step
    if (old.enabled if old else "ENABLE") != after.enabled:
        verb, _, when = after.enabled.partition(" ")
        what = f"{verb} {when + ' ' if when else ''}TRIGGER {quote(after.name)}"
        sql = move.alter(after.table, what)
        yield Phase.TRIGGERS, move.step(after.table, "set trigger", sql, change)
    yield from _on_table(move, "TRIGGER", old.comment if old else "", after, change)


def policy(move: Move, change: Change) -> Planned:
    """Yield the steps of a policy that comes, goes or changes."""
    before, after = change.before, change.after
    same = before and after and before.definition == after.definition
    if before is not None and not (same and change.key not in move.rebuilt):
        sql = f"DROP POLICY {quote(before.name)} ON {move.name(before.table)}"
        step = move.step(before.table, "drop policy", sql, Change(before=before, after=None))
        yield Phase.TRIGGERS_OFF, step
    if after is None:
        return
    kept = same and change.key not in move.rebuilt
    if not kept:
        on = f"{quote(after.name)} ON {move.name(after.table)}"
        sql = f"CREATE POLICY {on} {respelled(after.definition)}"
        yield Phase.SECURITY, move.step(after.table, "create policy", sql, change)
    yield from _on_table(move, "POLICY", before.comment if kept else "", after, change)


def _on_table(move: Move, kind: str, old: str, after: Trigger | Policy, change: Change) -> Planned:
    if old != after.comment:
        where = f"{quote(after.name)} ON {move.name(after.table)}"
        sql = f"COMMENT ON {kind} {where} IS {comment(after.comment)}"
        yield Phase.COMMENTS, move.step(after.table, "comment", sql, change)


def grant(move: Move, change: Change) -> Planned:
    """Yield the steps of a privilege that is given or taken back."""
    before, after = change.before, change.after
    again = change.key in move.rebuilt  # it went with what it is on
    if before is not None and before.target in move.after and not again:
        gone = Change(before=before, after=None)
        yield _privileged(move, before, gone, given=before.revoked)
    if after is not None:
        yield _privileged(move, after, change, given=not after.revoked)


def _privileged(move: Move, found: Grant, change: Change, *, given: bool) -> tuple[Phase, Step]:
    what, target, role = _privilege(found), _target(move, found), _role(found)
    if not given:
        sql = f"REVOKE {what} ON {target} FROM {role}"
        return Phase.REVOKES, _step("revoke", sql, change)
    option = " WITH GRANT OPTION" if found.grantable else ""
    sql = f"GRANT {what} ON {target} TO {role}{option}"
    return Phase.GRANTS, _step("grant", sql, change)


def _role(found: Grant) -> str:
    return quote(found.role) if found.role else "PUBLIC"


def _privilege(found: Grant) -> str:
    if found.target[0] == "column":
        return f"{found.privilege} ({quote(found.target[3])})"
    return found.privilege


def _target(move: Move, found: Grant) -> str:
    kind, *names = found.target
    match kind:
        case "namespace":
            return f"SCHEMA {quote(names[0])}"
        case "function":
            key: Key = found.target
            object_ = move.after.get(key) or move.before.get(key)
            return f"{object_.kind} {_function(move, object_)}"
        case "sequence":
            return f"SEQUENCE {move.name((names[0], names[1]))}"
        case _:
            return f"TABLE {move.name((names[0], names[1]))}"
