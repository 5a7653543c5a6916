"""The binary format of COPY, there and back and through the server."""

from __future__ import annotations

from datetime import datetime, timezone
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from foundry.database import Database
from foundry.fixtures.strategies import text
from foundry.store.blocking import run
from foundry.store.copying import parsed, pieces
from foundry.store.operations import Kind, Read, Statement, Steps

VALUES: dict[Kind, st.SearchStrategy[Any]] = {
    "int8": st.integers(-(2**63), 2**63 - 1),
    "text": text(),
    "uuid": st.uuids(),
    "timestamptz": st.datetimes(timezones=st.just(timezone.utc)).map(lambda ts: ts.replace(fold=0)),
}
KINDS = st.lists(st.sampled_from(sorted(VALUES)), min_size=1, max_size=4).map(tuple)


@given(st.data(), KINDS)
def test_rows_are_read_as_they_were_packed(data: st.DataObject, kinds: tuple[Kind, ...]) -> None:
    """Whatever comes first, and with NULL anywhere."""
    row = st.tuples(*(st.none() | VALUES[kind] for kind in kinds))
    rows = data.draw(st.lists(row, max_size=4))
    assert rows == parsed(kinds, b"".join(pieces(kinds, rows)))


@pytest.mark.parametrize("count", [1, 2, 31, 32, 33, 64, 65])
def test_many_rows_are_packed_in_pieces(count: int) -> None:
    """All of them, once, whatever the size of the last piece."""
    kinds: tuple[Kind, ...] = ("int8", "text", "text")
    rows = [(at, None if at % 7 else "x" * at, "user") for at in range(count)]
    made = [*pieces(kinds, rows)]
    assert rows == parsed(kinds, b"".join(made))
    assert -(-count // 32) == len(made)
    assert made[-1].endswith(b"user\xff\xff")


@pytest.mark.parametrize("db", ["psycopg2"], indirect=True)
def test_the_server_writes_what_is_read(db: Database) -> None:
    """Rows without a number, rows with NULL at the end, and none."""
    kinds: tuple[Kind, ...] = ("int8", "timestamptz", "text", "jsonb")
    select = Statement(
        """
        SELECT id::int8, ts::timestamptz, word, json::jsonb FROM (VALUES
            (1, '2026-01-01 00:00Z', 'é', '{"a": 100000000000000000000}'),
            (NULL, '9999-12-31 23:59:59.999999Z', NULL, '[1.5]'),
            (-1, NULL, NULL, NULL)) AS rows (id, ts, word, json)
        WHERE $1
        """
    )

    def steps(all: bool) -> Steps[list[tuple[Any, ...]]]:
        return (yield Read(select, kinds, (all,)))

    assert [
        (1, datetime(2026, 1, 1, tzinfo=timezone.utc), "é", {"a": 10**20}),
        (None, datetime.max.replace(tzinfo=timezone.utc), None, [1.5]),
        (-1, None, None, None),
    ] == run(db, steps(True))
    assert [] == run(db, steps(False))
