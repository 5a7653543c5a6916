"""What another tool left: a step is done, or refused, by what is there and not by its name."""

from __future__ import annotations

from pathlib import Path

import pytest
from support.differ import execute
from support.migrations import rows, settings, up
from support.server import Server

from foundry.database import Target
from foundry.errors import MigrationError
from foundry.migrate import Runner

NAMED = """
SELECT convalidated FROM pg_constraint WHERE conrelid = 't'::regclass AND conname = 'c'
"""


def write(directory: Path, name: str, *steps: str) -> None:
    """Write a file whose steps stand alone."""
    lines = ["atomic = False", "", "", "def up(migrator, db):"]
    lines += [f"    migrator.migrate(migrator.sql({step!r}))" for step in steps]
    (directory / f"{name}.py").write_text("\n".join(lines) + "\n")


def told(target: Target, directory: Path) -> list[str]:
    """Apply a directory; returns what was reported."""
    lines: list[str] = []
    with Runner.opened(target, settings(directory), report=lines.append) as runner:
        runner.up()
    return lines


@pytest.mark.parametrize(
    ("there", "wanted"),
    [
        ("CHECK (n > 0) NOT VALID", "check(n>0) not valid"),
        ("CHECK (n > 0)", "CHECK (n > 0) NOT VALID"),
        ("CHECK (n > 0 AND m <> 'a')", "CHECK ((n > 0) AND m != 'a'::text)"),
        ("FOREIGN KEY (n) REFERENCES t(n) NOT VALID", "FOREIGN KEY (n) REFERENCES t NOT VALID"),
        ("CHECK (n > 0)", "CHECK (t.n > 0)"),
        ("UNIQUE (m, n)", "UNIQUE (m, n);"),
        ("EXCLUDE USING btree (m WITH =)", "EXCLUDE (m WITH =)"),
    ],
)
def test_a_constraint_of_the_same_definition_is_taken(
    empty: Target, directory: Path, there: str, wanted: str
) -> None:
    """Its step counts as done, a line says so, and those behind it go on."""
    execute(
        empty,
        "CREATE TABLE t (n int PRIMARY KEY, m text)",
        f"ALTER TABLE t ADD CONSTRAINT c {there}",
    )
    old = rows(empty, "SELECT oid FROM pg_constraint WHERE conname = 'c'")
    write(directory, "0001_a", f"ALTER TABLE t ADD CONSTRAINT c {wanted}", "CREATE TABLE u ()")
    assert 'step 1 of 2 of "0001_a": constraint "c" is there already' in told(empty, directory)
    assert old == rows(empty, "SELECT oid FROM pg_constraint WHERE conname = 'c'")
    assert [] == rows(empty, "SELECT FROM pg_class WHERE relname LIKE 'foundry_copy%'")
    assert [()] == rows(empty, "SELECT FROM pg_class WHERE relname = 'u'")


@pytest.mark.parametrize(
    ("there", "wanted"),
    [
        ("CHECK (n > 0)", "CHECK (n > 1)"),
        ("CHECK (n > 0)", "CHECK (n > 0) NO INHERIT"),
        ("CHECK (n > 0)", "CHECK (nowhere > 0)"),
        ("UNIQUE (n)", "UNIQUE (m)"),
        ("UNIQUE (n)", "UNIQUE (n) DEFERRABLE"),
        ("FOREIGN KEY (n) REFERENCES t(n)", "FOREIGN KEY (n) REFERENCES t(n) ON DELETE CASCADE"),
        ("UNIQUE (n)", "UNIQUE USING INDEX i"),
    ],
)
def test_a_constraint_of_another_definition_is_refused(
    empty: Target, directory: Path, there: str, wanted: str
) -> None:
    """In one line; what is there stays."""
    execute(
        empty,
        "CREATE TABLE t (n int PRIMARY KEY, m text)",
        "CREATE UNIQUE INDEX i ON t (m)",
        f"ALTER TABLE t ADD CONSTRAINT c {there}",
    )
    write(directory, "0001_a", f"ALTER TABLE t ADD CONSTRAINT c {wanted}")
    with pytest.raises(MigrationError, match=r'"t" has a constraint "c" already, .* another one'):
        up(empty, directory)
    assert [(True,)] == rows(empty, NAMED)


def test_a_constraint_that_was_left_not_valid_is_validated(empty: Target, directory: Path) -> None:
    """Not added once more, and not taken for what was wanted."""
    execute(
        empty,
        "CREATE TABLE t (n int)",
        "INSERT INTO t VALUES (0)",
        "ALTER TABLE t ADD CONSTRAINT c CHECK (n > 0) NOT VALID",
    )
    write(directory, "0001_a", "ALTER TABLE t ADD CONSTRAINT c CHECK (n > 0)")
    with pytest.raises(MigrationError, match="is violated by some row"):
        up(empty, directory)
    execute(empty, "UPDATE t SET n = 1")
    assert any(line.endswith("already and is validated") for line in told(empty, directory))
    assert [(True,)] == rows(empty, NAMED)


def test_a_unique_index_that_is_a_constraint_already_is_taken(
    empty: Target, directory: Path
) -> None:
    """It has the name that the step gives it."""
    execute(
        empty,
        "CREATE TABLE t (n int)",
        "CREATE UNIQUE INDEX c ON t (n)",
        "ALTER TABLE t ADD CONSTRAINT c UNIQUE USING INDEX c",
    )
    write(directory, "0001_a", "ALTER TABLE t ADD CONSTRAINT c UNIQUE USING INDEX c")
    assert any("is there already" in line for line in told(empty, directory))


def test_a_not_null_constraint_is_compared_too(
    empty: Target, directory: Path, server: Server
) -> None:
    """PostgreSQL 18 has them by name."""
    if rows(empty, "SHOW server_version_num") < [("180000",)]:
        pytest.skip("NOT NULL has no name before PostgreSQL 18")
    execute(
        empty,
        "CREATE TABLE t (n int, m int)",
        "ALTER TABLE t ADD CONSTRAINT c NOT NULL n NOT VALID",
    )
    write(
        directory,
        "0001_a",
        "ALTER TABLE t ADD CONSTRAINT c NOT NULL n NOT VALID",
        "ALTER TABLE t VALIDATE CONSTRAINT c",
    )
    assert any("is there already" in line for line in told(empty, directory))
    assert [(True,)] == rows(empty, NAMED)
    write(directory, "0002_b", "ALTER TABLE t ADD CONSTRAINT c NOT NULL m NOT VALID")
    with pytest.raises(MigrationError, match="another one"):
        up(empty, directory)


def test_validating_what_is_valid_does_nothing(empty: Target, directory: Path) -> None:
    """The server itself sees that."""
    execute(empty, "CREATE TABLE t (n int CONSTRAINT c CHECK (n > 0))")
    write(directory, "0001_a", "ALTER TABLE t VALIDATE CONSTRAINT c")
    assert ("0001_a",) == up(empty, directory)
    assert [(True,)] == rows(empty, NAMED)


def test_what_was_there_before_is_not_undone(empty: Target, directory: Path) -> None:
    """The file fails and takes back its own steps only."""
    execute(
        empty,
        "CREATE TABLE t (n int CONSTRAINT c CHECK (n > 0))",
        "CREATE INDEX i ON t (n)",
    )
    write(
        directory,
        "0001_a",
        "ALTER TABLE t ADD CONSTRAINT d CHECK (n > 1)",
        "ALTER TABLE t ADD CONSTRAINT c CHECK (n > 0)",
        "CREATE INDEX CONCURRENTLY i ON t (n)",
        "SELECT nowhere",
    )
    with pytest.raises(MigrationError, match="its steps before were undone"):
        up(empty, directory)
    assert [(True,)] == rows(empty, NAMED)
    assert [()] == rows(empty, "SELECT FROM pg_class WHERE relname = 'i'")
    assert [] == rows(empty, "SELECT FROM pg_constraint WHERE conname = 'd'")


def test_a_statement_that_the_server_refuses_in_a_transaction_runs_alone(
    empty: Target, directory: Path
) -> None:
    """Its text alone did not show it: a procedure that commits, an index of a partitioned table."""
    execute(
        empty,
        "CREATE TABLE t (n int) PARTITION BY LIST (n)",
        "CREATE INDEX i ON t (n)",
        "CREATE TABLE t1 PARTITION OF t FOR VALUES IN (1)",
        "CREATE PROCEDURE p() LANGUAGE plpgsql AS"
        " 'BEGIN INSERT INTO t VALUES (1); COMMIT; INSERT INTO t VALUES (1); END'",
    )
    write(directory, "0001_a", "REINDEX INDEX i", "CALL p()")
    lines = told(empty, directory)
    alone = "runs outside of a transaction: it has to"
    assert f'step 1 of 2 of "0001_a" {alone}' in lines
    assert f'step 2 of 2 of "0001_a" {alone}' in lines
    assert [(2,)] == rows(empty, "SELECT count(*) FROM t")


def test_a_text_of_several_with_one_that_stands_alone_is_refused(
    empty: Target, directory: Path
) -> None:
    """It cannot be told which of them were done; nothing is."""
    execute(empty, "CREATE PROCEDURE p() LANGUAGE plpgsql AS 'BEGIN COMMIT; END'")
    write(directory, "0001_a", "CREATE TABLE t (); CALL p()")
    with pytest.raises(MigrationError, match="a statement that must stand alone: hand each"):
        up(empty, directory)
    assert [] == rows(empty, "SELECT FROM pg_class WHERE relname = 't'")


def test_in_an_atomic_file_it_says_where_it_belongs(empty: Target, directory: Path) -> None:
    """All of the file is one transaction."""
    (directory / "0001_a.py").write_text(
        "def up(migrator, db):\n    migrator.migrate(migrator.sql('VACUUM'))\n"
    )
    with pytest.raises(MigrationError, match="by itself, in a file with atomic = False"):
        up(empty, directory)


def test_a_constraint_that_is_not_enforced_is_whole_as_it_is(
    empty: Target, directory: Path
) -> None:
    """Nothing is validated: the server would refuse it."""
    if rows(empty, "SHOW server_version_num") < [("180000",)]:
        pytest.skip("NOT ENFORCED came with PostgreSQL 18")
    added = "ALTER TABLE t ADD CONSTRAINT c CHECK (n > 0) NOT ENFORCED"
    execute(empty, "CREATE TABLE t (n int)", added)
    write(directory, "0001_a", added)
    assert any("is there already" in line for line in told(empty, directory))
    asked = "SELECT conenforced, convalidated FROM pg_constraint WHERE conname = 'c'"
    assert [(False, False)] == rows(empty, asked)
