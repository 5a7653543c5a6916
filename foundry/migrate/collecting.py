"""What a migration file hands to `migrator.migrate`, kept before any of it runs."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import psycopg2
from peewee import DatabaseError, Field, ModelBase, Node, PostgresqlDatabase
from playhouse.migrate import Operation, PostgresqlMigrator

from foundry.errors import MigrationError
from foundry.migrate.failure import place, told
from foundry.migrate.files import MigrationFile
from foundry.migrate.handed import Migrator
from foundry.migrate.lasting import lasting
from foundry.migrate.limits import stated

_ADDRESS = re.compile(r" at 0x[0-9A-Fa-f]+")


@dataclass(frozen=True, slots=True, kw_only=True)
class Collected:
    """One operation of a file: what is done once, or not at all."""

    ordinal: int
    """From 1, in the order in which the file hands them on."""
    operation: Any
    digest: str
    """Of what the operation was made with: two equal ones do the same."""


class _Nothing:
    """The cursor of a statement that was recorded and not run."""

    description = None
    rowcount = 0

    def fetchone(self) -> None:
        return None

    def fetchall(self) -> list[Any]:
        return []

    def __iter__(self) -> Iterator[Any]:
        return iter(())


class _Recording(PostgresqlDatabase):
    """Answers questions from the real database and keeps every other statement."""

    def __init__(self, real: PostgresqlDatabase) -> None:
        super().__init__(real.database, autoconnect=False)
        self._real = real
        self.server_version = real.server_version
        self.statements: list[str] = []

    def _connect(self) -> Any:
        raise MigrationError("it asks for a connection")

    def execute_sql(self, sql: str, params: Any = None) -> Any:
        if sql.lstrip().upper().startswith(("SELECT", "WITH", "SHOW")):
            try:
                with self._real.atomic():
                    return self._real.execute_sql(sql, params)
            except DatabaseError:
                pass  # it writes (setval) or needs what an earlier file makes: record it
        text = self._real.cursor().mogrify(sql, params or ())
        self.statements.append(text.decode().strip().rstrip(";") + ";")
        return _Nothing()

    @contextmanager
    def _nothing(self, *args: Any, **kwargs: Any) -> Iterator[None]:
        yield

    atomic: Any = _nothing
    transaction: Any = _nothing
    savepoint: Any = _nothing


class _Used(MigrationError):
    """A file did something else than hand on operations."""


class _Closed(PostgresqlDatabase):
    """What a file is given that may do nothing but hand on operations."""

    def _connect(self) -> Any:
        raise _Used("it uses the database itself")

    def execute_sql(self, sql: str, params: Any = None) -> Any:
        raise _Used("it uses the database itself")

    def atomic(self, *args: Any, **kwargs: Any) -> Any:
        raise _Used("it uses the database itself")

    transaction = savepoint = manual_commit = atomic


class _Collecting(Migrator):
    def __init__(self, database: PostgresqlDatabase) -> None:
        super().__init__(database)
        self.operations: list[Operation] = []

    def migrate(self, *operations: Operation) -> None:
        for operation in operations:
            self.take(operation)
        self.operations.extend(operations)


def collect(
    function: Callable[..., object], database: PostgresqlDatabase, file: MigrationFile
) -> tuple[Collected, ...]:
    """Return the steps of one way of an `atomic = False` file; nothing is run.

    MigrationError for a file that does anything else with the database: what it does there
    could not be kept apart from its steps when a run ends in the middle.
    """
    found = _collected(function, database, file)
    for one, again in zip(found, _collected(function, database, file), strict=False):
        if one.digest != again.digest:
            raise MigrationError(
                f'step {one.ordinal} of "{file.name}" is another one each time the file is read, '
                f"and a run that is cut short could not go on: write the value down, or have the "
                f"server find it (now())"
            )
    for step in found:
        _refuse_lasting(step, database, file)
    return found


def _collected(
    function: Callable[..., object], database: PostgresqlDatabase, file: MigrationFile
) -> tuple[Collected, ...]:
    closed = _Closed(database.database, autoconnect=False)
    closed.server_version = database.server_version
    migrator = _Collecting(closed)
    try:
        function(migrator, closed)
    except _Used as error:
        raise MigrationError(
            f'"{file.name}" is not atomic, and {error}{place(error, file)}: hand every change to '
            f"migrator.migrate(), or take atomic = False out"
        ) from error
    except (Exception, SystemExit) as error:
        raise MigrationError(
            f'"{file.name}" fails before its first step: {told(error, file)}'
        ) from error
    migrator.refuse_idle(file)
    migrator.database = database
    try:
        return tuple(
            Collected(ordinal=number, operation=found, digest=_digest(found, database))
            for number, found in enumerate(migrator.operations, 1)
        )
    except (psycopg2.Error, TypeError, ValueError, IndexError) as error:
        raise MigrationError(f'"{file.name}" cannot be read: {told(error, file)}') from error


def _refuse_lasting(step: Collected, database: PostgresqlDatabase, file: MigrationFile) -> None:
    """Refuse what is set on the session for later steps: a run may begin with those."""
    name = step.operation.fn.__name__
    if name not in ("sql", "set_search_path"):
        return
    text = _rendered(step.operation, database) if name == "sql" else "SET search_path"
    stated(text)
    found = lasting(text)
    if found is not None:
        said, instead = found
        raise MigrationError(
            f'step {step.ordinal} of "{file.name}" says {said}, which ends with the session, and '
            f"a run that goes on later has another one: {instead}"
        )


def _rendered(operation: Any, database: PostgresqlDatabase) -> str:
    text, params = (*operation.args, *operation.kwargs.values(), None)[:2]
    return str(database.cursor().mogrify(text, params or ()).decode().strip())


def statements(step: Collected, database: PostgresqlDatabase) -> tuple[str, ...]:
    """Return the SQL of a step as the database makes it now; what it asks for is only read."""
    operation = step.operation
    if operation.fn.__name__ == "sql":
        return (_rendered(operation, database),)
    recording = _Recording(database)
    operation.migrator.database = recording
    try:
        with _only_reading(database):
            operation.run()
    finally:
        operation.migrator.database = database
    return tuple(recording.statements)


def recorded(
    function: Callable[..., object], database: PostgresqlDatabase, name: str
) -> tuple[str, ...]:
    """Return the statements of one way of a file, in order, against a database left as it is."""
    recording = _Recording(database)
    with _only_reading(database):
        try:
            function(PostgresqlMigrator(recording), recording)
        except (Exception, SystemExit) as error:
            raise MigrationError(
                f'"{name}" cannot be shown as SQL: it uses the database in other ways than '
                f"migrator.migrate() ({type(error).__name__})"
            ) from error
    return tuple(recording.statements)


@contextmanager
def _only_reading(database: PostgresqlDatabase) -> Iterator[None]:
    # A SELECT that would change something (setval) is refused by the server, and recorded.
    with database.atomic() as transaction:
        database.execute_sql("SET TRANSACTION READ ONLY")
        try:
            yield
        finally:
            transaction.rollback()


def _digest(operation: Any, database: PostgresqlDatabase) -> str:
    name = operation.fn.__name__
    # What other operations come to depends on what is there when they are run.
    given = (_said(operation.args, database), _said(operation.kwargs, database))
    parts = [name, _rendered(operation, database)] if name == "sql" else [name, *given]
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()


def _said(value: Any, database: PostgresqlDatabase) -> str:
    """Return what a value is, in words that are the same in every run."""
    if isinstance(value, Field):
        # Peewee counts in the others, and knows what a field belongs to.
        kept = {k: v for k, v in vars(value).items() if not k.startswith("_") and k != "model"}
        return f"{type(value).__name__}{_said(kept, database)}"
    if isinstance(value, ModelBase):
        meta: Any = value
        return f"{meta._meta.schema}.{meta._meta.table_name}"
    if isinstance(value, Node):
        return repr(database.get_sql_context().sql(value).query())
    if isinstance(value, dict):
        return f"{{{', '.join(sorted(_said(item, database) for item in value.items()))}}}"
    if isinstance(value, (list, tuple)):
        return f"({', '.join(_said(item, database) for item in value)})"
    if isinstance(value, (set, frozenset)):
        return f"{{{', '.join(sorted(_said(item, database) for item in value))}}}"
    # Objects print their address, which is another one in each run.
    return getattr(value, "__qualname__", None) or _ADDRESS.sub("", repr(value))
