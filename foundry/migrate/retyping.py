"""What changing a column's type costs, by the two types as the server prints them."""

from __future__ import annotations

from foundry.migrate.casts import Type
from foundry.migrate.modes import Work

# (before, after) of the same bytes and the same operators.
_SAME_BYTES = frozenset(
    {
        ("character varying", "text"),
        ("text", "character varying"),
        ("cidr", "inet"),
        ("xml", "text"),
        ("citext", "text"),
        ("text", "citext"),
    }
)
_GROWING = frozenset({"character varying", "bit varying"})
_TIMESTAMPS = frozenset({"timestamp without time zone", "timestamp with time zone"})
_PRECISE = _TIMESTAMPS | {"time without time zone", "time with time zone", "interval"}
_VECTORS = frozenset({"vector", "halfvec", "sparsevec"})


def retyping(before: str, after: str) -> Work:
    """Return what a change of type does to a table; a pair nobody measured is a rewrite.

    For a session in UTC and a statement without USING.
    """
    if before == after:
        return Work.INSTANT
    old, new = Type.of(before), Type.of(after)
    plain = not old.array and not new.array
    return Work.INSTANT if plain and _same_bytes(old, new) else Work.REWRITE


def _same_bytes(old: Type, new: Type) -> bool:
    if old.base == new.base:
        return _roomier(old, new)
    if {old.base, new.base} == _TIMESTAMPS:
        return _precision(new) >= _precision(old)
    return (old.base, new.base) in _SAME_BYTES and not new.modifier


def _roomier(old: Type, new: Type) -> bool:
    if old.base in _PRECISE:
        return _precision(new) >= _precision(old)
    if old.base == "numeric":
        return not new.modifier or (
            bool(old.modifier) and _scale(new) == _scale(old) and new.modifier >= old.modifier
        )
    if old.base in _GROWING:
        return not new.modifier or (bool(old.modifier) and new.modifier >= old.modifier)
    return old.base.rpartition(".")[2] in _VECTORS and not new.modifier


def _precision(found: Type) -> int:
    return found.modifier[0] if found.modifier else 6


def _scale(found: Type) -> int:
    return found.modifier[1] if len(found.modifier) > 1 else 0
