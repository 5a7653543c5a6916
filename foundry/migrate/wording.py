"""What can be told from SQL of the models' without parsing it."""

from __future__ import annotations

import re
from collections.abc import Iterable

_CONCURRENTLY = re.compile(r"^(\s*CREATE\s+(?:UNIQUE\s+)?INDEX\s+)CONCURRENTLY\s+", re.I)
_INDEX = re.compile(
    r'^\s*CREATE\s+(?:UNIQUE\s+)?INDEX\s+(?:IF\s+NOT\s+EXISTS\s+)?(?:"((?:[^"]|"")+)"|(\w+))\s+ON\b',
    re.I,
)
_FOREIGN = re.compile(r'^\s*(?:CONSTRAINT\s+(?:"(?:[^"]|"")+"|\w+)\s+)?FOREIGN\s+KEY\b', re.I)
# A string, a quoted name, a dollar-quoted body, a comment; or the end of a statement.
_LEXEMES = re.compile(
    r"""(?<!\w)[eE]'(?:[^'\\]|\\.|'')*'|'[^']*'|"[^"]*"|\$(\w*)\$.*?\$\1\$|--[^\n]*|/\*.*?\*/|(;)""",
    re.S,
)


def without_concurrently(statement: str) -> str:
    """Return a CREATE INDEX statement that can run inside a transaction."""
    return _CONCURRENTLY.sub(r"\1", statement)


def is_foreign_key(text: str) -> bool:
    """True for a table constraint that is a foreign key."""
    return _FOREIGN.match(text) is not None


def clipped(name: str) -> str:
    """Return the 63 bytes of a name that PostgreSQL keeps."""
    return name.encode()[:63].decode(errors="ignore")


def index_name(statement: str) -> str | None:
    """Return the name that a CREATE INDEX statement gives, if it gives one."""
    found = _INDEX.match(statement)
    if found is None:
        return None
    quoted, plain = found.groups()
    return clipped(quoted.replace('""', '"') if quoted else plain.lower())


def is_one_statement(text: str) -> bool:
    """True unless a semicolon outside strings and comments is followed by more SQL."""
    if ";" not in text:
        return True
    ends = [m.end() for m in _LEXEMES.finditer(text) if m.group(2)]
    return not ends or not text[ends[0] :].strip(" \t\r\n;")


def naming_of(names: Iterable[str]) -> re.Pattern[str]:
    """Return what finds one of these namespaces before a dot, quoted or not, in any case."""
    words = "|".join(
        sorted((re.escape(n.replace('"', '""')) for n in names), key=len, reverse=True)
    )
    blank = r"(?:\s|/\*.*?\*/|--[^\n]*\n)*"
    # A Unicode-escaped name can spell any namespace.
    return re.compile(rf'(?<![\w$"])(?:"(?:{words})"|(?:{words})){blank}\.|[uU]&"', re.I | re.S)
