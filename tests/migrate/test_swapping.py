"""What others write while a column is swapped for one of another type is right afterwards."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from types import ModuleType
from typing import Any

import psycopg2
import pytest
from support.cases import note, schema_of
from support.differ import Desk, build, execute
from support.migrations import rows
from support.server import Server

from foundry.database import Target

# What the text of a moment is depends on the session; `same` is what it has to come out as.
A = note("a = DateTimeTZField(null=True, index=True)", "same = DateTimeTZField(null=True)")
B = note("a = TextField(null=True, index=True)", "same = DateTimeTZField(null=True)")
ROWS = 6_000
FILLED = f"""
INSERT INTO note (a, same) SELECT m, m FROM (
    SELECT '2026-01-01'::timestamptz + n * '1 s'::interval AS m FROM generate_series(1, {ROWS}) AS n
) AS s
"""
WRONG = "SELECT id FROM note WHERE a IS DISTINCT FROM same::text"
SESSION = "SET TimeZone = 'Asia/Tokyo'; SET DateStyle = 'SQL, DMY'"
OURS = "SET TimeZone = 'UTC'; SET DateStyle = 'ISO'"


class Writing:
    """Stands for playhouse's migrator, and keeps the texts it is handed."""

    def __init__(self) -> None:
        self.texts: list[str] = []

    def sql(self, text: str) -> str:
        return text.replace("%%", "%")

    def migrate(self, *texts: str) -> None:
        self.texts += texts


def steps(desk: Desk, way: str) -> Sequence[str]:
    """Return what the one file does, statement by statement."""
    (path,) = desk.files()
    module = ModuleType(path.stem)
    exec(compile(path.read_text(), str(path), "exec"), module.__dict__)
    migrator: Any = Writing()
    getattr(module, way)(migrator, None)
    found: list[str] = migrator.texts
    return found


@pytest.fixture
def desk(server: Server) -> Iterator[tuple[Desk, Target]]:
    """A file that makes texts of moments, not applied yet, and rows."""
    with closing(Desk(server)) as made:
        target = made.database()
        build(made, target, schema_of(A))
        execute(target, FILLED)
        assert 0 == made.generate(target, schema_of(B)).code
        yield made, target


@contextmanager
def session(target: Target) -> Iterator[Any]:
    """A session of somebody with other settings than a migration's."""
    with closing(psycopg2.connect(**target.params)) as connection:
        connection.autocommit = True
        with connection.cursor() as cursor:
            cursor.execute(SESSION)
            yield cursor


def write(cursor: Any, number: int) -> int:
    """Insert, change, empty, move and delete; returns how many rows there are more."""
    moment = "(SELECT m FROM (SELECT clock_timestamp() AS m) AS c)"
    low, high = number % ROWS + 1, ROWS - number % ROWS
    for text in (
        f"INSERT INTO note (a, same) SELECT m, m FROM {moment} AS c (m)",
        "INSERT INTO note (a, same) VALUES (NULL, NULL)",
        f"UPDATE note SET (a, same) = (SELECT m, m FROM {moment} AS c (m)) WHERE id = {high}",
        f"UPDATE note SET same = NULL, a = NULL WHERE id = {low}",
        f"UPDATE note SET id = -id WHERE id = {(low * 7) % ROWS + 1}",
        f"WITH m AS (DELETE FROM note WHERE id = {(high * 3) % ROWS + 1} RETURNING 1) "
        f"INSERT INTO note (a, same) SELECT c.m, c.m FROM m, {moment} AS c (m)",
    ):
        cursor.execute(text)
    return 2


@pytest.mark.parametrize("replica", [False, True])
def test_writes_between_any_two_steps_are_kept(desk: tuple[Desk, Target], replica: bool) -> None:
    """Also those of a session in which the triggers of others are off."""
    made, target = desk
    more = 0
    with closing(psycopg2.connect(**target.params)) as connection, session(target) as other:
        if replica:
            other.execute("SET session_replication_role = replica")
        connection.autocommit = True
        cursor = connection.cursor()
        cursor.execute(OURS)
        for number, text in enumerate(steps(made, "up")):
            more += write(other, number * 11)
            cursor.execute(text)
        cursor.execute(WRONG)
        assert [] == cursor.fetchall()
        cursor.execute("SELECT count(*), min(id) < 0 FROM note")
        assert [(ROWS + more, True)] == cursor.fetchall()


def test_writes_beside_the_batches_are_kept(desk: tuple[Desk, Target]) -> None:
    """Four sessions insert, change and move rows all the time: none is lost, doubled or stale."""
    made, target = desk
    stop, more, failed = threading.Event(), [0] * 4, []

    def client(number: int) -> None:
        try:
            with session(target) as cursor:
                turn = number
                while not stop.is_set():
                    done = write(cursor, turn)
                    more[number] += done
                    turn += 4
        except psycopg2.Error as error:
            failed.append(error)

    threads = [threading.Thread(target=client, args=(n,), daemon=True) for n in range(4)]
    for thread in threads:
        thread.start()
    deadline = time.monotonic() + 20
    while not all(more):
        assert time.monotonic() < deadline, failed
        time.sleep(0.01)
    before = sum(more)
    done = made.up(target, "--pause", "0.1")
    during = sum(more) - before
    stop.set()
    for thread in threads:
        thread.join()
    assert 0 == done.code, done
    assert [] == failed
    assert during > 0
    # What they wrote when it was over they have made texts of themselves.
    wrong, odd = (rows(target, f"{settings}; {WRONG}") for settings in (OURS, SESSION))
    assert set() == {*wrong} & {*odd}
    assert [(ROWS + sum(more),)] == rows(target, "SELECT count(*) FROM note")
    assert not made.differs(target, schema_of(B))


def test_a_row_that_moves_takes_its_value_along(desk: tuple[Desk, Target]) -> None:
    """Its key may go from where the batches were not yet to where they will not be again."""
    made, target = desk
    added, in_step, *_ = steps(made, "up")
    execute(target, added, in_step, "UPDATE note SET id = -id WHERE id = 5")
    assert [(-5,)] == rows(target, "SELECT id FROM note WHERE a_new IS NOT NULL")


# What the database that the file is written for does not have, and how it is got rid of.
UNKNOWN = {
    "index": ("CREATE INDEX late ON note (same) INCLUDE (a)", "DROP INDEX late"),
    "constraint": (
        "ALTER TABLE note ADD CONSTRAINT late CHECK (a > '2000-01-01')",
        "ALTER TABLE note DROP CONSTRAINT late",
    ),
    "statistics object": ("CREATE STATISTICS late ON a, same FROM note", "DROP STATISTICS late"),
    "rights": ("GRANT SELECT (a) ON note TO PUBLIC", "REVOKE SELECT (a) ON note FROM PUBLIC"),
    "rule": ("CREATE RULE late AS ON UPDATE TO note DO INSTEAD NOTHING", "DROP RULE late ON note"),
    "trigger": (
        "CREATE TRIGGER late BEFORE UPDATE ON note FOR EACH ROW "
        "EXECUTE FUNCTION suppress_redundant_updates_trigger()",
        "DROP TRIGGER late ON note",
    ),
}


@pytest.mark.parametrize("what", UNKNOWN)
def test_what_the_file_does_not_know_is_not_dropped_with_the_column(
    desk: tuple[Desk, Target], what: str
) -> None:
    """Nothing is changed where more hangs on the column; without it the run goes through."""
    made, target = desk
    late, gone = UNKNOWN[what]
    execute(target, late)
    refused = made.up(target)
    assert 2 == refused.code
    assert "more hangs on the column than this file knows of: drop that" in refused.err
    assert f"({what} " in refused.err
    assert [(ROWS,)] == rows(target, "SELECT count(*) FROM note WHERE a = same")
    assert [] == rows(target, "SELECT FROM pg_attribute WHERE attname = 'a_new'")
    execute(target, gone)
    assert 0 == made.up(target).code
    assert [] == rows(target, f"{OURS}; {WRONG}")


def test_what_comes_while_it_is_swapped_is_not_dropped_with_the_column(
    desk: tuple[Desk, Target],
) -> None:
    """The last step looks once more, under its lock."""
    made, target = desk
    *before, last = steps(made, "up")
    with session(target) as cursor:
        for text in (OURS, *before, "CREATE STATISTICS late ON a, same FROM note"):
            cursor.execute(text)
    with pytest.raises(psycopg2.errors.DependentObjectsStillExist):
        execute(target, last)
    execute(target, "DROP STATISTICS late", last)
    assert [] == rows(target, f"{OURS}; {WRONG}")
