"""What files are run on and with, and how far one of them is."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from typing import TypeVar

import psycopg2
from peewee import PeeweeException, PostgresqlDatabase

from foundry.database import Target
from foundry.migrate import lock
from foundry.migrate.collecting import Collected
from foundry.migrate.files import MigrationFile
from foundry.migrate.history import History, Journal
from foundry.migrate.limits import said
from foundry.migrate.patience import retried
from foundry.migrate.settings import Settings
from foundry.migrate.watching import WORKING, Progress, following, waiting, watching

T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class Ground:
    """What files are run on and with."""

    database: PostgresqlDatabase
    target: Target
    settings: Settings
    history: History
    report: Callable[[str], None]
    progress: Callable[[str, Progress | None], None]

    @property
    def pid(self) -> int:
        """The server's process of the session."""
        return int(self.database.connection().info.backend_pid)

    @contextmanager
    def shown(self, what: str) -> Iterator[None]:
        """Say that something is being done, and when it is over."""
        self.progress(what, WORKING)
        try:
            yield
        finally:
            self.progress(what, None)

    def retried(
        self,
        attempt: Callable[[], T],
        *,
        named: str | Callable[[], str],
        what: str,
        transaction: bool = True,
    ) -> T:
        """Call `attempt` until it has its locks, as patience.retried() does.

        Messages name it `named`, and what is shown of it `what`.
        """
        return retried(
            attempt,
            database=self.database,
            target=self.target,
            what=named,
            wait=self.settings.wait,
            report=self.report,
            waits=lambda blockers: self.progress(what, waiting(blockers)),
            transaction=transaction,
        )

    def watched(self, *, named: str, what: str) -> AbstractContextManager[None]:
        """Watch over a statement that may wait in the server."""
        return watching(
            self.target,
            self.pid,
            what=named,
            wait=self.settings.wait,
            report=self.report,
            progress=lambda seen: self.progress(what, seen),
        )

    def followed(self, what: str) -> AbstractContextManager[None]:
        """Show how far a statement is that bounds its waits itself."""
        return following(self.target, self.pid, progress=lambda seen: self.progress(what, seen))


@dataclass(frozen=True, slots=True, kw_only=True)
class Course:
    """What all steps of one way of a file are run with."""

    ground: Ground
    file: MigrationFile
    journal: Journal
    total: int
    done: set[int] = field(default_factory=set)
    """The steps that this run has done."""
    failed: list[str] = field(default_factory=list)
    """Which step the server refused, in words."""

    def what(self, step: Collected) -> str:
        """Return the step as messages name it."""
        return f'step {step.ordinal} of {self.total} of "{self.file.name}"'

    def at(self, step: Collected) -> str:
        """Return the step with what it does."""
        return f"{self.what(step)} ({said(step.operation)})"

    @contextmanager
    def named(self, step: Collected) -> Iterator[None]:
        """Say of what the server refuses which step it was."""
        try:
            yield
        except (psycopg2.Error, PeeweeException):
            self.failed.append(f" at step {step.ordinal} of {self.total} ({said(step.operation)})")
            raise

    def note(
        self, step: Collected, statements: Sequence[str], *, done: bool, text: str = ""
    ) -> None:
        """Write the step into the journal, in the transaction that is open.

        MigrationError when another run may be at work by now.
        """
        lock.require(self.ground.database)
        self.journal.write(step.ordinal, step.digest, done=done, statements=statements, text=text)
