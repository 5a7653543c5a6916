"""What a plan changes, object by object, for people and for `--json`."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, fields
from typing import Any

from foundry.migrate.hazards import subject
from foundry.migrate.objects import Key
from foundry.migrate.steps import HOLE, Plan, Step

ADD, DROP, ALTER, RENAME = "add", "drop", "alter", "rename"
UNWRITTEN = "NULL /* to be written by you */"
"""Stands in printed SQL for what the author of the migration has to write."""

# They prepare or finish what another step is about, where there is another one.
_PASSING = frozenset({"fill column", "validate constraint", "set sequence"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Detail:
    """An attribute of an object that changes."""

    name: str
    before: str
    after: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """An object that a plan changes."""

    change: str
    """"add", "drop", "alter" or "rename"."""
    kind: str
    name: str
    details: tuple[Detail, ...] = ()


def entries(plan: Plan, namespace: str = "public") -> tuple[Entry, ...]:
    """Return what a plan changes: renames first, then by kind and name.

    The columns of a new table, and what goes with one, are not named by themselves; nor is
    what is rebuilt as it was.
    """
    if not plan.stages:
        return ()
    steps = [step for stage in plan.stages for step in stage.up]
    renames = [_renamed(s, namespace) for s in steps if _is_rename(s)]
    others = _changed([s for s in steps if s.action not in _PASSING])
    others = {**_changed([s for s in steps if s.action in _PASSING]), **others}
    goal = plan.stages[-1].after
    fresh = {s.subject.key for s in steps if s.action == "create table"}
    made = [
        entry
        for key, (first, last) in others.items()
        if last.after is None or key in goal
        if not (key[0] == "column" and ("table", *key[1:3]) in fresh)
        if (entry := _entry(first, last, namespace)) is not None
    ]
    order = (ADD, ALTER, DROP)
    made.sort(key=lambda e: (e.kind, e.name, order.index(e.change)))
    return (*renames, *made)


def _changed(steps: Iterable[Step]) -> dict[Key, tuple[Step, Step]]:
    """Return the first and the last of the steps about each object, renames aside."""
    found: dict[Key, tuple[Step, Step]] = {}
    for step in steps:
        if not _is_rename(step):
            key = step.subject.key
            found[key] = (found.get(key, (step,))[0], step)
    return found


def _is_rename(step: Step) -> bool:
    before, after = step.before, step.after
    return bool(step.action.startswith("rename ") and before and after and before.key != after.key)


def _renamed(step: Step, namespace: str) -> Entry:
    before = subject(Step(action="", sql="", before=step.before), namespace)
    after = subject(step, namespace)
    detail = Detail(name="name", before=before, after=after)
    return Entry(change=RENAME, kind=step.subject.key[0], name=after, details=(detail,))


def _entry(first: Step, last: Step, namespace: str) -> Entry | None:
    before, after = first.before, last.after
    kind = (after or before or first.subject).key[0]
    name = subject(last, namespace)
    if before is None and after is None:
        return None
    if before is None or after is None:
        return Entry(change=DROP if after is None else ADD, kind=kind, name=name)
    if before == after:
        return None
    return Entry(change=ALTER, kind=kind, name=name, details=tuple(_details(before, after)))


def _details(before: Any, after: Any) -> Iterator[Detail]:
    for field in fields(after):
        old, new = getattr(before, field.name, None), getattr(after, field.name)
        if field.compare and old != new:
            yield Detail(name=field.name.replace("_", " "), before=_text(old), after=_text(new))


def _text(value: object) -> str:
    if isinstance(value, tuple):
        return ", ".join(".".join(map(str, v)) if isinstance(v, tuple) else str(v) for v in value)
    if isinstance(value, bool):
        return "yes" if value else "no"
    return "" if value is None else str(value)


def statements(plan: Plan) -> tuple[tuple[str, ...], ...]:
    """Return the SQL of each file, as a session would run it."""
    return tuple(
        tuple(step.sql.replace(HOLE, UNWRITTEN).rstrip(";") + ";" for step in stage.up)
        for stage in plan.stages
    )
