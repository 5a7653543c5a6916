"""What the plugin makes and drops on a server: runs, marks, templates."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import replace
from importlib import import_module
from pathlib import Path
from uuid import uuid4

import peewee
import psycopg2
import pytest

from foundry.declare import Enum
from foundry.errors import ConnectionFailed, FoundryError
from foundry.fixtures.database import INVALID, MARK, Janitor
from foundry.fixtures.lease import Bench
from foundry.fixtures.project import Declared, declared
from foundry.fixtures.server import Server
from foundry.fixtures.template import ensure, fingerprint
from foundry.url import Params

Write = Callable[..., Declared]

MODELS = """
import peewee, os
from {name}_const import LEN

class Upper(peewee.TextField):
    pass

class Note(peewee.Model):
    body = peewee.CharField(max_length=LEN)
    other = peewee.CharField(max_length=int(os.environ.get("OTHER", 7)))

MODELS = [Note]
"""


@pytest.fixture
def place(_foundry_bench: Bench) -> Server:
    """The server of the run, which stays when a bench of a test is closed."""
    return replace(_foundry_bench.server, end=lambda keep: "")


@pytest.fixture
def janitor(place: Server) -> Iterator[Janitor]:
    """A run of its own."""
    made = Janitor(place)
    yield made
    made.close()


@pytest.fixture
def role(place: Server, janitor: Janitor) -> Iterator[str]:
    """A role that may create databases and whose settings are in the way."""
    name = f"foundry_app_{uuid4().hex[:8]}"
    janitor.ask(f"CREATE ROLE {name} LOGIN CREATEDB")
    janitor.ask(f"ALTER ROLE {name} SET timezone = 'Asia/Tokyo'")
    janitor.ask(f"ALTER ROLE {name} SET search_path = 'pg_catalog'")
    janitor.ask(f"ALTER ROLE {name} SET idle_session_timeout = '1h'")
    yield name
    janitor.ask(f"DROP ROLE {name}")


def as_role(place: Server, role: str) -> Server:
    """The same server for another account."""
    params = Params({**place.base.params, "user": role})
    return replace(place, base=replace(place.base, params=params, user=role))


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Write:
    """A stranger's project with models, or migrations if some are given."""
    name = f"app_{uuid4().hex[:8]}"
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / f"{name}.py").write_text(MODELS.format(name=name))
    (tmp_path / f"{name}_const.py").write_text("LEN = 33\n")

    def write(**migrations: str) -> Declared:
        for file, text in migrations.items():
            (tmp_path / "migrations").mkdir(exist_ok=True)
            (tmp_path / "migrations" / f"{file}.py").write_text(text)
        models = None if migrations else f"{name}:MODELS"
        return declared(
            models=models,
            directory="migrations" if migrations else None,
            table=None,
            root=tmp_path,
        )

    return write


def text_of(place: Server, dbname: str, query: str) -> object:
    """One value from a database."""
    session = psycopg2.connect(**place.target(dbname).params)
    with closing(session), session.cursor() as cursor:
        cursor.execute(query)
        return (cursor.fetchone() or (None,))[0]


def test_a_run_that_lives_keeps_its_databases(place: Server) -> None:
    """Another run that begins drops those of dead runs only, whatever state they are in."""
    first = Janitor(place)
    alive, broken = first.create(), first.create()
    first.ask("UPDATE pg_database SET datconnlimit = -2 WHERE datname = %s", broken)
    first.ask(f"ALTER DATABASE {alive} IS_TEMPLATE true")
    second = Janitor(place)
    assert {alive, broken} <= set(second.found())
    first._session.close()
    third = Janitor(place)
    assert set() == {alive, broken} & set(third.found())
    second.close()
    third.close()


def test_a_run_that_loses_its_session_takes_its_lock_again(place: Server, janitor: Janitor) -> None:
    """Otherwise the next run would drop the databases of this one."""
    mine = janitor.create()
    pid = janitor._session.info.backend_pid
    with closing(place.admin()) as other, other.cursor() as cursor:
        cursor.execute("SELECT pg_terminate_backend(%s, 5000)", (pid,))
    janitor.create()
    Janitor(place).close()
    assert mine in janitor.found()


def test_one_run_at_a_time_builds_a_template(place: Server, janitor: Janitor) -> None:
    """The other waits, and goes on when it is done."""
    digest = uuid4().hex[:16]
    entered = threading.Event()
    other = Janitor(place)

    def build() -> None:
        with other.turn(digest):
            entered.set()

    waiting = threading.Thread(target=build)
    with janitor.turn(digest):
        waiting.start()
        assert not entered.wait(0.3)
    assert entered.wait(30)
    waiting.join()
    other.close()


def test_settings_of_a_role_do_not_reach_a_test(place: Server, role: str) -> None:
    """Nor do its time-outs end the session whose lock says that the run lives."""
    theirs = Janitor(as_role(place, role))
    try:
        name = theirs.create()
        at = theirs.server
        assert "UTC" == text_of(at, name, "SHOW timezone")
        assert "public" == text_of(at, name, "SHOW search_path")
        assert "0" == text_of(at, name, "SHOW idle_session_timeout")
        assert "1h" == text_of(at, "postgres", "SHOW idle_session_timeout")
        assert [("0",)] == theirs.ask("SHOW idle_session_timeout")
    finally:
        theirs.close()


def test_databases_of_another_role_are_not_ours(place: Server, janitor: Janitor, role: str) -> None:
    """They could not be dropped, whatever their mark."""
    name = janitor.create()
    theirs = Janitor(as_role(place, role))
    assert name in janitor.found()
    assert name not in theirs.found()
    theirs.close()


def test_what_cannot_be_dropped_is_told_at_the_end(place: Server) -> None:
    """Until then it is nobody's fault."""
    run = Janitor(place)
    stuck, free = run.create(), run.create()
    with closing(psycopg2.connect(**place.target(stuck).params)) as session:
        session.autocommit = True
        session.cursor().execute(
            "CREATE SUBSCRIPTION s CONNECTION '' PUBLICATION p "
            "WITH (connect = false, enabled = false, slot_name = NONE, create_slot = false)"
        )
    run.discard(stuck)
    run.ask(f"ALTER DATABASE {free} IS_TEMPLATE true")
    template = run.create()
    run.discard(template)
    run.clone("template1")
    assert template not in run.found()
    assert (stuck,) == run.close()
    with closing(psycopg2.connect(**place.target(stuck).params)) as session:
        session.autocommit = True
        session.cursor().execute("DROP SUBSCRIPTION s")
    # A run beside this one may be the one that drops it, and be at it still.
    deadline = time.monotonic() + 30
    next_run = Janitor(place)
    while {stuck, free, template} & set(next_run.found()):
        assert time.monotonic() < deadline
        time.sleep(0.05)
    next_run.close()


def test_a_template_whose_drop_was_interrupted_is_made_anew(
    janitor: Janitor, project: Write
) -> None:
    """The server would refuse it for ever, and every run with it."""
    wanted = project()
    name = ensure(janitor, wanted)
    janitor.ask("UPDATE pg_database SET datconnlimit = %s WHERE datname = %s", INVALID, name)
    assert name == ensure(janitor, wanted)
    assert MARK == janitor.found()[name].limit
    janitor.ask("UPDATE pg_database SET datconnlimit = %s WHERE datname = %s", INVALID, name)
    Janitor(janitor.server).close()
    assert name not in janitor.found()


def test_a_database_with_the_name_of_a_template_is_refused_in_one_line(
    janitor: Janitor, project: Write
) -> None:
    """What carries no mark may hold something."""
    wanted = project()
    name = ensure(janitor, wanted)
    janitor.ask(f"ALTER DATABASE {name} CONNECTION LIMIT 5")
    with pytest.raises(ConnectionFailed, match=f'database "{name}" has the name.*drop it'):
        ensure(janitor, wanted)
    janitor.drop(name)


def test_a_migration_may_set_the_connection_limit(janitor: Janitor, project: Write) -> None:
    """The template is marked again, so that the next run finds it."""
    wanted = project(
        **{
            "0001_limit": "def up(migrator, db):\n"
            "    name = db.execute_sql('SELECT current_database()').fetchone()[0]\n"
            "    db.execute_sql(f'ALTER DATABASE {name} CONNECTION LIMIT 5')\n"
        }
    )
    name = ensure(janitor, wanted)
    assert MARK == janitor.found()[name].limit
    assert name == ensure(janitor, wanted)
    janitor.drop(name)


def test_a_template_is_rebuilt_once_in_a_run_that_asks_for_it(
    janitor: Janitor, project: Write
) -> None:
    """However many workers the run has."""
    wanted = project()

    def number(rebuild: str) -> object:
        name = ensure(janitor, wanted, rebuild=rebuild)
        return janitor.ask("SELECT oid FROM pg_database WHERE datname = %s", name)

    first = number("")
    second = number("run-a")
    assert first != second == number("run-a") == number("")
    assert second != number("run-b")
    janitor.drop(ensure(janitor, wanted))


def test_a_template_that_cannot_be_built_is_tried_once(place: Server, project: Write) -> None:
    """The line names the model, and is the same for every test after the first."""
    wanted = project()
    wanted.models[0]._meta.constraints = [peewee.Check("nope > 1")]
    bench = Bench(place, lambda: wanted)
    said = []
    for _ in range(2):
        with pytest.raises(FoundryError) as caught:
            bench.template()
        said.append(str(caught.value))
    assert said[0] == said[1]
    assert 'model "Note": column "nope" does not exist' in said[0]
    assert 1 == bench.janitor._count
    assert () == bench.close()


@pytest.mark.parametrize("part", ["constant", "environment", "objects", "extensions"])
def test_a_template_changes_with_what_its_models_are_made_of(
    part: str, janitor: Janitor, project: Write, tmp_path: Path, open_folder: Path
) -> None:
    """Also with what is not in their own files."""
    wanted = project()
    before = fingerprint(janitor, wanted)
    assert before == fingerprint(janitor, wanted)
    if part == "constant":
        next(tmp_path.glob("*_const.py")).write_text("LEN = 34\n")
    elif part == "environment":
        wanted.models[0]._meta.fields["other"].max_length = 8
    elif part == "objects":
        schema = replace(wanted.project.schema, objects=[Enum("mood", ("good", "bad"))])
        wanted = replace(wanted, project=replace(wanted.project, schema=schema))
    else:
        if janitor._session.server_version < 180000:
            pytest.skip("only PostgreSQL 18 finds extensions elsewhere")
        (open_folder / "extension").mkdir()
        (open_folder / "extension" / "new.control").write_text("default_version = '1.0'\n")
        janitor.ask(f"SET extension_control_path = '$system:{open_folder}'")
        assert [("new",)] == janitor.ask(
            "SELECT name FROM pg_available_extensions WHERE name = 'new'"
        )
    assert before != fingerprint(janitor, wanted)


def test_a_template_changes_with_the_types_of_fields(
    janitor: Janitor, project: Write, tmp_path: Path
) -> None:
    """Their module may be no model's."""
    wanted = project()
    field = tmp_path / f"types_{uuid4().hex[:8]}.py"
    field.write_text("import peewee\nclass Odd(peewee.TextField):\n    pass\n")
    odd = import_module(field.stem).Odd()
    wanted.models[0]._meta.add_field("odd", odd)
    before = fingerprint(janitor, wanted)
    field.write_text(field.read_text() + "# another\n")
    assert before != fingerprint(janitor, wanted)


def test_a_template_changes_with_what_its_migrations_import(
    janitor: Janitor, project: Write, tmp_path: Path
) -> None:
    """However far away, in every way of writing an import, and with nothing else."""
    (tmp_path / "sqls").mkdir()
    files = {
        "__init__": "from . import one\nfrom .sub import (\n    two,\n)\n",
        "one": "",
        "sub": "import sqls.three as three\n",
        "two": "",
        "three": "",
    }
    for name, text in files.items():
        (tmp_path / "sqls" / f"{name}.py").write_text(text)
    wanted = project(**{"0001_a": "def up(migrator, db):\n    from sqls import one\n"})
    before = fingerprint(janitor, wanted)
    (tmp_path / "sqls" / "two.py").write_text("# nobody imports this\n")
    assert before == fingerprint(janitor, wanted)
    for name in ("__init__", "one", "sub", "three"):
        path = tmp_path / "sqls" / f"{name}.py"
        path.write_text(path.read_text() + "# another\n")
        after = fingerprint(janitor, wanted)
        assert before != after, name
        before = after
