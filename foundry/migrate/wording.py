"""What can be told from SQL of the models' without parsing it."""

from __future__ import annotations

import re
from collections.abc import Iterable
from string import ascii_lowercase, ascii_uppercase

_FOLD = str.maketrans(ascii_uppercase, ascii_lowercase)
_CONCURRENTLY = re.compile(r"^(\s*CREATE\s+(?:UNIQUE\s+)?INDEX\s+)CONCURRENTLY\s+", re.I)
_INDEX = re.compile(
    r'^\s*CREATE\s+(?:UNIQUE\s+)?INDEX\s+(?:IF\s+NOT\s+EXISTS\s+)?(?:"((?:[^"]|"")+)"|(\w+))\s+ON\b',
    re.I,
)
_ON = re.compile(
    r"""\s*CREATE\s+(?:OR\s+REPLACE\s+)?(?:(?:UNIQUE|CONSTRAINT)\s+)?(?:INDEX|TRIGGER)\b
    (?:"(?:[^"]|"")*"|[^"])*?\sON\s+(?:ONLY\s+)?(?:(?:"(?:[^"]|"")*"|\w+)\s*\.\s*)?(?:"((?:[^"]|"")*)"|(\w+))""",
    re.I | re.S | re.X,
)
_FOREIGN = re.compile(r'^\s*(?:CONSTRAINT\s+(?:"(?:[^"]|"")+"|\w+)\s+)?FOREIGN\s+KEY\b', re.I)
_NAME = re.compile(r'"((?:[^"]|"")+)"|([^\W\d][\w$]*)')
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


def stored(name: str) -> str:
    """Return the name that PostgreSQL gets: Peewee's users write a percent sign twice."""
    return clipped(name.replace("%%", "%"))


def index_name(statement: str) -> str | None:
    """Return the name that a CREATE INDEX statement gives, if it gives one."""
    found = _INDEX.match(statement)
    if found is None:
        return None
    quoted, plain = found.groups()
    return clipped(quoted.replace('""', '"') if quoted else plain.lower())


def is_on(statement: str, table: str) -> bool:
    """True for a CREATE INDEX or CREATE TRIGGER statement that is plainly on that table."""
    found = _ON.match(statement)
    # A comment may say anything.
    if found is None or "/*" in found[0] or "--" in found[0]:
        return False
    quoted, plain = found.groups()
    return clipped(quoted.replace('""', '"') if quoted else plain or "") == table


def is_one_statement(text: str) -> bool:
    """True unless a semicolon outside strings and comments is followed by more SQL."""
    if ";" not in text:
        return True
    ends = [m.end() for m in _LEXEMES.finditer(text) if m.group(2)]
    return not ends or not text[ends[0] :].strip(" \t\r\n;")


def names_in(text: str) -> Iterable[str]:
    """Yield everything in a statement that may be a name."""
    for quoted, plain in _NAME.findall(text):
        # The server folds nothing but ASCII.
        yield clipped(quoted.replace('""', '"') if quoted else plain.translate(_FOLD))


def naming_of(names: Iterable[str]) -> re.Pattern[str]:
    """Return what finds one of these namespaces before a dot, quoted or not, in any case."""
    words = "|".join(
        sorted((re.escape(n.replace('"', '""')) for n in names), key=len, reverse=True)
    )
    blank = r"(?:\s|/\*.*?\*/|--[^\n]*\n)*"
    # A Unicode-escaped name can spell any namespace.
    return re.compile(rf'(?<![\w$"])(?:"(?:{words})"|(?:{words})){blank}\.|[uU]&"', re.I | re.S)
