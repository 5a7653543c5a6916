"""Apply and revert migration files: one runner at a time, each file once."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, NoReturn, TypeVar

from peewee import PostgresqlDatabase, ProgrammingError
from playhouse import migrations as playhouse

from foundry import requirements
from foundry.database import Target, open_connection
from foundry.errors import DeclarationError, HistoryConflict, MigrationError
from foundry.migrate import externals, history, lock, planning, session
from foundry.migrate.begun import Begun, begun, refuse_gone, remaining
from foundry.migrate.collecting import recorded
from foundry.migrate.course import Ground
from foundry.migrate.execution import Work, execute, load
from foundry.migrate.files import MigrationFile, listed, refuse_twins
from foundry.migrate.history import Standing, State
from foundry.migrate.interrupt import cancelling
from foundry.migrate.outcome import Done, Outcome
from foundry.migrate.pooling import require_direct
from foundry.migrate.preflight import group_of, refuse_rows
from foundry.migrate.reach import reached
from foundry.migrate.readiness import require_history, require_ready
from foundry.migrate.settings import Settings
from foundry.migrate.showing import Shown
from foundry.migrate.spelling import quote
from foundry.migrate.stepwise import refuse_changed
from foundry.migrate.watching import sqlstate

T = TypeVar("T")

Report = Callable[[str], None]


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

    def __init__(
        self,
        database: PostgresqlDatabase,
        target: Target,
        settings: Settings,
        *,
        report: Report,
        progress: Shown,
    ) -> None:
        session.begin(database, wait=settings.wait)
        namespace = history.namespace(database, settings.table)
        super().__init__(database, str(settings.directory), settings.table, schema=namespace)
        self.target = target
        self.settings = settings
        self.report = report
        self.shown = progress
        self.history = history.History(database, self.History)

    @classmethod
    @contextmanager
    def opened(
        cls,
        target: Target,
        settings: Settings,
        *,
        report: Report = lambda line: None,
        progress: Shown = lambda what, seen: None,
    ) -> Iterator[Runner]:
        """Yield a runner on a direct connection of its own; closes it at the end.

        `report` gets lines; `progress` what is being done and how far it is, and None when it is
        over; both may be called in another thread.
        """
        database = _Direct(target)
        database.connect()
        try:
            require_direct(database, target)
            with cancelling(database.connection()):  # type: ignore[no-untyped-call]
                yield cls(database, target, settings, report=report, progress=progress)
        finally:
            database.close()

    def standings(self) -> tuple[Standing, ...]:
        """Return every file with its state; HistoryConflict where files and history differ."""
        found, entries = self.seen()
        refuse_twins([s.file for s in found])
        history.refuse_edits(found, entries)
        return found

    def seen(self) -> tuple[tuple[Standing, ...], Mapping[str, history.Entry]]:
        """Return every file with its state, and the rows of the history; refuses no conflict."""
        files = listed(self.settings.directory)
        self._refuse_unknown(files)
        entries = self._asked(self.history.entries)
        return history.standings(files, entries, self._missing(files, entries)), entries

    def waited(self) -> frozenset[str]:
        """Return the names of files that an earlier run left waiting, which may come late."""
        return self._asked(self.history.waited)

    def _refuse_unknown(self, files: Sequence[MigrationFile]) -> None:
        known = {f"external:{e.name}" for e in self.settings.externals}
        named = {(r, f.name) for f in files for r in f.head.requires}
        for requirement, name in sorted(named):
            if requirement.startswith("external:") and requirement not in known:
                raise DeclarationError(
                    f'"{name}" requires "{requirement}", which the models do not declare'
                )
        options = {r.partition(":")[2] for r, _ in named if r.startswith("option:")}
        for option in sorted(self.settings.options - options):
            there = f"; there is {', '.join(sorted(options))}" if options else ""
            raise DeclarationError(f'no migration knows the option "{option}"{there}')

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

    def _asked(self, ask: Callable[[], T]) -> T:
        """Ask the history, and say who has it locked, or what this role may not."""
        try:
            return reached(
                ask,
                database=self.database,
                target=self.target,
                what=f'the history "{self.settings.table}"',
                wait=self.settings.wait,
                report=self.report,
            )
        except ProgrammingError as error:
            if sqlstate(error) == "42501":
                require_history(self.database, self.schema, self.settings.table)
            raise

    def begun(self) -> tuple[Begun, ...]:
        """Return the files that an earlier run began and did not finish."""
        standings = {s.file.name: s for s in self.seen()[0]}
        noted = self._asked(self.history.begun)
        return tuple(begun(noted, standings, self.database, journal=self._journal))

    @property
    def _journal(self) -> str:
        return f"{quote(self.schema)}.{quote(self.settings.table + '_step')}"

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
        begun_too: bool = False,
    ) -> Outcome:
        """Bring externals forward, then apply pending files, through `target` if given.

        With `fake` files are recorded without being run; with `begun_too` also those of which
        some steps are done. DataLoss and HistoryConflict
        come before anything is changed, DataInTheWay before the files that were written
        together with the one it is about.
        """
        with lock.held(self.database, wait=self.settings.wait, report=self.report):
            standings = self.standings()
            plan = planning.to_apply(
                standings, target, fake=fake, directory=self.settings.directory
            )
            late = self._late(plan, standings, allowed=force_order)
            self._refuse_begun(standings, "up")
            if fake:
                self._refuse_stamp(plan, allowed=begun_too)
            if not fake:
                planning.refuse_loss(
                    [(s.file, s.file.head.loses) for s in plan], allowed=allow_data_loss
                )
                if plan:
                    self._require_ready([s.file for s in plan])
            # What is only recorded may be another tool's, and need not be ours to run.
            works = [(s, None if fake else load(s.file, "up", self.database)) for s in plan]
            self._refuse_changed([work for _, work in works if work])
            brought = () if fake else self._bring_forward()
            done = []
            for standing, work in works:
                if not fake:
                    self._refuse_rows(standing, plan)
                done.append(self._apply(standing.file, work, late=late))
            left = [s for s in self.standings() if s.state in (State.WAITING, State.OFF)]
            self._asked(lambda: self.history.leave([s.file for s in left]))
        waiting = tuple(s for s in left if s.state is State.WAITING)
        return Outcome(done=tuple(done), externals=brought, waiting=waiting)

    def down(self, target: str | None = None, *, allow_data_loss: bool = False) -> Outcome:
        """Revert the newest applied file, or every one back through `target`."""
        with lock.held(self.database, wait=self.settings.wait, report=self.report):
            standings = self.standings()
            plan = planning.to_revert(standings, target)
            self._refuse_begun(standings, "down")
            planning.refuse_loss(
                [(s.file, s.file.head.down_loses) for s in plan], allowed=allow_data_loss
            )
            if plan:
                self._require_ready([])
            works = [load(s.file, "down", self.database) for s in plan]
            self._refuse_changed(works)
            done = [self._revert(work) for work in works]
        return Outcome(done=tuple(done))

    def fake(self, target: str | None = None, *, begun_too: bool = False) -> Outcome:
        """Record pending files as applied without running them, through `target` if given."""
        return self.up(target, fake=True, begun_too=begun_too)

    def pending(
        self,
        target: str | None = None,
        *,
        allow_data_loss: bool = False,
        force_order: bool = False,
        ready: bool = True,
    ) -> tuple[Standing, ...]:
        """Return the files `up` would apply, in order; refuses what `up` refuses.

        Without `ready` the server, the role and the disk are not asked: another role may run it.
        """
        standings = self.standings()
        plan = planning.to_apply(standings, target, directory=self.settings.directory)
        self._refuse_begun(standings, "up")
        self._refuse_changed([load(s.file, "up", self.database) for s in plan])
        self._late(plan, standings, allowed=force_order)
        planning.refuse_loss([(s.file, s.file.head.loses) for s in plan], allowed=allow_data_loss)
        if plan and ready:
            self._require_ready([s.file for s in plan])
        # Rows that are in the way of later ones may be what the first ones correct.
        for standing in plan[:1]:
            self._refuse_rows(standing, plan)
        return plan

    # What playhouse's runner has besides: it would neither lock, nor keep digests, nor tell files
    # that wait from those that are due.

    def _run(self, name: str, module: object, direction: str, fake: bool = False) -> None:
        raise MigrationError(f'"{name}" is not run this way: use up(), down() or fake()')

    def migrations(self) -> NoReturn:
        raise MigrationError("files are not listed this way: use standings()")

    def applied(self) -> NoReturn:
        raise MigrationError("what is applied is not asked for this way: use standings()")

    def status(self) -> NoReturn:
        raise MigrationError("there is no status() here: use standings(), pending() or begun()")

    def create(self, name: str = "", body: str | None = None) -> NoReturn:
        raise MigrationError(
            "no file is made this way: use python -m foundry.migrate generate NAME (--empty)"
        )

    def _refuse_rows(self, standing: Standing, plan: Sequence[Standing]) -> None:
        refuse_rows(self.database, group_of(standing.file, [s.file for s in plan]))

    def recorded(self, standing: Standing) -> tuple[str, ...]:
        """Return the SQL a file hands to `migrator.migrate`, without running any of it.

        Of a file that stands in the middle of `up`, that of the steps that are left.
        """
        steps = self._asked(self.history.begun).get(standing.file.name)
        if steps:
            return remaining(standing.file, steps, self.database)
        work = load(standing.file, "up", self.database)
        return recorded(work.function, self.database, standing.file.name)

    def _late(
        self, plan: Sequence[Standing], standings: Sequence[Standing], *, allowed: bool
    ) -> frozenset[str]:
        """Return the names of planned files that come out of order; refuse them unless allowed."""
        applied = [s.file.name for s in standings if s.entry]
        late = history.late(plan, applied, self.waited())
        if late and not allowed:
            raise HistoryConflict(
                f'"{late[0]}" is older than files already applied: give it the next free '
                f"number, or run up with --force-order"
            )
        return frozenset(late)

    def _refuse_begun(self, standings: Sequence[Standing], way: str) -> None:
        """Refuse to go one way while a file stands in the middle of the other."""
        files = {s.file.name: s.file for s in standings}
        for name, steps in sorted(self._asked(self.history.begun).items()):
            way_there = next(iter(steps.values())).way
            refuse_gone(name, way_there, files.get(name), journal=self._journal)
            if any(noted.way != way for noted in steps.values()):
                other = "down" if way == "up" else "up"
                raise HistoryConflict(
                    f'"{name}" stands in the middle of {other}: run {other} again first'
                )

    def _refuse_stamp(self, plan: Sequence[Standing], *, allowed: bool) -> None:
        require_history(self.database, self.schema, self.settings.table)
        planned = {s.file.name for s in plan}
        for file in () if allowed else self.begun():
            if file.name in planned:
                raise HistoryConflict(
                    f"{file.stands}: run up, which goes on with it; or do by hand what is left (up "
                    f"--sql prints it), then stamp --begun"
                )

    def _refuse_changed(self, works: Sequence[Work]) -> None:
        noted = self._asked(self.history.begun)
        for work in works:
            refuse_changed(work.steps, noted.get(work.file.name, {}), work.file)

    def _require_ready(self, files: Sequence[MigrationFile]) -> None:
        notes = require_ready(
            self.database,
            self.target,
            files,
            namespace=self.schema,
            table=self.settings.table,
        )
        for note in notes:
            self.report(note)

    def _bring_forward(self) -> tuple[externals.Progress, ...]:
        return tuple(
            externals.bring_forward(
                self.database,
                e,
                report=self.report,
                ways=self._ways(f"upgrading the {e.name} tables"),
            )
            for e in self.settings.externals
        )

    def _ways(self, what: str) -> externals.Ways:
        ground = self._ground()
        return externals.Ways(
            briefly=lambda attempt: ground.retried(attempt, named=what, what=what),
            patiently=lambda: ground.watched(named=what, what=what),
        )

    def _apply(self, file: MigrationFile, work: Work | None, *, late: Collection[str]) -> Done:
        note = "stamped" if work is None else "out of order" if file.name in late else None
        started = time.monotonic()
        self._asked(self.history.create)

        def finish() -> None:
            self.history.record(file, note=note)

        if work is None:
            self._asked(finish)
        else:
            execute(work, self._ground(), finish)
        return self._done(file, "applied" if work else "recorded", started)

    def _revert(self, work: Work) -> Done:
        started = time.monotonic()
        execute(work, self._ground(), lambda: self.history.forget(work.file.name))
        return self._done(work.file, "reverted", started)

    def _ground(self) -> Ground:
        return Ground(
            database=self.database,
            target=self.target,
            settings=self.settings,
            history=self.history,
            report=self.report,
            progress=self.shown,
        )

    def _done(self, file: MigrationFile, verb: str, started: float) -> Done:
        done = Done(name=file.name, seconds=time.monotonic() - started)
        self.report(f"{verb} {file.name} in {done.seconds:.2f} s")
        return done
