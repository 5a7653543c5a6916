"""While a statement takes long, a second session shows how far it is and who is in the way."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from itertools import pairwise
from pathlib import Path

import psycopg2
import pytest
from psycopg2 import sql
from support.migrations import rows, url_of
from support.server import Server
from support.sessions import Running, eventually, holding, is_waiting, pid_of, ran, session

from foundry.database import Target, resolve
from foundry.errors import LockTimeout
from foundry.migrate.blockers import Blocker
from foundry.migrate.interrupt import cancelling
from foundry.migrate.watching import Progress, _Watched, watching

ALTER = "ALTER TABLE t ADD COLUMN n int"
CONCURRENTLY = "CREATE INDEX CONCURRENTLY t_id ON t (id)"
READ = "SELECT 'bob' FROM t"
WATCHERS = "SELECT pid FROM pg_stat_activity WHERE application_name = 'foundry watch'"
WATCHERS += " AND datname = current_database()"

# Each row is a block of its own, and takes its time.
SLOW = """
CREATE TABLE s (id int, filler text) WITH (fillfactor = 10);
ALTER TABLE s ALTER filler SET STORAGE PLAIN;
INSERT INTO s SELECT i, repeat('x', 5000) FROM generate_series(1, 150) i;
CREATE FUNCTION slow(int) RETURNS int IMMUTABLE LANGUAGE plpgsql AS
    'BEGIN PERFORM pg_sleep(0.01); RETURN $1; END'
"""


@pytest.fixture
def prepared(empty: Target) -> Target:
    """A database with a table."""
    with session(empty) as conn:
        ran(conn, "CREATE TABLE t (id int)")
    return empty


@contextmanager
def at_work(target: Target) -> Iterator[tuple[psycopg2.extensions.connection, int]]:
    """A session that is watched, and its process."""
    with session(target, "worker") as conn:
        yield conn, pid_of(conn)


def release_when_told(lines: list[str], holder: psycopg2.extensions.connection) -> threading.Thread:
    def wait() -> None:
        eventually(lambda: lines)
        ran(holder, "COMMIT")

    thread = threading.Thread(target=wait)
    thread.start()
    return thread


def test_a_session_in_the_way_is_reported_once(prepared: Target) -> None:
    """Not before a second, and not again as long as it is the same one."""
    lines: list[str] = []
    started = time.monotonic()
    with holding(prepared, READ) as holder, at_work(prepared) as (conn, pid):
        running = Running(conn, ALTER)
        with watching(prepared, pid, what='"0001_a"', wait=60, report=lines.append):
            eventually(lambda: lines)
            took = time.monotonic() - started
            eventually(lambda: time.monotonic() > started + took + 1.5)
            ran(holder, "COMMIT")
            assert running.ended() is None
    assert 1 <= took
    who = rf'server process {holder_pid(lines[0])} \("holder" as \S+\)'
    (line,) = lines
    pattern = rf'"0001_a" waits for {who}, idle in transaction for \d+ s: SELECT \? FROM t'
    assert re.fullmatch(pattern, line), line


def holder_pid(line: str) -> int:
    found = re.search(r"server process (\d+)", line)
    assert found
    return int(found[1])


def test_the_next_session_in_the_way_is_reported_too(prepared: Target) -> None:
    """CREATE INDEX CONCURRENTLY waits for one transaction after the other."""
    lines: list[str] = []
    write = "INSERT INTO t VALUES (1)"
    with holding(prepared, write) as one, holding(prepared, write) as two:
        holders = {pid_of(one): one, pid_of(two): two}
        with at_work(prepared) as (conn, pid):
            running = Running(conn, CONCURRENTLY)
            with watching(prepared, pid, what="x", wait=60, report=lines.append):
                eventually(lambda: lines)
                ran(holders[holder_pid(lines[0])], "COMMIT")
                eventually(lambda: len(lines) == 2)
                ran(holders[holder_pid(lines[1])], "COMMIT")
                assert running.ended() is None
    assert set(holders) == {holder_pid(line) for line in lines}


def test_a_wait_that_is_too_long_ends_in_an_error_that_names_the_holder(prepared: Target) -> None:
    """The holder is left alone, and so is what it holds."""
    started = time.monotonic()
    with holding(prepared, READ) as holder, at_work(prepared) as (conn, pid):
        who = rf"server process {pid_of(holder)} .*: SELECT \? FROM t; wait for it"
        with (
            pytest.raises(LockTimeout, match=rf'^"0001_a" waited 1 s for a lock: {who}') as raised,
            watching(prepared, pid, what='"0001_a"', wait=1, report=print),
        ):
            ran(conn, ALTER)
        assert [("bob",)] == ran(holder, "SELECT 'bob'")
    assert 1 <= time.monotonic() - started < 5
    assert "57014" == getattr(raised.value.__cause__, "pgcode", None)


def test_create_index_concurrently_is_cancelled_as_well(prepared: Target) -> None:
    """And the seconds of several waits are added up."""
    lines: list[str] = []
    times: list[float] = []
    with at_work(prepared) as (conn, pid):

        def work() -> None:
            with holding(prepared, "INSERT INTO t VALUES (1)") as first:
                thread = release_when_told(lines, first)
                ran(conn, CONCURRENTLY)
                thread.join()
            with holding(prepared, "INSERT INTO t VALUES (1)"):
                times.append(time.monotonic())
                ran(conn, "REINDEX INDEX CONCURRENTLY t_id")

        with (
            pytest.raises(LockTimeout, match='"holder"'),
            watching(prepared, pid, what="x", wait=2.5, report=lines.append),
        ):
            work()
    assert time.monotonic() - times[0] < 2.4


def test_progress_is_shown_in_the_words_of_the_server(prepared: Target) -> None:
    """Blocks of the table here, transactions there; each state once."""
    seen: list[Progress] = []

    def take(found: Progress) -> None:
        if found.waits is None:
            seen.append(found)

    with at_work(prepared) as (conn, pid):
        ran(conn, SLOW)
        with watching(prepared, pid, what="x", wait=60, report=print, progress=take):
            ran(conn, "CREATE INDEX ON s (slow(id))")
            with holding(prepared, "INSERT INTO t VALUES (1)") as holder:
                running = Running(conn, CONCURRENTLY)
                eventually(lambda: seen[-1].unit == "transactions")
                ran(holder, "COMMIT")
                assert running.ended() is None
    scans = [p for p in seen if p.phase == "building index: scanning table" and p.done]
    assert len(scans) >= 2
    assert {(150, "blocks")} == {(p.total, p.unit) for p in scans}
    assert [p.done for p in scans] == sorted({p.done for p in scans})
    waits = [p for p in seen if p.unit == "transactions"]
    assert "waiting for writers before build" == waits[0].phase
    assert (0, 1) == (waits[0].done, waits[0].total)
    assert len(seen) == len(set(pairwise(seen))) + 1


@pytest.mark.parametrize("command", ["VACUUM FULL s", "VACUUM s", "ANALYZE s"])
def test_the_progress_of_other_commands_can_be_asked_for(prepared: Target, command: str) -> None:
    """They are too quick to be seen for certain; the question is valid on every version."""
    lines: list[str] = []
    with at_work(prepared) as (conn, pid):
        ran(conn, SLOW)
        with watching(prepared, pid, what="x", wait=60, report=lines.append):
            ran(conn, command)
            ran(conn, "SELECT pg_sleep(0.6)")
    assert [] == lines


def test_an_error_of_the_block_passes_as_it_is(prepared: Target) -> None:
    """A statement that is cancelled by somebody else has not waited too long."""
    with at_work(prepared) as (conn, pid):
        ran(conn, "SET statement_timeout = 600")
        with (
            pytest.raises(psycopg2.errors.QueryCanceled),
            watching(prepared, pid, what="x", wait=0, report=print),
        ):
            ran(conn, "SELECT pg_sleep(30)")


def test_the_second_session_ends_with_the_block(prepared: Target) -> None:
    """At once."""
    with at_work(prepared) as (conn, pid):
        with watching(prepared, pid, what="x", wait=60, report=print):
            eventually(lambda: ran(conn, WATCHERS))
            ended = time.monotonic()
        assert time.monotonic() - ended < 1
        eventually(lambda: not ran(conn, WATCHERS), seconds=1)


def test_without_a_second_connection_the_work_goes_on(prepared: Target, server: Server) -> None:
    """One line says what is lacking."""
    lines: list[str] = []
    with server.role() as role:
        server.admin(sql.SQL("ALTER ROLE {} CONNECTION LIMIT 1").format(sql.Identifier(role)))
        plain = resolve(server.url_as(role, prepared.dbname))
        with (
            at_work(plain) as (conn, pid),
            watching(plain, pid, what="x", wait=60, report=lines.append),
        ):
            eventually(lambda: lines)
            assert [(1,)] == ran(conn, "SELECT 1")
            ran(conn, "SELECT pg_sleep(2.5)")
    (line,) = lines
    assert line.startswith("progress and waits are not shown, --wait bounds each by itself: ")
    assert "no free connection" in line


def test_a_second_session_that_is_lost_is_replaced(prepared: Target) -> None:
    """One line says so, and a wait that is too long still ends."""
    lines: list[str] = []

    def work() -> None:
        for (watcher,) in eventually(lambda: rows(prepared, WATCHERS)):
            rows(prepared, "SELECT pg_terminate_backend(%s)", watcher)
        ran(conn, ALTER)

    with (
        holding(prepared, READ),
        at_work(prepared) as (conn, pid),
        pytest.raises(LockTimeout),
        watching(prepared, pid, what="x", wait=1.5, report=lines.append),
    ):
        work()
    assert 1 == len([line for line in lines if line.startswith("progress and waits are not")])


def test_a_report_that_fails_ends_nothing(prepared: Target) -> None:
    """The terminal may be gone."""

    def report(line: str) -> None:
        raise BrokenPipeError(line)

    with (
        holding(prepared, READ),
        at_work(prepared) as (conn, pid),
        pytest.raises(LockTimeout),
        watching(prepared, pid, what="x", wait=2, report=report),
    ):
        ran(conn, ALTER)


@pytest.fixture
def sigint() -> Iterator[None]:
    """Python's own handler: what a shell started in the background ignores the signal."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


def test_ctrl_c_ends_the_statement_and_the_second_session(prepared: Target, sigint: None) -> None:
    """As it does without one."""
    # One in a transaction would see the sessions of its first look.
    with (
        holding(prepared, READ),
        session(prepared) as looker,
        at_work(prepared) as (conn, pid),
    ):

        def interrupt() -> None:
            eventually(lambda: is_waiting(looker, pid))
            os.kill(os.getpid(), signal.SIGINT)

        def work() -> None:
            thread.start()
            with suppress(psycopg2.errors.QueryCanceled):
                ran(conn, ALTER)
            eventually(lambda: False)

        thread = threading.Thread(target=interrupt)
        started = time.monotonic()
        with (
            pytest.raises(KeyboardInterrupt),
            cancelling(conn),
            watching(prepared, pid, what="x", wait=60, report=print),
        ):
            work()
        thread.join()
        assert time.monotonic() - started < 10
        eventually(lambda: not ran(looker, WATCHERS), seconds=2)


def test_who_is_in_the_way_is_progress_too(prepared: Target) -> None:
    """As long as it is so."""
    seen: list[Progress] = []
    with holding(prepared, READ) as holder, at_work(prepared) as (conn, pid):
        running = Running(conn, ALTER)
        with watching(prepared, pid, what="x", wait=60, report=print, progress=seen.append):
            eventually(lambda: seen)
            ran(holder, "COMMIT")
            assert running.ended() is None
            eventually(lambda: len(seen) == 2)
        holder_process = pid_of(holder)
    assert [holder_process] == [blocker.pid for blocker in seen[0].waits or ()]
    assert () == seen[1].waits


def test_a_session_in_the_way_for_long_is_told_again(
    prepared: Target, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every so many seconds, though it is the same one."""
    monkeypatch.setattr("foundry.migrate.watching._AGAIN", 0.5)
    lines: list[str] = []
    with holding(prepared, READ) as holder, at_work(prepared) as (conn, pid):
        running = Running(conn, ALTER)
        with watching(prepared, pid, what="x", wait=60, report=lines.append):
            eventually(lambda: len(lines) >= 3)
            ran(holder, "COMMIT")
            assert running.ended() is None


def test_seconds_that_nobody_saw_are_not_counted(prepared: Target) -> None:
    """Between two looks the statement may have been at work."""
    with holding(prepared, READ), at_work(prepared) as (conn, pid), session(prepared) as looker:
        running = Running(conn, ALTER)
        eventually(lambda: is_waiting(looker, pid))
        watched = _Watched(pid=pid, what="x", wait=2, report=print, progress=lambda seen: None)
        with looker.cursor() as cursor:
            for _ in range(3):
                watched._seen -= 60
                watched.poll(cursor)
        assert () == watched.cancelled
        assert is_waiting(looker, pid)
        ran(looker, "SELECT pg_cancel_backend(%s)", pid)
        running.ended()


def test_a_statement_that_has_its_lock_by_now_is_not_cancelled(prepared: Target) -> None:
    """Although it was waiting when it was looked at."""
    with at_work(prepared) as (conn, pid), session(prepared) as looker:
        running = Running(conn, "SELECT pg_sleep(1)")
        watched = _Watched(pid=pid, what="x", wait=0, report=print, progress=lambda seen: None)
        blocker = Blocker(pid=1, application="a", user="u")
        with looker.cursor() as cursor:
            watched._cancel(cursor, (blocker,))
        assert running.ended() is None
        assert () == watched.cancelled


def test_without_a_second_session_the_servers_own_limit_ends_a_wait(
    prepared: Target, server: Server
) -> None:
    """As the run's session has it."""
    with server.role() as role:
        server.admin(sql.SQL("ALTER ROLE {} CONNECTION LIMIT 1").format(sql.Identifier(role)))
        plain = resolve(server.url_as(role, prepared.dbname))
        with (
            holding(prepared, "SELECT pg_advisory_xact_lock(1)"),
            at_work(plain) as (conn, pid),
            pytest.raises(LockTimeout, match=r"^x waited 1 s for a lock; wait"),
            watching(plain, pid, what="x", wait=1, report=print),
        ):
            ran(conn, "SET lock_timeout = 1000; SELECT pg_advisory_xact_lock(1)")


FORKED = """
import os, sys, time
import psycopg2
from foundry.database import resolve
from foundry.migrate.watching import watching
target = resolve(sys.argv[1])
conn = psycopg2.connect(**target.params)
watchers = "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'foundry watch'"
watchers += " AND datname = current_database()"
cursor = conn.cursor()
conn.autocommit = True
def there():
    cursor.execute(watchers)
    return cursor.fetchone()[0]
with watching(target, conn.info.backend_pid, what="x", wait=60, report=print):
    while not there():
        time.sleep(0.02)
    child = os.fork()
    if not child:
        sys.exit(7)
    started = time.monotonic()
    _, status = os.waitpid(child, 0)
    print(os.waitstatus_to_exitcode(status), time.monotonic() - started < 3, there())
"""


def test_a_forked_child_leaves_the_block_and_the_session_stays(prepared: Target) -> None:
    """The thread is the parent's."""
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", FORKED, url_of(prepared)],
        capture_output=True,
        text=True,
        cwd=Path(__file__).parents[2],
        timeout=60,
        check=False,
    )
    assert ("7 True 1", "") == (done.stdout.strip(), done.stderr)
