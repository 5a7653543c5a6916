"""What pg_dump says of a database's schema: the oracle of the differ's tests.

Of its text only this is changed: the random tokens of \\restrict go, and what pg_dump prints in
the order of a table's columns is sorted, since a column that is added stands last: the
parts of CREATE TABLE, per-column ALTER TABLE lines that follow it, and comments that follow
each other.
"""

from __future__ import annotations

import re
import subprocess
from collections.abc import Iterator
from functools import cache
from pathlib import Path

from pgbin import candidates

from foundry.database import Target
from support.migrations import rows, url_of

_TABLE = re.compile(r"^CREATE (?:UNLOGGED )?TABLE .* \($", re.MULTILINE)
_ENTRY = re.compile(r"\n(?=--\n-- Name: )")
_RESTRICT = re.compile(r"^\\(?:un)?restrict .*\n", re.MULTILINE)
_QUOTES = "'\""


def dump(target: Target) -> str:
    """Return the schema of a database without the history of its migrations."""
    major = str(int(str(rows(target, "SHOW server_version_num")[0][0])) // 10000)
    ended = subprocess.run(
        [program(major), "--schema-only", "--exclude-table=schema_migration*", url_of(target)],
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert 0 == ended.returncode, ended.stderr
    return normalised(ended.stdout)


@cache
def program(major: str) -> Path:
    """Return pg_dump of that version, or of a newer one."""
    for version in range(int(major), 19):
        for folder in candidates(str(version)):
            if (folder / "pg_dump").is_file():
                return folder / "pg_dump"
    raise AssertionError(f"no pg_dump for PostgreSQL {major} here")


def normalised(text: str) -> str:
    """Return a dump without random tokens and without the order of columns."""
    text = _RESTRICT.sub("", text)
    pieces, at = [], 0
    for found in _TABLE.finditer(text):
        if found.start() < at:
            continue
        parts, end = _parts(text, found.end())
        listed = ",\n".join(sorted(parts))
        pieces += [text[at : found.end()], "\n", listed, "\n"]
        at = end
    pieces.append(text[at:])
    return "\n".join(_in_order("".join(pieces)))


def _parts(text: str, start: int) -> tuple[list[str], int]:
    """Split what stands in parentheses at its commas; returns where it ends, too."""
    parts, depth, quote, begin = [], 0, "", start
    for at in range(start, len(text)):
        sign = text[at]
        if quote:
            quote = "" if sign == quote else quote
        elif sign in _QUOTES:
            quote = sign
        elif sign in "([":
            depth += 1
        elif sign in ")]":
            if not depth:
                return [*parts, text[begin:at].strip("\n")], at
            depth -= 1
        elif sign == "," and not depth:
            parts.append(text[begin:at].strip("\n"))
            begin = at + 1
    raise AssertionError("a CREATE TABLE does not end")


def _in_order(text: str) -> Iterator[str]:
    comments: list[str] = []
    for entry in _ENTRY.split(text):
        if "; Type: COMMENT; " in entry:
            comments.append(entry)
            continue
        yield from sorted(comments)
        comments = []
        yield _columns_in_order(entry)
    yield from sorted(comments)


def _columns_in_order(entry: str) -> str:
    """Sort the statements of an entry that set something of one column each."""
    statements = entry.split(";\n")
    about = [s for s in statements if re.search(r"^ALTER TABLE ONLY .* ALTER COLUMN ", s, re.M)]
    ordered = iter(sorted(s.strip("\n") for s in about))
    return ";\n".join("\n" + next(ordered) if s in about else s for s in statements)
