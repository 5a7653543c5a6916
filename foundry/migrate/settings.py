"""What a run works with, as one value."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from foundry.declare import External
from foundry.errors import DeclarationError

LONGEST = 1e9
"""Seconds that anything may be told to last; sleep() takes no more than a few times that."""
MOST = 2**31 - 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """Files, history table, tables of other packages and switches."""

    directory: Path
    table: str = "schema_migration"
    externals: tuple[External, ...] = ()
    options: frozenset[str] = frozenset()
    wait: float = 600.0
    """Seconds that one wait may take: for another run, or for the locks of one step, or batch."""
    batch: int = 2000
    """Rows that an UPDATE in an `atomic = False` file changes in one transaction."""
    pause: float = 0.0
    """Seconds between two of those."""

    def __post_init__(self) -> None:
        """Refuse numbers that would skip the work, or never come to its end."""
        for key, seconds in (("wait", self.wait), ("pause", self.pause)):
            if not 0 <= seconds <= LONGEST:
                raise DeclarationError(
                    f'"{key}" is {seconds}, not a number of seconds: write one, as 2.5'
                )
        if not 1 <= self.batch <= MOST:
            raise DeclarationError(
                f'"batch" is {self.batch}, not a number of rows: write one from 1, as 5000'
            )
