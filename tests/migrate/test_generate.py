"""`diff` and `generate` as their users meet them, on a database of a server."""

from __future__ import annotations

import json
import os
import re
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import psycopg2
import pytest
from support.migrations import Command, rows, tables, url_of, write
from support.server import Server

from foundry.database import Target
from foundry.errors import HistoryConflict, MigrationError
from foundry.migrate import proposal, replay
from foundry.migrate.files import read_directory
from foundry.migrate.render import RenderedFile

MODELS = """
from peewee import *

class Base(Model):
    class Meta:
        legacy_table_names = False

class Author(Base):
    name = TextField()

class Book(Base):
    title = TextField(index=True)
    author = ForeignKeyField(Author)

MODELS = [Author, Book]
"""


class Project:
    """A stranger's models and migrations, and the command on them."""

    def __init__(self, folder: Path, target: Target, command: Command) -> None:
        self.folder, self.target, self.command = folder, target, command
        self.number = 0
        self.models(MODELS)

    def models(self, text: str) -> None:
        # A module of another name each time: bytecode of one second is not told apart.
        self.number += 1
        (self.folder / f"things{self.number}.py").write_text(text)

    def __call__(self, *arguments: str, code: int | None = 0, **environment: str):  # type: ignore[no-untyped-def]
        return self.command(
            *arguments,
            *("--models", f"things{self.number}:MODELS", "--directory", "m"),
            *("--database", url_of(self.target)),
            code=code,
            **environment,
        )

    @property
    def files(self) -> list[str]:
        return [f.name for f in read_directory(self.folder / "m")]

    def run(self, statement: str) -> None:
        connection = psycopg2.connect(**self.target.params)
        with connection, connection.cursor() as cursor:
            cursor.execute(statement)
        connection.close()


@pytest.fixture
def project(tmp_path: Path, empty: Target, command: Command) -> Project:
    return Project(tmp_path, empty, command)


@pytest.fixture
def settled(project: Project) -> Project:
    """One whose tables are there, with a row each."""
    project("generate", "first")
    project("up", "-q")
    project.run(
        "INSERT INTO author (name) VALUES ('a');INSERT INTO book (title, author_id) VALUES ('b', 1)"
    )
    return project


def test_a_new_project_goes_there_and_back(project: Project) -> None:
    """The folder is made, the path printed, and nothing differs afterwards."""
    shown = project("diff", "--check", code=1)
    assert "+ table author\n" in shown.out
    assert ["m/0001_first.py"] == project("generate", "first", "-q").out.splitlines()
    project("up", "-q")
    assert "no differences" in project("diff", "--check").out
    assert "nothing to generate" in project("generate", "second").out
    assert ["0001_first"] == project.files
    project("down", "-q", "--allow-data-loss")
    assert set() == tables(project.target) - {"schema_migration", "schema_migration_step"}


def test_what_differs_is_shown_object_by_object(settled: Project) -> None:
    """Added, dropped, changed and renamed; the SQL and the values, too."""
    text = MODELS.replace("title = TextField(index=True)", "pages = IntegerField(null=True)")
    text = text.replace("name = TextField()", "name = CharField(max_length=99, null=True)")
    settled.models(text)
    shown = settled("diff").out
    for line in ("+ column book.pages", "- column book.title", "~ column author.name"):
        assert line in shown
    assert "type: text → character varying(99)" in shown
    sql = settled("diff", "--sql", "-q").out
    assert 'ALTER TABLE "book" ADD COLUMN "pages" ' in sql
    values = json.loads(settled("diff", "--json").out)
    assert {"add", "drop", "alter"} == {c["change"] for c in values["changes"]}
    assert ["column book.title and its values"] == values["files"][-1]["loses"]


def test_generate_says_what_is_lost_and_locked(settled: Project) -> None:
    """And up asks for consent."""
    settled.models(
        MODELS.replace("name = TextField()", "name = TextField(unique=True)").replace(
            "title = TextField(index=True)", ""
        )
    )
    said = settled("generate", "second").out
    assert "loses: column book.title and its values" in said
    assert any(line.split()[:2] == ["author", "SHARE"] for line in said.splitlines())
    refused = settled("up", code=3)
    assert "--allow-data-loss" in refused.err
    settled("up", "--allow-data-loss")
    settled("diff", "--check")
    heads = {f.name: f.head for f in read_directory(settled.folder / "m")}
    assert all(h.replayed for h in heads.values())
    assert {"0002_second"} == {h.group for n, h in heads.items() if n > "0002"}


def test_a_renamed_column_is_an_arrow(settled: Project) -> None:
    """Stated in the model, never guessed; a likely one is named."""
    text = MODELS.replace("title = TextField(index=True)", "named = TextField(index=True)")
    settled.models(text)
    assert "if that is a rename" in settled("diff").out
    author = "    author = ForeignKeyField(Author)\n"
    meta = "    class Meta:\n        renames = {'named': 'title'}\n"
    settled.models(text.replace(author, author + meta))
    assert "→ column book.title → book.named" in settled("diff").out
    settled("generate", "renamed")
    settled("up", "-q")
    assert [("b",)] == rows(settled.target, "SELECT named FROM book")


def test_pending_files_come_first(project: Project) -> None:
    """What they do would be generated a second time."""
    project("generate", "first", "-q")
    refused = project("generate", "second", code=3)
    assert 1 == len(refused.err.splitlines())
    assert '"0001_first" is not applied yet' in refused.err
    assert 'or delete "0001_first" if it is not wanted' in refused.err
    assert ["0001_first"] == project.files


def test_an_applied_file_that_is_gone_is_refused(settled: Project) -> None:
    """Its folder may have been mistyped."""
    for path in (settled.folder / "m").iterdir():
        path.unlink()
    (settled.folder / "m").rmdir()
    assert "--directory" in settled("generate", "second", code=3).err


def test_an_empty_file_is_for_writing_by_hand(project: Project) -> None:
    """With the next number, and without asking the database."""
    assert ["m/0001_by_hand.py"] == project("generate", "by_hand", "--empty", "-q").out.splitlines()
    assert ["m/0002_again.py"] == project("generate", "again", "--empty", "-q").out.splitlines()
    stopped = project("up", "-q", code=2).err
    assert '"0001_by_hand" up failed' in stopped
    assert "write here what the file does" in stopped
    for name in project.files:
        write(project.folder / "m", name, "SELECT 1")
    project("up", "-q")


@pytest.mark.parametrize("name", ["a b", "../a", "ä"])
def test_a_name_that_is_no_file_name_is_refused(project: Project, name: str) -> None:
    """Before anything is looked at."""
    for more in ((), ("--empty",)):
        assert "cannot be the name of a migration" in project("generate", name, *more, code=2).err


def test_prune_drops_what_an_earlier_file_made(settled: Project) -> None:
    """And nothing that somebody else made."""
    settled.run("CREATE TABLE others (id int)")
    settled.models(MODELS.replace("[Author, Book]", "[Author]"))
    assert "nothing to generate" in settled("generate", "second").out
    said = settled("generate", "third", "--prune").out
    assert "loses: table book and its rows" in said
    settled("up", "-q", "--allow-data-loss")
    assert "book" not in tables(settled.target)
    assert {"others", "author"} <= tables(settled.target)
    assert "nothing to generate" in settled("generate", "fourth", "--prune").out


def test_a_role_without_createdb_says_what_was_not_tried(
    project: Project, server: Server, command: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The head says it as well."""
    with server.role() as role:
        project.run(
            f'GRANT ALL ON DATABASE "{project.target.dbname}" TO "{role}";'
            f'GRANT ALL ON SCHEMA public TO "{role}"'
        )
        try:
            ended = command(
                "generate", "first", "--models", "things1:MODELS", "--directory", "m",
                "--database", server.url_as(role, project.target.dbname),
                code=0, FOUNDRY_PGBIN=str(project.folder),
            )  # fmt: skip
        finally:
            project.run(f'DROP OWNED BY "{role}"')
    assert "not tried out (replayed = False): " in ended.out
    (file,) = read_directory(project.folder / "m")
    assert not file.head.replayed


@pytest.mark.parametrize("url", ["postgresql://nobody@127.0.0.1:1/none", ""])
def test_a_dev_url_that_does_not_work_is_an_error(project: Project, url: str) -> None:
    """What was named is not passed over; nothing is written."""
    ended = project("generate", "first", "--dev-url", url, code=2)
    assert "--dev-url" in ended.err
    assert not (project.folder / "m").exists()


def test_markup_in_names_is_text(project: Project) -> None:
    """Neither rich nor a terminal acts on it."""
    project.models(
        MODELS.replace(
            "class Author(Base):",
            "class Author(Base):\n    class Meta:\n        table_name = '[red]a\\x1b[31m[/x]'",
        )
    )
    assert '+ table "[red]a\\x1b[31m[/x]"' in project("diff").out


def test_nothing_is_written_into_an_installed_package(tmp_path: Path) -> None:
    """Nor where the folder cannot be made."""
    with pytest.raises(MigrationError, match="--directory"):
        proposal.refuse_folder(tmp_path / "lib" / "site-packages" / "app" / "migrations")
    (tmp_path / "file").touch()
    with pytest.raises(MigrationError, match="--directory"):
        proposal.refuse_folder(tmp_path / "file" / "m")
    proposal.refuse_folder(tmp_path / "new" / "m")


def test_no_file_is_written_over_and_a_group_is_written_whole(tmp_path: Path) -> None:
    """Two people may generate at the same time."""
    (tmp_path / "0002_b.py").write_text("mine")
    made = [RenderedFile(name=f"000{n}_{c}", content="") for n, c in ((1, "a"), (2, "b"))]
    with pytest.raises(HistoryConflict, match="generate again"):
        proposal.write(made, tmp_path)
    assert ["0002_b.py"] == os.listdir(tmp_path)
    assert "mine" == (tmp_path / "0002_b.py").read_text()


def test_two_who_generate_at_once_never_share_a_number(tmp_path: Path) -> None:
    """The folder is what they share, and perhaps nothing else: one writes, or none."""
    barrier = threading.Barrier(4)

    def one(name: str) -> str:
        barrier.wait(20)
        try:
            proposal.write([RenderedFile(name=f"0005_{name}", content="")], tmp_path)
        except HistoryConflict as error:
            return str(error)
        return name

    with ThreadPoolExecutor(4) as pool:
        said = list(pool.map(one, "abcd"))
    there = [path.stem.removeprefix("0005_") for path in tmp_path.iterdir()]
    assert len(there) <= 1
    assert there == [name for name in said if len(name) == 1]
    assert all("generate again" in text for text in said if text not in there)


def test_files_of_somebody_who_came_first_are_not_written_beside(tmp_path: Path) -> None:
    """While the plan was tried out another one was written."""
    (tmp_path / "0005_theirs.py").write_text("theirs")
    made = [RenderedFile(name="0005_ours", content="")]
    with pytest.raises(HistoryConflict, match=r'"0005_theirs\.py" was written'):
        proposal.write(made, tmp_path)
    assert ["0005_theirs.py"] == os.listdir(tmp_path)


def test_stamp_says_what_a_database_lacks(project: Project) -> None:
    """A database that was there before is taken over with files made on an empty one."""
    project("generate", "first", "-q")
    project.run("CREATE TABLE author (id serial PRIMARY KEY, name text NOT NULL)")
    ended = project("stamp")
    assert "warning: " in ended.out
    assert "from the models: run diff" in ended.out
    project("generate", "second", "-q")
    project("up", "-q")
    assert "warning" not in project("stamp").out


def test_a_key_that_was_never_validated_is_a_line_of_the_difference(settled: Project) -> None:
    """What `--check` finds, `diff` shows."""
    settled.run(
        "ALTER TABLE book DROP CONSTRAINT book_author_id_fkey;"
        "ALTER TABLE book ADD CONSTRAINT book_author_id_fkey FOREIGN KEY (author_id)"
        " REFERENCES author (id) NOT VALID"
    )
    shown = settled("diff", "--check", code=1).out
    assert "~ constraint book_author_id_fkey of book\n    valid: no → yes" in shown


def test_a_new_table_is_one_line_and_a_function_has_its_arguments(
    empty: Target, command: Command
) -> None:
    """Comments of its columns are part of it."""
    lines = command("diff", "--database", url_of(empty), code=0).out.splitlines()
    assert "+ table messages" in lines
    assert [] == [line for line in lines if line.startswith("+ column")]
    functions = [line for line in lines if line.startswith("+ function")]
    assert [] == [line for line in functions if not line.endswith(")")]


def test_a_lock_is_one_row_for_all_files(settled: Project) -> None:
    """Which file takes it is in the files."""
    settled.models(
        MODELS.replace("title = TextField(index=True)", "")
        .replace("name = TextField()", "name = TextField()\n    key = UUIDField(default=uuid4)")
        .replace("from peewee import *", "from uuid import uuid4\nfrom peewee import *")
        .replace("author = F", "pages = IntegerField(null=True)\n    author = F")
    )
    said = settled("generate", "second").out.splitlines()
    locked = [re.split(" {2,}", line)[:2] for line in said if "EXCLUSIVE" in line]
    assert sorted(map(tuple, locked)) == sorted({tuple(row) for row in locked})
    assert any(line.split() == ["author", "ROW", "EXCLUSIVE", "fill"] for line in said)
    heads = [f.head for f in read_directory(settled.folder / "m")]
    assert any(("author", "ROW EXCLUSIVE", "fill") in head.locks for head in heads)


@pytest.mark.parametrize(
    ("what", "is_defect"),
    [
        ("GRANT SELECT ON author TO nobody_here", False),
        ("ALTER TABLE author ADD COLUMN price a_domain", False),
        ("ALTER TABLE author DROP CONSTRAINT no", True),
    ],
)
def test_only_a_role_or_type_that_is_missing_elsewhere_is_no_defect(
    project: Project, empty: Target, what: str, is_defect: bool
) -> None:
    """They are one SQLSTATE to PostgreSQL."""
    from foundry.migrate import Runner, load
    from foundry.migrate.render import files

    os.chdir(project.folder)
    loaded = load(models="things1:MODELS", directory="m")
    with Runner.opened(empty, loaded.settings) as runner:
        found = proposal.propose(runner, loaded, empty)
    (good,) = files(found.plan, "x", 1, context=found.context)
    content = good.content.replace("\n    )\n", f"\n        migrator.sql({what!r}),\n    )\n", 1)
    assert content != good.content
    odd = RenderedFile(name=good.name, content=content)
    if is_defect:
        with pytest.raises(MigrationError, match="report this"):
            replay.replayed(found.setting, found.plan, lambda plan: [odd], found.live)
        return
    _, untried = replay.replayed(found.setting, found.plan, lambda plan: [odd], found.live)
    assert "cannot be tried out" in str(untried)


def test_tables_are_followed_through_renames(tmp_path: Path) -> None:
    """One that was there before the first file is never among them."""
    heads = (
        "tables = (('', 'a'), ('', 'b'))",
        "tables = (('a', 'c'), ('old', 'new'), ('b', ''))",
    )
    for number, head in enumerate(heads, 1):
        write(tmp_path, f"000{number}_x", "SELECT 1", head=head)
    assert {"c"} == proposal.made_by(read_directory(tmp_path))


def test_a_file_that_does_not_do_what_the_plan_says_is_a_defect(
    project: Project, empty: Target
) -> None:
    """The file that was rendered is tried, not the steps."""
    from foundry.migrate import Runner, load
    from foundry.migrate.render import files

    os.chdir(project.folder)
    loaded = load(models="things1:MODELS", directory="m")
    with Runner.opened(empty, loaded.settings) as runner:
        found = proposal.propose(runner, loaded, empty)
    (good,) = files(found.plan, "x", 1, context=found.context)
    tried = replay.replayed(found.setting, found.plan, lambda plan: [good], found.live)
    assert (found.plan, None) == tried
    for content in (
        good.content.replace('"title" TEXT', '"title" VARCHAR'),
        good.content.replace("migrator.drop_table('book')", "migrator.sql('SELECT 1')"),
        good.content.replace("CREATE TABLE", "CREATE TABEL"),
    ):
        assert content != good.content
        bad = RenderedFile(name=good.name, content=content)
        with pytest.raises(MigrationError, match="report this"):
            replay.replayed(found.setting, found.plan, lambda plan, bad=bad: [bad], found.live)


def test_a_required_column_waits_for_its_value(settled: Project) -> None:
    """Refused before anything is changed while rows would get none; then they get it."""
    settled.models(
        MODELS.replace("name = TextField()", "name = TextField()\n    age = IntegerField()")
    )
    settled("generate", "second", "-q")
    refused = settled("up", code=3)
    assert 'id=1; write into the file what "FILL_AUTHOR_AGE" is' in refused.err
    assert [] == rows(settled.target, "SELECT FROM pg_attribute WHERE attname = 'age'")
    (path,) = [p for p in (settled.folder / "m").glob("*.py") if "FILL_" in p.read_text()]
    path.write_text(path.read_text().replace('"NULL"', '"length(name) + 5 %% 3"'))
    settled("up", "-q")
    assert [(3,)] == rows(settled.target, "SELECT age FROM author")
    settled("diff", "--check", "-q")
