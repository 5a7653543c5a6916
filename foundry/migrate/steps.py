"""What a plan is made of: steps, and the stages that become files."""

from __future__ import annotations

from dataclasses import dataclass

from foundry.migrate.objects import Key, Object, Place
from foundry.migrate.snapshot import Snapshot

Literal = str | bool | tuple[str, ...]

HOLE = "\0"
"""Stands in a step's SQL where the author has to write an expression; no SQL has a NUL."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """An operation of playhouse's migrator that runs exactly the SQL of its step."""

    name: str
    arguments: tuple[Literal, ...] = ()
    keywords: tuple[tuple[str, Literal], ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """One statement, and the object it changes, before and after."""

    action: str
    """A verb and a kind: "create table", "add column", "validate constraint"."""
    sql: str
    before: Object | None = None
    after: Object | None = None
    standing: bool = True
    """False on a table that the same plan creates: nobody uses it yet."""
    call: Call | None = None
    value: str = ""
    """Of "fill column", the SQL expression; empty where `sql` has a HOLE for it."""

    @property
    def subject(self) -> Object:
        """The object the step is about."""
        subject = self.after or self.before
        assert subject is not None
        return subject


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """A question asked before anything is changed: which rows stand in the way?"""

    name: str
    """The constraint or column that would be violated."""
    query: str
    """A SELECT of the keys of up to three rows; with a HOLE where a column's value goes."""
    column: Key = ()
    """Key of the column whose value goes into the HOLE."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Stage:
    """One migration file: what it does, and the way back."""

    online: bool
    """True: every statement commits by itself (`atomic = False`)."""
    before: Snapshot
    after: Snapshot
    up: tuple[Step, ...]
    down: tuple[Step, ...]
    checks: tuple[Check, ...] = ()
    requires: tuple[str, ...] = ()
    """What the file needs of a server, such as "extension:vector"."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """Everything that leads from one snapshot to another, in files."""

    stages: tuple[Stage, ...] = ()
    notes: tuple[str, ...] = ()
    """What the reader should know: likely renames, what is left alone."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Renames:
    """What the models say was renamed, by the places things have now."""

    tables: tuple[tuple[Place, Place], ...] = ()
    """Old and new place."""
    columns: tuple[tuple[Place, str, str], ...] = ()
    """New place of the table, old and new name of the column."""
    labels: tuple[tuple[Place, str, str], ...] = ()
    """Place of the enumerated type, old and new label."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Managed:
    """What the models answer for; everything else stays as it is."""

    tables: frozenset[Place] = frozenset()
    commented: frozenset[Place] = frozenset()
    """Tables whose comments, and those of their columns, the models declare."""
    whole: bool = False
    """True: triggers, policies and row security of those tables are all declared."""
    roles: frozenset[str] = frozenset()
    """Roles that a grant names; PUBLIC is the empty name. Grants to others are not ours."""
    names: frozenset[Key] = frozenset()
    """Kind, namespace and name of each enum, view, function and sequence that is declared."""
    indexes: frozenset[Key] = frozenset()
    """Keys of the indexes declared on tables that no model covers."""
    waiting: frozenset[Key] = frozenset()
    """Keys of the columns and indexes that are left out while the server cannot have them."""
