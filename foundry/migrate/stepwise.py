"""An `atomic = False` file, step by step: each is done once, whatever ends a run in the middle.

A step that can run in a transaction commits together with its row in the journal. One that
cannot has a row that says it began, and is looked for by what it makes before it is run again.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, suppress
from functools import partial
from itertools import chain
from typing import TypeVar

import psycopg2
from peewee import PeeweeException

from foundry.errors import FoundryError, HistoryConflict, LockTimeout, MigrationError
from foundry.migrate import batches, leftovers, lock, session
from foundry.migrate.collecting import Collected, statements
from foundry.migrate.constraints import read_constraint, rest_of
from foundry.migrate.course import Course
from foundry.migrate.files import MigrationFile
from foundry.migrate.history import Noted
from foundry.migrate.instant import is_instant
from foundry.migrate.limits import changes_rows, limited, settled, stated
from foundry.migrate.statements import Statement, read
from foundry.migrate.watching import Progress, sqlstate

T = TypeVar("T")

# What the server says, in active_sql_transaction and invalid_transaction_termination, of a
# statement that must stand alone although its text does not show it.
_STANDS_ALONE = frozenset({"25001", "2D000"})


def run(steps: Sequence[Collected], course: Course) -> None:
    """Do the steps that an earlier run has not done, in order.

    HistoryConflict when what was done is not what the file says now.
    """
    noted = course.journal.read()
    refuse_changed(steps, noted, course.file)
    _refuse_unnamed(steps, course)
    _clear_edited(steps, noted, course)
    for step in steps:
        before = noted.get(step.ordinal)
        if before is not None and before.digest != step.digest:
            before = None
        if before is None or not before.done:
            # As the first step finds it: the next run may begin with any of them.
            session.begin(course.ground.database, wait=course.ground.settings.wait)
            with course.ground.shown(course.what(step)), course.named(step):
                _do(step, before, course)
            course.done.add(step.ordinal)
    session.begin(course.ground.database, wait=course.ground.settings.wait)


def refuse_changed(
    steps: Sequence[Collected], noted: Mapping[int, Noted], file: MigrationFile
) -> None:
    """Raise HistoryConflict when a step that was begun cannot be gone on with.

    It is another one now, or gone, or nobody can tell how much of it was done.
    """
    digests = {step.ordinal: step.digest for step in steps}
    for ordinal, before in sorted(noted.items()):
        if digests.get(ordinal) != before.digest and before.stands and not before.undoing:
            raise HistoryConflict(
                f'step {ordinal} of "{file.name}" was done by an earlier run that did not come to '
                f"its end, and was edited since: restore it; steps behind it may be edited"
            )
        began = digests.get(ordinal) == before.digest and not before.stands
        if began and any(read(text).commits for text in before.statements):
            raise HistoryConflict(
                f'step {ordinal} of "{file.name}" was begun by an earlier run and may have '
                f"committed a part of its work: look at what it did, and edit the step to what is "
                f"left of it (a comment in it is enough to have all of it done again)"
            )


def _clear_edited(steps: Sequence[Collected], noted: Mapping[int, Noted], course: Course) -> None:
    """Take away what a step left half made that is another one by now, or gone."""
    digests = {step.ordinal: step.digest for step in steps}
    for ordinal, before in noted.items():
        if not before.stands and digests.get(ordinal) != before.digest:
            what = f'"{course.file.name}"'
            with course.ground.watched(named=what, what=what):
                for text in before.statements:
                    leftovers.clear(course.ground.database, read(text), course.ground.report)
            with course.ground.database.atomic():
                lock.require(course.ground.database)
                course.journal.forget([ordinal])


def _refuse_unnamed(steps: Sequence[Collected], course: Course) -> None:
    """Refuse an index whose name the server would choose: another one each time."""
    for step in steps:
        if step.operation.fn.__name__ == "sql":
            made = read(statements(step, course.ground.database)[0]).creates_index
            if made is not None and made.name is None:
                raise MigrationError(
                    f"{course.what(step)} makes an index without a name: give it one, or a run "
                    f"that is cut short there leaves one that no other finds"
                )


def _do(step: Collected, before: Noted | None, course: Course) -> None:
    texts = statements(step, course.ground.database)
    found = [read(text) for text in texts]
    single = len(texts) == 1 and found[0].count == 1
    if all(statement.transactional for statement in found):
        try:
            _together(step, before, texts, found, course)
            return
        except psycopg2.Error as error:
            if sqlstate(error) not in _STANDS_ALONE:
                raise
        if single:
            course.ground.report(f"{course.what(step)} runs outside of a transaction: it has to")
    if single:
        _alone(step, before, texts[0], found[0], course)
    else:
        raise MigrationError(
            f"{course.what(step)} has a statement that must stand alone: hand each to "
            f"migrator.migrate() as an operation of its own"
        )


def _together(
    step: Collected,
    before: Noted | None,
    texts: Sequence[str],
    found: Sequence[Statement],
    course: Course,
) -> None:
    if any(statement.control for statement in found):
        raise MigrationError(f"{course.what(step)} begins or ends a transaction: take that out")
    update = found[0].update if len(found) == 1 else None
    if update is not None:
        noted = before.text or None if before else None
        planned = _retried(
            step, course, lambda: batches.plan_batches(course.ground.database, update, note=noted)
        )
        if isinstance(planned, batches.Batches):
            _in_batches(step, planned, texts, course)
            return
        course.ground.report(f"{course.what(step)} runs whole: {planned.reason}")

    texts, found = _left(step, texts, found, course)

    def attempt() -> None:
        for text in chain.from_iterable(map(stated, texts)):
            rows = changes_rows(text)
            with limited(course.ground.database, instant=is_instant(text), rows=rows):
                course.ground.database.cursor().execute(text)
        course.note(step, texts, done=True)

    if found and all(statement.patient for statement in found):
        with _watched(step, course), course.ground.database.atomic():
            course.ground.database.execute_sql(session.PRESENT)
            attempt()
    else:
        with course.ground.followed(course.what(step)):
            _retried(step, course, attempt)


def _left(
    step: Collected, texts: Sequence[str], found: Sequence[Statement], course: Course
) -> tuple[Sequence[str], Sequence[Statement]]:
    """Return what is still to be run of a step, where it adds a constraint that is there."""
    made = read_constraint(texts[0]) if len(texts) == 1 else None
    if made is None:
        return texts, found
    rest = _retried(step, course, lambda: rest_of(course.ground.database, made))
    if rest is None:
        return texts, found
    course.ground.report(
        f'{course.what(step)}: constraint "{made.name}" is there already'
        + (" and is validated" if rest else "")
    )
    # Nothing else is noted, so nothing else would be undone: another tool made it.
    return ((rest,), (read(rest),)) if rest else ((), ())


def _in_batches(
    step: Collected, planned: batches.Batches, texts: Sequence[str], course: Course
) -> None:
    what = course.what(step)
    batches.run(
        course.ground.database,
        planned,
        size=course.ground.settings.batch,
        pause=course.ground.settings.pause,
        save=lambda note: course.note(step, texts, done=False, text=note),
        progress=lambda passed, total: course.ground.progress(
            what,
            Progress(
                phase="filling", done=passed, total=total if planned.estimate else 0, unit="rows"
            ),
        ),
        retry=lambda batch: _retried(step, course, partial(_of_rows, batch, course)),
    )
    with course.ground.database.atomic():
        course.note(step, texts, done=True)


def _of_rows(batch: Callable[[], T], course: Course) -> T:
    settled(course.ground.database, rows=True)
    return batch()


def _alone(
    step: Collected, before: Noted | None, text: str, statement: Statement, course: Course
) -> None:
    began, what = before is not None, course.what(step)
    waits = statement.patient or statement.commits
    with _watched(step, course) if waits else course.ground.followed(what):
        settled = leftovers.settled(
            course.ground.database, text, statement, began=began, report=course.ground.report
        )
        if not settled:
            with course.ground.database.atomic():
                course.note(step, (text,), done=False)
            _execute_alone(step, text, statement, course, began=began)
    # What another tool made is not undone.
    ours = (text,) if began or not settled else ()
    with course.ground.database.atomic():
        course.note(step, ours, done=True)


def _execute_alone(
    step: Collected, text: str, statement: Statement, course: Course, *, began: bool
) -> None:
    def attempt() -> None:
        # The half of a partition that is detached is all that a try before may have left.
        if statement.detaches is None or not leftovers.detached(course.ground.database, statement):
            course.ground.database.cursor().execute(text)

    try:
        if statement.patient or statement.commits:
            attempt()
        else:
            # Others would wait behind its strong lock. Nothing was done, or may be done again.
            _retried(step, course, attempt, transaction=False)
    except (psycopg2.Error, LockTimeout):
        # The connection may be what was lost, or those it waited for are still in the way.
        half = "what is half made stays until the next run, which takes care of it"
        with suppress(psycopg2.Error, PeeweeException, FoundryError):
            half = leftovers.clear(course.ground.database, statement, course.ground.report)
            if began and leftovers.unknown(statement):
                half = _not_known(step, course)
            if not half:
                course.journal.forget([step.ordinal])
        if half:
            course.ground.report(half)
        raise


def _not_known(step: Collected, course: Course) -> str:
    return (
        f"{course.what(step)} was begun by an earlier run that was cut short, and nothing shows "
        f"whether it was done then: look at the server, and where it was, put SELECT 1 in its place"
    )


def _retried(
    step: Collected, course: Course, attempt: Callable[[], T], *, transaction: bool = True
) -> T:
    def present() -> T:
        if transaction:
            course.ground.database.execute_sql(session.PRESENT)
        return attempt()

    return course.ground.retried(
        present, named=course.at(step), what=course.what(step), transaction=transaction
    )


def _watched(step: Collected, course: Course) -> AbstractContextManager[None]:
    return course.ground.watched(named=course.at(step), what=course.what(step))
