"""What one test gets, and what becomes of it."""

from __future__ import annotations

import asyncio
import gc
import threading
import traceback
import weakref
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import replace
from typing import Any

import peewee
import pytest

from foundry.errors import ConnectionFailed
from foundry.fixtures.database import Janitor
from foundry.fixtures.lease import ENDED, LOST, Bench, Lease
from foundry.fixtures.server import Server
from foundry.schema import User
from foundry.url import Params, parse


@pytest.fixture
def bench(_foundry_bench: Bench) -> Iterator[Bench]:
    """The bench of a worker of its own, on the server and the template of the run."""
    server = replace(_foundry_bench.server, end=lambda keep: "")
    made = Bench(server, lambda: _foundry_bench.declared)
    made._template = _foundry_bench.template()
    yield made
    assert () == made.close()


def end_session(bench: Bench, dbname: str) -> None:
    """What an administrator or a restart does."""
    with closing(bench.server.admin()) as session, session.cursor() as cursor:
        cursor.execute(
            "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity WHERE datname = %s",
            (dbname,),
        )


def begun(bench: Bench) -> tuple[Lease, Any]:
    """A lease and its rolled back database."""
    lease = Lease(bench, commit=False)
    return lease, lease.begin()


def test_between_tests_nobody_gets_the_database(bench: Bench) -> None:
    """A thread that a test left behind would write into the next one's."""
    lease, database = begun(bench)
    said: list[str] = []
    over = threading.Event()

    def late() -> None:
        over.wait(30)
        for _ in range(2):
            try:
                database.execute_sql("INSERT INTO users (name) VALUES ('ghost')")
            except ConnectionFailed as error:
                said.append(str(error))

    thread = threading.Thread(target=late)
    thread.start()
    assert "" == lease.end()
    over.set()
    thread.join()
    with pytest.raises(ConnectionFailed, match="the test of this database is over"):
        database.connect()
    assert 2 == len(said)
    lease, database = begun(bench)
    assert 0 == User.select().count()
    lease.end()


def commit_by_context(database: Any) -> None:
    """The handle of a transaction commits the whole of it."""
    with database.transaction() as transaction:
        transaction.commit()


def commit_by_session(database: Any) -> None:
    """Peewee's sessions are transactions."""
    database.session_start()
    database.session_commit()
    database.session_commit()


@pytest.mark.parametrize("ends", [commit_by_context, commit_by_session], ids=lambda f: f.__name__)
def test_each_way_to_commit_is_found(bench: Bench, ends: Callable[[Any], None]) -> None:
    """And told once: by the test, or else where its database is taken back."""
    lease, database = begun(bench)
    ends(database)
    assert ENDED == lease.fault()
    assert "" == lease.end()
    assert database.target.dbname in bench.janitor.found()
    lease, again = begun(bench)
    assert database is not again
    lease.end()
    assert database.target.dbname not in bench.janitor.found()


def test_what_nobody_was_told_is_told_at_the_end(bench: Bench) -> None:
    """A fixture that commits after the test, say."""
    lease, database = begun(bench)
    database.execute_sql("COMMIT")
    assert ENDED == lease.end()


def test_a_session_that_the_server_ended_is_not_the_tests_fault(bench: Bench) -> None:
    """Nor does the next test suffer."""
    lease, database = begun(bench)
    end_session(bench, database.target.dbname)
    assert LOST == lease.fault()
    assert "" == lease.end()
    lease, _ = begun(bench)
    assert "" == lease.fault()
    assert "" == lease.end()


def test_a_database_that_somebody_dropped_is_replaced(bench: Bench) -> None:
    """The tests after it have one again."""
    lease, database = begun(bench)
    lease.end()
    bench.janitor.drop(database.target.dbname)
    lease, _ = begun(bench)
    assert 0 == User.select().count()
    lease.end()


def test_close_within_a_transaction_is_refused_as_in_production(bench: Bench) -> None:
    """The rolled back database must not be kinder."""
    lease, database = begun(bench)
    with pytest.raises(peewee.OperationalError, match="close database"), database.transaction():
        database.close()
    assert database.close()
    assert "" == lease.end()


def test_callbacks_of_a_commit_do_not_outlive_their_test(bench: Bench) -> None:
    """They would hold on to what the test made, and run in another one."""

    class Callback:
        def __call__(self) -> None:
            raise AssertionError

    lease, database = begun(bench)
    callback = Callback()
    database.after_commit(callback)
    seen = weakref.ref(callback)
    lease.end()
    del callback
    gc.collect()
    assert seen() is None


@pytest.mark.parametrize("how", ["error", "session"])
def test_a_kept_database_says_when_nothing_is_in_it(bench: Bench, how: str) -> None:
    """Looking for the rows would be in vain."""
    lease, database = begun(bench)
    if how == "error":
        with pytest.raises(peewee.ProgrammingError):
            database.execute_sql("nonsense")
    else:
        end_session(bench, database.target.dbname)
    assert "undid what it wrote" in lease.keep()
    lease.end()
    lease, second = begun(bench)
    assert "undid" not in lease.keep()
    lease.end()
    for one in (database, second):
        bench.janitor.drop(one.target.dbname)


def test_a_server_that_leads_elsewhere_is_not_written_to(bench: Bench) -> None:
    """A pooler may answer for every name with one database."""
    lease, _ = begun(bench)
    lease.end()
    asked: list[tuple[str, object]] = []

    def insist(self: Server, dbname: str, found: object) -> None:
        asked.append((dbname, found))
        raise ConnectionFailed("it leads elsewhere")

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Server, "insist", insist)
        for commit in (False, True):
            with pytest.raises(ConnectionFailed, match="elsewhere"):
                Lease(bench, commit=commit).begin()
    assert [True, True] == [dbname == found for dbname, found in asked]
    lease, _ = begun(bench)
    assert "" == lease.end()


def twin(bench: Bench, *, commit: bool) -> Any:
    """The async fixture."""
    pytest.importorskip("asyncpg")
    from foundry.fixtures.twin import Twin

    return Twin(bench, commit=commit)


@pytest.mark.parametrize("commit", [False, True])
def test_both_fixtures_in_one_test_do_not_wait_for_each_other(bench: Bench, commit: bool) -> None:
    """Each has a database of its own."""
    lease, database = begun(bench)
    database.execute_sql("INSERT INTO users (email) VALUES ('a@example.org')")
    other = twin(bench, commit=commit)

    async def writes() -> None:
        async with other as db:
            await db.aexecute_sql("INSERT INTO users (email) VALUES ('a@example.org')")

    asyncio.run(asyncio.wait_for(writes(), 30))
    other.end()
    assert "" == lease.end()


def test_a_twin_that_is_not_entered_says_so(bench: Bench) -> None:
    """By the name that was asked of it."""
    with pytest.raises(AttributeError, match=r"foundry_adb as db:`, and use db\.count"):
        twin(bench, commit=False).count(User.select())


def test_a_twin_needs_asyncio(bench: Bench) -> None:
    """Another library's loop drives the coroutine here, as trio's does."""
    entering = twin(bench, commit=False).__aenter__()
    with pytest.raises(ConnectionFailed, match='needs asyncio: anyio_backend = "asyncio"'):
        entering.send(None)


def test_transactions_of_tasks_nest_or_say_that_they_cannot(bench: Bench) -> None:
    """Statements of other tasks may come between; what is awaited inside nests."""
    one = twin(bench, commit=False)

    async def write(db: Any, name: str) -> None:
        async with db.atomic():
            await db.run(lambda: User.create(name=name))

    async def nests(db: Any) -> None:
        async with db.atomic():
            await asyncio.wait_for(write(db, "a"), 30)

    async def first(db: Any, began: asyncio.Event) -> None:
        async with db.atomic():
            await began.wait()

    async def second(db: Any, began: asyncio.Event) -> None:
        async with db.atomic():
            began.set()
            await asyncio.Event().wait()

    async def use() -> None:
        async with one as db:
            await asyncio.gather(nests(db), *(db.count(User.select()) for _ in range(5)))
            assert 1 == await db.count(User.select())
            began = asyncio.Event()
            with pytest.raises(peewee.InterfaceError, match=r"cannot nest .*commit=True"):
                await asyncio.gather(first(db, began), second(db, began))

    asyncio.run(use())
    one.end()


def test_a_task_that_outlives_the_block_writes_nowhere(bench: Bench) -> None:
    """It would connect anew, to the database of the next test."""
    one = twin(bench, commit=False)

    async def use() -> None:
        async with one as db:
            await db.aexecute_sql("SELECT 1")
        with pytest.raises(ConnectionFailed, match="the block of foundry_adb is over"):
            await db.aexecute_sql("INSERT INTO users (name) VALUES ('ghost')")

    asyncio.run(use())
    one.end()


def test_a_twin_is_entered_once_at_a_time(bench: Bench) -> None:
    """And again in another event loop."""
    one = twin(bench, commit=False)

    async def use() -> None:
        async with one as db:
            await db.aexecute_sql("INSERT INTO users (name) VALUES ('a')")
            with pytest.raises(RuntimeError, match="entered already"):
                await one.__aenter__()

    asyncio.run(use())
    asyncio.run(use())
    one.end()


@pytest.mark.parametrize("how", ["COMMIT", "lost"])
def test_a_twin_says_how_its_transaction_ended(bench: Bench, how: str) -> None:
    """And its database is thrown away."""
    one = twin(bench, commit=False)

    async def use() -> None:
        async with one as db:
            await db.aexecute_sql("INSERT INTO users (name) VALUES ('a')")
            if how == "lost":
                end_session(bench, one._name)
            else:
                await db.aexecute_sql(how)

    with pytest.raises(pytest.fail.Exception) as caught:
        asyncio.run(use())
    assert (LOST if how == "lost" else ENDED) == str(caught.value)
    one.end()
    bench.clone()
    assert one._name not in bench.janitor.found()


def test_a_kept_twin_says_when_nothing_is_in_it(bench: Bench) -> None:
    """An SQL error has undone what it wrote."""
    bench.keeps = True
    one = twin(bench, commit=False)

    async def use() -> None:
        async with one as db:
            await db.aexecute_sql("nonsense")

    with pytest.raises(peewee.ProgrammingError):
        asyncio.run(use())
    assert "undid what it wrote" in one.keep()
    one.end()
    bench.janitor.drop(one._name)


@pytest.mark.parametrize("commit", [False, True])
def test_a_twin_that_cannot_connect_shows_no_password(bench: Bench, commit: bool) -> None:
    """Neither in its line nor in the frames that pytest prints."""
    url = "postgresql://app:s3cret@127.0.0.1:1/app?connect_timeout=5"
    base = parse(url, source="DATABASE_URL", environ={})
    one = twin(bench, commit=commit)
    one._bench = broken = Bench.__new__(Bench)
    broken.server = Server(source="DATABASE_URL", described="it", base=base)
    one._name, broken._twins = "app", "app"

    async def use() -> None:
        await one.__aenter__()

    with pytest.raises(ConnectionFailed, match="no server answers on ") as caught:
        asyncio.run(use())
    told = "".join(traceback.format_exception(caught.value))
    assert "s3cret" not in told
    assert 1 == len(str(caught.value).splitlines())
    assert "asyncpg/" not in told


def test_a_twin_takes_the_urls_that_the_other_takes(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    """asyncpg would send parameters of libpq to the server, which knows none of them."""
    more = {"connect_timeout": "7", "keepalives_idle": "9", "application_name": "ours"}
    monkeypatch.setenv("PGGSSLIB", "gss")
    plain = bench.server
    params = Params({**plain.base.params, **more})
    bench.server = replace(plain, base=replace(plain.base, params=params))
    bench.twins()

    async def name(commit: bool) -> object:
        one = twin(bench, commit=commit)
        async with one as db:
            shown = (await db.aexecute_sql("SHOW application_name")).fetchone()[0]
        one.end()
        return shown

    assert ["ours", "ours"] == [asyncio.run(name(False)), asyncio.run(name(True))]


def test_arguments_of_a_twin_are_those_of_the_url() -> None:
    """Several hosts, one port for all, an address in place of a name, a service's user."""
    pytest.importorskip("asyncpg")
    from foundry.fixtures.twin import arguments

    def of(url: str) -> Any:
        return arguments(parse(url, source="argument", environ={}, account="me"))

    many = of("postgresql://a:pw@h1,h2/x?port=5&sslmode=require")
    assert (["h1", "h2"], [5, 5]) == (many["host"], many["port"])
    assert ("a", "pw", "x") == (many["user"], many["password"], many["database"])
    assert "postgresql://?sslmode=require" == many["dsn"]
    assert "pw" not in repr(many)
    assert ["10.0.0.1"] == of("postgresql://h/x?hostaddr=10.0.0.1&sslmode=require")["host"]
    assert ["h"] == of("postgresql://h/x?hostaddr=10.0.0.1&sslmode=verify-full")["host"]
    assert "me" == of("postgresql:///x")["user"]
    assert "user" not in of("postgresql:///x?service=s")


def test_janitors_of_a_bench_leave_nothing(bench: Bench) -> None:
    """What a test discards is dropped with the next clone, or at the end."""
    name = bench.clone()
    bench.janitor.discard(name)
    other = Janitor(bench.server)
    assert name in other.found()
    bench.clone()
    assert name not in other.found()
    other.close()
