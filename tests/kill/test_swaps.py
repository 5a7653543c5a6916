"""A file that swaps a column is killed between any two statements, and others write meanwhile."""

from __future__ import annotations

import random
from pathlib import Path

import pytest
from bench import Bench, Row
from peewee import PostgresqlDatabase
from test_kills import Undisturbed, agrees, boundaries, chance, reported, undisturbed

from foundry.migrate import catalog
from foundry.migrate.plan import plan
from foundry.migrate.render import files
from foundry.migrate.rules import Context
from foundry.migrate.snapshot import Snapshot

__all__ = ["chance"]

NAME = "0001_swap"
ROWS = 2_500
BEFORE = f"""
CREATE TABLE t (id bigserial PRIMARY KEY, n int NOT NULL DEFAULT 7 CHECK (n > 0), m int);
CREATE UNIQUE INDEX t_n ON t (n DESC, id) INCLUDE (m);
INSERT INTO t (n, m) SELECT i, i FROM generate_series(1, {ROWS}) AS i;
"""
AFTER = "ALTER TABLE t ALTER n TYPE bigint"
# One row of each batch, and rows that no batch has seen.
WRITES = (
    f"UPDATE t SET n = n + {ROWS}, m = NULL WHERE id IN (7, 2007) AND n <= {ROWS}",
    f"UPDATE t SET n = n + {ROWS} WHERE id IN (8, 2008) AND n <= {ROWS}",
    f"INSERT INTO t (id, n) VALUES ({ROWS + 1}, 1) ON CONFLICT DO NOTHING",
)


def snapshot(bench: Bench) -> tuple[Snapshot, int]:
    """What is in the database, and the server's version."""
    params = {k: v for k, v in bench.target.params.items() if k != "dbname"}
    database = PostgresqlDatabase(bench.target.dbname, **params)
    with database:
        names = {name: name for name in catalog.namespaces(database)}
        return (
            catalog.read(database, names, search_path=["public"]),
            catalog.server_version(database),
        )


@pytest.fixture(scope="module")
def folder(bench: Bench) -> Path:
    """The file that is generated for the change."""
    bench.fresh(BEFORE)
    live, version = snapshot(bench)
    bench.ask(AFTER)
    wanted, _ = snapshot(bench)
    (made,) = files(
        plan(live, wanted, version=version), "swap", 1, context=Context(version=version)
    )
    assert made.content.startswith('"""Swap column t.n;')
    assert made.name == NAME
    return bench.folder({made.name: made.content})


def killed(
    bench: Bench, verb: str, folder: Path, wanted: Undisturbed, kill: tuple[int, str, str]
) -> None:
    """Kill it, write, and run it again."""
    where = f"{verb}: {kill}"
    reported(bench.run(verb, folder, "--to", NAME, kill=kill), where)
    bench.ask(*WRITES)
    again = bench.run(verb, folder, "--to", NAME)
    # Killed when all was done: then there is nothing to go back to.
    through = f'"{NAME}" is not an applied migration' in again.err
    assert 0 == again.code or through, f"{where}: {again.err}"
    agrees(bench, wanted, where)


@pytest.fixture(scope="module")
def shapes(bench: Bench, folder: Path) -> tuple[list[Row], list[Row]]:
    """The database before, and after one ALTER TABLE."""
    bench.fresh(BEFORE)
    before = bench.shape()
    bench.ask(AFTER)
    return before, bench.shape()


def test_the_way_there_is_killed_at_every_statement(
    bench: Bench, folder: Path, shapes: tuple[list[Row], list[Row]], chance: random.Random
) -> None:
    """One more run brings what one ALTER TABLE would, with what was written in between."""
    bench.fresh(BEFORE, *WRITES)
    wanted = undisturbed(bench, folder, "up")
    assert shapes[1] == wanted.shape
    for at, when in boundaries(wanted.statements):
        bench.fresh(BEFORE)
        killed(bench, "up", folder, wanted, (at, when, chance.choice(("client", "backend"))))


def test_the_way_back_is_killed_at_many_statements(
    bench: Bench, folder: Path, shapes: tuple[list[Row], list[Row]], chance: random.Random
) -> None:
    """One more run brings back what was."""
    bench.fresh(BEFORE, *WRITES)
    assert 0 == bench.run("up", folder).code
    wanted = undisturbed(bench, folder, "down")
    assert shapes[0] == wanted.shape
    # It is the same recipe: one statement in four will do.
    for at, when in boundaries(wanted.statements)[chance.randrange(4) :: 4]:
        bench.fresh(BEFORE)
        assert 0 == bench.run("up", folder).code
        killed(bench, "down", folder, wanted, (at, when, chance.choice(("client", "backend"))))
