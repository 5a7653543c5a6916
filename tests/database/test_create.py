"""create_database(): who makes it, once, and through which database."""

from __future__ import annotations

import threading
from contextlib import closing
from typing import Any

from foundry.database import create_database, open_connection, resolve


def test_create_database_creates_once(server: Any) -> None:
    """True for the one that made it, False when it was there; a hostile name is only a name."""
    target = resolve(server.url("new%22%20%3B%20db%27ä"))
    assert create_database(target)
    assert not create_database(target)
    with closing(open_connection(target)) as conn, conn.cursor() as cursor:
        cursor.execute(
            "SELECT current_database(), pg_encoding_to_char(encoding) FROM pg_database"
            " WHERE datname = current_database()"
        )
        assert ("new\" ; db'ä", "UTF8") == cursor.fetchone()


def test_two_that_create_one_database_both_succeed(server: Any) -> None:
    """Exactly one of several at once is told that it made the database."""
    target, results, start = resolve(server.url("raced")), [], threading.Barrier(4)

    def create() -> None:
        start.wait()
        results.append(create_database(target))

    threads = [threading.Thread(target=create) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [False, False, False, True] == sorted(results)


def test_a_server_without_the_database_postgres_is_no_hindrance(server: Any) -> None:
    """An administrator may have dropped it; template1 is always there."""
    server.admin("ALTER DATABASE postgres RENAME TO hidden")
    try:
        assert create_database(resolve(server.url("through_template1")))
    finally:
        server.admin("ALTER DATABASE hidden RENAME TO postgres")
