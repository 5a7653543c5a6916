"""A lock_timeout that stands in a file keeps nobody waiting behind its locks."""

from __future__ import annotations

import threading
import time
from pathlib import Path

import pytest
from support.differ import execute
from support.migrations import rows, up, write
from support.sessions import holding, ran, session

from foundry.database import Target
from foundry.errors import MigrationError
from foundry.migrate.limits import stated

ALTER = "ALTER TABLE t ADD COLUMN n int"


def longest_stall(target: Target, directory: Path) -> float:
    """Seconds that a reader waited for at most, while `up` waited for another one."""
    longest, over = [0.0], threading.Event()

    def read() -> None:
        with session(target) as conn:
            while not over.is_set():
                started = time.monotonic()
                ran(conn, "SELECT FROM t")
                longest[0] = max(longest[0], time.monotonic() - started)

    reader = threading.Thread(target=read)
    reader.start()
    try:
        with holding(target, "SELECT FROM t") as holder:
            freed = threading.Timer(3, ran, (holder, "COMMIT"))
            freed.start()
            up(target, directory)
            freed.join()
    finally:
        over.set()
        reader.join()
    return longest[0]


@pytest.mark.parametrize("head", ["atomic = True", "atomic = False"])
@pytest.mark.parametrize(
    "before", ["SET LOCAL lock_timeout = 0", "SELECT set_config('lock_timeout', '30s', true)"]
)
def test_one_that_stands_in_one_text_with_its_statement_is_put_back(
    empty: Target, directory: Path, head: str, before: str
) -> None:
    """Others would stand in line behind the lock for all of the wait."""
    execute(empty, "CREATE TABLE t (id int)")
    write(directory, "0001_a", f"{before}; {ALTER}", head=head)
    assert longest_stall(empty, directory) < 0.8


def test_the_statements_of_such_a_text_are_all_run(empty: Target, directory: Path) -> None:
    """As one step, with the semicolons of a function's body in their place."""
    body = "CREATE FUNCTION f() RETURNS int LANGUAGE sql BEGIN ATOMIC SELECT 1; SELECT 2; END"
    text = f"SET lock_timeout = 0; {body}; CREATE TABLE t AS SELECT f(), '1;2%%' AS s; ;"
    write(directory, "0001_a", text)
    assert ("0001_a",) == up(empty, directory)
    assert [(2, "1;2%")] == rows(empty, "SELECT * FROM t")


@pytest.mark.parametrize("head", ["atomic = True", "atomic = False"])
@pytest.mark.parametrize(
    "way", ["SET LOCAL lock_timeout = 0;", "PERFORM set_config('Lock_Timeout', '0', true);"]
)
def test_a_block_of_code_that_sets_one_is_refused(
    empty: Target, directory: Path, head: str, way: str
) -> None:
    """Nobody can come between its statements."""
    execute(empty, "CREATE TABLE t (id int)")
    write(directory, "0001_a", f"DO $$ BEGIN {way} {ALTER}; END $$", head=head)
    with pytest.raises(MigrationError, match="a DO sets lock_timeout: take that out"):
        up(empty, directory)
    assert [] == rows(
        empty, "SELECT FROM pg_attribute WHERE attrelid = 't'::regclass AND attnum = 2"
    )


@pytest.mark.parametrize(
    "text",
    [
        f"DO $$ BEGIN {ALTER}; END $$; SELECT 1",
        "INSERT INTO t VALUES ('the lock_timeout; of it'); SELECT 1",
        "DO $$ BEGIN COMMIT; SET lock_timeout = 0; END $$",
    ],
)
def test_other_texts_are_sent_as_they_are(text: str) -> None:
    """What is said of it in a string, and a block that commits and waits as it likes, too."""
    assert (text,) == stated(text)
