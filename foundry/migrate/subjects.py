"""Which tables a step is about."""

from __future__ import annotations

from foundry.migrate.objects import Column, Constraint, Index, Place, Policy, Table, Trigger
from foundry.migrate.steps import Step


def table_of(step: Step) -> Place | None:
    """Return the table a step changes; None for one that changes none."""
    subject = step.before if step.action == "rename table" else step.subject
    match subject:
        case Table():
            return subject.place
        case Column() | Constraint() | Index() | Trigger() | Policy():
            return subject.table
    return None


def other_of(step: Step) -> Place | None:
    """Return the table a foreign key references, or the one a partition belongs to."""
    subject = step.before if step.action == "detach partition" else step.subject
    match subject:
        case Constraint():
            return subject.references
        case Table():
            return subject.partition_of
    return None
