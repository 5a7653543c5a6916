"""What a database says was applied, and whether the files agree.

The history table has playhouse's columns and stays readable by its runner; beside it
`<table>_step` keeps the digest a file had when it was applied.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timezone
from enum import Enum
from typing import Any

from peewee import CharField, CompositeKey, Database, DateTimeField, IntegerField, Model, TextField

from foundry.errors import HistoryConflict
from foundry.migrate.files import MigrationFile


class State(str, Enum):
    """Where a migration stands."""

    APPLIED = "applied"
    PENDING = "pending"
    WAITING = "waiting"
    """Something it requires is not there; it is applied once it is."""
    OFF = "off"
    """It belongs to an option that is not switched on."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """A row of the history."""

    name: str
    applied: datetime
    """Aware, UTC."""
    digest: str | None
    """None for a row that another tool wrote."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """One migration as files and history together see it."""

    file: MigrationFile
    state: State
    entry: Entry | None
    missing: tuple[str, ...] = ()
    """Requirements that are not met, of one that is not applied."""


class History:
    """The two history tables of one directory of files."""

    def __init__(self, database: Database, table: str) -> None:
        class Applied(Model):
            name = CharField(unique=True)
            applied = DateTimeField()

            class Meta:
                legacy_table_names = False
                table_name = table

        class Step(Model):
            name = CharField()
            step = IntegerField()
            digest = TextField()
            note = TextField(null=True)

            class Meta:
                legacy_table_names = False
                table_name = f"{table}_step"
                primary_key = CompositeKey("name", "step")

        self._database = database
        self._applied: Any = Applied
        self._step: Any = Step
        database.bind([Applied, Step])

    def create(self) -> None:
        """Create the tables where they are missing."""
        self._database.create_tables([self._applied, self._step])

    def entries(self) -> dict[str, Entry]:
        """Return the rows by name; none when the table is not there."""
        if not self._applied.table_exists():
            return {}
        digests = {}
        if self._step.table_exists():
            digests = {s.name: s.digest for s in self._step.select().where(self._step.step == 0)}
        return {
            row.name: Entry(
                name=row.name,
                applied=row.applied.replace(tzinfo=timezone.utc),
                digest=digests.get(row.name),
            )
            for row in self._applied.select()
        }

    def record(self, file: MigrationFile, *, note: str | None = None) -> None:
        """Write that a file was applied, with its digest and an optional remark."""
        now = datetime.now(timezone.utc).replace(tzinfo=None)
        self._applied.create(name=file.name, applied=now)
        self._step.insert(name=file.name, step=0, digest=file.digest, note=note).execute()

    def forget(self, name: str) -> None:
        """Remove a migration that was reverted."""
        self._applied.delete().where(self._applied.name == name).execute()
        self._step.delete().where(self._step.name == name).execute()


def standings(
    files: Sequence[MigrationFile],
    entries: Mapping[str, Entry],
    missing: Mapping[str, tuple[str, ...]],
) -> tuple[Standing, ...]:
    """Return each file with its state; `missing` holds unmet requirements by file name."""
    return tuple(
        Standing(
            file=file,
            state=_state(entries.get(file.name), missing.get(file.name, ())),
            entry=entries.get(file.name),
            missing=() if file.name in entries else missing.get(file.name, ()),
        )
        for file in files
    )


def _state(entry: Entry | None, missing: tuple[str, ...]) -> State:
    if entry is not None:
        return State.APPLIED
    if any(requirement.startswith("option:") for requirement in missing):
        return State.OFF
    return State.WAITING if missing else State.PENDING


def refuse_edits(standings: Sequence[Standing], entries: Mapping[str, Entry]) -> None:
    """Raise HistoryConflict for an applied file that was edited or is no longer there."""
    for standing in standings:
        entry = standing.entry
        if entry and entry.digest and entry.digest != standing.file.digest:
            raise HistoryConflict(
                f'"{standing.file.name}" was edited after it was applied: restore the file and '
                f"put the change into a new one"
            )
    gone = sorted(set(entries) - {s.file.name for s in standings})
    if gone:
        renamed = _same_content(standings, entries, gone[0])
        remedy = (
            f'it looks renamed to "{renamed}": give it its name back'
            if renamed
            else "restore the file, or name the right --directory and --table"
        )
        raise HistoryConflict(f'"{gone[0]}" was applied and its file is not there: {remedy}')


def _same_content(
    standings: Sequence[Standing], entries: Mapping[str, Entry], gone: str
) -> str | None:
    digest = entries[gone].digest
    for standing in standings:
        if digest and standing.entry is None and standing.file.digest == digest:
            return standing.file.name
    return None


def late(standings: Sequence[Standing]) -> tuple[Standing, ...]:
    """Return pending files that stand before an applied one: added out of order.

    A file that requires something may come late: it was waiting for it.
    """
    numbers = [s.file.number for s in standings if s.state is State.APPLIED]
    newest = max(numbers, default=-1)
    return tuple(
        s
        for s in standings
        if s.state is State.PENDING and s.file.number < newest and not s.file.head.requires
    )
