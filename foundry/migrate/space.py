"""Does what files write anew and build fit on the disks? Sizes and free space are values."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from foundry.errors import MigrationError
from foundry.migrate.locked import Locked
from foundry.migrate.modes import Work

WAL = -1
"""Stands for the folder of the write-ahead log where a tablespace is asked for."""

_MARGIN = 1.1
# The copy of a vector in an index, as a share of the table: of HNSW a page holds few large
# vectors and what is left of it is lost; IVFFlat sorts a second copy.
_VECTORS = {"hnsw": 1.5, "ivfflat": 2.0}
# An entry of a bigint, a timestamp or a uuid in a B-tree that is filled to 90 %.
_ENTRY = 32
# Less says nothing to anybody.
_NOTED = 10 * 1024**2
_UNITS = ("bytes", "kB", "MB", "GB", "TB")


@dataclass(frozen=True, slots=True, kw_only=True)
class Size:
    """What a table and its parts take up, in one tablespace."""

    tablespace: int
    total: int
    """Bytes with indexes, free space map and values stored out of line."""
    table: int = 0
    """Bytes without indexes."""
    rows: float = 0.0
    """As the server last counted them; negative where it never did."""
    heap: int = 0
    """Bytes of the rows themselves."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Need:
    """What one file takes up more than is there before, for one table in one tablespace."""

    file: str
    table: str
    tablespace: int
    size: int
    work: Work


@dataclass(frozen=True, slots=True, kw_only=True)
class Room:
    """The folder of a tablespace, its file system and what is free there."""

    folder: str
    device: int
    free: int


def needs(lock: Locked, sizes: Sequence[Size], *, building: int) -> tuple[Need, ...]:
    """Return what a lock's work takes up; `building` is where new indexes go.

    A rewrite takes the size of the table and its indexes once more, until its end. Of an
    index only an estimate can be had, and a low one: a run that would have fitted must not
    be refused.
    """
    if lock.work is Work.REWRITE:
        return tuple(_need(lock, s.tablespace, s.total) for s in sizes if s.total)
    if lock.work is Work.BUILD:
        size = sum(_index(lock, s) for s in sizes)
        return (_need(lock, building, size),) if size else ()
    return ()


def _index(lock: Locked, size: Size) -> int:
    method = re.search(rb"\b(hnsw|ivfflat)\b", lock.file.content, re.IGNORECASE)
    if method:
        return int(size.table * _VECTORS[method[1].decode().lower()])
    counted = int(size.rows * _ENTRY)
    return min(counted, size.heap) if counted > 0 else 0


def _need(lock: Locked, tablespace: int, size: int) -> Need:
    return Need(
        file=lock.file.name, table=lock.table, tablespace=tablespace, size=size, work=lock.work
    )


def with_wal(needed: Sequence[Need], *, largest: int) -> tuple[Need, ...]:
    """Return the needs with the log each file writes, up to `largest` bytes beyond what is there.

    A server whose log cannot grow stops altogether.
    """
    written: defaultdict[str, int] = defaultdict(int)
    for need in needed:
        written[need.file] += need.size
    logs = (
        Need(file=f, table="", tablespace=WAL, size=min(s, largest), work=Work.REWRITE)
        for f, s in written.items()
    )
    return (*needed, *(log for log in logs if log.size > 0))


def refuse_lack(needed: Sequence[Need], rooms: Mapping[int, Room]) -> None:
    """Raise MigrationError for the first file that does not fit, naming both figures.

    Files come in order: what one builds stays, what it rewrites is given back at its end.
    """
    kept: defaultdict[int, float] = defaultdict(float)
    for file in dict.fromkeys(n.file for n in needed):
        wanted: defaultdict[int, list[Need]] = defaultdict(list)
        for need in needed:
            if need.file == file and need.tablespace in rooms:
                wanted[rooms[need.tablespace].device].append(need)
        for device, here in wanted.items():
            size = int(kept[device] + sum(n.size for n in here) * _MARGIN)
            room = rooms[here[0].tablespace]
            if size > room.free:
                raise _lack(file, here, room, size)
            kept[device] += sum(n.size for n in here if n.work is Work.BUILD)


def _lack(file: str, here: Sequence[Need], room: Room, size: int) -> MigrationError:
    tables = dict.fromkeys(shown(n.table) for n in here if n.table)
    what = f" for {', '.join(tables)}" if tables else " for the write-ahead log"
    return MigrationError(
        f'"{file}" needs about {spoken(size)}{what} in "{room.folder}", where '
        f"{spoken(room.free)} are free: free space there and run up again"
    )


def notes(needed: Sequence[Need]) -> tuple[str, ...]:
    """Say in one line each what is written, for a server whose disks are not seen from here."""
    sizes: defaultdict[tuple[str, str, Work], int] = defaultdict(int)
    for need in needed:
        sizes[need.file, need.table, need.work] += need.size
    return tuple(
        f'"{file}" rewrites about {spoken(size)} of {shown(table)}'
        if work is Work.REWRITE
        else f'"{file}" builds about {spoken(size)} of index on {shown(table)}'
        for (file, table, work), size in sizes.items()
        if size >= _NOTED
    )


def spoken(size: int) -> str:
    """Return a number of bytes as people say it."""
    number, unit = float(size), 0
    while number >= 1024 and unit < len(_UNITS) - 1:
        number, unit = number / 1024, unit + 1
    return (
        f"{number:.1f} {_UNITS[unit]}" if unit and number < 10 else f"{number:.0f} {_UNITS[unit]}"
    )


def shown(table: str) -> str:
    """Return a printed name in double quotes, if it has none of its own."""
    return table if '"' in table else f'"{table}"'
