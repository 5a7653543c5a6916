"""A disk that is full: told, nothing half is left, and the next run goes on."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from bench import Bench, steps

ROWS = 20_000
BEFORE = f"""
CREATE TABLE t (id bigserial PRIMARY KEY, n int NOT NULL, s text);
INSERT INTO t (n, s) SELECT i, md5(i::text) FROM generate_series(1, {ROWS}) AS i;
CREATE INDEX t_s ON t (s);
"""
FIRST = "UPDATE t SET n = n + 1"
FILLS = {
    "build": (False, ["CREATE UNIQUE INDEX CONCURRENTLY t_m ON t (s) TABLESPACE small"]),
    "rewrite": (False, ["ALTER TABLE t SET TABLESPACE small"]),
    "whole": (True, ["ALTER TABLE t SET TABLESPACE small"]),
    "rebuild": (False, ["REINDEX (CONCURRENTLY, TABLESPACE small) INDEX t_s"]),
}
SUM = sum(range(2, ROWS + 2))


@dataclass(frozen=True)
class Disk:
    """A small one, which is a tablespace."""

    place: Path

    def fill(self) -> None:
        """Leave room for nothing."""
        with (self.place / "filler").open("wb") as filler:
            left = shutil.disk_usage(self.place).free - 65536
            filler.write(bytes(left))

    def clear(self) -> None:
        """Have room again."""
        (self.place / "filler").unlink(missing_ok=True)


@pytest.fixture(scope="module")
def disk(bench: Bench) -> Iterator[Disk]:
    """A tablespace on a disk of 32 MB."""
    if not sys.platform.startswith("linux") or os.geteuid():
        pytest.skip("a small disk needs Linux and root")
    place = bench.place / "small"
    place.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=32m", "tmpfs", place], capture_output=True, text=True
    )
    if mounted.returncode:
        pytest.skip(f"no small disk here: {mounted.stderr.strip()}")
    try:
        owner = bench.server.cluster.stat()
        (place / "space").mkdir(mode=0o700)
        os.chown(place / "space", owner.st_uid, owner.st_gid)
        bench.ask(f"CREATE TABLESPACE small LOCATION '{place / 'space'}'")
        yield Disk(place)
        bench.fresh()
        bench.ask("DROP TABLESPACE small")
    finally:
        subprocess.run(["umount", "--lazy", place], check=True)


@pytest.mark.parametrize("kind", FILLS)
def test_the_disk_is_full(bench: Bench, disk: Disk, kind: str) -> None:
    """No INVALID index is left, which would take up the room that is needed."""
    atomic, last = FILLS[kind]
    folder = bench.folder({"0001_fill": steps([FIRST, *last], atomic=atomic)})
    bench.fresh(BEFORE)
    before = bench.shape()
    disk.fill()
    ended = bench.run("up", folder)
    assert 2 == ended.code, ended
    assert "No space left on device" in ended.err
    assert "; free space on the server and run it again" in ended.err
    kept = "nothing of it was kept" if atomic else "1 of its 2 steps stand"
    assert kept in ended.err
    assert before == bench.shape()
    disk.clear()
    assert 0 == bench.run("up", folder).code
    assert [(ROWS, SUM)] == bench.ask("SELECT count(*), sum(n) FROM t")
    assert before != bench.shape()
    assert not [r for r in bench.shape() if r[0] == "index" and r[3] != "t t t"]
