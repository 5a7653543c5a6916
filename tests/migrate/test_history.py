"""History tables that others wrote to, locked, or keep from the role."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from support.differ import execute
from support.migrations import rows, settings, table, up, write
from support.server import Server
from support.sessions import holding

from foundry.database import Target, resolve
from foundry.errors import HistoryConflict, LockTimeout, MigrationError
from foundry.migrate import Runner

NOTE = {"way": "up", "done": True, "text": "", "statements": ["SELECT 1"]}


@pytest.mark.parametrize(
    "note",
    [
        None,
        "abc",
        "{}",
        "[]",
        "null",
        json.dumps({**NOTE, "more": 1}),
        json.dumps({**NOTE, "done": "yes"}),
        json.dumps({**NOTE, "way": "sideways"}),
        json.dumps({**NOTE, "statements": "SELECT 1"}),
        json.dumps({**NOTE, "statements": [1]}),
        json.dumps({**NOTE, "text": None}),
    ],
)
def test_a_row_of_the_journal_that_nobody_of_us_wrote_is_named(
    empty: Target, directory: Path, note: str | None
) -> None:
    """In one line, which leads out of it."""
    table(directory, "0001_a", "a")
    up(empty, directory)
    write(directory, "0002_b", "SELECT 1", head="atomic = False")
    execute(
        empty,
        "INSERT INTO schema_migration_step VALUES ('0002_b', 1, 'x', "
        + ("NULL" if note is None else f"'{note}'")
        + ")",
    )
    with pytest.raises(HistoryConflict, match='step 1 of "0002_b" was not written by') as caught:
        up(empty, directory)
    with Runner.opened(empty, settings(directory)) as runner, pytest.raises(HistoryConflict):
        runner.begun()
    execute(empty, "DELETE FROM" + str(caught.value).partition("DELETE FROM")[2])
    assert ("0002_b",) == up(empty, directory)


@pytest.mark.parametrize("column", ["name", "applied"])
def test_a_row_of_the_history_without_a_value_is_named(
    empty: Target, directory: Path, column: str
) -> None:
    """Another tool may have made the column with NULL."""
    table(directory, "0001_a", "a")
    up(empty, directory)
    execute(
        empty,
        f"ALTER TABLE schema_migration ALTER {column} DROP NOT NULL",
        f"UPDATE schema_migration SET {column} = NULL",
    )
    with pytest.raises(HistoryConflict, match=r'row 1 of "public"\."schema_migration" names no'):
        up(empty, directory)


@pytest.mark.parametrize("columns", ["", "name text, step int", "name text, other int"])
def test_a_journal_of_another_shape_is_not_written_to(
    empty: Target, directory: Path, columns: str
) -> None:
    """`--table` may name half of what somebody else has."""
    execute(empty, f"CREATE TABLE schema_migration_step ({columns})")
    table(directory, "0001_a", "a")
    with pytest.raises(MigrationError, match='_step" is a table of somebody else'):
        up(empty, directory)


@pytest.mark.parametrize("verb", ["up", "status", "stamp"])
def test_a_history_that_is_locked_is_named_with_who_has_it(
    empty: Target, directory: Path, verb: str
) -> None:
    """The server says only that a statement was cancelled."""
    table(directory, "0001_a", "a")
    up(empty, directory)
    table(directory, "0002_b", "b")
    said: list[str] = []
    with (
        holding(empty, "LOCK TABLE schema_migration"),
        Runner.opened(empty, settings(directory, wait=1.5), report=said.append) as runner,
        pytest.raises(LockTimeout, match=r'the history "schema_migration" waited 1\.5 s') as caught,
    ):
        {"up": runner.up, "status": runner.standings, "stamp": runner.fake}[verb]()
    assert "server process" in str(caught.value)
    assert ("0002_b",) == up(empty, directory)


def test_what_a_role_may_not_is_granted_by_name_before_anything_is_done(
    server: Server, empty: Target, directory: Path
) -> None:
    """The remedies of the messages, one after the other, lead to the end."""
    table(directory, "0001_a", "a")
    up(empty, directory)
    table(directory, "0002_b", "b")
    granted = []
    with server.role() as name:
        low = resolve(server.url_as(name, empty.dbname))
        execute(empty, f"GRANT CREATE ON SCHEMA public TO {name}")
        for _ in range(3):
            with pytest.raises(MigrationError, match="GRANT") as caught:
                up(low, directory)
            granted.append("GRANT" + str(caught.value).partition("GRANT")[2])
            assert [] == rows(empty, "SELECT FROM pg_class WHERE relname = 'b'")
            execute(empty, granted[-1])
        assert ("0002_b",) == up(low, directory)
        execute(empty, f"DROP OWNED BY {name}")
    assert 3 == len(set(granted))


def test_what_a_file_did_to_its_session_is_not_in_the_way_of_its_row(
    server: Server, empty: Target, directory: Path
) -> None:
    """The row is written as whoever runs the file."""
    with server.role() as name:
        write(directory, "0001_a", f"CREATE TABLE a (); SET SESSION AUTHORIZATION {name}")
        assert ("0001_a",) == up(empty, directory)


@pytest.mark.parametrize(
    ("call", "instead"),
    [
        (lambda r: r.status(), "use standings"),
        (lambda r: r.applied(), "use standings"),
        (lambda r: r.migrations(), "use standings"),
        (lambda r: r.create("b"), "generate NAME"),
    ],
)
def test_what_the_runner_below_has_besides_says_what_to_use(
    empty: Target, directory: Path, call: Callable[[Runner], object], instead: str
) -> None:
    """Its status knows no file that waits or was edited, and its new file no head."""
    table(directory, "0001_a", "a")
    with (
        Runner.opened(empty, settings(directory)) as runner,
        pytest.raises(MigrationError, match=instead),
    ):
        call(runner)
    assert ["0001_a.py"] == [path.name for path in directory.iterdir()]


def test_the_runner_that_this_one_is_made_from_runs_nothing(empty: Target, directory: Path) -> None:
    """It would neither lock nor keep digests."""
    table(directory, "0001_a", "a")
    with (
        Runner.opened(empty, settings(directory)) as runner,
        pytest.raises(MigrationError, match=r'"0001_a" is not run this way: use up\(\)'),
    ):
        runner._run("0001_a", None, "up")
