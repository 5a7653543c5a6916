"""See what a migration file would run, without running it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from types import ModuleType
from typing import Any

from peewee import DatabaseError, PostgresqlDatabase
from playhouse.migrate import SchemaMigrator

from foundry.errors import MigrationError


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


class _RecordingDatabase(PostgresqlDatabase):
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


class Recorder:
    """Records the statements of migration files against a database that is left as it is."""

    def __init__(self, database: PostgresqlDatabase) -> None:
        self._real = database

    def record(self, module: ModuleType, direction: str, name: str) -> tuple[str, ...]:
        """Return the statements of one direction of a loaded file, in order."""
        database = _RecordingDatabase(self._real)
        migrator = SchemaMigrator.from_database(database)
        # Questions are asked in a read-only transaction: a SELECT that would change
        # something (setval) is refused by the server, and recorded.
        with self._real.atomic() as transaction:
            self._real.execute_sql("SET TRANSACTION READ ONLY")
            try:
                getattr(module, direction)(migrator, database)
            except (Exception, SystemExit) as error:
                raise MigrationError(
                    f'"{name}" cannot be shown as SQL: it uses the database in other ways than '
                    f"migrator.migrate() ({type(error).__name__})"
                ) from error
            finally:
                transaction.rollback()
        return tuple(database.statements)
