"""From two snapshots to the steps between them, in files that can be applied and reverted."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from graphlib import TopologicalSorter
from typing import Any

from foundry.errors import HistoryConflict
from foundry.migrate.advice import advice
from foundry.migrate.calls import answering, calls, computed
from foundry.migrate.checks import checks
from foundry.migrate.compare import Change, compare
from foundry.migrate.objects import (
    Column,
    Constraint,
    Enum,
    Extension,
    Function,
    Grant,
    Index,
    Key,
    Namespace,
    Other,
    Place,
    Policy,
    Table,
    Trigger,
    View,
)
from foundry.migrate.objects import Sequence as SequenceObject
from foundry.migrate.recipes import columns, keys, programs, swapping, tables, types
from foundry.migrate.recipes.move import Move, Phase, Planned
from foundry.migrate.refusals import refuse, refuse_others
from foundry.migrate.renaming import looking, renamings, unknown
from foundry.migrate.scope import scoped
from foundry.migrate.snapshot import Snapshot
from foundry.migrate.spelling import printed
from foundry.migrate.stages import Halts, halts
from foundry.migrate.steps import Managed, Plan, Renames, Stage, Step
from foundry.migrate.swaps import needed
from foundry.migrate.victims import recast, victims

_RECIPES: dict[type, Callable[[Move, Change], Planned]] = {
    Namespace: types.namespace,
    Extension: types.extension,
    Enum: types.enum,
    SequenceObject: types.sequence,
    Table: tables.table,
    Column: columns.columns,
    Constraint: keys.constraint,
    Index: keys.index,
    View: programs.view,
    Function: programs.function,
    Trigger: programs.trigger,
    Policy: programs.policy,
    Grant: programs.grant,
    Other: lambda move, change: iter(()),
}


# What is dropped is dropped in the reverse of the order it was made in.
_REVERSED = (
    Phase.VIEWS_OFF,
    Phase.FUNCTIONS_REPLACED,
    Phase.FUNCTIONS_FIRST_OFF,
    Phase.FUNCTIONS_OFF,
    Phase.TABLES_OFF,
)

Asked = Callable[[tuple[Step, ...], Snapshot], Snapshot]
"""Returns a snapshot after some renames, with the texts that a server makes of them."""


def plan(
    live: Snapshot,
    wanted: Snapshot,
    *,
    renames: Renames | None = None,
    managed: Managed | None = None,
    prune: frozenset[Place] = frozenset(),
    version: int,
    default: str = "public",
    asked: Asked | None = None,
) -> Plan:
    """Return the files that lead from `live` to `wanted`, and back.

    Without `managed` everything that is not wanted goes. `prune` names tables that go
    although no model covers them. `version` is the server's, such as 180006; names of the
    namespace `default` stand alone. Without `asked` what is read after a rename is predicted.
    """
    way = _Way(version=version, default=default)
    declared = renames or Renames()
    notes = tuple(unknown(live, wanted, declared))
    room = live
    now, there, back = renamings(room, wanted, declared, default=default)
    if there and asked is None:
        room = live.changed(drop=_with_parts(live, looking(live, wanted, there)))
        now, there, back = renamings(room, wanted, declared, default=default)
    elif there and asked is not None:
        now = asked(there, now)
    if managed is not None:
        wanted = scoped(now, wanted, managed, prune=prune)
        refuse(now, wanted, default=default)
    there = (*way.steps(live, room), *there)
    back = (*back, *way.steps(room, live))
    stages: list[Stage] = []
    at = now
    for halt, needs in _goals(now, wanted):
        stages += way.stages(at, halt, needs)
        at = halt
    stages = _with_renames(stages, live, now, there, back)
    # The way back leaves extensions: others may use them by now.
    left = wanted.kind(Extension)
    stages = [replace(stage, before=stage.before.changed(add=left)) for stage in stages]
    if stages:
        # What a function will return cannot be asked of the one that is there.
        other = answering(now, wanted)
        silent = [o.key for o in wanted if isinstance(o, (Constraint, Index)) and calls(o, other)]
        goal = wanted.changed(drop=silent)
        questions = checks(live, now, goal, declared, version=version, default=default)
        stages[0] = replace(stages[0], checks=questions)
    notes += (*_likely(now, wanted, default), *advice(now, wanted, stages, default=default))
    return Plan(stages=tuple(stages), notes=tuple(notes))


def _goals(now: Snapshot, wanted: Snapshot) -> Iterator[tuple[Snapshot, tuple[str, ...]]]:
    """Yield what to reach first, and then each optional part, which gets files of its own."""
    parts: dict[tuple[str, ...], list[Any]] = defaultdict(list)
    for thing in wanted:
        needed = getattr(thing, "needs", ())
        if needed and now.get(thing.key) != thing:
            parts[needed].append(thing)
    # What the two sides have in common of them is there already.
    optional = [thing for things in parts.values() for thing in things]
    before = [now.get(thing.key) for thing in optional if thing.key in now]
    goal = wanted.changed(drop=[thing.key for thing in optional], add=before)
    tables = {("table", *thing.table) for thing in optional if isinstance(thing, Column)}
    whole = [goal.get(key) for key in tables if key in goal]
    yield goal.changed(add=[replace(table, source="") for table in whole]), ()
    for needed in sorted(parts, key=lambda n: (len(n), n)):
        goal = goal.changed(add=parts[needed])
        yield goal, needed


def _with_parts(live: Snapshot, gone: Iterable[Key]) -> list[Key]:
    """Return views and policies with what PostgreSQL drops with the views."""
    found = list(gone)
    views = {(key[1], key[2]) for key in gone if key[0] == "view"}
    for thing in live if views else ():
        target = getattr(thing, "target", ())
        if getattr(thing, "table", None) in views or target[1:3] in views:
            found.append(thing.key)
    return found


@dataclass(frozen=True, slots=True)
class _Way:
    version: int
    default: str

    def stages(self, now: Snapshot, wanted: Snapshot, needs: tuple[str, ...]) -> Iterator[Stage]:
        """Yield what there is to do, a file each; neighbours that can be one file are."""
        at = halts(now, wanted, version=self.version)
        for stage in self._stages(now, wanted, at):
            yield replace(stage, requires=needs)

    def _stages(self, now: Snapshot, wanted: Snapshot, at: Halts) -> Iterator[Stage]:
        if at.labelled != now:
            yield self.stage(now, at.labelled)
        if at.base == at.online and not at.deferred:
            if at.labelled != wanted:
                yield self.stage(at.labelled, wanted)
            return
        if at.base != at.labelled:
            yield self.stage(at.labelled, at.base, deferred=at.deferred)
        yield self.stage(at.base, at.online, online=True, fills=at.deferred, late=at.swapped)
        if at.online != wanted:
            yield self.stage(at.online, wanted)

    def stage(
        self,
        before: Snapshot,
        after: Snapshot,
        *,
        online: bool = False,
        fills: tuple[Column, ...] = (),
        deferred: tuple[Column, ...] = (),
        late: frozenset[Key] = frozenset(),
    ) -> Stage:
        """Return one file; `late` are columns that may be swapped in it."""
        first = frozenset(c.key for c in deferred)
        up = self.steps(before, after, online=online, fills=fills, deferred=first, late=late)
        down = self.steps(after, before, online=online, late=late)
        return Stage(online=online, before=before, after=after, up=up, down=down)

    def steps(
        self,
        before: Snapshot,
        after: Snapshot,
        *,
        online: bool = False,
        fills: tuple[Column, ...] = (),
        deferred: frozenset[Key] = frozenset(),
        late: frozenset[Key] = frozenset(),
    ) -> tuple[Step, ...]:
        """Return the steps from one snapshot to another, in order."""
        changes = compare(before, after)
        cast, stale = recast(before, after, changes), computed(before, after)
        rebuilt = victims(before, after, changes, cast, stale, version=self.version)
        move = Move(
            before=before,
            after=after,
            online=online,
            version=self.version,
            default=self.default,
            standing=frozenset(t.place for t in before.kind(Table) if t.key in after),
            fills=fills,
            deferred=deferred,
            rebuilt=rebuilt,
            recast=cast,
            swapped=needed(before, after, late),
            stale=stale - rebuilt,
            replaced=programs.replaced(before, after, changes, rebuilt),
        )
        return _in_order(move, [*_planned(move, changes), *_filled(move)])


def _filled(move: Move) -> Iterator[tuple[Phase, Step]]:
    for column in move.fills:
        yield from columns.fill(move, column)


def _planned(move: Move, changes: Sequence[Change]) -> Iterator[tuple[Phase, Step]]:
    yield from types.needed(move, changes)
    yield from swapping.swaps(move)
    known = {c.key for c in changes}
    again = sorted((move.rebuilt | move.recast | move.stale) - known)
    _refuse_hanging(move)
    refuse_others(move.before, move.rebuilt, default=move.default)
    kept = [Change(before=move.before.get(key), after=move.after.get(key)) for key in again]
    apart = swapping.carried(move)
    every = [c for c in (*changes, *kept) if c.key not in apart and not _implied(move, c)]
    made = {id(change): tuple(_made(move, change)) for change in every}
    # What is dropped and made again may read other things then than it did.
    for change in _sorted(every, by="before"):
        yield from (found for found in made[id(change)] if found[0] in _REVERSED)
    for change in _sorted(every, by="after"):
        yield from (found for found in made[id(change)] if found[0] not in _REVERSED)


def _made(move: Move, change: Change) -> Iterator[tuple[Phase, Step]]:
    yield from _RECIPES[type(change.after or change.before)](move, change)
    if change.key in move.stale:
        yield from programs.computed(move, change)


def _refuse_hanging(move: Move) -> None:
    """Refuse to take away what a foreign key rests on that nobody asked to drop."""
    for found in (move.after.get(key) for key in move.rebuilt):
        if not isinstance(found, Constraint) or found.references is None:
            continue
        keys = [
            *(c.columns for c in move.after.of_table(Constraint, found.references)),
            *(i.keys for i in move.after.of_table(Index, found.references) if i.unique),
        ]
        if not any(set(columns) == set(found.referenced) for columns in keys):
            table = printed(found.references, move.default)
            raise HistoryConflict(
                f'foreign key "{found.name}" of {printed(found.table, move.default)} rests on a '
                f"key of {table} that would go: drop one of the two first"
            )


def _implied(move: Move, change: Change) -> bool:
    """True for what goes with its table, or comes with the one it is a partition of."""
    thing: Any = change.after or change.before
    table = getattr(thing, "table", None)
    if table is None:
        return False
    key: Key = ("table", *table)
    if isinstance(thing, Column) and _of_partition(move, key):
        return True
    if change.after is None and key in move.before and key not in move.after:
        foreign = isinstance(thing, Constraint) and thing.kind == "FOREIGN KEY"
        return not (foreign or calls(thing, move.replaced))
    return False


def _of_partition(move: Move, key: Key) -> bool:
    """A partition has its columns from its parent; attached or detached it keeps them."""
    tables = (side.get(key) for side in (move.before, move.after))
    return any(table.partition_of for table in tables if table)


def _sorted(changes: list[Change], *, by: str) -> list[Change]:
    """Return changes so that what reads another object, before or after, comes after it."""
    # Two changes have one key where a name is given up and taken in one go.
    by_key: dict[Key, list[Change]] = defaultdict(list)
    for change in sorted(changes, key=lambda c: c.key):
        by_key[change.key].append(change)
    graph: TopologicalSorter[Key] = TopologicalSorter()
    for key, found in by_key.items():
        first, last = found[0], found[-1]
        thing: Any = first.before or last.after if by == "before" else last.after or first.before
        reads = [k for k in getattr(thing, "depends", ()) if k in by_key and k != key]
        if isinstance(thing, Table) and thing.partition_of:
            reads += [k for k in [("table", *thing.partition_of)] if k in by_key]
        graph.add(key, *sorted(reads))
    return [change for key in graph.static_order() for change in by_key[key]]


def _in_order(move: Move, planned: list[tuple[Phase, Step]]) -> tuple[Step, ...]:
    phases: dict[Phase, list[Step]] = defaultdict(list)
    for phase, step in planned:
        phases[phase].append(step)
    for phase in _REVERSED:
        phases[phase].reverse()
    phases[Phase.RENAMES] = _freed(phases[Phase.RENAMES])
    return tuple(step for phase in sorted(phases) for step in phases[phase])


def _freed(steps: list[Step]) -> list[Step]:
    """Return renames so that each new name has been given up by the time it is taken."""
    left, done = list(steps), []
    while left:
        old_names = {getattr(step.before, "name", "") for step in left}
        free = [s for s in left if getattr(s.after, "name", "") not in old_names]
        for step in free or left[:1]:
            done.append(step)
            left.remove(step)
    return done


def _with_renames(
    stages: list[Stage],
    live: Snapshot,
    now: Snapshot,
    there: tuple[Step, ...],
    back: tuple[Step, ...],
) -> list[Stage]:
    if not there:
        return stages
    if not stages or stages[0].online:
        return [Stage(online=False, before=live, after=now, up=there, down=back), *stages]
    first = stages[0]
    first = replace(first, before=live, up=(*there, *first.up), down=(*first.down, *back))
    return [first, *stages[1:]]


def _stated(new: str, old: str) -> str:
    """Return a rename as Python; a model writes a percent sign twice."""
    return repr({new.replace("%", "%%"): old.replace("%", "%%")})


def _likely(now: Snapshot, wanted: Snapshot, default: str) -> tuple[str, ...]:
    """Name pairs of a dropped and an added column that look like a rename."""
    gone = [c for c in now.kind(Column) if c.key not in wanted and ("table", *c.table) in wanted]
    notes = []
    for column in gone:
        new = [
            c.name
            for c in wanted.of_table(Column, column.table)
            if c.key not in now and c.type == column.type and ("table", *c.table) in now
        ]
        if len(new) == 1:
            table = printed(column.table, default)
            notes.append(
                f'"{table}": column "{column.name}" goes and "{new[0]}" of the same type comes; '
                f"if that is a rename, say Meta.renames = {_stated(new[0], column.name)}"
            )
    return tuple(notes)
