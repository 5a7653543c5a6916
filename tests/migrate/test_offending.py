"""A change that rows stand in the way of says how they are found."""

from __future__ import annotations

from pathlib import Path

import pytest
from support.differ import execute
from support.migrations import rows, up

from foundry.database import Target
from foundry.errors import MigrationError

MADE = (
    'CREATE TABLE "R" (id int PRIMARY KEY)',
    'CREATE TABLE "T" (id int, part int, n int, t text, PRIMARY KEY (part, id))',
    "INSERT INTO \"T\" VALUES (1, 7, -1, 'canary'), (2, 7, -2, 'canary'), (3, 7, NULL, NULL)",
)
ADD = 'ALTER TABLE "T" ADD '
BOTH = {(7, 1), (7, 2)}

CASES = [
    (f"{ADD} CONSTRAINT c CHECK (n > 0)", BOTH),
    (f"{ADD} CHECK (\"T\".n > 0 AND t NOT LIKE 'a%%')", BOTH),
    (f"{ADD} x int; {ADD} CONSTRAINT c CHECK (n > 0 AND (n, 0) <> (1, 2));", BOTH),
    ('ALTER TABLE "T" ALTER COLUMN n SET NOT NULL', {(7, 3)}),
    (f'{ADD} CONSTRAINT c FOREIGN KEY (n) REFERENCES "R"', BOTH),
    (f'{ADD} FOREIGN KEY (n) REFERENCES "R" (id) ON DELETE CASCADE', BOTH),
    (f"{ADD} CONSTRAINT c EXCLUDE USING btree (t WITH =);", BOTH),
]


def write(directory: Path, head: str, *steps: str) -> None:
    """Write a file of one step each."""
    lines = [head, "", "", "def up(migrator, db):"]
    lines += [f"    migrator.migrate(migrator.sql({step!r}))" for step in steps]
    (directory / "0001_a.py").write_text("\n".join(lines) + "\n")


def query(error: BaseException) -> str:
    """The SELECT of a message."""
    found = str(error).partition("in the way (SELECT ")[2].rpartition(") and run it again")[0]
    assert found
    return f"SELECT {found}"


@pytest.mark.parametrize("head", ["atomic = True", "atomic = False"])
@pytest.mark.parametrize(("step", "found"), CASES)
def test_the_rows_in_the_way_are_found_by_the_query_of_the_message(
    empty: Target, directory: Path, head: str, step: str, found: set[object]
) -> None:
    """By their keys: the message has no value in it, and neither has what the query shows."""
    execute(empty, *MADE)
    write(directory, head, step)
    with pytest.raises(MigrationError) as caught:
        up(empty, directory)
    assert "canary" not in str(caught.value)
    assert found == set(rows(empty, query(caught.value)))


@pytest.mark.parametrize("constraint", ["CHECK (n > 0)", 'FOREIGN KEY (n) REFERENCES "R"'])
def test_what_is_validated_is_read_off_the_table(
    empty: Target, directory: Path, constraint: str
) -> None:
    """The statement has nothing but its name."""
    execute(empty, *MADE)
    validate = 'ALTER TABLE "T" VALIDATE CONSTRAINT c'
    write(directory, "atomic = False", f"{ADD} CONSTRAINT c {constraint} NOT VALID", validate)
    with pytest.raises(MigrationError) as caught:
        up(empty, directory)
    assert BOTH == set(rows(empty, query(caught.value)))


@pytest.mark.parametrize(
    "step",
    [
        "INSERT INTO c VALUES (0)",
        "ALTER TABLE c RENAME TO d; ALTER TABLE d ADD CHECK (n < 0)",
        "ALTER TABLE c ADD m int CHECK (n < 0) CHECK (n < 1)",
    ],
)
def test_where_no_query_would_find_them_none_is_shown(
    empty: Target, directory: Path, step: str
) -> None:
    """A row that is not there yet, a table that has another name by now, two to choose from."""
    execute(empty, "CREATE TABLE c (n int CHECK (n > 0))", "INSERT INTO c VALUES (1)")
    write(directory, "", step)
    with pytest.raises(MigrationError, match="rows that are in the way and run it again"):
        up(empty, directory)


def test_a_table_without_a_key_has_its_rows_named_by_their_place(
    empty: Target, directory: Path
) -> None:
    """The server has a name for each row."""
    execute(empty, "CREATE TABLE c (n int)", "INSERT INTO c VALUES (1), (2)")
    write(directory, "", "ALTER TABLE c ADD CHECK (n < 2)")
    with pytest.raises(MigrationError) as caught:
        up(empty, directory)
    assert [("(0,2)",)] == rows(empty, query(caught.value))
