"""The session of a run: what takes an instant may take no longer, what is long may be."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from support.differ import execute
from support.migrations import rows, settings, up, url_of, write
from support.sessions import eventually

from foundry.database import Target
from foundry.errors import MigrationError
from foundry.migrate import Runner, limits
from foundry.migrate.instant import is_instant

SLEEPY = (
    "CREATE TABLE t (id int PRIMARY KEY, n int)",
    "CREATE FUNCTION sleepy() RETURNS event_trigger LANGUAGE plpgsql AS"
    " 'BEGIN IF tg_tag = ''ALTER TABLE'' THEN PERFORM pg_sleep(3); END IF; END'",
    "CREATE EVENT TRIGGER sleepy ON ddl_command_end EXECUTE FUNCTION sleepy()",
)
INSTANT = "ALTER TABLE t ADD COLUMN m int DEFAULT 3 NOT NULL"


@pytest.mark.parametrize("atomic", [True, False])
def test_what_takes_an_instant_is_ended_when_it_does_not(
    empty: Target, directory: Path, monkeypatch: pytest.MonkeyPatch, atomic: bool
) -> None:
    """Others stand behind its lock; the file is named and nothing of it is kept."""
    monkeypatch.setattr(limits, "LIMIT", 0.5)
    execute(empty, *SLEEPY)
    (directory / "0001_a.py").write_text(
        f"atomic = {atomic}\n\n\n"
        "def up(migrator, db):\n"
        f"    migrator.migrate(migrator.sql({INSTANT!r}))\n"
    )
    started = time.monotonic()
    with pytest.raises(MigrationError, match=r'"0001_a" up failed.* did not end in 0\.5 s'):
        up(empty, directory)
    assert time.monotonic() - started < 3
    assert [] == rows(empty, "SELECT FROM pg_attribute WHERE attname = 'm'")


@pytest.mark.parametrize("atomic", [True, False])
def test_what_may_take_long_is_not_ended(
    empty: Target, directory: Path, monkeypatch: pytest.MonkeyPatch, atomic: bool
) -> None:
    """Behind one that may not, in the same transaction; and playhouse's operations are known."""
    monkeypatch.setattr(limits, "LIMIT", 0.5)
    execute(empty, "CREATE TABLE t (id int PRIMARY KEY, n int)")
    (directory / "0001_a.py").write_text(
        f"atomic = {atomic}\n\n\n"
        "def up(migrator, db):\n"
        "    migrator.migrate(\n"
        f"        migrator.sql({INSTANT!r}),\n"
        "        migrator.rename_column('t', 'm', 'o'),\n"
        "        migrator.sql('SELECT pg_sleep(%s)', (1,)),\n"
        "    )\n"
    )
    assert ("0001_a",) == up(empty, directory)


def test_a_limit_of_the_files_own_stays_and_is_named(empty: Target, directory: Path) -> None:
    """Behind what takes an instant, too; to run it again would not help."""
    execute(empty, "CREATE TABLE t (id int PRIMARY KEY, n int)")
    (directory / "0001_a.py").write_text(
        "def up(migrator, db):\n"
        "    migrator.migrate(\n"
        "        migrator.sql('SET LOCAL statement_timeout = 700'),\n"
        f"        migrator.sql({INSTANT!r}),\n"
        "        migrator.sql('SELECT pg_sleep(%s)', (30,)),\n"
        "    )\n"
    )
    with pytest.raises(MigrationError, match=r"longer than the 0\.7 s of the statement_timeout"):
        up(empty, directory)


def test_how_long_is_waited_is_not_the_files_to_say(empty: Target, directory: Path) -> None:
    """Others would stand behind it for as long."""
    execute(empty, "CREATE TABLE t (id int PRIMARY KEY, n int)")
    (directory / "0001_a.py").write_text(
        "def up(migrator, db):\n"
        "    migrator.migrate(\n"
        "        migrator.sql(\"SET lock_timeout = '50s'\"),\n"
        "        migrator.sql(\"CREATE TABLE seen AS SELECT current_setting('lock_timeout')\"),\n"
        "    )\n"
    )
    assert ("0001_a",) == up(empty, directory)
    assert [("100ms",)] == rows(empty, "SELECT * FROM seen")


@pytest.mark.parametrize("kind", ["fill", "patient", "step"])
def test_who_is_stopped_in_a_step_gives_its_locks_back(
    empty: Target, directory: Path, kind: str
) -> None:
    """The server ends a transaction in which nothing happens."""
    shown = "current_setting('idle_in_transaction_session_timeout')"
    text = {
        "fill": f"UPDATE t SET s = {shown} WHERE s IS NULL",
        "patient": "ALTER TABLE t VALIDATE CONSTRAINT c",
        "step": f"INSERT INTO t (s) SELECT {shown}",
    }[kind]
    execute(
        empty,
        "CREATE TABLE t (id serial PRIMARY KEY, s text)",
        "INSERT INTO t (s) VALUES (NULL)" if kind == "fill" else "SELECT",
        "CREATE FUNCTION f(t) RETURNS bool IMMUTABLE LANGUAGE plpgsql AS $$ BEGIN"
        f" RETURN {shown} = '1min'; END $$",
        "INSERT INTO t (s) VALUES ('1min')" if kind == "patient" else "SELECT",
        "ALTER TABLE t ADD CONSTRAINT c CHECK (f(t)) NOT VALID" if kind == "patient" else "SELECT",
    )
    (directory / "0001_a.py").write_text(
        f"atomic = False\n\n\ndef up(migrator, db):\n    migrator.migrate(migrator.sql({text!r}))\n"
    )
    assert ("0001_a",) == up(empty, directory)
    assert [("1min",)] == rows(empty, "SELECT s FROM t")


@pytest.mark.parametrize(
    "text",
    [
        "ALTER TABLE t ADD n numeric(10, 2) DEFAULT 0 NOT NULL;",
        "ALTER TABLE ONLY s.t ADD CONSTRAINT c CHECK (n > 0) NOT VALID",
        "alter table if exists t drop column n, add m timestamp with time zone",
        "ALTER TABLE t ADD CONSTRAINT c UNIQUE USING INDEX c",
        "ALTER TABLE t ALTER n SET DEFAULT random()",
        "ALTER TABLE t SET (fillfactor = 70)",
        "ALTER TABLE t RENAME n TO m",
        "ALTER INDEX i RENAME TO j",
        "CREATE OR REPLACE TRIGGER a AFTER INSERT ON t EXECUTE FUNCTION f()",
    ],
)
def test_what_is_known_to_take_an_instant(text: str) -> None:
    """Whatever the table holds."""
    assert is_instant(text)


@pytest.mark.parametrize(
    "text",
    [
        "ALTER TABLE t ADD n bigserial",
        "ALTER TABLE t ADD n uuid DEFAULT gen_random_uuid()",
        "ALTER TABLE t ADD n positive",
        "ALTER TABLE t ADD n int UNIQUE",
        "ALTER TABLE t ADD n text GENERATED ALWAYS AS ('a') STORED",
        "ALTER TABLE t ADD CONSTRAINT c CHECK (n > 0)",
        "ALTER TABLE t ADD CONSTRAINT c PRIMARY KEY USING INDEX c",
        "ALTER TABLE t ALTER n SET NOT NULL",
        "ALTER TABLE t ALTER n TYPE bigint",
        "ALTER TABLE t VALIDATE CONSTRAINT c",
        "ALTER TABLE t SET UNLOGGED",
        "ALTER TABLE t RENAME n TO m; UPDATE t SET m = 1",
        "CREATE INDEX i ON t (n)",
        "UPDATE t SET n = 1",
        "",
    ],
)
def test_what_may_work_is_not_known_to_take_an_instant(text: str) -> None:
    """Nor what is doubtful: a domain may have a CHECK."""
    assert not is_instant(text)


def test_time_outs_of_the_role_are_not_for_migrations(empty: Target, directory: Path) -> None:
    """They are for its application; a build takes longer, behind another file too."""
    ((role,),) = rows(empty, "SELECT current_user")
    ((name,),) = rows(empty, "SELECT current_database()")
    execute(
        empty,
        f'ALTER ROLE "{role}" IN DATABASE "{name}" SET statement_timeout = 300',
        f'ALTER ROLE "{role}" IN DATABASE "{name}" SET idle_in_transaction_session_timeout = 300',
    )
    execute(empty, f'ALTER ROLE "{role}" IN DATABASE "{name}" SET idle_session_timeout = 300')
    for number in (1, 2):
        (directory / f"000{number}_a.py").write_text(
            "import time\n\n\n"
            "def up(migrator, db):\n"
            "    migrator.migrate(migrator.sql('SELECT pg_sleep(0.6)'))\n"
            "    time.sleep(0.6)\n"
        )
    assert ("0001_a", "0002_a") == up(empty, directory)


def test_the_statement_of_a_client_that_was_killed_ends(
    empty: Target, directory: Path, tmp_path: Path
) -> None:
    """And its locks with it, long before the statement is over."""
    if sys.platform != "linux":
        pytest.skip("not every server sees it elsewhere")
    (directory / "0001_a.py").write_text(
        "def up(migrator, db):\n    migrator.migrate(migrator.sql('SELECT pg_sleep(60)'))\n"
    )
    arguments = ["up", "--directory", str(directory), "--database", url_of(empty)]
    process = subprocess.Popen(
        [sys.executable, "-m", "foundry.migrate", *arguments], cwd=tmp_path,
        stdout=subprocess.DEVNULL,
    )  # fmt: skip
    asked = "SELECT FROM pg_stat_activity WHERE query LIKE 'SELECT pg_sl%' AND state = 'active'"
    eventually(lambda: rows(empty, asked))
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    eventually(lambda: not rows(empty, asked), seconds=10)


def test_the_runs_own_session_has_its_settings(empty: Target, directory: Path) -> None:
    """No statement ends before its time, and none outlives its client."""
    names = "statement_timeout", "lock_timeout", "client_connection_check_interval"
    asked = "SELECT setting FROM pg_settings WHERE name = ANY(%s) ORDER BY name"
    with Runner.opened(empty, settings(directory, wait=7.0)) as runner:
        runner.up()
        own = [r[0] for r in runner.database.execute_sql(asked, (list(names),)).fetchall()]
    assert ["1000", "7000", "0"] == own


def test_a_session_that_pauses_between_two_batches_is_not_ended(
    empty: Target, directory: Path
) -> None:
    """What the database sets for idle sessions is for those of its application."""
    ((name,),) = rows(empty, "SELECT current_database()")
    execute(
        empty,
        f'ALTER DATABASE "{name}" SET idle_session_timeout = 200',
        "CREATE TABLE t (id serial PRIMARY KEY, n int)",
        "INSERT INTO t (n) SELECT NULL FROM generate_series(1, 3)",
    )
    write(directory, "0001_a", "UPDATE t SET n = 1 WHERE n IS NULL", head="atomic = False")
    with Runner.opened(empty, settings(directory, batch=1, pause=0.5)) as runner:
        runner.up()
    assert [(3,)] == rows(empty, "SELECT sum(n) FROM t")
