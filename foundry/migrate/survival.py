"""Which values another type does not hold: a condition to ask for them, or a loss to state.

Text that is another spelling of the same value holds it. Conditions are exact where they can
be, and otherwise true of too many values, not of too few.
"""

from __future__ import annotations

from foundry.migrate.casts import ASSIGNED, BYTES, EXPLICIT, NUMBERS, TEXTS, Type
from foundry.migrate.spelling import literal

_VECTORS = ("vector", "halfvec", "sparsevec")
_JSON = ("json", "jsonb")
_SIZES = {"smallint": 15, "integer": 31, "bigint": 63}
_FLOATS = ("real", "double precision")
_MOMENTS = ("date", "timestamp without time zone", "timestamp with time zone")
_TIMES = ("time without time zone", "time with time zone")


def misfit(
    old: str, new: str, column: str, *, version: int, labels: tuple[str, ...] | None = None
) -> str:
    """Return a condition that is true of values the new type has no place for.

    Empty where every value fits, or where nothing can be asked; see `rounds`. `labels` are
    those of the new type where it is an enumerated one.
    """
    before, after = Type.of(old), Type.of(new)
    if before.array and after.array:
        return _element(old, new, column, version, labels)
    if labels is not None and not after.array:
        return _outside(labels, column)
    if after.base in _VECTORS and before.base in _VECTORS:
        changed = after.modifier and before.modifier != after.modifier
        return f"{column} IS NOT NULL" if changed else ""
    if holds(before, after):
        return ""
    if before.base in (*TEXTS, *_JSON) and not before.array:
        return _of_text(before, new, column, version)
    return _of_value(before, after, (old, new), column, version)


def rounds(old: str, new: str, *, version: int, labels: tuple[str, ...] | None = None) -> bool:
    """True when the server keeps less of the values, and no check before finds out which."""
    before, after = Type.of(old), Type.of(new)
    if before.array and after.array:
        return rounds(old[:-2], new[:-2], version=version, labels=labels)
    if (before.base, after.base) in _LOSING and before.array == after.array:
        return True
    if holds(before, after) or misfit(old, new, "x", version=version, labels=labels):
        return False
    return not (_spelled(after) or after.base in _VECTORS)


def _outside(labels: tuple[str, ...], column: str) -> str:
    """Return a condition that is true of texts that are no label."""
    return f"{column}::text <> ALL (ARRAY[{', '.join(map(literal, labels))}]::text[])"


def hopeless(old: str, new: str) -> bool:
    """True when no value of one type is one of the other, and no cast makes it one."""
    before, after = Type.of(old), Type.of(new)
    pair = (before.base, after.base)
    kinds = [_KIND.get(base) for base in pair]
    if before.array != after.array or None in kinds or pair in ASSIGNED | EXPLICIT | BYTES.keys():
        return False
    return kinds[0] != kinds[1] and set(kinds) != {"number", "boolean"}


_KIND = {
    **dict.fromkeys(NUMBERS, "number"),
    **dict.fromkeys(_MOMENTS, "moment"),
    **dict.fromkeys(_TIMES, "time"),
    **{name: name for name in ("boolean", "uuid", "interval", "bytea", "macaddr")},
    **dict.fromkeys(("inet", "cidr"), "address"),
}

# What is kept less of, of (nearly) every value: a question would stop everything.
_LOSING = {
    *(pair for pair in ASSIGNED if pair[0] in _MOMENTS and pair[1] in _TIMES),
    *((text, vector) for text in (*TEXTS, *_JSON) for vector in _VECTORS),
    ("vector", "halfvec"),
    ("sparsevec", "halfvec"),
}


def _spelled(after: Type) -> bool:
    """True for types that read a text as one value, whatever its spelling, or refuse it."""
    return after.base in _SPELLED or (after.base == "numeric" and not after.modifier)


_SPELLED = {
    *("smallint", "integer", "bigint", "boolean", "uuid", "json", "xml", "inet", "cidr"),
    *("macaddr", "macaddr8", *TEXTS),
}


def holds(before: Type, after: Type) -> bool:
    """True when the new type has a place for every value of the old one."""
    if before.array and after.array:
        return holds(Type(before.base, before.modifier), Type(after.base, after.modifier))
    pair = (before.base, after.base)
    if after.array:
        return False
    if after.base in ("text", "character varying", "citext") and not after.modifier:
        return True
    if before.array:
        return False
    if before.base in _SIZES and after.base in _SIZES:
        return _SIZES[before.base] <= _SIZES[after.base]
    if after.base == "numeric" and not after.modifier:
        return before.base in (*_SIZES, "numeric", "boolean")
    if before.base == after.base:
        return before == after or not after.modifier or _wider(before, after)
    ranges = before.base.endswith("range") and pair in ASSIGNED
    return not after.modifier and (ranges or pair in _LOSSLESS)


_LOSSLESS = {
    ("timestamp without time zone", "timestamp with time zone"),
    ("timestamp with time zone", "timestamp without time zone"),
    ("date", "timestamp without time zone"),
    ("date", "timestamp with time zone"),
    ("time without time zone", "time with time zone"),
    ("time without time zone", "interval"),
    ("real", "double precision"),
    ("smallint", "real"),
    ("smallint", "double precision"),
    ("integer", "double precision"),
    *(("boolean", number) for number in NUMBERS),
    *(pair for pair in BYTES if pair != ("bytea", "uuid")),
    ("jsonb", "json"),
    ("cidr", "inet"),
    ("macaddr", "macaddr8"),
    ("bit", "bit varying"),
    ("halfvec", "vector"),
    ("vector", "sparsevec"),
    ("sparsevec", "vector"),
    ("halfvec", "sparsevec"),
}


def _wider(before: Type, after: Type) -> bool:
    if before.base == "numeric" and len(before.modifier) == len(after.modifier) == 2:
        (digits, scale), (more, wider) = before.modifier, after.modifier
        return wider >= scale and more - wider >= digits - scale
    same = before.base != "bit" and len(before.modifier) == len(after.modifier)
    return same and before.modifier <= after.modifier


def _element(old: str, new: str, column: str, version: int, labels: tuple[str, ...] | None) -> str:
    source, element = column, old[:-2]
    if element in _JSON and not holds(Type.of(element), Type.of(new[:-2])):
        source, element = f"{column}::text[]", "text"  # that is the way they are cast
    where = misfit(element, new[:-2], "v", version=version, labels=labels)
    return f"EXISTS (SELECT FROM unnest({source}) AS e(v) WHERE {where})" if where else ""


def _of_text(before: Type, new: str, column: str, version: int) -> str:
    """Return the condition for text, and for the text in a JSON value."""
    after = Type.of(new)
    if not after.array and after.base in TEXTS:
        return _too_long(after, column)
    plain = before.base in TEXTS or after.base in _JSON
    text = f"{column}::text" if plain else f"({column} #>> '{{}}')"
    if version < 160000:
        pattern = "" if after.array else _READABLE.get(after.base)
        return f"({text} ~ '{pattern}') IS NOT TRUE AND {column} IS NOT NULL" if pattern else ""
    lost = _lost(after, new, text, version) or "false"
    return _if_readable(text, new, lost, column)


def _if_readable(text: str, new: str, lost: str, column: str) -> str:
    # In a CASE, so that casts only meet what they can read.
    valid = f"pg_catalog.pg_input_is_valid({text}, {literal(new)})"
    return f"CASE WHEN {valid} THEN {lost} ELSE {column} IS NOT NULL END"


# For servers that cannot be asked what a type reads.
_READABLE = {
    "smallint": r"^\s*[-+]?\d{1,4}\s*$",
    "integer": r"^\s*[-+]?\d{1,9}\s*$",
    "bigint": r"^\s*[-+]?\d{1,18}\s*$",
    "uuid": r"^\{?[0-9a-fA-F]{8}-?([0-9a-fA-F]{4}-?){3}[0-9a-fA-F]{12}\}?$",
    "boolean": r"(?i)^\s*(t|tr|tru|true|y|ye|yes|on|1|f|fa|fal|fals|false|n|no|of|off|0)\s*$",
}


def _too_long(after: Type, column: str) -> str:
    text = f"{column}::text"
    if after.base == "name":
        return f"octet_length({text}) > 63"
    size = after.modifier[0] if after.modifier else 1
    long = f"length({text}) > {size}"
    # char(n) does not tell blanks at the end from its own.
    return f"({long} OR right({text}, 1) = ' ')" if after.base == "character" else long


def _lost(after: Type, new: str, text: str, version: int) -> str:
    """Return a condition that is true of readable texts that say more than the new type does."""
    if after.array:
        where = misfit("text", new[:-2], "v", version=version)
        return f"EXISTS (SELECT FROM unnest({text}::text[]) AS e(v) WHERE {where})" if where else ""
    if _spelled(after) or after.base in _VECTORS:
        return ""
    if after.base == "numeric":
        return f"{text}::{new} <> {text}::numeric"
    if after.base in _FLOATS:
        return _if_readable(
            text, "numeric", f"{text}::{new}::text::numeric <> {text}::numeric", text
        )
    if after.base == "jsonb":
        return f"NOT {text} IS JSON WITH UNIQUE KEYS"
    if after.base in (*_MOMENTS, *_TIMES, "interval"):
        return f"({text} ~* '{_MOVING}' OR {_of_time(after, new, text)})"
    return f"{text}::{new}::text <> {text}"


# Words whose value depends on when they are read, and what is finer than a microsecond.
_MOVING = r"now|today|tomorrow|yesterday|\.\d{6,}[1-9]"


def _of_time(after: Type, new: str, text: str) -> str:
    if after.base == "interval":
        return f"{text}::{new}::text <> {text}::interval::text"
    read = "timestamp with time zone"
    if after.base in _MOMENTS:
        zone = "" if after.base == read else " AT TIME ZONE 'UTC'"
        return _if_readable(text, read, f"{text}::{new} <> {text}::{read}{zone}", text)
    same = f"{text}::time with time zone"
    if after.base == "time without time zone":
        same = f"({same} AT TIME ZONE 'UTC')::time"
    # What can be read as a moment has a date, too.
    dated = f"pg_catalog.pg_input_is_valid({text}, '{read}')"
    return f"{dated} OR {text}::{new} <> {same}"


def _of_value(before: Type, after: Type, types: tuple[str, str], column: str, version: int) -> str:
    """Return the condition for what is no text."""
    old, new = types
    pair = (before.base, after.base)
    if hopeless(old, new):
        return f"{column} IS NOT NULL"
    if pair in _LOSING:
        return ""
    if pair in BYTES and not (before.array or after.array):
        if after.base == "uuid":
            return f"length({column}) <> 16"
        return f"length({column}) > {after.modifier[0]}"  # a letter has a byte or more
    if not after.array and after.base in TEXTS:
        return _too_long(after, column)
    if before.array == after.array:
        if before.base in NUMBERS and after.base == "boolean":
            return f"{column} NOT IN (0, 1)"
        if before.base in (*NUMBERS, "boolean") and after.base in NUMBERS:
            number = f"{column}::integer" if before.base == "boolean" else column
            return _of_number(before, after, types, number, version)
        if before.base == after.base or pair in ASSIGNED | EXPLICIT:
            return f"{column}::{new}::{old}::text <> {column}::text"
    if version < 160000:
        return ""
    return _if_readable(
        f"{column}::text", new, f"{column}::text::{new}::text <> {column}::text", column
    )


def _of_number(before: Type, after: Type, types: tuple[str, str], column: str, version: int) -> str:
    old, new = types
    if after.base in _SIZES:
        limit = 2 ** _SIZES[after.base]
        whole = "" if before.base in _SIZES else f" AND {column} = trunc({column})"
        return f"NOT ({column} >= {-limit} AND {column} < {limit}{whole})"
    if after.base == "numeric":
        digits = f"{column}::numeric"  # of a float no more than 15
        cut = f"{digits}::{old} <> {column}" if before.base in _FLOATS else ""
        large = _too_large(after, digits) if after.modifier else ""
        return f"({' OR '.join(filter(None, (cut, large)))})"
    if before.base in _SIZES:
        far = f"abs({column}::{new}) >= {2**63}"
        return f"CASE WHEN {far} THEN true ELSE {column}::{new}::bigint <> {column} END"
    if version < 160000:
        return ""
    back = "::text::numeric" if before.base == "numeric" else f"::{old}"
    return _if_readable(f"{column}::text", new, f"{column}::{new}{back} <> {column}", column)


def _too_large(after: Type, column: str) -> str:
    digits, scale = after.modifier
    large = f"abs({column}) >= 1e{digits - scale}::numeric"
    return f"{column} <> 'NaN' AND ({large} OR round({column}, {scale}) <> {column})"
