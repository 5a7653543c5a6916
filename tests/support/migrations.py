"""Migration files written by tests, and commands run on them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import psycopg2

from foundry.database import Target
from foundry.migrate import Runner, Settings


@dataclass(frozen=True, slots=True, kw_only=True)
class Ended:
    """A command that ended: its exit code and what it printed."""

    code: int
    out: str
    err: str


Command = Callable[..., Ended]


def url_of(target: Target) -> str:
    """Return a URL for another process; test servers have no passwords but their own."""
    return "postgresql:///?" + "&".join(
        f"{key}={value.replace('/', '%2F').replace(' ', '%20')}"
        for key, value in target.params.items()
    )


def write(directory: Path, name: str, up: str, down: str = "", head: str = "") -> Path:
    """Write a migration of one statement each way."""
    body = f"{head}\n\ndef up(migrator, db):\n    migrator.migrate(migrator.sql({up!r}))\n"
    if down:
        body += f"\n\ndef down(migrator, db):\n    migrator.migrate(migrator.sql({down!r}))\n"
    path = directory / f"{name}.py"
    path.write_text(body)
    return path


def table(directory: Path, name: str, table: str) -> Path:
    """Write a migration that makes one table."""
    return write(directory, name, f"CREATE TABLE {table} (id int)", f"DROP TABLE {table}")


def settings(directory: Path, **changes: object) -> Settings:
    """Return settings for a directory, with a short wait."""
    return Settings(directory=directory, **{"wait": 5.0, **changes})  # type: ignore[arg-type]


def up(on: Target, directory: Path, **options: object) -> tuple[str, ...]:
    """Apply a directory; returns the names that were applied."""
    with Runner.opened(on, settings(directory)) as runner:
        outcome = runner.up(**options)  # type: ignore[arg-type]
    return tuple(done.name for done in outcome.done)


def rows(target: Target, query: str, *values: object) -> list[tuple[object, ...]]:
    """Ask a database a question over a connection of its own."""
    connection = psycopg2.connect(**target.params)
    try:
        cursor = connection.cursor()
        cursor.execute(query, values or None)
        return list(cursor.fetchall())
    finally:
        connection.close()


def tables(target: Target) -> set[object]:
    """Return the names of the tables and views in `public`."""
    found = rows(
        target,
        "SELECT relname FROM pg_class WHERE relnamespace = 'public'::regnamespace"
        " AND relkind IN ('r', 'v')",
    )
    return {row[0] for row in found}
