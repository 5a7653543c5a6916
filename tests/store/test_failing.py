"""What a refusal of the server becomes, whichever driver brings it."""

from __future__ import annotations

import asyncio
from typing import Any
from uuid import UUID

import pytest

from foundry.errors import ConnectionFailed, FoundryError, InvalidValue, StoreError
from foundry.store import aio, conversations
from foundry.store.aio.database import Database
from foundry.store.failing import failure
from foundry.url import parse

SECRET = ValueError("Ada's row")


def failed(sqlstate: str | None) -> FoundryError:
    """A refusal with that state."""
    return failure(SECRET, sqlstate=sqlstate, name="Name", message="said", constraint="c")


@pytest.mark.parametrize("sqlstate", [None, "08006", "57P01", "57P02", "57P05"])
def test_a_session_that_is_over_is_said_to_be(sqlstate: str | None) -> None:
    """Whichever end it was that ended it."""
    assert isinstance(failed(sqlstate), ConnectionFailed)


@pytest.mark.parametrize(
    ("sqlstate", "said", "known"),
    [
        ("22003", "Name", False),
        ("23505", "Name: said", False),
        ("57014", "Name: said", True),
        ("42P01", 'Name: said: run "python -m foundry.migrate up"', True),
        (
            "42703",
            'Name: said: run "python -m foundry.migrate up", which adds embeddings '
            "where pgvector is",
            True,
        ),
        ("26000", "Name: said: behind a pooler, connect with statement_cache_size=0", True),
    ],
)
def test_a_refusal_has_no_row_in_it(sqlstate: str, said: str, known: bool) -> None:
    """Not in its words, and not in its cause."""
    error = failed(sqlstate)
    assert isinstance(error, StoreError)
    assert f"the server refused it, {said}" == str(error)
    assert (sqlstate, "c") == (error.sqlstate, error.constraint)
    assert (SECRET if known else None) is error.__cause__


@pytest.mark.parametrize("given", [None, "postgresql://me:s3cret@h/x"])
def test_what_is_no_database_is_refused_by_name(given: Any) -> None:
    """Before anything is asked of it, and without its text."""
    session = UUID(int=0)
    name = type(given).__name__
    with pytest.raises(InvalidValue, match=rf"^the database: expected .* got {name}$"):
        conversations.counts(given, session)
    with pytest.raises(InvalidValue, match=rf"^the database: expected .* got {name}$"):
        asyncio.run(aio.conversations.counts(given, session))


def test_the_database_of_an_event_loop_is_not_for_blocking_calls() -> None:
    """Nor that of threads for awaitable ones; which functions it is for is said."""
    target = parse("postgresql://h/x", source="DATABASE_URL", environ={})
    given: Any = Database(target)
    with pytest.raises(
        InvalidValue, match=r"is for foundry\.store\.aio\), got foundry\.store\.aio\..*Database$"
    ):
        conversations.counts(given, UUID(int=0))
    own: Any = aio.DB(given)
    with pytest.raises(InvalidValue, match=r"of DB it is \.database, got foundry\..*DB$"):
        asyncio.run(aio.conversations.counts(own, UUID(int=0)))
