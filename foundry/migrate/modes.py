"""Lock modes of tables, and how long a step holds one."""

from __future__ import annotations

from enum import IntEnum


class Mode(IntEnum):
    """The table locks of PostgreSQL, from the weakest to the strongest."""

    ACCESS_SHARE = 1
    ROW_SHARE = 2
    ROW_EXCLUSIVE = 3
    SHARE_UPDATE_EXCLUSIVE = 4
    SHARE = 5
    SHARE_ROW_EXCLUSIVE = 6
    EXCLUSIVE = 7
    ACCESS_EXCLUSIVE = 8

    @property
    def words(self) -> str:
        """The mode as LOCK TABLE spells it."""
        return self.name.replace("_", " ")

    def conflicts(self, other: Mode) -> bool:
        """True when two sessions cannot hold both on one table."""
        return other in CONFLICTS[self]

    @property
    def blocks(self) -> str:
        """What others cannot do meanwhile, in words; empty when rows are read and written."""
        if self.conflicts(Mode.ACCESS_SHARE):
            return "reads and writes"
        return "writes" if self.conflicts(Mode.ROW_EXCLUSIVE) else ""


# Table 13.2 of the manual: what each mode excludes.
CONFLICTS: dict[Mode, frozenset[Mode]] = {
    Mode.ACCESS_SHARE: frozenset({Mode.ACCESS_EXCLUSIVE}),
    Mode.ROW_SHARE: frozenset({Mode.EXCLUSIVE, Mode.ACCESS_EXCLUSIVE}),
    Mode.ROW_EXCLUSIVE: frozenset(Mode) - frozenset(Mode(m) for m in (1, 2, 3, 4)),
    Mode.SHARE_UPDATE_EXCLUSIVE: frozenset(Mode) - frozenset(Mode(m) for m in (1, 2, 3)),
    Mode.SHARE: frozenset(Mode) - frozenset(Mode(m) for m in (1, 2, 5)),
    Mode.SHARE_ROW_EXCLUSIVE: frozenset(Mode) - frozenset(Mode(m) for m in (1, 2)),
    Mode.EXCLUSIVE: frozenset(Mode) - {Mode.ACCESS_SHARE},
    Mode.ACCESS_EXCLUSIVE: frozenset(Mode),
}


class Work(IntEnum):
    """What is done while the lock is held, from the shortest to the longest."""

    INSTANT = 1
    SCAN = 2
    """Every row is read."""
    BUILD = 3
    """An index is built."""
    FILL = 4
    """Rows are written, and stay locked until the statement ends."""
    REWRITE = 5
    """The table and all its indexes are written anew."""

    @property
    def words(self) -> str:
        """The work as a head of a file spells it."""
        return self.name.lower()
