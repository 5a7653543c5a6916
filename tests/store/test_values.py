"""Values in tens: the deep profile sends 100,000 of each type there and back."""

from __future__ import annotations

import json
import struct
from collections.abc import Callable
from datetime import datetime, timezone
from typing import Any, TypeVar
from uuid import UUID

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from support.transports import conversations

from foundry.database import Database
from foundry.fixtures.strategies import each_example, jsonb, text
from foundry.store.payloads import loaded
from foundry.store.strict import payload

_T = TypeVar("_T")
TEN = 10
_DEEP = 1_000
NOON = datetime(2026, 3, 1, 12, tzinfo=timezone.utc)
# Without the two that stand for infinity.
MOMENTS = st.datetimes(
    datetime(1, 1, 2), datetime(9999, 12, 30), timezones=st.just(timezone.utc)
).map(lambda ts: ts.replace(fold=0))
BITS = st.integers(0, 2**32 - 1).filter(lambda bits: bits & 0x7F800000 != 0x7F800000)
SIZES = st.tuples(BITS, st.integers(0, 383))


def tens(values: st.SearchStrategy[_T]) -> Callable[[Any], Any]:
    """Run a test on ten values at a time; ten times as often as else in the deep profile."""
    examples = settings().max_examples
    often = settings(
        max_examples=examples * TEN if examples >= _DEEP else examples,
        suppress_health_check=list(HealthCheck),
    )
    lists = st.lists(values, min_size=TEN, max_size=TEN)
    return lambda test: often(given(values=lists)(test))


def vector(drawn: tuple[int, int]) -> list[float]:
    """An embedding with any finite float32, bit by bit, at any place."""
    (number,) = struct.unpack("<f", struct.pack("<I", drawn[0]))
    return [number if place == drawn[1] else 0.25 for place in range(384)]


def written(value: Any) -> str:
    """What tells 1 from 1.0 and from true; jsonb has its keys in an order of its own."""
    return json.dumps(value, sort_keys=True)


@tens(text())
def test_any_text_comes_back(db: Database, session: UUID, values: list[str]) -> None:
    """As the content of a message."""
    with each_example(db):
        conversations.append_many(db, session, [("user", value, NOON) for value in values])
        assert values == [one.content for one in conversations.page(db, session)]


@tens(MOMENTS)
def test_any_time_comes_back(db: Database, session: UUID, values: list[datetime]) -> None:
    """To the microsecond, and in its order."""
    with each_example(db):
        conversations.append_many(db, session, [("user", "x", value) for value in values])
        assert sorted(values) == [one.ts for one in conversations.page(db, session)]


@tens(SIZES)
@pytest.mark.usefixtures("vectors_there")
def test_any_float32_comes_back(db: Database, session: UUID, values: list[tuple[int, int]]) -> None:
    """In an embedding: zeros of both signs and subnormals too."""
    sent = [vector(value) for value in values]
    with each_example(db):
        conversations.append_many(db, session, [("user", "x", NOON, one) for one in sent])
        found = conversations.page(db, session, embeddings=True)
        assert [struct.pack("384f", *one) for one in sent] == [
            struct.pack("384f", *one.embedding) for one in found
        ]


@tens(jsonb())
def test_any_json_comes_back(db: Database, values: list[Any]) -> None:
    """With the types it had."""
    sent = [payload(value, "v") for value in values]
    rows = db.execute_sql(f"VALUES {', '.join(['(%s::jsonb::text)'] * TEN)}", sent).fetchall()
    found = [loaded(text) for (text,) in rows]
    assert [written(value) for value in values] == [written(value) for value in found]
