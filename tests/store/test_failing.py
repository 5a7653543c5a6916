"""What a refusal of the server becomes, whichever driver brings it."""

from __future__ import annotations

import pytest

from foundry.errors import ConnectionFailed, FoundryError, StoreError
from foundry.store.failing import failure

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
