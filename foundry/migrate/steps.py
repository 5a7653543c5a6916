"""What a plan is made of: steps, and the stages that become files."""

from __future__ import annotations

from dataclasses import dataclass

from foundry.migrate.objects import Object, Place, Snapshot

Literal = str | bool | tuple[str, ...]


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
    """Of "fill column", the SQL expression; empty where the author has to write one."""

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
    """A SELECT of the keys of up to three rows."""


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
