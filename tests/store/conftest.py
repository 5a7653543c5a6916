"""One database for the tests of the store: each makes sessions and protocols of its own."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import nullcontext
from uuid import UUID

import pytest
from support.server import Server
from support.transports import Looped, conversations

from foundry.database import Database, connect
from foundry.schema import Message, User
from foundry.schema.base import has_column


@pytest.fixture(scope="session")
def shared(server: Server) -> Iterator[Database]:
    """A pool on a migrated database that the tests share."""
    name = server.clone()
    pool = connect(server.url(name), bind=False, pool_size=4)
    yield pool
    pool.close_all()
    server.drop(name)


@pytest.fixture(scope="session")
def looped(shared: Database, server: Server) -> Iterator[Looped]:
    """A pool for asyncio on the same database."""
    pool = Looped(server.url(shared.target.dbname), pool_size=4)
    yield pool
    pool.close_all()


@pytest.fixture(params=["psycopg2", "asyncpg"])
def db(
    request: pytest.FixtureRequest, shared: Database, looped: Looped
) -> Iterator[Database | Looped]:
    """A pool with a connection for this test; the models are bound to that of psycopg2."""
    with shared.bind_ctx([User, Message], bind_refs=False, bind_backrefs=False):
        pool = shared if request.param == "psycopg2" else looped
        with pool.connection_context():
            yield pool
        shared.close()
        assert {} == shared._in_use


@pytest.fixture
def user(shared: Database, db: Database) -> UUID:
    """A person of this test's own."""
    id: UUID = User.create(name="Ada").id
    if db is not shared:
        shared.close()
    return id


@pytest.fixture
def session(db: Database, user: UUID) -> UUID:
    """A session of this test's own."""
    id: UUID = conversations.start(db, user, type="chain_analysis")
    return id


@pytest.fixture
def vectors_there(shared: Database) -> None:
    """Skip where the server has no pgvector."""
    with shared.connection_context() if shared.is_closed() else nullcontext():
        there = has_column(shared, Message.embedding)
    if not there:
        pytest.skip("this server has no pgvector")
