"""The documentation of the store: what it tells to type works as it stands."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.server import Server

from foundry.database import Database, connect
from foundry.schema import Message
from foundry.schema.base import has_column

PAGE = (Path(__file__).parents[2] / "docs" / "store.md").read_text("utf-8")
_DEFINITIONS = "SELECT indexname, indexdef FROM pg_indexes WHERE tablename = 'messages'"


def blocks(language: str) -> list[str]:
    """The blocks of the page in one language."""
    return re.findall(rf"```{language}\n(.*?)```", PAGE, flags=re.DOTALL)


DECLARED = {("hnsw" if "hnsw" in b else "english"): b for b in blocks("python") if "add_index" in b}


@pytest.fixture
def own(server: Server) -> Iterator[Database]:
    """A database of its own."""
    name = server.clone()
    pool = connect(server.url(name), bind=False, pool_size=1)
    try:
        with pool.connection_context():
            if not has_column(pool, Message.embedding):
                pytest.skip("this server has no pgvector")
            yield pool
    finally:
        pool.close_all()
        server.drop(name)


def typed(arguments: list[str], folder: Path, url: str) -> str:
    """What Python printed, which ended well."""
    path = os.pathsep.join(filter(None, sys.path))
    done = subprocess.run(
        [sys.executable, *arguments],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": path, "DATABASE_URL": url},
        capture_output=True,
        text=True,
        check=False,
    )
    assert 0 == done.returncode, done.stderr
    return done.stdout


def test_the_examples_run_one_after_the_other(
    own: Database, server: Server, tmp_path: Path
) -> None:
    """Search's has an embedding and a Monday of the reader's."""
    talks, protocols, found = blocks("python")[:3]
    given = "embedding, monday, user = [0.1] * 384, now.replace(year=2020), User.get()\n"
    (tmp_path / "typed.py").write_text(talks + protocols + given + found, "utf-8")
    said = typed(["typed.py"], tmp_path, server.url(str(own.target.dbname)))
    assert "Decision(decided='approved'" in said
    assert any(line.endswith(" I could not sleep.") for line in said.splitlines())


@pytest.mark.parametrize("name", ["english", "hnsw"])
def test_another_index_is_declared_by_an_application(
    own: Database, server: Server, tmp_path: Path, name: str
) -> None:
    """By the commands of the page, beside an option of foundry's own files; the rest stays."""
    url = server.url(str(own.target.dbname))
    (tmp_path / "setup.cfg").write_text("[foundry]\noptions = text_index\n", "utf-8")
    typed(["-m", "foundry.migrate", "up"], tmp_path, url)
    before = dict(own.execute_sql(_DEFINITIONS).fetchall())
    (tmp_path / "app").mkdir()
    (tmp_path / "app" / "models.py").write_text(DECLARED[name], "utf-8")
    (tmp_path / "app.cfg").write_text(blocks("ini")[0], "utf-8")
    for command in re.findall(r"^python (.* --config app\.cfg)$", PAGE, flags=re.MULTILINE):
        typed(command.split(), tmp_path, url)
    typed(["-m", "foundry.migrate", "diff", "--check", "--config", "app.cfg"], tmp_path, url)
    after = dict(own.execute_sql(_DEFINITIONS).fetchall())
    assert [name in definition for definition in after.values()].count(True) == 1
    assert {*before} - {*after} == set()
    kept = {k for k in before if after[k] == before[k]}
    assert {*before} - kept == ({"idx_messages_embedding"} if name == "hnsw" else set())
