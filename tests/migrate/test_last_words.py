"""What is shown and said when a file of steps is recorded, or taken back."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from support.differ import execute
from support.migrations import rows, settings, up
from support.sessions import holding, pid_of, ran

from foundry.database import Target
from foundry.errors import LockTimeout, MigrationError
from foundry.migrate import Runner, stepwise
from foundry.migrate.watching import WORKING, Progress

CHECK = "ALTER TABLE t ADD CONSTRAINT c CHECK (n > 0)"
FAILS = "SELECT 1 / n FROM nowhere"


@pytest.fixture
def prepared(empty: Target, directory: Path) -> Target:
    """A database with a table and a history."""
    execute(empty, "CREATE TABLE t (n int)")
    write(directory, "0001_a", "SELECT 1")
    up(empty, directory)
    return empty


@pytest.fixture
def later() -> Iterator[ExitStack]:
    """What is closed when the test is over."""
    with ExitStack() as stack:
        yield stack


def write(directory: Path, name: str, *steps: str) -> None:
    """Write a file whose steps stand alone."""
    lines = ["atomic = False", "", "", "def up(migrator, db):"]
    lines += [f"    migrator.migrate(migrator.sql({step!r}))" for step in steps]
    (directory / f"{name}.py").write_text("\n".join(lines) + "\n")


def after_first(monkeypatch: pytest.MonkeyPatch, then: Any) -> None:
    """Have something happen when the first step is done."""
    run = vars(stepwise)["_do"]

    def done(step: Any, before: Any, course: Any) -> None:
        run(step, before, course)
        if step.ordinal == 1:
            then()

    monkeypatch.setattr(stepwise, "_do", done)


def test_a_history_that_is_locked_at_the_end_is_named_and_the_file_stands(
    prepared: Target, directory: Path, monkeypatch: pytest.MonkeyPatch, later: ExitStack
) -> None:
    """By whom, within --wait; and the next run has nothing to do but write it down."""
    write(directory, "0002_b", CHECK)
    lock = "LOCK TABLE schema_migration IN ACCESS EXCLUSIVE MODE"
    after_first(monkeypatch, lambda: later.enter_context(holding(prepared, lock, name="nightly")))
    told = r'the history "schema_migration" waited 1 s .*"nightly".*; all its steps stand, and the'
    with (
        Runner.opened(prepared, settings(directory, wait=1)) as runner,
        pytest.raises(LockTimeout, match=f"{told} next up records it; .*--wait"),
    ):
        runner.up()
    later.close()
    monkeypatch.undo()
    assert ("0002_b",) == up(prepared, directory)
    assert [(1,)] == rows(prepared, "SELECT count(*) FROM pg_constraint WHERE conname = 'c'")


def test_a_history_that_refuses_the_row_is_told_with_what_stands(
    prepared: Target, directory: Path
) -> None:
    """In one line of our own, and what the server said."""
    execute(
        prepared,
        "CREATE FUNCTION no() RETURNS trigger LANGUAGE plpgsql AS"
        " $$BEGIN RAISE EXCEPTION 'closed for the night'; END$$",
        "CREATE TRIGGER no BEFORE INSERT ON schema_migration FOR EACH ROW EXECUTE FUNCTION no()",
    )
    write(directory, "0002_b", CHECK)
    told = '"0002_b" up was not recorded: closed for the night; all its steps stand, and the next'
    with pytest.raises(MigrationError, match=f"^{told} up records it$"):
        up(prepared, directory)


def test_undoing_is_shown_and_who_is_in_its_way(
    prepared: Target, directory: Path, monkeypatch: pytest.MonkeyPatch, later: ExitStack
) -> None:
    """It may take as long as what it takes back."""
    write(directory, "0002_b", CHECK, FAILS)
    seen: list[tuple[str, Progress | None]] = []
    held: list[int] = []

    def hold() -> None:
        holder = later.enter_context(holding(prepared, "SELECT FROM t"))
        held.append(pid_of(holder))
        threading.Timer(1.5, ran, (holder, "COMMIT")).start()

    after_first(monkeypatch, hold)
    with (
        Runner.opened(
            prepared, settings(directory), progress=lambda what, now: seen.append((what, now))
        ) as runner,
        pytest.raises(MigrationError, match="its steps before were undone"),
    ):
        runner.up()
    shown = [now for what, now in seen if what == 'undoing step 1 of "0002_b"']
    assert WORKING == shown[0]
    assert shown[-1] is None
    waits = [{b.pid for b in now.waits} for now in shown if now and now.waits]
    assert [set(held)] == waits
