"""Files are applied once, in order, by one runner at a time; what contradicts is refused."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from playhouse.migrations import Migration as StockMigration
from playhouse.migrations import Runner as StockRunner
from support.differ import execute
from support.migrations import rows, settings, table, tables, up, url_of, write
from support.server import Server

from foundry.database import Database, Target, connect, resolve
from foundry.errors import (
    DataLoss,
    DeclarationError,
    HistoryConflict,
    LockTimeout,
    MigrationError,
)
from foundry.migrate import Runner
from foundry.migrate.history import State
from foundry.migrate.lock import held


def states(target: Target, directory: Path, **changes: object) -> list[tuple[str, State]]:
    with Runner.opened(target, settings(directory, **changes)) as runner:
        return [(s.file.name, s.state) for s in runner.standings()]


def test_up_applies_pending_files_in_order_and_once(empty: Target, directory: Path) -> None:
    """A second run has nothing to do."""
    table(directory, "0001_a", "a")
    table(directory, "0002_b", "b")
    assert ("0001_a", "0002_b") == up(empty, directory)
    assert () == up(empty, directory)
    assert {"a", "b", "schema_migration", "schema_migration_step"} == tables(empty)


def test_up_stops_after_the_named_file(empty: Target, directory: Path) -> None:
    """`--to` is inclusive."""
    table(directory, "0001_a", "a")
    table(directory, "0002_b", "b")
    assert ("0001_a",) == up(empty, directory, target="0001_a")
    assert [("0001_a", State.APPLIED), ("0002_b", State.PENDING)] == states(empty, directory)


def test_a_name_that_is_no_file_is_refused(empty: Target, directory: Path) -> None:
    """A typing mistake in `--to` does nothing."""
    table(directory, "0001_a", "a")
    with pytest.raises(MigrationError, match='no migration "0001_b"'):
        up(empty, directory, target="0001_b")
    assert set() == tables(empty)


def test_a_failing_file_leaves_nothing_and_the_files_before_it_stay(
    empty: Target, directory: Path
) -> None:
    """An atomic file is all or nothing, its history row included."""
    table(directory, "0001_a", "a")
    path = directory / "0002_b.py"
    path.write_text(
        "def up(migrator, db):\n"
        "    migrator.migrate(migrator.sql('CREATE TABLE b (id int)'),"
        " migrator.sql('SELECT 1/0'))\n"
    )
    with pytest.raises(MigrationError, match="nothing of it was kept: division by zero"):
        up(empty, directory)
    assert {"a", "schema_migration", "schema_migration_step"} == tables(empty)
    assert [("0001_a", State.APPLIED), ("0002_b", State.PENDING)] == states(empty, directory)


def test_a_file_that_is_not_atomic_runs_outside_a_transaction(
    empty: Target, directory: Path
) -> None:
    """CREATE INDEX CONCURRENTLY works in one."""
    table(directory, "0001_a", "a")
    write(directory, "0002_i", "CREATE INDEX CONCURRENTLY i ON a (id)", head="atomic = False")
    assert ("0001_a", "0002_i") == up(empty, directory)
    assert [(True,)] == rows(
        empty, "SELECT indisvalid FROM pg_index WHERE indexrelid = 'i'::regclass"
    )


def test_an_error_of_the_server_does_not_show_the_row(empty: Target, directory: Path) -> None:
    """DETAIL holds what a patient said; it stays out of the message."""
    write(
        directory,
        "0001_a",
        "CREATE TABLE a (t text CHECK (t <> 'x')); INSERT INTO a VALUES ('canary'), ('x')",
    )
    with pytest.raises(MigrationError) as caught:
        up(empty, directory)
    assert "canary" not in str(caught.value)
    assert "\n" not in str(caught.value)
    assert 'violates check constraint "a_t_check"' in str(caught.value)


def test_down_reverts_the_newest_file_or_back_through_a_name(
    empty: Target, directory: Path
) -> None:
    """The history forgets what was reverted."""
    for name, made in (("0001_a", "a"), ("0002_b", "b"), ("0003_c", "c")):
        table(directory, name, made)
    up(empty, directory)
    with Runner.opened(empty, settings(directory)) as runner:
        assert ["0003_c"] == [d.name for d in runner.down().done]
        assert ["0002_b", "0001_a"] == [d.name for d in runner.down("0001_a").done]
        assert () == runner.down().done
    assert {"schema_migration", "schema_migration_step"} == tables(empty)
    assert ("0001_a", "0002_b", "0003_c") == up(empty, directory)


def test_a_file_without_down_cannot_be_reverted(empty: Target, directory: Path) -> None:
    """The refusal comes before anything is reverted."""
    write(directory, "0001_a", "CREATE TABLE a (id int)")
    table(directory, "0002_b", "b")
    up(empty, directory)
    with (
        Runner.opened(empty, settings(directory)) as runner,
        pytest.raises(MigrationError, match=r'"0001_a" has no down\(\)'),
    ):
        runner.down("0001_a")
    assert {"a", "b"} <= tables(empty)


@pytest.mark.parametrize(("direction", "head"), [("up", "loses"), ("down", "down_loses")])
def test_data_is_lost_only_with_consent(
    empty: Target, directory: Path, direction: str, head: str
) -> None:
    """The refusal names what would be lost, and nothing has happened."""
    write(
        directory, "0001_a", "CREATE TABLE a (id int)", "DROP TABLE a",
        head=f'{head} = ("every a",)',
    )  # fmt: skip
    with Runner.opened(empty, settings(directory)) as runner:
        if direction == "down":
            runner.up()
        act = getattr(runner, direction)
        with pytest.raises(DataLoss, match="loses every a: run again with --allow-data-loss"):
            act()
        assert (direction == "down") == ("a" in tables(empty))
        assert 1 == len(act(allow_data_loss=True).done)


def test_an_edited_file_is_refused(empty: Target, directory: Path) -> None:
    """What is in the database is what the old text made."""
    table(directory, "0001_a", "a")
    up(empty, directory)
    with (directory / "0001_a.py").open("a") as file:
        file.write("# a remark\n")
    with pytest.raises(HistoryConflict, match='"0001_a" was edited after it was applied'):
        up(empty, directory)


def test_a_missing_and_a_renamed_file_are_told_apart(empty: Target, directory: Path) -> None:
    """A renamed file is recognised by its content."""
    path = table(directory, "0001_a", "a")
    up(empty, directory)
    path.rename(directory / "0001_z.py")
    with pytest.raises(HistoryConflict, match='looks renamed to "0001_z"'):
        up(empty, directory)
    (directory / "0001_z.py").unlink()
    with pytest.raises(HistoryConflict, match="its file is not there: restore the file"):
        up(empty, directory)


def test_a_file_older_than_applied_ones_needs_force_order(empty: Target, directory: Path) -> None:
    """It is recorded that it came late."""
    table(directory, "0002_b", "b")
    up(empty, directory)
    table(directory, "0001_a", "a")
    with pytest.raises(HistoryConflict, match='"0001_a" is older than files already applied'):
        up(empty, directory)
    assert "a" not in tables(empty)
    assert ("0001_a",) == up(empty, directory, force_order=True)
    assert [("out of order",)] == rows(
        empty, "SELECT note FROM schema_migration_step WHERE name = '0001_a'"
    )


def test_a_row_of_another_tool_without_digest_is_accepted(
    empty: Target, directory: Path, server: object
) -> None:
    """Who comes from the stock runner keeps the history, and the other way round."""
    table(directory, "0001_a", "a")
    table(directory, "0002_b", "b")
    database = connect(url_of(empty), bind=False)
    stock = StockRunner(database, str(directory))
    assert ["0001_a"] == stock.up("0001_a")
    assert ("0002_b",) == up(empty, directory)
    assert [True, True] == [bool(m.applied) for m in stock.status()]
    database.close_all()


def test_a_file_waits_for_what_it_requires_and_is_applied_late(
    empty: Target, directory: Path
) -> None:
    """Waiting is not pending, and coming late is then not out of order."""
    table(directory, "0001_a", "a")
    write(
        directory, "0002_b", "CREATE TABLE b (id int)",
        head='requires = ("extension:no_such_extension",)',
    )  # fmt: skip
    table(directory, "0003_c", "c")
    assert ("0001_a", "0003_c") == up(empty, directory)
    assert ("0002_b", State.WAITING) == states(empty, directory)[1]
    with pytest.raises(MigrationError, match="needs extension:no_such_extension"):
        up(empty, directory, target="0002_b")
    # There is no way to install an extension that does not exist: the file's need goes away.
    write(directory, "0002_b", "CREATE TABLE b (id int)", head='requires = ("extension:plpgsql",)')
    assert ("0002_b",) == up(empty, directory)


def test_an_option_that_is_off_is_neither_pending_nor_waiting(
    empty: Target, directory: Path
) -> None:
    """It is applied once the option is on."""
    write(directory, "0001_a", "CREATE TABLE a (id int)", head='requires = ("option:extras",)')
    assert () == up(empty, directory)
    assert [("0001_a", State.OFF)] == states(empty, directory)
    with Runner.opened(empty, settings(directory, options=frozenset({"extras"}))) as runner:
        assert ["0001_a"] == [d.name for d in runner.up().done]


def test_stamp_records_without_running_and_leaves_waiting_files(
    empty: Target, directory: Path
) -> None:
    """A waiting file is recorded only when it is named."""
    table(directory, "0001_a", "a")
    head = 'requires = ("extension:no_such_extension",)'
    write(directory, "0002_b", "CREATE TABLE b (id int)", head=head)
    with Runner.opened(empty, settings(directory)) as runner:
        assert ["0001_a"] == [d.name for d in runner.fake().done]
        assert ["0002_b"] == [d.name for d in runner.fake("0002_b").done]
    assert [("stamped",)] * 2 == rows(empty, "SELECT note FROM schema_migration_step")
    assert {"schema_migration", "schema_migration_step"} == tables(empty)


def test_two_directories_have_histories_of_their_own(
    empty: Target, directory: Path, tmp_path: Path
) -> None:
    """`--table` keeps them apart."""
    table(directory, "0001_a", "a")
    other = tmp_path / "other"
    other.mkdir()
    table(other, "0001_x", "x")
    up(empty, directory)
    with Runner.opened(empty, settings(other, table="other")) as runner:
        assert ["0001_x"] == [d.name for d in runner.up().done]
    assert [("0001_a",)] == rows(empty, "SELECT name FROM schema_migration")
    assert [("0001_x",)] == rows(empty, "SELECT name FROM other")


def test_the_text_that_was_hashed_is_the_text_that_runs(empty: Target, directory: Path) -> None:
    """Not bytecode of an earlier text of the same size and time."""
    path = table(directory, "0001_a", "t1")
    os.utime(path, (1e9, 1e9))
    StockMigration.load_directory(str(directory))[0].load()
    table(directory, "0001_a", "t2")
    os.utime(path, (1e9, 1e9))
    up(empty, directory)
    assert "t2" in tables(empty)
    assert "t1" not in tables(empty)


def test_the_history_is_found_along_the_whole_search_path(empty: Target, directory: Path) -> None:
    """A schema that comes first later on must not make every file look new."""
    table(directory, "0001_a", "a")
    up(empty, directory)
    execute(empty, 'CREATE SCHEMA "postgres"')
    assert () == up(empty, directory)
    table(directory, "0002_b", "b")
    assert ("0002_b",) == up(empty, directory)
    assert [(2,)] == rows(empty, "SELECT count(*) FROM public.schema_migration")


def test_a_file_that_changes_its_session_does_not_change_the_next_one(
    empty: Target, directory: Path
) -> None:
    """pg_dump's output empties the search_path."""
    write(
        directory, "0001_a",
        "CREATE TABLE public.a (id int); SELECT set_config('search_path', '', false)",
    )  # fmt: skip
    write(directory, "0002_b", "CREATE TABLE b AS SELECT '\\d' AS t")
    execute(empty, f'ALTER DATABASE "{empty.dbname}" SET standard_conforming_strings = off')
    assert ("0001_a", "0002_b") == up(empty, directory)
    assert [(2,)] == rows(empty, "SELECT length(t) FROM b")


@pytest.mark.parametrize("where", ["import", "up"])
def test_a_file_that_exits_is_an_error(empty: Target, directory: Path, where: str) -> None:
    """exit(0) must not look like success."""
    text = "import sys\ndef up(migrator, db):\n    sys.exit(0)\n"
    (directory / "0001_a.py").write_text(
        text if where == "up" else f"import sys\nsys.exit()\n{text}"
    )
    with pytest.raises(MigrationError, match=r"it calls exit\(\)"):
        up(empty, directory)
    assert [("0001_a", State.PENDING)] == states(empty, directory)


def test_a_commit_in_an_atomic_file_is_told(empty: Target, directory: Path) -> None:
    """What it did stands, so the message does not say that nothing was kept."""
    write(directory, "0001_a", "CREATE TABLE a (id int); COMMIT; CREATE TABLE b (id int)")
    with pytest.raises(MigrationError, match="ends its own transaction"):
        up(empty, directory)
    write(directory, "0001_a", "CREATE TABLE c (id int); COMMIT")
    (directory / "0001_a.py").write_text(
        "def up(migrator, db):\n"
        "    migrator.migrate(migrator.sql('COMMIT'), migrator.sql('SELECT 1/0'))\n"
    )
    with pytest.raises(MigrationError, match="its earlier steps stand: division by zero"):
        up(empty, directory)


def test_a_run_that_lost_its_lock_stops(empty: Target, directory: Path) -> None:
    """Before the step that gave it away is kept: another run may be at work."""
    write(directory, "0001_a", "SELECT pg_advisory_unlock_all()", head="atomic = False")
    table(directory, "0002_b", "b")
    with pytest.raises(MigrationError, match="the migration lock was lost"):
        up(empty, directory)
    assert "b" not in tables(empty)


def test_what_a_file_raises_is_told_by_type_and_line(empty: Target, directory: Path) -> None:
    """The text of an exception may hold a URL with its password."""
    (directory / "0001_a.py").write_text(
        "def up(migrator, db):\n    raise RuntimeError('postgresql://me:s3cr3t@h/x')\n"
    )
    with pytest.raises(MigrationError, match=r"kept: RuntimeError \(line 2\)$"):
        up(empty, directory)


@pytest.mark.parametrize(
    ("value", "type", "told"),
    [
        ("canary", "int", "invalid input syntax for type integer"),
        ('{"patient canary"', "text[]", "malformed array literal"),
        ('"a" canary "b"', "uuid", "invalid input syntax for type uuid"),
        ("a\ncanary", "inet", "invalid input syntax for type inet"),
        ("the canary", "tsquery", "syntax error in tsquery"),
    ],
)
def test_a_value_that_cannot_be_converted_is_not_shown(
    empty: Target, directory: Path, value: str, type: str, told: str
) -> None:
    """The server quotes it in the first line of its message, with the quotes that are in it."""
    write(directory, "0001_a", f"CREATE TABLE a (t text); INSERT INTO a VALUES ('{value}')")
    write(directory, "0002_b", f"ALTER TABLE a ALTER t TYPE {type} USING t::{type}")
    with pytest.raises(MigrationError, match=f'{told}: "…"') as caught:
        up(empty, directory)
    assert "canary" not in str(caught.value)


@pytest.mark.parametrize("key", ["t", "lower(t), n"])
def test_a_unique_index_that_cannot_be_built_says_how_its_rows_are_found(
    empty: Target, directory: Path, key: str
) -> None:
    """The query of the message, which has no value in it, finds them."""
    execute(empty, 'CREATE TABLE "A" (t text, n int)', "INSERT INTO \"A\" VALUES ('canary', 1)")
    execute(empty, 'INSERT INTO "A" SELECT * FROM "A"', "INSERT INTO \"A\" VALUES ('y', 2)")
    write(directory, "0001_a", f'CREATE UNIQUE INDEX i ON "A" ({key})')
    with pytest.raises(MigrationError, match="could not create unique index") as caught:
        up(empty, directory)
    assert "canary" not in str(caught.value)
    query = str(caught.value).partition("(SELECT")[2].rpartition(") and run")[0]
    ((*found, count),) = rows(empty, f"SELECT{query}")
    assert ("canary", 2) == (found[0], count)


def test_a_single_percent_sign_is_explained(empty: Target, directory: Path) -> None:
    """The driver's own message is about a tuple."""
    write(directory, "0001_a", "SELECT 'a' LIKE '%s'")
    with pytest.raises(MigrationError, match="write a literal % in SQL as %%"):
        up(empty, directory)


def test_a_file_that_requires_something_comes_late_only_if_it_waited(
    empty: Target, directory: Path
) -> None:
    """A new file with an old number is out of order, whatever it requires."""
    table(directory, "0002_b", "b")
    up(empty, directory)
    write(directory, "0001_a", "CREATE TABLE a (id int)", head='requires = ("extension:plpgsql",)')
    with pytest.raises(HistoryConflict, match='"0001_a" is older than files already applied'):
        up(empty, directory)
    with (
        Runner.opened(empty, settings(directory)) as runner,
        pytest.raises(HistoryConflict),
    ):
        runner.pending()


def test_a_run_with_nothing_to_do_needs_no_right_to_create(
    server: Server, empty: Target, directory: Path
) -> None:
    """An application may check at its start; with something to do it is told what it lacks."""
    table(directory, "0001_a", "a")
    up(empty, directory)
    with server.role() as name:
        execute(empty, f"GRANT SELECT ON ALL TABLES IN SCHEMA public TO {name}")
        execute(empty, "REVOKE CREATE ON SCHEMA public FROM PUBLIC")
        low = resolve(server.url_as(name, empty.dbname))
        assert () == up(low, directory)
        table(directory, "0002_b", "b")
        with pytest.raises(MigrationError, match="may not write the history"):
            up(low, directory)
        execute(empty, f"DROP OWNED BY {name}")


def test_an_extension_this_role_may_not_create_is_waited_for(
    server: Server, empty: Target, directory: Path
) -> None:
    """It is there once it is installed, by whomever."""
    head = 'requires = ("extension:pg_stat_statements",)'
    write(directory, "0001_a", "CREATE TABLE a (id int)", head=head)
    with server.role() as name:
        execute(empty, f"GRANT CREATE ON SCHEMA public TO {name}")
        low = resolve(server.url_as(name, empty.dbname))
        assert () == up(low, directory)
        execute(empty, "CREATE EXTENSION pg_stat_statements")
        assert ("0001_a",) == up(low, directory)
        execute(empty, f"DROP OWNED BY {name}")


@pytest.mark.parametrize(
    ("name", "said"), [("customers", "a table of somebody else"), ("h" * 59, "at most 58 bytes")]
)
def test_a_table_that_is_no_history_is_not_written_to(
    empty: Target, directory: Path, name: str, said: str
) -> None:
    """`--table` with a mistake in it."""
    execute(empty, "CREATE TABLE customers (id int, name text, applied timestamp, vip bool)")
    table(directory, "0001_a", "a")
    with (
        pytest.raises(MigrationError, match=said),
        Runner.opened(empty, settings(directory, table=name)),
    ):
        pass


def test_an_external_that_nobody_declares_is_refused(empty: Target, directory: Path) -> None:
    """A typing mistake would wait for ever."""
    write(directory, "0001_a", "SELECT 1", head='requires = ("external:langgrph",)')
    with pytest.raises(DeclarationError, match='"0001_a" requires "external:langgrph"'):
        up(empty, directory)


def test_showing_sql_never_opens_another_connection(empty: Target, directory: Path) -> None:
    """A file that asks for one cannot be shown."""
    (directory / "0001_a.py").write_text(
        "def up(migrator, db):\n    db.cursor().execute('CREATE TABLE a (id int)')\n"
    )
    write(directory, "0002_b", "SELECT nextval('s')")
    execute(empty, "CREATE SEQUENCE s")
    with Runner.opened(empty, settings(directory)) as runner:
        first, second = runner.pending()
        with pytest.raises(MigrationError, match="cannot be shown as SQL"):
            runner.recorded(first)
        assert ("SELECT nextval('s');",) == runner.recorded(second)
    assert [(1, False)] == rows(empty, "SELECT last_value, is_called FROM s")
    assert set() == tables(empty)


def test_four_runs_at_once_apply_every_file_once_and_all_succeed(
    empty: Target, directory: Path
) -> None:
    """The others wait, read the history again and find nothing to do."""
    write(directory, "0001_a", "CREATE TABLE a (id int)")
    write(directory, "0002_n", "INSERT INTO a VALUES (1)", head="atomic = False")
    arguments = ["up", "--directory", str(directory), "--database", url_of(empty)]
    running = [
        subprocess.Popen(
            [sys.executable, "-m", "foundry.migrate", *arguments, "--models", "support.schema"],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
            cwd=Path(__file__).parents[1],
        )
        for _ in range(4)
    ]
    ended = [(process.communicate()[1], process.returncode) for process in running]
    assert [("", 0)] * 4 == ended
    assert [(1,)] == rows(empty, "SELECT id FROM a")


def test_a_run_that_is_held_up_longer_than_wait_says_by_whom(
    empty: Target, directory: Path
) -> None:
    """The message names the other session."""
    table(directory, "0001_a", "a")
    other: Database = connect(url_of(empty), bind=False)
    with other.connection_context(), held(other, wait=0, report=print):
        (pid,) = other.execute_sql("SELECT pg_backend_pid()").fetchone()
        with (
            Runner.opened(empty, settings(directory, wait=0.3)) as runner,
            pytest.raises(LockTimeout, match=rf"another run \(server process {pid}, application"),
        ):
            runner.up()
    other.close_all()
    assert ("0001_a",) == up(empty, directory)


def test_a_waiting_run_takes_over_when_the_holder_is_gone(empty: Target, directory: Path) -> None:
    """A holder that dies takes its lock along."""
    table(directory, "0001_a", "a")
    other: Database = connect(url_of(empty), bind=False)
    waiting = threading.Event()
    applied: list[tuple[str, ...]] = []

    def run() -> None:
        with Runner.opened(
            empty, settings(directory, wait=30), report=lambda line: waiting.set()
        ) as runner:
            applied.append(tuple(d.name for d in runner.up().done))

    with other.connection_context():
        other.execute_sql("SELECT pg_advisory_lock(%s)", (0x666F756E647279,))
        thread = threading.Thread(target=run)
        thread.start()
        assert waiting.wait(10)
        assert [] == applied
        rows(empty, "SELECT pg_terminate_backend(%s)", other.connection().info.backend_pid)
        thread.join(20)
        other.connection().close()
    other.close_all()
    assert [("0001_a",)] == applied


def test_the_date_style_of_a_database_is_no_obstacle(empty: Target, directory: Path) -> None:
    """The driver reads ISO alone, and RESET ALL brings the database's own back."""
    execute(empty, f"ALTER DATABASE \"{empty.dbname}\" SET datestyle = 'SQL, DMY'")
    execute(empty, f"ALTER DATABASE \"{empty.dbname}\" SET intervalstyle = 'iso_8601'")
    table(directory, "0001_a", "a")
    assert ("0001_a",) == up(empty, directory)
    assert [("0001_a", State.APPLIED)] == states(empty, directory)


def test_rows_that_row_security_hides_are_not_passed_over(
    empty: Target, server: Server, directory: Path
) -> None:
    """They would be in nobody's way, until they are."""
    with server.role() as role:
        execute(
            empty,
            "CREATE TABLE t (id int, tenant text)",
            "INSERT INTO t VALUES (NULL, 'x')",
            "ALTER TABLE t ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY",
            "CREATE POLICY p ON t USING (tenant = current_setting('app.tenant', true))",
            f'ALTER TABLE t OWNER TO "{role}"',
            f'GRANT CREATE ON SCHEMA public TO "{role}"',
        )
        checks = "checks = (('t.id NOT NULL', 'SELECT tenant FROM t WHERE id IS NULL LIMIT 3'),)"
        write(directory, "0001_a", "ALTER TABLE t ALTER id SET NOT NULL", head=checks)
        with pytest.raises(MigrationError, match="run it as a role with BYPASSRLS"):
            up(resolve(server.url_as(role, empty.dbname)), directory)
        execute(empty, f'REASSIGN OWNED BY "{role}" TO CURRENT_USER', f'DROP OWNED BY "{role}"')
