"""Try rendered files out, there and back, in a database that is thrown away."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from types import ModuleType
from typing import Any

import psycopg2
from peewee import DatabaseError, PostgresqlDatabase
from playhouse.migrate import SchemaMigrator
from psycopg2 import errors

from foundry.database import Target
from foundry.errors import MigrationError, NoScratch
from foundry.migrate import catalog
from foundry.migrate.failure import told
from foundry.migrate.objects import Enum, Key
from foundry.migrate.plan import Asked, plan
from foundry.migrate.render import RenderedFile
from foundry.migrate.scratch import scratch
from foundry.migrate.snapshot import Snapshot
from foundry.migrate.spelling import quoted
from foundry.migrate.steps import Plan, Step

# What a server or role may be unable to do; it says nothing about the plan.
_UNABLE = (errors.FeatureNotSupported, errors.UndefinedFile, errors.InsufficientPrivilege)
# What these do not find is a role: another server need not have it.
_OF_ROLES = re.compile(r"\s*(GRANT|REVOKE|(CREATE|ALTER) POLICY)\b")
# What looks up the type of a column. Of types only the enumerated ones are seen and made there.
_TYPES = "typenameType"


@dataclass(frozen=True, slots=True, kw_only=True)
class Setting:
    """The server the files are for, and where names are looked for on it."""

    target: Target
    version: int
    path: tuple[str, ...]
    """Namespaces of the search_path; names of the first one stand alone."""
    dev_url: str | None = None


def replayed(
    setting: Setting,
    made: Plan,
    rendered: Callable[[Plan], Sequence[RenderedFile]],
    live: Snapshot,
    *,
    again: Callable[[Asked], Plan] | None = None,
) -> tuple[Plan, str | None]:
    """Return the plan and None when every file leads where it says, up and down.

    Else the reason why they could not be tried; NoScratch when that is the server of a
    `dev_url`. MigrationError, a defect of the planner, names the file and the first object
    that comes out different. A plan with renames is made `again`, with the texts that the
    server makes of them.
    """
    try:
        with scratch(setting.target, dev_url=setting.dev_url) as database:
            trial = _Trial(database, setting)
            try:
                odd = trial.rebuild(live)
            except (psycopg2.Error, DatabaseError) as error:
                return made, f"what is there cannot be built a second time ({told(error)})"
            if again is not None and _renames(made):
                made = again(partial(trial.renamed, live=live, odd=odd))
            return made, trial.run(made, rendered(made), odd)
    except NoScratch as error:
        if setting.dev_url is not None:
            raise
        return made, str(error)


def _renames(made: Plan) -> bool:
    return any(step.action.startswith("rename ") for stage in made.stages for step in stage.up)


class _Trial:
    def __init__(self, database: PostgresqlDatabase, setting: Setting) -> None:
        self.database = database
        self.setting = setting
        self.migrator = SchemaMigrator.from_database(database)

    def rebuild(self, live: Snapshot) -> frozenset[Key]:
        """Build what is there now; returns the keys of what cannot be built as it is."""
        self.reset()
        steps = plan(self.read(), live, version=self.setting.version, default=self.setting.path[0])
        cursor = self.database.cursor()
        for stage in steps.stages:
            for step in stage.up:
                cursor.execute(step.sql)
        return frozenset(_differing(self.read(), live))

    def renamed(
        self,
        steps: tuple[Step, ...],
        predicted: Snapshot,
        *,
        live: Snapshot,
        odd: frozenset[Key],
    ) -> Snapshot:
        """Return what the server has after renames, which are undone; `odd` stays as predicted."""
        cursor = self.database.cursor()
        with self.database.atomic() as transaction:
            try:
                for step in steps:
                    cursor.execute(step.sql)
                found = self.read()
            except psycopg2.Error:
                return predicted  # the trial of the files says what is wrong
            finally:
                transaction.rollback()
        # Object by object: a prediction keeps their order.
        pairs = zip(live.objects, predicted.objects, strict=True)
        known = [key for before, key in pairs if before not in odd and key in found]
        wrong = [key for key in known if found.get(key) != predicted.get(key)]
        return predicted.changed(add=map(found.get, wrong))

    def run(self, made: Plan, files: Sequence[RenderedFile], odd: frozenset[Key]) -> str | None:
        """Apply the files and revert them, and look after each one."""
        trials = list(zip(files, made.stages, strict=True))
        ways = [(file, "up", stage.after) for file, stage in trials]
        ways += [(file, "down", stage.before) for file, stage in reversed(trials)]
        for file, direction, goal in ways:
            try:
                self.apply(file, direction)
            except (psycopg2.Error, DatabaseError, IndexError) as error:
                if _is_unable(_cause(error), made):
                    return f'"{file.name}" cannot be tried out there ({told(error)})'
                raise MigrationError(
                    f'"{file.name}" {direction} fails in a throw-away database: {told(error)}; '
                    f"nothing was written: report this"
                ) from error
            wrong = sorted(_differing(self.read(), goal) - odd)
            if wrong:
                kind, *names = wrong[0]
                raise MigrationError(
                    f'the plan for {kind} "{".".join(names)}" does not lead where it should '
                    f'("{file.name}" {direction}); nothing was written: report this'
                )
        return None

    def apply(self, file: RenderedFile, direction: str) -> None:
        """Run one way of a file as playhouse does."""
        self.reset()
        module = ModuleType(file.name)
        exec(compile(file.content, file.filename, "exec"), module.__dict__)
        with self.migrator.migration_context(getattr(module, "atomic", True)):
            getattr(module, direction)(self.migrator, self.database)

    def reset(self) -> None:
        """Make the session one as the runner has it."""
        path = quoted(self.setting.path).replace("%", "%%")
        self.database.execute_sql("SET TIME ZONE 'UTC'")
        self.database.execute_sql(f"SET search_path = {path}")

    def read(self) -> Snapshot:
        """Read everything there is."""
        names = catalog.namespaces(self.database)
        return catalog.read(
            self.database, {name: name for name in names}, search_path=self.setting.path
        )


def _is_unable(error: Any, made: Plan) -> bool:
    if not isinstance(error, errors.UndefinedObject):
        return isinstance(error, _UNABLE)
    if error.diag.source_function == _TYPES:
        ours = {enum.name for stage in made.stages for enum in stage.after.kind(Enum)}
        return not any(f'"{name}"' in (error.diag.message_primary or "") for name in ours)
    asked = getattr(error.cursor, "query", None) or b""
    return _OF_ROLES.match(asked.decode(errors="replace")) is not None


def _cause(error: Exception) -> Any:
    return error.__cause__ or error.__context__ if isinstance(error, DatabaseError) else error


def _differing(found: Snapshot, goal: Snapshot) -> frozenset[Key]:
    keys = {*found.objects, *goal.objects}
    return frozenset(key for key in keys if found.get(key) != goal.get(key))
