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
    # Data exceptions quote the value: 'invalid input syntax for type integer: "…"'. So does a
    # syntax error at no place of the statement: that is one in a value (a tsquery, a jsonpath).
    state = error.pgcode or ""
    if state.startswith("22") or (state == "42601" and error.diag.statement_position is None):
        said = _QUOTED.sub('"…"', said)
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
