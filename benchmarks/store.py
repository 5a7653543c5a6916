"""What the functions of the store cost, blocking and awaited, beside other ways to do the same.

    pip install '.[async,embedded]' numpy 'psycopg[binary]' sqlalchemy
    pip install langchain-core && pip install --no-deps langchain-postgres  # may be left out
    python benchmarks/store.py [--database URL] [--rounds N] [--only PATH ...]

Each path has a reference, the first of its rows: the least that a driver can be made to do for it.
All have one connection each to the same database, which is made for the run and has foundry's
tables; they take turns, round by round. CPU is that of this process and of the server's process
of the connection, so the server has to be on this machine, and that Linux.

langchain-postgres takes part where it has the same job. `--no-deps`, because it wants an older
pgvector than foundry; it works with this one. Its PGVectorStore writes the same table, but with ids
that the caller gives: it cannot leave them to the table, and makes UUIDs itself. Many rows are
given to it in one call, and it sends each as an upsert in a transaction of its own.

Prints Markdown: medians over the rounds, for one call, or one row of a bulk. `speed` and `CPU` are
ratios to the reference; above 1 the speed is higher and the CPU is more.
"""

from __future__ import annotations

import argparse
import platform
import resource
import statistics
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path

from diff import databases, tell, url_of

from foundry import migrate
from foundry.database import resolve

_DATABASE = "foundry_bench_store"


@dataclass(kw_only=True, slots=True)
class Contender:
    """One way to do it: `work(n)` does it n times, after `prepare(n)`; by one session."""

    name: str
    pid: int
    work: Callable[[int], object]
    times: int
    prepare: Callable[[int], object] = lambda n: None
    wall: list[float] = field(default_factory=list)
    client: list[float] = field(default_factory=list)
    server: list[float] = field(default_factory=list)

    def measure(self) -> None:
        """One round."""
        self.prepare(self.times)
        before = self._now()
        self.work(self.times)
        wall, client, server = (
            (b - a) / self.times * 1e6 for a, b in zip(before, self._now(), strict=True)
        )
        self.wall.append(wall)
        self.client.append(client)
        self.server.append(server)

    def _now(self) -> tuple[float, float, float]:
        used = resource.getrusage(resource.RUSAGE_SELF)
        served = int(Path(f"/proc/{self.pid}/schedstat").read_text("ascii").split()[0])
        return time.perf_counter(), used.ru_utime + used.ru_stime, served / 1e9

    @property
    def cpu(self) -> float:
        """Of client and server."""
        return statistics.median(map(sum, zip(self.client, self.server, strict=True)))


def shown(path: str, found: Sequence[Contender]) -> None:
    """Print the table of a path."""
    print(f"\n{path}\n")
    print("| | µs | client CPU | server CPU | speed | CPU |")
    print("|---|---|---|---|---|---|")
    first = found[0]
    for one in found:
        wall = statistics.median(one.wall)
        figures = (
            f"{wall:.1f}",
            f"{statistics.median(one.client):.1f}",
            f"{statistics.median(one.server):.1f}",
            f"{statistics.median(first.wall) / wall:.2f}",
            f"{one.cpu / first.cpu:.2f}",
        )
        print(f"| {one.name} | {' | '.join(figures)} |", flush=True)


def main() -> int:
    """Run what was asked for."""
    from paths import PATHS
    from peers import Peers

    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--database", metavar="URL", help="a server; default: as foundry finds it")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--only", nargs="+", choices=tuple(PATHS), default=tuple(PATHS))
    given = parser.parse_args()
    server = resolve(given.database)
    url = url_of(server, _DATABASE)
    with databases(server, _DATABASE):
        migrate.up(resolve(url))
        with closing(Peers(url)) as peers:
            print(f"{date.today()}, {platform.machine()}, Python {platform.python_version()}")
            print(peers.versions())
            for name in given.only:
                title, made = PATHS[name]
                contenders = made(peers)
                for number in range(given.rounds + 1):
                    tell(f"{title}, round {number}")
                    # Who comes after whom differs, since one finds what another left.
                    at = number % len(contenders)
                    for contender in contenders[at:] + contenders[:at]:
                        contender.measure()
                for one in contenders:
                    # The first round prepares statements and fills caches.
                    del one.wall[0], one.client[0], one.server[0]
                shown(title, contenders)
    return 0


if __name__ == "__main__":
    sys.exit(main())
