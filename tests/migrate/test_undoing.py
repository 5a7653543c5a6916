"""What a file that fails takes back: only what this run did, and nothing that holds values."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from support.differ import execute
from support.migrations import rows, settings, up
from support.sessions import holding

from foundry.database import Target
from foundry.errors import LockTimeout, MigrationError
from foundry.migrate import Runner
from foundry.migrate.collecting import Collected
from foundry.migrate.course import Course

FAILS = "SELECT 1 / n FROM nowhere"
INDEXES = "SELECT indexrelid::regclass::text FROM pg_index WHERE indrelid = 't'::regclass"


def write(directory: Path, *steps: str) -> None:
    """Write a file whose steps stand alone."""
    lines = ["atomic = False", "", "", "def up(migrator, db):"]
    lines += [f"    migrator.migrate(migrator.sql({step!r}))" for step in steps]
    (directory / "0001_a.py").write_text("\n".join(lines) + "\n")


def test_a_column_that_was_committed_is_never_dropped(empty: Target, directory: Path) -> None:
    """Others may have written into it since, and nobody could tell their values from ours."""
    execute(empty, "CREATE TABLE t (id int PRIMARY KEY)", "INSERT INTO t VALUES (1), (2)")
    added = "ALTER TABLE t ADD COLUMN note text"
    write(directory, added, "UPDATE t SET note = 'old' WHERE note IS NULL", FAILS)
    with pytest.raises(MigrationError, match=r"2 of its 3 steps stand, .* goes on with step 3"):
        up(empty, directory)
    execute(empty, "UPDATE t SET note = 'theirs' WHERE id = 2")
    with pytest.raises(MigrationError, match="2 of its 3 steps stand"):
        up(empty, directory)
    assert {(1, "old"), (2, "theirs")} == set(rows(empty, "SELECT * FROM t"))


def test_what_an_earlier_run_did_is_kept(empty: Target, directory: Path) -> None:
    """Others may rely on it by now."""
    execute(empty, "CREATE TABLE t (n int)", "CREATE TABLE u (n int)")
    first = "CREATE INDEX CONCURRENTLY i ON t (n)"
    write(directory, first, "ALTER TABLE u ADD CONSTRAINT c CHECK (n > 0)", FAILS)
    with (
        holding(empty, "LOCK TABLE u IN ACCESS SHARE MODE"),
        pytest.raises(LockTimeout, match="1 of its 3 steps stand"),
        Runner.opened(empty, settings(directory, wait=0.3)) as runner,
    ):
        runner.up()
    with pytest.raises(MigrationError, match="2 of its 3 steps stand"):
        up(empty, directory)
    assert [("i",)] == rows(empty, INDEXES)


@pytest.mark.parametrize(
    ("before", "step"),
    [
        (
            "CREATE UNIQUE INDEX legacy ON t (n)",
            "ALTER TABLE t ADD CONSTRAINT u UNIQUE USING INDEX legacy",
        ),
        ("SELECT 1", "ALTER TABLE t ADD CONSTRAINT u PRIMARY KEY (n)"),
        ("SELECT 1", "CREATE INDEX CONCURRENTLY IF NOT EXISTS u ON t (n)"),
    ],
)
def test_what_would_not_come_back_as_it_was_is_kept(
    empty: Target, directory: Path, before: str, step: str
) -> None:
    """The index was there before, or may have been; and NOT NULL would stay behind."""
    execute(empty, "CREATE TABLE t (n int)", before)
    write(directory, step, FAILS)
    with pytest.raises(MigrationError, match="1 of its 2 steps stand"):
        up(empty, directory)
    assert [("u",)] == rows(empty, INDEXES)


def test_an_index_of_another_schema_is_left_alone(empty: Target, directory: Path) -> None:
    """The one that was made is beside its table."""
    execute(
        empty,
        "CREATE SCHEMA a",
        "CREATE SCHEMA b",
        "CREATE TABLE a.other (n int)",
        "CREATE INDEX i ON a.other (n)",
        "CREATE TABLE b.t (n int)",
        f"ALTER DATABASE {empty.dbname} SET search_path = a, b",
    )
    write(directory, "CREATE INDEX CONCURRENTLY i ON t (n)", FAILS)
    with pytest.raises(MigrationError, match="its steps before were undone"):
        up(empty, directory)
    assert [("a",)] == rows(
        empty, "SELECT relnamespace::regnamespace::text FROM pg_class WHERE relname = 'i'"
    )


def test_what_cannot_be_undone_stands_and_it_is_said(
    empty: Target, directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With the name of what rests on it; the steps that were taken back before are done again."""
    execute(empty, "CREATE TABLE t (n int)", "CREATE TABLE r (n int)")
    write(
        directory,
        "ALTER TABLE t ADD CONSTRAINT u UNIQUE (n)",
        "CREATE INDEX CONCURRENTLY i ON t (n)",
        FAILS,
    )
    after(monkeypatch, 1, empty, "ALTER TABLE r ADD CONSTRAINT f FOREIGN KEY (n) REFERENCES t (n)")
    wanted = r"1 of its 3 steps stand, .* step 2 \(they could not be undone: .*constraint f on"
    with pytest.raises(MigrationError, match=wanted):
        up(empty, directory)
    assert [("u",)] == rows(empty, INDEXES)
    execute(empty, "CREATE TABLE nowhere (n int)")
    assert ("0001_a",) == up(empty, directory)
    assert {("u",), ("i",)} == set(rows(empty, INDEXES))


def test_undoing_that_was_cut_short_and_cannot_go_on_is_no_dead_end(
    empty: Target, directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is left of the file stands, and the run goes on behind it."""
    execute(empty, "CREATE TABLE t (n int)", "CREATE TABLE r (n int)")
    write(directory, "ALTER TABLE t ADD CONSTRAINT u UNIQUE (n)", FAILS)
    with monkeypatch.context() as patched:
        patched.setattr("foundry.migrate.takeback._undo", interrupted)
        with pytest.raises(KeyboardInterrupt):
            up(empty, directory)
    execute(empty, "ALTER TABLE r ADD CONSTRAINT f FOREIGN KEY (n) REFERENCES t (n)")
    with pytest.raises(MigrationError, match="1 of its 2 steps stand"):
        up(empty, directory)
    execute(empty, "CREATE TABLE nowhere (n int)")
    assert ("0001_a",) == up(empty, directory)
    assert [("u",)] == rows(empty, INDEXES)


def interrupted(*_: object) -> None:
    """End a run."""
    raise KeyboardInterrupt


def after(monkeypatch: pytest.MonkeyPatch, ordinal: int, target: Target, statement: str) -> None:
    """Have somebody else run a statement when a step is done."""
    run: Callable[..., None] = vars(__import__("foundry.migrate.stepwise", fromlist=["_"]))["_do"]

    def done(step: Collected, before: object, course: Course) -> None:
        run(step, before, course)
        if step.ordinal == ordinal:
            execute(target, statement)

    monkeypatch.setattr("foundry.migrate.stepwise._do", done)


def test_a_step_that_is_being_taken_back_may_be_edited(
    empty: Target, directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It goes away before it is done anew."""
    execute(empty, "CREATE TABLE t (n int)", "CREATE TABLE r (n int)")
    write(directory, "ALTER TABLE t ADD CONSTRAINT u UNIQUE (n)", FAILS)
    with monkeypatch.context() as patched:
        patched.setattr("foundry.migrate.takeback._undo", interrupted)
        with pytest.raises(KeyboardInterrupt):
            up(empty, directory)
    assert [("u",)] == rows(empty, INDEXES)
    write(directory, "ALTER TABLE t ADD CONSTRAINT v UNIQUE (n)")
    assert ("0001_a",) == up(empty, directory)
    assert [("v",)] == rows(empty, INDEXES)
