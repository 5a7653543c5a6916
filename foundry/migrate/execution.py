"""One way of one migration file: whole in a transaction, or step by step."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from types import ModuleType
from typing import Any

from peewee import PostgresqlDatabase
from psycopg2.extensions import TRANSACTION_STATUS_IDLE

from foundry.errors import FoundryError, HistoryConflict, LockTimeout, MigrationError
from foundry.migrate import leftovers, lock, session, stepwise, takeback
from foundry.migrate.collecting import Collected, collect
from foundry.migrate.course import Course, Ground
from foundry.migrate.failure import apart, told
from foundry.migrate.files import MigrationFile
from foundry.migrate.history import Noted
from foundry.migrate.limits import Limited
from foundry.migrate.offending import rows_in_the_way
from foundry.migrate.reach import reached
from foundry.migrate.statements import read


@dataclass(frozen=True, slots=True, kw_only=True)
class Work:
    """One way of a file, loaded; nothing of it has run."""

    file: MigrationFile
    way: str
    """"up" or "down"."""
    function: Callable[..., object]
    steps: tuple[Collected, ...] = ()
    """Of a file that is not atomic."""


def load(file: MigrationFile, way: str, database: PostgresqlDatabase) -> Work:
    """Return a way of a file, with its steps where each is done by itself."""
    # Not by playhouse's loader: it would read the file a second time, or its stale
    # bytecode, and what runs must be what the digest says.
    module = ModuleType(file.name)
    module.__file__ = str(file.path)
    try:
        exec(compile(file.content, str(file.path), "exec"), module.__dict__)
    except (Exception, SystemExit) as error:
        raise MigrationError(f'"{file.name}" cannot be loaded: {told(error, file)}') from error
    function = getattr(module, way, None)
    if function is None:
        remedy = (
            "it cannot be reverted; write the way back as a new migration"
            if way == "down"
            else "define up(migrator, db)"
        )
        raise MigrationError(f'"{file.name}" has no {way}(): {remedy}')
    if not _takes_two(function):
        raise MigrationError(f'"{file.name}": define {way}(migrator, db)')
    steps = () if file.head.atomic else collect(function, database, file)
    return Work(file=file, way=way, function=function, steps=steps)


def _takes_two(function: object) -> bool:
    if not callable(function):
        return False
    try:
        inspect.signature(function).bind(None, None)
    except TypeError:
        return False
    return True


def execute(work: Work, ground: Ground, finish: Callable[[], None]) -> None:
    """Run a way of a file, and `finish` in its last transaction."""
    lock.require(ground.database)
    ground.report(f"running {work.file.name}")
    if work.file.head.atomic:
        _whole(work, ground, finish)
    else:
        _by_steps(work, ground, finish)
    session.begin(ground.database, wait=ground.settings.wait)


def _whole(work: Work, ground: Ground, finish: Callable[[], None]) -> None:
    database = ground.database
    migrator = Limited(database)
    ended: list[bool] = []

    def attempt() -> None:
        before = _transaction(database)
        try:
            work.function(migrator, database)
        except BaseException:
            ended.append(_idle(database))
            raise
        ended.append(_idle(database) or _transaction(database) != before)
        if ended[-1]:
            raise _EndedByItself(
                f'"{work.file.name}" ends its own transaction: take COMMIT and ROLLBACK out, or '
                f"say atomic = False; what it did before them stands"
            )
        migrator.refuse_idle(work.file)
        session.begin(database, wait=ground.settings.wait)
        lock.require(database)
        finish()

    what = f'"{work.file.name}"'
    with _failing(work, database, ended), ground.shown(what), ground.followed(what):
        ground.retried(
            attempt,
            named=lambda: what + (f" ({migrator.doing})" if migrator.doing else ""),
            what=what,
        )


class _EndedByItself(MigrationError):
    """The file committed or rolled back: what stands of it is said in the message."""


@contextmanager
def _failing(work: Work, database: PostgresqlDatabase, ended: Sequence[bool]) -> Iterator[None]:
    """Say of what fails in a file that is run whole what stands of it."""
    name, file = f'"{work.file.name}"', work.file
    try:
        yield
    except LockTimeout as error:
        raise LockTimeout(f"{error.happened}; nothing of it was kept", error.remedy) from error
    except (_EndedByItself, HistoryConflict, KeyboardInterrupt):
        raise
    except (Exception, SystemExit) as error:
        kept = "its earlier steps stand" if any(ended) else "nothing of it was kept"
        why = told(error, file, rows=rows_in_the_way(database, error))
        raise MigrationError(f"{name} {work.way} failed, {kept}: {why}") from error


def _by_steps(work: Work, ground: Ground, finish: Callable[[], None]) -> None:
    file = work.file
    course = Course(
        ground=ground,
        file=file,
        journal=ground.history.journal(file.name, work.way),
        total=len(work.steps),
    )
    try:
        takeback.go_on(course)
        stepwise.run(work.steps, course)
    except HistoryConflict:
        raise
    except KeyboardInterrupt:
        _tell(work, course)
        raise
    except LockTimeout as error:
        kept = _afterwards(error, work, course)
        raise LockTimeout(f"{error.happened}; {kept}", error.remedy) from error
    except (Exception, SystemExit) as error:
        happened, remedy = apart(error, rows=rows_in_the_way(ground.database, error))
        happened = f'"{file.name}" {work.way} failed{"".join(course.failed)}: {happened}'
        kept = _afterwards(error, work, course)
        failed = type(error) if isinstance(error, FoundryError) else MigrationError
        raise failed("; ".join(filter(None, (happened, kept, remedy)))) from error
    _record(work, ground, finish)


def _record(work: Work, ground: Ground, finish: Callable[[], None]) -> None:
    """Write that a file whose steps are all done was applied, or reverted."""

    def last() -> None:
        lock.require(ground.database)
        finish()

    stands = f"all its steps stand, and the next {work.way} records it"
    try:
        reached(
            last,
            database=ground.database,
            target=ground.target,
            what=f'the history "{ground.settings.table}"',
            wait=ground.settings.wait,
            report=ground.report,
        )
    except LockTimeout as error:
        raise LockTimeout(f"{error.happened}; {stands}", error.remedy) from error
    except Exception as error:
        happened, remedy = apart(error)
        happened = f'"{work.file.name}" {work.way} was not recorded: {happened}'
        raise MigrationError("; ".join(filter(None, (happened, stands, remedy)))) from error


def _afterwards(reason: BaseException, work: Work, course: Course) -> str:
    """Undo what can be, and say how things stand."""
    try:
        noted = course.journal.read()
        stand = [step for step in noted.values() if step.stands]
        if not stand:
            half = "".join(_half(ordinal, step) for ordinal, step in noted.items())
            return f"nothing of it was kept{half}"
        why = ""
        try:
            # Who only waited in vain keeps what may have taken hours.
            if not isinstance(reason, LockTimeout) and takeback.take_back(course):
                return "its steps before were undone"
        except Exception as error:
            resisted = error.happened if isinstance(error, LockTimeout) else told(error)
            why = f" (they could not be undone: {resisted})"
            stand = [step for step in course.journal.read().values() if step.stands]
    except Exception as error:
        why = "" if told(error) == told(reason) else f" ({told(error)})"
        return f"the next {work.way} sees what stands, and goes on from there{why}"
    if any(step.undoing for step in stand):
        return f"the next {work.way} finishes undoing its steps{why}"
    done = sum(step.done for step in stand)
    part = f" and a part of step {done + 1}" if done < len(stand) else ""
    return (
        f"{done} of its {len(work.steps)} steps{part} stand, and the next {work.way} goes on with "
        f"step {done + 1}{why}"
    )


def _half(ordinal: int, step: Noted) -> str:
    if any(read(text).commits for text in step.statements):
        return f", but for what its step {ordinal} has committed"
    if any(leftovers.unknown(read(text)) for text in step.statements):
        return f", but whether its step {ordinal} was done before is not known"
    return ", but for what is half made"


def _tell(work: Work, course: Course) -> None:
    """Report what stands, if the session can still be asked; the reason is told by others."""
    with suppress(Exception):
        noted = course.journal.read().values()
        done, partly = sum(n.done for n in noted), any(n.text and not n.done for n in noted)
        if any(n.undoing for n in noted):
            course.ground.report(
                f'"{work.file.name}" was being undone, and the next {work.way} finishes that'
            )
        elif done == len(work.steps):
            course.ground.report(
                f'all steps of "{work.file.name}" stand, the next {work.way} records it'
            )
        else:
            course.ground.report(
                f'{done} of the {len(work.steps)} steps of "{work.file.name}" stand, and the next '
                f"{work.way} goes on with step {done + 1}{', in its middle' if partly else ''}"
            )


def _idle(database: PostgresqlDatabase) -> bool:
    connection: Any = database.connection()
    return bool(connection.info.transaction_status == TRANSACTION_STATUS_IDLE)


def _transaction(database: PostgresqlDatabase) -> object:
    return database.execute_sql("SELECT pg_current_xact_id()::text").fetchone()[0]
