"""The plugin, as suites of strangers see it."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from foundry import embedded

Run = Callable[..., Any]
Ask = Callable[..., list[tuple[Any, ...]]]

NOTHING_LEFT = "SELECT datname FROM pg_database WHERE datname LIKE 'foundry\\_w%'"
TEMPLATES = "SELECT datname, oid FROM pg_database WHERE datname LIKE 'foundry\\_tpl%' ORDER BY 2"

MODELS = """
import peewee

proxy = peewee.DatabaseProxy()

class Note(peewee.Model):
    body = peewee.TextField()
    class Meta:
        database = proxy

MODELS = [Note]
"""
MIGRATION = """
def up(migrator, db):
    migrator.migrate(migrator.sql("CREATE TABLE note (id serial PRIMARY KEY, body text)"))
    migrator.migrate(migrator.sql("CREATE TABLE only_migrated (id int)"))
"""
COUNTS = """
from app import Note

def test_rows(foundry_db):
    Note.create(body="a")
    assert 1 == Note.select().count()
"""


def test_a_suite_that_does_not_use_it_pays_nothing(stranger: Run, tmp_path: Path) -> None:
    """No driver, no ORM, no engine's SDK is imported, and no server started."""
    (tmp_path / "conftest.py").write_text(
        "import sys\n"
        "def pytest_sessionfinish():\n"
        "    heavy = 'peewee psycopg2 docker hypothesis langgraph rich asyncpg'.split()\n"
        "    print('loaded:', [m for m in heavy if m in sys.modules])\n"
    )
    url = "postgresql://u:pw@h.example:7/x"
    ended = stranger("def test_it(): pass", "-s", fresh=True, DATABASE_URL=url)
    assert 0 == ended.code, ended.out
    assert "loaded: []" in ended.out
    assert "foundry: DATABASE_URL h.example:7\n" in ended.out


@pytest.mark.parametrize(
    "url", ["postgresql://u:12/34@h/x", "postgresql://u:p@w@h/x", "postgresql://u:12", "u:12@h"]
)
def test_the_header_shows_no_part_of_a_password(stranger: Run, url: str) -> None:
    """A URL that can be misread is not quoted at all."""
    ended = stranger("def test_it(): pass", DATABASE_URL=url)
    header = re.search("foundry: .*", ended.out)
    assert header is not None
    assert not re.search("12|34|w@", header[0])


def test_the_options_are_explained(stranger: Run) -> None:
    """By pytest itself, with the marker."""
    shown = stranger("", "--help").out
    for name in ("server", "image", "pull", "keep", "models", "directory", "table"):
        assert f"--foundry-{name}" in shown
    for name in ("models", "directory", "table"):
        order = f"ini option foundry_{name}, else {name} in [foundry] of setup.cfg"
        assert order in " ".join(shown.split())
    assert "foundry_own_tables" in shown
    assert "@pytest.mark.foundry(commit=False)" in stranger("", "--markers").out


def test_a_test_finds_no_trace_of_the_one_before(stranger: Run, ask: Ask) -> None:
    """Rows, settings, temporary tables, prepared statements and advisory locks are gone."""
    ended = stranger(
        """
        import psycopg2, pytest
        from foundry.schema import User

        @pytest.mark.parametrize("turn", [1, 2, 3])
        def test_traces(foundry_db, turn):
            def ask(query):
                return foundry_db.execute_sql(query).fetchone()[0]
            assert 0 == User.select().count()
            assert "UTC" == ask("SHOW timezone") and "public" == ask("SHOW search_path")
            assert "C" == ask("SHOW lc_numeric") and "ISO, MDY" == ask("SHOW datestyle")
            assert 0 == ask("SELECT count(*) FROM pg_locks WHERE locktype = 'advisory'"
                            " AND pid = pg_backend_pid()")
            foundry_db.execute_sql("SELECT pg_advisory_lock(7)")
            foundry_db.execute_sql("SET timezone = 'Asia/Tokyo'")
            foundry_db.execute_sql("CREATE TEMP TABLE t (id int)")
            foundry_db.execute_sql("PREPARE p AS SELECT 1")
            with foundry_db.connection_context(), foundry_db.atomic():
                User.create(name="a")
            foundry_db.close(); foundry_db.connect()
            with pytest.raises(ZeroDivisionError), foundry_db.atomic():
                User.create(name="b")
                1 / 0
            assert 1 == User.select().count()
            if turn == 2:
                with pytest.raises(Exception, match="syntax"):
                    foundry_db.execute_sql("nonsense")
        """
    )
    assert 0 == ended.code, ended.out
    assert [] == ask(NOTHING_LEFT)


def test_a_commit_sent_as_sql_fails_that_test_and_no_other(stranger: Run, ask: Ask) -> None:
    """In one line that says what to do; what it wrote is thrown away with its database."""
    ended = stranger(
        """
        import pytest
        from foundry.schema import User

        @pytest.mark.parametrize("end", ["COMMIT", "COMMIT; BEGIN", "ROLLBACK"])
        def test_ends(foundry_db, end):
            User.create(name="a")
            foundry_db.execute_sql(end)

        def test_next(foundry_db):
            assert 0 == User.select().count()
        """
    )
    assert "3 failed, 1 passed" in ended.out, ended.out
    assert 3 == ended.out.count("\nthe test ended the transaction it runs in")
    assert [] == ask(NOTHING_LEFT)


def test_a_marked_test_has_a_database_of_its_own(stranger: Run, ask: Ask) -> None:
    """It may commit, and other threads see what it wrote; the rolled back kind says so."""
    ended = stranger(
        """
        import pytest
        from concurrent.futures import ThreadPoolExecutor
        from foundry.schema import User

        def elsewhere(function):
            with ThreadPoolExecutor(1) as pool:
                return pool.submit(function).result()

        @pytest.mark.foundry(commit=True)
        @pytest.mark.parametrize("turn", [1, 2])
        def test_commits(foundry_db, turn):
            User.create(name="a")
            assert 1 == elsewhere(User.select().count)

        def test_rolled_back(foundry_db):
            with pytest.raises(Exception, match="commit=True"):
                elsewhere(User.select().count)

        @pytest.mark.foundry(comit=True)
        def test_misspelt(foundry_db):
            pass
        """
    )
    assert "3 passed, 1 error" in ended.out, ended.out
    line = "the marker is @pytest.mark.foundry(commit=True), not foundry(comit=True)"
    assert line in ended.out
    assert [] == ask(NOTHING_LEFT)


def test_the_template_is_built_once_until_a_migration_changes(
    stranger: Run, ask: Ask, tmp_path: Path
) -> None:
    """The next run clones what the first one built."""
    (tmp_path / "app.py").write_text(MODELS)
    (tmp_path / "migrations").mkdir()
    file = tmp_path / "migrations" / "0001_note.py"
    file.write_text(MIGRATION + "# no other test has this one\n")
    before = ask(TEMPLATES)
    suite = COUNTS + "    foundry_db.execute_sql('SELECT FROM only_migrated')\n"
    assert 0 == stranger(suite, "--foundry-models=app:MODELS").code
    first = ask(TEMPLATES)
    assert 1 == len(first) - len(before)
    assert 0 == stranger(suite, "--foundry-models=app:MODELS").code
    assert first == ask(TEMPLATES)
    file.write_text(MIGRATION + "# changed\n")
    assert 0 == stranger(suite, "--foundry-models=app:MODELS").code
    assert first == ask(TEMPLATES)[:-1]


def test_models_without_migrations_get_their_tables_from_themselves(
    stranger: Run, tmp_path: Path
) -> None:
    """By ini options here."""
    (tmp_path / "app.py").write_text(MODELS)
    (tmp_path / "pytest.ini").write_text("[pytest]\nfoundry_models = app:MODELS\n")
    ended = stranger(COUNTS)
    assert 0 == ended.code, ended.out
    ended = stranger(COUNTS, "--foundry-directory=nowhere")
    assert 4 == ended.code
    assert re.search('foundry: there is no directory ".*nowhere"', ended.out)


def test_a_migration_that_fails_is_one_line_and_leaves_no_template(
    stranger: Run, ask: Ask, tmp_path: Path
) -> None:
    """What was half built is dropped."""
    (tmp_path / "app.py").write_text(MODELS)
    (tmp_path / "migrations").mkdir()
    (tmp_path / "migrations" / "0001_note.py").write_text(MIGRATION.replace("serial", "serious"))
    before = ask(TEMPLATES)
    ended = stranger(COUNTS, "--foundry-models=app:MODELS")
    assert "1 error" in ended.out
    assert "serious" in ended.out
    assert "Traceback" not in ended.out
    assert (before, []) == (ask(TEMPLATES), ask(NOTHING_LEFT))


def test_a_kept_database_holds_what_the_test_wrote(stranger: Run, ask: Ask) -> None:
    """The report says how to reach it, and later runs leave it alone."""
    suite = """
    import pytest
    from foundry.schema import User

    @pytest.mark.parametrize("commit", [pytest.param(True, marks=pytest.mark.foundry(commit=True)),
                                        False])
    def test_it(foundry_db, commit):
        User.create(name="left behind")
        assert not User.select().count()
    """
    ended = stranger(suite, "--foundry-keep")
    urls = re.findall(r"psql 'postgresql://postgres@/(foundry_w\w+)\?host=", ended.out)
    assert 2 == len(urls), ended.out
    assert "python -m foundry serve" in ended.out
    assert 1 == stranger(suite).code
    for name in urls:
        assert [("left behind",)] == ask("SELECT name FROM users", name)
        ask(f"DROP DATABASE {name}")
    assert [] == ask(NOTHING_LEFT)


def test_what_a_killed_run_left_is_dropped_by_the_next(stranger: Run, ask: Ask) -> None:
    """But nothing that only looks like it."""
    ask("CREATE DATABASE foundry_wmain_00000001_1")
    ended = stranger(
        """
        import os, signal

        def test_it(foundry_db):
            os.kill(os.getpid(), signal.SIGKILL)
        """
    )
    assert -9 == ended.code
    assert 2 == len(ask(NOTHING_LEFT))
    assert 0 == stranger("def test_it(foundry_db): pass").code
    assert [("foundry_wmain_00000001_1",)] == ask(NOTHING_LEFT)
    ask("DROP DATABASE foundry_wmain_00000001_1")


def test_the_database_of_a_url_is_not_written_to(stranger: Run, ask: Ask, data: Path) -> None:
    """The fixtures' databases are made beside it."""
    url = embedded.acquire(data).url("foundry")
    before = ask("SELECT count(*) FROM pg_class", "foundry")
    ended = stranger(
        """
        def test_it(foundry_db, foundry_server, foundry_template):
            assert "DATABASE_URL" == foundry_server.source
            assert foundry_template.startswith("foundry_tpl_")
            assert "foundry" != foundry_db.target.dbname
        """,
        DATABASE_URL=url,
    )
    assert 0 == ended.code, ended.out
    assert before == ask("SELECT count(*) FROM pg_class", "foundry")
    assert [] == ask(NOTHING_LEFT)


def test_a_role_that_may_not_create_databases_is_told_so(
    stranger: Run, ask: Ask, data: Path
) -> None:
    """In one line, and the run ends as a usage error does."""
    ask("CREATE ROLE poor LOGIN")
    url = embedded.acquire(data).url("foundry").replace("postgres@", "poor@")
    ended = stranger("def test_it(foundry_db): pass", DATABASE_URL=url)
    ask("DROP ROLE poor")
    assert 'ALTER ROLE "poor" CREATEDB' in ended.out, ended.out
    assert 0 != ended.code


def test_a_bad_url_ends_the_run(stranger: Run) -> None:
    """With exit code 4, one line, no password and no other server."""
    url = "postgresql://app:s3cret@127.0.0.1:1/app"
    ended = stranger("def test_a(foundry_db): pass\ndef test_b(foundry_db): pass", DATABASE_URL=url)
    assert 4 == ended.code, ended.out
    assert "foundry: no server answers on 127.0.0.1:1" in ended.out
    assert "s3cret" not in ended.out


ASYNC = """
import asyncio, pytest
from foundry.schema import User

def names(db):
    return db.run(lambda: [user.name for user in User.select()])

async def writes(adb):
    async with adb as db:
        assert [] == await names(db)
        async with db.atomic():
            await db.run(lambda: User.create(name="a"))
        assert [["a"]] * 2 == await asyncio.gather(names(db), names(db))

@pytest.mark.parametrize("turn", [1, 2])
def test_rolled_back(foundry_adb, turn):
    asyncio.run(writes(foundry_adb))

@pytest.mark.foundry(commit=True)
def test_clone(foundry_adb):
    asyncio.run(writes(foundry_adb))

def test_ended(foundry_adb):
    async def commits():
        async with foundry_adb as db:
            await db.run(lambda: User.create(name="b"))
            await db.aexecute_sql("COMMIT")
    asyncio.run(commits())

def test_after(foundry_adb):
    asyncio.run(writes(foundry_adb))
"""


def test_the_async_twin_is_isolated_too(stranger: Run, ask: Ask) -> None:
    """Without a plugin that runs async tests."""
    pytest.importorskip("asyncpg")
    ended = stranger(ASYNC)
    assert "1 failed, 4 passed" in ended.out, ended.out
    assert "\nthe test ended the transaction it runs in" in ended.out
    assert [] == ask(NOTHING_LEFT)


def test_a_missing_extra_is_named(stranger: Run, tmp_path: Path) -> None:
    """In one line."""
    (tmp_path / "conftest.py").write_text("import sys\nsys.modules['asyncpg'] = None\n")
    ended = stranger("def test_it(foundry_adb): pass")
    assert "pip install 'cerina-foundry[async]'" in ended.out, ended.out
    assert "Traceback" not in ended.out


def test_workers_share_one_template_and_no_database(stranger: Run, ask: Ask) -> None:
    """Each clones its own from it."""
    pytest.importorskip("xdist")
    ended = stranger(
        """
        import pytest, time
        from foundry.schema import User

        @pytest.mark.parametrize("turn", range(12))
        def test_it(foundry_db, turn):
            assert 0 == User.select().count()
            User.create(name="a")
            time.sleep(0.02)
        """,
        "-p",
        "xdist.plugin",
        "-n2",
    )
    assert 0 == ended.code, ended.out
    assert "12 passed" in ended.out
    assert [] == ask(NOTHING_LEFT)


@pytest.mark.parametrize(
    ("plugin", "mark"),
    [
        ("pytest_asyncio.plugin", "pytest.mark.asyncio"),
        ("anyio.pytest_plugin", "pytest.mark.anyio"),
    ],
)
def test_the_async_twin_works_in_async_tests(stranger: Run, plugin: str, mark: str) -> None:
    """Whichever plugin runs them, each in an event loop of its own."""
    pytest.importorskip("asyncpg")
    pytest.importorskip(plugin.partition(".")[0])
    ended = stranger(
        f"""
        import pytest
        from foundry.schema import User

        @pytest.fixture
        def anyio_backend():
            return "asyncio"

        @{mark}
        @pytest.mark.parametrize("commit", [
            False, False, pytest.param(True, marks=pytest.mark.foundry(commit=True))])
        async def test_it(foundry_adb, commit):
            async with foundry_adb as db:
                assert [] == await db.list(User.select())
                async with db.atomic():
                    await db.run(lambda: User.create(name="a"))
                assert 1 == await db.count(User.select())
        """,
        "-p",
        plugin,
        "-W",
        "ignore::pytest.PytestDeprecationWarning",
    )
    assert "3 passed" in ended.out, ended.out


def test_what_could_not_be_dropped_is_a_line_at_the_end(stranger: Run, ask: Ask) -> None:
    """And no error of the test after it."""
    ended = stranger(
        """
        import pytest

        @pytest.mark.foundry(commit=True)
        @pytest.mark.parametrize("turn", [1, 2])
        def test_it(foundry_db, turn):
            if turn == 1:
                foundry_db.execute_sql(
                    "CREATE SUBSCRIPTION s CONNECTION '' PUBLICATION p WITH (connect = false, "
                    "enabled = false, slot_name = NONE, create_slot = false)")
        """
    )
    assert "2 passed" in ended.out, ended.out
    left = re.findall("\nfoundry: not dropped on .*: (foundry_wmain_[0-9a-f]+_1)\n", ended.out)
    assert 1 == len(left), ended.out
    ask("DROP SUBSCRIPTION s", left[0])
    ask(f"DROP DATABASE {left[0]}")


def test_a_failure_of_the_template_is_one_line_for_each_test(
    stranger: Run, tmp_path: Path, ask: Ask
) -> None:
    """It names the model, and nothing is tried again."""
    (tmp_path / "app.py").write_text(
        MODELS.replace("database = proxy", "database = proxy; constraints = [peewee.Check('no>1')]")
    )
    ended = stranger(
        "def test_a(foundry_db): pass\ndef test_b(foundry_db): pass",
        "--foundry-models=app:MODELS",
    )
    assert "2 errors" in ended.out, ended.out
    line = 'the tables of the models cannot be made, model "Note": column "no" does not exist'
    assert 2 == ended.out.count(f"\nfoundry: {line}\n")
    assert "Traceback" not in ended.out
    assert [] == ask(NOTHING_LEFT)


def test_a_directory_is_found_from_where_pytest_was_called(stranger: Run, tmp_path: Path) -> None:
    """As every path of a command line is, wherever the ini file stands."""
    (tmp_path / "app.py").write_text(MODELS)
    (tmp_path / "here").mkdir()
    (tmp_path / "here" / "0001_note.py").write_text(MIGRATION)
    (tmp_path / "tests").mkdir()
    (tmp_path / "tests" / "pytest.ini").write_text("[pytest]\n")
    (tmp_path / "tests" / "test_that.py").write_text(COUNTS)
    ended = stranger(
        "",
        "tests",
        "--config-file=tests/pytest.ini",
        "--foundry-models=app:MODELS",
        "--foundry-directory=here",
    )
    assert "1 passed" in ended.out, ended.out
