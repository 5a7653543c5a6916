"""The way back of single statements, for the steps of a file that failed in its middle."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from collections.abc import Set as AbstractSet

from foundry.migrate.spelling import path
from foundry.migrate.statements import CreatesIndex, read
from foundry.migrate.tokens import Name, Reader, Token, listed, tokens

Back = str | CreatesIndex
"""A statement, or the index that is to be dropped."""
_Made = tuple[Name, str | None]


def undone(steps: Mapping[int, Sequence[str]]) -> dict[int, tuple[Back, ...]] | None:
    """Return what takes back the statements of steps, the last step first; None if one cannot be.

    Only what is exactly undone is, and holds no value of anybody: a constraint or index that was
    added, and what needs no undoing. A column is never dropped: since its step has committed
    others may have written into it. Each may be run again after it was run: undoing may be cut
    short, too.
    """
    found: dict[int, tuple[Back, ...]] = {}
    indexes = [read(text).creates_index for texts in steps.values() for text in texts]
    made = {(index.table, index.name) for index in indexes if index is not None}
    for ordinal in sorted(steps, reverse=True):
        backs = [_back(text, made) for text in reversed(steps[ordinal])]
        if any(back is None for back in backs):
            return None
        found[ordinal] = tuple(back for back in backs if back)
    return found


def _back(text: str, made: AbstractSet[_Made]) -> Back | None:
    statement = read(text)
    if statement.count != 1:
        return None
    if statement.creates_index is not None:
        index = statement.creates_index
        return None if index.name is None or index.if_not_exists else index
    reader = Reader(tokens(text))
    if not reader.take("alter", "table"):
        return None
    table = reader.relation()
    backs = [_action(action, table, made) for action in listed(reader.rest())]
    if not table or any(back is None for back in backs):
        return None
    said = ", ".join(back for back in reversed(backs) if back)
    return f"ALTER TABLE {path(table)} {said}" if said else ""


def _action(action: Sequence[Token], table: Name, made: AbstractSet[_Made]) -> str | None:
    reader = Reader(action)
    if reader.take("validate", "constraint"):
        return ""
    if not reader.take("add", "constraint"):
        return None
    name = reader.name()
    # It leaves NOT NULL behind on columns that did not have it.
    if len(name) != 1 or reader.take("primary"):
        return None
    # An index that was there before would go with the constraint.
    if reader.take("unique", "using", "index") and (table, "".join(reader.name())) not in made:
        return None
    return f"DROP CONSTRAINT IF EXISTS {path(name)}"
