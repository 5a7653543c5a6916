"""Suites of strangers, run by a pytest of their own."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import psycopg2
import pytest
from support.processes import run_module
from testing.engine import Programs

import foundry
from foundry import embedded

#: The plugin is named, not found by its entry point: a checkout has none.
PLUGIN = "foundry.fixtures.plugin"
Run = Callable[..., "Ended"]


@dataclass(frozen=True, slots=True)
class Ended:
    """A pytest run that ended: exit code and what it printed."""

    code: int
    out: str


@pytest.fixture(scope="module")
def data(open_folder: Path) -> Iterator[Path]:
    """The data folder of the embedded server that the strangers of a module share."""
    folder = open_folder / "strangers"
    embedded.acquire(folder)
    yield folder
    embedded.release(folder)
    embedded.stop(folder)


@pytest.fixture
def ask(data: Path) -> Callable[..., list[tuple[object, ...]]]:
    """Ask the strangers' server a question, in a database of it."""

    def run(query: str, dbname: str = "postgres") -> list[tuple[object, ...]]:
        session = psycopg2.connect(embedded.acquire(data).url(dbname))
        try:
            session.autocommit = True
            cursor = session.cursor()
            cursor.execute(query)
            return list(cursor.fetchall()) if cursor.description else []
        finally:
            session.close()

    return run


@pytest.fixture
def stranger(tmp_path: Path, tmp_path_factory: pytest.TempPathFactory, data: Path) -> Run:
    """Run a suite of one file with the plugin, nothing of this suite's settings around it.

    A fresh process has read no module yet, and takes longer.
    """

    def run(test: str, *arguments: str, fresh: bool = False, **environment: str) -> Ended:
        (tmp_path / "test_it.py").write_text(textwrap.dedent(test))
        if not (tmp_path / "pytest.ini").exists():
            (tmp_path / "pytest.ini").write_text("[pytest]\nfilterwarnings = error\n")
        kept = {
            name: value
            for name, value in os.environ.items()
            if not name.startswith(("PYTEST", "COV")) and name != "DATABASE_URL"
        }
        paths = [str(Path(str(foundry.__file__)).parents[1]), kept.get("PYTHONPATH", "")]
        kept |= {
            "PYTHONPATH": os.pathsep.join(filter(None, paths)),
            "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1",
            "FOUNDRY_DATA": str(data),
            "DOCKER_HOST": "unix:///nowhere/docker.sock",
            "XDG_CACHE_HOME": str(tmp_path),
        }
        words = ["-p", PLUGIN, "-p", "no:cacheprovider", *arguments]
        if fresh:
            done = subprocess.run(
                [sys.executable, "-m", "pytest", *words],
                cwd=tmp_path,
                env=kept | environment,
                capture_output=True,
                text=True,
                timeout=120,
                check=False,
            )
            return Ended(done.returncode, done.stdout + done.stderr)
        said = tmp_path_factory.mktemp("said") / "it"
        ended = run_module(
            "pytest", words, folder=tmp_path, said=said, environment=kept | environment
        )
        return Ended(ended.code, ended.out + ended.err)

    return run


@pytest.fixture(scope="session")
def programs(open_folder: Path) -> Programs:
    """What an engine runs in place of a container, taken from an embedded server."""
    folder = open_folder / "programs"
    server = embedded.acquire(folder)
    uid = server.cluster.stat().st_uid
    embedded.release(folder)
    embedded.stop(folder)
    return Programs(bindir=server.bindir, uid=uid)
