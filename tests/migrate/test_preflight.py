"""Rows that stand in the way are found before anything is changed."""

from __future__ import annotations

from pathlib import Path

import pytest
from support.migrations import Command, rows, settings, tables, up, url_of, write

from foundry.database import Target
from foundry.errors import DataInTheWay, MigrationError
from foundry.migrate import Runner

SETUP = (
    "CREATE TABLE t (id int, note text); INSERT INTO t SELECT i, 'x' FROM generate_series(5, 9) i"
)
NOTES = (("t_note", "SELECT id FROM t WHERE note LIKE '%' ORDER BY id LIMIT 3"),)


def head(*checks: tuple[str, str], group: str = "") -> str:
    return f"checks = {tuple(checks)!r}\ngroup = {group!r}\n"


@pytest.fixture
def prepared(empty: Target, directory: Path) -> Target:
    """A table with rows, made by a first file."""
    write(directory, "0001_t", SETUP, "DROP TABLE t")
    up(empty, directory)
    return empty


def test_rows_in_the_way_are_named_by_their_keys(prepared: Target, directory: Path) -> None:
    """Up to three of them, and nothing else of the row."""
    write(directory, "0002_a", "DROP TABLE t", head=head(*NOTES))
    with pytest.raises(DataInTheWay, match=r'"0002_a": .* "t_note": id=5, id=6, id=7; ') as raised:
        up(prepared, directory)
    assert 3 == raised.value.exit_code
    assert [(5,)] == rows(prepared, "SELECT count(*)::int FROM t")


def test_a_group_is_asked_before_its_first_file(prepared: Target, directory: Path) -> None:
    """What a later file of it would fail on has not let the first one happen."""
    write(directory, "0002_a", "CREATE TABLE a (id int)", head=head(group="0002_a"))
    write(directory, "0003_b", "SELECT 1", head=head(*NOTES, group="0002_a"))
    with pytest.raises(DataInTheWay, match='"0003_b"'):
        up(prepared, directory)
    assert "a" not in tables(prepared)


def test_files_of_another_group_may_correct_the_rows(prepared: Target, directory: Path) -> None:
    """They are asked when their turn comes."""
    write(directory, "0002_a", "UPDATE t SET note = NULL")
    write(directory, "0003_b", "SELECT 1", head=head(*NOTES, group="0003_b"))
    write(directory, "0004_c", "SELECT 1", head=head(*NOTES, group="0003_b"))
    assert ("0002_a", "0003_b", "0004_c") == up(prepared, directory)


def test_a_question_about_what_is_not_there_yet_is_no_obstacle(
    prepared: Target, directory: Path
) -> None:
    """The first file of the group makes the column."""
    late = (("t_new", "SELECT id FROM t WHERE new = 1"),)
    write(directory, "0002_a", "ALTER TABLE t ADD COLUMN new int", head=head(group="0002_a"))
    write(directory, "0003_b", "SELECT 1", head=head(*late, group="0002_a"))
    assert ("0002_a", "0003_b") == up(prepared, directory)


def test_keys_of_several_columns_stand_together(prepared: Target, directory: Path) -> None:
    """And a key that is very long is cut."""
    query = "SELECT id, NULL AS b, repeat('x', 200) AS c FROM t ORDER BY id LIMIT 1"
    write(directory, "0002_a", "SELECT 1", head=head(("t_key", query)))
    with pytest.raises(DataInTheWay, match=r"\(id=5, b=NULL, c=x{80}…\)"):
        up(prepared, directory)


def test_a_row_that_a_question_cannot_be_asked_of_stands_in_the_way(
    prepared: Target, directory: Path
) -> None:
    """CHECK (10 / m > 1) fails on a zero; the constraint is named, and no value."""
    query = "SELECT id FROM t WHERE NOT (10 / (id - 5) > 0) LIMIT 3"
    write(directory, "0002_a", "DROP TABLE t", head=head(("t_ratio", query)))
    with pytest.raises(DataInTheWay, match=r'a row stands in the way of "t_ratio".*by zero'):
        up(prepared, directory)
    assert "t" in tables(prepared)


@pytest.mark.parametrize("name", ["t.e TYPE vector(4)", "t.e TYPE extensions.halfvec(4)"])
def test_vectors_of_other_dimensions_are_not_to_be_corrected(
    prepared: Target, directory: Path, name: str
) -> None:
    """There is nothing to correct in them: the texts are embedded again."""
    write(directory, "0002_a", "SELECT 1", head=head((name, "SELECT id FROM t LIMIT 1")))
    with pytest.raises(DataInTheWay, match=r"embedded again: .* add a second column") as raised:
        up(prepared, directory)
    assert "correct or delete" not in str(raised.value)


def test_a_question_changes_nothing(prepared: Target, directory: Path) -> None:
    """It is asked in a transaction that can only read."""
    query = "WITH gone AS (DELETE FROM t RETURNING id) SELECT id FROM gone"
    write(directory, "0002_a", "SELECT 1", head=head(("t_x", query)))
    with pytest.raises(MigrationError, match='"0002_a": "t_x" cannot be checked: cannot execute'):
        up(prepared, directory)
    assert [(5,)] == rows(prepared, "SELECT count(*)::int FROM t")


def test_recording_without_running_asks_nothing(prepared: Target, directory: Path) -> None:
    """`stamp` is for a database that is there already."""
    write(directory, "0002_a", "SELECT 1", head=head(*NOTES))
    with Runner.opened(prepared, settings(directory)) as runner:
        assert ["0002_a"] == [d.name for d in runner.fake().done]


@pytest.mark.parametrize("option", ["--dry-run", "--sql", "--quiet"])
def test_the_command_refuses_with_3_and_one_line(
    prepared: Target, directory: Path, command: Command, option: str
) -> None:
    """A dry run too."""
    write(directory, "0002_a", "DROP TABLE t", head=head(*NOTES))
    where = ("--directory", str(directory), "--database", url_of(prepared))
    ended = command("up", option, *where, code=3)
    assert 1 == len(ended.err.splitlines() if option == "--quiet" else ended.err.splitlines()[-1:])
    assert "id=5, id=6, id=7" in ended.err
    assert "t" in tables(prepared)
