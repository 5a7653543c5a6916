"""Databases for foundry's own tests, from its own pytest plugin (see docs/testing.md)."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import psycopg2
import pytest
from hypothesis import settings
from support.server import Server

from foundry.database import Database, Target, connect, proxy, resolve

if TYPE_CHECKING:
    from foundry.fixtures.lease import Bench

settings.register_profile("dev", max_examples=20, deadline=None)
settings.register_profile("ci", max_examples=200, deadline=None)
settings.register_profile("deep", max_examples=1_000, deadline=None)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "dev"))


@pytest.fixture(scope="session")
def open_folder() -> Iterator[Path]:
    """A folder another account can enter: pytest's own are closed to a server of root's."""
    folder = Path(tempfile.mkdtemp(prefix="foundry-tests-", dir="/tmp"))
    folder.chmod(0o755)
    yield folder
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="session")
def server(_foundry_bench: Bench) -> Server:
    """The server the tests of this process share."""
    return Server(_foundry_bench)


@pytest.fixture
def empty(server: Server) -> Iterator[Target]:
    """A database with nothing in it."""
    name = server.create()
    yield resolve(server.url(name))
    server.drop(name)


@pytest.fixture
def migrated(server: Server) -> Iterator[Target]:
    """A database of its own with foundry's schema and no rows."""
    name = server.clone()
    yield resolve(server.url(name))
    server.drop(name)


@pytest.fixture
def vector(migrated: Target) -> None:
    """Skip where the server has no pgvector."""
    connection = psycopg2.connect(**migrated.params)
    try:
        cursor = connection.cursor()
        cursor.execute("SELECT FROM pg_attribute WHERE attname = 'embedding'")
        if not cursor.rowcount:
            pytest.skip("this server has no pgvector")
    finally:
        connection.close()


@pytest.fixture
def database(migrated: Target, server: Server) -> Iterator[Database]:
    """A pool on a migrated database, which the models of foundry.schema are bound to."""
    before = proxy.obj
    pool = connect(server.url(migrated.dbname), pool_size=4)
    with pool.connection_context():
        yield pool
    pool.close_all()
    proxy.initialize(before)
