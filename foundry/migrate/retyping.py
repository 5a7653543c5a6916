"""What changing a column's type costs, by the two types as the server prints them."""

from __future__ import annotations

from foundry.migrate.casts import Type
from foundry.migrate.modes import Work
from foundry.migrate.objects import Column

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


def of_columns(before: Column, after: Column) -> Work:
    """Return what a change of a column's type does to its table, as `retyping`.

    A domain has the bytes of the type it is made from, whose length it promises to nobody; its
    values are looked at only where the new one refuses some.
    """
    if after.checked and before.type != after.type:
        return Work.REWRITE
    old = Type.of(before.base).base if before.base else before.type
    return Work.INSTANT if before.type == after.type else retyping(old, after.base or after.type)


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
