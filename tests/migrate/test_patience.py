"""A step that needs a strong lock keeps trying, and nobody waits behind it for long."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from peewee import IntegrityError, OperationalError, PostgresqlDatabase
from psycopg2 import sql
from support.migrations import rows
from support.server import Server
from support.sessions import Running, eventually, holding, is_waiting, pid_of, ran, session

from foundry.database import Target, resolve
from foundry.errors import LockTimeout
from foundry.migrate.limits import settled
from foundry.migrate.patience import retried

READ = "SELECT * FROM t WHERE id = 42"
WATCHERS = "SELECT pid FROM pg_stat_activity WHERE application_name = 'foundry watch'"
WATCHERS += " AND datname = current_database()"


@pytest.fixture
def prepared(empty: Target) -> Target:
    """A database with tables."""
    with session(empty) as conn:
        ran(conn, "CREATE TABLE t (id int); CREATE TABLE done (step int PRIMARY KEY)")
    return empty


@contextmanager
def opened(target: Target) -> Iterator[PostgresqlDatabase]:
    """The runner's kind of database."""
    params: dict[str, Any] = {k: v for k, v in target.params.items() if k != "dbname"}
    database = PostgresqlDatabase(target.dbname, **params)
    with database.connection_context():
        yield database


class Step:
    """A step with its row in a journal, which counts how often it was tried."""

    def __init__(self, database: PostgresqlDatabase, statement: str) -> None:
        self.tries = 0
        self._database = database
        self._statement = statement

    def __call__(self) -> str:
        self.tries += 1
        self._database.execute_sql("INSERT INTO done VALUES (1)")
        self._database.execute_sql(self._statement)
        return "made"


def alter(database: PostgresqlDatabase) -> Step:
    return Step(database, "ALTER TABLE t ADD COLUMN n int")


def test_a_step_that_is_free_is_done_at_once(prepared: Target) -> None:
    """Without a second session; its result is handed on and the time-out does not stay."""
    lines: list[str] = []
    with opened(prepared) as database:
        step = Step(
            database, "SELECT set_config('foundry.seen', current_setting('lock_timeout'), false)"
        )
        made = retried(
            step, database=database, target=prepared, what="x", wait=5, report=lines.append
        )
        shown = "SELECT current_setting('foundry.seen'), current_setting('lock_timeout')"
        assert ("100ms", "0") == database.execute_sql(shown).fetchone()
        assert [] == rows(prepared, WATCHERS)
    assert ("made", 1, []) == (made, step.tries, lines)


def test_a_step_behind_a_reader_waits_and_others_do_not(prepared: Target) -> None:
    """Each try keeps those who come after it waiting for the time-out and no longer."""
    lines: list[str] = []
    longest, over = [0.0], threading.Event()

    def read() -> None:
        with session(prepared) as conn:
            while not over.is_set():
                started = time.monotonic()
                ran(conn, "SELECT FROM t")
                longest[0] = max(longest[0], time.monotonic() - started)

    with holding(prepared, READ) as holder, opened(prepared) as database:
        step = alter(database)
        reader, freed = threading.Thread(target=read), threading.Timer(4, ran, (holder, "COMMIT"))
        reader.start()
        freed.start()
        try:
            retried(
                step,
                database=database,
                target=prepared,
                what='"0001_a"',
                wait=30,
                report=lines.append,
            )
        finally:
            over.set()
            reader.join()
            freed.join()
        pid = pid_of(holder)
    assert step.tries > 3
    assert 0.08 < longest[0] < 1
    assert [(1,)] == rows(prepared, "SELECT step FROM done")
    assert lines[0].startswith(f'"0001_a" waits for server process {pid} ("holder" as ')
    assert lines[0].endswith(" s: SELECT * FROM t WHERE id = ?")
    assert 1 == len(lines)


@pytest.mark.parametrize("wait", [0.0, 1.0])
def test_after_wait_an_error_names_who_is_in_the_way(prepared: Target, wait: float) -> None:
    """Without any patience too; nothing of the tries is left."""
    with (
        holding(prepared, READ) as holder,
        session(prepared) as looker,
        opened(prepared) as database,
    ):
        step, started = alter(database), time.monotonic()
        who = rf"server process {pid_of(holder)} \(\"holder\" as .*WHERE id = \?; wait for it"
        with pytest.raises(LockTimeout, match=rf"^\"0001_a\" waited {wait:g} s for a lock: {who}"):
            retried(
                step, database=database, target=prepared, what='"0001_a"', wait=wait, report=print
            )
        assert wait <= time.monotonic() - started < wait + 2
        assert ("0",) == database.execute_sql("SHOW lock_timeout").fetchone()
        assert not database.in_transaction()
        assert [] == ran(holder, "SELECT step FROM done")
        eventually(lambda: not ran(looker, WATCHERS), seconds=2)
    assert step.tries >= 2


def test_who_is_in_the_way_is_repeated_every_few_seconds(prepared: Target) -> None:
    """Not with every try."""
    lines: list[str] = []
    with holding(prepared, READ), opened(prepared) as database, pytest.raises(LockTimeout):
        retried(
            alter(database),
            database=database,
            target=prepared,
            what="x",
            wait=8,
            report=lines.append,
        )
    assert 2 == len(lines)


def test_another_error_passes_at_once(prepared: Target) -> None:
    """Trying again would not help."""
    with opened(prepared) as database:
        step = Step(database, "INSERT INTO done VALUES (1)")
        with pytest.raises(IntegrityError):
            retried(step, database=database, target=prepared, what="x", wait=9, report=print)
    assert 1 == step.tries


def test_the_victim_of_a_deadlock_tries_again(prepared: Target) -> None:
    """The other one has its locks by then."""
    with (
        holding(prepared, "SET LOCAL deadlock_timeout = '60s'", "LOCK TABLE t") as other,
        session(prepared) as looker,
        opened(prepared) as database,
    ):
        began: list[Running] = []

        def step() -> None:
            database.execute_sql("LOCK TABLE done")
            if not began:
                began.append(Running(other, "LOCK TABLE done; COMMIT"))
                eventually(lambda: is_waiting(looker, pid_of(other)))
            database.execute_sql("ALTER TABLE t ADD COLUMN n int")

        retried(
            step,
            database=database,
            target=prepared,
            what="x",
            wait=20,
            report=print,
            lock_timeout=10,
        )
        assert began[0].ended() is None
        assert [(2,)] == ran(
            looker,
            "SELECT attnum FROM pg_attribute WHERE attname = 'n' AND attrelid = 't'::regclass",
        )


def test_a_serialization_failure_is_tried_again(prepared: Target) -> None:
    """Where the database asks for that isolation."""
    with opened(prepared) as database:
        database.execute_sql("SET default_transaction_isolation = 'repeatable read'")
        database.execute_sql("INSERT INTO t VALUES (1)")
        seen = []

        def step() -> None:
            seen.append(database.execute_sql("SELECT id FROM t").fetchone()[0])
            if len(seen) == 1:
                with session(prepared) as other:
                    ran(other, "UPDATE t SET id = 10")
            database.execute_sql("UPDATE t SET id = id + 1")

        retried(step, database=database, target=prepared, what="x", wait=20, report=print)
    assert [1, 10] == seen
    assert [(11,)] == rows(prepared, "SELECT id FROM t")


def test_what_committed_something_by_itself_is_not_repeated(prepared: Target) -> None:
    """It would happen twice."""
    with holding(prepared, READ), opened(prepared) as database:
        step = Step(database, "COMMIT; BEGIN; SET LOCAL lock_timeout = 100; DROP TABLE t")
        with pytest.raises(OperationalError, match="lock timeout"):
            retried(step, database=database, target=prepared, what="x", wait=9, report=print)
    assert 1 == step.tries


def test_a_transaction_that_is_open_already_is_refused(prepared: Target) -> None:
    """Its locks would be kept through every pause."""
    with (
        opened(prepared) as database,
        database.atomic(),
        pytest.raises(ValueError, match="not in a transaction"),
    ):
        retried(lambda: None, database=database, target=prepared, what="x", wait=9, report=print)


def test_without_a_second_connection_it_is_tried_all_the_same(
    prepared: Target, server: Server
) -> None:
    """Who is in the way stays untold."""
    lines: list[str] = []
    with server.role() as role:
        name = sql.Identifier(role)
        server.admin(sql.SQL("ALTER ROLE {} CONNECTION LIMIT 1").format(name))
        with session(prepared) as conn:
            ran(conn, f'GRANT ALL ON t, done TO "{role}"')
        try:
            plain = resolve(server.url_as(role, prepared.dbname))
            with holding(prepared, READ), opened(plain) as database:
                step = Step(database, "LOCK TABLE t")
                with pytest.raises(LockTimeout, match="waited 1 s for a lock; wait"):
                    retried(
                        step, database=database, target=plain, what="x", wait=1, report=lines.append
                    )
        finally:
            with session(prepared) as conn:
                ran(conn, f'REVOKE ALL ON t, done FROM "{role}"')
    assert step.tries > 2
    assert ["who is in the way is not shown", "x waits for a lock"] == [
        line.partition(":")[0] for line in lines
    ]


def test_only_waiting_counts_not_the_work_before(prepared: Target) -> None:
    """What works long before it meets a lock has as many tries as any."""
    with holding(prepared, READ), opened(prepared) as database:
        step = Step(database, "SELECT pg_sleep(0.6); ALTER TABLE t ADD COLUMN n int")
        started = time.monotonic()
        with pytest.raises(LockTimeout, match="waited 1 s"):
            retried(step, database=database, target=prepared, what="x", wait=1, report=print)
    assert step.tries > 3
    assert time.monotonic() - started > 1 + 0.6 * step.tries


def test_rows_that_are_held_in_turns_are_had_in_the_end(prepared: Target) -> None:
    """What only changes rows is given more time with each try; of tables it never is."""
    seen: list[str] = []
    with holding(prepared, "INSERT INTO done VALUES (1)") as other, opened(prepared) as database:
        released = threading.Timer(3, ran, (other, "COMMIT"))
        released.start()

        def step() -> None:
            settled(database, rows=False)
            seen.append(database.execute_sql("SHOW lock_timeout").fetchone()[0])
            settled(database, rows=True)
            seen.append(database.execute_sql("SHOW lock_timeout").fetchone()[0])
            database.execute_sql("INSERT INTO done VALUES (1) ON CONFLICT DO NOTHING")

        retried(step, database=database, target=prepared, what="x", wait=60, report=print)
        released.join()
    assert {"100ms"} == set(seen[::2])
    assert ["100ms", "200ms", "400ms", "800ms"] == seen[1:8:2]


def test_with_a_table_locked_rows_are_not_waited_for_longer(prepared: Target) -> None:
    """Everybody would stand behind it."""
    with opened(prepared) as database:

        def step() -> str:
            database.execute_sql("SELECT set_config('foundry.row_timeout', '9000', true)")
            settled(database, rows=True)
            before = database.execute_sql("SHOW lock_timeout").fetchone()[0]
            database.execute_sql("ALTER TABLE t ADD COLUMN n int")
            settled(database, rows=True)
            return f"{before} {database.execute_sql('SHOW lock_timeout').fetchone()[0]}"

        assert "9s 100ms" == retried(
            step, database=database, target=prepared, what="x", wait=5, report=print
        )
