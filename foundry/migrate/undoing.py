"""The way back of single statements, for the steps of a file that failed in its middle."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from collections.abc import Set as AbstractSet

from foundry.migrate.statements import read
from foundry.migrate.tokens import Name, Reader, Token, listed, tokens


def undone(statements: Sequence[str]) -> tuple[str, ...] | None:
    """Return what takes statements back, the last one first; None when one cannot be.

    Only what is exactly undone is: a column, constraint or index that was added, and what needs
    no undoing. Each may be run again after it was run: undoing may be cut short, too.
    """
    found: list[str] = []
    added = {column for text in statements for column in _added(text)}
    for text in reversed(statements):
        back = _back(text, added)
        if back is None:
            return None
        if back:
            found.append(back)
    return tuple(found)


def _back(text: str, added: AbstractSet[tuple[Name, str]]) -> str | None:
    statement = read(text)
    made, filled = statement.creates_index, statement.update
    if statement.count != 1:
        return None
    if filled is not None:
        # The columns go, and what was written into them.
        return "" if {(filled.table, a.column) for a in filled.assignments} <= added else None
    if made is not None:
        if made.name is None or made.if_not_exists:
            return None
        return f"DROP INDEX CONCURRENTLY IF EXISTS {_written((*made.table[:-1], made.name))}"
    reader = Reader(tokens(text))
    if not reader.take("alter", "table"):
        return None
    table = reader.relation()
    backs = [_action(action) for action in listed(reader.rest())]
    if not table or any(back is None for back in backs):
        return None
    said = ", ".join(back for back in reversed(backs) if back)
    return f"ALTER TABLE {_written(table)} {said}" if said else ""


def _added(text: str) -> Iterator[tuple[Name, str]]:
    reader = Reader(tokens(text))
    if reader.take("alter", "table"):
        table = reader.relation()
        for action in listed(reader.rest()):
            back = _action(action) or ""
            if back.startswith("DROP COLUMN "):
                yield table, tokens(back)[-1].text


def _action(action: Sequence[Token]) -> str | None:
    reader = Reader(action)
    if reader.take("validate", "constraint"):
        return ""
    if not reader.take("add"):
        return None
    if reader.take("constraint"):
        return f"DROP CONSTRAINT IF EXISTS {_written(reader.name())}"
    unnamed = ("check", "unique", "primary", "foreign", "exclude", "not", "if")
    if reader.one_of(*unnamed):
        return None
    reader.take("column")
    if reader.take("if"):
        return None
    name = reader.name()
    return f"DROP COLUMN IF EXISTS {_written(name)}" if len(name) == 1 else None


def _written(name: Name) -> str:
    return ".".join('"' + part.replace('"', '""') + '"' for part in name)
