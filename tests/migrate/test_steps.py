"""Files that are not atomic: each step once, whatever ends a run, and undone where it can be."""

from __future__ import annotations

from pathlib import Path

import pytest
from support.differ import execute
from support.migrations import rows, settings, up
from support.sessions import holding

from foundry.database import Target
from foundry.errors import HistoryConflict, LockTimeout, MigrationError
from foundry.migrate import Runner
from foundry.migrate.history import State

INVALID = "SELECT count(*) FROM pg_index WHERE NOT indisvalid"


def write(directory: Path, name: str, *steps: str, down: tuple[str, ...] = ()) -> Path:
    """Write a file whose steps stand alone."""
    lines = ["atomic = False", "", "", "def up(migrator, db):"]
    lines += [f"    migrator.migrate(migrator.sql({step!r}))" for step in steps] or ["    pass"]
    if down:
        lines += ["", "", "def down(migrator, db):"]
        lines += [f"    migrator.migrate(migrator.sql({step!r}))" for step in down]
    path = directory / f"{name}.py"
    path.write_text("\n".join(lines) + "\n")
    return path


def counted(target: Target, query: str) -> object:
    """Return the one value of a query."""
    return rows(target, query)[0][0]


def test_a_file_that_fails_goes_on_behind_the_steps_that_stand(
    empty: Target, directory: Path
) -> None:
    """What cannot be undone is not done again."""
    execute(empty, "CREATE TABLE t (id int PRIMARY KEY, n int)", "INSERT INTO t VALUES (1, 0)")
    write(directory, "0001_a", "UPDATE t SET n = n + 1", "SELECT 1 / n FROM nowhere")
    with pytest.raises(MigrationError, match=r"1 of its 2 steps stand, .* goes on with step 2"):
        up(empty, directory)
    write(directory, "0001_a", "UPDATE t SET n = n + 1", "UPDATE t SET n = n + 10")
    assert ("0001_a",) == up(empty, directory)
    assert 11 == counted(empty, "SELECT n FROM t")


def test_a_done_step_may_not_be_edited(empty: Target, directory: Path) -> None:
    """Nobody could say what the file did."""
    execute(empty, "CREATE TABLE t (id int PRIMARY KEY, n int)")
    write(directory, "0001_a", "UPDATE t SET n = 1", "SELECT nowhere")
    with pytest.raises(MigrationError):
        up(empty, directory)
    write(directory, "0001_a", "UPDATE t SET n = 2", "SELECT 1")
    with pytest.raises(HistoryConflict, match=r'step 1 of "0001_a" was done .* restore it'):
        up(empty, directory)
    write(directory, "0001_a")
    with pytest.raises(HistoryConflict, match='step 1 of "0001_a"'):
        up(empty, directory)


def test_a_file_whose_steps_can_be_undone_is_undone(empty: Target, directory: Path) -> None:
    """The index that failed, too."""
    execute(
        empty, "CREATE TABLE t (id int PRIMARY KEY, n int)", "INSERT INTO t VALUES (1, 1), (2, 1)"
    )
    write(
        directory,
        "0001_a",
        "ALTER TABLE t ADD CONSTRAINT c CHECK (n > 0) NOT VALID",
        "ALTER TABLE t VALIDATE CONSTRAINT c",
        "CREATE INDEX CONCURRENTLY i ON t (n)",
        "CREATE UNIQUE INDEX CONCURRENTLY u ON t (n)",
    )
    with pytest.raises(MigrationError, match="its steps before were undone"):
        up(empty, directory)
    assert 0 == counted(empty, INVALID)
    assert 1 == counted(empty, "SELECT count(*) FROM pg_index WHERE indrelid = 't'::regclass")
    assert 0 == counted(
        empty, "SELECT count(*) FROM pg_constraint WHERE conrelid = 't'::regclass AND contype = 'c'"
    )
    execute(empty, "DELETE FROM t WHERE id = 2")
    assert ("0001_a",) == up(empty, directory)
    assert 3 == counted(empty, "SELECT count(*) FROM pg_index WHERE indrelid = 't'::regclass")


@pytest.mark.parametrize(
    "left",
    [
        "CREATE INDEX u ON t (n)",
        "CREATE INDEX u ON t (n) WHERE n > 0",
        "CREATE UNIQUE INDEX u ON t (m)",
    ],
)
def test_an_index_of_the_name_that_is_another_one_is_refused(
    empty: Target, directory: Path, left: str
) -> None:
    """IF NOT EXISTS would be content with it."""
    execute(empty, "CREATE TABLE t (n int, m int)", left)
    write(directory, "0001_a", "CREATE UNIQUE INDEX CONCURRENTLY IF NOT EXISTS u ON t (n)")
    with pytest.raises(MigrationError, match='an index "u" already, and it is another one'):
        up(empty, directory)


@pytest.mark.parametrize("valid", [True, False])
def test_an_index_that_another_runner_left_is_taken_or_built_anew(
    empty: Target, directory: Path, valid: bool
) -> None:
    """By its definition: that runner kept no journal."""
    execute(empty, "CREATE TABLE t (n int)", "CREATE UNIQUE INDEX u ON t (n) WHERE n > 3")
    if not valid:
        execute(empty, "UPDATE pg_index SET indisvalid = false WHERE indexrelid = 'u'::regclass")
    old = counted(empty, "SELECT 'u'::regclass::oid")
    write(directory, "0001_a", "CREATE UNIQUE INDEX CONCURRENTLY u ON t USING btree(n) WHERE t.n>3")
    assert ("0001_a",) == up(empty, directory)
    assert 0 == counted(empty, INVALID)
    assert valid == (old == counted(empty, "SELECT 'u'::regclass::oid"))


@pytest.mark.parametrize(
    "body",
    [
        "db.execute_sql('CREATE TABLE a (id int)')",
        "migrator.database.execute_sql('CREATE TABLE a (id int)')",
        "db.execute_sql('SELECT 1')",
        "migrate(migrator.sql('CREATE TABLE a (id int)'))",
        "with db.atomic(): migrator.migrate(migrator.sql('CREATE TABLE a (id int)'))",
        "A.create_table()",
    ],
)
def test_a_file_that_does_more_than_hand_on_steps_is_refused(
    empty: Target, directory: Path, body: str
) -> None:
    """Before its first step: what it did beside them could not be taken up again."""
    (directory / "0001_a.py").write_text(
        "from peewee import *\n"
        "from playhouse.migrate import migrate\n"
        "atomic = False\n"
        "def up(migrator, db):\n"
        "    class A(Model):\n"
        "        class Meta:\n"
        "            database = db\n"
        "    migrator.migrate(migrator.sql('CREATE TABLE b (id int)'))\n"
        f"    {body}\n"
    )
    with pytest.raises(MigrationError, match=r"it uses the database itself .*: hand every change"):
        up(empty, directory)
    assert [] == rows(empty, "SELECT FROM pg_class WHERE relname IN ('a', 'b')")


def test_a_lock_that_is_never_given_keeps_what_was_done(empty: Target, directory: Path) -> None:
    """The next run goes on; the holder is named."""
    import psycopg2

    execute(empty, "CREATE TABLE t (id int PRIMARY KEY, n int)")
    write(
        directory,
        "0001_a",
        "CREATE INDEX CONCURRENTLY i ON t (n)",
        "ALTER TABLE t ADD COLUMN m int",
    )
    holder = psycopg2.connect(**empty.params, application_name="report")
    holder.cursor().execute("SELECT * FROM t")

    def late() -> tuple[str, ...]:
        with Runner.opened(empty, settings(directory, wait=1.0)) as runner:
            return tuple(done.name for done in runner.up().done)

    holder.rollback()
    holder.cursor().execute("LOCK TABLE t IN ACCESS SHARE MODE")
    with pytest.raises(LockTimeout, match='"report"'):
        late()
    holder.close()
    assert ("0001_a",) == late()
    with Runner.opened(empty, settings(directory)) as runner:
        assert [State.APPLIED] == [s.state for s in runner.standings()]


def test_a_backfill_that_fails_in_its_middle_goes_on_there(empty: Target, directory: Path) -> None:
    """Its batches stand: none of their rows is changed twice."""
    execute(
        empty,
        "CREATE TABLE t (id serial PRIMARY KEY, n int CONSTRAINT c CHECK (n < 25))",
        "INSERT INTO t SELECT i, 0 FROM generate_series(1, 30) AS i",
        "UPDATE t SET n = 24 WHERE id = 25",
    )
    write(directory, "0001_a", "UPDATE t SET n = n + 1")

    def filled() -> tuple[str, ...]:
        with Runner.opened(empty, settings(directory, batch=10)) as runner:
            return tuple(done.name for done in runner.up().done)

    with pytest.raises(MigrationError, match="0 of its 1 steps and a part of step 1 stand"):
        filled()
    assert 20 == counted(empty, "SELECT count(*) FROM t WHERE n = 1")
    execute(empty, "ALTER TABLE t DROP CONSTRAINT c")
    assert ("0001_a",) == filled()
    assert 29 + 25 == counted(empty, "SELECT sum(n) FROM t")


def test_a_refusal_undoes_nothing(empty: Target, directory: Path) -> None:
    """It says to restore the file, and what the file did must be there then."""
    execute(empty, "CREATE TABLE t (id int)", "CREATE TABLE u (id int)")
    last = "ALTER TABLE u ADD COLUMN m int"
    write(directory, "0001_a", "ALTER TABLE t ADD COLUMN m int", last)
    with (
        holding(empty, "LOCK TABLE u IN ACCESS SHARE MODE"),
        pytest.raises(LockTimeout, match="1 of its 2 steps stand"),
        Runner.opened(empty, settings(directory, wait=0.3)) as runner,
    ):
        runner.up()
    write(directory, "0001_a", "ALTER TABLE t ADD COLUMN k int", last)
    with pytest.raises(HistoryConflict):
        up(empty, directory)
    write(directory, "0001_a", "ALTER TABLE t ADD COLUMN m int", last)
    assert ("0001_a",) == up(empty, directory)


def test_an_index_that_became_a_constraint_is_undone(empty: Target, directory: Path) -> None:
    """It goes with the constraint, and the next run makes both."""
    execute(empty, "CREATE TABLE t (id int)")
    made = (
        "CREATE UNIQUE INDEX CONCURRENTLY u ON t (id)",
        "ALTER TABLE t ADD CONSTRAINT u UNIQUE USING INDEX u",
    )
    write(directory, "0001_a", *made, "SELECT 1 / n FROM nowhere")
    with pytest.raises(MigrationError, match="its steps before were undone"):
        up(empty, directory)
    write(directory, "0001_a", *made)
    assert ("0001_a",) == up(empty, directory)
    assert 1 == counted(empty, "SELECT count(*) FROM pg_constraint WHERE conname = 'u'")


def test_an_index_without_a_name_is_refused(empty: Target, directory: Path) -> None:
    """Before the first step: after a crash the next run would make a second one."""
    execute(empty, "CREATE TABLE t (n int)")
    write(directory, "0001_a", "UPDATE t SET n = 1", "CREATE INDEX CONCURRENTLY ON t (n)")
    match = "step 2 of 2 .* an index without a name: .*; nothing of it was kept"
    with pytest.raises(MigrationError, match=match):
        up(empty, directory)
