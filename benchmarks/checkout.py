"""What a checkout costs: stock playhouse.pool, psycopg2.pool and foundry, in one run.

    python benchmarks/checkout.py [--database URL] [--rounds N]

Prints a Markdown table: medians over the rounds, the order of the pools alternating.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable

from playhouse.pool import PooledPostgresqlDatabase
from psycopg2.pool import ThreadedConnectionPool

from foundry.database import connect, resolve

CHECKOUTS = 2000


def measured(checkout: Callable[[], None]) -> tuple[float, float]:
    """Wall and CPU microseconds of one checkout and return, a mean over CHECKOUTS."""
    wall, cpu = time.perf_counter(), time.process_time()
    for _ in range(CHECKOUTS):
        checkout()
    wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
    return wall / CHECKOUTS * 1e6, cpu / CHECKOUTS * 1e6


def contenders(url: str | None) -> dict[str, Callable[[], None]]:
    """One checkout and return by each pool, on the same database."""
    target = resolve(url)
    params = dict(target.params, dbname=target.dbname)
    driver = ThreadedConnectionPool(1, 30, **params)
    params.pop("dbname")
    stock = PooledPostgresqlDatabase(target.dbname, max_connections=30, **params)
    ours = connect(url, bind=False)

    def by_driver() -> None:
        driver.putconn(driver.getconn())

    def by_stock() -> None:
        stock.connect()
        stock.close()

    def by_ours() -> None:
        ours.connect()
        ours.close()

    return {"psycopg2.pool (no check)": by_driver, "playhouse.pool": by_stock, "foundry": by_ours}


def main() -> None:
    """Measures and prints."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--database", metavar="URL")
    parser.add_argument("--rounds", type=int, default=7)
    options = parser.parse_args()
    pools = contenders(options.database)
    results: dict[str, list[tuple[float, float]]] = {name: [] for name in pools}
    for number in range(options.rounds):
        for name in sorted(pools, reverse=bool(number % 2)):
            results[name].append(measured(pools[name]))
    wall = {name: statistics.median(w for w, _ in rows) for name, rows in results.items()}
    cpu = {name: statistics.median(c for _, c in rows) for name, rows in results.items()}
    print("| pool | wall µs | CPU µs | wall, foundry = 1 |\n|---|---|---|---|")
    for name in sorted(pools, key=lambda pool: wall[pool]):
        ratio = wall[name] / wall["foundry"]
        print(f"| {name} | {wall[name]:.1f} | {cpu[name]:.1f} | {ratio:.2f} |")


if __name__ == "__main__":
    main()
