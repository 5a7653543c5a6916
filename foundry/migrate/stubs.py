"""Empty tables that stand for those which models refer to and do not cover."""

from __future__ import annotations

from collections.abc import Iterable

from foundry.created import Named, rendered
from foundry.errors import MigrationError
from foundry.migrate.declared import Naming
from foundry.migrate.objects import Column, Constraint, Index, Place
from foundry.migrate.snapshot import Snapshot


def copy(naming: Naming, place: Place, number: int) -> Iterable[str]:
    """Copy a table's columns and unique keys; ACCESS SHARE is all the lock this takes."""
    # Names of copied indexes come from the table's name, and must not be those of the models.
    token = naming.stands_for[naming.default]
    path = naming.path(*place)
    interim = rendered(Named("".join(path[:-1]) or None, f"{token}_{number}"))
    yield f"CREATE TABLE {interim} (LIKE {rendered(Named(*place))} INCLUDING INDEXES)"
    yield f"ALTER TABLE {interim} RENAME TO {rendered(Named(None, place[1]))}"


def anew(naming: Naming, place: Place, live: Snapshot) -> Iterable[str]:
    """Write a table's columns and unique keys as a snapshot has them."""
    name = rendered(Named(None, place[1]))
    table = name if place[0] == naming.default else rendered(Named(*place))
    columns = live.of_table(Column, place)
    if not columns:
        raise MigrationError(f"table {name} cannot be read: grant USAGE on its namespace")
    parts = [f"{rendered(Named(None, c.name))} {c.type}" for c in columns]
    for key in live.of_table(Constraint, place):
        if key.kind in ("PRIMARY KEY", "UNIQUE"):
            parts.append(f"CONSTRAINT {rendered(Named(None, key.name))} {key.definition}")
    yield f"CREATE TABLE {table} ({', '.join(parts)})"
    for index in live.of_table(Index, place):
        if index.unique and not index.predicate and index.keys:
            made = rendered(Named(None, index.name))
            yield f"CREATE UNIQUE INDEX {made} ON {table} {index.definition}"
