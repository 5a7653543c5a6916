"""What a run did, as values."""

from __future__ import annotations

from dataclasses import dataclass

from foundry.migrate.externals import Progress
from foundry.migrate.history import Standing


@dataclass(frozen=True, slots=True, kw_only=True)
class Done:
    """One file that was applied, reverted or recorded, and how long it took."""

    name: str
    seconds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What a run did and what it left waiting."""

    done: tuple[Done, ...] = ()
    externals: tuple[Progress, ...] = ()
    waiting: tuple[Standing, ...] = ()
