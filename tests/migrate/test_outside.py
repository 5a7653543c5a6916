"""A run that ends behind a statement which no transaction of the database holds."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from support.migrations import rows, settings
from support.sessions import ran, session

from foundry.database import Target
from foundry.errors import MigrationError
from foundry.migrate import Runner, stepwise
from foundry.migrate.statements import Outside, read


@pytest.fixture
def other(empty: Target) -> Iterator[str]:
    """The name of a database that is dropped at the end."""
    name = f"{empty.dbname} B"
    yield name
    alone(empty, f'DROP DATABASE IF EXISTS "{name}"')


def alone(target: Target, statement: str) -> None:
    """Run a statement outside of any transaction."""
    with session(target) as conn:
        ran(conn, statement)


def write(directory: Path, *steps: str) -> None:
    """Write a file whose steps stand alone."""
    lines = ["atomic = False", "", "", "def up(migrator, db):"]
    lines += [f"    migrator.migrate(migrator.sql({step!r}))" for step in steps]
    (directory / "0001_a.py").write_text("\n".join(lines) + "\n")


def cut_short(
    target: Target, directory: Path, monkeypatch: pytest.MonkeyPatch, *, done: bool
) -> None:
    """Have a run end where its first step was, or was not, done and not yet noted."""
    run = vars(stepwise)["_execute_alone"]

    def executed(*given: Any, **more: Any) -> None:
        if done:
            run(*given, **more)
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(stepwise, "_execute_alone", executed)
        with pytest.raises(KeyboardInterrupt):
            up(target, directory)


def up(target: Target, directory: Path) -> list[str]:
    """Apply a directory; returns the lines that were reported."""
    lines: list[str] = []
    with Runner.opened(target, settings(directory), report=lines.append) as runner:
        runner.up()
    return lines


@pytest.mark.parametrize("done", [True, False])
def test_a_database_that_was_made_is_not_made_again(
    empty: Target, directory: Path, monkeypatch: pytest.MonkeyPatch, other: str, *, done: bool
) -> None:
    """Whether it was this run that made it nobody can tell, and that is said."""
    write(directory, f'CREATE DATABASE "{other}"', "CREATE TABLE behind ()")
    cut_short(empty, directory, monkeypatch, done=done)
    lines = up(empty, directory)
    told = f'database "{other}" is there: it is taken for what the run that was cut short made'
    assert done is any(line.startswith(told) for line in lines)
    asked = "SELECT count(*) FROM pg_database, pg_class WHERE datname = %s AND relname = 'behind'"
    assert [(1,)] == rows(empty, asked, other)


def test_a_database_that_was_dropped_is_not_dropped_again(
    empty: Target, directory: Path, monkeypatch: pytest.MonkeyPatch, other: str
) -> None:
    """The server would refuse it."""
    alone(empty, f'CREATE DATABASE "{other}"')
    write(directory, f'DROP DATABASE "{other}"')
    cut_short(empty, directory, monkeypatch, done=True)
    assert any(f'database "{other}" is gone' in line for line in up(empty, directory))


def test_a_database_that_was_there_before_is_no_step_done(
    empty: Target, directory: Path, other: str
) -> None:
    """Nothing was begun: the server's own error stands, in the next run too."""
    alone(empty, f'CREATE DATABASE "{other}"')
    write(directory, f'CREATE DATABASE "{other}"')
    for _ in range(2):
        with pytest.raises(MigrationError, match=f'database "{other}" already exists'):
            up(empty, directory)


def test_what_shows_nothing_of_itself_and_fails_again_is_told(
    empty: Target, directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In each run, until its author has looked."""
    write(directory, "ALTER DATABASE template1 SET TABLESPACE nowhere")
    cut_short(empty, directory, monkeypatch, done=False)
    for _ in range(2):
        lines: list[str] = []
        with (
            Runner.opened(empty, settings(directory), report=lines.append) as runner,
            pytest.raises(MigrationError, match="whether its step 1 was done before is not known"),
        ):
            runner.up()
        told = 'step 1 of 1 of "0001_a" was begun by an earlier run that was cut short, and nothing'
        assert any(line.startswith(told) for line in lines)
    write(directory, "SELECT 1")
    up(empty, directory)


@pytest.mark.parametrize(
    ("sql", "outside"),
    [
        ("CREATE TABLESPACE t LOCATION '/x'", ("tablespace", "t", True)),
        ('DROP TABLESPACE IF EXISTS "T"', ("tablespace", "T", False)),
        ("CREATE SUBSCRIPTION s CONNECTION '' PUBLICATION p", ("subscription", "s", True)),
        ("DROP SUBSCRIPTION s", ("subscription", "s", False)),
        ("COMMIT PREPARED 'it''s'", ("prepared transaction", "it's", False)),
        ("ROLLBACK PREPARED 'x'", ("prepared transaction", "x", False)),
    ],
)
def test_what_a_statement_makes_outside_is_read_off_it(
    sql: str, outside: tuple[str, str, bool]
) -> None:
    """By its name, which is how it is looked for."""
    kind, name, there = outside
    assert Outside(kind=kind, name=name, there=there) == read(sql).outside
