"""Which statements take an instant once they have their locks, whatever the table holds."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from foundry.migrate.tokens import Reader, Token, listed, tokens

# Of the server's own, so that no domain with a CHECK is among them; serials are none.
_TYPES = """
    bigint bit boolean bool bytea char character cidr date decimal double float float4 float8
    inet int int2 int4 int8 integer interval json jsonb numeric precision real smallint text
    time timestamp timestamptz timetz uuid varchar varying with without zone
"""
_WORDS = (*_TYPES.split(), "default", "false", "not", "null", "true")
_MARKS = frozenset("()[],:-")
_OPERATIONS = """
    add_column_default drop_column drop_column_default drop_constraint
    drop_foreign_key_constraint drop_not_null rename_column rename_table
"""
_OF_A_COLUMN = (
    *(("set", "default"), ("drop", "default"), ("drop", "not", "null"), ("set", "statistics")),
    *(("set", "storage"), ("set", "compression"), ("reset",)),
)
_OF_A_TABLE = (
    *(("rename",), ("owner", "to"), ("set", "schema"), ("reset",), ("replica", "identity")),
    *(("enable",), ("disable",), ("force",), ("no", "force"), ("drop",)),
)
_BEGINNINGS = (
    *(("create", "policy"), ("alter", "policy"), ("drop", "policy"), ("comment", "on")),
    *(("create", "trigger"), ("create", "or", "replace", "trigger"), ("drop", "trigger")),
    *(("create", "view"), ("create", "or", "replace", "view"), ("drop", "view")),
)


def is_instant(sql: str) -> bool:
    """Return whether a text is one statement known to do no work that grows with a table.

    Doubtful ones are not: SET NOT NULL scans or not, and a column of a domain may rewrite.
    """
    found = [t for t in tokens(sql) if not (t.mark(";") and t.end >= len(sql.rstrip()))]
    if not found or any(t.mark(";") for t in found):
        return False
    reader = Reader(found)
    if any(reader.coming(*words) for words in _BEGINNINGS):
        return True
    if reader.take("alter") and reader.one_of("index", "view", "sequence", "type"):
        reader.take("if", "exists")
        reader.name()
        return reader.take("rename")
    if not reader.take("table"):
        return False
    reader.take("if", "exists")
    reader.relation()
    actions = listed(reader.rest())
    return bool(actions) and all(_is_instant(action) for action in actions)


def is_instant_operation(name: str) -> bool:
    """Return the same of an operation of playhouse's migrator."""
    return name in _OPERATIONS.split()


def _is_instant(action: Sequence[Token]) -> bool:
    reader = Reader(action)
    if any(reader.coming(*words) for words in _OF_A_TABLE):
        return True
    if reader.take("set"):
        return reader.take_mark("(")
    kinds: dict[str, Callable[[Reader], bool]] = {"alter": _alters, "add": _adds}
    reading = kinds.get(reader.one_of(*kinds))
    return reading is not None and reading(reader)


def _alters(reader: Reader) -> bool:
    reader.take("column")
    if not reader.name():
        return False
    return any(reader.coming(*words) for words in _OF_A_COLUMN)


def _adds(reader: Reader) -> bool:
    if reader.take("constraint"):
        reader.name()
        # With PRIMARY KEY the columns are scanned for NULL.
        if reader.take("unique", "using", "index"):
            return True
        return Reader(reader.rest()[-2:]).coming("not", "valid")
    if reader.one_of("check", "foreign", "not"):
        return Reader(reader.rest()[-2:]).coming("not", "valid")
    reader.take("column")
    reader.take("if", "not", "exists")
    if not reader.name():
        return False
    words = [token.text for token in reader.rest() if token.word()]
    plain = all(_plain(token) for token in reader.rest())
    return plain and bool(words) and words[0] in _TYPES.split() and words.count("default") <= 1


def _plain(token: Token) -> bool:
    if token.kind == "mark":
        return token.text in _MARKS
    return token.kind in ("number", "string") or token.word(*_WORDS)
