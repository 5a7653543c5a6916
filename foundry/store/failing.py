"""What the server's refusals become, whichever driver brings them."""

from __future__ import annotations

from foundry.errors import ConnectionFailed, FoundryError, StoreError
from foundry.masking import HIDDEN
from foundry.store.operations import Atomic, Operation

UNREADABLE = "a stored value is none of Python's, such as a time before year 1 or after year 9999"

_ADVICE = {
    "42P01": ': run "python -m foundry.migrate up"',
    "42703": ': run "python -m foundry.migrate up", which adds embeddings where pgvector is',
    # Only the asyncio store prepares statements.
    **dict.fromkeys(("26000", "42P05"), ": behind a pooler, connect with statement_cache_size=0"),
}


def failure(
    error: BaseException,
    *,
    sqlstate: str | None,
    name: str,
    message: str | None,
    constraint: str | None,
) -> FoundryError:
    """One line for a driver's error; what the server says about a row stays out of it."""
    if sqlstate is None or sqlstate[:2] == "08" or sqlstate[:3] == "57P":
        failure: FoundryError = ConnectionFailed(
            "the connection ended in the middle of a call: whether it was done is not known"
        )
        failure.__cause__ = error
        return failure
    # 22 and 23, data and constraints: the detail has the row.
    secret = sqlstate[:2] in ("22", "23") or HIDDEN in (message or "")
    said = "" if sqlstate[:2] == "22" else f": {message}"
    failure = StoreError(
        f"the server refused it, {name}{said}{_ADVICE.get(sqlstate, '')}",
        sqlstate=sqlstate,
        constraint=constraint,
    )
    failure.__cause__ = None if secret else error
    return failure


def unreadable(operation: Operation, error: Exception) -> Exception:
    """What a value becomes that others have stored and Python has none for; else the error.

    Infinity and BC, years beyond 9999, integers of more digits than Python reads.
    """
    # What an Atomic raises is of the caller's own iterables, too.
    if isinstance(operation, Atomic) or isinstance(error, FoundryError):
        return error
    if not isinstance(error, (ValueError, OverflowError)):
        return error
    return StoreError(UNREADABLE)
