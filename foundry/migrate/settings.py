"""What a run works with, as one value."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from foundry.declare import External


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """Files, history table, tables of other packages and switches."""

    directory: Path
    table: str = "schema_migration"
    externals: tuple[External, ...] = ()
    options: frozenset[str] = frozenset()
    wait: float = 600.0
    """Seconds to wait for another run, and for locks that other sessions hold."""
    batch: int = 2000
    """Rows that an UPDATE in an `atomic = False` file changes in one transaction."""
    pause: float = 0.0
    """Seconds between two of those."""
