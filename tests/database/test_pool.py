"""The pool: what is handed out, what comes back, and what happens when it does not."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack
from typing import Any

import psycopg2
import pytest

import foundry.pool
from foundry.database import Database, resolve
from foundry.errors import PoolExhausted

Open = Callable[..., Database]


@pytest.fixture
def pool(server: Any) -> Iterator[Open]:
    """Makes pools that are closed after the test."""
    made: list[Database] = []

    def make(**settings: Any) -> Database:
        made.append(Database(resolve(server.url()), **settings))
        return made[-1]

    yield make
    for db in made:
        db.close_all()


def backend(db: Database) -> int:
    return int(db.connection().info.backend_pid)


def test_the_seeds_settings_are_the_defaults(pool: Open) -> None:
    """20 and 10 more, half a minute's wait, an hour's life."""
    db = pool()
    settings = (db.pool_size, db.max_overflow, db.pool_timeout, db.pool_recycle)
    assert (20, 10, 30, 3600) == settings


def test_a_returned_connection_is_used_again(pool: Open) -> None:
    """The last one returned is the next one out."""
    db = pool()
    pids = []
    for _ in range(3):
        with db.connection_context():
            pids.append(backend(db))
    assert 1 == len(set(pids))


def test_the_most_recently_returned_is_taken_first(pool: Open) -> None:
    """Of several idle connections the warm one goes out."""
    db = pool()
    with ThreadPoolExecutor(1) as other:
        db.connect()
        other.submit(db.connect).result()
        first, second = backend(db), other.submit(backend, db).result()
        db.close()
        other.submit(db.close).result()
    with db.connection_context():
        assert second == backend(db) != first


def test_a_killed_backend_goes_unnoticed(pool: Open, server: Any) -> None:
    """A session that was ended between two uses is replaced before the user sees it."""
    db = pool()
    for _ in range(3):
        with db.connection_context():
            killed = backend(db)
        server.admin(f"SELECT pg_terminate_backend({killed}, 10000)")
        with db.connection_context():
            assert (1,) == db.execute_sql("SELECT 1").fetchone()
            assert killed != backend(db)


def test_a_connection_that_only_got_a_message_is_kept(pool: Open, server: Any) -> None:
    """A notification makes the idle socket readable and is no reason to drop the session."""
    db = pool()
    with db.connection_context():
        db.execute_sql("LISTEN here")
        pid = backend(db)
    server.admin("NOTIFY here, 'x'")
    with db.connection_context():
        assert pid == backend(db)


def test_a_long_idle_connection_is_asked(pool: Open, monkeypatch: pytest.MonkeyPatch) -> None:
    """After the trusted time a round trip is made, otherwise none."""
    db = pool()
    asked = "SELECT query FROM pg_stat_activity WHERE pid = {}"
    with db.connection_context():
        pid = backend(db)
        db.execute_sql("SELECT 'before'")
    watcher = pool()
    with db.connection_context():
        assert ("SELECT 'before'",) == watcher.execute_sql(asked.format(pid)).fetchone()
    monkeypatch.setattr("foundry.pool._TRUSTED_IDLE", -1.0)
    with db.connection_context():
        assert pid == backend(db)
        assert ("SELECT 1",) == watcher.execute_sql(asked.format(pid)).fetchone()


def test_an_open_transaction_is_rolled_back_on_return(pool: Open) -> None:
    """What a thread left open, failed or not, does not reach the next user."""
    db = pool()
    for broken in (False, True):
        with db.connection_context():
            pid = backend(db)
            db.execute_sql("BEGIN")
            db.execute_sql("CREATE TABLE left_open (id int)")
            if broken:
                with pytest.raises(Exception, match="division by zero"):
                    db.execute_sql("SELECT 1/0")
        with db.connection_context():
            assert pid == backend(db)
            assert (None,) == db.execute_sql("SELECT to_regclass('left_open')").fetchone()


def test_autocommit_and_utc_are_put_back(pool: Open) -> None:
    """Whatever one user sets, the next one finds what Peewee and foundry rely on."""
    db = pool()
    with db.connection_context():
        db.execute_sql("SET TIME ZONE 'Europe/Berlin'")
        db.connection().autocommit = False
    with db.connection_context():
        assert db.connection().autocommit
        assert ("UTC",) == db.execute_sql("SHOW TimeZone").fetchone()


def test_a_connection_closed_by_its_user_is_not_handed_out(pool: Open) -> None:
    """close() on the driver's connection costs nobody else anything."""
    db = pool()
    with db.connection_context():
        db.connection().close()
    with db.connection_context():
        assert (1,) == db.execute_sql("SELECT 1").fetchone()


def test_an_old_connection_is_recycled_but_not_while_in_use(pool: Open) -> None:
    """Age counts from birth; a connection in use keeps working past it."""
    db = pool(pool_recycle=0.05)
    with db.connection_context():
        old = backend(db)
        deadline = time.monotonic() + 0.06
        while time.monotonic() < deadline:
            assert (1,) == db.execute_sql("SELECT 1").fetchone()
    with db.connection_context():
        assert old != backend(db)


def test_overflow_is_closed_on_return(pool: Open) -> None:
    """Three may be out, two stay."""
    db = pool(pool_size=2, max_overflow=1)
    barrier = threading.Barrier(3)

    def use() -> None:
        with db.connection_context():
            barrier.wait(10)

    run_all([use] * 3)
    assert 2 == len(db._connections)
    assert not db._in_use


def run_all(functions: list[Callable[[], None]]) -> None:
    with ThreadPoolExecutor(len(functions)) as executor:
        for future in [executor.submit(function) for function in functions]:
            future.result(60)


def test_one_too_many_waits_and_is_told_the_numbers(pool: Open) -> None:
    """After pool_timeout the line says how many there are and what to do."""
    db = pool(pool_size=1, max_overflow=1, pool_timeout=0.05)
    with ThreadPoolExecutor(1) as other, db.connection_context():
        other.submit(db.connect).result()
        with ThreadPoolExecutor(1) as third, pytest.raises(PoolExhausted) as caught:
            third.submit(db.connect).result()
        other.submit(db.close).result()
        with ThreadPoolExecutor(1) as third:
            assert third.submit(db.connect).result()
            third.submit(db.close).result()
    assert "all 2 connections are in use (pool_size 1 + max_overflow 1)" in str(caught.value)
    assert "within 0.05 seconds" in str(caught.value)


def test_who_waits_gets_the_connection_before_who_comes_later(pool: Open) -> None:
    """A thread that returns and retakes at once does not starve the waiting one."""
    db = pool(pool_size=1, max_overflow=0, pool_timeout=20)
    stop, served = threading.Event(), []

    def hog() -> None:
        while not stop.is_set():
            with db.connection_context():
                db.execute_sql("SELECT 1")

    def polite() -> None:
        try:
            for _ in range(20):
                with db.connection_context():
                    served.append(1)
        finally:
            stop.set()

    run_all([hog, hog, polite])
    assert 20 == len(served)


def test_many_threads_share_few_connections(pool: Open) -> None:
    """No connection is ever used by two threads, none is lost, the limit holds."""
    db = pool(pool_size=3, max_overflow=2, pool_timeout=30)
    lock, out, most = threading.Lock(), set(), []

    def work() -> None:
        for turn in range(40):
            with db.connection_context():
                pid = backend(db)
                with lock:
                    assert pid not in out
                    out.add(pid)
                    most.append(len(out))
                assert (turn,) == db.execute_sql("SELECT %s", (turn,)).fetchone()
                with lock:
                    out.remove(pid)
                if turn % 17 == 3:
                    db.connection().close()

    run_all([work] * 16)
    assert 5 >= max(most) > 1
    assert not db._in_use
    assert 0 == db._opening == len(db._pool_available)
    assert 3 >= len(db._connections)


def test_a_failed_connect_gives_its_place_back(server: Any) -> None:
    """Errors while opening do not use the pool up."""
    db = Database(resolve(server.url("absent")), pool_size=1, max_overflow=0, pool_timeout=0)
    for _ in range(3):
        with pytest.raises(Exception, match="does not exist"):
            db.connect()
    assert db.is_closed()


def test_peewees_own_calls_still_work(pool: Open) -> None:
    """manual_close, close_idle, close_stale and reuse_if_open do what Peewee says."""
    db = pool(pool_size=2)
    assert db.connect()
    assert not db.connect(reuse_if_open=True)
    with pytest.raises(Exception, match="already opened"):
        db.connect()
    db.manual_close()
    assert (0, 0) == (len(db._connections), len(db._in_use))
    with db.connection_context():
        pass
    db.close_idle()
    assert not db._connections
    db.connect()
    assert 1 == db.close_stale(age=-1)
    db.close()
    assert not db._in_use


def test_a_waiting_thread_is_served_when_all_are_closed(pool: Open) -> None:
    """close_all() by one thread frees the places that another waits for."""
    db = pool(pool_size=1, max_overflow=0, pool_timeout=20)
    db.connect()
    with ThreadPoolExecutor(1) as other:
        waiting = other.submit(db.connect)
        deadline = time.monotonic() + 10
        while not len(db._pool_available):
            assert time.monotonic() < deadline
        db.close_all()
        assert waiting.result(10)
        other.submit(db.close).result()


def test_who_waits_is_served_when_a_dead_connection_is_found(
    pool: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The place of a connection that is dropped is the next one's in line."""
    db = pool(pool_size=1, max_overflow=0, pool_timeout=3)
    with db.connection_context():
        pass
    with ThreadPoolExecutor(1) as other:
        waiting: list[Future[int]] = []

        def dead(*_: object) -> bool:
            monkeypatch.undo()
            waiting.append(other.submit(backend_of_its_own, db))
            while not len(db._pool_available):
                pass
            return False

        monkeypatch.setattr(foundry.pool, "_is_alive", dead)
        with db.connection_context():
            assert waiting[0].result(10) == backend(db)


def backend_of_its_own(db: Database) -> int:
    with db.connection_context():
        return backend(db)


@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
def test_a_forked_child_may_leave_the_blocks_it_is_in(pool: Open) -> None:
    """They end as they do in the parent, without a connection to give back."""
    db = pool()
    with ExitStack() as blocks:
        blocks.enter_context(db.connection_context())
        mine = backend(db)
        child = os.fork()
        if child == 0:
            status = 1
            try:
                blocks.close()
                status = 0 if db.is_closed() else 2
            finally:
                os._exit(status)
        assert 0 == os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        assert mine == backend(db)


@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
def test_a_forked_child_leaves_the_parents_sessions_alone(pool: Open) -> None:
    """The child opens its own sessions; the parent's idle and open ones work after it ended."""
    db = pool()
    db.connect()
    with ThreadPoolExecutor(1) as other:
        other.submit(db.connect).result()
        idle = other.submit(backend, db).result()
        other.submit(db.close).result()
    mine, inherited = backend(db), db.connection()
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        status = 1
        try:
            own = backend(db)
            try:
                inherited.cursor().execute("SELECT 1")
            except psycopg2.Error:
                status = 0
            db.close_all()
            os.write(writer, str(own).encode())
        finally:
            os._exit(status)
    assert 0 == os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    assert int(os.read(reader, 20)) not in {mine, idle}
    os.close(reader)
    os.close(writer)
    assert mine == backend(db)
    assert (1,) == db.execute_sql("SELECT 1").fetchone()
    db.close()
    with db.connection_context():
        assert (1,) == db.execute_sql("SELECT 1").fetchone()


@pytest.mark.parametrize(("size", "overflow"), [(0, 0), (-1, 5), (5, -1)])
def test_a_pool_for_nobody_is_refused(pool: Open, size: int, overflow: int) -> None:
    """Settings that allow no connection are a ValueError at once."""
    with pytest.raises(ValueError, match="at least one"):
        pool(pool_size=size, max_overflow=overflow)
