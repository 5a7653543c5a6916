"""LangGraph's tables: made, upgraded and left alone by `up`, used by the stock savers."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest
from support.migrations import rows, tables, url_of
from support.sessions import holding, pid_of, ran, session

from foundry.database import Database, Target, connect, resolve
from foundry.errors import Refused
from foundry.migrate import Level, Runner, load, up
from foundry.migrate.externals import bring_forward
from foundry.migrate.history import State
from foundry.migrate.verify import verify
from foundry.schema import (
    Checkpoint,
    CheckpointBlob,
    CheckpointMigration,
    CheckpointState,
    CheckpointWrite,
)
from foundry.schema.checkpoints import LANGGRAPH

pytest.importorskip("langgraph.checkpoint.postgres")

import psycopg
from langgraph.checkpoint.base import empty_checkpoint
from langgraph.checkpoint.postgres import PostgresSaver
from langgraph.checkpoint.postgres.aio import AsyncPostgresSaver
from psycopg.rows import dict_row

LATEST = len(PostgresSaver.MIGRATIONS) - 1

# What langgraph-checkpoint-postgres 2.0.0 made, its steps 0 to 4.
VERSION_2_0_0 = (
    "CREATE TABLE checkpoint_migrations (v INTEGER PRIMARY KEY)",
    "CREATE TABLE checkpoints (thread_id TEXT NOT NULL, checkpoint_ns TEXT NOT NULL DEFAULT '',"
    " checkpoint_id TEXT NOT NULL, parent_checkpoint_id TEXT, type TEXT,"
    " checkpoint JSONB NOT NULL, metadata JSONB NOT NULL DEFAULT '{}',"
    " PRIMARY KEY (thread_id, checkpoint_ns, checkpoint_id))",
    "CREATE TABLE checkpoint_blobs (thread_id TEXT NOT NULL,"
    " checkpoint_ns TEXT NOT NULL DEFAULT '', channel TEXT NOT NULL, version TEXT NOT NULL,"
    " type TEXT NOT NULL, blob BYTEA,"
    " PRIMARY KEY (thread_id, checkpoint_ns, channel, version))",
    "CREATE TABLE checkpoint_writes (thread_id TEXT NOT NULL,"
    " checkpoint_ns TEXT NOT NULL DEFAULT '', checkpoint_id TEXT NOT NULL,"
    " task_id TEXT NOT NULL, idx INTEGER NOT NULL, channel TEXT NOT NULL, type TEXT,"
    " blob BYTEA NOT NULL,"
    " PRIMARY KEY (thread_id, checkpoint_ns, checkpoint_id, task_id, idx))",
    "ALTER TABLE checkpoint_blobs ALTER COLUMN blob DROP NOT NULL",
)


@pytest.fixture
def old(empty: Target) -> Iterator[Database]:
    """A database with the tables of 2.0.0 and one row in each."""
    database = connect(url_of(empty), bind=False)
    with database.connection_context():
        for number, statement in enumerate(VERSION_2_0_0):
            database.execute_sql(statement)
            database.execute_sql("INSERT INTO checkpoint_migrations VALUES (%s)", (number,))
        database.execute_sql("INSERT INTO checkpoints VALUES ('t', '', '1', NULL, NULL, '{}')")
        database.execute_sql("INSERT INTO checkpoint_blobs VALUES ('t', '', 'c', '1', 'null', '')")
        database.execute_sql(
            "INSERT INTO checkpoint_writes VALUES ('t', '', '1', 'k', 0, 'c', 'null', '')"
        )
        yield database
    database.close_all()


def shape(target: Target) -> list[tuple[object, ...]]:
    """Columns, keys and indexes of LangGraph's four tables."""
    keys = rows(
        target,
        "SELECT conname, pg_get_constraintdef(oid) FROM pg_constraint"
        " WHERE conrelid::regclass::text LIKE %s ORDER BY 1",
        "checkpoint%",
    )
    return keys + rows(
        target,
        "SELECT c.relname, a.attname, format_type(a.atttypid, a.atttypmod), a.attnotnull,"
        " pg_get_expr(d.adbin, d.adrelid) FROM pg_class AS c"
        " JOIN pg_attribute AS a ON a.attrelid = c.oid AND a.attnum > 0"
        " LEFT JOIN pg_attrdef AS d ON d.adrelid = c.oid AND d.adnum = a.attnum"
        " WHERE c.relname LIKE %s AND c.relkind IN ('r', 'i') AND c.relname NOT LIKE %s"
        " ORDER BY 1, 2",
        "checkpoint%",
        "idx%",
    )


def test_the_tables_equal_those_of_setup(empty: Target, server: Any) -> None:
    """What the package's own setup() makes is what `up` makes."""
    own = server.create()
    try:
        with PostgresSaver.from_conn_string(server.url(own)) as saver:
            saver.setup()
        up(empty)
        assert shape(resolve(server.url(own))) == shape(empty)
    finally:
        server.drop(own)
    assert [(n,) for n in range(LATEST + 1)] == rows(
        empty, "SELECT v FROM checkpoint_migrations ORDER BY v"
    )


def test_the_tables_of_2_0_0_are_upgraded_and_keep_their_rows(old: Database, empty: Target) -> None:
    """The indexes that were missing are built, and are valid."""
    up(empty)
    assert LATEST == LANGGRAPH.version(old)
    for table in ("checkpoints", "checkpoint_blobs", "checkpoint_writes"):
        assert [("t",)] == rows(empty, f"SELECT thread_id FROM {table}")
    assert [("",)] == rows(empty, "SELECT task_path FROM checkpoint_writes")
    assert [] == rows(empty, "SELECT FROM pg_index WHERE NOT indisvalid")


def test_nobody_waits_long_behind_an_upgrade_that_waits(old: Database, empty: Target) -> None:
    """It tries again until the table is free, and says who has it."""
    longest, over, lines = [0.0], threading.Event(), list[str]()

    def read() -> None:
        with session(empty) as conn:
            while not over.is_set():
                started = time.monotonic()
                ran(conn, "SELECT FROM checkpoint_writes")
                longest[0] = max(longest[0], time.monotonic() - started)

    reader = threading.Thread(target=read)
    reader.start()
    try:
        with holding(empty, "SELECT FROM checkpoint_writes") as holder:
            pid = pid_of(holder)
            freed = threading.Timer(3, ran, (holder, "COMMIT"))
            freed.start()
            with Runner.opened(empty, load().settings, report=lines.append) as runner:
                runner.up("0001_conversations")
            freed.join()
    finally:
        over.set()
        reader.join()
    assert longest[0] < 0.8
    assert LATEST == LANGGRAPH.version(old)
    assert any(f"upgrading the langgraph tables waits for server process {pid}" in x for x in lines)


def test_an_index_that_a_killed_upgrade_left_invalid_is_built_again(
    old: Database, empty: Target
) -> None:
    """IF NOT EXISTS alone would keep it, and the planner would never use it."""
    old.execute_sql(
        "INSERT INTO checkpoints"
        " SELECT 't', '', g::text, NULL, NULL, '{}' FROM generate_series(2, 3) AS g"
    )
    with pytest.raises(Exception, match="could not create unique index"):
        old.execute_sql(
            "CREATE UNIQUE INDEX CONCURRENTLY checkpoints_thread_id_idx ON checkpoints(thread_id)"
        )
    assert [(1,)] == rows(empty, "SELECT count(*) FROM pg_index WHERE NOT indisvalid")
    up(empty)
    assert [(False, True)] == rows(
        empty,
        "SELECT indisunique, indisvalid FROM pg_index"
        " WHERE indexrelid = 'checkpoints_thread_id_idx'::regclass",
    )


def test_tables_newer_than_the_package_are_refused(migrated: Target) -> None:
    """A step this package does not know may have changed what its saver writes."""
    database = connect(url_of(migrated), bind=False)
    with database.connection_context():
        database.execute_sql("INSERT INTO checkpoint_migrations VALUES (%s)", (LATEST + 1,))
    database.close_all()
    with pytest.raises(Refused, match="upgrade langgraph-checkpoint-postgres"):
        up(migrated)
    with Runner.opened(migrated, load().settings) as runner:
        assert all(s.state is not State.PENDING for s in runner.standings())
        checks = {c.name: c for c in verify(runner, load())}
    assert Level.BAD is checks["langgraph tables"].level


def test_an_invalid_index_is_built_again_though_no_step_is_missing(migrated: Target) -> None:
    """Also when the numbers of the steps were lost."""
    database = connect(url_of(migrated), bind=False)
    invalid = "SELECT FROM pg_index WHERE NOT indisvalid"
    with database.connection_context():
        database.execute_sql(
            "UPDATE pg_index SET indisvalid = false"
            " WHERE indexrelid = 'checkpoints_thread_id_idx'::regclass"
        )
        assert 1 == len(rows(migrated, invalid))
        up(migrated)
        assert [] == rows(migrated, invalid)
        database.execute_sql(
            "TRUNCATE checkpoint_migrations; UPDATE pg_index SET indisvalid = false"
            " WHERE indexrelid = 'checkpoint_blobs_thread_id_idx'::regclass"
        )
        up(migrated)
        assert [] == rows(migrated, invalid)
    database.close_all()


def test_a_second_run_does_nothing(migrated: Target) -> None:
    """Brought forward means nothing is pending."""
    database = connect(url_of(migrated), bind=False)
    with database.connection_context():
        said: list[str] = []
        assert not bring_forward(database, LANGGRAPH, report=said.append).pending
        assert [] == said
    database.close_all()


def test_four_runs_at_once_on_an_empty_database_all_succeed(empty: Target) -> None:
    """Of ten runs of LangGraph's own setup() nine fail."""
    running = [
        subprocess.Popen(
            [sys.executable, "-m", "foundry.migrate", "up", "-q", "--database", url_of(empty)],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
        )
        for _ in range(4)
    ]
    ended = [(process.communicate()[1], process.returncode) for process in running]
    assert [0] * 4 == [code for _, code in ended]
    assert [] == [said for said, _ in ended if "error" in said]
    assert [(1,)] == rows(empty, "SELECT DISTINCT count(*) FROM foundry_migration GROUP BY name")
    assert "checkpoint" in tables(empty)


def test_without_the_package_its_tables_are_left_out_and_arrive_later(
    empty: Target, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Everything else is there, and one line says what to install."""
    from dataclasses import replace

    from foundry.migrate.printing import notices

    project = load()
    absent = replace(LANGGRAPH, installed=lambda: False)
    without = replace(project.settings, externals=(absent,))
    with Runner.opened(empty, without) as runner:
        outcome = runner.up()
    (line,) = [line for line in notices(outcome) if "langgraph" in line]
    assert "pip install 'cerina-foundry[langgraph]'" in line
    assert "messages" in tables(empty)
    assert not {"checkpoints", "checkpoint"} & tables(empty)
    with Runner.opened(empty, project.settings) as runner:
        assert ["0004_checkpoints"] == [d.name for d in runner.up().done]
    assert {"checkpoints", "checkpoint"} <= tables(empty)


def test_the_sync_saver_writes_reads_lists_and_deletes_without_setup(
    database: Database, migrated: Target
) -> None:
    """And the read-only models and the view show what it wrote."""
    connection = psycopg.connect(
        url_of(migrated), autocommit=True, row_factory=dict_row, prepare_threshold=0
    )
    saver = PostgresSaver(connection)
    config: Any = {"configurable": {"thread_id": "t", "checkpoint_ns": ""}}
    checkpoint = empty_checkpoint()
    checkpoint["channel_values"] = {"draft": ["a", {"b": 1}], "n": 3}
    checkpoint["channel_versions"] = {"draft": "1", "n": "1"}
    stored = saver.put(
        config, checkpoint, {"source": "input", "step": 0}, checkpoint["channel_versions"]
    )
    saver.put_writes(stored, [("draft", "later")], "task")
    assert {"draft": ["a", {"b": 1}], "n": 3} == saver.get_tuple(config).checkpoint[  # type: ignore[union-attr]
        "channel_values"
    ]
    assert 1 == len(list(saver.list(config)))
    row = CheckpointState.get(CheckpointState.thread_id == "t")
    assert {"draft": ["a", {"b": 1}], "n": 3} == row.checkpoint["channel_values"]
    counts = [m.select().count() for m in (Checkpoint, CheckpointBlob, CheckpointWrite)]
    assert [1, 1, 1] == counts
    assert LATEST + 1 == CheckpointMigration.select().count()
    saver.delete_thread("t")
    assert [] == list(saver.list(config))
    connection.close()


def test_the_async_saver_passes_langgraphs_conformance_suite(migrated: Target) -> None:
    """Every capability it has passes in full; a saver without any would pass vacuously."""
    from langgraph.checkpoint import conformance

    @conformance.checkpointer_test(name="AsyncPostgresSaver")
    async def saver() -> Any:
        async with AsyncPostgresSaver.from_conn_string(url_of(migrated)) as made:
            yield made

    report = asyncio.run(conformance.validate(saver))
    assert report.passed_all_base()
    results = [r for r in report.results.values() if r.detected]
    assert [] == [failure for r in results for failure in r.failures]
    assert 6 == len(results)
    assert 66 == sum(r.tests_passed for r in results)
