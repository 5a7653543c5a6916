"""Which locks steps take, what they do under them and what they lose.

Tables that the same plan makes are not spoken of: nobody uses them yet.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace

from foundry.migrate.modes import Mode, Work
from foundry.migrate.objects import (
    Column,
    Constraint,
    Grant,
    Index,
    Key,
    Place,
    Policy,
    Table,
    Trigger,
    View,
)
from foundry.migrate.objects import Sequence as Numbers
from foundry.migrate.rules import QUIET, Context, Rule, rule_for
from foundry.migrate.spelling import ident, printed
from foundry.migrate.steps import Step
from foundry.migrate.subjects import other_of, table_of
from foundry.migrate.survival import rounds

Lock = tuple[str, str, str]
"""Table as it is printed, lock mode, work."""


def locks(step: Step, context: Context) -> tuple[Lock, ...]:
    """Return the locks a step takes on tables that were there before the plan."""
    rule = rule_for(step, context)
    if rule is None:
        return ()
    return tuple(
        (printed(place, context.namespace), mode.words, work.words)
        for place, mode, work in _locked(step, rule, context)
    )


def _locked(step: Step, rule: Rule, context: Context) -> Iterator[tuple[Place, Mode, Work]]:
    mine, other = table_of(step), other_of(step)
    fresh = _made(context.earlier)
    if mine is not None and step.standing and step.action != "create table" and mine not in fresh:
        yield mine, rule.mode, rule.work
    if rule.other is not None and other not in (None, mine) and other not in fresh:
        # Of a foreign key that is looked up, the rows of both tables are read.
        work = rule.work if step.action != "attach partition" else Work.INSTANT
        assert other is not None
        yield other, rule.other, work
    default = context.defaults.get(other) if isinstance(step.subject, Table) and other else None
    if rule.other is not None and default is not None:
        # Rows that belong to the new one may be in it.
        yield default, Mode.ACCESS_EXCLUSIVE, rule.work
    for place in _at_the_other_end(step, context) - fresh - {mine}:
        # The keys of a column that is written anew are looked up anew.
        yield place, Mode.ACCESS_EXCLUSIVE, Work.INSTANT if rule.work is Work.INSTANT else Work.SCAN


def _at_the_other_end(step: Step, context: Context) -> frozenset[Place]:
    """Return the tables at the other end of foreign keys that go with a step, or are made anew."""
    gone = {s.before.key for s in context.earlier if s.action == "drop constraint" and s.before}
    ends: set[Place | None] = set()
    for key in context.keys:
        match step.action, step.before:
            case "drop table", Table() as table if key.key not in gone and key.table == table.place:
                ends.add(key.references)
            case (("drop column" | "retype column"), Column() as column) if key.key not in gone:
                if key.table == column.table and column.name in key.columns:
                    ends.add(key.references)
                if key.references == column.table and column.name in key.referenced:
                    ends.add(key.table)
    return frozenset(place for place in ends if place is not None)


def _made(steps: Sequence[Step]) -> frozenset[Place]:
    made = (s.after for s in steps if s.action == "create table")
    return frozenset(t.place for t in made if isinstance(t, Table))


def file_locks(steps: Sequence[Step], context: Context) -> tuple[Lock, ...]:
    """Return the locks of a file, one a table and mode that no stronger one stands for."""
    every = longest(_each(steps, context))
    return tuple(lock for lock in every if not any(_covers(o, lock) for o in every))


def longest(every: Iterable[Lock]) -> tuple[Lock, ...]:
    """Return one lock a table and mode, with the most work done under it."""
    found: dict[tuple[str, str], str] = {}
    for table, mode, work in every:
        known = found.get((table, mode))
        if known is None or Work[known.upper()] < Work[work.upper()]:
            found[table, mode] = work
    return tuple((t, m, w) for (t, m), w in found.items())


def _each(steps: Sequence[Step], context: Context) -> Iterator[Lock]:
    for step, here in _placed(steps, context):
        yield from locks(step, here)


def _placed(steps: Sequence[Step], context: Context) -> Iterator[tuple[Step, Context]]:
    for number, step in enumerate(steps):
        yield step, replace(context, earlier=(*context.earlier, *steps[:number]))


def _covers(stronger: Lock, lock: Lock) -> bool:
    def rank(found: Lock) -> tuple[int, int]:
        return Mode[found[1].replace(" ", "_")], Work[found[2].upper()]

    (mode, work), (other_mode, other_work) = rank(stronger), rank(lock)
    return stronger[0] == lock[0] and mode > other_mode and work >= other_work


def warnings(steps: Sequence[Step], context: Context) -> tuple[str, ...]:
    """Say in one line each what makes others wait for longer than an instant."""
    found: dict[str, None] = {}
    for step, here in _placed(steps, context):
        rule = rule_for(step, here)
        told = advice(rule, step, here) if rule else ""
        if rule and told and locks(step, here):
            found[f"{described(step, context.namespace)}: {rule.effect}; {told}"] = None
    return tuple(found)


def advice(rule: Rule, step: Step, context: Context) -> str:
    """Return what to do instead of a step or before it; empty where this is the way."""
    return QUIET if rule.online and table_of(step) in context.partitioned else rule.advice


def losses(step: Step, context: Context) -> tuple[str, ...]:
    """Return in words what is gone after a step, definitions aside."""
    before, after, namespace = step.before, step.after, context.namespace
    match step.action, before:
        case "drop table", Table():
            return (f"table {printed(before.place, namespace)} and its rows",)
        case "drop column", Column() if not before.generated:
            return (f"column {_column(before, namespace)} and its values",)
        case "drop sequence", Numbers() if before.owner is None:
            return (f"sequence {printed(before.place, namespace)} and where it stands",)
        case "retype column" | "fill column", Column() if isinstance(after, Column):
            labels = () if after.enum else None  # a text is one of them, or refused
            if rounds(before.type, after.type, version=context.version, labels=labels):
                column = _column(after, namespace)
                return (f"what {after.type} does not hold of {before.type} in {column}",)
    return ()


def file_losses(steps: Sequence[Step], context: Context) -> tuple[str, ...]:
    """Return what a file loses; the columns of a table that goes are not named one by one."""
    found = [loss for step in steps for loss in losses(step, context)]
    return tuple(dict.fromkeys(found))


def described(step: Step, namespace: str = "public") -> str:
    """Name a step and what it is about: `add column messages.note`."""
    return f"{step.action} {subject(step, namespace)}"


def subject(step: Step, namespace: str = "public") -> str:
    """Name what a step is about, as the server prints it."""
    found = step.subject
    match found:
        case Column():
            return _column(found, namespace)
        case Constraint() | Trigger() | Policy():
            return f"{ident(found.name)} of {printed(found.table, namespace)}"
        case Index():
            return f"{ident(found.name)} on {printed(found.table, namespace)}"
        case Table() | View() | Numbers():
            return printed(found.place, namespace)
        case Grant():
            return f"{found.privilege} on {_target(found, namespace)} to {_role(found.role)}"
    return _printed(found.key, namespace)


def _role(name: str) -> str:
    return ident(name) if name else "PUBLIC"


def _target(grant: Grant, namespace: str) -> str:
    kind = "" if grant.target[0] in ("table", "view", "column") else f"{grant.target[0]} "
    return kind + _printed(grant.target, namespace)


def _printed(key: Key, namespace: str) -> str:
    """Print a key without its kind; of a function the types are no names."""
    kind, *names = key
    arguments = f"({names.pop()})" if kind == "function" else ""
    if names[0] == namespace and len(names) > 1:
        names = names[1:]
    return ".".join(map(ident, names)) + arguments


def _column(column: Column, namespace: str) -> str:
    return f"{printed(column.table, namespace)}.{ident(column.name)}"
