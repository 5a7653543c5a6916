"""One database for the tests of the store: each makes sessions and protocols of its own."""

from __future__ import annotations

from collections.abc import Iterator
from uuid import UUID

import pytest
from support.server import Server

from foundry.database import Database, connect
from foundry.schema import Message, User
from foundry.schema.base import has_column
from foundry.store import conversations


@pytest.fixture(scope="session")
def shared(server: Server) -> Iterator[Database]:
    """A pool on a migrated database that the tests share."""
    name = server.clone()
    pool = connect(server.url(name), bind=False, pool_size=4)
    yield pool
    pool.close_all()
    server.drop(name)


@pytest.fixture
def db(shared: Database) -> Iterator[Database]:
    """That pool, with a connection for this thread and the models bound to it."""
    with shared.bind_ctx([User, Message], bind_refs=False, bind_backrefs=False):
        with shared.connection_context():
            yield shared
        assert {} == shared._in_use


@pytest.fixture
def user(db: Database) -> UUID:
    """A person of this test's own."""
    id: UUID = User.create(name="Ada").id
    return id


@pytest.fixture
def session(db: Database, user: UUID) -> UUID:
    """A session of this test's own."""
    return conversations.start(db, user, type="chain_analysis")


@pytest.fixture
def vectors_there(db: Database) -> None:
    """Skip where the server has no pgvector."""
    if not has_column(db, Message.embedding):
        pytest.skip("this server has no pgvector")
