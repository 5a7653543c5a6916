"""Embeddings: float32 to the bit, in the binary form of pgvector.

numpy is used where it is there and never needed: what is given decides on the way in.
"""

from __future__ import annotations

import functools
import math
import struct
import sys
from array import array
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import orjson

from foundry.errors import InvalidValue

MOST = 16_000
"""Dimensions that a vector column can have."""

_MANY_TYPES = {float, int}

_ONE = struct.Struct(">f")


class Packed(bytes):
    """A vector as pgvector sends and receives it: dimensions, zero, float32s, big-endian."""

    __slots__ = ()


def vector(value: object, path: str, *, dimensions: int | None = None) -> Packed:
    """Numbers of a list, tuple, array.array or one-dimensional numpy array, as float32.

    Each is rounded to the nearest float32; one that would become infinite, or zero without
    being it, is InvalidValue.
    """
    if isinstance(value, (list, tuple, array)):
        return _of_sequence(value, path, dimensions)
    numpy = sys.modules.get("numpy")
    if numpy is not None and isinstance(value, numpy.ndarray):
        return _of_array(numpy, value, path, dimensions)
    raise InvalidValue(f"{path}: expected a list or array of numbers, got {type(value).__name__}")


def _check_size(size: int, path: str, dimensions: int | None) -> None:
    if dimensions is not None and size != dimensions:
        raise InvalidValue(f"{path}: {size} numbers, not {dimensions}")
    if not 1 <= size <= MOST:
        raise InvalidValue(f"{path}: {size} numbers, not from 1 to {MOST}")


@functools.cache
def layout(size: int) -> struct.Struct:
    """How the numbers of a vector of that size lie, after its head."""
    return struct.Struct(f">{size}f")


@functools.cache
def _whole(size: int) -> struct.Struct:
    return struct.Struct(f">HH{size}f")


def _of_sequence(
    value: list[Any] | tuple[Any, ...] | array[Any], path: str, dimensions: int | None
) -> Packed:
    # What another thread does to a list must not come between the looks at it.
    value = tuple(value)
    size = len(value)
    _check_size(size, path, dimensions)
    # A boolean packs, and so does whatever has __float__.
    if [*map(type, value)].count(float) < size:
        value = [_number(number, f"{path}[{at}]") for at, number in enumerate(value)]
    try:
        packed = Packed(_whole(size).pack(size, 0, *value))
        whole = math.isfinite(sum(value))
    except (OverflowError, struct.error):
        whole = False
    # The bytes of a zero, or of a short number like 0.5.
    if not whole or packed.find(b"\0\0\0", 4) >= 0:
        _check_each(value, path)
    return packed


def _number(number: object, path: str) -> float | int:
    """A number that is a float or an int; numpy's own single ones count."""
    if type(number) in _MANY_TYPES:
        return number  # type: ignore[return-value]
    numpy = sys.modules.get("numpy")
    if numpy is not None and isinstance(number, (numpy.floating, numpy.integer)):
        plain: float | int = number.item()
        # A longdouble stays one: float() would make zero of the smallest.
        if type(plain) in _MANY_TYPES or _fault(plain):
            return plain
        return float(plain)
    raise InvalidValue(f"{path}: expected a number, got {type(number).__name__}")


class Gathered:
    """The vectors of some rows, one after the other, until these are sent.

    The numbers of float32 arrays are written where those of the rows before them were: memory that
    is new costs the system more than all that is done with it here.
    """

    def __init__(self, dimensions: int, rows: int) -> None:
        self._shape = (dimensions,)
        self._rows = rows
        self._numbers: list[int] = []
        self._places: list[memoryview] = []
        self._array: Any = None

    def put(self, value: Any, path: str, number: int) -> Packed | memoryview:
        """What `vector` makes of it; a float32 array is looked at by `fault`, and good for `clear`.

        `number` is that of its row. What is returned does not change with the value.
        """
        if type(value) is not self._array:
            numpy = sys.modules.get("numpy")
            if numpy is None or type(value) is not numpy.ndarray:
                return vector(value, path, dimensions=self._shape[0])
            self._begin(numpy)
        if value.shape != self._shape or value.dtype != self._float:
            return vector(value, path, dimensions=self._shape[0])
        at = len(self._numbers)
        if at == len(self._places):
            # In the place of a first number: dimensions, and zero.
            self._table.view(">u4")[at, 0] = self._shape[0] << 16
            self._places.append(memoryview(self._table.view("u1")[at]))
        self._table[at, 1:] = value
        self._numbers.append(number)
        return self._places[at]

    def _begin(self, numpy: Any) -> None:
        self._array = numpy.ndarray
        sent, self._float = _dtypes(numpy)
        self._table = numpy.empty((self._rows, self._shape[0] + 1), sent)
        self._finite = numpy.empty(self._table.shape, bool)

    def fault(self) -> tuple[int, str] | None:
        """The number of the first row whose array has infinity or NaN, and `[at]: which`."""
        used = len(self._numbers)
        if not used:
            return None
        finite = sys.modules["numpy"].isfinite(self._table[:used], out=self._finite[:used])
        if finite.all():
            return None
        row = int(finite.all(axis=1).argmin())
        at = int(finite[row, 1:].argmin())
        return self._numbers[row], f"[{at}]: {_fault(float(self._table[row, at + 1]))}"

    def clear(self) -> None:
        """Forget the rows: they are sent."""
        self._numbers.clear()


def settled(rows: Iterable[Sequence[Any]]) -> list[tuple[Any, ...]]:
    """Rows whose vectors are Packed, wherever their bytes were."""
    return [
        tuple(Packed(value) if type(value) is memoryview else value for value in row)
        for row in rows
    ]


def _check_each(value: Any, path: str) -> None:
    for at, number in enumerate(value):
        if fault := _fault(number):
            raise InvalidValue(f"{path}[{at}]: {fault}")


def _fault(number: float) -> str | None:
    if number != number:
        return "NaN"
    if number in (math.inf, -math.inf):
        return "infinity"
    try:
        (kept,) = _ONE.unpack(_ONE.pack(number))
    except (OverflowError, struct.error):
        return "beyond float32"
    return "a number that float32 makes zero" if number and not kept else None


def _of_array(numpy: Any, value: Any, path: str, dimensions: int | None) -> Packed:
    if value.ndim != 1:
        raise InvalidValue(f"{path}: an array of {value.ndim} dimensions, not one")
    size = value.shape[0]
    _check_size(size, path, dimensions)
    if value.dtype.kind not in "fiu" or hasattr(value, "mask"):
        raise InvalidValue(f"{path}: a {type(value).__name__} of {value.dtype}, not of numbers")
    if value.dtype.itemsize == 4 and value.dtype.kind == "f":
        data = value.astype(_dtypes(numpy)[0]).tobytes()
        if not _finite(data):
            _check_each(layout(size).unpack(data), path)
        return Packed(_head(size) + data)
    value = numpy.array(value)
    with numpy.errstate(over="ignore", under="ignore"):
        narrow = value.astype("f4")
    if not (numpy.isfinite(narrow).all() and ((narrow != 0) == (value != 0)).all()):
        _check_each(value.tolist(), path)
    return Packed(_head(size) + narrow.astype(_dtypes(numpy)[0]).tobytes())


def _finite(data: bytes) -> bool:
    """Whether big-endian float32s are small: infinity, NaN and what is above 1e38 begin alike.

    A call of numpy costs ten times as much where it is the only one in a while.
    """
    first = data[::4]
    return b"\x7f" not in first and b"\xff" not in first


@functools.cache
def _head(size: int) -> bytes:
    return struct.pack(">HH", size, 0)


@functools.cache
def _dtypes(numpy: Any) -> tuple[Any, Any]:
    """The float32 of the wire and of this machine."""
    return numpy.dtype(">f4"), numpy.dtype("f4")


@functools.cache
def _numpy() -> Any:
    try:
        import numpy
    except ImportError:
        return None
    return numpy


@functools.cache
def reader() -> Callable[[bytes, int, int], Any]:
    """Reads the vector that begins at a place of some bytes and has a size.

    As a float32 array of its own where numpy is, else as a list.
    """
    numpy = _numpy()
    if numpy is None:
        return _as_list
    frombuffer = numpy.frombuffer
    sent, kept = _dtypes(numpy)

    def as_array(data: bytes, start: int, size: int) -> Any:
        return frombuffer(data, sent, (size - 4) >> 2, start + 4).astype(kept)

    return as_array


def _as_list(data: bytes, start: int, size: int) -> list[float]:
    return list(layout((size - 4) >> 2).unpack_from(data, start + 4))


def unpacked(data: bytes) -> Any:
    """The float32s of a whole vector."""
    return reader()(data, 0, len(data))


def written(vector: Packed) -> str:
    """The text of a vector, for where binary cannot go; exact, each number being a float32."""
    numpy = sys.modules.get("numpy")
    if numpy is None:
        numbers = layout(vector[0] << 8 | vector[1]).unpack_from(vector, 4)
        return orjson.dumps(numbers).decode()
    # As few digits as tell one float32 from another: half the work for the server.
    sent, kept = _dtypes(numpy)
    array = numpy.frombuffer(vector, sent, offset=4).astype(kept)
    return orjson.dumps(array, option=orjson.OPT_SERIALIZE_NUMPY).decode()
