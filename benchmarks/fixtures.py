"""What a database for tests costs: foundry's plugin and its peers, in one run.

    pip install '.[fixtures,embedded]' pytest-postgresql 'psycopg[binary]' testcontainers py-pglite
    python benchmarks/fixtures.py [--rounds N]

py-pglite needs node and npm too, testcontainers a Docker engine; who cannot run has a row that
says why. Each contender has a suite of its own in a temporary folder and runs in a pytest process
without any other plugin. All execute the same SQL in the tables of foundry (7, with pgvector);
foundry and pytest-postgresql use the same binaries, and both run with fsync, full_page_writes and
synchronous_commit off, given to pytest-postgresql by its postgres_options. Before the rounds each
suite runs once: foundry's template is there then, and so are the peers' downloads.

Prints a Markdown table, medians over the rounds, the order of the contenders alternating: the
wall time of a whole pytest process with one test, and its range; then of a test in a suite of
many, its setup and teardown included, once rolled back and once committing.

PostgreSQL does not run as root, so root's run takes place as an unprivileged account.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import textwrap
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from importlib import import_module, util
from pathlib import Path

from foundry.binaries import find_binaries, provide_binaries
from foundry.cluster import account_for
from foundry.errors import FoundryError

ROLLED_BACK, COMMITTED = 50, 20
_TABLES = (
    "users, sessions, messages, chain_analysis_results, protocol_history, agent_interactions, "
    "safety_logs"
)
_FILES = ("0001_conversations", "0002_message_embedding", "0003_protocols")
# Summed by test, so that it is the same sum for every contender.
_CLOCK = """
import json, collections, pathlib
spent = collections.defaultdict(float)

def pytest_runtest_logreport(report):
    spent[report.nodeid] += report.duration

def pytest_sessionfinish():
    pathlib.Path(__file__).with_name("spent.json").write_text(json.dumps(spent))
"""
_TEST = """
import pytest

@pytest.mark.parametrize("number", range({count}))
{marker}
def test_{name}({fixture}, number):
    execute = {fixture}.{execute}
    execute("INSERT INTO users (name) VALUES ('Ada')")
    assert 1 == execute("SELECT count(*) FROM users").fetchone()[0]
    {end}
"""
# None of these has a fixture that rolls back; pytest-postgresql's own makes a clone for each test.
_ROLLED_BACK = """
@pytest.fixture
def rolled_back(connection):
    yield connection
    connection.rollback()
"""
_TRUNCATED = f"""
@pytest.fixture
def committing(connection):
    yield connection
    connection.execute("TRUNCATE {_TABLES} CASCADE")
    connection.commit()
"""
_POSTGRESQL = """
import psycopg, pytest
from pathlib import Path
from pytest_postgresql import factories

HERE = Path(__file__).parent
postgresql_proc = factories.postgresql_proc(
    executable={bindir!r} + "/pg_ctl", load=[HERE / "schema.sql"],
    postgres_options="-c fsync=off -c full_page_writes=off -c synchronous_commit=off",
    unixsocketdir=str(HERE),
)
committing = factories.postgresql("postgresql_proc")

@pytest.fixture(scope="session")
def connection(postgresql_proc):
    server = postgresql_proc
    where = {{"host": server.host, "port": server.port, "user": server.user}}
    with psycopg.connect(dbname="postgres", autocommit=True, **where) as admin:
        admin.execute(f'CREATE DATABASE app TEMPLATE "{{server.template_dbname}}"')
    with psycopg.connect(dbname="app", **where) as session:
        yield session
        session.rollback()
    with psycopg.connect(dbname="postgres", autocommit=True, **where) as admin:
        admin.execute("DROP DATABASE app")
"""
_PGLITE = """
import psycopg, pytest
from pathlib import Path
from py_pglite import PGliteConfig, PGliteManager

HERE = Path(__file__).parent

@pytest.fixture(scope="session")
def connection():
    config = PGliteConfig(
        work_dir=HERE / "node", socket_path=str(HERE / ".s.PGSQL.5432"), extensions=["pgvector"]
    )
    manager = PGliteManager(config)
    manager.start()
    manager.wait_for_ready()
    try:
        with psycopg.connect(config.get_dsn()) as session:
            session.execute((HERE / "schema.sql").read_text())
            session.commit()
            yield session
            session.rollback()
    finally:
        manager.stop()
"""
_CONTAINER = """
import psycopg, pytest
from pathlib import Path
from testcontainers.postgres import PostgresContainer

@pytest.fixture(scope="session")
def connection():
    with PostgresContainer("pgvector/pgvector:pg18", driver=None) as server:
        with psycopg.connect(server.get_connection_url()) as session:
            session.execute(Path(__file__).with_name("schema.sql").read_text())
            session.commit()
            yield session
            session.rollback()
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Suite:
    """One contender: what is in its conftest.py, and its two fixtures."""

    name: str
    conftest: str
    plugins: tuple[str, ...] = ()
    rolled_back: str = "rolled_back"
    committing: str = "committing"
    first: str = "rolled_back"
    execute: str = "execute"
    marker: str = ""
    end: str = ""
    absent: Callable[[], str] = lambda: ""
    by: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Times:
    """Seconds, one number for each round."""

    first: list[float] = field(default_factory=list)
    rolled_back: list[float] = field(default_factory=list)
    committed: list[float] = field(default_factory=list)


def suites(bindir: str) -> list[Suite]:
    """The contenders, ours first."""
    return [
        Suite(
            name="foundry",
            conftest="",
            plugins=("foundry.fixtures.plugin",),
            rolled_back="foundry_db",
            committing="foundry_db",
            first="foundry_db",
            execute="execute_sql",
            marker="@pytest.mark.foundry(commit=True)",
            by="clone",
        ),
        Suite(
            name="pytest-postgresql",
            conftest=_POSTGRESQL.format(bindir=bindir) + _ROLLED_BACK,
            plugins=("pytest_postgresql.plugin",),
            first="committing",
            end="committing.commit()",
            absent=lambda: _missing("pytest_postgresql", "psycopg"),
            by="clone",
        ),
        Suite(
            name="py-pglite",
            conftest=_PGLITE + _ROLLED_BACK + _TRUNCATED,
            end="committing.commit()",
            absent=_no_node,
            by="TRUNCATE",
        ),
        Suite(
            name="testcontainers",
            conftest=_CONTAINER + _ROLLED_BACK + _TRUNCATED,
            end="committing.commit()",
            absent=_no_engine,
            by="TRUNCATE",
        ),
    ]


def _missing(*modules: str) -> str:
    lacking = [name for name in modules if util.find_spec(name) is None]
    return f"not installed: {', '.join(lacking)}" if lacking else ""


def _no_node() -> str:
    lacking = [name for name in ("node", "npm") if shutil.which(name) is None]
    return _missing("py_pglite", "psycopg") or (f"no {' and no '.join(lacking)}" if lacking else "")


def _no_engine() -> str:
    if lacking := _missing("testcontainers", "docker", "psycopg"):
        return lacking
    docker = import_module("docker")
    try:
        docker.from_env(timeout=2).ping()
    except docker.errors.DockerException:
        return "no engine"
    return ""


def schema() -> str:
    """The SQL of the packaged migrations that make the seven tables."""
    modules = [import_module(f"foundry.schema.migrations.{name}") for name in _FILES]
    return ";\n".join(statement.strip() for m in modules for statement in m.UP) + ";\n"


def write(suite: Suite, folder: Path) -> None:
    """The suite's files."""
    folder.mkdir()
    (folder / "pytest.ini").write_text("[pytest]\n")
    (folder / "conftest.py").write_text(suite.conftest)
    (folder / "clock.py").write_text(_CLOCK)
    (folder / "schema.sql").write_text(schema())
    committing = {"fixture": suite.committing, "marker": suite.marker, "end": suite.end}
    rolled_back = {"fixture": suite.rolled_back, "marker": "", "end": ""}
    first = committing if suite.first == "committing" else rolled_back
    for name, count, words in (
        ("first", 1, first),
        ("rolled_back", ROLLED_BACK, rolled_back),
        ("committed", COMMITTED, committing),
    ):
        text = _TEST.format(name=name, count=count, execute=suite.execute, **words)
        (folder / f"test_{name}.py").write_text(textwrap.dedent(text))


def run(suite: Suite, folder: Path, *files: str, environment: Mapping[str, str]) -> float:
    """Wall seconds of a pytest process; ends the benchmark's row with its output if it fails."""
    plugins = [word for name in ("clock", *suite.plugins) for word in ("-p", name)]
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *plugins, *files]
    began = time.perf_counter()
    done = subprocess.run(
        command, cwd=folder, env=environment, capture_output=True, text=True, check=False
    )
    took = time.perf_counter() - began
    if done.returncode:
        raise RuntimeError(done.stdout + done.stderr)
    return took


def measure(suite: Suite, folder: Path, times: Times, environment: Mapping[str, str]) -> None:
    """One round of one contender."""
    times.first.append(run(suite, folder, "test_first.py", environment=environment))
    run(suite, folder, "test_rolled_back.py", "test_committed.py", environment=environment)
    spent = json.loads((folder / "spent.json").read_text())
    for name, into in (("rolled_back", times.rolled_back), ("committed", times.committed)):
        took = [seconds for test, seconds in spent.items() if f"test_{name}[" in test]
        into.append(statistics.median(took))


def compare(rounds: int, folder: Path) -> None:
    """Measure and print."""
    bindir, version = provide_binaries(find_binaries(), folder, None)
    environment = _environment(folder)
    contenders = suites(str(bindir))
    absent = {suite.name: suite.absent() for suite in contenders}
    results: dict[str, Times] = {}
    for suite in contenders:
        if not absent[suite.name]:
            write(suite, folder / suite.name)
            try:
                measure(suite, folder / suite.name, Times(), environment)
            except RuntimeError as error:
                print(error, file=sys.stderr)
                absent[suite.name] = "its suite fails here, see stderr"
            else:
                results[suite.name] = Times()
    running = [suite for suite in contenders if suite.name in results]
    for number in range(rounds):
        for suite in running[:: -1 if number % 2 else 1]:
            measure(suite, folder / suite.name, results[suite.name], environment)
    print(f"PostgreSQL {version}, Python {sys.version.split()[0]}, {rounds} rounds\n")
    show(contenders, results, absent)


def _environment(folder: Path) -> dict[str, str]:
    hidden = ("PYTEST", "FOUNDRY_DATA", "DATABASE_URL", "PG")
    kept = {k: v for k, v in os.environ.items() if not k.startswith(hidden)}
    own = ("HOME", "XDG_CACHE_HOME", "TMPDIR", "npm_config_cache")
    return kept | dict.fromkeys(own, str(folder)) | {"PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}


def show(contenders: list[Suite], results: Mapping[str, Times], absent: Mapping[str, str]) -> None:
    """Print the table, and what the first column comes to against the best peer."""
    print("| | first test, s | a test, rolled back, ms | a test that commits, ms | undone by |")
    print("|---|---|---|---|---|")
    firsts = {name: statistics.median(times.first) for name, times in results.items()}
    for suite in contenders:
        if suite.name not in results:
            print(f"| {suite.name} | {absent[suite.name]} | | | |")
            continue
        times = results[suite.name]
        rolled_back = statistics.median(times.rolled_back) * 1e3
        committed = statistics.median(times.committed) * 1e3
        print(
            f"| {suite.name} | {firsts[suite.name]:.2f} ({min(times.first):.2f} to "
            f"{max(times.first):.2f}) | {rolled_back:.2f} | {committed:.1f} | {suite.by} |"
        )
    ours = firsts.pop("foundry", None)
    if ours and firsts:
        best = min(firsts, key=lambda name: firsts[name])
        pairs = zip(results["foundry"].first, results[best].first, strict=True)
        ratios = ", ".join(f"{mine / other:.2f}" for mine, other in pairs)
        print(f"\nTime to the first test: {ours / firsts[best]:.2f} of that of {best}.")
        print(f"By round: {ratios}.")


def main() -> int:
    """Run, as root by way of an account that PostgreSQL runs for."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--rounds", type=int, default=5)
    rounds = parser.parse_args().rounds
    # In /tmp: the path of a socket has 104 bytes at most.
    with tempfile.TemporaryDirectory(prefix="foundry-bench-", dir="/tmp") as name:
        folder = Path(name)
        if os.geteuid() != 0:
            compare(rounds, folder)
            return 0
        return _unprivileged(rounds, folder)


def _unprivileged(rounds: int, folder: Path) -> int:
    try:
        account = account_for(folder / "none")
    except FoundryError as error:
        raise SystemExit(str(error)) from error
    assert account is not None
    os.chown(folder, account.uid, account.gid)
    script = shutil.copy(__file__, folder / "benchmark.py")
    words = {"user": account.uid, "group": account.gid, "extra_groups": []}
    with suppress(PermissionError):
        return subprocess.run(
            [sys.executable, script, "--rounds", str(rounds)],
            cwd=folder,
            env={**os.environ, "HOME": str(folder)},
            check=False,
            **words,
        ).returncode
    raise SystemExit(f'account "{account.name}" cannot run "{sys.executable}": use another Python')


if __name__ == "__main__":
    sys.exit(main())
