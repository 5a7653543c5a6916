"""A lock that another session never gives back: bounded, and the holder named."""

from __future__ import annotations

import re
from collections.abc import Iterator

import psycopg2
import pytest
from bench import Bench, steps
from psycopg2.extensions import connection

BEFORE = """
CREATE TABLE t (id serial PRIMARY KEY, n int NOT NULL, s text);
INSERT INTO t SELECT i, i, 'row ' || i FROM generate_series(1, 10) AS i;
"""
FIRST = "UPDATE t SET n = n + 1"
READER = "SELECT * FROM t WHERE s = 'a secret'"
WRITER = "INSERT INTO t VALUES (11, 11, 'a secret')"
WAITS = {
    "rewrite": (READER, "ALTER TABLE t ALTER COLUMN n TYPE bigint"),
    "add column": (READER, "ALTER TABLE t ADD COLUMN m int"),
    "build": (WRITER, "CREATE UNIQUE INDEX CONCURRENTLY t_n ON t (n)"),
    "drop": (READER, "DROP INDEX CONCURRENTLY t_pkey2"),
    "rebuild": (WRITER, "REINDEX INDEX CONCURRENTLY t_pkey2"),
    "detach": ("SELECT * FROM p", "ALTER TABLE p DETACH PARTITION p1 CONCURRENTLY"),
    "validate": ("LOCK TABLE t IN SHARE MODE", "ALTER TABLE t VALIDATE CONSTRAINT t_c"),
    "fill": ("LOCK TABLE t IN SHARE MODE", "UPDATE t SET n = n + 10"),
}
ALONE = "CONCURRENTLY"
"""A word of steps that are not for transactions."""
MORE = """
CREATE UNIQUE INDEX t_pkey2 ON t (id, n);
ALTER TABLE t ADD CONSTRAINT t_c CHECK (n > 0) NOT VALID;
CREATE TABLE p (id int) PARTITION BY LIST (id);
CREATE TABLE p1 PARTITION OF p FOR VALUES IN (1);
"""
SUM = "SELECT sum(n) FROM t WHERE id < 11"


@pytest.fixture
def holder(bench: Bench) -> Iterator[connection]:
    """A session that is idle in a transaction, or will be."""
    bench.fresh(BEFORE, MORE)
    session = psycopg2.connect(**{**bench.target.params, "application_name": "report"})
    yield session
    session.close()


@pytest.mark.parametrize(
    ("kind", "atomic"),
    [(k, a) for k, (_, step) in WAITS.items() for a in (True, False) if not (a and ALONE in step)],
)
def test_a_lock_is_never_given(bench: Bench, holder: connection, kind: str, atomic: bool) -> None:
    """The wait ends; what was done stands, what is left is told, and the next run goes on."""
    query, step = WAITS[kind]
    # Before the holder comes: the file that is atomic would need its locks for this step, too.
    files = {"0001_first": steps([FIRST]), "0002_second": steps([step], atomic=atomic)}
    folder = bench.folder(files)
    assert 0 == bench.run("up", folder, "--to", "0001_first").code
    before = bench.shape()
    holder.cursor().execute(query)
    ended = bench.run("up", folder, "--wait", "1")
    assert 2 == ended.code, ended
    masked = query.replace("'a secret'", "?").replace("11", "?")
    names(ended.err, holder.info.backend_pid, masked)
    assert "secret" not in ended.err + ended.out
    # What was begun CONCURRENTLY cannot be taken away either while the holder is there.
    assert ALONE in step or before == bench.shape()
    assert ("stays until the next run" in ended.out) == (kind in ("build", "rebuild"))
    assert ("the next run goes on with that" in ended.out) == (kind == "detach")
    holder.rollback()
    again = bench.run("up", folder, "--wait", "30")
    assert 0 == again.code, again.err
    assert [(65 + 100 * (kind == "fill"),)] == bench.ask(SUM)
    assert not [r for r in bench.shape() if r[0] == "index" and r[3] != "t t t"]
    assert (kind != "detach") == bool(bench.ask("SELECT 1 FROM pg_inherits"))


def names(said: str, pid: int, query: str) -> None:
    """One line has all that an operator needs."""
    wanted = (
        rf'error: .* waited 1 s for a lock: server process {pid} \("report" as postgres\), '
        rf"idle in transaction for \d+ s: {re.escape(query)}; .*; wait for it to end, .*"
        rf"pg_terminate_backend\({pid}\).*\n"
    )
    assert re.fullmatch(wanted, said), said


def test_what_was_done_before_the_wait_is_not_done_again(bench: Bench, holder: connection) -> None:
    """Hours of work are no price for a lock: the file stays where it was."""
    steps_of = [FIRST, "CREATE INDEX CONCURRENTLY t_n ON t (n)", "ALTER TABLE t ADD COLUMN m int"]
    folder = bench.folder({"0001_all": steps(steps_of)})
    # A reader of t lets all pass but the last step: UPDATE and CONCURRENTLY come before it.
    holder.autocommit = True
    holder.cursor().execute("BEGIN; LOCK TABLE t IN ACCESS SHARE MODE")
    ended = bench.run("up", folder, "--wait", "1")
    assert 2 == ended.code, ended
    assert "2 of its 3 steps stand, and the next up goes on with step 3" in ended.err
    made = bench.ask("SELECT 't_n'::regclass::oid")
    holder.cursor().execute("ROLLBACK")
    assert 0 == bench.run("up", folder).code
    assert made == bench.ask("SELECT 't_n'::regclass::oid")
    assert [(65,)] == bench.ask(SUM)


def test_another_run_that_never_ends_is_named(bench: Bench) -> None:
    """It holds the lock of the runs, and --wait bounds that, too."""
    bench.fresh(BEFORE)
    folder = bench.folder({"0001_first": steps([FIRST])})
    session = psycopg2.connect(**{**bench.target.params, "application_name": "another"})
    cursor = session.cursor()
    cursor.execute("SELECT pg_advisory_lock(x'666F756E647279'::bigint)")
    pid = session.info.backend_pid
    ended = bench.run("up", folder, "--wait", "1")
    session.close()
    assert 2 == ended.code, ended
    assert f'another run (server process {pid}, application "another")' in ended.err
    assert 0 == bench.run("up", folder).code
