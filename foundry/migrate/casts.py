"""How a column of one type is cast to another."""

from __future__ import annotations

import re
from dataclasses import dataclass

NUMBERS = ("smallint", "integer", "bigint", "numeric", "real", "double precision")
TEXTS = ("text", "character varying", "character", "citext", "name")


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
ASSIGNED = {
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
    ("interval", "time without time zone"),
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
    if before.base == after.base or (before.base, after.base) in ASSIGNED:
        return True
    if not before.array and after.base in TEXTS:
        return True
    numbers = before.base in NUMBERS and after.base in NUMBERS
    return numbers or (before.base in TEXTS and after.base in TEXTS)


def using(old: str, new: str, column: str) -> str:
    """Return the USING expression a change of type needs, or nothing.

    `column` is the quoted name. Never where PostgreSQL casts by itself: an explicit cast
    to varchar(5) cuts without a word.
    """
    before, after = Type.of(old), Type.of(new)
    special = BYTES.get((before.base, after.base))
    if special and not (before.array or after.array):
        return special.format(column)
    if assigned(old, new):
        return ""
    if before.base in TEXTS and not before.array:
        return f"{column}::{new}"
    if before.base in ("json", "jsonb") and not before.array:
        return f"({column} #>> '{{}}')::{new}"  # the value, not its JSON text
    both = "[]" if before.array and after.array else ""
    if (before.base, after.base) in EXPLICIT and before.array == after.array:
        return f"{column}::{new}"
    logical = "boolean" in (before.base, after.base)
    if logical and before.array == after.array and {before.base, after.base} & {*NUMBERS}:
        return f"{column}::integer{both}::{new}"  # no other number has a cast
    return f"{column}::text{both}::{new}"


# What a text or a uuid is in bytes; a plain cast would read or write their escaped spelling.
BYTES = {
    ("uuid", "bytea"): "uuid_send({})",
    ("bytea", "uuid"): "encode({}, 'hex')::uuid",
    **{(text, "bytea"): "convert_to({}, 'UTF8')" for text in ("text", "character varying")},
    **{("bytea", text): "convert_from({}, 'UTF8')" for text in ("text", "character varying")},
}

EXPLICIT = {
    ("integer", "boolean"),
    ("boolean", "integer"),
    ("integer", "bit"),
    ("bigint", "bit"),
    ("bit", "integer"),
    ("bit", "bigint"),
    *((number, other) for number in NUMBERS for other in NUMBERS),
    *((text, other) for text in TEXTS for other in TEXTS),
}
