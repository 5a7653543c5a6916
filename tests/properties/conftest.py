"""Databases for property tests."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import closing

import pytest
from support.differ import Desk
from support.server import Server


@pytest.fixture(scope="session")
def desk(server: Server) -> Callable[[], Desk]:
    """Make a desk, one for each example."""

    def make() -> Desk:
        return Desk(server)

    return make


@pytest.fixture(scope="session")
def has_vector(server: Server) -> None:
    """Skip where the server has no pgvector."""
    with closing(Desk(server)) as desk:
        if not desk.has("vector"):
            pytest.skip("this server has no pgvector")
