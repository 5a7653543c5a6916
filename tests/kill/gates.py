"""Steps that stand still in their middle until a gate is opened."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from bench import APPLICATION, Bench, Row, steps

ROWS = 5_000
# The server looks for a file: an immutable function may see no table change.
_GATE = """
CREATE FUNCTION gate(id bigint) RETURNS bigint IMMUTABLE LANGUAGE plpgsql AS $$
BEGIN
    WHILE id = 3000 AND (pg_stat_file('{gate}', true)).size IS NOT NULL LOOP
        PERFORM pg_sleep(0.01);
    END LOOP;
    RETURN 1;
END $$;
CREATE TABLE t (id bigserial PRIMARY KEY, n int NOT NULL);
INSERT INTO t (n) SELECT generate_series(1, {rows});
CREATE TABLE r (id int);
INSERT INTO r VALUES (3000);
CREATE INDEX r_g ON r (gate(id));
"""
FIRST = "UPDATE t SET n = n + 1"
SECONDS = {
    "rewrite": ["ALTER TABLE t ALTER COLUMN n TYPE bigint USING n + gate(id)"],
    "build": ["CREATE INDEX CONCURRENTLY t_g ON t (gate(id), n)"],
    "unique": ["CREATE UNIQUE INDEX CONCURRENTLY t_g ON t (n) WHERE gate(id) = 1"],
    "rebuild": ["REINDEX INDEX CONCURRENTLY r_g"],
    "fill": ["UPDATE t SET n = n + gate(id)"],
    "validate": [
        "ALTER TABLE t ADD CONSTRAINT t_c CHECK (gate(id) = 1) NOT VALID",
        "ALTER TABLE t VALIDATE CONSTRAINT t_c",
    ],
}
_IN_THE_MIDDLE = f"""
SELECT pid FROM pg_stat_activity
WHERE application_name = '{APPLICATION}' AND wait_event = 'PgSleep'
"""


@dataclass(frozen=True)
class Gate:
    """A gate, and what is known of the database behind it."""

    bench: Bench
    file: Path
    folder: Path
    wanted: tuple[list[Row], list[Row]]

    def close(self) -> None:
        """Have steps stop in their middle; the database is as before them."""
        self.bench.fresh(_GATE.format(gate=self.file, rows=ROWS))
        self.file.touch()

    def open(self) -> None:
        """Let them go on."""
        self.file.unlink(missing_ok=True)

    def reached(self) -> int:
        """Wait until a step stands in its middle; returns the server process."""
        return int(str(until(lambda: self.bench.ask(_IN_THE_MIDDLE))[0][0]))

    def seen(self) -> tuple[list[Row], list[Row]]:
        """Return schema and rows."""
        return state(self.bench)


def gate(bench: Bench, step: str, *, atomic: bool = False) -> Gate:
    """Return a closed gate in a migration of two steps or more."""
    file = bench.place / "gate"
    folder = bench.folder({"0001_gate": steps([FIRST, *SECONDS[step]], atomic=atomic)})
    bench.fresh(_GATE.format(gate=file, rows=ROWS))
    ended = bench.run("up", folder)
    assert 0 == ended.code, ended.err
    found = Gate(bench, file, folder, state(bench))
    found.close()
    return found


def state(bench: Bench) -> tuple[list[Row], list[Row]]:
    """Return schema, rows and history."""
    query = """
    SELECT count(*), count(DISTINCT id), sum(n), md5(string_agg(n::text, ' ' ORDER BY id)),
           (SELECT string_agg(name || step, ' ') FROM schema_migration_step)
    FROM t
    """
    return bench.shape(), bench.ask(query)


def until(question: Callable[[], list[Row]], seconds: float = 30) -> list[Row]:
    """Ask until there is an answer."""
    deadline = time.monotonic() + seconds
    while not (answer := question()):
        assert time.monotonic() < deadline, "it never was so"
        time.sleep(0.02)
    return answer
