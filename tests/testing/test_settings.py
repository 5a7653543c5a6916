"""What the plugin is told by options, ini files and variables, and what it refuses."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from testing.test_plugin import COUNTS, MIGRATION, MODELS, NOTHING_LEFT, TEMPLATES

from foundry import embedded

Run = Callable[..., Any]
Ask = Callable[..., list[tuple[Any, ...]]]


def test_models_without_a_table_are_named(stranger: Run, tmp_path: Path, ask: Ask) -> None:
    """Migrations of another project would do for none of them; no template is left."""
    (tmp_path / "app.py").write_text(
        MODELS.replace("[Note]", "[Note, Person]").replace(
            "MODELS =", "class Person(Note):\n    pass\n\nMODELS ="
        )
    )
    (tmp_path / "here").mkdir()
    (tmp_path / "here" / "0001_note.py").write_text(MIGRATION)
    before = ask(TEMPLATES)
    given = ("--foundry-models=app:MODELS", "--foundry-directory=here")
    ended = stranger(COUNTS, *given)
    assert re.search(
        r'\nfoundry: the migrations in ".*here" make no table for Person: correct', ended.out
    ), ended.out
    assert before == ask(TEMPLATES)
    (tmp_path / "here" / "0001_note.py").unlink()
    ended = stranger(COUNTS, *given)
    assert 4 == ended.code
    assert re.search('foundry: directory ".*here" has no migrations', ended.out), ended.out


def test_a_table_of_a_file_that_waits_may_be_missing(stranger: Run, tmp_path: Path) -> None:
    """This server lacks what the file needs."""
    (tmp_path / "app.py").write_text(MODELS)
    (tmp_path / "migrations").mkdir()
    (tmp_path / "migrations" / "0001_note.py").write_text(
        'requires = ("extension:nowhere",)\n' + MIGRATION
    )
    suite = "def test_it(foundry_db): assert not foundry_db.table_exists('note')"
    ended = stranger(suite, "--foundry-models=app:MODELS")
    assert 0 == ended.code, ended.out


def test_models_and_directory_come_from_one_project(stranger: Run, tmp_path: Path) -> None:
    """Naming other models leaves the directory of the section, or of the ini file, alone."""
    (tmp_path / "app.py").write_text(MODELS)
    (tmp_path / "theirs").mkdir()
    (tmp_path / "theirs" / "0001_note.py").write_text(MIGRATION)
    (tmp_path / "setup.cfg").write_text("[foundry]\nmodels = app:MODELS\ndirectory = theirs\n")
    migrated = COUNTS + "    foundry_db.execute_sql('SELECT FROM only_migrated')\n"
    assert 0 == stranger(migrated).code
    assert 0 == stranger(migrated, "--foundry-models=app").code
    ours = """
    def test_it(foundry_db):
        assert foundry_db.table_exists("users") and not foundry_db.table_exists("note")
    """
    ended = stranger(ours, "--foundry-models=foundry.schema")
    assert 0 == ended.code, ended.out
    (tmp_path / "setup.cfg").unlink()
    (tmp_path / "pytest.ini").write_text(
        "[pytest]\nfoundry_models = app:MODELS\nfoundry_directory = theirs\n"
    )
    assert 0 == stranger(migrated).code
    ended = stranger(ours, "--foundry-models=foundry.schema")
    assert 0 == ended.code, ended.out


@pytest.mark.parametrize("ini", [True, False])
def test_loading_needs_foundrys_tables_and_says_how(
    stranger: Run, tmp_path: Path, ini: bool
) -> None:
    """By a setting they are beside those of the project."""
    (tmp_path / "app.py").write_text(MODELS)
    (tmp_path / "pytest.ini").write_text(
        f"[pytest]\nfoundry_models = app:MODELS\nfoundry_own_tables = {ini}\n"
    )
    ended = stranger(
        """
        from foundry.fixtures.data import load

        def test_it(foundry_db):
            assert load(foundry_db, languages=["de"]).sessions
        """
        + COUNTS.replace("\n", "\n        ")
    )
    assert ("2 passed" if ini else "1 failed, 1 passed") in ended.out, ended.out
    assert ini is not ('no table "users" of foundry: write foundry_own_tables = true' in ended.out)


@pytest.mark.parametrize(
    ("name", "text", "line"),
    [
        ("pytest.toml", "[pytest]\nfoundry_models = ['app:MODELS']\n", "MODULE[:NAME]"),
        (
            "pyproject.toml",
            "[tool.pytest.ini_options]\nfoundry_models = ['app:MODELS']\n",
            "MODULE[:NAME]",
        ),
        ("pytest.toml", "[pytest]\nfoundry_directory = 7\n", "FOLDER"),
    ],
)
def test_a_setting_of_another_type_is_refused(
    stranger: Run, tmp_path: Path, name: str, text: str, line: str
) -> None:
    """In one line, and not as an error within pytest."""
    if name == "pytest.toml" and pytest.version_tuple < (9,):
        pytest.skip("this pytest reads no such file")
    (tmp_path / name).write_text(text)
    ended = stranger("def test_it(foundry_db): pass", f"--config-file={name}")
    assert 4 == ended.code, ended.out
    assert f"is a string, {line}" in ended.out
    assert "INTERNALERROR" not in ended.out


def test_an_empty_option_is_refused(stranger: Run) -> None:
    """A variable of a script that is not set."""
    ended = stranger("def test_it(foundry_db): pass", "--foundry-directory=")
    assert 4 == ended.code
    assert "foundry: --foundry-directory is empty: write FOLDER" in ended.out


@pytest.mark.parametrize("directory", ["nowhere", ""])
def test_a_refusal_is_one_line_for_each_test_of_a_worker(stranger: Run, directory: str) -> None:
    """Without the chain of what led to it."""
    pytest.importorskip("xdist")
    ended = stranger(
        "def test_a(foundry_db): pass\ndef test_b(foundry_adb): pass",
        f"--foundry-directory={directory}",
        "-p",
        "xdist.plugin",
        "-n1",
    )
    assert "2 errors" in ended.out, ended.out
    assert not re.search("Traceback|During handling|direct cause|Error:", ended.out), ended.out
    assert 2 == len(re.findall(r"\nfoundry: .*(?:correct its name|is empty).*\n", ended.out))


def test_an_empty_url_is_said_by_the_header(stranger: Run) -> None:
    """It is what ends the run."""
    ended = stranger("def test_it(foundry_db): pass", DATABASE_URL="")
    assert "\nfoundry: DATABASE_URL, which is empty: unset it\n" in ended.out
    assert 4 == ended.code


def test_a_url_of_a_database_that_is_not_there_ends_the_run(stranger: Run, data: Path) -> None:
    """Its name is wrong, or its server."""
    url = embedded.acquire(data).url("nowhere")
    ended = stranger("def test_it(foundry_db): pass", DATABASE_URL=url)
    assert 4 == ended.code, ended.out
    assert 'foundry: database "nowhere" does not exist' in ended.out


def test_kept_databases_are_counted_and_dropped_by_one_command(stranger: Run, ask: Ask) -> None:
    """Those of all runs; what only has such a name stays."""
    pytest.importorskip("xdist")
    suite = """
    import pytest

    @pytest.mark.parametrize("turn", [1, 2])
    def test_it(foundry_db, turn):
        assert not turn
    """
    counted = "foundry: databases of failed tests that are kept on the server: {}; pytest --f"
    assert counted.format(2) in stranger(suite, "--foundry-keep").out
    ended = stranger(suite, "--foundry-keep", "-p", "xdist.plugin", "-n2")
    assert 1 == ended.out.count(counted.format(4)), ended.out
    assert counted.format(4) in stranger("def test_it(foundry_db): pass").out
    assert counted.format("") not in stranger("def test_it(): pass").out
    ask("CREATE DATABASE foundry_wmain_00000002_1")
    ended = stranger(suite, "--foundry-drop-kept")
    assert 0 == ended.code, ended.out
    assert 4 == len(re.findall(r"foundry_w\w+_\d+", ended.out))
    assert [("foundry_wmain_00000002_1",)] == ask(NOTHING_LEFT)
    ask("DROP DATABASE foundry_wmain_00000002_1")
    assert "were dropped: none" in stranger(suite, "--foundry-drop-kept").out
    ended = stranger(suite, "--foundry-drop-kept", DATABASE_URL="")
    assert 4 == ended.code
    assert "foundry: DATABASE_URL is empty" in ended.out


def test_what_a_kept_database_lacks_is_said(stranger: Run) -> None:
    """After a ROLLBACK of the test's own, and after the end of an async block."""
    pytest.importorskip("asyncpg")
    ended = stranger(
        """
        import asyncio

        def test_rolls_back(foundry_db):
            foundry_db.rollback()
            assert 0

        def test_fails_late(foundry_adb):
            async def use():
                async with foundry_adb as db:
                    await db.aexecute_sql("SELECT 1")
            asyncio.run(use())
            assert 0

        def test_never_enters(foundry_adb):
            assert 0
        """,
        "--foundry-keep",
    )
    assert 1 == ended.out.count("what it wrote before a ROLLBACK is gone"), ended.out
    assert 1 == ended.out.count("failed after its `async with foundry_adb` block")
    assert 2 == ended.out.count("- foundry: the database of this test -")
    stranger("", "--foundry-drop-kept")


def test_a_model_without_a_database_is_explained(stranger: Run, tmp_path: Path) -> None:
    """Where foundry is used; Peewee speaks of a proxy."""
    (tmp_path / "app.py").write_text(MODELS)
    said = "the models have no database here: ask for foundry_db"
    plain = """
    from app import Note

    def test_it():
        Note.create(body="a")
    """
    assert said not in stranger(plain, fresh=True).out
    with_save = plain.replace("import Note", "import Note\n    from foundry.fixtures import saving")
    assert said in stranger(with_save).out


def test_a_connection_that_fails_shows_no_password(stranger: Run) -> None:
    """pytest prints the arguments of every frame, and with -l all else."""
    ended = stranger(
        """
        from foundry import connect

        def test_it():
            connect(bind=False)
        """,
        "-l",
        DATABASE_URL="postgresql://app:s3cret@127.0.0.1:1/app",
    )
    assert "no server answers on 127.0.0.1:1" in ended.out, ended.out
    assert "psycopg2.OperationalError" in ended.out
    assert "s3cret" not in ended.out
