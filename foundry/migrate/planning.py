"""Which files a run applies or reverts, and what it must be allowed to."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from foundry.errors import DataLoss, MigrationError
from foundry.migrate.files import MigrationFile
from foundry.migrate.history import Standing, State


def to_apply(
    standings: Sequence[Standing], target: str | None, *, directory: Path, fake: bool = False
) -> tuple[Standing, ...]:
    """Return the pending files through `target`; with `fake` also one that waits, if named."""
    named = next((s for s in standings if s.file.name == target), None)
    if target is not None and named is None:
        raise _unknown(target, [s.file.name for s in standings], directory)
    blocked = (State.WAITING, State.OFF)
    if named is not None and named.state in blocked and not fake:
        raise MigrationError(
            f'"{target}" cannot be applied yet: it needs {", ".join(named.missing)}'
        )
    last = named.file.number if named else None
    return tuple(
        s
        for s in standings
        if (s.state is State.PENDING or (fake and s is named and s.state in blocked))
        and (last is None or s.file.number <= last)
    )


def to_revert(standings: Sequence[Standing], target: str | None) -> tuple[Standing, ...]:
    """Return the newest applied file, or every one back through `target`."""
    applied = [s for s in reversed(standings) if s.state is State.APPLIED]
    if target is None:
        return tuple(applied[:1])
    names = [s.file.name for s in applied]
    if target not in names:
        raise MigrationError(f'"{target}" is not an applied migration')
    return tuple(applied[: names.index(target) + 1])


def refuse_loss(losses: Sequence[tuple[MigrationFile, tuple[str, ...]]], *, allowed: bool) -> None:
    """Raise DataLoss for the first file that loses something, unless that is allowed."""
    for file, lost in losses:
        if lost and not allowed:
            raise DataLoss(
                f'"{file.name}" loses {", ".join(lost)}: run again with --allow-data-loss '
                f"if that is wanted"
            )


def _unknown(target: str, names: Sequence[str], directory: Path) -> MigrationError:
    meant = [name for name in names if name.startswith(target)]
    hint = f'; did you mean "{meant[0]}"?' if meant else ""
    return MigrationError(f'there is no migration "{target}" in "{directory}"{hint}')
