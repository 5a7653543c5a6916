"""What a statement that failed may have left is taken away, and nothing of anybody else's."""

from __future__ import annotations

from pathlib import Path

from support.differ import execute
from support.migrations import rows
from support.sessions import Running, eventually, holding, is_waiting, pid_of, ran, session

from foundry.database import Target
from foundry.migrate import Runner, leftovers
from foundry.migrate.settings import Settings
from foundry.migrate.statements import read

BUILD = "CREATE INDEX CONCURRENTLY i ON t (n)"
VALID = "SELECT indisvalid FROM pg_index WHERE indexrelid = 'i'::regclass"


def test_an_index_that_another_session_builds_by_now_is_left_to_it(
    empty: Target, tmp_path: Path
) -> None:
    """It began when we had looked, so ours failed; INVALID is what its half is, too."""
    execute(empty, "CREATE TABLE t (n int)")
    lines: list[str] = []
    with (
        holding(empty, "INSERT INTO t VALUES (1)") as holder,
        session(empty) as builder,
        session(empty) as looker,
        Runner.opened(empty, Settings(directory=tmp_path)) as runner,
    ):
        running = Running(builder, BUILD)
        eventually(lambda: is_waiting(looker, pid_of(builder)))
        eventually(lambda: ran(looker, "SELECT FROM pg_class WHERE relname = 'i'"))
        runner.database.execute_sql("SET lock_timeout = '1s'")
        try:
            assert "" == leftovers.clear(runner.database, read(BUILD), lines.append)
        finally:
            ran(holder, "COMMIT")
            running.ended()
    assert running.failure is None
    assert [] == lines
    assert [(True,)] == rows(empty, VALID)
