"""Databases of a test of the differ, and the commands that are run on them."""

from __future__ import annotations

import ast
import io
import json
import shutil
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from dataclasses import dataclass, fields
from pathlib import Path
from types import ModuleType
from typing import Any

import peewee
import psycopg2

from foundry.database import Database, Target, connect, resolve
from foundry.declare import Schema
from foundry.migrate.cli import main
from support.migrations import Ended, rows, url_of
from support.server import Server

MODULE = "models_under_test"


@dataclass(frozen=True, slots=True, kw_only=True)
class Heads:
    """What the files of one `generate` say of themselves, together."""

    loses: tuple[str, ...] = ()
    down_loses: tuple[str, ...] = ()
    locks: tuple[tuple[str, str, str], ...] = ()
    checks: tuple[tuple[str, str], ...] = ()

    @property
    def all_losses(self) -> tuple[str, ...]:
        """What is lost on either way."""
        return (*self.loses, *self.down_loses)

    @property
    def works(self) -> set[tuple[str, str]]:
        """Table and work of every lock that is held for longer than an instant.

        Those of filled columns go without saying: the actions name them.
        """
        return {(table, work) for table, _, work in self.locks if work not in ("instant", "fill")}


class Desk:
    """Databases with one folder of migrations; all is gone when it closes."""

    def __init__(self, server: Server) -> None:
        self._server = server
        self._names: list[str] = []
        self.folder = Path(tempfile.mkdtemp(prefix="foundry-differ-"))

    def database(self) -> Target:
        """Return an empty database."""
        self._names.append(self._server.create())
        return resolve(self._server.url(self._names[-1]))

    @contextmanager
    def pool(self, target: Target) -> Iterator[Database]:
        """A connection that models can be bound to."""
        database = connect(self._server.url(target.dbname), bind=False)
        try:
            yield database
        finally:
            database.close_all()

    def has(self, extension: str) -> bool:
        """Whether the server could have the extension."""
        found = "SELECT FROM pg_available_extensions WHERE name = %s"
        return bool(rows(resolve(self._server.url("postgres")), found, extension))

    def generate(self, target: Target, models: object, name: str = "step") -> Ended:
        """Write the files that lead from the database to the models."""
        return self._run(target, models, "generate", name)

    def actions(self, target: Target, models: object) -> tuple[str, ...]:
        """Return what `diff` says would be done, in order."""
        ended = self._run(target, models, "diff", "--json")
        assert 0 == ended.code, ended
        files = json.loads(ended.out)["files"]
        return tuple(action for file in files for action in file["actions"])

    def differs(self, target: Target, models: object) -> bool:
        """Whether `diff --check` finds anything."""
        ended = self._run(target, models, "diff", "--check")
        assert ended.code in {0, 1}, ended
        return ended.code == 1

    def up(self, target: Target, *options: str) -> Ended:
        """Apply the files."""
        return self._run(target, None, "up", "--allow-data-loss", *options)

    def down(self, target: Target) -> Ended:
        """Revert all files, the newest first."""
        first = self.files()[0].stem
        return self._run(target, None, "down", "--allow-data-loss", "--to", first)

    def files(self) -> list[Path]:
        """The migration files, in order."""
        return sorted(self.folder.glob("[0-9]*.py"))

    def text(self) -> str:
        """The files, one after the other, for a failing test to show."""
        return "\n".join(f"# {path.name}\n{path.read_text()}" for path in self.files())

    def heads(self) -> Heads:
        """Read the heads of all files."""
        found: dict[str, tuple[Any, ...]] = {}
        for path in self.files():
            for node in ast.parse(path.read_text()).body:
                if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name):
                    name = node.targets[0].id
                    if name in {field.name for field in fields(Heads)}:
                        found[name] = found.get(name, ()) + tuple(ast.literal_eval(node.value))
        return Heads(**found)

    def close(self) -> None:
        """Drop the databases and the folder."""
        for name in self._names:
            self._server.drop(name)
        self._names.clear()
        shutil.rmtree(self.folder)

    def _run(self, target: Target, models: object, *words: str) -> Ended:
        # A Schema is false when it is empty, as a list is; None is a run about files alone.
        module = ModuleType(MODULE)
        module.SCHEMA = Schema(models=()) if models is None else models  # type: ignore[attr-defined]
        sys.modules[MODULE] = module
        out, err = io.StringIO(), io.StringIO()
        options = ("--models", f"{MODULE}:SCHEMA", "--directory", str(self.folder), "--no-color")
        try:
            with redirect_stdout(out), redirect_stderr(err):
                code = main([*words, "--database", url_of(target), "--wait", "20", *options])
        except SystemExit as end:
            code = int(end.code or 0)
        finally:
            del sys.modules[MODULE]
        return Ended(code=code, out=out.getvalue(), err=err.getvalue())


def execute(target: Target, *statements: str) -> None:
    """Run statements in one transaction of a connection of their own."""
    session = psycopg2.connect(**target.params)
    try:
        with session, session.cursor() as cursor:
            for statement in filter(None, statements):
                cursor.execute(statement)
    finally:
        session.close()


def build(desk: Desk, target: Target, schema: Schema) -> None:
    """Create everything a schema declares, without the differ."""
    models: Sequence[type[peewee.Model]] = schema.models
    with desk.pool(target) as pool, pool.bind_ctx(models, bind_refs=False, bind_backrefs=False):
        schema.create_all(pool)
        for model in models:
            for field in model._meta.sorted_fields:
                if isinstance(field, peewee.ForeignKeyField) and field.deferred:
                    model._schema.create_foreign_key(field)  # type: ignore[attr-defined]
