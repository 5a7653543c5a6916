"""Is this database what it should be? Checks that read and change nothing."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from enum import Enum
from typing import Any

from peewee import DatabaseError, Field, ForeignKeyField
from peewee import Index as PeeweeIndex

from foundry import requirements
from foundry.declare import Index, MaterializedView, Probe, View, needs, relation
from foundry.errors import HistoryConflict
from foundry.migrate import queries
from foundry.migrate.history import State
from foundry.migrate.project import Project
from foundry.migrate.runner import Runner
from foundry.migrate.spelling import ident
from foundry.migrate.wording import stored
from foundry.url import is_local


class Level(str, Enum):
    """How a check came out; only BAD makes a database unhealthy."""

    OK = "ok"
    NOTE = "note"
    BAD = "bad"


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """One question and its answer."""

    name: str
    level: Level
    detail: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Relation:
    """A table or view that is there."""

    name: str
    kind: str
    columns: int
    indexes: int
    comment: str


class _Question:
    """The database and what is declared for it, asked together."""

    def __init__(self, runner: Runner, project: Project) -> None:
        self.runner = runner
        self.database = runner.database
        self.schema = project.schema
        self.there = {p.name: p.there for p in runner.progress()}
        self.options = project.settings.options

    def missing(self, thing: object) -> tuple[str, ...]:
        return requirements.missing(
            self.database, needs(thing), externals=self.there, options=self.options
        )

    def rows(self, query_name: str, **parameters: Any) -> list[Any]:
        return list(self.database.execute_sql(queries.text(query_name), parameters).fetchall())

    def tables(self) -> list[str]:
        """Declared tables, as the name an unqualified query would use."""
        return [relation(model) for model in self.schema.models]

    def external_tables(self) -> list[str]:
        return [t for e in self.schema.externals if self.there.get(e.name) for t in e.tables]

    def views(self) -> list[str]:
        """Declared views, materialised ones too, as tables() names tables."""
        return [
            ".".join(map(ident, filter(None, (o.namespace, o.name))))
            for o in self.schema.objects
            if isinstance(o, (View, MaterializedView)) and not self.missing(o)
        ]

    def indexes(self) -> list[tuple[str, str]]:
        """Declared indexes this server can have, as pairs of table and name."""
        found = [
            (relation(model), index)
            for model in self.schema.models
            for index in model._meta.fields_to_index()
        ]
        found += [(relation(o.model), o) for o in self.schema.objects if isinstance(o, Index)]
        return [
            (table, str(vars(index)["_name"]))
            for table, index in found
            if isinstance(index, PeeweeIndex) and not self.missing(index)
        ]

    def fields(self) -> list[tuple[str, Field]]:
        """Declared columns this server can have, with their tables."""
        return [
            (relation(model), field)
            for model in self.schema.models
            for field in model._meta.sorted_fields
            if not self.missing(field)
        ]


def relations(runner: Runner, project: Project) -> tuple[Relation, ...]:
    """Return the declared tables and views that are there, in declared order."""
    question = _Question(runner, project)
    names = [*question.tables(), *question.external_tables(), *question.views()]
    owners = {t: f"of {e.package}" for e in project.schema.externals for t in e.tables}
    return tuple(
        Relation(
            name=shown,
            kind=kind,
            columns=columns,
            indexes=indexes,
            comment=comment or owners.get(name, ""),
        )
        for name, shown, kind, columns, indexes, comment in question.rows("relations", names=names)
    )


def verify(runner: Runner, project: Project) -> tuple[Check, ...]:
    """Ask every question of a database; healthy when no check is BAD."""
    question = _Question(runner, project)
    return tuple(check for ask in _QUESTIONS for check in ask(question))


def _migrations(question: _Question) -> Iterator[Check]:
    try:
        standings = question.runner.standings()
    except HistoryConflict as error:
        yield _bad("migrations", str(error))
        return
    begun = question.runner.begun()
    for file in begun:
        yield _bad("migrations", file.told)
    middle = {file.name for file in begun}
    waiting = [s.file.name for s in standings if s.state is State.PENDING]
    pending = [name for name in waiting if name not in middle]
    applied = sum(s.state is State.APPLIED for s in standings)
    if pending or not begun:
        yield _check("migrations", f"{applied} applied", "not applied", pending)
    undigested = [s.file.name for s in standings if s.entry and s.entry.digest is None]
    if undigested:
        yield _note("migrations", f"recorded without a digest: {', '.join(undigested)}")
    for standing in standings:
        if standing.state is State.WAITING:
            yield _note(
                "migrations", f"{standing.file.name} waits for {', '.join(standing.missing)}"
            )


def _tables(question: _Question) -> Iterator[Check]:
    names = [*question.tables(), *question.external_tables(), *question.views()]
    there = {row[0] for row in question.rows("relations", names=names)}
    absent = [name for name in names if name not in there]
    yield _check("tables and views", f"{len(names)} of {len(names)} there", "missing", absent)
    fields = question.fields()
    columns = {
        "tables": [table for table, _ in fields],
        "columns": [stored(field.column_name) for _, field in fields],
    }
    lacking = [row[0] for row in question.rows("lacking_columns", **columns)]
    yield _check("columns", f"{len(fields)} there", "missing", lacking)


def _keys(question: _Question) -> Iterator[Check]:
    keys = [
        (table, stored(field.column_name), kind)
        for table, field in question.fields()
        for kind, wanted in (("p", field.primary_key), ("f", isinstance(field, ForeignKeyField)))
        if wanted
    ]
    tables, columns, kinds = (list(part) for part in zip(*keys, strict=True)) if keys else ([],) * 3
    lacking = question.rows("lacking_keys", tables=tables, columns=columns, kinds=kinds)
    yield _check("keys", f"{len(keys)} there", "missing", [row[0] for row in lacking])


def _indexes(question: _Question) -> Iterator[Check]:
    wanted = question.indexes()
    pairs = {"tables": [t for t, _ in wanted], "indexes": [n for _, n in wanted]}
    absent = [row[0] for row in question.rows("lacking_indexes", **pairs)]
    yield _check("declared indexes", f"{len(wanted)} there", "missing", absent)
    tables = [*question.tables(), *question.external_tables()]
    if not tables:
        # Without models every table is looked at: what a run left half made may be anywhere.
        tables = [row[0] for row in question.rows("all_tables")]
    invalid = [row[0] for row in question.rows("invalid_indexes", names=tables)]
    yield _check("indexes valid", "all", "invalid", invalid)
    open_constraints = [row[0] for row in question.rows("unvalidated_constraints", names=tables)]
    yield _check("constraints valid", "all", "not validated", open_constraints)


def _extensions(question: _Question) -> Iterator[Check]:
    declared = [*question.schema.objects]
    declared += [f for m in question.schema.models for f in m._meta.sorted_fields]
    wanted = {requirements.parse(n) for thing in declared for n in needs(thing)}
    for name in sorted(name for kind, name in wanted if kind == "extension"):
        installed, newest = (question.rows("extension", name=name) or [(None, None)])[0]
        if installed is None:
            yield _note(f"extension {name}", "not installed: what needs it is left out")
        elif installed != newest:
            yield _note(f"extension {name}", f"{installed}; the server has {newest}")
        else:
            yield Check(name=f"extension {name}", level=Level.OK, detail=installed)


def _externals(question: _Question) -> Iterator[Check]:
    for progress in question.runner.progress():
        name, package = f"{progress.name} tables", progress.external.package
        step = f"at step {progress.done - 1}" if progress.done else "not made yet"
        if progress.known is None:
            state = step if progress.done else "left out"
            yield _note(name, f"{state}: {package} is not installed here")
        elif progress.newer:
            yield _bad(name, f"{step}, {package} knows {progress.known - 1}: upgrade it")
        elif progress.pending:
            yield _bad(name, f"{step}, {package} has {progress.known - 1}: run up")
        else:
            yield Check(name=name, level=Level.OK, detail=f"{step}, as {package} wants")


def _probes(question: _Question) -> Iterator[Check]:
    for declared in question.schema.objects:
        if not isinstance(declared, Probe) or question.missing(declared):
            continue
        try:
            count = question.database.execute_sql(declared.query).fetchone()[0]
        except DatabaseError:
            # Tables that are missing, or closed to this role, are told of by other checks.
            yield _note(declared.name, "could not be asked")
            continue
        if count:
            yield _note(declared.name, declared.message.format(count=count))
        else:
            yield Check(name=declared.name, level=Level.OK, detail="none")


def _connection(question: _Question) -> Iterator[Check]:
    ((encrypted, version),) = question.rows("session")
    target = question.runner.database.target
    if encrypted or is_local(target.params, os.environ):
        how = "encrypted" if encrypted else "local, not encrypted"
        yield Check(name="connection", level=Level.OK, detail=f"{how}, PostgreSQL {version}")
    else:
        yield _bad("connection", "not encrypted: remove sslmode=disable from the URL")


def _privileges(question: _Question) -> Iterator[Check]:
    tables = [*question.tables(), *question.external_tables()]
    lacking = question.rows("lacking_privileges", tables=tables, views=question.views())
    yield _check("privileges", "read and write", "this role cannot", [row[0] for row in lacking])


_QUESTIONS: tuple[Callable[[_Question], Iterator[Check]], ...] = (
    _connection,
    _migrations,
    _tables,
    _keys,
    _indexes,
    _extensions,
    _externals,
    _probes,
    _privileges,
)


def _check(name: str, good: str, bad: str, culprits: list[str]) -> Check:
    if culprits:
        return _bad(name, f"{bad}: {', '.join(culprits)}")
    return Check(name=name, level=Level.OK, detail=good)


def _bad(name: str, detail: str) -> Check:
    return Check(name=name, level=Level.BAD, detail=detail)


def _note(name: str, detail: str) -> Check:
    return Check(name=name, level=Level.NOTE, detail=detail)
