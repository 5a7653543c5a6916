"""Many runs at once: each step once, and everybody content."""

from __future__ import annotations

import os

from bench import Bench, steps

ROUNDS = int(os.environ.get("FOUNDRY_KILL_ROUNDS", "100"))
RUNNERS = 8
BEFORE = """
CREATE TABLE a (id int PRIMARY KEY, n int);
CREATE TABLE b (id serial PRIMARY KEY, n int);
INSERT INTO a VALUES (0, 0);
INSERT INTO b VALUES (0, 0);
"""
FILES = {
    "0001_whole": steps(
        ["INSERT INTO a SELECT max(id) + 1, 10 FROM a", "UPDATE a SET n = n + 1"], atomic=True
    ),
    "0002_steps": steps(
        [
            "INSERT INTO b SELECT max(id) + 1, 10 FROM b",
            "UPDATE b SET n = n + 1",
            "CREATE INDEX CONCURRENTLY b_n ON b (n)",
            "ALTER TABLE b ADD COLUMN m int",
            "REINDEX INDEX CONCURRENTLY b_n",
        ]
    ),
}


def test_eight_at_once_do_each_step_once(bench: Bench) -> None:
    """Of files that are atomic and of those that are not; all of them exit with 0."""
    folder = bench.folder(FILES)
    for turn in range(ROUNDS):
        bench.fresh(BEFORE)
        runs = [bench.start("up", folder) for _ in range(RUNNERS)]
        ended = [run.ended() for run in runs]
        assert [0] * RUNNERS == [e.code for e in ended], f"round {turn}: {ended}"
        assert [""] * RUNNERS == [e.err for e in ended], f"round {turn}"
        for name in FILES:
            assert 1 == sum(e.out.count(f"applied {name}") for e in ended), f"round {turn}"
        expected = [(0, 1), (1, 11)]
        assert expected == bench.ask("SELECT id, n FROM a ORDER BY id"), f"round {turn}"
        assert expected == bench.ask("SELECT id, n FROM b ORDER BY id"), f"round {turn}"
        history = bench.ask("SELECT name FROM schema_migration ORDER BY id")
        assert [(name,) for name in FILES] == history, f"round {turn}"
        assert not [r for r in bench.shape() if r[0] == "lock"], f"round {turn}"
