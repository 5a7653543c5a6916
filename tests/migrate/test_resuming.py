"""What a run that goes on later must find as the first one did: the session, the file, the rest."""

from __future__ import annotations

import threading
from decimal import Decimal
from pathlib import Path

import pytest
from peewee import CharField
from support.differ import execute
from support.migrations import rows, settings, up
from support.sessions import eventually, holding, ran, session

from foundry.database import Target
from foundry.errors import HistoryConflict, LockTimeout, MigrationError
from foundry.migrate import Runner
from foundry.migrate.execution import load

FAILS = "SELECT 1 / n FROM nowhere"
INVALID = "SELECT indexrelid::regclass::text FROM pg_index WHERE NOT indisvalid"
COMMITS = """
CREATE PROCEDURE p() LANGUAGE plpgsql AS
'BEGIN INSERT INTO t VALUES (1); COMMIT; INSERT INTO t SELECT 1 / count(*) - 1 FROM u; END'
"""


def write(directory: Path, *steps: str, name: str = "0001_a", way: str = "up") -> None:
    """Write a file whose steps stand alone; those of the other way do nothing."""
    lines = ["atomic = False"]
    for one in ("up", "down"):
        lines += ["", "", f"def {one}(migrator, db):"]
        given = steps if one == way else ("SELECT 1",)
        lines += [f"    migrator.migrate(migrator.sql({step!r}))" for step in given]
    (directory / f"{name}.py").write_text("\n".join(lines) + "\n")


def told(target: Target, directory: Path, *, wait: float = 5.0) -> list[str]:
    """Apply a directory; returns what was reported, with the error as the last."""
    lines: list[str] = []
    try:
        with Runner.opened(target, settings(directory, wait=wait), report=lines.append) as runner:
            runner.up()
    except MigrationError as error:
        lines.append(str(error))
    return lines


@pytest.mark.parametrize(
    "step",
    [
        "SET search_path = b, public",
        "SET SESSION lock_timeout = '5s'",
        "SET ROLE postgres",
        "RESET search_path",
        "SELECT set_config('search_path', 'b', false)",
        "SELECT pg_catalog.set_config('search_path', 'b', 1 > 2)",
        "CREATE TEMP TABLE x (id int)",
        "CREATE TEMPORARY VIEW x AS SELECT 1",
        "CREATE TABLE pg_temp.x (id int)",
        "SELECT 1 AS n INTO TEMP x",
        "PREPARE x AS SELECT 1",
        "LISTEN x",
        "DISCARD ALL",
        "DO $$BEGIN SET search_path = b; END$$",
        "DO $$BEGIN PERFORM set_config('search_path', 'b', false); END$$",
        "SELECT 1; SET search_path = b",
    ],
)
def test_a_step_that_changes_the_session_is_refused(
    empty: Target, directory: Path, step: str
) -> None:
    """Before anything is done: a run that goes on later has another session."""
    write(directory, "CREATE TABLE t ()", step)
    with pytest.raises(MigrationError, match=r'step 2 of "0001_a" says .* session, .*: \w+'):
        up(empty, directory)
    assert [] == rows(empty, "SELECT FROM pg_class WHERE relname = 't'")


@pytest.mark.parametrize(
    "step",
    [
        "SET LOCAL search_path = b; CREATE TABLE t ()",
        "SELECT set_config('search_path', 'b', true); CREATE TABLE t ()",
        "CREATE TEMP TABLE x ON COMMIT DROP AS SELECT 1; CREATE TABLE b.t ()",
        "CREATE TABLE b.t (temporary int); UPDATE b.t SET temporary = 1",
        "CREATE FUNCTION b.t() RETURNS int SET search_path = b LANGUAGE sql AS 'SELECT 1';"
        "CREATE TABLE b.t ()",
    ],
)
def test_what_ends_with_the_step_may_be_set(empty: Target, directory: Path, step: str) -> None:
    """It is done with it, or not at all."""
    execute(empty, "CREATE SCHEMA b")
    write(directory, step)
    assert ("0001_a",) == up(empty, directory)
    assert [()] == rows(
        empty,
        "SELECT FROM pg_class WHERE relname = 't' AND relnamespace = 'b'::regnamespace",
    )


def test_each_step_finds_the_session_as_the_first_one_did(empty: Target, directory: Path) -> None:
    """What a function sets is seen in no text, and is gone."""
    execute(
        empty,
        "CREATE SCHEMA b",
        "CREATE FUNCTION f() RETURNS text LANGUAGE sql AS"
        " $$SELECT set_config('search_path', 'b', false)$$",
    )
    write(directory, "SELECT f()", "CREATE TABLE t ()")
    assert ("0001_a",) == up(empty, directory)
    assert [("public",)] == rows(
        empty, "SELECT relnamespace::regnamespace::text FROM pg_class WHERE relname = 't'"
    )


def test_a_batch_without_the_lock_is_not_kept(empty: Target, directory: Path) -> None:
    """Another run may be at work, and would do it twice."""
    execute(
        empty,
        "CREATE TABLE t (id serial PRIMARY KEY, n int)",
        "INSERT INTO t (n) SELECT 0 FROM generate_series(1, 30)",
        "CREATE FUNCTION f(n int) RETURNS int IMMUTABLE LANGUAGE plpgsql AS"
        " 'BEGIN IF n = 15 THEN PERFORM pg_advisory_unlock_all(); END IF; RETURN 1; END'",
    )
    write(directory, "UPDATE t SET n = n + f(id)")
    with (
        pytest.raises(MigrationError, match="the migration lock was lost"),
        Runner.opened(empty, settings(directory, batch=10)) as runner,
    ):
        runner.up()
    assert [(10,)] == rows(empty, "SELECT sum(n) FROM t")


def test_the_session_that_lost_its_lock_records_nothing(empty: Target, directory: Path) -> None:
    """Not of an atomic file either."""
    (directory / "0001_a.py").write_text(
        "def up(migrator, db):\n"
        "    migrator.migrate(migrator.sql('SELECT pg_advisory_unlock_all()'))\n"
    )
    with pytest.raises(MigrationError, match="the migration lock was lost"):
        up(empty, directory)
    assert [] == rows(empty, "SELECT FROM schema_migration")


@pytest.mark.parametrize("call", ["CALL p()", "DO $$BEGIN COMMIT; PERFORM 1 / 0; END$$"])
def test_a_procedure_that_commits_is_not_called_twice(
    empty: Target, directory: Path, call: str
) -> None:
    """Nobody knows what it did: it is said how to go on."""
    execute(empty, "CREATE TABLE t (n int)", "CREATE TABLE u (n int)", COMMITS)
    write(directory, call, "SELECT 1")
    first = told(empty, directory)
    assert "what it has committed stands" in first
    assert "but for what its step 1 has committed" in first[-1]
    kept = rows(empty, "SELECT count(*) FROM t")
    with pytest.raises(HistoryConflict, match=r'step 1 of "0001_a" was begun .* edit the step'):
        up(empty, directory)
    assert kept == rows(empty, "SELECT count(*) FROM t")
    execute(empty, "INSERT INTO u VALUES (1)")
    write(directory, "CALL p() -- again" if call == "CALL p()" else "SELECT 2", "SELECT 1")
    assert ("0001_a",) == up(empty, directory)


VALUES = [
    ("1.5", "2.5"),
    ("datetime(2026, 1, 1)", "datetime(2026, 1, 2)"),
    ("b'a'", "b'b'"),
    ("Json({'a': 1})", "Json({'a': 2})"),
    ("Decimal('1')", "Decimal('2')"),
]


@pytest.mark.parametrize(("old", "new"), VALUES)
def test_a_done_step_whose_values_were_edited_is_refused(
    empty: Target, directory: Path, old: str, new: str
) -> None:
    """Of whatever type they are."""
    body = (
        "from datetime import datetime\nfrom decimal import Decimal\n"
        "from psycopg2.extras import Json\natomic = False\ndef up(migrator, db):\n"
        "    migrator.migrate(migrator.sql('CREATE TABLE t (); SELECT %s', (VALUE,)))\n"
        f"    migrator.migrate(migrator.sql({FAILS!r}))\n"
    )
    path = directory / "0001_a.py"
    path.write_text(body.replace("VALUE", old))
    with pytest.raises(MigrationError, match="1 of its 2 steps stand"):
        up(empty, directory)
    path.write_text(body.replace("VALUE", new))
    with pytest.raises(HistoryConflict, match='step 1 of "0001_a" was done'):
        up(empty, directory)
    path.write_text(body.replace("VALUE", old))
    with pytest.raises(MigrationError, match="nowhere"):
        up(empty, directory)


@pytest.mark.parametrize("edit", ["max_length=21", "default=Decimal('2')", "constraints=[]"])
def test_a_done_operation_is_known_by_what_it_was_made_with(
    empty: Target, directory: Path, edit: str
) -> None:
    """And not by how many fields were made before it."""
    execute(empty, "CREATE TABLE t (id int)")
    given = "max_length=20, default=Decimal('1'), constraints=[SQL('CHECK (true)')]"
    body = (
        "from decimal import Decimal\nfrom peewee import *\natomic = False\n"
        "def up(migrator, db):\n"
        f"    migrator.migrate(migrator.add_column('t', 'm', CharField(null=True, {given})))\n"
        f"    migrator.migrate(migrator.sql({FAILS!r}))\n"
    )
    path = directory / "0001_a.py"
    path.write_text(body)
    with pytest.raises(MigrationError, match="1 of its 2 steps stand"):
        up(empty, directory)
    CharField(default=Decimal(1))
    with pytest.raises(MigrationError, match="1 of its 2 steps stand"):
        up(empty, directory)
    name = edit.partition("=")[0]
    others = [one for one in given.split(", ") if not one.startswith(name)]
    path.write_text(body.replace(given, ", ".join([*others, edit])))
    with pytest.raises(HistoryConflict, match='step 1 of "0001_a" was done'):
        up(empty, directory)


def test_a_step_that_is_another_one_each_time_is_refused(empty: Target, directory: Path) -> None:
    """A run that is cut short could not be gone on with."""
    (directory / "0001_a.py").write_text(
        "from uuid import uuid4\natomic = False\ndef up(migrator, db):\n"
        "    migrator.migrate(migrator.sql('SELECT %s', (str(uuid4()),)))\n"
    )
    with pytest.raises(MigrationError, match='step 1 of "0001_a" is another one each time'):
        up(empty, directory)


def test_the_half_of_a_step_that_was_edited_is_taken_away(empty: Target, directory: Path) -> None:
    """The edited one makes an index of another name."""
    execute(empty, "CREATE TABLE t (n int)")
    write(directory, "CREATE INDEX CONCURRENTLY i ON t (n)")
    begun(empty, directory, "CREATE INDEX i ON t (n)")
    invalidated(empty, "i")
    write(directory, "CREATE INDEX CONCURRENTLY j ON t (n)")
    assert ("0001_a",) == up(empty, directory)
    assert [] == rows(empty, INVALID)
    assert [("j",)] == rows(
        empty, "SELECT indexrelid::regclass::text FROM pg_index WHERE indrelid = 't'::regclass"
    )


@pytest.mark.parametrize("kind", ['SCHEMA CONCURRENTLY "Odd S"', 'TABLE CONCURRENTLY "Odd S".t'])
def test_what_a_rebuild_left_is_taken_away(empty: Target, directory: Path, kind: str) -> None:
    """In a namespace with capitals, and of the values that are kept beside the table."""
    execute(
        empty,
        'CREATE SCHEMA "Odd S"',
        'CREATE TABLE "Odd S".t (id int PRIMARY KEY, s text)',
        'CREATE INDEX t_pkey_ccnew ON "Odd S".t (id)',
        "CREATE TABLE t (id int)",
        "CREATE INDEX t_ccnew ON t (id)",
    )
    write(directory, f"REINDEX {kind}")
    begun(empty, directory, "SELECT 1")
    toast = rows(
        empty,
        "SELECT i.indexrelid::regclass::text FROM pg_class AS t JOIN pg_index AS i"
        """ ON i.indrelid = t.reltoastrelid WHERE t.oid = '"Odd S".t'::regclass""",
    )[0][0]
    name = str(toast).partition(".")[2]
    execute(empty, f"UPDATE pg_class SET relname = '{name}_ccnew' WHERE relname = '{name}'")
    invalidated(empty, '"Odd S".t_pkey_ccnew', f"{toast}_ccnew", "t_ccnew")
    up(empty, directory)
    assert [("t_ccnew",)] == rows(empty, INVALID)


def begun(target: Target, directory: Path, statement: str) -> None:
    """Have a run begin the first step of the file, which is cut short there."""
    with Runner.opened(target, settings(directory)) as runner:
        runner.history.create()
        file = runner.standings()[0].file
        step = load(file, "up", runner.database).steps[0]
        (text,) = step.operation.args
        runner.history.journal(file.name, "up").write(
            1, step.digest, done=False, statements=(text,)
        )
    execute(target, statement)


def invalidated(target: Target, *indexes: str) -> None:
    """Leave indexes as a build that failed does."""
    for index in indexes:
        execute(
            target,
            f"UPDATE pg_index SET indisvalid = false WHERE indexrelid = '{index}'::regclass",
        )


def test_an_index_that_was_dropped_by_half_is_told(empty: Target, directory: Path) -> None:
    """The file stands in its middle, and the next run drops it."""
    execute(empty, "CREATE TABLE t (n int)", "CREATE INDEX i ON t (n)")
    write(directory, "DROP INDEX CONCURRENTLY i")
    lines: list[str] = []
    with (
        holding(empty, "SELECT * FROM t"),
        pytest.raises(LockTimeout),
        Runner.opened(empty, settings(directory, wait=0.5), report=lines.append) as runner,
    ):
        runner.up()
    assert [("i",)] == rows(empty, INVALID)
    assert 'index "i" is INVALID by now: the next run drops it' in lines
    with Runner.opened(empty, settings(directory)) as runner:
        assert ["0001_a"] == [one.name for one in runner.begun()]
    assert ("0001_a",) == up(empty, directory)
    assert [] == rows(empty, INVALID)


def test_an_index_whose_condition_names_the_table_in_full_is_built_anew(
    empty: Target, directory: Path
) -> None:
    """The server prints no other one to compare it with; it holds nothing."""
    execute(empty, "CREATE TABLE t (n int)", "CREATE INDEX i ON t (n) WHERE n > 5")
    invalidated(empty, "i")
    write(directory, "CREATE INDEX CONCURRENTLY i ON t (n) WHERE public.t.n > 5")
    assert ("0001_a",) == up(empty, directory)
    assert [] == rows(empty, INVALID)


PARTS = (
    "CREATE TABLE t (n int) PARTITION BY LIST (n)",
    "CREATE TABLE t1 PARTITION OF t FOR VALUES IN (1)",
)


@pytest.mark.parametrize(
    ("step", "name"),
    [("VACUUM FULL u", "u"), ("ALTER TABLE t DETACH PARTITION t1 CONCURRENTLY", "t1")],
)
def test_nobody_waits_long_behind_what_stands_alone(
    empty: Target, directory: Path, step: str, name: str
) -> None:
    """It lets go again and again, and goes on when the table is free."""
    execute(empty, *PARTS, "CREATE TABLE u (n int)")
    write(directory, step)
    lines: list[str] = []
    with holding(empty, f"LOCK TABLE ONLY {name} IN ACCESS SHARE MODE") as holder:
        runs = threading.Thread(
            target=lambda: lines.extend(told(empty, directory, wait=30)), daemon=True
        )
        runs.start()
        with session(empty, "reader") as reader:
            ran(reader, "SET lock_timeout = '1s'")
            waiting_for = "SELECT FROM pg_stat_activity WHERE query LIKE %s AND wait_event = %s"
            eventually(lambda: ran(reader, waiting_for, f"{step.split()[0]}%", "relation"))
            for _ in range(5):
                ran(reader, f"SELECT * FROM {name}")
        ran(holder, "ROLLBACK")
        runs.join(30)
    assert not runs.is_alive()
    assert any(line.startswith("applied 0001_a") for line in lines), lines


def test_ctrl_c_in_the_first_step_says_what_stands(
    empty: Target, directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing does, and that is said."""
    execute(empty, "CREATE TABLE t (n int)")
    write(directory, "CREATE INDEX CONCURRENTLY i ON t (n)")

    def interrupted(*_: object, began: bool) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("foundry.migrate.stepwise._execute_alone", interrupted)
    lines: list[str] = []
    with (
        pytest.raises(KeyboardInterrupt),
        Runner.opened(empty, settings(directory), report=lines.append) as runner,
    ):
        runner.up()
    wanted = '0 of the 1 steps of "0001_a" stand, and the next up goes on with step 1'
    assert wanted in lines
