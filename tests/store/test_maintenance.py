"""Maintenance: what it leaves is whole, said, and the same when it runs again."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from support.bouncer import PROGRAM, bouncing
from support.crowd import told
from support.server import Server

from foundry.__main__ import main
from foundry.database import Database, connect, open_connection
from foundry.errors import InvalidValue, LockTimeout, StoreError
from foundry.maintaining import lines
from foundry.migrate.cli import main as migrate
from foundry.schema import Message
from foundry.schema.base import has_column
from foundry.store import maintenance, recall, recent, search, searching
from foundry.store.blocking import run
from foundry.store.choosing import ByIndex, choose
from foundry.store.filters import Where
from foundry.store.maintenance import Report, maintain
from foundry.store.tuning import parsed

ROWS = 3000
QUERY = [2.0, *([0.1] * 11), *([0.0] * 372)]
_COMMENT = "SELECT obj_description('idx_messages_embedding'::regclass)"
_DEFINITION = "SELECT pg_get_indexdef('idx_messages_embedding'::regclass)"
_INVALID = "SELECT count(*) FROM pg_index WHERE NOT indisvalid"


@pytest.fixture
def crowd(server: Server) -> Iterator[Database]:
    """A database of its own with some messages."""
    name = server.clone()
    pool = connect(server.url(name), bind=False, pool_size=2)
    try:
        with pool.connection_context():
            if not has_column(pool, Message.embedding):
                pytest.skip("this server has no pgvector")
            told(pool, ROWS)
            yield pool
    finally:
        pool.close_all()
        server.drop(name)


@pytest.fixture
def url(crowd: Database, server: Server) -> str:
    """The URL of that database."""
    return server.url(str(crowd.target.dbname))


def value(database: Database, query: str) -> Any:
    """The one value of a query."""
    return database.execute_sql(query).fetchone()[0]


def test_an_index_is_trained_measured_and_used(crowd: Database) -> None:
    """With a list for a thousand; a second run finds the same and changes nothing."""
    done = maintain(crowd)
    assert ("idx_messages_embedding", "ivfflat", ROWS) == (done.index, done.method, done.rows)
    assert (1, 3, True) == (done.lists_before, done.lists, done.trained)
    assert {10, 20, 30} <= {*done.effort}
    assert all(0.99 <= share <= 1 for share in done.recall.values())
    assert "lists='3'" in value(crowd, _DEFINITION)
    said = value(crowd, _COMMENT)
    known = parsed(said)
    assert known is not None
    assert (ROWS, 3, done.effort) == (known.rows, known.lists, known.effort)
    again = maintain(crowd)
    assert (False, 3, 3, done.effort) == (
        again.trained,
        again.lists_before,
        again.lists,
        again.effort,
    )
    assert said == value(crowd, _COMMENT)


def test_a_table_that_was_emptied_and_filled_again_is_another_one(
    crowd: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What was measured is not used, and the index is trained on what is there now."""
    monkeypatch.setattr(recent, "SECONDS", 0.0)
    maintain(crowd)
    assert None is not _way(crowd)
    crowd.execute_sql("CREATE TABLE kept AS TABLE messages; TRUNCATE messages")
    crowd.execute_sql("INSERT INTO messages OVERRIDING SYSTEM VALUE TABLE kept; ANALYZE messages")
    assert None is _way(crowd)
    assert maintain(crowd).trained
    assert None is not _way(crowd)


def _way(database: Database) -> ByIndex | None:
    """How ten are looked for where all count; the table is taken for a large one."""
    facts = run(database, searching.looked(Where((), ())))
    return choose(facts._replace(rows=1e6), 10, filtered=False, indexed=False)


def test_the_differ_and_verify_say_nothing_of_it(crowd: Database, url: str) -> None:
    """The model says that maintenance sets the lists."""
    maintain(crowd)
    assert 0 == migrate(["diff", "--check", "--database", url])
    assert 0 == migrate(["verify", "--database", url])


def test_a_table_that_has_outgrown_its_lists_is_trained_again(crowd: Database) -> None:
    """Not one that has grown a little; and what somebody wrote beside the index stays."""
    crowd.execute_sql("COMMENT ON INDEX idx_messages_embedding IS 'ours: keep'")
    maintain(crowd)
    copy = (
        "INSERT INTO messages (session_id, role, content, embedding)"
        " SELECT session_id, role, content, embedding FROM messages WHERE embedding IS NOT NULL"
    )
    crowd.execute_sql(f"{copy} LIMIT 2900")
    little = maintain(crowd)
    assert (False, 3) == (little.trained, little.lists)
    crowd.execute_sql(copy)
    done = maintain(crowd)
    assert (True, 3, 11) == (done.trained, done.lists_before, done.lists)
    assert "ours: keep" == value(crowd, _COMMENT).splitlines()[0]


def test_an_index_that_another_hand_built_is_trained(crowd: Database) -> None:
    """It may have been built on an empty table: nobody knows."""
    crowd.execute_sql("ALTER INDEX idx_messages_embedding SET (lists = 3)")
    assert maintain(crowd).trained


def test_few_messages_need_no_training(
    crowd: Database, url: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """One list is the whole table; search is exact, and the command says why."""
    crowd.execute_sql("DELETE FROM messages WHERE id > 500")
    done = maintain(crowd)
    assert (False, 1, {}) == (done.trained, done.lists, done.effort)
    assert 10 == len(search.near(crowd, QUERY))
    assert 0 == main(["maintain", "--database", url, "--no-color"])
    said = capsys.readouterr().out.splitlines()
    assert "idx_messages_embedding: ivfflat, 500 embeddings, 1 list" in said
    assert "the index is not used, every search is exact: there are too few embeddings" in said


def test_without_a_vector_index_the_table_is_vacuumed(crowd: Database) -> None:
    """There is nothing else to do."""
    crowd.execute_sql("DROP INDEX idx_messages_embedding")
    assert None is maintain(crowd).index
    analyzed = "SELECT reltuples::int FROM pg_class WHERE oid = 'messages'::regclass"
    assert ROWS == value(crowd, analyzed)


def test_what_a_killed_run_has_left_is_taken_away(crowd: Database, url: str) -> None:
    """And the next run does what it had not done."""
    maintain(crowd)
    crowd.execute_sql("INSERT INTO messages (session_id, role, content, embedding)"
                      " SELECT session_id, role, content, embedding FROM messages,"
                      " generate_series(1, 3)")  # fmt: skip
    with closing(open_connection(crowd.target)) as holder, holder.cursor() as cursor:
        # REINDEX CONCURRENTLY waits for its snapshot, with the index half made.
        cursor.execute("BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT 1")
        process = subprocess.Popen(
            [sys.executable, "-m", "foundry", "maintain", "--database", url, "-q"],
            env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
        )
        until(lambda: 1 == value(crowd, _INVALID), "no index was begun")
        process.send_signal(signal.SIGKILL)
        process.wait()
        # Of this database alone: other tests maintain theirs meanwhile.
        its = "WHERE application_name = 'foundry maintain' AND datname = current_database()"
        crowd.execute_sql(f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity {its}")
        gone = f"SELECT count(*) FROM pg_stat_activity {its}"
        until(lambda: 0 == value(crowd, gone), "its session goes on")
    assert 1 == value(crowd, _INVALID)
    known = parsed(value(crowd, _COMMENT))
    assert known is not None
    assert known.training
    # What was measured for three lists is good for the old index, and would be for the new one.
    assert 10 == len(search.near(crowd, QUERY))
    done = maintain(crowd)
    assert ("idx_messages_embedding_ccnew",) == done.removed
    assert (True, 12) == (done.trained, done.lists)
    assert 0 == value(crowd, _INVALID)


def until(there: Callable[[], bool], otherwise: str) -> None:
    """Ask until it is so."""
    deadline = time.monotonic() + 60
    while not there():
        assert time.monotonic() < deadline, otherwise
        time.sleep(0.02)


def test_who_holds_the_index_is_not_waited_for_longer_than_said(crowd: Database) -> None:
    """Nothing is half made then."""
    with closing(open_connection(crowd.target)) as holder, holder.cursor() as cursor:
        cursor.execute("BEGIN; SELECT FROM messages WHERE id = 1")
        with pytest.raises(LockTimeout, match=r"waited 0\.3 s for a lock on messages"):
            maintain(crowd, wait=0.3)
        cursor.execute("ROLLBACK")
        assert 0 == value(crowd, _INVALID)
        # Its snapshot is no lock on the index, but the new one has to wait for it at its end.
        cursor.execute("BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT 1")
        with pytest.raises(LockTimeout, match=r"waited 0\.3 s for a lock on messages"):
            maintain(crowd, wait=0.3)
    assert 0 == value(crowd, _INVALID)
    assert maintain(crowd).trained


def test_readers_are_not_held_up_by_a_change_of_lists(crowd: Database) -> None:
    """The lock on the index is tried for an instant at a time, while a transaction keeps it."""
    longest, stop = 0.0, threading.Event()

    def read() -> None:
        nonlocal longest
        with closing(open_connection(crowd.target)) as reader:
            reader.autocommit = True
            while not stop.is_set():
                began = time.monotonic()
                reader.cursor().execute("SELECT FROM messages WHERE id = 1")
                longest = max(longest, time.monotonic() - began)

    with closing(open_connection(crowd.target)) as holder, holder.cursor() as cursor:
        cursor.execute("BEGIN; SELECT FROM messages WHERE id = 1")
        thread = threading.Thread(target=read)
        thread.start()
        try:
            with pytest.raises(LockTimeout):
                maintain(crowd, wait=3)
        finally:
            stop.set()
            thread.join()
    assert 1.5 > longest


def test_two_runs_do_not_meet(crowd: Database) -> None:
    """The second waits for the first, as long as it was told, and says so once."""
    said: list[str] = []
    with closing(open_connection(crowd.target)) as other, other.cursor() as cursor:
        cursor.execute("SELECT pg_advisory_lock(%s)", (maintenance._KEY,))
        with pytest.raises(LockTimeout, match=r"another run of maintenance has gone on for 0\.2 s"):
            maintain(crowd, wait=0.2, report=said.append)
    assert ["waiting for another run of maintenance to finish"] == said


@pytest.mark.skipif(PROGRAM is None, reason="PgBouncer is not here")
def test_a_pooler_is_refused(crowd: Database, open_folder: Path) -> None:
    """Its session would keep the lock, and no other run would ever get it."""
    with bouncing(open_folder, crowd.target, "transaction", 1) as pooled:
        pool = connect(pooled, bind=False, pool_size=1)
        try:
            with pytest.raises(StoreError, match="through a pooler: use the server's own URL"):
                maintain(pool)
        finally:
            pool.close_all()
        assert maintain(crowd, wait=0).trained


def test_who_does_not_own_the_table_is_told(crowd: Database, server: Server) -> None:
    """One line, and nothing is changed."""
    with server.role() as role:
        crowd.execute_sql(f"GRANT SELECT ON messages TO {role}")
        pool = connect(server.url_as(role, crowd.target.dbname), bind=False, pool_size=1)
        try:
            with pytest.raises(StoreError, match=r"owner of messages: run it as \w+$"):
                maintain(pool)
            crowd.execute_sql("DROP INDEX idx_messages_embedding")
            # The server would only warn, and vacuum nothing.
            with pytest.raises(StoreError, match=r"owner of messages: run it as \w+$"):
                maintain(pool)
        finally:
            pool.close_all()
            crowd.execute_sql(f"DROP OWNED BY {role}")


@pytest.mark.parametrize("misses", [0, 1, 4, 13])
def test_a_recall_is_what_was_found_of_all(misses: int) -> None:
    """To the last digit: with one miss of 400 what is aimed at is reached."""
    exact = [[float(at) for at in range(10)]] * 40
    got = [
        [*range(1 if at < misses else 0, 10), *([99.0] if at < misses else [])] for at in range(40)
    ]
    assert (400 - misses) / 400 == recall._recall(exact, got, 10)
    short = [one[:5] for one in exact]
    assert 0 == recall._recall(short, got, 10)


def test_of_what_a_search_may_miss_a_part_is_planned_for(crowd: Database) -> None:
    """The rest is a margin; one of three lists would do for half of the nearest."""
    done = maintain(crowd, recall=0.5)
    assert 3 == done.lists
    assert all(0.9375 <= share <= 1 for share in done.recall.values())
    assert 1000 in done.recall


def test_a_message_that_finds_itself_is_no_merit(crowd: Database) -> None:
    """Its distance is not among those that are compared."""
    with crowd.cursor() as cursor:
        cursor.execute("SELECT embedding::text FROM messages WHERE id = 1")
        ((text,),) = cursor.fetchall()
        found = recall._distances(cursor, recall._EXACT, text, 11)
    assert 10 == len(found)
    assert min(found) > 1e-4


@pytest.mark.parametrize(
    "bad",
    [
        *({"recall": 0.4}, {"recall": 1.1}, {"recall": float("nan")}, {"recall": True}),
        *({"recall": "0.9"}, {"recall": None}, {"wait": -1}, {"wait": "1"}),
    ],
)
def test_a_bad_value_is_refused(crowd: Database, bad: dict[str, Any]) -> None:
    """Before anything is done."""
    with pytest.raises(InvalidValue, match=rf"^maintain\.{next(iter(bad))}: not from"):
        maintain(crowd, **bad)


def test_what_is_no_database_of_threads_is_refused() -> None:
    """As the functions of the store say it."""
    wrong: Any = "postgresql://localhost/app"
    with pytest.raises(InvalidValue, match=r"expected what foundry\.connect\(\) returns, got str$"):
        maintain(wrong)


def test_the_command_says_what_it_found(
    crowd: Database, url: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """To people, and as JSON with the result last."""
    assert 0 == main(["maintain", "--database", url, "--no-color"])
    said = capsys.readouterr().out
    assert "training idx_messages_embedding: 3 lists for 3,000 embeddings" in said
    assert "ivfflat, 3,000 embeddings, 3 lists, trained anew (before: 1)" in said
    assert "nearest 10: probes " in said
    assert 0 == main(["maintain", "--database", url, "--json"])
    done = json.loads(capsys.readouterr().out.splitlines()[-1])["maintained"]
    assert (False, 3, ROWS) == (done["trained"], done["lists"], done["rows"])
    assert 2 == main(["maintain", "--database", url, "--json", "--recall", "7"])
    ended = capsys.readouterr()
    assert {"error": "maintain.recall: not from 0.5 to 1"} == json.loads(ended.out)
    assert "error: maintain.recall: not from 0.5 to 1\n" == ended.err.splitlines(keepends=True)[-1]


def test_why_an_index_is_not_used_is_said() -> None:
    """With what would have it used."""
    done = Report(index="i", method="hnsw", rows=99, effort={}, recall={}, aim=0.99)
    assert lines(done)[1].endswith("exact: its recall is below 0.99, which --recall sets")
    assert lines(replace(done, rows=5))[1].endswith("exact: there are too few embeddings")


IVFFLAT = 'using="ivfflat",\n            options={"lists": declare.tuned(1)},'
CLASS = 'declare.Opclass(Message.embedding, "vector_cosine_ops")'
NARROW = 'declare.Opclass(Message.embedding.cast("halfvec(384)"), "halfvec_cosine_ops")'


@pytest.mark.parametrize(
    "changes",
    [{IVFFLAT: 'using="hnsw",'}, {IVFFLAT: 'using="hnsw",', CLASS: NARROW}, {CLASS: NARROW}],
    ids=["hnsw", "hnsw halfvec", "ivfflat halfvec"],
)
def test_another_index_is_a_word_in_the_model_and_a_migration(
    crowd: Database,
    url: str,
    changes: dict[str, str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Search uses it as soon as it is measured, and finds as many."""
    source = (Path(__file__).parents[2] / "schema" / "conversations.py").read_text("utf-8")
    for before, after in changes.items():
        assert before in source
        source = source.replace(before, after)
    name = f"talks_{abs(hash(tuple(changes.values())))}"
    (tmp_path / f"{name}.py").write_text(source, "utf-8")
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.chdir(tmp_path)
    project = ["--models", f"{name}:MODELS", "--directory", "migrations", "--database", url]
    assert 0 == migrate(["generate", "index", *project])
    assert 0 == migrate(["up", *project])
    assert 0 == migrate(["diff", "--check", *project])
    definition = value(crowd, _DEFINITION)
    assert ("hnsw" in definition, "halfvec" in definition) == (
        IVFFLAT in changes,
        CLASS in changes,
    )
    done = maintain(crowd)
    assert 10 in done.effort
    assert uses(crowd) == uses_after(crowd)


def uses(database: Database) -> int:
    """How often the index was scanned, as the server has counted it by now."""
    query = (
        "SELECT pg_stat_force_next_flush(), pg_stat_clear_snapshot(),"
        " idx_scan FROM pg_stat_user_indexes WHERE indexrelname = 'idx_messages_embedding'"
    )
    database.execute_sql("SELECT pg_stat_force_next_flush()")
    return int(database.execute_sql(query).fetchone()[2])


def uses_after(database: Database) -> int:
    """The same, of a search; less that search."""
    assert 10 == len(search.near(database, QUERY))
    return uses(database) - 1
