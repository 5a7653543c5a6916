"""Apply and revert migration files: one runner at a time, each file once."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType
from typing import Any

from peewee import DatabaseError, InterfaceError, PostgresqlDatabase
from playhouse import migrations as playhouse

from foundry import requirements
from foundry.database import Target, open_connection
from foundry.declare import External
from foundry.errors import DataLoss, FoundryError, HistoryConflict, MigrationError
from foundry.migrate import externals, history, lock
from foundry.migrate.files import MigrationFile, read_directory
from foundry.migrate.history import Standing, State
from foundry.migrate.interrupt import cancelling
from foundry.migrate.recording import Recorder

Report = Callable[[str], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """What a run works with: files, history table, externals and switches."""

    directory: Path
    table: str = "schema_migration"
    externals: tuple[External, ...] = ()
    options: frozenset[str] = frozenset()
    wait: float = 600.0
    """Seconds to wait for another run."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Done:
    """One file that was applied, reverted or recorded, and how long it took."""

    name: str
    seconds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What a run did and what it left waiting."""

    done: tuple[Done, ...] = ()
    externals: tuple[externals.Progress, ...] = ()
    waiting: tuple[Standing, ...] = field(default=())


class _Direct(PostgresqlDatabase):
    """One connection of its own, never a pool's: session settings and locks stay here."""

    def __init__(self, target: Target) -> None:
        self.target = target
        super().__init__(target.dbname)

    def _connect(self) -> Any:
        return open_connection(self.target, application_name="foundry migrate")


class Runner(playhouse.Runner):  # type: ignore[misc]
    """playhouse's runner with a lock, digests, heads and files that wait.

    Use it through `opened()`, which owns the connection.
    """

    def __init__(self, database: PostgresqlDatabase, settings: Settings, report: Report) -> None:
        super().__init__(database, str(settings.directory), settings.table)
        self.settings = settings
        self.report = report
        self.history = history.History(database, settings.table)

    @classmethod
    @contextmanager
    def opened(
        cls, target: Target, settings: Settings, *, report: Report = lambda line: None
    ) -> Iterator[Runner]:
        """Yield a runner on a direct connection of its own; closes it at the end."""
        database = _Direct(target)
        database.connect()
        try:
            with cancelling(database.connection()):  # type: ignore[no-untyped-call]
                yield cls(database, settings, report)
        finally:
            database.close()

    def standings(self) -> tuple[Standing, ...]:
        """Return every file with its state; HistoryConflict where files and history differ."""
        files = read_directory(self.settings.directory)
        entries = self.history.entries()
        found = history.standings(files, entries, self._missing(files, entries))
        history.refuse_edits(found, entries)
        return found

    def _missing(
        self, files: Sequence[MigrationFile], entries: Collection[str]
    ) -> dict[str, tuple[str, ...]]:
        there = {p.name: p.there for p in self.progress()}
        return {
            f.name: requirements.missing(
                self.database, f.head.requires, externals=there, options=self.settings.options
            )
            for f in files
            if f.head.requires and f.name not in entries
        }

    def progress(self) -> tuple[externals.Progress, ...]:
        """Return how far the tables of other packages are."""
        return tuple(externals.progress(self.database, e) for e in self.settings.externals)

    def up(
        self,
        target: str | None = None,
        fake: bool = False,
        *,
        allow_data_loss: bool = False,
        force_order: bool = False,
    ) -> Outcome:
        """Bring externals forward, then apply pending files, through `target` if given.

        With `fake` files are recorded without being run. DataLoss and HistoryConflict
        come before anything is changed.
        """
        with lock.held(self.database, wait=self.settings.wait, report=self.report):
            standings = self.standings()
            plan = self._plan(standings, target, fake=fake)
            self._refuse_late(standings, plan, force_order=force_order)
            if not fake:
                refuse_loss([(s.file, s.file.head.loses) for s in plan], allowed=allow_data_loss)
            modules = [(s, self._load(s.file, "up")) for s in plan]
            brought = () if fake else self._bring_forward()
            self.history.create()
            late = {s.file.name for s in history.late(standings)}
            done = [self._apply(s.file, m, fake=fake, late=late) for s, m in modules]
            waiting = tuple(s for s in self.standings() if s.state is State.WAITING)
        return Outcome(done=tuple(done), externals=brought, waiting=waiting)

    def down(self, target: str | None = None, *, allow_data_loss: bool = False) -> Outcome:
        """Revert the newest applied file, or every one back through `target`."""
        with lock.held(self.database, wait=self.settings.wait, report=self.report):
            plan = self._plan_down(self.standings(), target)
            refuse_loss([(s.file, s.file.head.down_loses) for s in plan], allowed=allow_data_loss)
            modules = [(s, self._load(s.file, "down")) for s in plan]
            done = [self._revert(s.file, module) for s, module in modules]
        return Outcome(done=tuple(done))

    def fake(self, target: str | None = None) -> Outcome:
        """Record pending files as applied without running them, through `target` if given."""
        return self.up(target, fake=True)

    def pending(self, target: str | None = None) -> tuple[Standing, ...]:
        """Return the files `up` would apply, in order."""
        return self._plan(self.standings(), target, fake=False)

    def recorded(self, standing: Standing, direction: str = "up") -> tuple[str, ...]:
        """Return the SQL a file hands to `migrator.migrate`, without running any of it."""
        module = self._load(standing.file, direction)
        return Recorder(self.database).record(module, direction, standing.file.name)

    def _plan(
        self, standings: Sequence[Standing], target: str | None, *, fake: bool
    ) -> tuple[Standing, ...]:
        named = next((s for s in standings if s.file.name == target), None)
        if target is not None and named is None:
            raise MigrationError(f'there is no migration "{target}" in {self.directory}')
        blocked = (State.WAITING, State.OFF)
        if named is not None and named.state in blocked and not fake:
            raise MigrationError(
                f'"{target}" cannot be applied yet: it needs {", ".join(named.missing)}'
            )
        last = named.file.number if named else None
        return tuple(
            s
            for s in standings
            if (s.state is State.PENDING or (fake and s is named and s.state in blocked))
            and (last is None or s.file.number <= last)
        )

    def _plan_down(self, standings: Sequence[Standing], target: str | None) -> tuple[Standing, ...]:
        applied = [s for s in reversed(standings) if s.state is State.APPLIED]
        if target is None:
            return tuple(applied[:1])
        names = [s.file.name for s in applied]
        if target not in names:
            raise MigrationError(f'"{target}" is not an applied migration')
        return tuple(applied[: names.index(target) + 1])

    def _refuse_late(
        self, standings: Sequence[Standing], plan: Sequence[Standing], *, force_order: bool
    ) -> None:
        late = [s for s in history.late(standings) if s in plan]
        if late and not force_order:
            raise HistoryConflict(
                f'"{late[0].file.name}" is older than files already applied: give it the next '
                f"free number, or run up with --force-order"
            )

    def _bring_forward(self) -> tuple[externals.Progress, ...]:
        return tuple(
            externals.bring_forward(self.database, e, report=self.report)
            for e in self.settings.externals
        )

    def _load(self, file: MigrationFile, direction: str) -> ModuleType:
        migration = playhouse.Migration(file.number, file.name, str(file.path), None)
        try:
            module: ModuleType = migration.load()
        except Exception as error:
            raise MigrationError(
                f'"{file.name}" cannot be loaded: {type(error).__name__}: {_line(error)}'
            ) from error
        if getattr(module, direction, None) is None:
            remedy = (
                "it cannot be reverted; write the way back as a new migration"
                if direction == "down"
                else "define it"
            )
            raise MigrationError(f'"{file.name}" has no {direction}(): {remedy}')
        return module

    def _apply(
        self, file: MigrationFile, module: ModuleType, *, fake: bool, late: Collection[str]
    ) -> Done:
        note = "stamped" if fake else "out of order" if file.name in late else None
        started = time.monotonic()
        with self._running(file, "up"):
            if not fake:
                module.up(self.migrator, self.database)
            with self.database.atomic():
                self.history.record(file, note=note)
        return self._done(file, "recorded" if fake else "applied", started)

    def _revert(self, file: MigrationFile, module: ModuleType) -> Done:
        started = time.monotonic()
        with self._running(file, "down"):
            module.down(self.migrator, self.database)
            with self.database.atomic():
                self.history.forget(file.name)
        return self._done(file, "reverted", started)

    @contextmanager
    def _running(self, file: MigrationFile, direction: str) -> Iterator[None]:
        kept = "nothing of it was kept" if file.head.atomic else "its earlier steps stand"
        try:
            with self.migrator.migration_context(file.head.atomic):
                yield
        except (FoundryError, KeyboardInterrupt):
            raise
        except Exception as error:
            raise MigrationError(
                f'"{file.name}" {direction} failed, {kept}: {_line(error)}'
            ) from error

    def _done(self, file: MigrationFile, verb: str, started: float) -> Done:
        done = Done(name=file.name, seconds=time.monotonic() - started)
        self.report(f"{verb} {file.name} in {done.seconds:.2f} s")
        return done


def refuse_loss(losses: Sequence[tuple[MigrationFile, tuple[str, ...]]], *, allowed: bool) -> None:
    """Raise DataLoss for the first file that loses something, unless that is allowed."""
    for file, lost in losses:
        if lost and not allowed:
            raise DataLoss(
                f'"{file.name}" loses {", ".join(lost)}: run again with --allow-data-loss '
                f"if that is wanted"
            )


def _line(error: BaseException) -> str:
    """Return what the server or Python said in one line, without the row in DETAIL."""
    cause = error.__cause__ or error
    if isinstance(error, (DatabaseError, InterfaceError)):
        primary = getattr(getattr(cause, "diag", None), "message_primary", None)
        return str(primary) if primary else str(error).strip().splitlines()[0]
    return (str(error).strip().splitlines() or [type(error).__name__])[0]
