"""Tables: made whole, dropped, and what ALTER TABLE says of a table itself."""

from __future__ import annotations

from foundry.migrate.compare import Change
from foundry.migrate.objects import Column, Constraint, Table
from foundry.migrate.recipes.columns import definition
from foundry.migrate.recipes.move import Move, Phase, Planned
from foundry.migrate.recipes.values import comment, parameters, with_options
from foundry.migrate.snapshot import Snapshot
from foundry.migrate.spelling import quote, respelled


def table(move: Move, change: Change) -> Planned:
    """Yield the steps of a table that comes, goes or changes."""
    match change:
        case Change(before=None, after=Table() as after):
            yield from _created(move, after, change)
        case Change(before=Table() as before, after=None):
            sql = f"DROP TABLE {move.name(before.place)}"
            call = move.call(before.place, "drop_table")
            yield Phase.TABLES_OFF, move.step(before.place, "drop table", sql, change, call)
        case Change(before=Table() as before, after=Table() as after):
            yield from _altered(move, before, after, change)


def _created(move: Move, after: Table, change: Change) -> Planned:
    body = _partition(move, after) or _body(move, after)
    unlogged = "UNLOGGED " if after.unlogged else ""
    sql = f"CREATE {unlogged}TABLE {move.name(after.place)} {body}"
    phase = Phase.PARTITIONS if after.partition_of else Phase.TABLES
    yield phase, move.step(after.place, "create table", sql, change)
    yield from _flags(move, Table(namespace="", name=""), after, change)


def _partition(move: Move, after: Table) -> str:
    if after.partition_of is None:
        return ""
    parent = move.name(after.partition_of)
    return f"PARTITION OF {parent} {after.bound}{_partitioned_by(after)}{_options(after)}"


def _body(move: Move, after: Table) -> str:
    """Return the columns and constraints in the model's words, or in PostgreSQL's.

    Foreign keys come later, all of them: a model whose text has some of its own has no source.
    """
    if after.source:
        return after.source
    clauses = [definition(move, c, inline=True) for c in move.after.of_table(Column, after.place)]
    for found in move.after.of_table(Constraint, after.place):
        if found.kind != "FOREIGN KEY":
            text = respelled(found.source or found.definition)
            clauses.append(f"CONSTRAINT {quote(found.name)} {text}")
    lines = ",\n    ".join(clauses)
    return f"(\n    {lines}\n){_partitioned_by(after)}{_options(after)}"


def _partitioned_by(after: Table) -> str:
    return f" PARTITION BY {after.partition_by}" if after.partition_by else ""


def _options(after: Table) -> str:
    return with_options(after.given or after.options)


def _altered(move: Move, before: Table, after: Table, change: Change) -> Planned:
    place = after.place
    if before.unlogged != after.unlogged:
        sql = move.alter(place, "SET UNLOGGED" if after.unlogged else "SET LOGGED")
        yield Phase.TABLE_OPTIONS, move.step(place, "set table logged", sql, change)
    for what in parameters(before.options, after.given or after.options):
        sql = move.alter(place, what)
        yield Phase.TABLE_OPTIONS, move.step(place, "set table options", sql, change)
    yield from _attached(move, before, after, change)
    yield from _flags(move, before, after, change)


def _attached(move: Move, before: Table, after: Table, change: Change) -> Planned:
    if (before.partition_of, before.bound) == (after.partition_of, after.bound):
        return
    mine = move.name(after.place)
    if before.partition_of:
        sql = move.alter(before.partition_of, f"DETACH PARTITION {mine}")
        step = move.step(after.place, "detach partition", sql, change)
        yield Phase.NAMESPACES, step
    old, new = (
        _required(side, table) for side, table in ((move.before, before), (move.after, after))
    )
    for name in sorted(old.keys() & new.keys()):
        if old[name] != new[name]:
            what = f"RENAME CONSTRAINT {quote(old[name])} TO {quote(new[name])}"
            step = move.step(after.place, "rename not null", move.alter(after.place, what), change)
            yield Phase.NAMESPACES, step
    if after.partition_of:
        sql = move.alter(after.partition_of, f"ATTACH PARTITION {mine} {after.bound}")
        step = move.step(after.place, "attach partition", sql, change)
        yield Phase.PARTITIONS, step


def _required(side: Snapshot, table: Table) -> dict[str, str]:
    """Return the names of the NOT NULL constraints of a table, by column.

    A partition has them under the names of its parent, and keeps them when it leaves.
    """
    if table.partition_of:
        return dict(table.required)
    return {c.name: c.not_null_name for c in side.of_table(Column, table.place) if c.not_null}


def _flags(move: Move, before: Table, after: Table, change: Change) -> Planned:
    place = after.place
    if before.row_security != after.row_security:
        verb = "ENABLE" if after.row_security else "DISABLE"
        sql = move.alter(place, f"{verb} ROW LEVEL SECURITY")
        yield Phase.SECURITY, move.step(place, "set row security", sql, change)
    if before.force_row_security != after.force_row_security:
        verb = "FORCE" if after.force_row_security else "NO FORCE"
        sql = move.alter(place, f"{verb} ROW LEVEL SECURITY")
        yield Phase.SECURITY, move.step(place, "set row security", sql, change)
    if before.replica_identity != after.replica_identity:
        sql = move.alter(place, f"REPLICA IDENTITY {after.replica_identity}")
        yield Phase.COMMENTS, move.step(place, "set replica identity", sql, change)
    if before.comment != after.comment:
        sql = f"COMMENT ON TABLE {move.name(place)} IS {comment(after.comment)}"
        yield Phase.COMMENTS, move.step(place, "comment", sql, change)
