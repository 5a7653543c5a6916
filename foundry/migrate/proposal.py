"""Compare a database with its models, and write down what leads from one to the other."""

from __future__ import annotations

import gc
import os
import secrets
import sysconfig
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import psycopg2
from peewee import PeeweeException

from foundry.database import Target
from foundry.errors import FoundryError, HistoryConflict, MigrationError
from foundry.migrate import catalog
from foundry.migrate.difference import entries
from foundry.migrate.failure import told
from foundry.migrate.files import MigrationFile, number_of, read_directory
from foundry.migrate.history import State, refuse_edits
from foundry.migrate.objects import Constraint, Place, Table
from foundry.migrate.plan import Asked, plan
from foundry.migrate.project import Project
from foundry.migrate.render import RenderedFile, checked, files
from foundry.migrate.replay import Setting, replayed
from foundry.migrate.rules import Context
from foundry.migrate.runner import Runner
from foundry.migrate.shadow import Wanted, record, wanted
from foundry.migrate.snapshot import Snapshot
from foundry.migrate.spelling import printed
from foundry.migrate.steps import Plan
from foundry.migrate.verify import Check, Level


@dataclass(frozen=True, slots=True, kw_only=True)
class Proposal:
    """A database, what its models want of it, and the plan between them."""

    live: Snapshot
    plan: Plan
    context: Context
    setting: Setting
    again: Callable[[Asked], Plan]
    """Makes the plan with what a server says of the renames."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Written:
    """Files that were written, and why they could not be tried out, if so."""

    paths: tuple[Path, ...] = ()
    untried: str | None = None
    plan: Plan = field(default_factory=Plan)
    """What they do: the plan of the proposal, or what a server made of its renames."""


@contextmanager
def _uncollected() -> Iterator[None]:
    """Let the collector of cycles rest: a snapshot is many small objects, and no cycle."""
    was = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was:
            gc.enable()


@_uncollected()
def propose(
    runner: Runner,
    project: Project,
    target: Target,
    *,
    dev_url: str | None = None,
    prune: bool = False,
) -> Proposal:
    """Return what leads from the database to the models; with `prune` made tables go, too."""
    database = runner.database
    live, path = _live(runner)
    version = catalog.server_version(database)
    there = {p.name: p.there for p in runner.progress()}
    found = wanted(
        database,
        project.schema,
        live=live,
        externals=there,
        options=project.settings.options,
        dev_url=dev_url,
        recall=runner.history.recall,
    )
    planned = partial(
        plan,
        live,
        found.snapshot,
        renames=found.renames,
        managed=found.managed,
        prune=_prunable(runner, live, found, path[0]) if prune else frozenset(),
        version=version,
        default=path[0],
    )
    return Proposal(
        live=live,
        plan=planned(),
        again=lambda asked: planned(asked=asked),
        context=_context(live, version=version, namespace=path[0]),
        setting=Setting(target=target, version=version, path=tuple(path), dev_url=dev_url),
    )


def _context(live: Snapshot, *, version: int, namespace: str) -> Context:
    tables: list[Table] = list(live.kind(Table))
    return Context(
        version=version,
        namespace=namespace,
        partitioned=frozenset(t.place for t in tables if t.partition_by),
        defaults={
            t.partition_of: t.place for t in tables if t.partition_of and t.bound == "DEFAULT"
        },
        keys=tuple(c for c in live.kind(Constraint) if c.references),
    )


def _live(runner: Runner) -> tuple[Snapshot, Sequence[str]]:
    database = runner.database
    (path,) = database.execute_sql("SELECT pg_catalog.current_schemas(false)::text[]").fetchone()
    if not path:
        raise MigrationError("no namespace of search_path exists: create one of them")
    names = {name: name for name in catalog.namespaces(database)}
    return catalog.read(database, names, search_path=path), path


def drift(runner: Runner, project: Project, target: Target) -> Check | None:
    """Return whether database and models differ; None while files are pending, which says it."""
    if not project.schema.models or any(s.state is State.PENDING for s in runner.standings()):
        return None
    try:
        found = propose(runner, project, target)
    except (FoundryError, PeeweeException, psycopg2.Error) as error:
        return Check(
            name="drift", level=Level.NOTE, detail=f"could not be looked for: {told(error)}"
        )
    lines = entries(found.plan, found.context.namespace)
    if lines:
        number = f"{len(lines)} differences" if len(lines) > 1 else "1 difference"
        more = f"{number} from the models: run diff"
        return Check(name="drift", level=Level.BAD, detail=more)
    return Check(name="drift", level=Level.OK, detail="none: the database is what the models say")


@_uncollected()
def remember(runner: Runner, project: Project) -> str | None:
    """Keep what the models want in the history, so that `diff` need not build it.

    Only while nothing is pending; returns why nothing is kept, which is no error.
    """
    if not project.schema.models or any(s.state is State.PENDING for s in runner.standings()):
        return "no models, or files that are pending"
    history = runner.history
    try:
        live, _ = _live(runner)
        made = record(
            runner.database,
            project.schema,
            live=live,
            externals={p.name: p.there for p in runner.progress()},
            options=project.settings.options,
            recall=history.recall,
        )
        if made is not None:
            history.keep(*made)
    except (FoundryError, PeeweeException, psycopg2.Error) as error:
        return told(error)
    return None


def _prunable(runner: Runner, live: Snapshot, found: Wanted, default: str) -> frozenset[Place]:
    applied = [s.file for s in runner.standings() if s.state is State.APPLIED]
    ours = made_by(applied)
    external = {name for e in runner.settings.externals for name in e.tables}
    return frozenset(
        table.place
        for table in live.kind(Table)
        if table.place not in found.managed.tables
        and printed(table.place, default) in ours
        and table.name not in external
    )


def made_by(applied: Sequence[MigrationFile]) -> frozenset[str]:
    """Return the tables that applied files say they made, by the names they have now.

    The head `tables` has a pair for each: ("", name) made, (old, new) renamed, (name, "")
    dropped. A table that was there before the first file is never among them.
    """
    made: set[str] = set()
    for file in applied:
        for before, after in file.head.tables:
            if before and before not in made:
                continue
            made.discard(before)
            if after:
                made.add(after)
    return frozenset(made)


def refuse_pending(runner: Runner) -> None:
    """Raise HistoryConflict while files or external tables wait for `up`."""
    if not runner.settings.directory.is_dir():
        refuse_edits((), runner.history.entries())
        return
    waiting = [s.file.name for s in runner.standings() if s.state is State.PENDING]
    # Without its file, one that was begun could go neither on nor back.
    begun = {file.name for file in runner.begun()} & set(waiting)
    pending = waiting + [f"{p.name} tables" for p in runner.progress() if p.pending]
    if pending:
        raise HistoryConflict(
            f'"{pending[0]}" is not applied yet, and what it does would be generated a second '
            f"time: run up first{'' if begun else _or_delete(waiting)}"
        )


def _or_delete(names: Sequence[str]) -> str:
    if not names:
        return ""
    listed = ", ".join(f'"{name}"' for name in names)
    if len(names) > 3:
        listed = f'"{names[0]}" and the {len(names) - 1} files after it'
    return f", or delete {listed} if {'it is' if len(names) == 1 else 'they are'} not wanted"


def next_number(directory: Path) -> int:
    """Return the number that the next file of a directory gets."""
    known = read_directory(directory) if directory.is_dir() else ()
    return max((file.number for file in known), default=0) + 1


def generate(proposal: Proposal, name: str, directory: Path) -> Written:
    """Write the files of a plan, after trying them out; nothing when there is nothing to do."""
    checked(name)
    if not proposal.plan.stages:
        return Written(plan=proposal.plan)
    refuse_folder(directory)
    rendered = partial(
        files, name=name, first_number=next_number(directory), context=proposal.context
    )
    made, untried = replayed(
        proposal.setting, proposal.plan, rendered, proposal.live, again=proposal.again
    )
    paths = write(rendered(made, replayed=untried is None), directory)
    return Written(paths=paths, untried=untried, plan=made)


def refuse_folder(directory: Path) -> None:
    """Raise MigrationError for a folder that is not for writing migrations into."""
    folder = directory.resolve()
    installed = {Path(sysconfig.get_path(key)).resolve() for key in ("purelib", "platlib")}
    inside = any(part in ("site-packages", "dist-packages") for part in folder.parts)
    if inside or any(folder.is_relative_to(place) for place in installed):
        raise MigrationError(
            f'"{directory}" belongs to an installed package: name a folder of your own with '
            f"--directory"
        )
    there = next((p for p in (folder, *folder.parents) if p.exists()), folder)
    if not there.is_dir() or not os.access(there, os.W_OK | os.X_OK):
        raise MigrationError(
            f'"{directory}" cannot be written to: name another folder with --directory'
        )


def write(made: Sequence[RenderedFile], directory: Path) -> tuple[Path, ...]:
    """Write files, all of them or none, and never over or beside one of the same number."""
    written: list[Path] = []
    try:
        directory.mkdir(parents=True, exist_ok=True)
        _refuse_others(made, directory)
        for file in made:
            path = directory / file.filename
            _write(path, file.content.encode())
            written.append(path)
        # The other one may have looked just before: whoever comes second sees the first.
        _refuse_others(made, directory)
    except (OSError, HistoryConflict) as error:
        for path in written:
            with suppress(OSError):
                path.unlink()
        if isinstance(error, HistoryConflict):
            raise
        if isinstance(error, FileExistsError):
            raise _overtaken(error.filename2 or error.filename) from error
        raise MigrationError(
            f'"{directory}" cannot be written to ({error.strerror}): name another folder with '
            f"--directory"
        ) from error
    return tuple(written)


def _refuse_others(made: Sequence[RenderedFile], directory: Path) -> None:
    """Raise HistoryConflict where the folder has another file of these numbers, or a later one."""
    ours = {file.filename for file in made}
    first = min(number_of(name) for name in ours)
    for name in sorted(set(os.listdir(directory)) - ours):
        if name.endswith(".py") and number_of(name) >= first:
            raise _overtaken(name)


def _overtaken(name: str) -> HistoryConflict:
    return HistoryConflict(f'"{name}" was written by somebody else meanwhile: generate again')


def _write(path: Path, content: bytes) -> None:
    # Whole or not at all, and unlike a rename a link replaces nothing.
    draft = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    try:
        with draft.open("xb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.link(draft, path)
    finally:
        draft.unlink(missing_ok=True)
