"""Rows in the binary format of COPY, both ways.

https://www.postgresql.org/docs/current/sql-copy.html, "Binary Format"
"""

from __future__ import annotations

import functools
import struct
from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import datetime, timedelta, timezone
from itertools import chain, repeat, takewhile
from typing import Any, TypeAlias
from uuid import UUID

from foundry.store import vectors
from foundry.store.operations import Kind
from foundry.store.payloads import loaded

_HEAD = b"PGCOPY\n\xff\r\n\0" + bytes(8)
_END = b"\xff\xff"
_NULL = b"\xff\xff\xff\xff"

_EPOCH = datetime(2000, 1, 1, tzinfo=timezone.utc)

_TOGETHER = 32
"""Rows: as much as is made while the server reads what was made before."""

_SIZE = struct.Struct(">i")
_COUNT = struct.Struct(">h")
_NUMBER = struct.Struct(">iq")
_INT8 = struct.Struct(">q")


def _pack_text(value: str) -> bytes:
    data = value.encode()
    return _SIZE.pack(len(data)) + data


def _pack_int8(value: int) -> bytes:
    return _NUMBER.pack(8, value)


def _pack_moment(value: datetime) -> bytes:
    since = value - _EPOCH
    return _NUMBER.pack(8, (since.days * 86400 + since.seconds) * 1_000_000 + since.microseconds)


def _pack_bytes(value: bytes | memoryview) -> bytes:
    return _SIZE.pack(len(value)) + value


def _pack_uuid(value: UUID) -> bytes:
    return b"\0\0\0\x10" + value.bytes


def _pack_json(value: str) -> bytes:
    # The format's version comes first.
    return _pack_bytes(b"\x01" + value.encode())


_PACK: dict[Kind, Callable[[Any], bytes]] = {
    "int8": _pack_int8,
    "text": _pack_text,
    "uuid": _pack_uuid,
    "timestamptz": _pack_moment,
    "jsonb": _pack_json,
    "vector": _pack_bytes,
}


def pieces(kinds: tuple[Kind, ...], rows: Sequence[tuple[Any, ...]]) -> Iterator[bytes]:
    """A whole COPY of rows, each with a value or None for every kind.

    Some rows are in a piece, which is made when it is asked for.
    """
    if len(rows) == 1:
        yield _alone(kinds, rows[0])
        return
    head, count = _HEAD, _COUNT.pack(len(kinds))
    packers = [_PACK[kind] for kind in kinds]
    for at in range(0, len(rows), _TOGETHER):
        some = rows[at : at + _TOGETHER]
        columns = [
            _column(pack, values)
            for pack, values in zip(packers, zip(*some, strict=True), strict=True)
        ]
        end = _END if at + _TOGETHER >= len(rows) else b""
        yield b"".join((head, *chain.from_iterable(zip(repeat(count), *columns)), end))
        head = b""
    if not rows:
        yield _HEAD + _END


def _alone(kinds: tuple[Kind, ...], row: tuple[Any, ...]) -> bytes:
    fields = [
        _NULL if value is None else _PACK[kind](value)
        for kind, value in zip(kinds, row, strict=True)
    ]
    return b"".join((_HEAD, _COUNT.pack(len(kinds)), *fields, _END))


def _column(pack: Callable[[Any], bytes], values: tuple[Any, ...]) -> Iterable[bytes]:
    """Values of one column; one that is the same in every row, like a session, is packed once."""
    first = values[0]
    if first == values[-1] and values.count(first) == len(values):
        return [_NULL if first is None else pack(first)] * len(values)
    return [_NULL if value is None else pack(value) for value in values]


def _read_text(data: bytes, start: int, size: int) -> str:
    return data[start : start + size].decode()


def _read_int8(data: bytes, start: int, size: int) -> int:
    return _int8(_INT8.unpack_from(data, start)[0])


def _read_moment(data: bytes, start: int, size: int) -> datetime:
    return _moment(_INT8.unpack_from(data, start)[0])


def _read_uuid(data: bytes, start: int, size: int) -> UUID:
    return UUID(bytes=data[start : start + 16])


def _read_json(data: bytes, start: int, size: int) -> Any:
    return loaded(data[start + 1 : start + size])


_READ: dict[Kind, Callable[[bytes, int, int], Any]] = {
    "int8": _read_int8,
    "text": _read_text,
    "uuid": _read_uuid,
    "timestamptz": _read_moment,
    "jsonb": _read_json,
}


def _reader(kind: Kind) -> Callable[[bytes, int, int], Any]:
    # numpy is looked for when the first vector is read.
    return vectors.reader() if kind == "vector" else _READ[kind]


def parsed(kinds: tuple[Kind, ...], data: bytes) -> list[tuple[Any, ...]]:
    """The rows of a whole COPY; fastest where the numbers and times come first."""
    lead, sizes, numbers, readers = _layout(kinds)
    read_lead, size_of, skip = lead.unpack_from, _SIZE.unpack_from, lead.size
    at = len(_HEAD) + _SIZE.unpack_from(data, len(_HEAD) - 4)[0]
    end = len(data) - len(_END)
    rows: list[tuple[Any, ...]] = []
    while at < end:
        # A row of NULLs may be shorter than the beginning of a row without.
        first = read_lead(data, at) if at + skip <= end else ()
        if first[1::2] != sizes:
            row, at = _read_slowly(kinds, data, at)
            rows.append(row)
            continue
        at += skip
        fields = [number(value) for number, value in zip(numbers, first[2::2], strict=True)]
        for read in readers:
            (size,) = size_of(data, at)
            at += 4
            if size < 0:
                fields.append(None)
            else:
                fields.append(read(data, at, size))
                at += size
        rows.append(tuple(fields))
    return rows


def _read_slowly(kinds: tuple[Kind, ...], data: bytes, at: int) -> tuple[tuple[Any, ...], int]:
    """A row that has NULL for a number or time, and where it ends."""
    row: list[Any] = []
    at += _COUNT.size
    for kind in kinds:
        (size,) = _SIZE.unpack_from(data, at)
        at += 4
        row.append(None if size < 0 else _reader(kind)(data, at, size))
        at += max(size, 0)
    return tuple(row), at


def _int8(value: int) -> int:
    return value


def _moment(value: int) -> datetime:
    return _EPOCH + timedelta(0, 0, value)


_NUMBERS: dict[Kind, Callable[[int], Any]] = {"int8": _int8, "timestamptz": _moment}

_Reader: TypeAlias = Callable[[bytes, int, int], Any]
_Layout: TypeAlias = tuple[
    struct.Struct, tuple[int, ...], tuple[Callable[[int], Any], ...], tuple[_Reader, ...]
]


@functools.cache
def _layout(kinds: tuple[Kind, ...]) -> _Layout:
    """How a row begins, with as many numbers and times as come first, and what reads the rest."""
    first = list(takewhile(_NUMBERS.__contains__, kinds))
    return (
        struct.Struct(">h" + "iq" * len(first)),
        (8,) * len(first),
        tuple(_NUMBERS[kind] for kind in first),
        tuple(_reader(kind) for kind in kinds[len(first) :]),
    )
