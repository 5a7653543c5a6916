"""What `up` keeps of the models, and that `diff` takes it only where it is right."""

from __future__ import annotations

import secrets
from dataclasses import fields
from pathlib import Path
from typing import Any, get_args

import psycopg2
import pytest
from hypothesis import given
from hypothesis import strategies as st
from psycopg2 import sql
from support.migrations import rows, url_of
from support.server import Server

from foundry.database import Target
from foundry.migrate import recorded, shadow
from foundry.migrate.cli import main
from foundry.migrate.objects import Column, Object, Table
from foundry.migrate.recorded import Record, digest, dumped, loaded
from foundry.migrate.snapshot import Snapshot

TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=8)
PLACE = st.tuples(TEXT, TEXT)
TEXTS = st.lists(TEXT, max_size=3).map(tuple)
BY_TYPE: dict[str, st.SearchStrategy[Any]] = {
    "str": TEXT,
    "bool": st.booleans(),
    "int": st.integers(-(2**31), 2**31),
    "Place": PLACE,
    "Key": TEXTS,
    "Place | None": st.none() | PLACE,
    "tuple[str, str, str] | None": st.none() | st.tuples(TEXT, TEXT, TEXT),
    "tuple[str, ...]": TEXTS,
    "tuple[Key, ...]": st.lists(TEXTS, max_size=2).map(tuple),
    "tuple[tuple[str, str], ...]": st.lists(PLACE, max_size=2).map(tuple),
}
MODELS = """
from peewee import *

class Base(Model):
    class Meta:
        legacy_table_names = False
        # Of a plain table all is known without a record.
        constraints = [Check("true")]

class Author(Base):
    name = TextField()

class Book(Base):
    title = TextField(index=True)
    author = ForeignKeyField(Author)

MODELS = [Author, Book]
"""


def one_of(kind: type[Any]) -> st.SearchStrategy[Any]:
    """Any object of a class."""
    return st.builds(kind, **{f.name: BY_TYPE[str(f.type)] for f in fields(kind)})


SNAPSHOTS = st.lists(st.one_of(*map(one_of, get_args(Object))), max_size=8).map(Snapshot.of)


@given(SNAPSHOTS)
def test_a_record_gives_back_every_attribute(snapshot: Snapshot) -> None:
    """Those that equality leaves out as well."""
    found = loaded(dumped(Record(snapshot=snapshot)))
    assert found is not None
    assert {o.key: repr(o) for o in snapshot} == {o.key: repr(o) for o in found.snapshot}


@pytest.mark.parametrize("text", ["", "{}", "[]", "[1, 2]", "null", '["", {"Table": [[]]}]'])
def test_a_record_of_somebody_else_is_not_read(text: str) -> None:
    """Whatever stands there."""
    assert loaded(text) is None


def test_a_record_of_another_release_is_not_read(monkeypatch: pytest.MonkeyPatch) -> None:
    """It may have read the catalog otherwise."""
    text = dumped(Record(snapshot=Snapshot.of([Table(namespace="public", name="a")])))
    assert loaded(text) is not None
    monkeypatch.setattr(recorded, "release", lambda: "another")
    assert loaded(text) is None


def test_texts_are_told_apart_where_they_end() -> None:
    """Two statements are not the one they would make together."""
    assert 2 == len({digest(["ab", "c"]), digest(["a", "bc"])})


class Project:
    """A stranger's models, and the command on them, in this process."""

    def __init__(self, folder: Path, target: Target, capsys: pytest.CaptureFixture[str]) -> None:
        self.folder, self.target, self.capsys = folder, target, capsys
        self.models(MODELS)

    def models(self, text: str) -> None:
        # A module of another name each time: this process imports them all.
        self.module = f"kept_{secrets.token_hex(4)}"
        (self.folder / f"{self.module}.py").write_text(text)

    def __call__(self, *arguments: str, code: int | None = 0, url: str = "") -> str:
        models = ("--models", f"{self.module}:MODELS", "--directory", "m")
        found = main([*arguments, *models, "--database", url or url_of(self.target)])
        said = self.capsys.readouterr()
        assert code is None or code == found, said
        return said.out

    def run(self, statement: str | sql.Composable) -> None:
        connection = psycopg2.connect(**self.target.params)
        with connection, connection.cursor() as cursor:
            cursor.execute(statement)
        connection.close()


@pytest.fixture
def project(
    tmp_path: Path,
    empty: Target,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> Project:
    """One whose tables are there, and kept."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    made = Project(tmp_path, empty, capsys)
    made("generate", "first")
    made("up")
    return made


@pytest.fixture
def built(monkeypatch: pytest.MonkeyPatch) -> list[bool]:
    """A line for each shadow that is built."""
    found: list[bool] = []
    true = shadow._in_shadow

    def counted(*arguments: Any) -> Any:
        found.append(True)
        return true(*arguments)

    monkeypatch.setattr(shadow, "_in_shadow", counted)
    return found


def test_after_up_nothing_is_built(project: Project, built: list[bool]) -> None:
    """The history tells what the models want."""
    project("diff", "--check")
    assert [] == built


def test_what_was_kept_finds_what_was_changed_by_hand(project: Project, built: list[bool]) -> None:
    """The record is of the models and not of the tables."""
    project.run("ALTER TABLE book ALTER COLUMN title DROP NOT NULL")
    assert "title" in project("diff", "--check", code=1)
    assert [] == built


def test_the_plan_is_the_same_with_a_record_and_without(project: Project) -> None:
    """Words of the models and Python's defaults are in both."""
    project.run("ALTER TABLE book DROP COLUMN title; DROP INDEX IF EXISTS book_author_id")
    warm = project("diff", "--sql", "-q")
    project.run("DELETE FROM schema_migration_step WHERE step = -2")
    assert warm == project("diff", "--sql", "-q")


def test_a_changed_model_is_built(project: Project, built: list[bool]) -> None:
    """Its SQL is another."""
    project.models(MODELS.replace("title = TextField(", "title = CharField(max_length=70, "))
    assert "title" in project("diff", "--check", code=1)
    assert [True] == built


@pytest.mark.parametrize(
    "statement",
    [
        "CREATE FUNCTION f() RETURNS int LANGUAGE sql AS 'SELECT 1'",
        "CREATE TYPE mood AS ENUM ('glad')",
        "CREATE DOMAIN short AS text CHECK (length(value) < 3)",
        "CREATE TYPE pair AS (a int, b int)",
        "CREATE SCHEMA other",
        "ALTER DEFAULT PRIVILEGES GRANT SELECT ON TABLES TO PUBLIC",
        "DO $$BEGIN EXECUTE format('ALTER DATABASE %I SET transform_null_equals = on',"
        " current_database()); END$$",
        "DO $$BEGIN EXECUTE format('ALTER DATABASE %I SET search_path = public, pg_catalog',"
        " current_database()); END$$",
    ],
)
def test_where_the_same_sql_may_mean_something_else_it_is_built(
    project: Project, built: list[bool], statement: str
) -> None:
    """What a name may stand for, and settings that new tables take over."""
    project.run(statement)
    project("diff", "--check", code=None)
    assert [True] == built


def test_another_role_does_not_take_it(project: Project, server: Server, built: list[bool]) -> None:
    """Default privileges, for one, depend on who asks."""
    with server.role() as role:
        owner = sql.Identifier(role)
        project.run(sql.SQL("GRANT SELECT ON ALL TABLES IN SCHEMA public TO {}").format(owner))
        project("diff", url=server.url_as(role, project.target.dbname), code=None)
        project.run(sql.SQL("DROP OWNED BY {}").format(owner))
    assert [True] == built


def test_who_may_create_nothing_any_more_can_still_compare(
    project: Project, built: list[bool]
) -> None:
    """A session that only reads, here; without a record it cannot build."""
    url = url_of(project.target) + "&options=-c%20default_transaction_read_only%3Don"
    assert "no differences" in project("diff", "--check", url=url)
    assert [] == built


def test_up_that_can_keep_nothing_goes_on(project: Project, server: Server) -> None:
    """Without a word, unless it was asked."""
    with server.role() as role:
        owner = sql.Identifier(role)
        project.run("DELETE FROM schema_migration_step WHERE step = -2")
        project.run(
            sql.SQL("GRANT ALL ON ALL TABLES IN SCHEMA public TO {}; ").format(owner)
            + sql.SQL("GRANT ALL ON ALL SEQUENCES IN SCHEMA public TO {}").format(owner)
        )
        url = server.url_as(role, project.target.dbname)
        project("up", url=url)
        left = rows(project.target, "SELECT count(*) FROM schema_migration_step WHERE step = -2")
        project.run(sql.SQL("DROP OWNED BY {}").format(owner))
    assert [(0,)] == left


def test_what_is_kept_is_no_file_of_the_history(project: Project) -> None:
    """Status, down and up again go on as if it were not there."""
    assert [(1,)] == rows(
        project.target, "SELECT count(*) FROM schema_migration_step WHERE step = -2"
    )
    project("status")
    project("down", "--allow-data-loss")
    project("up")
    assert [("", 1)] == rows(
        project.target,
        "SELECT name, count(*) FROM schema_migration_step WHERE step = -2 GROUP BY name",
    )


def test_a_tampered_record_is_built_anew(project: Project, built: list[bool]) -> None:
    """Text that is no record counts for nothing."""
    project.run("UPDATE schema_migration_step SET note = '[]' WHERE step = -2")
    project("diff", "--check")
    assert [True] == built


def test_every_column_comes_back_as_the_shadow_says_it(project: Project) -> None:
    """The record is the server's own answer."""
    ((text,),) = rows(project.target, "SELECT note FROM schema_migration_step WHERE step = -2")
    found = loaded(text)
    assert found is not None
    columns = {c.name: c.type for c in found.snapshot.of_table(Column, ("public", "book"))}
    assert {"id": "integer", "title": "text", "author_id": "integer"} == columns
