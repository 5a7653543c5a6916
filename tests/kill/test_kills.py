"""Killed at every statement and at any moment: one more run brings what was wanted, once."""

from __future__ import annotations

import os
import random
import re
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest
from bench import Bench, Row, steps
from support.migrations import Ended

WHOM = ("client", "backend")
MOMENTS = int(os.environ.get("FOUNDRY_KILL_MOMENTS", "200"))
ROWS = 5_000
BEFORE = f"""
CREATE TABLE other (id int PRIMARY KEY);
INSERT INTO other SELECT generate_series(0, 9);
CREATE TABLE t (id bigserial PRIMARY KEY, n int NOT NULL, s text, d int, other_id int);
INSERT INTO t (n, s, d, other_id)
SELECT i, 'row ' || i, i, i % 10 FROM generate_series(1, {ROWS}) AS i;
"""
FILES = {
    "0001_rewrite": steps(
        ["ALTER TABLE t ALTER COLUMN n TYPE bigint"],
        ["ALTER TABLE t ALTER COLUMN n TYPE int"],
        atomic=True,
    ),
    "0002_online": steps(
        [
            "ALTER TABLE t ADD COLUMN m bigint",
            "UPDATE t SET n = n + 1",
            "UPDATE t SET m = n * 2 WHERE m IS NULL",
            "CREATE INDEX CONCURRENTLY t_m ON t (m)",
            "CREATE UNIQUE INDEX CONCURRENTLY t_s ON t (s)",
            "ALTER TABLE t ADD CONSTRAINT t_n CHECK (n > 0) NOT VALID",
            "ALTER TABLE t VALIDATE CONSTRAINT t_n",
            "ALTER TABLE t ADD CONSTRAINT t_o FOREIGN KEY (other_id) REFERENCES other NOT VALID",
            "ALTER TABLE t VALIDATE CONSTRAINT t_o",
            "DROP INDEX CONCURRENTLY t_m",
            "REINDEX INDEX CONCURRENTLY t_s",
        ],
        [
            "ALTER TABLE t DROP CONSTRAINT t_o",
            "ALTER TABLE t DROP CONSTRAINT t_n",
            "DROP INDEX CONCURRENTLY t_s",
            "UPDATE t SET n = n - 1",
            "ALTER TABLE t DROP COLUMN m",
        ],
    ),
}
SUMS = "SELECT count(*), count(DISTINCT id), sum(n), sum(m) FROM t"
TOTAL = sum(range(2, ROWS + 2))
STATE = """
SELECT md5(string_agg(to_jsonb(t)::text, '' ORDER BY id)), count(*),
       (SELECT string_agg(name, ' ' ORDER BY name) FROM schema_migration),
       (SELECT string_agg(name || step, ' ' ORDER BY name, step) FROM schema_migration_step)
FROM t
"""


@dataclass(frozen=True)
class Undisturbed:
    """What a run leaves that nobody kills, how many statements it sends and how long it takes."""

    statements: int
    seconds: float
    shape: list[Row]
    state: list[Row]


def undisturbed(bench: Bench, folder: Path, *words: str, code: int = 0) -> Undisturbed:
    """Run a command in peace."""
    began = time.monotonic()
    ended = bench.run(*words[:1], folder, *words[1:], kill=(0, "before", "client"))
    assert code == ended.code, ended.err
    count = re.search(r"statements: (\d+)", ended.err)
    assert count is not None
    return Undisturbed(
        statements=int(count[1]),
        seconds=time.monotonic() - began,
        shape=bench.shape(),
        state=bench.ask(STATE),
    )


def agrees(bench: Bench, wanted: Undisturbed, where: str) -> None:
    """Schema, rows and history are as if nobody had been killed."""
    assert wanted.state == bench.ask(STATE), where
    assert wanted.shape == bench.shape(), where


def boundaries(statements: int) -> Sequence[tuple[int, str]]:
    """Return the places between statements: after one is before the next."""
    return [(at, "before") for at in range(1, statements + 1)] + [(statements, "after")]


@pytest.fixture
def chance() -> random.Random:
    """What is left to it; printed, so that it can be had again."""
    seed = int(os.environ.get("FOUNDRY_KILL_SEED") or random.randrange(1 << 32))
    print(f"FOUNDRY_KILL_SEED={seed}")
    return random.Random(seed)


@pytest.fixture(scope="module")
def folder(bench: Bench) -> Path:
    """The migrations."""
    return bench.folder(FILES)


@pytest.fixture(scope="module")
def upwards(bench: Bench, folder: Path) -> Undisturbed:
    """The way up."""
    bench.fresh(BEFORE)
    found = undisturbed(bench, folder, "up")
    assert [(ROWS, ROWS, TOTAL, 2 * TOTAL)] == bench.ask(SUMS)
    assert not [row for row in found.shape if row[0] == "index" and row[3] != "t t t"]
    return found


@pytest.fixture(scope="module")
def downwards(bench: Bench, folder: Path, upwards: Undisturbed) -> Undisturbed:
    """The way back."""
    bench.fresh(BEFORE)
    before = bench.shape()
    assert 0 == bench.run("up", folder).code
    found = undisturbed(bench, folder, "down", "--to", "0001_rewrite")
    assert before == found.shape
    return found


def reported(ended: Ended, where: str) -> None:
    """Whoever lived was told in one line."""
    assert "Traceback" not in ended.err, f"{where}: {ended.err}"
    if ended.code > 0:
        assert 1 == ended.err.count("error: "), f"{where}: {ended.err}"


@pytest.mark.parametrize("whom", WHOM)
def test_up_is_killed_at_every_statement(
    bench: Bench, folder: Path, upwards: Undisturbed, whom: str
) -> None:
    """One more run brings what was wanted."""
    for at, when in boundaries(upwards.statements):
        where = f"{when} statement {at}"
        bench.fresh(BEFORE)
        ended = bench.run("up", folder, kill=(at, when, whom))
        reported(ended, where)
        again = bench.run("up", folder)
        assert 0 == again.code, f"{where}: {again.err}"
        agrees(bench, upwards, where)


def test_down_is_killed_at_every_statement(
    bench: Bench, folder: Path, downwards: Undisturbed, chance: random.Random
) -> None:
    """One more run brings back what was."""
    for at, when in boundaries(downwards.statements):
        whom = chance.choice(WHOM)
        where = f"{whom} {when} statement {at}"
        bench.fresh(BEFORE)
        assert 0 == bench.run("up", folder).code
        reported(bench.run("down", folder, "--to", "0001_rewrite", kill=(at, when, whom)), where)
        again = bench.run("down", folder, "--to", "0001_rewrite")
        # Killed when all was done: then there is nothing to go back to.
        through = '"0001_rewrite" is not an applied migration' in again.err
        assert 0 == again.code or through, f"{where}: {again.err}"
        agrees(bench, downwards, where)


@pytest.mark.parametrize("whom", WHOM)
def test_up_is_killed_at_any_moment(
    bench: Bench, folder: Path, upwards: Undisturbed, chance: random.Random, whom: str
) -> None:
    """In the middle of statements, above all."""
    for turn in range(MOMENTS // 2):
        bench.fresh(BEFORE)
        run = bench.start("up", folder)
        # Not a wait for anything: the moment itself.
        time.sleep(chance.uniform(0, upwards.seconds))
        if whom == "client":
            run.kill()
        else:
            bench.kill_backends()
        reported(run.ended(), f"turn {turn}")
        again = bench.run("up", folder)
        assert 0 == again.code, f"turn {turn}: {again.err}"
        agrees(bench, upwards, f"turn {turn}")


ADDS = [
    "CREATE INDEX CONCURRENTLY t_m ON t (n)",
    "ALTER TABLE t ADD CONSTRAINT t_n CHECK (n > 0) NOT VALID",
    "ALTER TABLE t VALIDATE CONSTRAINT t_n",
]
UNIQUE = "CREATE UNIQUE INDEX CONCURRENTLY t_d ON t (d)"


@pytest.mark.parametrize("kept", [True, False])
def test_a_run_that_fails_is_killed_at_every_statement(
    bench: Bench, kept: bool, chance: random.Random
) -> None:
    """Its steps stand or are undone; when the duplicates are gone it is as if none had been."""
    before = ["UPDATE t SET n = n + 1"] if kept else ADDS
    folder = bench.folder({"0001_unique": steps([*before, UNIQUE])})
    bench.fresh(BEFORE)
    wanted = undisturbed(bench, folder, "up")
    double = f"UPDATE t SET d = 1 WHERE id = {ROWS}"
    bench.fresh(BEFORE, double)
    failing = undisturbed(bench, folder, "up", code=2)
    for at, when in boundaries(failing.statements):
        whom = chance.choice(WHOM)
        where = f"{whom} {when} statement {at}"
        bench.fresh(BEFORE, double)
        reported(bench.run("up", folder, kill=(at, when, whom)), where)
        if at % 4 == 0:
            again = bench.run("up", folder)
            assert 2 == again.code, f"{where}: {again.err}"
            assert 'could not create unique index "t_d"' in again.err, where
            # What the run that was killed had done is kept.
            left = set(bench.shape())
            assert left >= set(failing.shape) if not kept else left == set(failing.shape), where
        bench.ask("UPDATE t SET d = id")
        again = bench.run("up", folder)
        assert 0 == again.code, f"{where}: {again.err}"
        agrees(bench, wanted, where)
