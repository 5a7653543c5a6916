"""What a checkout costs: stock playhouse.pool, psycopg2.pool and foundry, in one run.

    python benchmarks/checkout.py [--database URL] [--rounds N]

psycopg2.pool checks nothing when it hands a connection out; its other two rows add a check, so
that each way of checking is compared with its like.
Prints a Markdown table: medians over the rounds, the order of the pools alternating.
"""

from __future__ import annotations

import argparse
import select
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
    only = driver.getconn()
    only.autocommit = True  # as the other pools' are: otherwise each return is a ROLLBACK too
    driver.putconn(only)
    params.pop("dbname")
    stock = PooledPostgresqlDatabase(target.dbname, max_connections=30, **params)
    ours = connect(url, bind=False)

    def by_driver() -> None:
        driver.putconn(driver.getconn())

    def by_driver_asking() -> None:
        conn = driver.getconn()
        with conn.cursor() as cursor:
            cursor.execute("SELECT 1")
        driver.putconn(conn)

    def by_driver_looking() -> None:
        conn = driver.getconn()
        poll = select.poll()
        poll.register(conn.fileno(), select.POLLIN)
        if poll.poll(0):
            raise SystemExit("the server ended an idle connection: run it again")
        driver.putconn(conn)

    def by_stock() -> None:
        stock.connect()
        stock.close()

    def by_ours() -> None:
        ours.connect()
        ours.close()

    return {
        "psycopg2.pool, no check": by_driver,
        "psycopg2.pool + look at the socket": by_driver_looking,
        "psycopg2.pool + SELECT 1": by_driver_asking,
        "playhouse.pool, SELECT 1": by_stock,
        "foundry, look at the socket": by_ours,
    }


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
    ours = wall["foundry, look at the socket"]
    print("| pool | wall µs | CPU µs | wall, foundry = 1 |\n|---|---|---|---|")
    for name in sorted(pools, key=lambda pool: wall[pool]):
        ratio = wall[name] / ours
        print(f"| {name} | {wall[name]:.1f} | {cpu[name]:.1f} | {ratio:.2f} |")


if __name__ == "__main__":
    main()
