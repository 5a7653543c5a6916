"""Tables of other packages, brought forward by the package's own steps."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from functools import partial

from peewee import Database

from foundry.declare import External
from foundry.errors import MigrationError, Refused
from foundry.migrate import queries

_CONCURRENTLY = re.compile(
    r"^\s*(CREATE\s+(?:UNIQUE\s+)?INDEX)\s+CONCURRENTLY\s+(?:IF\s+NOT\s+EXISTS\s+)?(\w+)", re.I
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Ways:
    """How statements are run where others are at work meanwhile."""

    briefly: Callable[[Callable[[], None]], None]
    """Calls what needs strong locks in a transaction, again until it has them."""
    patiently: Callable[[], AbstractContextManager[None]]
    """Watches over a statement that nobody waits behind."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    """How far the tables of an external are: steps done out of the steps known.

    `known` is None when the package is not installed here.
    """

    external: External
    done: int
    known: int | None

    @property
    def name(self) -> str:
        """The external's name."""
        return self.external.name

    @property
    def newer(self) -> bool:
        """True when the tables have had steps the installed package does not know."""
        return self.known is not None and self.done > self.known

    @property
    def there(self) -> bool:
        """True when the tables are, or can be made by the installed package."""
        return self.known is not None or self.done > 0

    @property
    def pending(self) -> bool:
        """True when the installed package has steps this database has not had."""
        return self.known is not None and self.done < self.known


def progress(database: Database, external: External) -> Progress:
    """Read how far the tables are."""
    version = external.version(database)
    done = 0 if version is None else version + 1
    known = len(external.migrations()) if external.installed() else None
    return Progress(external=external, done=done, known=known)


def refuse_newer(progress: Progress) -> None:
    """Raise Refused for tables whose steps the installed package does not know."""
    if progress.newer:
        package = progress.external.package
        raise Refused(
            f"the {progress.name} tables are at step {progress.done - 1} and the installed "
            f"{package} knows {(progress.known or 0) - 1}: upgrade {package}"
        )


def statements(progress: Progress) -> tuple[str, ...]:
    """Return what `bring_forward` would run, for tables that are not there yet or are old."""
    steps = progress.external.migrations()[progress.done :] if progress.pending else ()
    return tuple(
        _CONCURRENTLY.sub(r"\1 IF NOT EXISTS \2", statement).strip()
        if not progress.done
        else statement.strip()
        for step in steps
        for statement in step
    )


def bring_forward(
    database: Database,
    external: External,
    *,
    report: Callable[[str], None],
    ways: Ways | None = None,
) -> Progress:
    """Run the package's steps this database has not had; the caller holds the lock.

    Without `ways` nobody else uses the database.

    Refused when the tables are newer than the package. An index that a killed build left
    INVALID is built again, also when no step is missing.
    """
    before = progress(database, external)
    refuse_newer(before)
    if before.known is None:
        return before
    steps, ways = external.migrations(), ways or _alone(database)
    if not any(_exists(database, table) for table in external.tables):
        ways.briefly(lambda: _create(database, steps))
    else:
        for statements in steps[before.done :]:
            _upgrade(database, statements, ways)
        _mend(database, steps, ways)
    after = progress(database, external)
    if after.pending:
        raise MigrationError(
            f"the {external.name} tables stayed at step {after.done - 1} of {len(steps) - 1}: "
            f"report it to {external.package}"
        )
    if after.done != before.done:
        report(f"{external.name} tables brought to step {after.done - 1} of {external.package}")
    return after


def _alone(database: Database) -> Ways:
    def briefly(attempt: Callable[[], None]) -> None:
        with database.atomic():
            attempt()

    return Ways(briefly=briefly, patiently=nullcontext)


def _create(database: Database, steps: Sequence[Sequence[str]]) -> None:
    # Nothing else can use tables that do not exist yet, so plain indexes will do, and
    # one transaction leaves all of them or none.
    for statements in steps:
        for statement in statements:
            _execute(database, _CONCURRENTLY.sub(r"\1 IF NOT EXISTS \2", statement))


def _upgrade(database: Database, statements: Sequence[str], ways: Ways) -> None:
    if not any(_CONCURRENTLY.match(statement) for statement in statements):
        ways.briefly(lambda: _execute(database, *statements))
        return
    for statement in statements:
        if _CONCURRENTLY.match(statement):
            _build(database, statement, ways)
        else:
            ways.briefly(partial(_execute, database, statement))


def _mend(database: Database, steps: Sequence[Sequence[str]], ways: Ways) -> None:
    for statements in steps:
        for statement in statements:
            match = _CONCURRENTLY.match(statement)
            if match and _invalid(database, match.group(2)):
                _build(database, statement, ways)


def _build(database: Database, statement: str, ways: Ways) -> None:
    match = _CONCURRENTLY.match(statement)
    # IF NOT EXISTS would accept an index that a killed build left behind INVALID.
    if match and (invalid := _invalid(database, match.group(2))):
        with ways.patiently():
            database.execute_sql(f"DROP INDEX CONCURRENTLY {invalid}")
    with ways.patiently():
        _execute(database, statement)
    if match and _invalid(database, match.group(2)):
        raise MigrationError(f'index "{match.group(2)}" could not be built: run up again')


def _invalid(database: Database, index: str) -> str | None:
    """Return the index's name, quoted as need be, when it is there and INVALID."""
    row = database.execute_sql(queries.text("invalid_index"), (index,)).fetchone()
    return str(row[0]) if row else None


def _exists(database: Database, table: str) -> bool:
    return database.execute_sql("SELECT to_regclass(%s)", (table,)).fetchone()[0] is not None


def _execute(database: Database, *statements: str) -> None:
    for statement in statements:
        database.execute_sql(statement.replace("%", "%%"), ())
