"""Values that a column cannot hold are refused by their path, before any SQL."""

from __future__ import annotations

import enum
import struct
import sys
from array import array
from datetime import date, datetime, timedelta, timezone
from decimal import Decimal
from typing import Any
from uuid import UUID, uuid4

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from foundry.errors import InvalidValue
from foundry.store import strict
from foundry.store.payloads import loaded
from foundry.store.vectors import Gathered, unpacked, written

NAN, INF = float("nan"), float("inf")


class Colour(str, enum.Enum):
    """A text with a name."""

    RED = "red"


class Level(enum.IntEnum):
    """A number with a name."""

    HIGH = 3


class Bare(enum.Enum):
    """No text at all."""

    RED = "red"


def nested(depth: int) -> Any:
    """A list in a list."""
    value: Any = []
    for _ in range(depth - 1):
        value = [value]
    return value


REFUSED: tuple[tuple[Any, Any, str], ...] = (
    (strict.text, "abc\0d", "v: U+0000 at 3"),
    (strict.text, "é\ud800", "v: lone surrogate U+D800 at 1"),
    (strict.text, 5, "v: expected text, got int"),
    (strict.text, b"x", "v: expected text, got bytes"),
    (strict.text, {}, "v: expected text, got dict"),
    (strict.text, None, "v: expected text, got NoneType"),
    (strict.key, "", "v: an empty text"),
    (strict.key, "é" * 1301, "v: 2602 bytes, an index holds 2600"),
    (strict.integer, 1.5, "v: expected int, got float"),
    (strict.integer, 1.0, "v: expected int, got float"),
    (strict.integer, True, "v: expected int, got bool"),
    (strict.integer, "1", "v: expected int, got str"),
    (strict.integer, 2**63, f"v: not from {-(2**63)} to {2**63 - 1}"),
    (strict.boolean, "no", "v: expected bool, got str"),
    (strict.boolean, 1, "v: expected bool, got int"),
    (strict.moment, datetime(2026, 1, 1), "v: a datetime without a time zone"),
    (strict.moment, "infinity", "v: expected datetime, got str"),
    (strict.moment, "now", "v: expected datetime, got str"),
    (strict.moment, date(2026, 1, 1), "v: expected datetime, got date"),
    (
        strict.moment,
        datetime(1, 1, 1, tzinfo=timezone(timedelta(hours=2))),
        "v: before year 1 or after year 9999 in UTC",
    ),
    (strict.moment, datetime.max.replace(tzinfo=timezone.utc), "v: the first or last time there"),
    (strict.moment, datetime.min.replace(tzinfo=timezone.utc), "v: the first or last time there"),
    (strict.uuid, "x", "v: not a UUID"),
    (strict.uuid, str(UUID(int=10)).upper(), "v: a UUID in another spelling than PostgreSQL's"),
    (strict.uuid, 7, "v: expected UUID, got int"),
    (strict.payload, [1, NAN], "v[1]: NaN"),
    (strict.payload, {"a": INF}, "v.a: infinity"),
    (strict.payload, {"a": [-0.0]}, "v.a[0]: -0.0, whose sign jsonb loses"),
    (strict.payload, {"a": (1,)}, "v.a: tuple is not of JSON"),
    (strict.payload, {1: 2}, "v: a key that is int, not text"),
    (strict.payload, {None: 2}, "v: a key that is NoneType, not text"),
    (strict.payload, [{1}], "v[0]: set is not of JSON"),
    (strict.payload, [b"x"], "v[0]: bytes is not of JSON"),
    (strict.payload, [datetime(2026, 1, 1)], "v[0]: datetime is not of JSON"),
    (strict.payload, [uuid4()], "v[0]: UUID is not of JSON"),
    (strict.payload, [Decimal("Infinity")], "v[0]: Decimal is not of JSON"),
    (strict.payload, [Bare.RED], "v[0]: Bare is not of JSON"),
    (strict.payload, {"a": Colour.RED}, "v.a: Colour is not of JSON"),
    (strict.payload, {"a": [Level.HIGH]}, "v.a[0]: Level is not of JSON"),
    (strict.payload, {"a": ["x\0"]}, "v.a[0]: U+0000 at 1"),
    (strict.payload, {"a": {"b\0": 1}}, "v.a: U+0000 at 1 of a key"),
    (strict.payload, ["\udfff"], "v[0]: lone surrogate U+DFFF at 0"),
    (strict.payload, {"\udfff": 1}, "v: lone surrogate U+DFFF at 0 of a key"),
    (strict.payload, {"of a person\ud800": 1}, "v: lone surrogate U+D800 at 11 of a key"),
    (strict.payload, {"of a person": [NAN]}, "v[…][0]: NaN"),
    (strict.payload, nested(255), "deeper than 254 levels"),
    (strict.payload, nested(9000), "deeper than 254 levels"),
    (strict.payload, [10**4300], "v[0]: an integer of more than 4300 digits"),
    (strict.vector, [], "v: 0 numbers, not from 1 to 16000"),
    (strict.vector, [0.0] * 16001, "v: 16001 numbers, not from 1 to 16000"),
    (strict.vector, [1.0, NAN], "v[1]: NaN"),
    (strict.vector, [1.0, INF], "v[1]: infinity"),
    (strict.vector, [-INF, INF], "v[0]: infinity"),
    (strict.vector, [1e39], "v[0]: beyond float32"),
    (strict.vector, [10**400], "v[0]: beyond float32"),
    (strict.vector, [1.0, 1e-46], "v[1]: a number that float32 makes zero"),
    (strict.vector, [1.0, -1e-46], "v[1]: a number that float32 makes zero"),
    (strict.vector, [True], "v[0]: expected a number, got bool"),
    (strict.vector, ["1"], "v[0]: expected a number, got str"),
    (strict.vector, [Decimal(1)], "v[0]: expected a number, got Decimal"),
    (strict.vector, "[1,2]", "v: expected a list or array of numbers, got str"),
    (strict.vector, array("f", [1, NAN]), "v[1]: NaN"),
    (strict.vector, array("d", [1e-46]), "v[0]: a number that float32 makes zero"),
)


@pytest.mark.parametrize(("check", "value", "said"), REFUSED)
def test_what_would_change_is_refused_by_its_path(check: Any, value: Any, said: str) -> None:
    """The message says where and of which type, and never the value."""
    with pytest.raises(InvalidValue) as refused:
        check(value, "v")
    assert said in str(refused.value)
    assert 300 > len(str(refused.value))


def test_a_text_of_an_enum_is_the_text() -> None:
    """Many applications name their roles so."""
    assert ["red", str] == [strict.text(Colour.RED, "v"), type(strict.text(Colour.RED, "v"))]
    assert "red" == strict.one_of(Colour.RED, "v", ("red",))


def test_one_of_says_what_there_is() -> None:
    """A role that nobody has is refused."""
    with pytest.raises(InvalidValue, match=r"^v: not one of a, b$"):
        strict.one_of("c", "v", ("a", "b"))


def test_a_vector_of_another_length_is_refused() -> None:
    """The column has a length."""
    with pytest.raises(InvalidValue, match=r"^v: 383 numbers, not 384$"):
        strict.vector([0.5] * 383, "v", dimensions=384)


def test_a_time_is_sent_in_utc() -> None:
    """The same moment, whatever zone it was given in."""
    given_time = datetime(2026, 7, 1, 12, tzinfo=timezone(timedelta(hours=2)))
    assert datetime(2026, 7, 1, 10, tzinfo=timezone.utc) == strict.moment(given_time, "v")
    assert timezone.utc is strict.moment(given_time, "v").tzinfo


BITS = st.integers(0, 2**32 - 1).filter(lambda bits: bits & 0x7F800000 != 0x7F800000)


@given(st.lists(BITS, min_size=1, max_size=20))
@example([0x80000000, 0, 1, 0x80000001, 0x007FFFFF, 0x7F7FFFFF])
def test_every_finite_float32_keeps_its_bits(bits: list[int]) -> None:
    """-0.0 and subnormal numbers too, in every way in and out."""
    data = struct.pack(f"<{len(bits)}I", *bits)
    numbers = struct.unpack(f"<{len(bits)}f", data)
    sent = {
        bytes(strict.vector(kind, "v"))
        for kind in (list(numbers), numbers, array("f", numbers), array("d", numbers))
    }
    assert {struct.pack(f">HH{len(bits)}I", len(bits), 0, *bits)} == sent
    back = unpacked(next(iter(sent)))
    assert data == struct.pack(f"<{len(bits)}f", *back)
    narrow = [float(text) for text in written(strict.vector(numbers, "v"))[1:-1].split(",")]
    assert data == struct.pack(f"<{len(bits)}f", *narrow)


@given(st.lists(st.floats() | st.integers(), min_size=1, max_size=20))
def test_a_vector_is_the_nearest_float32_or_refused(numbers: list[float]) -> None:
    """What would become infinite, or zero without being it, never passes."""
    try:
        sent = strict.vector(numbers, "v")
    except InvalidValue:
        return
    kept = struct.unpack(f">HH{len(numbers)}f", sent)[2:]
    assert struct.pack(f"{len(numbers)}f", *numbers) == struct.pack(f"{len(numbers)}f", *kept)
    assert [bool(number) for number in numbers] == [bool(number) for number in kept]


def test_arrays_of_numpy_are_checked_as_lists_are() -> None:
    """Of every type of number, contiguous or not."""
    numpy = pytest.importorskip("numpy")
    plain = [0.5, -0.0, 3.4e38, 1e-45]
    for kind in ("f4", ">f4", "f8", "longdouble"):
        sent = strict.vector(numpy.array(plain, kind), "v")
        assert strict.vector(plain, "v") == sent, kind
    assert strict.vector([0, 2, 4], "v") == strict.vector(numpy.arange(6)[::2], "v")
    assert strict.vector([0.5], "v") == strict.vector([numpy.float32(0.5)], "v")
    for bad, said in (
        (numpy.array([1, NAN], "f4"), r"v\[1\]: NaN"),
        (numpy.array([-INF, 1], "f4"), r"v\[0\]: infinity"),
        (numpy.array([1, 1e39]), r"v\[1\]: beyond float32"),
        (numpy.array([1e-46]), r"v\[0\]: a number that float32 makes zero"),
        (numpy.array([[1.0]]), "v: an array of 2 dimensions, not one"),
        (numpy.array([True]), "v: a ndarray of bool, not of numbers"),
        (numpy.array([1j]), "v: a ndarray of complex128, not of numbers"),
        (numpy.ma.masked_array([1.0], mask=[True]), "v: a MaskedArray of float64"),
    ):
        with pytest.raises(InvalidValue, match=said):
            strict.vector(bad, "v")
    if numpy.finfo("longdouble").smallest_normal < 1e-320:
        with pytest.raises(InvalidValue, match="a number that float32 makes zero"):
            strict.vector([numpy.longdouble("1e-4000")], "v")


def test_arrays_that_are_gathered_are_what_they_are_alone() -> None:
    """Whatever is between them, and whatever becomes of them afterwards."""
    numpy = pytest.importorskip("numpy")
    gathered = Gathered(3, 4)
    ones = numpy.ones(3, "f4")
    kept = [gathered.put(one, "v", 7) for one in (ones, ones[::1] * 2, [3.0] * 3, ones * 4)]
    ones[:] = 9
    alone = [strict.vector([number] * 3, "v") for number in (1.0, 2.0, 3.0, 4.0)]
    assert gathered.fault() is None
    assert alone == [bytes(one) for one in kept]
    with pytest.raises(InvalidValue, match="v: a ndarray of bool, not of numbers"):
        gathered.put(numpy.ones(3, bool), "v", 8)
    with pytest.raises(InvalidValue, match="v: 2 numbers, not 3"):
        gathered.put(numpy.ones(2, "f4"), "v", 8)
    gathered.clear()
    rows = [[float(at), 1e-45, -0.0] for at in range(4)]
    kept = [gathered.put(numpy.array(row, "f4"), "v", at) for at, row in enumerate(rows)]
    assert gathered.fault() is None
    assert [strict.vector(row, "v") for row in rows] == [bytes(one) for one in kept]


@pytest.mark.parametrize(("bad", "said"), [("nan", "NaN"), ("inf", "infinity")])
def test_of_gathered_arrays_the_first_bad_one_is_said(bad: str, said: str) -> None:
    """By the number of its row and the place in it; those that were sent count no more."""
    numpy = pytest.importorskip("numpy")
    gathered = Gathered(3, 4)
    gathered.put(numpy.float32([0, float(bad), 0]), "v", 1)
    assert (1, f"[1]: {said}") == gathered.fault()
    gathered.clear()
    for number in (4, 5, 6):
        gathered.put(numpy.float32([1, 2, float(bad) if number > 4 else 3]), "v", number)
    assert (5, f"[2]: {said}") == gathered.fault()


def test_lists_do_not_load_numpy() -> None:
    """Who gives no arrays does not pay for it."""
    import subprocess

    program = (
        "import sys; from foundry.store import conversations, protocols, strict;"
        " strict.vector([1.0], 'v'); print([m for m in ('numpy', 'langgraph') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert "[]\n" == done.stdout, done.stderr


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (1e16, "10000000000000000.0"),
        ([-1.5e300], None),
        ({"a": 2**64}, '{"a":18446744073709551616}'),
        ([10**400], None),
        (["-0.0", ",1e16", "[-0.0", 0.5], None),
        ({"a": -0.05, "b": ["\\u0000"]}, None),
        ([1e15, 1e-7, 5e-324], None),
    ],
)
def test_numbers_that_jsonb_would_change_are_written_out(value: Any, text: str | None) -> None:
    """Floats stay floats and integers keep their digits."""
    sent = strict.payload(value, "v")
    assert text is None or text == sent
    assert repr(value) == repr(loaded(sent))


class _Changing(list[float]):
    """As another thread leaves one: longer than what is found in it."""

    def __len__(self) -> int:
        return 384


def test_a_list_that_is_changed_meanwhile_is_looked_at_once() -> None:
    """What was found in it is what counts."""
    with pytest.raises(InvalidValue, match=r"^v: 3 numbers, not 384$"):
        strict.vector(_Changing([1.0] * 3), "v", dimensions=384)
