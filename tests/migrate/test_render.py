"""Rendered files say exactly what the steps say, whatever the names are."""

from __future__ import annotations

import ast
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from peewee import PostgresqlDatabase
from playhouse.migrate import SchemaMigrator
from playhouse.migrations import Runner as StockRunner
from support.migrations import rows

from foundry.database import Target
from foundry.errors import DeclarationError
from foundry.migrate import render
from foundry.migrate.files import MigrationFile, read_directory
from foundry.migrate.objects import Column, Constraint, Enum, Extension, Table
from foundry.migrate.render import OPERATIONS, RenderedFile, checked, files
from foundry.migrate.rules import Context
from foundry.migrate.snapshot import Snapshot
from foundry.migrate.spelling import literal, quote
from foundry.migrate.steps import HOLE, Call, Check, Plan, Stage, Step

CONTEXT = Context(version=180000)
NOTHING = Snapshot.of(())
T = ("public", "messages")
NOTE = Column(table=T, name="note", type="text")
TABLE = Table(namespace="public", name="messages")


def stage(*up: Step, down: Sequence[Step] = (), online: bool = False, **rest: Any) -> Stage:
    return Stage(online=online, before=NOTHING, after=NOTHING, up=up, down=tuple(down), **rest)


def step(sql: str, action: str = "add column", after: Any = NOTE, **rest: Any) -> Step:
    return Step(action=action, sql=sql, after=after, **rest)


def rendered(*stages: Stage, name: str = "step", **rest: Any) -> tuple[RenderedFile, ...]:
    return files(Plan(stages=stages), name, 2, context=CONTEXT, **rest)


class Sent(PostgresqlDatabase):
    """Takes statements as psycopg2 does, and keeps what a server would be sent."""

    def __init__(self) -> None:
        super().__init__("none", autoconnect=False)
        self.statements: list[str] = []

    def execute_sql(self, sql: str, params: Any = None) -> Any:
        if "information_schema" in sql:
            return self
        self.statements.append(sql % tuple(params or ()))
        return self

    def fetchall(self) -> list[Any]:
        return []


def sent(content: str, direction: str = "up") -> list[str]:
    """Run a file as playhouse does; returns the statements."""
    module = ModuleType("file")
    exec(compile(content, "file", "exec"), module.__dict__)
    database = Sent()
    getattr(module, direction)(SchemaMigrator.from_database(database), database)
    return database.statements


def read(folder: Path, *found: RenderedFile) -> tuple[MigrationFile, ...]:
    for file in found:
        (folder / file.filename).write_text(file.content, encoding="utf-8")
    return read_directory(folder)


def test_a_file_reads_like_a_file_somebody_wrote() -> None:
    """Operations where playhouse says the same, SQL elsewhere, and the way back."""
    added = step('ALTER TABLE "messages" ADD COLUMN "note" text')
    dropped = Step(
        action="drop column",
        sql='ALTER TABLE "messages" DROP COLUMN "note"',
        before=NOTE,
        call=Call(
            name="drop_column", arguments=("messages", "note"), keywords=(("cascade", False),)
        ),
    )
    (file,) = rendered(stage(added, down=[dropped]))
    assert "0002_step" == file.name
    assert (
        '"""Add column messages.note."""\n'
        "\n"
        "down_loses = ('column messages.note and its values',)\n"
        "locks = (('messages', 'ACCESS EXCLUSIVE', 'instant'),)\n"
        "\n"
        "\n"
        "def up(migrator, db):\n"
        "    migrator.migrate(\n"
        '        migrator.sql(\'ALTER TABLE "messages" ADD COLUMN "note" text\'),\n'
        "    )\n"
        "\n"
        "\n"
        "def down(migrator, db):\n"
        "    migrator.migrate(\n"
        "        migrator.drop_column('messages', 'note', cascade=False),\n"
        "    )\n"
    ) == file.content


def test_create_table_stands_below_each_other() -> None:
    """One literal a line, and the text as it was."""
    sql = 'CREATE TABLE "messages" (\n    "id" bigint NOT NULL,\n    "note" text\n)'
    (file,) = rendered(stage(step(sql, "create table", TABLE, standing=False)))
    assert (
        "        migrator.sql(\n"
        "            'CREATE TABLE \"messages\" (\\n'\n"
        "            '    \"id\" bigint NOT NULL,\\n'\n"
        "            '    \"note\" text\\n'\n"
        "            ')'\n"
        "        ),\n"
    ) in file.content
    assert [sql] == sent(file.content)
    assert "locks" not in file.content


def test_files_of_one_plan_are_numbered_and_grouped(tmp_path: Path) -> None:
    """What does not run in a transaction is a file of its own, and so are the drops."""
    drop = Step(action="drop column", sql="DROP", before=NOTE)
    index = step("CREATE INDEX", "create index concurrently")
    found = read(tmp_path, *rendered(stage(step("A")), stage(index, online=True), stage(drop)))
    assert ["0002_step", "0003_step_online", "0004_step_drop"] == [f.name for f in found]
    assert [True, False, True] == [f.head.atomic for f in found]
    assert {"0002_step"} == {f.head.group for f in found}
    assert ("column messages.note and its values",) == found[2].head.loses
    (alone,) = rendered(stage(index, online=True))
    assert ("0002_step", False) == (alone.name, "group" in alone.content)


def test_heads_are_read_back(tmp_path: Path) -> None:
    """By the reader that the runner uses."""
    check = Check(name="messages_note_check", query="SELECT id FROM messages\nWHERE note = '%'")
    extension = step("CREATE EXTENSION", "create extension", Extension(name="vector"))
    (file,) = read(
        tmp_path,
        *rendered(
            stage(step("A"), extension, checks=(check,), requires=("extension:vector",)),
            replayed=False,
        ),
    )
    assert ((check.name, check.query),) == file.head.checks
    assert ("extension:vector",) == file.head.requires
    assert not file.head.replayed
    assert "" == file.head.group


def test_what_the_author_has_to_write_stands_at_the_top() -> None:
    """As NULL, which no NOT NULL lets pass; the step uses what is written there."""
    sql = f'UPDATE "messages" SET "note" = {HOLE} WHERE "note" IS NULL'
    (file,) = rendered(stage(step(sql, "fill column")))
    assert '\nFILL_MESSAGES_NOTE = "NULL"  # write the SQL expression' in file.content
    assert [sql.replace(HOLE, "NULL")] == sent(file.content)
    written = file.content.replace('"NULL"', "\"'50 %%' || id\"")
    assert [sql.replace(HOLE, "'50 %' || id")] == sent(written)


def test_constants_of_two_columns_have_two_names() -> None:
    """Though their names differ in nothing that a Python name can hold."""
    steps = [
        step(f"{name} {HOLE}", "fill column", Column(table=T, name=name, type="text"))
        for name in ("né", "nö", "né")
    ]
    (file,) = rendered(stage(*steps))
    assert ["né NULL", "nö NULL", "né NULL"] == sent(file.content)
    assert 2 == file.content.count('= "NULL"')


@pytest.mark.parametrize("name", ["", "a b", "ä", "a/b", "../a", "a.py", "a\n", "x" * 101])
def test_names_of_files_are_plain(name: str) -> None:
    """A name is part of a path."""
    with pytest.raises(DeclarationError, match="cannot be the name of a migration"):
        checked(name)


def test_half_a_surrogate_pair_is_refused() -> None:
    """No server can hold it and no file either."""
    with pytest.raises(DeclarationError, match="surrogate"):
        rendered(stage(step("COMMENT '\ud800'")))


def test_an_empty_file_has_both_ways(tmp_path: Path) -> None:
    """Neither can be run until somebody writes it."""
    (file,) = read(tmp_path, render.empty("by_hand", 7))
    assert (7, "0007_by_hand") == (file.number, file.name)
    for way in ("up", "down"):
        with pytest.raises(NotImplementedError, match="write "):
            sent(file.content.decode(), way)


texts = st.text(
    st.one_of(
        st.sampled_from("'\"\\%{}#$\n\r\t ();.,:-_aZ0\u2028\u0085\u202eé漢"),
        st.characters(exclude_categories=["Cs"], exclude_characters="\0"),
    ),
    min_size=1,
    max_size=30,
) | st.sampled_from(
    [
        '"""',
        "'''",
        "\\",
        "\\'",
        "%s",
        "%(a)s",
        "%%",
        '")\nimport os\n#',
        "${x}",
        "{0}",
        "\\N{DEGREE}",
    ]
)


@st.composite
def steps(draw: st.DrawFn) -> Step:
    """A step about hostile names, with or without an operation of playhouse's."""
    table, name, text = draw(texts), draw(texts), draw(texts)
    column = Column(table=("public", table), name=name, type="text", default=literal(text))
    alter = f"ALTER TABLE {quote(table)} "
    choices = {
        "add column": (f"ADD COLUMN {quote(name)} text DEFAULT {literal(text)}", None),
        "drop column": (f"DROP COLUMN {quote(name)}", ("drop_column", (("cascade", False),))),
        "set not null": (f"ALTER COLUMN {quote(name)} SET NOT NULL", ("add_not_null", ())),
        "drop not null": (f"ALTER COLUMN {quote(name)} DROP NOT NULL", ("drop_not_null", ())),
        "drop default": (f"ALTER COLUMN {quote(name)} DROP DEFAULT", ("drop_column_default", ())),
        "drop constraint": (f"DROP CONSTRAINT {quote(name)}", ("drop_constraint", ())),
    }
    action = draw(st.sampled_from(sorted(choices)))
    sql, operation = choices[action]
    constraint = Constraint(table=("public", table), name=name, kind="CHECK", definition=text)
    about = constraint if "constraint" in action else column
    call = None
    if operation and draw(st.booleans()):
        call = Call(name=operation[0], arguments=(table, name), keywords=operation[1])
    before = about if "drop" in action else None
    return Step(action=action, sql=alter + sql, before=before, after=about, call=call)


@st.composite
def stages(draw: st.DrawFn) -> Stage:
    labels = tuple(draw(st.lists(texts, max_size=3)))
    enum = Enum(namespace=draw(texts), name=draw(texts), labels=labels)
    sql = f"CREATE TYPE {quote(enum.name)} AS ENUM ({', '.join(map(literal, labels))})"
    up = draw(st.lists(steps(), max_size=4))
    checks = tuple(Check(name=n, query=q) for n, q in draw(st.lists(st.tuples(texts, texts))))
    made = Step(action="create enum", sql=sql, after=enum)
    down = draw(st.lists(steps(), max_size=3))
    return stage(made, *up, down=down, online=draw(st.booleans()), checks=checks)


def calls(tree: ast.AST) -> set[str]:
    return {ast.unparse(n.func) for n in ast.walk(tree) if isinstance(n, ast.Call)}


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(found=st.lists(stages(), min_size=1, max_size=3))
def test_hostile_text_stays_text(found: list[Stage], tmp_path: Path) -> None:
    """The file parses, calls nothing but operations, and sends what the steps say."""
    every = rendered(*found)
    for old in tmp_path.iterdir():
        old.unlink()
    for file, origin in zip(read(tmp_path, *every), found, strict=True):
        tree = ast.parse(file.content)
        allowed = {"migrator.migrate", "migrator.sql", *(f"migrator.{o}" for o in OPERATIONS)}
        assert calls(tree) <= allowed
        assert ["up", "down"] == [n.name for n in tree.body if isinstance(n, ast.FunctionDef)]
        assert not [n for n in ast.walk(tree) if isinstance(n, (ast.Import, ast.ImportFrom))]
        assert tuple((c.name, c.query) for c in origin.checks) == file.head.checks
        assert origin.online is not file.head.atomic
        assert [s.sql for s in origin.up] == sent(file.content.decode())
        assert [s.sql for s in origin.down] == sent(file.content.decode(), "down")


HOSTILE = 'a%s"b\'\\\n"""#{x}%%'


def test_a_server_gets_what_the_steps_say(empty: Target, tmp_path: Path) -> None:
    """Through playhouse's own loader and psycopg2."""
    made = step(f"CREATE TABLE {quote(HOSTILE)} (id int)", "create table", TABLE)
    told = step(f"COMMENT ON TABLE {quote(HOSTILE)} IS {literal(HOSTILE)}", "comment", TABLE)
    (file,) = rendered(stage(made, told))
    (tmp_path / file.filename).write_text(file.content, encoding="utf-8")
    assert ("0002_step",) == tuple(StockRunner(_database(empty), str(tmp_path)).up())
    query = "SELECT relname, obj_description(oid) FROM pg_class WHERE relname LIKE 'a%'"
    assert (HOSTILE, HOSTILE) in rows(empty, query)


def _database(target: Target) -> PostgresqlDatabase:
    words = {k: v for k, v in target.params.items() if k != "dbname"}
    return PostgresqlDatabase(target.dbname, **words)
