"""Texts, numbers, times and ids, as they are or not at all."""

from __future__ import annotations

import re
from collections.abc import Collection
from datetime import datetime, timezone
from typing import Any, TypeVar
from uuid import UUID

from foundry.errors import InvalidValue

T = TypeVar("T")

_SURROGATE = re.compile("[\ud800-\udfff]")

_LONGEST = 2**30 - 2**20
"""Bytes: one value of PostgreSQL ends at 1 GB, with what surrounds it."""

KEY_BYTES = 2600
"""An entry of a B-tree ends at a third of a page, and what compresses badly is not made smaller."""


def text(value: object, path: str) -> str:
    """Text that a UTF-8 database returns as it was."""
    if type(value) is str and value.isascii() and "\0" not in value and len(value) < _LONGEST:
        return value
    if not isinstance(value, str):
        raise InvalidValue(f"{path}: expected text, got {type(value).__name__}")
    plain = str.__str__(value)
    if fault := text_fault(plain):
        raise InvalidValue(f"{path}: {fault}")
    return plain


def text_fault(value: str) -> str | None:
    """What keeps a text out of a database, if anything."""
    if (at := value.find("\0")) >= 0:
        return f"U+0000 at {at}"
    try:
        size = len(value) if value.isascii() else len(value.encode())
    except UnicodeEncodeError:
        found = _SURROGATE.search(value)
        assert found is not None
        return f"lone surrogate U+{ord(found[0]):04X} at {found.start()}"
    return None if size < _LONGEST else f"{size} bytes of text, a value ends at 1 GB"


def key(value: object, path: str) -> str:
    """Text that fits into an index and is not empty."""
    plain = text(value, path)
    if not plain:
        raise InvalidValue(f"{path}: an empty text")
    if (size := len(plain.encode())) > KEY_BYTES:
        raise InvalidValue(f"{path}: {size} bytes, an index holds {KEY_BYTES}")
    return plain


def one_of(value: object, path: str, allowed: Collection[str]) -> str:
    """One of the texts `allowed`."""
    if type(value) is str and value in allowed:
        return value
    plain = text(value, path)
    if plain not in allowed:
        raise InvalidValue(f"{path}: not one of {', '.join(allowed)}")
    return plain


def integer(value: object, path: str, *, low: int = -(2**63), high: int = 2**63 - 1) -> int:
    """A whole number from `low` to `high`; a boolean is none."""
    if type(value) is not int:
        raise InvalidValue(f"{path}: expected int, got {type(value).__name__}")
    if not low <= value <= high:
        raise InvalidValue(f"{path}: not from {low} to {high}")
    return value


def boolean(value: object, path: str) -> bool:
    """True or False."""
    if value is True or value is False:
        return value
    raise InvalidValue(f"{path}: expected bool, got {type(value).__name__}")


_FIRST = datetime.min.replace(tzinfo=timezone.utc)
_LAST = datetime.max.replace(tzinfo=timezone.utc)


def moment(value: object, path: str) -> datetime:
    """An aware datetime, in UTC; asyncpg would store the first and the last one as infinity."""
    found = _moment(value, path)
    if not _FIRST < found < _LAST:
        raise InvalidValue(f"{path}: the first or last time there is, which stands for infinity")
    return found


def _moment(value: object, path: str) -> datetime:
    if type(value) is datetime and value.tzinfo is timezone.utc and not value.fold:
        return value
    if not isinstance(value, datetime):
        raise InvalidValue(f"{path}: expected datetime, got {type(value).__name__}")
    if value.utcoffset() is None:
        raise InvalidValue(
            f"{path}: a datetime without a time zone; give it one, for example "
            "datetime.now(timezone.utc)"
        )
    if getattr(value, "nanosecond", 0):
        raise InvalidValue(f"{path}: nanoseconds, a column holds microseconds")
    try:
        return _plain(value).astimezone(timezone.utc)
    except OverflowError:
        raise InvalidValue(f"{path}: before year 1 or after year 9999 in UTC") from None


def _plain(value: datetime) -> datetime:
    """The same time without what a subclass adds."""
    if type(value) is datetime:
        return value
    return datetime.combine(value.date(), value.time(), value.tzinfo).replace(fold=value.fold)


def uuid(value: object, path: str) -> UUID:
    """A UUID, or its usual text in lower case."""
    if isinstance(value, UUID):
        return value
    if not isinstance(value, str):
        raise InvalidValue(f"{path}: expected UUID, got {type(value).__name__}")
    try:
        found = UUID(value)
    except ValueError:
        raise InvalidValue(f"{path}: not a UUID") from None
    if str(found) != value:
        raise InvalidValue(f"{path}: a UUID in another spelling than PostgreSQL's")
    return found


def iterable(value: T, path: str) -> T:
    """What a `for` can go through."""
    if not hasattr(value, "__iter__"):
        raise InvalidValue(f"{path}: expected an iterable, got {type(value).__name__}")
    return value


def optional(check: Any, value: object, path: str) -> Any:
    """None, or what `check` says."""
    return None if value is None else check(value, path)
