"""Killed at every statement and at any moment: one more run brings what was wanted, once."""

from __future__ import annotations

import os
import random
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import closing, suppress
from dataclasses import dataclass
from pathlib import Path

import psycopg2
import pytest
from psycopg2 import sql
from support.dumps import dump

from foundry import embedded
from foundry.database import Target, resolve

VICTIM = Path(__file__).with_name("victim.py")
ROWS = 12_000
BEFORE = f"""
CREATE TABLE other (id int PRIMARY KEY);
INSERT INTO other SELECT generate_series(0, 9);
CREATE TABLE t (id bigserial PRIMARY KEY, n int NOT NULL, s text, other_id int);
INSERT INTO t (n, s, other_id) SELECT i, 'row ' || i, i % 10 FROM generate_series(1, {ROWS}) AS i;
"""
FILES = {
    "0001_rewrite": (True, ["ALTER TABLE t ALTER COLUMN n TYPE bigint"]),
    "0002_online": (
        False,
        [
            "ALTER TABLE t ADD COLUMN m bigint",
            "UPDATE t SET n = n + 1",
            "UPDATE t SET m = n * 2 WHERE m IS NULL",
            "CREATE INDEX CONCURRENTLY t_m ON t (m)",
            "CREATE UNIQUE INDEX CONCURRENTLY t_s ON t (s)",
            "ALTER TABLE t ADD CONSTRAINT t_n CHECK (n > 0) NOT VALID",
            "ALTER TABLE t VALIDATE CONSTRAINT t_n",
            "ALTER TABLE t ADD CONSTRAINT t_o FOREIGN KEY (other_id) REFERENCES other NOT VALID",
            "ALTER TABLE t VALIDATE CONSTRAINT t_o",
            "DROP INDEX CONCURRENTLY t_m",
            "REINDEX INDEX CONCURRENTLY t_s",
        ],
    ),
}
SEEN = """
SELECT count(*), sum(n), sum(m), count(DISTINCT id),
       (SELECT count(*) FROM pg_index WHERE NOT indisvalid),
       (SELECT count(*) FROM pg_constraint WHERE NOT convalidated),
       (SELECT string_agg(name, ' ' ORDER BY name) FROM schema_migration)
FROM t
"""
WANTED = (
    ROWS,
    sum(range(2, ROWS + 2)),
    2 * sum(range(2, ROWS + 2)),
    ROWS,
    0,
    0,
    "0001_rewrite 0002_online",
)


@dataclass(frozen=True)
class Bench:
    """A server that may be killed, and databases on it."""

    data: Path
    folder: Path

    def target(self, dbname: str) -> Target:
        """Where a database is."""
        return resolve(embedded.acquire(self.data).url(dbname))

    def ask(self, dbname: str, *statements: str | sql.Composed) -> list[tuple[object, ...]]:
        """Run statements once the server answers, and return the rows of the last one."""
        deadline = time.monotonic() + 60
        while True:
            try:
                with closing(psycopg2.connect(**self.target(dbname).params)) as session:
                    session.autocommit = True
                    with session.cursor() as cursor:
                        for statement in statements:
                            cursor.execute(statement)
                        return cursor.fetchall() if cursor.description else []
            except psycopg2.OperationalError:
                # It recovers from the death of one of its processes.
                assert time.monotonic() < deadline
                time.sleep(0.05)

    def fresh(self) -> str:
        """Return a database with the rows."""
        self.drop()
        self.ask("postgres", "CREATE DATABASE victim TEMPLATE before")
        return "victim"

    def drop(self) -> None:
        """Drop it."""
        self.ask("postgres", "DROP DATABASE IF EXISTS victim WITH (FORCE)")

    def command(self, *kill: str) -> list[str]:
        """Return the words of a run that is killed, or with none of one that is not."""
        program = [str(VICTIM), *kill] if kill else ["-m", "foundry.migrate"]
        url = embedded.acquire(self.data).url("victim")
        words = ["up", "--directory", str(self.folder), "--models", "nothing:MODELS"]
        return [sys.executable, *program, *words, "--database", url, "--wait", "60", "--no-color"]

    def run(self, *kill: str) -> subprocess.CompletedProcess[str]:
        """Run to the end, whichever it is."""
        return subprocess.run(
            self.command(*kill), capture_output=True, text=True, timeout=120, cwd=self.folder.parent
        )


@pytest.fixture(scope="module")
def bench() -> Iterator[Bench]:
    """A server of this module's own: its processes are killed."""
    place = Path(tempfile.mkdtemp(prefix="fdry-", dir="/tmp"))
    place.chmod(0o755)
    folder = place / "migrations"
    folder.mkdir()
    (place / "nothing.py").write_text("MODELS = []\n")
    for name, (atomic, steps) in FILES.items():
        lines = [f"atomic = {atomic}", "", "", "def up(migrator, db):"]
        lines += [f"    migrator.migrate(migrator.sql({step!r}))" for step in steps]
        (folder / f"{name}.py").write_text("\n".join(lines) + "\n")
    os.environ["FOUNDRY_DATA"] = str(place / "data")
    try:
        embedded.acquire(place / "data")
        found = Bench(place / "data", folder)
        found.ask("postgres", "CREATE DATABASE before")
        found.ask("before", BEFORE)
        yield found
    finally:
        del os.environ["FOUNDRY_DATA"]
        embedded.release(place / "data")
        embedded.stop(place / "data")
        shutil.rmtree(place, ignore_errors=True)


@pytest.fixture(scope="module")
def undisturbed(bench: Bench) -> tuple[str, int]:
    """What a run that nobody kills leaves, and how many statements it sends."""
    bench.fresh()
    ended = bench.run("0", "after", "client")
    assert 0 == ended.returncode, ended.stderr
    count = re.search(r"statements: (\d+)", ended.stderr)
    assert count is not None
    assert [WANTED] == bench.ask("victim", SEEN)
    return dump(bench.target("victim")), int(count[1])


def proves(bench: Bench, undisturbed: tuple[str, int]) -> None:
    """One more run brings exactly what is wanted."""
    again = bench.run()
    assert 0 == again.returncode, again.stderr
    assert [WANTED] == bench.ask("victim", SEEN)
    assert undisturbed[0] == dump(bench.target("victim"))


@pytest.mark.parametrize("whom", ["client", "backend"])
@pytest.mark.parametrize("when", ["before", "after"])
def test_killed_at_every_statement(
    bench: Bench, undisturbed: tuple[str, int], when: str, whom: str
) -> None:
    """Whoever dies, and whether the statement was run or not."""
    for number in range(1, undisturbed[1] + 1):
        bench.fresh()
        ended = bench.run(str(number), when, whom)
        assert ended.returncode != 0 or number == undisturbed[1], f"statement {number}"
        assert "Traceback" not in ended.stderr, f"statement {number}: {ended.stderr}"
        proves(bench, undisturbed)


@pytest.mark.parametrize("whom", ["client", "backend"])
def test_killed_at_any_moment(bench: Bench, undisturbed: tuple[str, int], whom: str) -> None:
    """In the middle of statements, above all."""
    seed = random.randrange(1 << 32)
    chance = random.Random(seed)
    for turn in range(100):
        bench.fresh()
        process = subprocess.Popen(
            bench.command(),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            cwd=bench.folder.parent,
        )
        time.sleep(chance.uniform(0.4, 2.5))
        if whom == "client":
            process.kill()
        else:
            query = "SELECT pid FROM pg_stat_activity WHERE application_name = 'foundry migrate'"
            for (pid,) in bench.ask("victim", query):
                with suppress(ProcessLookupError):
                    os.kill(int(str(pid)), signal.SIGKILL)
        process.wait(120)
        try:
            proves(bench, undisturbed)
        except AssertionError as error:
            raise AssertionError(f"seed {seed}, turn {turn}: {error}") from error
