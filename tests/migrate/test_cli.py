"""`python -m foundry.migrate` as its users meet it: words, exit codes, JSON."""

from __future__ import annotations

import json
import re
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from support.migrations import Command, rows, table, tables, url_of, write

from foundry import migrate
from foundry.database import Target

VERBS = ("status", "diff", "generate", "up", "down", "stamp", "verify")


def test_up_prints_the_tables_it_made(empty: Target, command: Command) -> None:
    """The first thing a newcomer sees."""
    ended = command("up", "--database", url_of(empty), code=0)
    assert "" == ended.err
    for name in ("users", "messages", "protocol_history", "checkpoints", "checkpoint"):
        assert any(line.startswith(f"{name} ") for line in ended.out.splitlines()), ended.out
    again = command("up", "--database", url_of(empty), code=0)
    assert "nothing to do" in again.out


def test_options_may_stand_before_the_verb(empty: Target, command: Command) -> None:
    """Before or after, it is the same."""
    assert 1 == command("--database", url_of(empty), "--json", "status").code
    assert 1 == command("status", "--json", "--database", url_of(empty)).code


def test_status_says_1_while_something_is_pending_and_0_after(
    empty: Target, command: Command
) -> None:
    """A deploy can be gated by it."""
    pending = command("status", "--json", "--database", url_of(empty), code=1)
    states = {m["name"]: m["state"] for m in json.loads(pending.out)["migrations"]}
    assert "pending" == states["0001_conversations"]
    assert "off" == states["0005_safety_concerns_index"]
    command("up", "-q", "--database", url_of(empty), code=0)
    assert "applied" in command("status", "--database", url_of(empty), code=0).out


def test_status_changes_nothing(empty: Target, command: Command) -> None:
    """Not even a history table."""
    command("status", "--database", url_of(empty))
    assert set() == tables(empty)


def test_dry_run_and_sql_change_nothing(empty: Target, command: Command) -> None:
    """What would run is printed; stdout carries the SQL alone."""
    ended = command("up", "--dry-run", "--database", url_of(empty), code=0)
    assert "would apply 0001_conversations" in ended.out
    shown = command("up", "--sql", "--database", url_of(empty), code=0)
    assert shown.out.startswith("CREATE TABLE IF NOT EXISTS checkpoint_migrations")
    assert set() == tables(empty)
    write_to(empty, shown.out)
    assert {"checkpoints", "messages", "checkpoint"} <= tables(empty)
    command("stamp", "--database", url_of(empty), code=0)
    command("verify", "--database", url_of(empty), code=0)


def test_sql_shows_playhouse_operations_as_well(
    empty: Target, command: Command, directory: Path
) -> None:
    """And models made in the file."""
    (directory / "0001_a.py").write_text(
        "from peewee import *\n\n\n"
        "def up(migrator, db):\n"
        "    class A(Model):\n"
        "        class Meta:\n"
        "            database = db\n"
        "            table_name = 'a'\n"
        "    db.create_tables([A])\n"
        "    migrator.migrate(migrator.add_column('a', 'n', IntegerField(default=3)))\n"
    )
    ended = command(
        "up", "--sql", "--models", "foundry.migrate.objects_none", "--database", url_of(empty)
    )
    assert 2 == ended.code
    ended = command("up", "--sql", *stranger(directory), "--database", url_of(empty), code=0)
    assert 'CREATE TABLE IF NOT EXISTS "a"' in ended.out
    assert 'UPDATE "a" SET "n" = 3;' in ended.out
    assert set() == tables(empty)


def test_a_missing_database_names_create_database(server: object, command: Command) -> None:
    """And `up --create-database` makes it."""
    url = server.url("foundry_test_missing")  # type: ignore[attr-defined]
    ended = command("up", "--database", url, code=2)
    assert 1 == len(ended.err.splitlines())
    assert "--create-database" in ended.err
    try:
        command("up", "--create-database", "--database", url, code=0)
        command("verify", "--database", url, code=0)
    finally:
        server.drop("foundry_test_missing")  # type: ignore[attr-defined]


def test_refusals_are_one_line_and_exit_3(empty: Target, command: Command, directory: Path) -> None:
    """Data loss without consent, and an edited file."""
    path = write(
        directory, "0001_a", "CREATE TABLE a (id int)", "DROP TABLE a",
        head='down_loses = ("every a",)',
    )  # fmt: skip
    to = (*stranger(directory), "--database", url_of(empty))
    command("up", *to, code=0)
    lost = command("down", *to, code=3)
    assert ["error: "] == [line[:7] for line in lost.err.splitlines()]
    assert "--allow-data-loss" in lost.err
    path.write_text(path.read_text() + "\n# edited\n")
    assert 3 == command("up", *to).code
    assert 3 == command("down", *to, "--allow-data-loss").code
    assert "a" in tables(empty)


def test_down_and_stamp(empty: Target, command: Command, directory: Path) -> None:
    """Revert, then record without running."""
    table(directory, "0001_a", "a")
    table(directory, "0002_b", "b")
    to = (*stranger(directory), "--database", url_of(empty), "--json")
    command("up", *to, code=0)
    reverted = json.loads(command("down", "--to", "0001_a", *to, code=0).out)["reverted"]
    assert ["0002_b", "0001_a"] == [m["name"] for m in reverted]
    recorded = json.loads(command("stamp", "--to", "0001_a", *to, code=0).out)["recorded"]
    assert ["0001_a"] == [m["name"] for m in recorded]
    assert {"schema_migration", "schema_migration_step"} == tables(empty)


def test_a_failed_step_is_one_line_and_exit_2(
    empty: Target, command: Command, directory: Path
) -> None:
    """The file, what was kept, and the server's words."""
    write(directory, "0001_a", "SELECT 1/0")
    ended = command("up", *stranger(directory), "--database", url_of(empty), code=2)
    assert (
        'error: "0001_a" up failed, nothing of it was kept: division by zero (line 4)\n'
        == ended.err
    )


@pytest.mark.parametrize(
    "arguments",
    [
        ("up", "--models", "no_such_module"),
        ("up", "--models", "foundry.schema:NOTHING"),
        ("up", "--models", "json"),
        ("up", "--config", "absent.cfg"),
        ("up", "--to", "0001_typo"),
        ("up", "--wait", "soon"),
        ("up", "--models", ""),
        ("up", "--directory", ""),
        ("up", "--table", ""),
        ("up", "--config", ""),
        ("up", "--database", "mysql://app:s3cr3t@localhost/x"),
        ("up", "--database", "postgresql://app:s3cr3t@localhost:1/x"),
        ("sideways",),
        (),
    ],
)
def test_wrong_usage_is_exit_2_without_a_traceback_or_a_password(
    empty: Target, command: Command, arguments: tuple[str, ...]
) -> None:
    """The last line on stderr says what is wrong."""
    given = arguments if "--database" in arguments else (*arguments, "--database", url_of(empty))
    ended = command(*given, code=2)
    assert "Traceback" not in ended.err
    assert "s3cr3t" not in ended.err + ended.out
    assert "error: " in ended.err.splitlines()[-1]
    assert 1 == len(ended.err.splitlines())
    assert set() == tables(empty)


def test_the_config_file_gives_what_options_do_not(
    empty: Target, command: Command, directory: Path, tmp_path: Path
) -> None:
    """`[foundry]` of setup.cfg in the working directory."""
    table(directory, "0001_a", "a")
    (tmp_path / "mine.py").write_text(
        "from foundry.declare import Schema\nSCHEMA = Schema(models=())\n"
    )
    (tmp_path / "setup.cfg").write_text(
        "[foundry]\nmodels = mine\ndirectory = migrations\ntable = steps\nwait = 3\n"
    )
    command("up", "--database", url_of(empty), code=0)
    assert {"a", "steps", "steps_step"} == tables(empty)
    (tmp_path / "setup.cfg").write_text("[foundry]\ndatabase = postgresql://\n")
    ended = command("up", "--database", url_of(empty), code=2)
    assert "the URL belongs into DATABASE_URL or .env" in ended.err


def test_the_switch_for_the_jsonb_indexes_is_an_option_in_the_config(
    empty: Target, command: Command, tmp_path: Path
) -> None:
    """`options = jsonb_indexes` adds both GIN indexes, to a database of any age."""
    query = "SELECT relname FROM pg_class WHERE relname IN (%s, %s) ORDER BY 1"
    names = ("idx_checkpoint_state", "idx_safety_concerns")
    command("up", "--database", url_of(empty), code=0)
    assert [] == rows(empty, query, *names)
    (tmp_path / "setup.cfg").write_text("[foundry]\noptions = jsonb_indexes\n")
    command("up", "--database", url_of(empty), code=0)
    assert [(name,) for name in names] == rows(empty, query, *names)
    command("verify", "--database", url_of(empty), code=0)


@pytest.mark.parametrize(
    ("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGHUP, 129)]
)
def test_a_signal_leaves_nothing_behind_and_says_so(
    empty: Target, directory: Path, tmp_path: Path, number: int, code: int
) -> None:
    """The transaction is rolled back and the lock is free."""
    write(directory, "0001_a", "CREATE TABLE a (id int); SELECT pg_sleep(60)")
    arguments = ["up", *stranger(directory), "--database", url_of(empty)]
    process = subprocess.Popen(
        [sys.executable, "-m", "foundry.migrate", *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=tmp_path,
        # A shell's background jobs, and what they start, ignore SIGINT; those of nohup SIGHUP.
        preexec_fn=lambda: signal.signal(number, signal.SIG_DFL),
    )
    wait_for(
        empty,
        "SELECT FROM pg_stat_activity WHERE query LIKE %s"
        " AND state = 'active' AND pid <> pg_backend_pid() AND datname = current_database()",
    )
    process.send_signal(number)
    _, err = process.communicate(timeout=30)
    assert code == process.returncode
    assert "error: interrupted" in err
    assert "Traceback" not in err
    assert "a" not in tables(empty)


def test_files_of_ones_own_need_no_models(empty: Target, command: Command, directory: Path) -> None:
    """A directory and nothing else: foundry's tables and LangGraph's are not wanted then."""
    table(directory, "0001_a", "a")
    to = ("--directory", str(directory), "--database", url_of(empty))
    command("up", *to, code=0)
    assert {"a", "schema_migration", "schema_migration_step"} == tables(empty)
    command("verify", *to, code=0)


def test_verbose_shows_where_an_error_came_from_without_its_password(
    empty: Target, command: Command, directory: Path
) -> None:
    """The trace names the user's file."""
    path = directory / "0001_a.py"
    path.write_text("def up(migrator, db):\n    raise OSError('postgresql://me:s3cr3t@h/x')\n")
    to = (*stranger(directory), "--database", url_of(empty))
    ended = command("up", "-v", *to, code=2)
    assert str(path) in ended.err
    assert "s3cr3t" not in ended.err
    assert "OSError (line 2)" in ended.err.splitlines()[-1]
    assert 1 == len(command("up", *to, code=2).err.splitlines())


def test_a_folder_of_migrations_that_is_not_used_is_told(
    empty: Target, command: Command, directory: Path
) -> None:
    """Foundry's own twelve tables are not what somebody with a folder of files expects."""
    table(directory, "0001_a", "a")
    to = ("--database", url_of(empty))
    assert 'the folder "migrations" here is not used' in command("status", *to, code=1).out
    named = command("status", "--directory", "migrations", *to, code=1)
    assert "is not used" not in named.out


def test_a_negative_wait_is_told_as_such(command: Command) -> None:
    """It is a number of seconds."""
    ended = command("up", "--wait", "-1", code=2)
    assert '"-1" must not be negative' in ended.err


def test_verbose_shows_no_row_and_no_value(
    empty: Target, command: Command, directory: Path
) -> None:
    """What the driver prints below its first line are the rows of patients."""
    write(directory, "0001_a", "CREATE TABLE a (t text); INSERT INTO a VALUES ('canary\"')")
    write(directory, "0002_b", "INSERT INTO a SELECT * FROM a; CREATE UNIQUE INDEX ON a (t)")
    to = (*stranger(directory), "--database", url_of(empty))
    ended = command("up", "-v", *to, code=2)
    assert "UniqueViolation: could not create unique index" in ended.err
    assert "canary" not in ended.err
    write(directory, "0002_b", "ALTER TABLE a ALTER t TYPE int USING t::int")
    ended = command("up", "-v", *to, code=2)
    assert 'InvalidTextRepresentation: invalid input syntax for type integer: "…"' in ended.err
    assert "canary" not in ended.err


def test_what_a_models_module_raises_is_told_by_its_type(
    empty: Target, command: Command, tmp_path: Path
) -> None:
    """Its text may hold anything; what is wrong with the code is told."""
    for text, told in (
        ("raise ValueError('s3cr3t')", "ValueError"),
        ("import no_such_thing", "No module named 'no_such_thing'"),
        ("raise SystemExit(0)", "it calls exit()"),
        (
            "from foundry.declare import Enum\n"
            "Enum('s', ('new', 'settled'), renames={'paid': 'settled'})",
            'enum "s": renames',
        ),
        (
            "from peewee import *\nclass A(Model):\n    b = DeferredForeignKey('Gone')",
            '"A.b" refers to "gone"',
        ),
    ):
        (tmp_path / "broken.py").write_text(text)
        ended = command("up", "--models", "broken", "--database", url_of(empty), code=2)
        assert "s3cr3t" not in ended.err
        assert told in ended.err


def test_what_a_models_module_raises_is_told_with_its_line(
    empty: Target, command: Command, tmp_path: Path
) -> None:
    """The last one of somebody's own files; and a path is told from a module."""
    (tmp_path / "mine.py").write_text(
        "from peewee import *\n\nclass A(Model):\n    b = ForeignKeyField('B')\n"
    )
    for models, told in (
        ("mine", "(line 3 of mine.py)"),
        ("app/models.py", 'is a path: name the module, such as "app.models"'),
    ):
        ended = command("up", "--models", models, "--database", url_of(empty), code=2)
        assert told in ended.err


def test_diff_says_that_a_file_stands_in_its_middle(
    empty: Target, command: Command, directory: Path
) -> None:
    """What it has made so far differs from the models, and is nobody's mistake."""
    directory.mkdir(exist_ok=True)
    (directory.parent / "halfway.py").write_text(
        "from peewee import *\n\nclass A(Model):\n    b = IntegerField()\n\nMODELS = [A]\n"
    )
    made = "CREATE TABLE a (id serial PRIMARY KEY)"
    steps = (made, "SELECT 1 / 0", "ALTER TABLE a ADD COLUMN b integer NOT NULL")
    lines = [f"    migrator.migrate(migrator.sql({step!r}))" for step in steps]
    text = "\n".join(["atomic = False", "", "", "def up(migrator, db):", *lines, ""])
    (directory / "0001_a.py").write_text(text)
    to = ("--models", "halfway", "--directory", str(directory), "--database", url_of(empty))
    command("up", *to, code=2)
    said = "note: what a file in its middle has made is among them: "
    assert f'{said}"0001_a"' in command("diff", *to).out
    (directory / "0001_a.py").write_text(text.replace("1 / 0", "1"))
    command("up", *to)
    ended = command("diff", *to).out
    assert said not in ended
    assert "no differences" in ended


def test_control_characters_in_names_do_not_reach_the_terminal(
    server: Any, command: Command
) -> None:
    """A database may have any name."""
    name = "foundry_test_a\x1b[31mb"
    ended = command("status", "--database", server.url(name), code=2)
    assert "\x1b" not in ended.err + ended.out
    assert "a\\x1b[31mb" in ended.err


def test_a_reader_that_goes_away_does_not_stop_a_run(
    empty: Target, directory: Path, tmp_path: Path
) -> None:
    """`up | head -1` applies every file."""
    for number in range(1, 6):
        table(directory, f"000{number}_a", f"a{number}")
    arguments = ["up", *stranger(directory), "--database", url_of(empty)]
    process = subprocess.Popen(
        [sys.executable, "-u", "-m", "foundry.migrate", *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        cwd=tmp_path,
    )
    assert process.stdout
    assert process.stderr
    process.stdout.close()
    assert b"" == process.stderr.read()
    assert 0 == process.wait(30)
    process.stderr.close()
    assert "a5" in tables(empty)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[Foundry]\nmodels = x\n", "has no section [foundry]"),
        ("no section\n", "is not a readable ini file"),
        ("[foundry]\nmodels =\n", '"models" is empty'),
        ("[foundry]\nwait = soon\n", '"wait" is "soon", not a number of seconds'),
        ("[foundry]\noptions = jsonb_index\n", 'knows the option "jsonb_index"; there is'),
    ],
)
def test_a_config_that_does_not_say_what_was_meant_is_refused(
    empty: Target, command: Command, tmp_path: Path, text: str, said: str
) -> None:
    """Nothing is migrated on a guess."""
    (tmp_path / "mine.cfg").write_text(text)
    ended = command("up", "--config", "mine.cfg", "--database", url_of(empty), code=2)
    assert said in ended.err
    assert set() == tables(empty)


def stranger(directory: Path) -> tuple[str, ...]:
    """Options of a project that has files and no models of its own."""
    module = directory.parent / "strangers.py"
    module.write_text("from foundry.declare import Schema\nSCHEMA = Schema(models=())\n")
    return "--models", "strangers", "--directory", str(directory)


def write_to(target: Target, statements: str) -> None:
    import psycopg2

    connection = psycopg2.connect(**target.params)
    connection.autocommit = True
    # One by one, as psql does: some may not be together.
    for statement in re.split(r";\n\n(?=[A-Z])", statements):
        connection.cursor().execute(statement)
    connection.close()


def wait_for(target: Target, query: str) -> None:
    import time

    deadline = time.monotonic() + 20
    while not rows(target, query, "%pg_sleep(60)%"):
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_foundrys_own_migrations_do_not_depend_on_the_working_directory(
    empty: Target, directory: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A program that migrates by `migrate.up()` may run in a project of its own."""
    table(directory, "0001_a", "a")
    (tmp_path / "setup.cfg").write_text("[foundry]\ndirectory = migrations\n")
    monkeypatch.chdir(tmp_path)
    migrate.up(empty)
    assert "messages" in tables(empty)
    assert "a" not in tables(empty)
