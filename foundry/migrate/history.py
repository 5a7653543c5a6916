"""What a database says was applied, and whether the files agree.

The history table has playhouse's columns and stays readable by its runner; beside it
`<table>_step` keeps the digest a file had when it was applied.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timezone
from enum import Enum
from typing import Any

from peewee import (
    CharField,
    CompositeKey,
    Database,
    IntegerField,
    Model,
    PeeweeException,
    TextField,
)

from foundry.errors import HistoryConflict, MigrationError
from foundry.migrate import queries
from foundry.migrate.files import MigrationFile, number_of
from foundry.migrate.spelling import quote

_FILE = 0
"""Step of the row that keeps the digest of an applied file."""

_WAITED = -1
"""Step of the row that says a file was left out by an earlier run."""

_WANTED = -2
"""Step of the row, of no file, that keeps what the models want; the files know nothing of it."""


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


_APPLIED_HAS = {"id", "name", "applied"}
_STEP_HAS = {"name", "step", "digest", "note"}


def namespace(database: Database, table: str) -> str:
    """Return the namespace of a history table: where it is, else where it would be made.

    It is looked for along the whole search_path: a schema that was put before it later must
    not make every file look new. Refuses a name that cannot be a history's.
    """
    if len(f"{table}_step".encode()) > 63:
        raise MigrationError(f'"{table}" is too long for a history table: at most 58 bytes')
    quoted = {"quoted": quote(table)}
    _refuse_shape(database, quoted["quoted"], _APPLIED_HAS)
    place = database.execute_sql(queries.text("history_place"), quoted).fetchone()[0]
    if place is None:
        raise MigrationError("search_path names no schema that exists: create one, or change it")
    _refuse_shape(database, f"{quote(place)}.{quote(f'{table}_step')}", _STEP_HAS)
    return str(place)


def _refuse_shape(database: Database, name: str, wanted: set[str]) -> None:
    for (columns,) in database.execute_sql(
        queries.text("table_columns"), {"quoted": name}
    ).fetchall():
        if set(columns) != wanted:
            raise MigrationError(f"{name} is a table of somebody else: name another with --table")


@dataclass(frozen=True, slots=True, kw_only=True)
class Noted:
    """What the journal says of one step of a file."""

    digest: str
    way: str
    """"up" or "down"."""
    done: bool
    text: str = ""
    """How far a step came that has parts."""
    statements: tuple[str, ...] = ()
    """What was run, or begun."""
    undoing: bool = False
    """It is being taken back, and may stand or not."""

    @property
    def stands(self) -> bool:
        """Whether something of the step was done."""
        return self.done or bool(self.text)


class Journal:
    """The steps of one way of one file; each row is written in the transaction of its step."""

    def __init__(self, step: Any, name: str, way: str) -> None:
        self._step = step
        self._name = name
        self.way = way

    def read(self) -> dict[int, Noted]:
        """Return what is noted, by the ordinal of the step."""
        rows = self._step.select().where(self._step.name == self._name, self._step.step > _FILE)
        return {row.step: _noted(row) for row in rows}

    def write(
        self, ordinal: int, digest: str, *, done: bool, statements: Sequence[str], text: str = ""
    ) -> None:
        """Note a step, in the place of what was noted of it before."""
        note = {"way": self.way, "done": done, "text": text, "statements": list(statements)}
        row = self._step.insert(name=self._name, step=ordinal, digest=digest, note=json.dumps(note))
        columns = (self._step.name, self._step.step)
        row.on_conflict(
            conflict_target=columns, preserve=(self._step.digest, self._step.note)
        ).execute()

    def undo(self, ordinals: Collection[int]) -> None:
        """Note of steps that they are being taken back; to be called in a transaction."""
        for row in list(self._step.select().where(self._is(ordinals))):
            row.note = json.dumps({**json.loads(row.note), "undoing": True})
            row.save()

    def keep(self, noted: Mapping[int, Noted]) -> None:
        """Note of steps that they stand as they are and are not taken back any more."""
        for ordinal, one in noted.items():
            self.write(ordinal, one.digest, done=one.done, statements=one.statements, text=one.text)

    def forget(self, ordinals: Collection[int]) -> None:
        """Have nothing noted of steps."""
        self._step.delete().where(self._is(ordinals)).execute()

    def _is(self, ordinals: Collection[int]) -> Any:
        return (self._step.name == self._name) & self._step.step.in_(list(ordinals))


_NOTED = {"way", "done", "text", "statements", "undoing"}


def _noted(row: Any) -> Noted:
    """Return what a row of the journal says; HistoryConflict for one that we did not write."""
    try:
        note = {"undoing": False, **json.loads(row.note)}
        flags, way, texts = (note["done"], note["undoing"]), note["way"], note["statements"]
        whole = set(note) == _NOTED and way in ("up", "down") and isinstance(texts, list)
        strings = all(isinstance(t, str) for t in (row.digest, note["text"], *texts))
        if not (whole and strings and all(isinstance(flag, bool) for flag in flags)):
            raise ValueError
    except (TypeError, ValueError, KeyError) as error:
        meta = row._meta
        table = f"{quote(meta.schema)}.{quote(meta.table_name)}"
        name = str(row.name).replace("'", "''")
        raise HistoryConflict(
            f'what {table} holds of step {row.step} of "{row.name}" was not written by this '
            f"foundry: use the one that wrote it, or take back by hand what stands of the file and "
            f"DELETE FROM {table} WHERE name = '{name}' AND step > 0"
        ) from error
    return Noted(digest=row.digest, **{**note, "statements": tuple(note["statements"])})


def _when(row: Any) -> datetime:
    if not isinstance(row.name, str) or not isinstance(row.applied, datetime):
        meta = row._meta
        raise HistoryConflict(
            f"row {row.id} of {quote(meta.schema)}.{quote(meta.table_name)} names no file, or no "
            f"time at which it was applied: correct it"
        )
    return row.applied.replace(tzinfo=timezone.utc)


class History:
    """The two history tables of one directory of files; `applied` is playhouse's model."""

    def __init__(self, database: Database, applied: type[Model]) -> None:
        class Step(Model):
            name = CharField()
            step = IntegerField()
            digest = TextField()
            note = TextField(null=True)

            class Meta:
                legacy_table_names = False
                table_name = f"{applied._meta.table_name}_step"
                schema = applied._meta.schema
                primary_key = CompositeKey("name", "step")

        self._database = database
        self._applied: Any = applied
        self._step: Any = Step
        database.bind([Step])

    def create(self) -> None:
        """Create the tables where they are missing."""
        for model in (self._applied, self._step):
            if not model.table_exists():
                model.create_table(safe=False)

    def entries(self) -> dict[str, Entry]:
        """Return the rows by name; none when the table is not there."""
        if not self._applied.table_exists():
            return {}
        digests = {step.name: step.digest for step in self._steps(_FILE)}
        return {
            row.name: Entry(
                name=row.name,
                applied=_when(row),
                digest=digests.get(row.name),
            )
            for row in self._applied.select()
        }

    def journal(self, name: str, way: str) -> Journal:
        """Return the journal of one way of a file."""
        return Journal(self._step, name, way)

    def begun(self) -> dict[str, dict[int, Noted]]:
        """Return what is noted of files that were not brought to their end, by name."""
        found: dict[str, dict[int, Noted]] = {}
        if self._step.table_exists():
            for row in self._step.select().where(self._step.step > _FILE):
                found.setdefault(row.name, {})[row.step] = _noted(row)
        return found

    def waited(self) -> frozenset[str]:
        """Return the names of files that an earlier run left waiting or off."""
        return frozenset(step.name for step in self._steps(_WAITED))

    def _steps(self, step: int) -> list[Any]:
        if not self._step.table_exists():
            return []
        return list(self._step.select().where(self._step.step == step))

    def leave(self, files: Iterable[MigrationFile]) -> None:
        """Write which files were left out, so that they may come late."""
        known = self.waited()
        new = [file for file in files if file.name not in known]
        if new:
            self.create()
        for file in new:
            self._step.insert(name=file.name, step=_WAITED, digest=file.digest).execute()

    def recall(self) -> tuple[str, str] | None:
        """Return the digest and the text that were kept last, if any were."""
        try:
            return next(((s.digest, s.note or "") for s in self._steps(_WANTED)), None)
        except PeeweeException:
            # Who may not read the table does without.
            return None

    def keep(self, digest: str, text: str) -> None:
        """Keep a text in the place of the one before; not before a file was applied."""
        if self._step.table_exists():
            row = self._step.insert(name="", step=_WANTED, digest=digest, note=text)
            columns = (self._step.name, self._step.step)
            changed = (self._step.digest, self._step.note)
            row.on_conflict(conflict_target=columns, preserve=changed).execute()

    def record(self, file: MigrationFile, *, note: str | None = None) -> None:
        """Write that a file was applied, with its digest and an optional remark."""
        now = datetime.now(timezone.utc).replace(tzinfo=None)
        self._applied.create(name=file.name, applied=now)
        self._step.delete().where(self._step.name == file.name).execute()
        self._step.insert(name=file.name, step=_FILE, digest=file.digest, note=note).execute()

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


def conflicts(
    standings: Sequence[Standing], entries: Mapping[str, Entry]
) -> Iterator[tuple[str, str]]:
    """Yield the name of each applied file that was edited or is gone, and what to do."""
    for standing in standings:
        entry, name = standing.entry, standing.file.name
        if entry and entry.digest and entry.digest != standing.file.digest:
            yield (
                name,
                f'"{name}" was edited after it was applied: restore the file and put the change '
                f"into a new one",
            )
    for name in sorted(set(entries) - {s.file.name for s in standings}):
        renamed = _same_content(standings, entries, name)
        remedy = (
            f'it looks renamed to "{renamed}": give it its name back'
            if renamed
            else "restore the file, or name the right --directory and --table"
        )
        yield name, f'"{name}" was applied and its file is not there: {remedy}'


def refuse_edits(standings: Sequence[Standing], entries: Mapping[str, Entry]) -> None:
    """Raise HistoryConflict for an applied file that was edited or is no longer there."""
    for _, told in conflicts(standings, entries):
        raise HistoryConflict(told)


def _same_content(
    standings: Sequence[Standing], entries: Mapping[str, Entry], gone: str
) -> str | None:
    digest = entries[gone].digest
    for standing in standings:
        if digest and standing.entry is None and standing.file.digest == digest:
            return standing.file.name
    return None


def late(
    plan: Sequence[Standing], applied: Collection[str], waited: Collection[str]
) -> tuple[str, ...]:
    """Return the names of planned files that are older than an applied one.

    A file that an earlier run left waiting comes late by right.
    """
    newest = max((number_of(name) for name in applied), default=-1)
    return tuple(s.file.name for s in plan if s.file.number < newest and s.file.name not in waited)
