"""What pg_dump says of a database's schema: the oracle of the differ's tests.

Of its text only this is changed: the random tokens of \\restrict go, and what pg_dump prints in
the order of a table's columns is sorted, since a column that is added stands last: the
parts of CREATE TABLE, per-column ALTER TABLE lines that follow it, and comments that follow
each other. Privileges stand in the order in which they were granted: sorted, too. The index of
a partition that PostgreSQL names by what was free is named by the index it belongs to.
"""

from __future__ import annotations

import re
import subprocess
from collections.abc import Iterator
from functools import cache
from itertools import groupby
from pathlib import Path

from pgbin import candidates

from foundry.database import Target
from support.migrations import rows, url_of

_TABLE = re.compile(r"^CREATE (?:UNLOGGED )?TABLE .* \($", re.MULTILINE)
_ENTRY = re.compile(r"\n(?=--\n-- Name: )")
_RESTRICT = re.compile(r"^\\(?:un)?restrict .*\n", re.MULTILINE)
_ATTACHED = re.compile(r"^ALTER INDEX \w+\.(.*) ATTACH PARTITION \w+\.(.*);$", re.MULTILINE)
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
    text = _named_by_parents(_RESTRICT.sub("", text))
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


def _named_by_parents(text: str) -> str:
    """Give the indexes of partitions the names of those they are attached to."""
    for parent, child in sorted(_ATTACHED.findall(text), key=lambda pair: -len(pair[1])):
        name = f"of {parent.strip(_QUOTES)}"
        text = _replaced(rf'(?<!\w){re.escape(child)}(?![\w"])', f'"{name}"', text)
        plain = re.escape(child.strip(_QUOTES).replace('""', '"'))
        text = _replaced(rf"^-- Name: .*{plain};", f"-- Name: {name};", text)
    return text


def _replaced(pattern: str, by: str, text: str) -> str:
    return re.sub(pattern, lambda _: by, text, flags=re.MULTILINE)


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


_UNORDERED = ("; Type: COMMENT; ", "; Type: INDEX; ", "; Type: INDEX ATTACH; ")


def _in_order(text: str) -> Iterator[str]:
    for kind, run in groupby(_ENTRY.split(text), _unordered):
        if kind:
            yield from sorted(run)
            continue
        for entry in run:
            yield _grants_in_order(entry) if "; Type: ACL; " in entry else _columns_in_order(entry)


def _unordered(entry: str) -> str:
    return next((kind for kind in _UNORDERED if kind in entry), "")


def _columns_in_order(entry: str) -> str:
    """Sort the statements of an entry that set something of one column each."""
    statements = entry.split(";\n")
    about = [s for s in statements if re.search(r"^ALTER TABLE ONLY .* ALTER COLUMN ", s, re.M)]
    ordered = iter(sorted(s.strip("\n") for s in about))
    return ";\n".join("\n" + next(ordered) if s in about else s for s in statements)


def _grants_in_order(entry: str) -> str:
    ordered = iter(sorted(re.findall(r"^GRANT .*;$", entry, re.MULTILINE)))
    return re.sub(r"^GRANT .*;$", lambda _: next(ordered), entry, flags=re.MULTILINE)
