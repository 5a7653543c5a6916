"""How names and texts are written in SQL; the only place that quotes."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Container, Iterable, Iterator, Mapping
from itertools import count

from foundry.migrate.objects import Place

# What quote_ident() quotes although it looks plain, on PostgreSQL 15 to 18.
_WORDS = """
    all analyse analyze and any array as asc asymmetric authorization between bigint binary bit
    boolean both case cast char character check coalesce collate collation column concurrently
    constraint create cross current_catalog current_date current_role current_schema
    current_time current_timestamp current_user dec decimal default deferrable desc distinct do
    else end except exists extract false fetch float for foreign freeze from full grant greatest
    group grouping having ilike in initially inner inout int integer intersect interval into is
    isnull join json json_array json_arrayagg json_exists json_object json_objectagg json_query
    json_scalar json_serialize json_table json_value lateral leading least left like limit
    localtime localtimestamp merge_action national natural nchar none normalize not notnull null
    nullif numeric offset on only or order out outer overlaps overlay placing position precision
    primary real references returning right row select session_user setof similar smallint some
    substring symmetric system_user table tablesample then time timestamp to trailing treat trim
    true union unique user using values varchar variadic verbose when where window with
    xmlattributes xmlconcat xmlelement xmlexists xmlforest xmlnamespaces xmlparse xmlpi xmlroot
    xmlserialize xmltable
"""
_KEYWORDS = frozenset(_WORDS.split())

_PLAIN = re.compile(r"[a-z_][a-z0-9_]*", re.ASCII)

_STRING = r"""E'(?:[^'\\]|\\.|'')*' | '(?:[^']|'')*'"""
_QUOTED, _WORD = '"(?:[^"]|"")*"', r"[^\W\d][\w$]*"

# A string with or without escapes, a quoted name, a word, or any other character.
_TOKEN = re.compile(
    f"(?P<string> {_STRING} ) | (?P<quoted> {_QUOTED} ) | (?P<word> {_WORD} ) | (?P<other> . )",
    re.VERBOSE | re.DOTALL,
)

# What is no column: strings, the type of a cast, and the name of a function that is called.
_NAME = rf"(?:{_QUOTED}|{_WORD})(?:\.(?:{_QUOTED}|{_WORD}))*"
_COLUMN = re.compile(
    rf"""
    (?: {_STRING} | :: {_NAME} (?: (?:\([\d,]+\))? [ ] [a-z]+ )* | {_NAME} \( )
    | (?P<quoted> {_QUOTED} ) | (?P<word> {_WORD} )
    """,
    re.VERBOSE | re.DOTALL,
)


def quote(name: str) -> str:
    """Return a name in double quotes."""
    return '"' + name.replace('"', '""') + '"'


def quoted(names: Iterable[str]) -> str:
    """Return names in double quotes, separated by commas."""
    return ", ".join(map(quote, names))


def path(name: Iterable[str]) -> str:
    """Return a name with its namespace, or without one, each part in double quotes."""
    return ".".join(map(quote, name))


def ident(name: str) -> str:
    """Return a name as quote_ident() does: in quotes only where it needs them."""
    return name if _PLAIN.fullmatch(name) and name not in _KEYWORDS else quote(name)


def chosen(table: str, column: str, label: str) -> str:
    """Return the name PostgreSQL gives to what belongs to a column, cut to 63 bytes."""
    first, second = table.encode(), column.encode()
    room = 63 - len(label) - 2
    while len(first) + len(second) > room:
        first, second = (first[:-1], second) if len(first) > len(second) else (first, second[:-1])
    parts = (part.decode(errors="ignore") for part in (first, second))
    return "_".join([*parts, label])


def spare(name: str, suffix: str, taken: Container[str]) -> str:
    """Return a name like another one that nothing has, for a while."""
    room = 63 - len(suffix) - 3
    kept = name
    if len(name.encode()) > room:
        # Names that begin alike stay apart.
        mark = hashlib.sha256(name.encode()).hexdigest()[:8]
        kept = f"{name.encode()[: room - 9].decode(errors='ignore')}_{mark}"
    tries = (f"{kept}{suffix}{number or ''}" for number in count())
    return next(found for found in tries if found not in taken)


def literal(text: str) -> str:
    """Return a text as a string literal, for sessions with standard_conforming_strings."""
    return "'" + text.replace("'", "''") + "'"


def relation(place: Place, default: str) -> str:
    """Return the quoted name of a place; in the default namespace it stands alone."""
    namespace, name = place
    return quote(name) if namespace == default else f"{quote(namespace)}.{quote(name)}"


def printed(place: Place, default: str) -> str:
    """Return the name of a place as the server prints it."""
    namespace, name = place
    return ident(name) if namespace == default else f"{ident(namespace)}.{ident(name)}"


def renamed(text: str, names: Mapping[str, str]) -> str:
    """Return an expression with some of its columns replaced; strings stay as they are."""

    def new(match: re.Match[str]) -> str:
        token = match.group()
        quoted = match["quoted"]
        name = quoted[1:-1].replace('""', '"') if quoted else match["word"]
        # A word of the server's own is in capitals; a name in capitals is in quotes.
        known = name in names and bool(quoted or _PLAIN.fullmatch(token))
        return ident(names[name]) if known else token

    return _COLUMN.sub(new, text)


def _tokens(text: str) -> Iterator[tuple[str, str]]:
    for match in _TOKEN.finditer(text):
        yield str(match.lastgroup), match.group()


def bare(text: str) -> str:
    """Return SQL without its strings and quoted names: what is left are its own words."""
    return "".join(t for kind, t in _tokens(text) if kind not in ("string", "quoted"))


def respelled(text: str) -> str:
    """Return an expression in a spelling that PostgreSQL reads back as what it printed.

    `varchar_column IN ('a', 'b')` is printed with a cast of the whole array, and a cast of
    an array that is written out is read as casts of its elements. With a first cast to the
    type it has anyway the second one stays where it is.
    """
    marked = []
    opened: list[bool] = []
    tokens = [token for _, token in _tokens(text)]
    for number, token in enumerate(tokens):
        if token == "[":
            opened.append(tokens[number - 2 : number] == ["(", "ARRAY"])
        marked.append(token)
        if token == "]" and opened and opened.pop() and _cast_to_text(tokens[number + 1 :][:7]):
            marked.append("::character varying[]")
    return "".join(marked)


def _cast_to_text(tokens: list[str]) -> bool:
    return "".join(tokens).startswith(")::text[]")
