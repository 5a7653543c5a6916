"""What is said of mistakes in files that people write."""

from __future__ import annotations

from pathlib import Path

import pytest
from support.differ import execute
from support.migrations import rows, up

from foundry.database import Target
from foundry.errors import MigrationError

HEADS = ("", "atomic = False\n")


def written(directory: Path, head: str, body: str) -> None:
    """Write a file with a head and a body."""
    (directory / "0001_a.py").write_text(f"{head}def up(migrator, db):\n    {body}\n")


@pytest.mark.parametrize("head", HEADS)
@pytest.mark.parametrize(
    ("body", "told"),
    [
        ("migrator.add_colum('t', 'n')", 'no "add_colum"; did you mean "add_column"\\?'),
        ("migrator.migrate('SELECT 1')", r"handed a str: give it operations, as migrator.sql\("),
        ("migrator.sql('CREATE TABLE a ()')", r"makes migrator.sql\(...\) and does nothing with"),
        ("raise ValueError('canary')", r"ValueError \(line \d\)$"),
    ],
)
def test_a_mistake_is_told_with_what_was_meant(
    empty: Target, directory: Path, head: str, body: str, told: str
) -> None:
    """Nothing of the file is recorded."""
    written(directory, head, body)
    with pytest.raises(MigrationError, match=told) as caught:
        up(empty, directory)
    assert "canary" not in str(caught.value)
    assert '"0001_a"' in str(caught.value)
    assert [] == rows(empty, "SELECT FROM pg_class WHERE relname = 'a'")


@pytest.mark.parametrize("head", HEADS)
@pytest.mark.parametrize("line", ["def up(migrator): pass", "up = 3", "def up(): pass"])
def test_a_way_takes_a_migrator_and_a_database(
    empty: Target, directory: Path, head: str, line: str
) -> None:
    """As the message says."""
    (directory / "0001_a.py").write_text(f"{head}{line}\n")
    with pytest.raises(MigrationError, match=r'"0001_a": define up\(migrator, db\)$'):
        up(empty, directory)


def test_using_the_database_in_a_file_of_steps_names_the_line(
    empty: Target, directory: Path
) -> None:
    """A file has many."""
    written(directory, HEADS[1], "db.execute_sql('SELECT 1')")
    with pytest.raises(MigrationError, match=r"it uses the database itself \(line 3\): hand"):
        up(empty, directory)


def test_an_operation_may_be_run_in_other_ways(empty: Target, directory: Path) -> None:
    """By itself, or by playhouse's function; those that it makes are its own."""
    execute(empty, "CREATE TABLE t (id int)")
    text = (
        "from peewee import IntegerField\nfrom playhouse.migrate import migrate\n\n\n"
        "def up(migrator, db):\n"
        "    migrator.sql('CREATE TABLE a ()').run()\n"
        "    migrate(migrator.add_column('t', 'n', IntegerField(default=1, index=True)))\n"
    )
    (directory / "0001_a.py").write_text(text)
    assert ("0001_a",) == up(empty, directory)
