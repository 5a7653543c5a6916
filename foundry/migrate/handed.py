"""playhouse's migrator, which knows what a file made with it and did not hand on."""

from __future__ import annotations

import difflib
import inspect
from collections.abc import Callable
from functools import partial, wraps
from typing import Any

from peewee import PostgresqlDatabase
from playhouse.migrate import Operation, PostgresqlMigrator

from foundry.errors import MigrationError
from foundry.migrate.files import MigrationFile

_OPERATIONS = tuple(
    name
    for name, made in inspect.getmembers(PostgresqlMigrator, inspect.isfunction)
    if hasattr(made, "__wrapped__") and not name.startswith("_")
)


class Migrator(PostgresqlMigrator):  # type: ignore[misc]
    """What a file calls `migrator`; an operation that is only made does nothing."""

    def __init__(self, database: PostgresqlDatabase) -> None:
        super().__init__(database)
        self._idle: list[Any] = []
        self._running = 0
        for name in _OPERATIONS:
            setattr(self, name, self._noting(getattr(self, name)))

    def __getattr__(self, name: str) -> Any:
        meant = difflib.get_close_matches(name, (*_OPERATIONS, "migrate"), n=1)
        hint = f'; did you mean "{meant[0]}"?' if meant and name[0] != "_" else ""
        raise AttributeError(f'the migrator has no "{name}"{hint}')

    def _noting(self, make: Callable[..., Any]) -> Callable[..., Any]:
        @wraps(make)
        def made(*args: Any, **kwargs: Any) -> Any:
            operation = make(*args, **kwargs)
            if not self._running:
                self._idle.append(operation)
                operation.run = partial(self._run, operation)
            return operation

        return made

    def _run(self, operation: Any) -> None:
        self.take(operation)
        self._running += 1
        try:
            Operation.run(operation)
        finally:
            self._running -= 1

    def take(self, operation: Any) -> None:
        """Note that an operation was handed on; MigrationError when it is none."""
        if not isinstance(operation, Operation):
            raise MigrationError(
                f"migrator.migrate() was handed a {type(operation).__name__}: give it operations, "
                f"as migrator.sql(...)"
            )
        self._idle = [one for one in self._idle if one is not operation]

    def refuse_idle(self, file: MigrationFile) -> None:
        """Raise MigrationError for an operation that was made and not handed on."""
        if self._idle:
            name = self._idle[0].fn.__name__
            raise MigrationError(
                f'"{file.name}" makes migrator.{name}(...) and does nothing with it: hand it to '
                f"migrator.migrate()"
            )
