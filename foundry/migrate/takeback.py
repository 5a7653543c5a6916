"""The steps of a file that failed are taken back where that is exact, the last one first."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import replace

import psycopg2
from peewee import PeeweeException

from foundry.errors import FoundryError, MigrationError
from foundry.migrate import leftovers, lock
from foundry.migrate.course import Course
from foundry.migrate.failure import told
from foundry.migrate.history import Noted
from foundry.migrate.statements import CreatesIndex
from foundry.migrate.undoing import Back, undone


def take_back(course: Course) -> bool:
    """Undo the steps that stand, the last one first, if all of them can be; says whether.

    Not when one of them is an earlier run's: others may rely on it by now.
    """
    # What only began is looked for when it is run again.
    stand = {ordinal: one for ordinal, one in course.journal.read().items() if one.stands}
    backs = undone({ordinal: one.statements for ordinal, one in stand.items()})
    if backs is None or not stand.keys() <= course.done:
        return False
    # Half of them undone, the others must not be taken for a start to go on from.
    with course.ground.database.atomic():
        lock.require(course.ground.database)
        course.journal.undo(stand)
    _undo(stand, backs, course)
    return True


def go_on(course: Course) -> None:
    """Undo what an earlier run began to; what cannot be undone stands again."""
    left = {ordinal: one for ordinal, one in course.journal.read().items() if one.undoing}
    if not left:
        return
    course.ground.report(f'undoing "{course.file.name}", which an earlier run began')
    backs = undone({ordinal: one.statements for ordinal, one in left.items()})
    try:
        if backs is None:
            raise MigrationError("one of its steps cannot be undone")
        _undo(left, backs, course)
    except (psycopg2.Error, PeeweeException, FoundryError) as error:
        course.journal.keep({o: one for o, one in course.journal.read().items() if one.undoing})
        course.ground.report(f'what "{course.file.name}" did stands: {told(error)}')


def _undo(stand: Mapping[int, Noted], backs: Mapping[int, Sequence[Back]], course: Course) -> None:
    """Take steps back one by one; when one resists it stands again, and those before it."""
    left = dict(stand)
    for ordinal, texts in backs.items():
        try:
            _undo_one(ordinal, texts, course)
        except (psycopg2.Error, PeeweeException, FoundryError):
            if any(isinstance(back, CreatesIndex) for back in texts):
                # Dropped by half perhaps: then the next run builds it again.
                left[ordinal] = replace(left[ordinal], done=False)
            # The connection may be what was lost: the marks stay then.
            with suppress(psycopg2.Error, PeeweeException), course.ground.database.atomic():
                course.journal.keep(left)
            raise
        del left[ordinal]


def _undo_one(ordinal: int, texts: Sequence[Back], course: Course) -> None:
    ground, name = course.ground, course.file.name
    named, what = f'the way back of "{name}"', f'undoing step {ordinal} of "{name}"'

    def attempt() -> None:
        lock.require(ground.database)
        for back in texts:
            if isinstance(back, str):
                ground.database.cursor().execute(back)
        course.journal.forget([ordinal])

    with ground.shown(what):
        for back in texts:
            if isinstance(back, CreatesIndex):
                with ground.watched(named=named, what=what):
                    leftovers.drop(ground.database, back)
        ground.retried(attempt, named=named, what=what)
