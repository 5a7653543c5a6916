"""JSON as jsonb returns it: the same values of the same types, or an error that names the place."""

from __future__ import annotations

import json
import marshal
import math
import re
from decimal import Decimal
from typing import Any

import orjson

from foundry.errors import InvalidValue
from foundry.store.scalars import text_fault

_OPTIONS = (
    orjson.OPT_PASSTHROUGH_DATACLASS
    | orjson.OPT_PASSTHROUGH_DATETIME
    | orjson.OPT_PASSTHROUGH_SUBCLASS
)

_DEEPEST = 254
"""Where orjson gives up."""

_LARGEST = 268_435_455
"""Bytes that an array or object of jsonb can have."""

_WHOLE_FLOATS = 1e16
"""jsonb writes them out, and returns those without a point as integers."""

# -0.0, and what has a positive exponent: inside a text it is found, too, and looked at in vain.
_NUMBERS = re.compile(rb"(?:^|[\[:,])(?:-0\.0(?![0-9e])|-?[0-9.]+e\+?[0-9])")

_LONGEST_INTEGER = 4300
"""Digits: Python reads no more of them."""

_PLUS = b"e+" in orjson.dumps(1e16)
"""Whether this orjson writes positive exponents with their sign."""

# Every digit to 0, so that one search finds a number of any digits.
_DIGITS = bytes.maketrans(b"123456789", b"000000000")
_LONG_NUMBER = b"0" * 19


def payload(value: object, path: str) -> str:
    """JSON text of dicts, lists, texts, numbers, booleans and None that jsonb keeps as it is.

    The order of keys is jsonb's own. NaN, infinities, -0.0, tuples, keys that are not text and
    anything deeper than 254 levels are InvalidValue.
    """
    try:
        written = orjson.dumps(value, option=_OPTIONS)
    except (TypeError, RecursionError):
        written = None
    # What orjson writes as something else (NaN, tuples, UUIDs) is not equal when it is read.
    if (
        written is None
        or _is_suspicious(written)
        or not _is_plain(value)
        or orjson.loads(written) != value
    ):
        written = _dumped(_walked(value, path, 1), path)
    if len(written) > _LARGEST:
        raise InvalidValue(f"{path}: {len(written)} bytes of JSON, jsonb holds {_LARGEST}")
    return written.decode()


def _is_plain(value: Any) -> bool:
    """False for a member of an enum that is a text or number, too, and equal to it."""
    try:
        # Refuses whatever is not of a built-in type itself, many times faster than a walk.
        marshal.dumps(value)
    except ValueError:
        return False
    return True


def _is_suspicious(written: bytes) -> bool:
    # A single byte is found a hundred times faster than two.
    if b"\\" in written and b"\\u0000" in written:
        return True
    return (
        (b"-" in written and b"-0.0" in written)
        or (b"+" in written and b"e+" in written)
        or not _PLUS
    ) and _NUMBERS.search(written) is not None


def _dumped(value: object, path: str) -> bytes:
    try:
        return orjson.dumps(value, option=_OPTIONS)
    except (TypeError, RecursionError) as error:
        raise InvalidValue(f"{path}: {error}") from None


def _walked(value: Any, path: str, depth: int) -> Any:
    """The value as it is to be written; looks at every place of it."""
    kind = type(value)
    if value is None or kind is bool:
        return value
    if kind is str:
        return _word(value, path)
    if kind is int:
        return _integer(value, path)
    if kind is float:
        return _float(value, path)
    if kind not in (list, dict):
        raise InvalidValue(f"{path}: {kind.__name__} is not of JSON")
    if depth > _DEEPEST:
        raise InvalidValue(f"{path[:80]}: deeper than {_DEEPEST} levels")
    if kind is list:
        return [_walked(inner, f"{path}[{at}]", depth + 1) for at, inner in enumerate(value)]
    return {
        _key(name, path): _walked(inner, _inside(path, name), depth + 1)
        for name, inner in value.items()
    }


def _inside(path: str, name: str) -> str:
    """Path of a key: a name that looks like one is said, anything else may be of a person."""
    return f"{path}.{name}" if name.isidentifier() and len(name) <= 40 else f"{path}[…]"


def _key(name: object, path: str) -> str:
    if type(name) is not str:
        raise InvalidValue(f"{path}: a key that is {type(name).__name__}, not text")
    if fault := text_fault(name):
        raise InvalidValue(f"{path}: {fault} of a key")
    return name


def _word(value: str, path: str) -> str:
    if fault := text_fault(value):
        raise InvalidValue(f"{path}: {fault}")
    return value


def _integer(value: int, path: str) -> Any:
    if -(2**63) <= value < 2**64:
        return value
    if abs(value) >= 10**_LONGEST_INTEGER:
        raise InvalidValue(f"{path}: an integer of more than {_LONGEST_INTEGER} digits")
    return _fragment(str(value))


def _float(value: float, path: str) -> Any:
    if not math.isfinite(value):
        raise InvalidValue(f"{path}: {'NaN' if value != value else 'infinity'}")
    if value == 0 and math.copysign(1, value) < 0:
        raise InvalidValue(f"{path}: -0.0, whose sign jsonb loses")
    if abs(value) >= _WHOLE_FLOATS:
        return _fragment(f"{Decimal(repr(value)):f}.0")
    return value


def _fragment(written: str) -> Any:
    return orjson.Fragment(written.encode())


def loaded(written: str | bytes) -> Any:
    """Values of JSON text that jsonb printed."""
    data = written.encode() if isinstance(written, str) else written
    # orjson reads an integer of more than 64 bits as a float.
    return json.loads(data) if _has_long_number(data) else orjson.loads(data)


def _has_long_number(data: bytes) -> bool:
    # Of 19 digits in a row, every sixth byte has three.
    if b"000" not in data[::6].translate(_DIGITS):
        return False
    return _LONG_NUMBER in data.translate(_DIGITS)
