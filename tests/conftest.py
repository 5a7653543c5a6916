"""A real PostgreSQL for every test: the server of DATABASE_URL, else the embedded one."""

from __future__ import annotations

import itertools
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import psycopg2
import pytest
from hypothesis import settings
from support.server import Server

from foundry import embedded, migrate
from foundry.database import Database, Target, connect, proxy, resolve

settings.register_profile("dev", max_examples=25, deadline=None)
settings.register_profile("ci", max_examples=200, deadline=None)
settings.register_profile("deep", max_examples=10_000, deadline=None)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "dev"))


def _given() -> tuple[Callable[[str], str], str] | None:
    url = os.environ.get("DATABASE_URL", "")
    if not url:
        return None
    params = psycopg2.extensions.parse_dsn(url)

    def named(dbname: str) -> str:
        words = {**params, "dbname": dbname}
        query = "&".join(f"{k}={_quoted(str(v))}" for k, v in words.items())
        return f"postgresql:///?{query}"

    psycopg2.connect(named("postgres")).close()  # a bad DATABASE_URL fails, here and now
    return named, "the server of DATABASE_URL"


def _quoted(text: str) -> str:
    from urllib.parse import quote

    return quote(text, safe="")


@pytest.fixture(scope="session")
def open_folder() -> Iterator[Path]:
    """A folder another account can enter: pytest's own are closed to a server of root's."""
    folder = Path(tempfile.mkdtemp(prefix="foundry-tests-", dir="/tmp"))
    folder.chmod(0o755)
    yield folder
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="session")
def server(open_folder: Path) -> Iterator[Server]:
    """The server the tests of this process share."""
    given = _given()
    if given:
        yield Server(url=given[0], described=given[1], names=itertools.count())
        return
    data = open_folder / "server"
    running = embedded.acquire(data)
    described = f"the embedded PostgreSQL {running.version}"
    yield Server(url=running.url, described=described, names=itertools.count())
    embedded.release(data)
    embedded.stop(data)


@pytest.fixture
def empty(server: Server) -> Iterator[Target]:
    """A database with nothing in it."""
    name = server.create()
    yield resolve(server.url(name))
    server.drop(name)


@pytest.fixture(scope="session")
def template(server: Server) -> Iterator[str]:
    """The name of a database with foundry's schema, to be cloned and left alone."""
    name = server.create()
    migrate.up(resolve(server.url(name)))
    yield name
    server.drop(name)


@pytest.fixture
def vector(migrated: Target) -> None:
    """Skip where the server has no pgvector."""
    if not _has_column(migrated):
        pytest.skip("this server has no pgvector")


def _has_column(target: Target) -> bool:
    connection = psycopg2.connect(**target.params)
    try:
        cursor = connection.cursor()
        cursor.execute("SELECT FROM pg_attribute WHERE attname = 'embedding'")
        return cursor.rowcount > 0
    finally:
        connection.close()


@pytest.fixture
def migrated(server: Server, template: str) -> Iterator[Target]:
    """A database of its own with foundry's schema and no rows."""
    name = server.create(template=template)
    yield resolve(server.url(name))
    server.drop(name)


@pytest.fixture
def database(migrated: Target, server: Server) -> Iterator[Database]:
    """A pool on a migrated database, which the models of foundry.schema are bound to."""
    before = proxy.obj
    pool = connect(server.url(migrated.dbname), pool_size=4)
    with pool.connection_context():
        yield pool
    pool.close_all()
    proxy.initialize(before)


def pytest_report_header() -> str:
    """Say which server the tests will run on."""
    if os.environ.get("DATABASE_URL"):
        return "foundry: PostgreSQL of DATABASE_URL"
    return f"foundry: embedded PostgreSQL, binaries in {embedded.find_binaries()}"
