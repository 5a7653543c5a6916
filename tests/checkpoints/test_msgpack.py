"""MessagePack in SQL: every value, and every kind of damage."""

from __future__ import annotations

import base64
import struct
from collections.abc import Callable
from dataclasses import dataclass
from datetime import date, datetime, timedelta, timezone
from decimal import Decimal
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

pytest.importorskip("langgraph.checkpoint.serde.jsonplus")
ormsgpack = pytest.importorskip("ormsgpack")
from langgraph.checkpoint.serde.jsonplus import JsonPlusSerializer  # noqa: E402

Read = Callable[[bytes], Any]
Means = Callable[[bytes, Any], bool]

modest = settings(
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
offsets = st.integers(-23, 23).map(lambda hours: timezone(timedelta(hours=hours)))
texts = st.text(st.characters(exclude_categories=["Cs"]) | st.sampled_from('\0$\\"\u2028😀'))
numbers = st.integers(-(2**63), 2**64 - 1) | st.floats() | st.integers(-200, 200)
made = (
    st.datetimes(timezones=st.none() | offsets)
    | st.dates()
    | st.times()
    | st.timedeltas()
    | st.uuids()
    | st.decimals()
    | st.frozensets(st.integers(0, 9) | texts)
    | st.builds(Path, st.sampled_from(["/", "a/b", "/x/é"]))
)
scalars = st.none() | st.booleans() | numbers | texts | st.binary(max_size=300) | made
keys = (
    texts
    | st.integers(-(2**63), 2**64 - 1)
    | st.floats(width=16)
    | st.none()
    | st.booleans()
    | st.sampled_from(["$type", "$$ext", "$ref", "a" * 300, (), (1, ("x", None)), ("\0",)])
    | st.binary(max_size=3)
)
values = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=20) | st.dictionaries(keys, inner, max_size=20),
    max_leaves=40,
)


@dataclass(frozen=True)
class Link:
    """A link of a chain, as a state may hold it."""

    label: str
    strength: float
    others: tuple[Any, ...] = ()


def written(value: object) -> bytes:
    """MessagePack as the saver stores it."""
    kind, blob = JsonPlusSerializer().dumps_typed([value])
    assert "msgpack" == kind
    return bytes(blob)


@modest
@given(values)
@example(5e-324)
@example(-0.0)
@example(2.2250738585072014e-308)
@example(2.225073858507201e-308)
@example(1.7976931348623157e308)
@example({"x": [{}, [], "", b""] * 5000})
def test_reads_what_the_serializer_writes(read: Read, means: Means, value: object) -> None:
    """Any value the serializer takes comes out as the reference says."""
    blob = written(value)
    assert means(blob, read(blob))


@modest
@given(st.integers(0, 2**32 - 1).map(lambda bits: struct.pack(">BI", 0xCA, bits)))
@example(b"\xca\x00\x00\x00\x01")
@example(b"\xca\x80\x00\x00\x00")
@example(b"\xca\x7f\x7f\xff\xff")
@example(b"\xca\xff\x80\x00\x00")
def test_reads_every_float32(read: Read, means: Means, blob: bytes) -> None:
    """Single precision, which other writers use, keeps its exact value."""
    assert means(blob, read(blob))


@modest
@given(st.integers(0, 2**64 - 1).map(lambda bits: struct.pack(">BQ", 0xCB, bits)))
def test_reads_every_float64(read: Read, means: Means, blob: bytes) -> None:
    """Every bit pattern of a double comes back by its shortest decimal form."""
    assert means(blob, read(blob))


@pytest.mark.parametrize("form", [">BB", ">BH", ">BI", ">BQ", ">Bb", ">Bh", ">Bi", ">Bq"])
def test_reads_both_ends_of_every_integer_form(read: Read, form: str) -> None:
    """Wider forms than the number needs are read too."""
    code = 0xCC + [">BB", ">BH", ">BI", ">BQ", ">Bb", ">Bh", ">Bi", ">Bq"].index(form)
    size = struct.calcsize(form) - 1
    low, high = (0, 256**size - 1) if code < 0xD0 else (-(256**size) // 2, 256**size // 2 - 1)
    for number in (low, -1 if low else 1, 0, high):
        assert number == read(struct.pack(form, code, number))


@pytest.mark.parametrize("mark", [b"\xd9\x03", b"\xda\x00\x03", b"\xdb\x00\x00\x00\x03"])
def test_reads_text_under_every_length_form(read: Read, mark: bytes) -> None:
    """The three long headers and the short one give the same text."""
    assert read(b"\xa3a\xc3\xa9") == read(mark + b"a\xc3\xa9") == "aé"


def test_marks_what_json_has_no_word_for(read: Read) -> None:
    """The forms a reader meets, written out."""
    value = {
        "bytes": b"\x00\xff",
        "nul": "a\0b",
        "when": datetime(2026, 11, 22, 8, 30, tzinfo=timezone.utc),
        "day": date(2026, 11, 22),
        "id": UUID(int=1),
        "amount": Decimal("1.10"),
        "link": Link("ruminating", 0.5, (Link("alone", 1.0),)),
        "$type": "mine",
        "$ref": "#/x",
        7: float("nan"),
    }
    link = f"{__name__}.Link"
    assert [
        {
            "bytes": {"$base64": "AP8="},
            "nul": {"$text_base64": "YQBi"},
            "when": {"$type": "datetime.datetime", "value": "2026-11-22T08:30:00+00:00"},
            "day": {"$type": "datetime.date", "value": [2026, 11, 22]},
            "id": {"$type": "uuid.UUID", "value": f"{1:032x}"},
            "amount": {"$type": "decimal.Decimal", "value": "1.10"},
            "link": {
                "$type": link,
                "label": "ruminating",
                "strength": 0.5,
                "others": [{"$type": link, "label": "alone", "strength": 1, "others": []}],
            },
            "$$type": "mine",
            "$ref": "#/x",
            "7": "NaN",
        }
    ] == read(written(value))


def test_a_foreign_extension_keeps_its_code_and_bytes(read: Read) -> None:
    """Codes that are not LangGraph's, and LangGraph's with another payload, are not guessed at."""
    assert {"$ext": -1, "$base64": "AAAAAQ=="} == read(b"\xd6\xff\x00\x00\x00\x01")
    assert {"$ext": 42, "$base64": "AQ=="} == read(b"\xc7\x01\x2a\x01")
    assert {"$ext": 0, "$base64": "AQ=="} == read(b"\xd4\x00\x01")
    assert {"$ext": 2, "$base64": "kwECAw=="} == read(b"\xd6\x02\x93\x01\x02\x03")


def test_arrays_and_snapshots_are_named(read: Read) -> None:
    """The two extensions without a Python name inside get the one they mean."""
    array = ormsgpack.packb(ormsgpack.Ext(6, ormsgpack.packb(("<f8", (1,), "C", b"\0" * 8))))
    snapshot = ormsgpack.packb(ormsgpack.Ext(7, ormsgpack.packb(["a"])))
    assert {
        "$type": "numpy.ndarray",
        "value": ["<f8", [1], "C", {"$base64": "AAAAAAAAAAA="}],
    } == read(array)
    name = "langgraph.checkpoint.serde.types._DeltaSnapshot"
    assert {"$type": name, "value": ["a"]} == read(snapshot)


@modest
@given(st.binary(max_size=60) | st.binary(max_size=60).map(lambda tail: b"\x9f" + tail))
def test_any_bytes_give_a_row(read: Read, blob: bytes) -> None:
    """Noise is a value or an object that holds the bytes; it never raises."""
    value = read(blob)
    if isinstance(value, dict) and "$undecodable" in value:
        assert blob == base64.b64decode(value["$undecodable"])
        assert value["$error"]


@modest
@given(values, st.data())
def test_damaged_values_give_a_row(read: Read, value: object, data: st.DataObject) -> None:
    """A real value with one byte changed never raises."""
    blob = bytearray(written(value))
    at = data.draw(st.integers(0, len(blob) - 1))
    blob[at] = data.draw(st.integers(0, 255))
    read(bytes(blob))


@modest
@given(values, st.data())
def test_a_value_cut_off_is_undecodable(read: Read, value: object, data: st.DataObject) -> None:
    """No proper beginning of a value, and nothing with a byte too many, passes for a value."""
    blob = written(value)
    part = blob[: data.draw(st.integers(0, len(blob) - 1))]
    for damaged in (part, blob + b"\xc0"):
        found = read(damaged)
        assert isinstance(found, dict)
        assert {"$undecodable", "$error", "bytes"} == set(found)
        assert damaged == base64.b64decode(str(found["$undecodable"]))


@pytest.mark.parametrize(
    "blob",
    [
        b"\xdd\xff\xff\xff\xff",
        b"\xdf\xff\xff\xff\xff\xa1a",
        b"\xc6\xff\xff\xff\xff",
        b"\xa2\xc3\x28",
        b"\xa3\xed\xa0\x80",
        b"\xc1",
        b"\xc7\x05\x00\x93\xa1a\xa1b\x92",
        b"\xc7\x06\x00\x93\xa1a\xa1b\xc0\xc0",
    ],
    ids=["array", "map", "bytes", "utf-8", "surrogate", "unused", "ext-short", "ext-long"],
)
def test_impossible_bytes_are_undecodable(read: Read, blob: bytes) -> None:
    """Lengths beyond the end, text that is none, an extension that ends elsewhere than it says."""
    assert "$undecodable" in read(blob)


@pytest.mark.parametrize("opening", [b"\x91", b"\x81\xa1k"])
@pytest.mark.parametrize("levels", [254, 1000, 5000, 5001, 9000, 100_000])
def test_depth_never_ends_the_query(cursor: Any, opening: bytes, levels: int) -> None:
    """Up to 5,000 levels are a value; what is deeper is undecodable."""
    cursor.execute(
        "select value ? '$undecodable', length(value::text) from foundry_msgpack(%s) as value",
        (opening * levels + b"\xc0",),
    )
    undecodable, size = cursor.fetchone()
    assert (levels > 5000) == undecodable
    assert size > levels


def test_keys_inside_keys_do_not_explode(read: Read) -> None:
    """A key becomes text, a key in it text in text: a few bytes would otherwise fill the memory."""
    blob = b"\x81" * 60 + b'\xa1"' + b"\xc0" * 60
    assert "$undecodable" in read(blob)
    assert '{"{\\"a\\": 1}": 2}' in read(b"\x81\x81\x81\xa1a\x01\x02\x03")


def test_a_small_stack_never_ends_the_query(cursor: Any) -> None:
    """A server with less stack gives up earlier, and says so in the row."""
    cursor.execute("set local max_stack_depth = '100kB'")
    cursor.execute("select foundry_msgpack(%s) ? '$undecodable'", (b"\x91" * 4000 + b"\xc0",))
    assert (True,) == cursor.fetchone()


def test_settings_of_the_session_change_nothing(cursor: Any) -> None:
    """Search path and float digits of the caller do not reach the decoder."""
    cursor.execute("select current_schema()")
    (schema,) = cursor.fetchone()
    cursor.execute("set local search_path = ''")
    cursor.execute("set local extra_float_digits = -15")
    blob = ormsgpack.packb([0.1, "x"])
    cursor.execute(f"select {schema}.foundry_checkpoint_value('msgpack', %s)::text", (blob,))
    assert ('[0.1, "x"]',) == cursor.fetchone()


@pytest.mark.parametrize(
    ("kind", "blob", "value"),
    [
        ("json", b'{"a": [1, "\xc3\xa9"]}', {"a": [1, "é"]}),
        ("null", b"", None),
        ("bytes", b"\x00\x01", {"$base64": "AAE="}),
        ("bytearray", b"x" * 100, {"$base64": base64.b64encode(b"x" * 100).decode()}),
        ("msgpack+aes", b"xyz", {"$opaque": "msgpack+aes", "bytes": 3}),
        ("pickle", b"\x80\x04.", {"$opaque": "pickle", "bytes": 3}),
    ],
)
def test_every_type_of_the_saver_has_a_form(
    cursor: Any, kind: str, blob: bytes, value: object
) -> None:
    """What is stored under each type, and an opaque mark for what cannot be read here."""
    cursor.execute("select foundry_checkpoint_value(%s, %s)", (kind, blob))
    assert (value,) == cursor.fetchone()


def test_an_empty_channel_is_null(cursor: Any) -> None:
    """SQL NULL, which is not JSON's null."""
    cursor.execute("select foundry_checkpoint_value('empty', null) is null")
    assert (True,) == cursor.fetchone()


@pytest.mark.parametrize(
    "blob", [b"", b"{", b'"\\u0000"', b'"\\ud800"', b"NaN", b"\xff", b"1e999999"]
)
def test_json_that_jsonb_cannot_hold_is_undecodable(cursor: Any, blob: bytes) -> None:
    """Valid for Python or JavaScript is not always valid for jsonb."""
    cursor.execute("select foundry_checkpoint_value('json', %s) ->> '$undecodable'", (blob,))
    assert (base64.b64encode(blob).decode(),) == cursor.fetchone()


def test_functions_in_workers_are_declared_as_they_are(cursor: Any) -> None:
    """Before version 17 a parallel query cannot catch an exception, so none may call them."""
    cursor.execute(
        "select distinct proparallel::text, provolatile::text from pg_proc"
        " where pronamespace = current_schema()::regnamespace"
    )
    assert [("u", "i")] == cursor.fetchall()


def test_a_server_keen_on_workers_reads_damaged_rows(cursor: Any) -> None:
    """Damage is caught where the planner would use workers for any query that may have them."""
    cursor.execute("create table damaged (blob bytea) with (parallel_workers = 2)")
    cursor.execute("insert into damaged select '\\xc1'::bytea from generate_series(1, 1000)")
    cursor.execute(
        "select name from pg_settings where name ~ '^(debug|force)_parallel_(query|mode)$'"
    )
    (forced,) = cursor.fetchone()
    cursor.execute(f"set local {forced} = on")
    for setting in ("parallel_setup_cost", "parallel_tuple_cost", "min_parallel_table_scan_size"):
        cursor.execute(f"set local {setting} = 0")
    cursor.execute("select count(*) from damaged where foundry_msgpack(blob) ? '$undecodable'")
    assert (1000,) == cursor.fetchone()


def test_null_in_null_out(cursor: Any) -> None:
    """No blob is no value."""
    cursor.execute("select foundry_msgpack(null) is null")
    assert (True,) == cursor.fetchone()
