"""`serial` and its kin: a column, a default and a sequence under one word."""

from __future__ import annotations

from foundry.migrate.objects import Column, Place, Sequence
from foundry.migrate.snapshot import Snapshot
from foundry.migrate.spelling import chosen


def made_by_column(snapshot: Snapshot, sequence: Sequence) -> bool:
    """True for a sequence that `serial` makes under the very name it has."""
    if sequence.owner is None:
        return False
    namespace, name, of = sequence.owner
    found = snapshot.get(("column", namespace, name, of))
    return found is not None and serial(snapshot, found) is not None


_SERIAL = {"smallint": "smallserial", "integer": "serial", "bigint": "bigserial"}


def serial(snapshot: Snapshot, found: Column) -> str | None:
    """Return the serial type that says what a column and its sequence are, if one does."""
    place: Place | None = found.sequence
    sequence = snapshot.get(("sequence", *place)) if place else None
    if place is None or sequence is None or not found.not_null or found.identity:
        return None
    usual = place == (found.table[0], chosen(found.table[1], found.name, "seq"))
    owned = sequence.owner == (*found.table, found.name)
    same_type = sequence.type == found.type and not sequence.comment
    bare = found.default.startswith("nextval(") and found.default.endswith("::regclass)")
    plain = sequence.options == usual_options(found.type)
    fits = usual and owned and same_type and plain and bare
    return _SERIAL.get(found.type) if fits else None


LARGEST = {"smallint": 2**15 - 1, "integer": 2**31 - 1, "bigint": 2**63 - 1}


def usual_options(kind: str) -> str:
    """Return the options of a sequence that was made without saying any."""
    largest = LARGEST.get(kind, 0)
    return f"INCREMENT BY 1 MINVALUE 1 MAXVALUE {largest} START WITH 1 CACHE 1 NO CYCLE"
