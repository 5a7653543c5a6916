"""Errors as they may be shown: without rows, without values, without passwords."""

from __future__ import annotations

import re
import traceback
from collections.abc import Iterator

import psycopg2
from peewee import PeeweeException

from foundry.errors import FoundryError

# Python's own complaints about code name code; other exceptions may carry anything, a
# URL with its password for one.
ABOUT_CODE = (
    *(ImportError, NameError, SyntaxError, AttributeError, TypeError, IndexError),
    NotImplementedError,
)

HIDDEN = '"…"'
"""What is shown in place of a value."""

# A value may have quotes in it: from the first one to the last, whatever the server's language.
_QUOTED = re.compile('["«»„“”].*["«»„“”]', re.DOTALL)


def driver_error(error: BaseException) -> psycopg2.Error | None:
    """Return the driver's error that `error` is, or that Peewee made it from."""
    if isinstance(error, psycopg2.Error):
        return error
    if isinstance(error, PeeweeException) and isinstance(error.__context__, psycopg2.Error):
        return error.__context__
    return None


def primary(error: psycopg2.Error) -> str:
    """Return the server's message in one line: no DETAIL, which shows rows, and no value."""
    said = error.diag.message_primary
    if said is None:
        return (str(error).strip().splitlines() or ["unknown"])[0]
    diag = error.diag
    placed = diag.statement_position is not None or diag.constraint_name is not None
    return shown(said, state=error.pgcode or "", placed=placed)


def shown(said: str, *, state: str, placed: bool) -> str:
    """A server's message in one line without a value; `placed` where it tells of a place or index.

    Data exceptions quote the value: 'invalid input syntax for type integer: "…"'. So do a syntax
    error at no place of the statement, which is one in a value (a tsquery, a jsonpath), and a limit
    that is not that of an index (a tsquery that is too long).
    """
    if state.startswith("22") or (state in ("42601", "54000") and not placed):
        said = _QUOTED.sub(HIDDEN, said)
    return (said.strip().splitlines() or ["unknown"])[0]


def trace(error: BaseException) -> str:
    """Return where an error and those behind it came from, and of each what may be shown."""
    parts = []
    for one in reversed(list(_chain(error))):
        frames = "".join(traceback.format_tb(one.__traceback__))
        parts.append(f"Traceback (most recent call last):\n{frames}{_named(one)}\n")
    return "\nthen\n\n".join(parts)


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    seen: set[int] = set()
    while error is not None and id(error) not in seen:
        seen.add(id(error))
        yield error
        error = error.__cause__ or error.__context__


def _named(error: BaseException) -> str:
    name, driver = type(error).__name__, driver_error(error)
    if driver is not None:
        return f"{name}: {primary(driver)}"
    return f"{name}: {error}" if isinstance(error, (FoundryError, *ABOUT_CODE)) else name
