"""What files lock, by the names their tables have before the first of them is applied."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from foundry.migrate.files import MigrationFile
from foundry.migrate.modes import Work
from foundry.migrate.spelling import quote

_PART = r'"(?:[^"]|"")+"|[^".\s]+'
_NAME = re.compile(rf"(?:({_PART})\.)?({_PART})")


@dataclass(frozen=True, slots=True, kw_only=True)
class Locked:
    """One lock of one file; `table` is the name in its head."""

    file: MigrationFile
    table: str
    name: str
    """The table's present name, each part of it in double quotes."""
    mode: str
    work: Work


def locked(files: Sequence[MigrationFile]) -> tuple[Locked, ...]:
    """Return the locks of files that are applied one after the other.

    Tables that one of them makes are left out, and so is what names no table or no work.
    """
    return tuple(_locked(files))


def _locked(files: Sequence[MigrationFile]) -> Iterator[Locked]:
    # A table's first name by its present one; None where nothing has the name any more, or
    # only what one of the files has made.
    origins: dict[str, str | None] = {}
    works = {work.words: work for work in Work}
    for file in files:
        before = dict(origins)
        for old, new in file.head.tables:
            origin = origins.get(old, old) if old else None
            origins.update({old: None} if old else {})
            origins.update({new: origin} if new else {})
        for table, mode, work in file.head.locks:
            # A head names a table as it is called when it is locked, before or after.
            name = spelled(origins.get(table) or before.get(table, table) or "")
            if name and work in works:
                yield Locked(file=file, table=table, name=name, mode=mode, work=works[work])


def spelled(printed: str) -> str:
    """Return a printed name with its parts in double quotes; empty for what is no name."""
    found = _NAME.fullmatch(printed)
    if found is None:
        return ""
    return ".".join(_quoted(part) for part in found.groups() if part)


def namespace_of(printed: str) -> str:
    """Return the namespace a printed name has, in double quotes; empty where it has none."""
    found = _NAME.fullmatch(printed)
    return _quoted(found[1]) if found and found[1] else ""


def _quoted(part: str) -> str:
    return part if part[0] == '"' else quote(part.lower())
