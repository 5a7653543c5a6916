"""Tables of other packages, brought forward by the package's own steps."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from peewee import Database

from foundry.declare import External
from foundry.errors import MigrationError, Refused

_CONCURRENTLY = re.compile(
    r"^\s*(CREATE\s+(?:UNIQUE\s+)?INDEX)\s+CONCURRENTLY\s+(?:IF\s+NOT\s+EXISTS\s+)?(\w+)", re.I
)

_INVALID = """
SELECT i.indexrelid::regclass::text FROM pg_catalog.pg_index AS i
WHERE i.indexrelid = to_regclass(%s) AND NOT i.indisvalid
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    """How far the tables of an external are: steps done out of the steps known.

    `known` is None when the package is not installed here.
    """

    name: str
    package: str
    done: int
    known: int | None

    @property
    def there(self) -> bool:
        """True when the tables are, or can be made by the installed package."""
        return self.known is not None or self.done > 0

    @property
    def pending(self) -> bool:
        """True when the installed package has steps this database has not had."""
        return self.known is not None and self.done < self.known


def progress(database: Database, external: External) -> Progress:
    """Read how far the tables are; Refused when they are newer than the package."""
    version = external.version(database)
    done = 0 if version is None else version + 1
    known = len(external.migrations()) if external.installed() else None
    if known is not None and done > known:
        raise Refused(
            f"the {external.name} tables are at step {done - 1} and the installed "
            f"{external.package} knows {known - 1}: upgrade {external.package}"
        )
    return Progress(name=external.name, package=external.package, done=done, known=known)


def bring_forward(
    database: Database, external: External, *, report: Callable[[str], None]
) -> Progress:
    """Run the package's steps this database has not had; the caller holds the lock."""
    before = progress(database, external)
    if not before.pending:
        return before
    steps = external.migrations()[before.done :]
    if before.done:
        for statements in steps:
            _upgrade(database, external, statements)
    else:
        _create(database, steps)
    after = progress(database, external)
    if after.pending:
        raise MigrationError(
            f"the {external.name} tables stayed at step {after.done - 1} of "
            f"{len(external.migrations()) - 1}: report it to {external.package}"
        )
    report(f"{external.name} tables brought to step {after.done - 1} of {external.package}")
    return after


def _create(database: Database, steps: Sequence[Sequence[str]]) -> None:
    # Nothing else can use tables that do not exist yet, so plain indexes will do, and
    # one transaction leaves all of them or none.
    with database.atomic():
        for statements in steps:
            for statement in statements:
                _execute(database, _CONCURRENTLY.sub(r"\1 IF NOT EXISTS \2", statement))


def _upgrade(database: Database, external: External, statements: Sequence[str]) -> None:
    if not any(_CONCURRENTLY.match(statement) for statement in statements):
        with database.atomic():
            for statement in statements:
                _execute(database, statement)
        return
    for statement in statements:
        match = _CONCURRENTLY.match(statement)
        if match is None:
            _execute(database, statement)
            continue
        # IF NOT EXISTS would accept an index that a killed build left behind INVALID.
        for (invalid,) in database.execute_sql(_INVALID, (match.group(2),)).fetchall():
            database.execute_sql(f"DROP INDEX CONCURRENTLY {invalid}")
        _execute(database, statement)
        if database.execute_sql(_INVALID, (match.group(2),)).fetchone():
            raise MigrationError(
                f'index "{match.group(2)}" of the {external.name} tables could not be built: '
                f"run up again"
            )


def _execute(database: Database, statement: str) -> None:
    database.execute_sql(statement.replace("%", "%%"), ())
