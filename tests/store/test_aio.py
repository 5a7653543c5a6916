"""What only asyncio has: tasks that share a pool, are cancelled and wait for each other."""

from __future__ import annotations

import asyncio
import gc
import os
import random
import signal
import socket
import subprocess
import sys
import traceback
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, suppress
from pathlib import Path
from typing import Any
from uuid import UUID

import peewee
import pytest
from support.bouncer import PROGRAM, bouncing
from support.server import Server

from foundry.database import Database, Target, proxy, resolve
from foundry.errors import (
    ConnectionFailed,
    DatabaseMissing,
    FoundryError,
    InvalidValue,
    MissingRow,
    PoolExhausted,
    StoreError,
)
from foundry.schema import Message, User
from foundry.store import aio, searching
from foundry.store.aio import DB, conversations, protocols, transport
from foundry.store.aio.reaching import arguments
from foundry.store.filters import Where

Test = Callable[[aio.Database, UUID], Awaitable[None]]
NOBODY = UUID(int=0)
EMBEDDING = [0.5] * 384


@pytest.fixture
def url(server: Server, shared: Database) -> str:
    """The database that the tests of the store share."""
    return server.url(shared.target.dbname)


async def busy(db: aio.Database) -> list[str]:
    """What the sessions of this pool are doing, as another session sees it."""
    async with DB(db.target_url) as other:  # type: ignore[attr-defined]
        rows = await other.fetch(
            "SELECT state, query FROM pg_stat_activity WHERE application_name = $1"
            " AND pid <> pg_backend_pid() AND state <> 'idle'",
            db.target.params["application_name"],
        )
    return [f"{row['state']}: {row['query']}" for row in rows]


def run(url: str, test: Test, **options: Any) -> None:
    """A test in a loop of its own; at its end the pool is whole, and nothing goes on."""

    async def body() -> None:
        name = f"foundry-aio-{random.getrandbits(40):x}"
        named = f"{url}{'&' if '?' in url else '?'}application_name={name}"
        db = await aio.connect(named, bind=False, **options)
        db.target_url = named
        try:
            user = await DB(db).fetchval("INSERT INTO users (name) VALUES ('Ada') RETURNING id")
            await test(db, await conversations.start(db, user))
            if not db.is_closed():
                await db.aclose()
            await whole(db)
            assert [] == await busy(db)
        finally:
            await db.close_pool()

    asyncio.run(asyncio.wait_for(body(), 20))


async def whole(db: aio.Database) -> None:
    """Wait until every connection is back; they are soon, or never."""
    assert db.pool is not None
    async with asyncio_timeout(10):
        while db.pool.taken:
            await asyncio.sleep(0.005)
    assert db.pool.idle <= db.pool.size


class asyncio_timeout:
    """asyncio.timeout, which Python 3.10 has not."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds

    async def __aenter__(self) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._timer = asyncio.get_running_loop().call_later(self._seconds, task.cancel)

    async def __aexit__(self, *failure: object) -> None:
        self._timer.cancel()


@pytest.mark.usefixtures("vectors_there")
@pytest.mark.parametrize(
    ("url", "hosts", "ports"),
    [
        ("postgresql://u@a,b/x?port=5433&sslmode=require", ["a", "b"], [5433, 5433]),
        ("postgresql://u@a:1,b:2/x?sslmode=require", ["a", "b"], [1, 2]),
        ("postgresql://u@a/x?hostaddr=10.0.0.1&sslmode=require", ["10.0.0.1"], None),
        ("postgresql://u@a/x?hostaddr=10.0.0.1&sslmode=verify-full", ["a"], None),
    ],
)
def test_hosts_and_ports_are_those_of_the_url(
    url: str, hosts: list[str], ports: list[int] | None
) -> None:
    """One port is that of every host; a certificate is compared with the name of one."""
    found = arguments(resolve(url))
    assert (hosts, ports) == (found["host"], found.get("port"))


def test_200_tasks_share_a_pool_of_20(url: str) -> None:
    """Each has its results, no connection is left in use, and no session does anything."""

    async def converse(db: aio.Database, user: UUID, number: int) -> None:
        session = await conversations.start(db, user)
        for turn in range(3):
            await conversations.append(db, session, "user", f"{number}/{turn}", embedding=EMBEDDING)
            async with db.atomic():
                await conversations.append(db, session, "assistant", "a")
                await conversations.append_many(db, session, [("tool", "t")] * 3)
        with suppress(ZeroDivisionError):
            async with db.atomic():
                await conversations.append(db, session, "user", "undone")
                raise ZeroDivisionError
        with pytest.raises(MissingRow):
            await conversations.append(db, NOBODY, "user", "x")
        found = await conversations.page(db, session, embeddings=True)
        said = [one.content for one in found if one.role == "user"]
        assert [f"{number}/{turn}" for turn in range(3)] == said
        assert (15, 3, 3, 0, 9) == await conversations.counts(db, session)
        assert db.is_closed()

    async def test(db: aio.Database, session: UUID) -> None:
        user = await DB(db).fetchval("SELECT user_id FROM sessions WHERE id = $1", session)
        most = 0

        async def watch() -> None:
            nonlocal most
            while True:
                assert db.pool is not None
                most = max(most, db.pool.taken)
                await asyncio.sleep(0)

        watching = asyncio.create_task(watch())
        await asyncio.gather(*(converse(db, user, number) for number in range(200)))
        watching.cancel()
        assert 20 == most
        there = await DB(db).fetchval(
            "SELECT count(*) FROM pg_stat_activity WHERE application_name = $1",
            db.target.params["application_name"],
        )
        assert 20 >= there

    run(url, test)


@pytest.mark.parametrize(
    ("where", "said"),
    [
        ("127.0.0.1:{port}/x?", "no server answers on 127.0.0.1:{port}: start it"),
        ("/x?host=/nowhere", 'no server answers on socket "/nowhere/.s.PGSQL.5432": start it'),
        ("nowhere.invalid/x?sslmode=disable", "no such host: nowhere.invalid:5432; correct"),
        ("127.0.0.1:{mute}/x?connect_timeout=1", "127.0.0.1:{mute} did not answer in time: "),
    ],
    ids=["port", "socket", "host", "mute"],
)
def test_a_server_that_is_not_reached_is_named_with_the_remedy(where: str, said: str) -> None:
    """As it is by psycopg2; the password appears nowhere."""
    account = "me:s3cret"
    with socket.socket() as taken, socket.socket() as listening:
        taken.bind(("127.0.0.1", 0))
        listening.bind(("127.0.0.1", 0))
        listening.listen()
        at = {"port": taken.getsockname()[1], "mute": listening.getsockname()[1]}
        url = f"postgresql://{account}@{where.format(**at)}"
        with pytest.raises(ConnectionFailed) as caught:
            asyncio.run(aio.connect(url, bind=False))
    assert str(caught.value).startswith(said.format(**at))
    assert "s3cret" not in "".join(traceback.format_exception(caught.value))


@pytest.mark.parametrize(
    ("sql", "args", "said"),
    [
        ("SELECT $1::int", (), "arguments: the statement takes 1, got 0"),
        ("SELECT $1::int", (1, 2), "arguments: the statement takes 1, got 2"),
        (
            "SELECT to_tsquery($1)",
            ("canary &",),
            'the server refused it, SyntaxError: no operand in tsquery: "…"',
        ),
        (
            "SELECT plainto_tsquery($1)",
            (" ".join(f"canary{number}" for number in range(200_000)),),
            'the server refused it, ProgramLimitExceeded: value is too big in tsquery: "…"',
        ),
        (
            "SELEC 1",
            (),
            'the server refused it, SyntaxError: syntax error at or near "SELEC"',
        ),
    ],
    ids=["too few", "too many", "not a query", "too long a query", "a slip"],
)
def test_a_statement_of_ones_own_that_is_refused_says_why_without_its_values(
    url: str, sql: str, args: tuple[Any, ...], said: str
) -> None:
    """That it was given too few of them is no end of the connection."""

    async def test(db: aio.Database, session: UUID) -> None:
        with pytest.raises(FoundryError) as caught:
            await DB(db).fetch(sql, *args)
        assert said == str(caught.value)
        assert "canary1 " not in "".join(traceback.format_exception(caught.value))

    run(url, test)


def test_a_call_takes_a_connection_and_gives_it_back(url: str) -> None:
    """At once, also when it fails; a value that is refused takes none."""

    async def test(db: aio.Database, session: UUID) -> None:
        assert db.pool is not None
        await whole(db)
        await conversations.append(db, session, "user", "x")
        assert (True, 0, 1) == (db.is_closed(), db.pool.taken, db.pool.idle)
        with pytest.raises(MissingRow):
            await conversations.append(db, NOBODY, "user", "x")
        assert (True, 0, 1) == (db.is_closed(), db.pool.taken, db.pool.idle)
        async with db.atomic():
            refused = asyncio.create_task(conversations.append(db, session, "user", "a\0"))
            with pytest.raises(InvalidValue):
                await refused
        assert (0, 1) == (db.pool.taken, db.pool.idle)

    run(url, test, pool_size=1, pool_timeout=0.05)


def test_a_transaction_belongs_to_its_task(url: str) -> None:
    """Its calls are undone together; those of a task beside it are not."""

    async def test(db: aio.Database, session: UUID) -> None:
        with suppress(ZeroDivisionError):
            async with db.atomic():
                await conversations.append(db, session, "user", "inside")
                with suppress(InvalidValue):
                    async with db.atomic():
                        await conversations.append(db, session, "user", "savepoint")
                        raise InvalidValue("x")
                assert 1 == (await conversations.counts(db, session)).total
                beside = asyncio.create_task(conversations.append(db, session, "user", "beside"))
                await beside
                raise ZeroDivisionError
        assert ["beside"] == [one.content for one in await conversations.page(db, session)]
        assert db.is_closed()

    run(url, test)


def test_what_waits_for_the_commit_is_called_after_it(url: str) -> None:
    """Once, by the outermost block, and not when that is undone."""
    said: list[str] = []

    async def test(db: aio.Database, session: UUID) -> None:
        for fails in (False, True):
            with suppress(ZeroDivisionError):
                async with db.atomic():
                    async with db.atomic():
                        db.after_commit(lambda: said.append("done"))
                    assert not said or fails
                    if fails:
                        raise ZeroDivisionError
        assert ["done"] == said

    run(url, test)


def test_what_waits_for_a_commit_that_does_not_come_is_forgotten(url: str) -> None:
    """Also where the task keeps its connection, for the transactions that follow."""
    said: list[str] = []

    async def test(db: aio.Database, session: UUID) -> None:
        async with db:
            with suppress(ZeroDivisionError):
                async with db.atomic():
                    db.after_commit(lambda: said.append("undone"))
                    raise ZeroDivisionError
            async with db.atomic():
                await conversations.append(db, session, "user", "x")
        assert [] == said

    run(url, test)


def test_what_waits_for_a_commit_that_is_refused_is_forgotten(url: str) -> None:
    """As where the block fails."""
    said: list[str] = []

    async def refused(db: aio.Database) -> None:
        async with db.atomic():
            db.after_commit(lambda: said.append("undone"))
            await DB(db).execute("SET CONSTRAINTS ALL DEFERRED")
            await DB(db).executemany("INSERT INTO late VALUES ($1)", [(1,), (1,)])

    async def test(db: aio.Database, session: UUID) -> None:
        async with db:
            await DB(db).execute("CREATE TEMPORARY TABLE late (id int UNIQUE DEFERRABLE)")
            with pytest.raises(peewee.IntegrityError):
                await refused(db)
            async with db.atomic():
                await conversations.append(db, session, "user", "x")
        assert [] == said

    run(url, test)


def test_a_transaction_that_does_not_begin_gives_its_connection_back(url: str) -> None:
    """The task may go on for hours."""

    async def test(db: aio.Database, session: UUID) -> None:
        await db.aclose()
        with pytest.raises(ValueError, match="isolation"):
            await db.atomic(isolation="no such").__aenter__()
        assert db.is_closed()

    run(url, test)


def test_a_commit_that_is_refused_is_one_error(url: str) -> None:
    """A constraint that is checked at the end is one, and nothing stays open."""

    async def test(db: aio.Database, session: UUID) -> None:
        await DB(db).execute("CREATE TABLE late (id int UNIQUE DEFERRABLE INITIALLY DEFERRED)")
        try:
            with pytest.raises(StoreError) as refused:
                async with DB(db).transaction():
                    await DB(db).executemany("INSERT INTO late VALUES ($1)", [(1,), (1,)])
            assert "23505" == refused.value.sqlstate
            assert db.is_closed()
        finally:
            await DB(db).execute("DROP TABLE late")

    run(url, test)


def test_a_connection_that_the_task_holds_is_used(url: str) -> None:
    """`async with db:` spares taking one for each call."""

    async def test(db: aio.Database, session: UUID) -> None:
        async with db:
            held = db._state.conn
            for _ in range(3):
                await conversations.append(db, session, "user", "x")
                assert held is db._state.conn
        assert db.is_closed()

    run(url, test)


@pytest.mark.parametrize("atomic", [False, True])
def test_a_task_that_is_cancelled_leaves_the_pool_whole(url: str, atomic: bool) -> None:
    """In the middle of a statement that waits for a lock, and again while it is undone."""

    async def wait(db: aio.Database, session: UUID) -> None:
        if not atomic:
            await conversations.append(db, session, "user", "never")
            return
        async with db.atomic():
            await conversations.counts(db, session)
            await conversations.append(db, session, "user", "never")

    async def test(db: aio.Database, session: UUID) -> None:
        lock = DB(db)
        for twice in (False, True):
            async with lock.transaction():
                await lock.execute("LOCK TABLE messages IN EXCLUSIVE MODE")
                tasks = [asyncio.create_task(wait(db, session)) for _ in range(6)]
                while await lock.fetchval(WAITING) < 3:
                    await lock.execute("SELECT pg_stat_clear_snapshot()")
                for task in tasks:
                    task.cancel()
                if twice:
                    await asyncio.sleep(0)
                    for task in tasks:
                        task.cancel()
                done = await asyncio.gather(*tasks, return_exceptions=True)
                assert {asyncio.CancelledError} == {type(one) for one in done}
            await whole(db)
        ids = await asyncio.gather(
            *(conversations.append(db, session, "user", "x") for _ in range(40))
        )
        assert 40 == len(set(ids)) == (await conversations.counts(db, session)).total

    run(url, test, pool_size=4)


WAITING = (
    "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock'"
    " AND application_name = current_setting('application_name')"
)


def test_tasks_that_are_cancelled_at_any_moment_leave_the_pool_whole(url: str) -> None:
    """While they wait for a connection, connect, begin, write, commit or give it back."""

    async def work(db: aio.Database, session: UUID) -> None:
        while True:
            await conversations.append(db, session, "user", "x")
            async with db.atomic():
                await conversations.append_many(db, session, [("tool", "y")] * 2)
            await DB(db).execute("SELECT 1")

    async def test(db: aio.Database, session: UUID) -> None:
        chance = random.Random(7)
        for _ in range(40):
            tasks = [asyncio.create_task(work(db, session)) for _ in range(8)]
            await asyncio.sleep(chance.uniform(0, 0.02))
            for task in tasks:
                task.cancel()
            done = await asyncio.gather(*tasks, return_exceptions=True)
            assert {asyncio.CancelledError} == {type(one) for one in done}
        await whole(db)
        counts = await conversations.counts(db, session)
        assert 0 == counts.tool % 2
        await asyncio.gather(*(conversations.counts(db, session) for _ in range(30)))

    run(url, test, pool_size=3)


def test_who_waits_too_long_is_told(url: str) -> None:
    """And the place is not lost; those who wait are served in the order they came."""

    async def test(db: aio.Database, session: UUID) -> None:
        async with db.atomic():
            with pytest.raises(PoolExhausted, match=r"^all 1 connections are in use and none came"):
                await asyncio.create_task(conversations.counts(db, session))
            order: list[int] = []

            async def count(number: int) -> None:
                await conversations.counts(db, session)
                order.append(number)

            tasks = [asyncio.create_task(count(number)) for number in range(5)]
            await asyncio.sleep(0)
        await asyncio.gather(*tasks)
        assert [0, 1, 2, 3, 4] == order

    run(url, test, pool_size=1, pool_timeout=0.2)


def test_a_transaction_that_a_task_forgot_is_undone(url: str) -> None:
    """The next one has a session without it."""

    async def forget(db: aio.Database, session: UUID) -> None:
        await db.aexecute_sql("BEGIN")
        await conversations.append(db, session, "user", "forgotten")

    async def test(db: aio.Database, session: UUID) -> None:
        await asyncio.create_task(forget(db, session))
        await whole(db)
        assert 0 == (await conversations.counts(db, session)).total

    run(url, test, pool_size=1)


def test_a_transaction_that_is_given_up_as_it_begins_is_in_nobodys_way(url: str) -> None:
    """The next one begins with a session that has none."""

    async def begin(db: aio.Database) -> None:
        async with db.atomic():
            await asyncio.sleep(9)

    async def test(db: aio.Database, session: UUID) -> None:
        await whole(db)
        task = asyncio.create_task(begin(db))
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        async with db.atomic():
            await conversations.append(db, session, "user", "x")
        async with DB(db.target_url) as other:  # type: ignore[attr-defined]
            assert 1 == await other.fetchval(
                "SELECT count(*) FROM messages WHERE session_id = $1", session
            )

    run(url, test, pool_size=1)


def test_a_begin_that_the_server_does_after_it_was_given_up_is_undone(url: str) -> None:
    """What state the session is in is known when it has answered, not before."""

    async def test(db: aio.Database, session: UUID) -> None:
        server = await DB(db).fetchval("SELECT pg_backend_pid()")
        await whole(db)
        os.kill(server, signal.SIGSTOP)
        try:
            task = asyncio.create_task(DB(db).execute("BEGIN"))
            # It is on its way when the loop has nothing else to do.
            for _ in range(20):
                await asyncio.sleep(0)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
        finally:
            os.kill(server, signal.SIGCONT)
        await whole(db)
        await conversations.append(db, session, "user", "x")
        await whole(db)
        async with DB(db.target_url) as other:  # type: ignore[attr-defined]
            query = "SELECT count(*) FROM messages WHERE session_id = $1"
            assert 1 == await other.fetchval(query, session)

    run(url, test, pool_size=1)


def test_a_connection_is_taken_back_once(url: str) -> None:
    """A second time it may be another task's already."""

    async def test(db: aio.Database, session: UUID) -> None:
        assert db.pool is not None
        await whole(db)
        connection = await db.pool.acquire()
        db.pool.release(connection)
        db.pool.release(connection)
        assert 0 == db.pool.taken
        assert 1 == db.pool._idle.count(connection)

    run(url, test, pool_size=2)


def test_a_session_that_is_asked_whether_it_lives_is_not_lost(url: str) -> None:
    """Who gives up meanwhile ends it: nobody else knows of it."""

    async def test(db: aio.Database, session: UUID) -> None:
        assert db.pool is not None
        await whole(db)
        (connection,) = db.pool._idle
        connection.idle_since -= 60
        task = asyncio.create_task(db.pool.acquire())
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert connection.conn.is_closed()

    run(url, test, pool_size=1)


def test_a_pool_that_is_closed_ends_what_does_not_come_back(url: str) -> None:
    """After the time that one waits for a connection."""

    async def body() -> None:
        db = await aio.connect(url, bind=False, pool_timeout=0.1)
        assert db.pool is not None
        connection = await db.pool.acquire()
        await db.close_pool()
        assert connection.conn.is_closed()

    asyncio.run(asyncio.wait_for(body(), 20))


def test_who_calls_while_the_pool_is_closed_is_told(url: str) -> None:
    """Those that wait in line at once, those that come too; a pool is made when it is over."""

    async def body() -> None:
        db = await aio.connect(url, bind=False, pool_size=1)
        assert db.pool is not None
        connection = await db.pool.acquire()
        waiting = asyncio.create_task(db.pool.acquire())
        await asyncio.sleep(0)
        closing = asyncio.create_task(db.close_pool())
        with pytest.raises(ConnectionFailed, match="the pool is closed: connect again"):
            await waiting
        for call in (conversations.start(db, NOBODY), DB(db).fetchval("SELECT 1")):
            with pytest.raises(ConnectionFailed, match="the pool is being closed"):
                await call
        db.pool.release(connection)
        await closing
        assert 1 == await DB(db).fetchval("SELECT 1")
        await db.close_pool()

    asyncio.run(asyncio.wait_for(body(), 20))


def test_a_connection_that_is_made_while_the_pool_is_closed_is_ended(url: str) -> None:
    """Nobody would end it afterwards."""

    async def body() -> None:
        db = await aio.connect(url, bind=False, pool_size=2)
        pool = db.pool
        assert pool is not None
        await whole(db)
        held = await pool.acquire()
        made = asyncio.create_task(pool.acquire())
        await asyncio.sleep(0)
        closing = asyncio.create_task(db.close_pool())
        with pytest.raises(ConnectionFailed, match="the pool is closed"):
            await made
        pool.release(held)
        await closing
        assert (0, 0) == (pool.taken, pool.idle)

    asyncio.run(asyncio.wait_for(body(), 20))


@pytest.mark.filterwarnings("ignore:unclosed:ResourceWarning")
def test_another_event_loop_is_told_whose_the_pool_is(url: str) -> None:
    """Its connections answer to the loop that made them."""

    async def first() -> aio.Database:
        return await aio.connect(url, bind=False)

    async def second(db: aio.Database) -> None:
        for call in (conversations.start(db, NOBODY), DB(db).fetchval("SELECT 1")):
            with pytest.raises(ConnectionFailed, match="of another event loop"):
                await call
        await db.close_pool()
        assert 1 == await DB(db).fetchval("SELECT 1")
        await db.close_pool()

    asyncio.run(second(asyncio.run(first())))
    gc.collect()


def test_settings_of_one_task_are_not_those_of_the_next(url: str) -> None:
    """A session that ran statements of others goes back to where it began, in UTC."""

    async def test(db: aio.Database, session: UUID) -> None:
        raw = DB(db)
        await raw.execute("SET TIME ZONE 'Asia/Tokyo'")
        await whole(db)
        assert ("UTC", 1) == (await raw.fetchval("SHOW TimeZone"), db.pool and db.pool.taken)

    run(url, test, pool_size=1)


def test_what_is_known_of_the_index_may_be_a_second_old(url: str) -> None:
    """Each connection asks again after that."""

    async def test(db: aio.Database, session: UUID) -> None:
        connection = await db.aconnect()

        async def rows() -> float:
            return (await transport.run(db, searching.looked(Where((), ())))).rows

        assert 12345.0 != await rows()
        connection.recent.keep(searching._FACTS, [(None, False, 100, None, None, 12345.0)])
        assert 12345.0 == await rows()
        connection.recent._answers.clear()
        assert 12345.0 != await rows()

    run(url, test, pool_size=1)


@pytest.mark.parametrize("depth", [1, 2])
def test_an_error_of_ones_own_leaves_a_transaction_whose_session_has_ended(
    url: str, shared: Database, depth: int
) -> None:
    """Not what asyncpg says of a rollback that nobody needs."""

    async def work(db: aio.Database, session: UUID) -> None:
        async with AsyncExitStack() as blocks:
            for _ in range(depth):
                await blocks.enter_async_context(db.atomic())
            await conversations.append(db, session, "user", "x")
            with shared.connection_context():
                pid = (await db.aconnect()).conn.get_server_pid()
                shared.execute_sql("SELECT pg_terminate_backend(%s, 5000)", (pid,))
            raise LookupError

    async def test(db: aio.Database, session: UUID) -> None:
        await db.aclose()
        with pytest.raises(LookupError):
            await work(db, session)
        assert 0 == (await conversations.counts(db, session)).total

    run(url, test)


def test_a_session_that_was_ended_is_one_error(url: str, shared: Database) -> None:
    """The pool drops its connection, and the next call has another one."""

    async def end(db: aio.Database) -> None:
        assert db.pool is not None
        pids = [one.conn.get_server_pid() for one in (*db.pool._out, *db.pool._idle)]
        with shared.connection_context():
            for pid in pids:
                shared.execute_sql("SELECT pg_terminate_backend(%s, 5000)", (pid,))

    async def messages(db: aio.Database, rest: int) -> AsyncIterator[tuple[str, str]]:
        for _ in range(600):
            yield ("user", "x")
        await end(db)
        for _ in range(rest):
            yield ("user", "x")

    async def test(db: aio.Database, session: UUID) -> None:
        for rest in (600, 1):
            with pytest.raises(ConnectionFailed, match="whether it was done is not known"):
                await conversations.append_many(db, session, messages(db, rest))
            assert db.is_closed()
        await end(db)
        await asyncio.sleep(0.05)
        await conversations.append(db, session, "user", "after")
        assert ["after"] == [one.content for one in await conversations.page(db, session)]

    run(url, test, pool_size=1)


def test_many_messages_may_come_from_an_async_iterable(url: str) -> None:
    """Which may use the database meanwhile; when it fails, nothing is stored."""
    heard: list[int] = []

    async def test(db: aio.Database, session: UUID) -> None:
        async def messages(last: int) -> AsyncIterator[tuple[str, str]]:
            for number in range(1203):
                if number % 400 == 0:
                    await asyncio.sleep(0)
                    assert number >= (await conversations.counts(db, session)).total
                if number == last:
                    raise ZeroDivisionError
                yield ("user", str(number))

        with pytest.raises(ZeroDivisionError):
            await conversations.append_many(db, session, messages(900))
        assert 0 == (await conversations.counts(db, session)).total
        sent = conversations.append_many(db, session, messages(-1), progress=heard.append)
        assert 1203 == await sent
        assert [500, 1000, 1203] == heard
        found = await conversations.page(db, session, limit=2000)
        assert [str(number) for number in range(1203)] == [one.content for one in found]

    run(url, test)


@pytest.mark.usefixtures("vectors_there")
def test_embeddings_may_come_from_an_async_iterable(url: str) -> None:
    """One after the other, as a model makes them."""

    async def test(db: aio.Database, session: UUID) -> None:
        await conversations.append_many(db, session, [("user", "x")] * 3)

        async def made() -> AsyncIterator[tuple[int, list[float]]]:
            for message in await conversations.unembedded(db, session=session):
                await asyncio.sleep(0)
                yield (message.id, EMBEDDING)

        assert 3 == await conversations.embed_many(db, made())
        assert [] == await conversations.unembedded(db, session=session)

    run(url, test)


def test_other_tasks_run_while_many_messages_are_stored(url: str) -> None:
    """The loop has its turn after every piece."""

    async def test(db: aio.Database, session: UUID) -> None:
        turns = 0

        async def tick() -> None:
            nonlocal turns
            while True:
                turns += 1
                await asyncio.sleep(0)

        ticking = asyncio.create_task(tick())
        await conversations.append_many(db, session, (("user", "x") for _ in range(5000)))
        ticking.cancel()
        assert 10 <= turns

    run(url, test)


@pytest.mark.usefixtures("vectors_there")
def test_statements_of_ones_own_run_on_the_same_pool(url: str) -> None:
    """With values of Python for JSON and vectors, in the transaction of the store's calls."""

    async def test(db: aio.Database, session: UUID) -> None:
        raw = DB(db)
        row = await raw.fetchrow(
            "SELECT $1::jsonb AS a, $2::vector AS v", {"a": [10**20]}, [1, -0.0]
        )
        assert row is not None
        assert ({"a": [10**20]}, [1.0, -0.0]) == (row["a"], list(row["v"]))
        with suppress(ZeroDivisionError):
            async with raw.transaction():
                sql = "INSERT INTO messages (session_id, role, content) VALUES ($1, $2, $3)"
                assert "INSERT 0 1" == await raw.execute(sql, session, "user", "x")
                await raw.executemany(sql, [(session, "user", "y")] * 2)
                await conversations.append(raw.database, session, "user", "z")
                rows = await raw.fetch("SELECT id FROM messages WHERE session_id = $1", session)
                assert 4 == len(rows)
                raise ZeroDivisionError
        assert 0 == await raw.fetchval(
            "SELECT count(*) FROM messages WHERE session_id = $1", session
        )

    run(url, test)


def test_statements_that_fail_say_nothing_of_their_values(url: str) -> None:
    """The driver quotes the argument, the server the row."""

    async def test(db: aio.Database, session: UUID) -> None:
        raw = DB(db)
        with pytest.raises(
            InvalidValue, match=r"^argument \$1: not of the type of its place$"
        ) as e:
            await raw.execute("SELECT $1::int", "secret")
        with pytest.raises(StoreError) as refused:
            await raw.execute("SELECT 'secret'::text::int")
        assert "22P02" == refused.value.sqlstate
        for error in (e.value, refused.value):
            assert "secret" not in f"{error!r} {error.__context__!r} {error.__cause__!r}"

    run(url, test)


def test_the_first_statement_opens_the_pool(url: str) -> None:
    """`DB(dsn)` itself waits for nothing, and two first statements open one pool."""

    async def body() -> None:
        db = DB(url, bind=False)
        with pytest.raises(RuntimeError, match="is not open"):
            db.database  # noqa: B018
        assert [1, 2] == await asyncio.gather(db.fetchval("SELECT 1"), db.fetchval("SELECT 2"))
        pool = db.database.pool
        await db.close()
        assert pool is not None
        assert 0 == pool.taken + pool.idle

    asyncio.run(body())


def test_peewee_works_on_the_same_database(url: str) -> None:
    """Models, JSON, vectors and transactions, beside the functions of the store."""

    async def test(db: aio.Database, session: UUID) -> None:
        with db.bind_ctx([User, Message], bind_refs=False, bind_backrefs=False):
            async with db.atomic():
                user = await db.run(User.create, name="Grace")
                own = await conversations.start(db, user.id)
                id = await conversations.append(db, own, "user", "hello")
            found = await db.get(Message.select().where(Message.session == own))
            assert (id, "hello") == (found.id, found.content)
            async with db:
                rows = [one async for one in db.iterate(Message.select().where(Message.id == id))]
            assert [id] == [one.id for one in rows]

    run(url, test)


@pytest.mark.usefixtures("vectors_there")
def test_peewee_reads_vectors_as_it_does_from_psycopg2(url: str, shared: Database) -> None:
    """Fields of pgvector take its text."""

    async def test(db: aio.Database, session: UUID) -> None:
        id = await conversations.append(db, session, "user", "x", embedding=EMBEDDING)
        with db.bind_ctx([Message], bind_refs=False, bind_backrefs=False):
            one = await db.get(Message.select().where(Message.id == id))
            await db.run(Message.update(embedding=[0.25] * 384).where(Message.id == id).execute)
        (found,) = await conversations.page(db, session, embeddings=True)
        assert [0.25] * 384 == list(found.embedding)
        with shared.connection_context(), shared.bind_ctx([Message], False, False):
            assert type(Message.get_by_id(id).embedding) is type(one.embedding)
        assert EMBEDDING == list(one.embedding)

    run(url, test)


def test_an_extension_that_came_later_is_found(empty: Target, server: Server) -> None:
    """Connections that are there already learn of it."""

    async def body() -> None:
        async with DB(server.url(empty.dbname), bind=False, pool_size=1) as db:
            if not await db.fetchval(
                "SELECT count(*) FROM pg_available_extensions WHERE name = 'vector'"
            ):
                pytest.skip("this server has no pgvector")
            await db.execute("CREATE EXTENSION vector")
            await db.execute("CREATE TABLE messages (id bigint, embedding vector(384))")
            await db.execute("INSERT INTO messages VALUES (1)")
            assert await conversations.embed(db.database, 1, EMBEDDING)

    asyncio.run(body())


def test_connecting_binds_the_models(url: str) -> None:
    """In place of an earlier database."""
    before = proxy.obj

    async def body() -> None:
        db = await aio.connect(url)
        assert db is proxy.obj
        await db.close_pool()

    try:
        asyncio.run(body())
    finally:
        proxy.initialize(before)


def test_a_database_that_is_not_there_is_said_to_be_missing(server: Server) -> None:
    """As by `foundry.connect`."""

    async def body() -> None:
        with pytest.raises(DatabaseMissing, match=r'^database "foundry_nowhere" does not exist on'):
            await aio.connect(server.url("foundry_nowhere"), bind=False)

    asyncio.run(body())


def test_a_pool_that_was_closed_ends_its_sessions(url: str) -> None:
    """Nothing is left to the garbage collector, which would warn."""

    async def test(db: aio.Database, session: UUID) -> None:
        tasks = [conversations.append(db, session, "user", "x") for _ in range(10)]
        await asyncio.gather(*tasks)

    run(url, test)
    gc.collect()


def test_one_of_many_deciders_wins(url: str) -> None:
    """The entries of one key are one."""

    async def test(db: aio.Database, session: UUID) -> None:
        protocol = await protocols.open(db, "sleep")
        ids = await asyncio.gather(
            *(protocols.log(db, protocol, "drafter", str(n), key="k") for n in range(8))
        )
        said = await asyncio.gather(
            *(protocols.reject(db, protocol, str(n)) for n in range(8)), return_exceptions=True
        )
        assert (1, 1) == (len(set(ids)), said.count(None))
        assert str(said.index(None)) == (await protocols.find(db, protocol)).human_feedback

    run(url, test)


def test_without_asyncpg_it_says_what_to_install() -> None:
    """And the rest of the store works."""
    program = (
        "import sys; sys.modules['asyncpg'] = None\n"
        "import foundry.store.conversations\n"
        "try:\n    import foundry.store.aio\n"
        "except ImportError as error:\n    print(error)"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert (
        "foundry.store.aio needs asyncpg and greenlet: pip install 'cerina-foundry[async]'\n"
        == done.stdout
    )


@pytest.mark.skipif(PROGRAM is None, reason="PgBouncer is not here")
def test_it_works_behind_a_pooler_of_transactions(shared: Database, open_folder: Path) -> None:
    """In UTC, with statements that are not kept."""

    async def talk(db: aio.Database, user: UUID) -> None:
        session = await conversations.start(db, user)
        for _ in range(3):
            await conversations.append(db, session, "user", "x")
            async with db.atomic():
                await conversations.append_many(db, session, [("tool", "y")] * 2)
        assert 9 == (await conversations.counts(db, session)).total
        assert "UTC" == await DB(db).fetchval("SHOW TimeZone")

    async def body(pooled: str) -> None:
        async with DB(pooled, bind=False, pool_size=8, statement_cache_size=0) as db:
            user = await db.fetchval("INSERT INTO users (name) VALUES ('Ada') RETURNING id")
            await asyncio.gather(*(talk(db.database, user) for _ in range(30)))

    with bouncing(open_folder, shared.target, "transaction", 2) as pooled:
        asyncio.run(asyncio.wait_for(body(pooled), 20))


def test_a_transaction_whose_connection_ended_goes_on_in_none_in_its_place(
    url: str, shared: Database
) -> None:
    """What was done there would be kept, and the rest of the transaction lost."""

    async def spoilt(db: aio.Database, session: UUID) -> None:
        async with db.atomic():
            await conversations.append(db, session, "user", "x")
            pid = await DB(db).fetchval("SELECT pg_backend_pid()")
            shared.execute_sql("SELECT pg_terminate_backend(%s, 5000)", (pid,))
            with pytest.raises(ConnectionFailed, match="whether it was done is not known"):
                await conversations.append(db, session, "user", "y")
            with pytest.raises(ConnectionFailed, match="nothing of it was done"):
                await conversations.append_many(db, session, [("user", "z")])
            with pytest.raises(ConnectionFailed, match="nothing of it was done"):
                await conversations.append(db, session, "user", "z")

    async def test(db: aio.Database, session: UUID) -> None:
        await db.aclose()
        with pytest.raises(peewee.InterfaceError, match="connection is closed"):
            await spoilt(db, session)
        assert 0 == (await conversations.counts(db, session)).total

    with shared.connection_context():
        run(url, test)


@pytest.mark.parametrize("depth", [1, 2, 3])
def test_a_lost_connection_is_what_leaves_a_transaction(
    url: str, shared: Database, depth: int
) -> None:
    """Not the driver's word for what can no more be rolled back."""

    async def work(db: aio.Database, session: UUID) -> None:
        async with AsyncExitStack() as blocks:
            for _ in range(depth):
                await blocks.enter_async_context(db.atomic())
            await conversations.append(db, session, "user", "x")
            pid = await DB(db).fetchval("SELECT pg_backend_pid()")
            shared.execute_sql("SELECT pg_terminate_backend(%s, 5000)", (pid,))
            await conversations.append(db, session, "user", "y")

    async def test(db: aio.Database, session: UUID) -> None:
        await db.aclose()
        with pytest.raises(ConnectionFailed, match="whether it was done is not known"):
            await work(db, session)
        assert 0 == (await conversations.counts(db, session)).total

    with shared.connection_context():
        run(url, test)


def test_an_old_connection_is_not_handed_out_again(url: str) -> None:
    """Whether it has become old in use or idle; a young one is."""

    async def test(db: aio.Database, session: UUID) -> None:
        pid = "SELECT pg_backend_pid()"
        own = DB(db)
        await db.aclose()
        await whole(db)
        for seconds, same in ((0.0, True), (0.6, False)):
            before = await own.fetchval(pid)
            await whole(db)
            await asyncio.sleep(seconds)
            assert same is (before == await own.fetchval(pid))
            await whole(db)
        async with db.atomic():
            await asyncio.sleep(0.6)
        assert 0 == db.pool.idle

    run(url, test, pool_size=1, pool_recycle=0.5)


@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
def test_a_forked_child_may_end_the_pool(url: str) -> None:
    """The sessions are the parent's, whose loop goes on hearing from them."""

    async def test(db: aio.Database, session: UUID) -> None:
        await db.aclose()
        mine = await DB(db).fetchval("SELECT pg_backend_pid()")
        child = os.fork()
        if child == 0:
            status = 1
            try:
                asyncio.events._set_running_loop(None)
                own = asyncio.new_event_loop()
                try:
                    own.run_until_complete(db.pool.acquire())
                except ConnectionFailed:
                    own.run_until_complete(db.close_pool())
                    status = 0
            finally:
                os._exit(status)
        assert 0 == os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        asked = DB(db).fetchval("SELECT pg_backend_pid()")
        assert mine == await asyncio.wait_for(asked, 5)

    run(url, test, pool_size=1)


def test_a_prepared_statement_that_is_gone_is_said_to_be_a_poolers(url: str) -> None:
    """As where each transaction has another server connection."""

    async def test(db: aio.Database, session: UUID) -> None:
        async with db:
            await conversations.counts(db, session)
            await db._state.conn.conn.execute("DEALLOCATE ALL")
            with pytest.raises(StoreError, match=r"behind a pooler, connect with statement_cache"):
                await conversations.counts(db, session)

    run(url, test)


def test_peewee_needs_no_driver_but_asyncpg(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """What a BlobField sends is bytes, also where psycopg 3 is not installed."""
    monkeypatch.setattr(peewee, "psycopg", None)

    class Photo(peewee.Model):
        data = peewee.BlobField()

        class Meta:
            temporary = True

    async def test(db: aio.Database, user: UUID) -> None:
        with db.bind_ctx([Photo]):
            async with db.atomic():
                await db.run(Photo.create_table)
                await db.run(Photo.create, data=b"\0\xff")
                assert [b"\0\xff"] == [one.data for one in await db.list(Photo.select())]

    run(url, test)
