"""What a change of a column's type does to its values."""

from __future__ import annotations

import re
from dataclasses import dataclass

_NUMBERS = ("smallint", "integer", "bigint", "numeric", "real", "double precision")
_TEXTS = ("text", "character varying", "character", "citext", "name")


@dataclass(frozen=True, slots=True)
class Type:
    """A type as format_type() prints it, taken apart: `numeric(10,2)[]`."""

    base: str
    modifier: tuple[int, ...] = ()
    array: bool = False

    @classmethod
    def of(cls, text: str) -> Type:
        """Take a printed type apart."""
        array = text.endswith("[]")
        bare = text[:-2] if array else text
        found = re.search(r"\(([-\d, ]+)\)", bare)
        if found is None:
            return cls(bare, (), array)
        modifier = tuple(int(part) for part in found.group(1).split(","))
        return cls((bare[: found.start()] + bare[found.end() :]).strip(), modifier, array)


# From one to the other by an assignment cast, besides those between numbers, to text, and
# from a type to itself with another modifier.
_ASSIGNED = {
    ("timestamp without time zone", "timestamp with time zone"),
    ("timestamp with time zone", "timestamp without time zone"),
    ("timestamp without time zone", "date"),
    ("timestamp with time zone", "date"),
    ("timestamp without time zone", "time without time zone"),
    ("timestamp with time zone", "time without time zone"),
    ("timestamp with time zone", "time with time zone"),
    ("date", "timestamp without time zone"),
    ("date", "timestamp with time zone"),
    ("time without time zone", "time with time zone"),
    ("time without time zone", "interval"),
    ("time with time zone", "time without time zone"),
    ("json", "jsonb"),
    ("jsonb", "json"),
    ("cidr", "inet"),
    ("inet", "cidr"),
    ("macaddr", "macaddr8"),
    ("bit", "bit varying"),
    ("bit varying", "bit"),
    ("vector", "halfvec"),
    ("halfvec", "vector"),
    ("vector", "sparsevec"),
    ("sparsevec", "vector"),
    ("int4range", "int4multirange"),
    ("int8range", "int8multirange"),
    ("numrange", "nummultirange"),
    ("daterange", "datemultirange"),
    ("tsrange", "tsmultirange"),
    ("tstzrange", "tstzmultirange"),
}


def assigned(old: str, new: str) -> bool:
    """True when PostgreSQL casts by itself, and refuses what does not fit instead of cutting it."""
    before, after = Type.of(old), Type.of(new)
    if before.array != after.array:
        return False
    if before.base == after.base or (before.base, after.base) in _ASSIGNED:
        return True
    if not before.array and after.base in _TEXTS:
        return True
    numbers = before.base in _NUMBERS and after.base in _NUMBERS
    return numbers or (before.base in _TEXTS and after.base in _TEXTS)


def using(old: str, new: str, column: str) -> str:
    """Return the USING expression a change of type needs, or nothing.

    `column` is the quoted name. Never where PostgreSQL casts by itself: an explicit cast
    to varchar(5) cuts without a word.
    """
    before, after = Type.of(old), Type.of(new)
    special = _BYTES.get((before.base, after.base))
    if special and not (before.array or after.array):
        return special.format(column)
    if assigned(old, new):
        return ""
    if before.base in _TEXTS and not before.array:
        return f"{column}::{new}"
    if before.base in ("json", "jsonb") and not before.array:
        return f"({column} #>> '{{}}')::{new}"  # the value, not its JSON text
    if (before.base, after.base) in _EXPLICIT and before.array == after.array:
        return f"{column}::{new}"
    return f"{column}::text{'[]' if before.array and after.array else ''}::{new}"


# What a text or a uuid is in bytes; a plain cast would read or write their escaped spelling.
_BYTES = {
    ("uuid", "bytea"): "uuid_send({})",
    ("bytea", "uuid"): "encode({}, 'hex')::uuid",
    **{(text, "bytea"): "convert_to({}, 'UTF8')" for text in ("text", "character varying")},
    **{("bytea", text): "convert_from({}, 'UTF8')" for text in ("text", "character varying")},
}

_EXPLICIT = {
    ("integer", "boolean"),
    ("boolean", "integer"),
    ("integer", "bit"),
    ("bigint", "bit"),
    ("bit", "integer"),
    ("bit", "bigint"),
    *((number, other) for number in _NUMBERS for other in _NUMBERS),
    *((text, other) for text in _TEXTS for other in _TEXTS),
}


def misfit(old: str, new: str, column: str, *, version: int) -> str:
    """Return a condition that is true of values the new type has no place for.

    Empty where every value fits, or where the server refuses by itself and nothing more
    can be said (some casts of text on PostgreSQL 15).
    """
    before, after = Type.of(old), Type.of(new)
    if after.base == before.base in ("vector", "halfvec", "sparsevec"):
        changed = after.modifier and before.modifier != after.modifier
        return f"{column} IS NOT NULL" if changed else ""
    if _holds(before, after):
        return ""
    if after.base in ("character varying", "character") and after.modifier and not after.array:
        return f"length({column}::text) > {after.modifier[0]}"
    if after.array or before.array:
        return ""
    if (before.base, after.base) == ("bytea", "uuid"):
        return f"length({column}) <> 16"
    if (before.base, after.base) in _BYTES:
        return ""
    if before.base in _TEXTS:
        return _unreadable(after, new, column, version)
    return _changed(before, after, (old, new), column, version)


_RANK = {"smallint": 0, "integer": 1, "bigint": 2}


def _holds(before: Type, after: Type) -> bool:
    """True when the new type holds every value of the old one as it is."""
    if before == after or (after.base in ("text", "character varying") and not after.modifier):
        return True
    if before.base in _RANK and after.base in _RANK:
        return _RANK[before.base] <= _RANK[after.base]
    if after.base == "numeric" and not after.modifier:
        return before.base in (*_RANK, "numeric")
    if before.base == after.base and before.modifier and after.modifier:
        return _wider(before, after)
    if before.base == after.base and not after.modifier:
        return True
    return (before.base, after.base) in _LOSSLESS


_LOSSLESS = {
    ("timestamp without time zone", "timestamp with time zone"),
    ("timestamp with time zone", "timestamp without time zone"),
    ("date", "timestamp without time zone"),
    ("date", "timestamp with time zone"),
    ("boolean", "integer"),
    ("real", "double precision"),
    ("smallint", "real"),
    ("smallint", "double precision"),
    ("integer", "double precision"),
    ("json", "jsonb"),
    ("jsonb", "json"),
    ("cidr", "inet"),
    ("vector", "halfvec"),
    ("halfvec", "vector"),
}


def _wider(before: Type, after: Type) -> bool:
    if before.base == "numeric" and len(before.modifier) == len(after.modifier) == 2:
        (digits, scale), (more, wider) = before.modifier, after.modifier
        return wider >= scale and more - wider >= digits - scale
    return len(before.modifier) == len(after.modifier) and before.modifier <= after.modifier


_UUID = r"^\{?[0-9a-fA-F]{8}-?([0-9a-fA-F]{4}-?){3}[0-9a-fA-F]{12}\}?$"
_READABLE = {
    "smallint": r"^\s*[-+]?\d{1,4}\s*$",
    "integer": r"^\s*[-+]?\d{1,9}\s*$",
    "bigint": r"^\s*[-+]?\d{1,18}\s*$",
    "uuid": _UUID,
}


def _unreadable(after: Type, new: str, column: str, version: int) -> str:
    if version >= 160000:
        return f"NOT pg_catalog.pg_input_is_valid({column}::text, '{new}')"
    pattern = _READABLE.get(after.base)
    return f"{column}::text !~ '{pattern}'" if pattern else ""


def _changed(before: Type, after: Type, types: tuple[str, str], column: str, version: int) -> str:
    old, new = types
    if before.base in _RANK and after.base in _RANK:
        largest = 2 ** (15 if after.base == "smallint" else 31)
        return f"{column} NOT BETWEEN {-largest} AND {largest - 1}"
    if version < 160000:
        return _changed_numeric(after, column) if before.base == after.base == "numeric" else ""
    there = using(old, new, column) or f"{column}::{new}"
    back = using(new, old, f"({there})") or f"({there})::{old}"
    text = f"({column} #>> '{{}}')" if before.base in ("json", "jsonb") else f"{column}::text"
    # In a CASE, so that the casts only meet what they can read; as texts, since not every
    # type can be compared.
    return (
        f"CASE WHEN pg_catalog.pg_input_is_valid({text}, '{new}') "
        f"THEN ({back})::text IS DISTINCT FROM {column}::text ELSE {column} IS NOT NULL END"
    )


def _changed_numeric(after: Type, column: str) -> str:
    if len(after.modifier) != 2:
        return ""
    digits, scale = after.modifier
    large = f"abs({column}) >= 1e{digits - scale}::numeric"
    return f"{column} <> 'NaN' AND ({large} OR round({column}, {scale}) <> {column})"
