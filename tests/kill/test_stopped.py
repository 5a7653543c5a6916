"""Who holds a lock and does not think of it: a client that is stopped, and autovacuum."""

from __future__ import annotations

import signal
import time
from collections.abc import Callable, Iterator

import psycopg2
import pytest
from bench import APPLICATION, Bench, Run, steps
from psycopg2.extensions import connection

BEFORE = "CREATE TABLE t (id serial PRIMARY KEY, n int)"
LOCKED = f"""
SELECT FROM pg_locks JOIN pg_stat_activity USING (pid)
WHERE application_name = '{APPLICATION}' AND relation = 't'::regclass
  AND mode = 'AccessExclusiveLock' AND granted = %s
"""
VACUUM = "SELECT 1 FROM pg_stat_progress_vacuum WHERE relid = 't'::regclass"


@pytest.fixture
def other(bench: Bench) -> Iterator[connection]:
    """A session of somebody else."""
    bench.fresh(BEFORE)
    session = psycopg2.connect(**{**bench.target.params, "application_name": "report"})
    session.autocommit = True
    yield session
    session.close()


def eventually(question: Callable[[], object], seconds: float) -> None:
    """Ask until the answer is yes."""
    deadline = time.monotonic() + seconds
    while not question():
        assert time.monotonic() < deadline, "it never was so"
        time.sleep(0.01)


def stopped(run: Run, looker: connection, *, granted: bool) -> None:
    """Stop a client whose server process has its lock, or waits for it."""
    cursor = looker.cursor()

    def seen() -> bool:
        cursor.execute(LOCKED, (granted,))
        return bool(cursor.fetchall())

    eventually(seen, 30)
    run.kill(signal.SIGSTOP)


def test_a_client_that_is_stopped_loses_its_locks_after_a_minute(
    bench: Bench, other: connection
) -> None:
    """It is told so when it goes on, and the next run does what is left."""
    text = "ALTER TABLE t ADD COLUMN m int; SELECT pg_sleep(1)"
    folder = bench.folder({"0001_a": steps([text])})
    run = bench.start("up", folder)
    stopped(run, other, granted=True)
    try:
        other.cursor().execute("SET statement_timeout = '75s'; SELECT FROM t")
    finally:
        run.kill(signal.SIGCONT)
    ended = run.ended()
    assert 2 == ended.code, ended
    assert "the next up" in ended.err
    assert "Traceback" not in ended.err
    again = bench.run("up", folder)
    assert 0 == again.code, again.err


def test_behind_a_client_that_is_stopped_while_it_waits_nobody_waits(
    bench: Bench, other: connection
) -> None:
    """The server itself ends a try, and what it was behind is not what others are behind."""
    folder = bench.folder({"0001_a": steps(["ALTER TABLE t ADD COLUMN m int"])})
    with psycopg2.connect(**bench.target.params) as reader:
        reader.cursor().execute("SELECT FROM t")
        run = bench.start("up", folder)
        stopped(run, other, granted=False)
        try:
            other.cursor().execute("SET statement_timeout = '2s'; SELECT FROM t")
            bench.ask("SELECT")
        finally:
            run.kill(signal.SIGCONT)
    reader.close()
    ended = run.ended()
    assert 0 == ended.code, ended


def test_autovacuum_leaves_a_table_that_is_to_be_changed(bench: Bench, other: connection) -> None:
    """A try is shorter than the time after which a server would send it away by itself."""
    folder = bench.folder({"0001_a": steps(["ALTER TABLE t ADD COLUMN m int"])})
    bench.ask(
        "ALTER SYSTEM SET autovacuum_naptime = '1s'",
        "SELECT pg_reload_conf()",
        "ALTER TABLE t SET (autovacuum_vacuum_threshold = 1, autovacuum_vacuum_scale_factor = 0,"
        " autovacuum_vacuum_cost_delay = 100, autovacuum_vacuum_cost_limit = 1)",
        "INSERT INTO t SELECT i, i FROM generate_series(1, 100000) AS i",
        "DELETE FROM t WHERE id % 2 = 0",
    )
    try:
        eventually(lambda: bench.ask(VACUUM), 90)
        ended = bench.run("up", folder, "--wait", "8")
    finally:
        bench.ask("ALTER SYSTEM RESET autovacuum_naptime", "SELECT pg_reload_conf()")
    assert 0 == ended.code, ended
