"""Files that an earlier run began and did not finish, and what the next one makes of them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from peewee import PostgresqlDatabase

from foundry.errors import FoundryError, HistoryConflict
from foundry.migrate import collecting
from foundry.migrate.execution import load
from foundry.migrate.files import MigrationFile
from foundry.migrate.history import Noted, Standing, State
from foundry.migrate.stepwise import refuse_changed


@dataclass(frozen=True, slots=True, kw_only=True)
class Begun:
    """A file in the middle of `up` or `down`."""

    name: str
    way: str
    done: int
    total: int | None
    """None where the file cannot be read any more."""
    refusal: str = ""
    """Why the next `up` stops at it; empty when it goes on with it."""
    missing: tuple[str, ...] = ()
    """What the file waits for."""
    partly: bool = False
    """Of the next step some batches are done."""
    undoing: bool = False
    """It failed, and a run ended while its steps were undone."""

    @property
    def stands(self) -> str:
        """How far it is."""
        of = "" if self.total is None else f" of {self.total}"
        return f'"{self.name}" stands in the middle of {self.way}, {self.done}{of} steps done'

    @property
    def told(self) -> str:
        """One line: what stands, and what comes next."""
        if self.refusal:
            return f"{self.stands}: {self.refusal}"
        waits = f", once it has {', '.join(self.missing)}" if self.missing else ""
        first = "finishes undoing what it did, then " if self.undoing else ""
        return f"{self.stands}: the next up {first}{self.next_step}{waits}"

    @property
    def next_step(self) -> str:
        """What the next run in the same direction does with it."""
        if self.done == self.total:
            return "records it"
        return f"goes on with step {self.done + 1}{', in its middle' if self.partly else ''}"

    def values(self) -> dict[str, Any]:
        """Return it as JSON values."""
        return {
            "name": self.name,
            "way": self.way,
            "done": self.done,
            "total": self.total,
            "undoing": self.undoing,
            "refused": self.refusal or None,
        }


def begun(
    noted: Mapping[str, Mapping[int, Noted]],
    standings: Mapping[str, Standing],
    database: PostgresqlDatabase,
    *,
    journal: str,
) -> Iterator[Begun]:
    """Yield what the table `journal` has of files that were not brought to their end."""
    for name, steps in sorted(noted.items()):
        way = next(iter(steps.values())).way
        standing = standings.get(name)
        total, refusal = None, ""
        try:
            refuse_gone(name, way, standing.file if standing else None, journal=journal)
            if standing:
                work = load(standing.file, way, database)
                total = len(work.steps)
                refuse_changed(work.steps, steps, standing.file)
        except FoundryError as error:
            refusal = str(error)
        if way == "down" and not refusal:
            refusal = "run down again, which goes on with it; up is refused until then"
        yield Begun(
            name=name,
            way=way,
            done=sum(_stays(step) for step in steps.values()),
            total=total,
            refusal=refusal,
            missing=standing.missing if standing and standing.state is not State.APPLIED else (),
            partly=any(step.text and not step.done and not step.undoing for step in steps.values()),
            undoing=any(step.undoing for step in steps.values()),
        )


def refuse_gone(name: str, way: str, file: MigrationFile | None, *, journal: str) -> None:
    """Raise HistoryConflict where a file that was begun is no such file any more."""
    if file is None:
        quoted = name.replace("'", "''")
        raise HistoryConflict(
            f'"{name}" was begun and its file is not there: restore it; if it is lost, take back '
            f"by hand what stands of it (the notes of {journal} have the statements) and DELETE "
            f"FROM {journal} WHERE name = '{quoted}' AND step > 0"
        )
    if file.head.atomic:
        raise HistoryConflict(
            f'"{name}" was begun step by step ({way}), and would be run whole now: put '
            f"atomic = False back"
        )


def remaining(
    file: MigrationFile, steps: Mapping[int, Noted], database: PostgresqlDatabase
) -> tuple[str, ...]:
    """Return the SQL of the steps of `up` that are not done, without running any of it."""
    return tuple(
        text.rstrip().rstrip(";") + ";"
        for step in load(file, "up", database).steps
        if not _stays(steps.get(step.ordinal))
        for text in collecting.statements(step, database)
    )


def _stays(step: Noted | None) -> bool:
    return step is not None and step.done and not step.undoing
