"""The server tests create databases and roles on: the one of foundry's own pytest plugin."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing, contextmanager
from urllib.parse import quote
from uuid import uuid4

import psycopg2
from psycopg2 import sql

from foundry.fixtures.lease import Bench


class Server:
    """A server tests may create databases on; they are dropped with the run at the latest."""

    def __init__(self, bench: Bench) -> None:
        self._bench = bench

    def url(self, dbname: str) -> str:
        """Return the URL of a database."""
        return self._bench.server.url(dbname)

    def admin(self, statement: sql.Composable) -> None:
        """Run a statement in the maintenance database, outside a transaction."""
        with closing(self._bench.server.admin()) as session:
            session.cursor().execute(statement)

    def create(self) -> str:
        """Create a database with nothing in it; returns its name."""
        return self._as_any(self._bench.janitor.create())

    def clone(self) -> str:
        """Create a database with foundry's tables and no rows; returns its name."""
        return self._as_any(self._bench.clone())

    def _as_any(self, name: str) -> str:
        # The fixtures fix time zone and search_path; these tests are about databases that
        # nobody prepared.
        for reset in ("DATABASE {}", "ROLE CURRENT_USER IN DATABASE {}"):
            self.admin(sql.SQL(f"ALTER {reset} RESET ALL").format(sql.Identifier(name)))
        return name

    def drop(self, name: str) -> None:
        """Drop a database, ending the sessions in it."""
        self._bench.janitor.drop(name)

    @contextmanager
    def role(self) -> Iterator[str]:
        """A role that may log in and nothing else."""
        # Not by the process: one that was killed leaves its roles, and its number to another.
        name = f"foundry_role_{uuid4().hex[:16]}"
        self.admin(sql.SQL("CREATE ROLE {} LOGIN").format(sql.Identifier(name)))
        yield name
        self.admin(sql.SQL("DROP ROLE {}").format(sql.Identifier(name)))

    def url_as(self, role: str, dbname: str) -> str:
        """Return the URL of a database for another role."""
        words = {**psycopg2.extensions.parse_dsn(self.url(dbname)), "user": role}
        return "postgresql:///?" + "&".join(f"{k}={quote(v, safe='')}" for k, v in words.items())
