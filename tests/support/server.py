"""The server tests create databases and roles on."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from urllib.parse import quote

import psycopg2
from psycopg2 import sql


@dataclass(frozen=True, slots=True, kw_only=True)
class Server:
    """A server tests may create databases on."""

    url: Callable[[str], str]
    described: str
    names: Iterator[int]

    def admin(self, statement: sql.Composable) -> None:
        """Run a statement in the database `postgres`, outside a transaction."""
        connection = psycopg2.connect(self.url("postgres"))
        try:
            connection.autocommit = True
            connection.cursor().execute(statement)
        finally:
            connection.close()

    def create(self, *, template: str = "template0") -> str:
        """Create a database of a name nobody has; returns the name."""
        name = f"foundry_test_{os.getpid()}_{next(self.names)}"
        self.admin(
            sql.SQL("CREATE DATABASE {} ENCODING 'UTF8' TEMPLATE {}").format(
                sql.Identifier(name), sql.Identifier(template)
            )
        )
        return name

    def drop(self, name: str) -> None:
        """Drop a database, ending the sessions in it."""
        self.admin(sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(sql.Identifier(name)))

    @contextmanager
    def role(self) -> Iterator[str]:
        """A role that may log in and nothing else."""
        name = f"foundry_role_{os.getpid()}_{next(self.names)}"
        self.admin(sql.SQL("CREATE ROLE {} LOGIN").format(sql.Identifier(name)))
        yield name
        self.admin(sql.SQL("DROP ROLE {}").format(sql.Identifier(name)))

    def url_as(self, role: str, dbname: str) -> str:
        """Return the URL of a database for another role."""
        words = {**psycopg2.extensions.parse_dsn(self.url(dbname)), "user": role}
        return "postgresql:///?" + "&".join(f"{k}={quote(v, safe='')}" for k, v in words.items())
