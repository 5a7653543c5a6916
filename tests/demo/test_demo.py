"""`python -m foundry demo` stores the packaged conversations once, however often it runs."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import closing
from functools import partial
from io import StringIO
from pathlib import Path
from typing import Any

import psycopg2
import pytest
from rich.cells import cell_len
from rich.console import Console

from foundry import demo, embedded
from foundry.database import Target, proxy

COUNTS = {
    "users": 7,
    "sessions": 7,
    "messages": 202,
    "chain_analysis_results": 7,
    "protocol_history": 3,
    "agent_interactions": 31,
    "safety_logs": 7,
}
FOREIGN = "11111111-1111-1111-1111-111111111111"

Run = Callable[[], str]
Ask = Callable[[str], list[Any]]


def asked(params: Any, statement: str) -> list[Any]:
    """The rows of a statement on a connection of its own; none when it returns none."""
    with closing(psycopg2.connect(**params)) as connection, connection, connection.cursor() as c:
        c.execute(statement)
        return c.fetchall() if c.description else []


def counts(ask: Ask) -> dict[str, int]:
    """How many rows each table of foundry has."""
    return {table: ask(f"SELECT count(*) FROM {table}")[0][0] for table in COUNTS}


@pytest.fixture
def ask(migrated: Target) -> Ask:
    """Asks the migrated database."""
    return lambda statement: asked(migrated.params, statement)


@pytest.fixture
def run(migrated: Target, server: Any) -> Iterator[Run]:
    """Runs the demo on the migrated database at 80 columns; returns what it printed."""
    before = proxy.obj

    def call() -> str:
        out = StringIO()
        demo.run(server.url(migrated.dbname), Console(file=out, width=80))
        return out.getvalue()

    yield call
    proxy.initialize(before)


def has_embeddings(ask: Ask) -> bool:
    """True where the server has pgvector."""
    column = "attrelid = 'messages'::regclass AND attname = 'embedding'"
    return bool(ask(f"SELECT 1 FROM pg_attribute WHERE {column}"))


def test_the_command_runs_twice_on_a_new_embedded_server(open_folder: Path) -> None:
    """From nothing to tables with rows, and a second run adds none."""
    data = open_folder / "demo"
    env = {k: v for k, v in os.environ.items() if k not in {"DATABASE_URL", "COLUMNS"}}
    env |= {"FOUNDRY_DATA": str(data), "PYTHONIOENCODING": "utf-8"}
    running = embedded.acquire(data)
    try:
        for _ in range(2):
            done = subprocess.run(
                [sys.executable, "-m", "foundry", "demo"],
                # Where no .env names another database.
                cwd=open_folder,
                env=env,
                capture_output=True,
                encoding="utf-8",
            )
            assert (0, "") == (done.returncode, done.stderr)
            assert "on the embedded server" in done.stdout
            assert (
                counts(partial(asked, psycopg2.extensions.parse_dsn(running.url("foundry"))))
                == COUNTS
            )
    finally:
        embedded.release(data)
        embedded.stop(data)


def test_a_second_run_leaves_the_same_rows_and_as_many_checkpoints(run: Run, ask: Ask) -> None:
    """Sessions keep their ids, so the threads named after them are replaced as well."""
    ids = "SELECT id FROM sessions ORDER BY id"
    threads = "SELECT thread_id, count(*) FROM checkpoint GROUP BY 1 ORDER BY 1"
    run()
    first = (ask(ids), ask(threads), counts(ask))
    run()
    assert first == (ask(ids), ask(threads), counts(ask))
    assert counts(ask) == COUNTS
    assert [row[0] for row in ask("SELECT id::text FROM sessions ORDER BY 1")] == [
        thread for thread, _ in ask(threads)
    ]


def test_every_message_gets_an_embedding_where_there_is_pgvector(run: Run, ask: Ask) -> None:
    """The embedder calls itself non-semantic; without pgvector one line says so."""
    printed = run()
    if has_embeddings(ask):
        assert "hashing (non-semantic)" in printed
        assert "Nearest by shared words" in printed
        assert [(0,)] == ask("SELECT count(*) FROM messages WHERE embedding IS NULL")
    else:
        assert "without embeddings: this server has no pgvector" in printed
        assert "Nearest" not in printed


def test_rows_of_others_stay_as_they_are(run: Run, ask: Ask) -> None:
    """A person whose address the demo uses too keeps the name, the id and the session."""
    email = "rosalind.achterberg@example.org"
    ask(f"INSERT INTO users (id, email, name) VALUES ('{FOREIGN}', '{email}', 'Another')")
    ask(f"INSERT INTO sessions (id, user_id) VALUES ('{FOREIGN}', '{FOREIGN}')")
    ask(f"INSERT INTO messages (session_id, role, content) VALUES ('{FOREIGN}', 'user', 'mine')")
    before = ask("SELECT u, s, m.content FROM users u, sessions s, messages m")
    run()
    printed = run()
    mine = f"u.id = '{FOREIGN}' AND s.id = u.id AND m.session_id = s.id"
    assert before == ask(
        f"SELECT u, s, m.content FROM users u, sessions s, messages m WHERE {mine}"
    )
    assert [(2,)] == ask(f"SELECT count(*) FROM sessions WHERE user_id = '{FOREIGN}'")
    assert "mine" not in printed


def test_the_output_fits_80_columns_without_colour(run: Run) -> None:
    """Also where words run from right to left or fill two cells each."""
    printed = run()
    assert 80 >= max(cell_len(line) for line in printed.splitlines())
    assert "\x1b" not in printed


def test_the_saver_alone_writes_checkpoints_without_langgraph_itself(
    run: Run, ask: Ask, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The [langgraph] extra brings the saver, not the graphs; the state is complete either way."""
    monkeypatch.setitem(sys.modules, "langgraph.graph", None)
    assert "PostgresSaver alone; the saver finds 7 threads" in run()
    complete = """
        SELECT count(*) FROM checkpoint AS c
        JOIN chain_analysis_results AS r ON c.thread_id = r.session_id::text
        WHERE c.metadata ->> 'step' = '3'
          AND c.checkpoint -> 'channel_values' -> 'chain_links' = r.chain_links
          AND c.checkpoint -> 'channel_values' ->> 'summary' = r.summary
    """
    assert [(7,)] == ask(complete)


def test_without_langgraphs_package_one_line_says_so(
    run: Run, ask: Ask, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Everything else is stored."""
    monkeypatch.setitem(sys.modules, "langgraph.checkpoint.postgres", None)
    printed = " ".join(run().split())
    assert "No checkpoints: LangGraph's package is not installed" in printed
    assert "pip install 'cerina-foundry[langgraph]'" in printed
    assert counts(ask) == COUNTS
