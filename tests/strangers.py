"""Run the project in tests/downstream as its owners would, with the foundry that is installed.

    python strangers.py

In one process, then under pytest-xdist on the same server: the second run finds the template of
the first. Exits 1 with the output of a run that failed or left something behind:
a process, a database or a file. Runs anywhere but in a checkout of foundry, and needs
cerina-foundry[async,fixtures,embedded], fastapi, httpx and pytest-xdist.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from contextlib import closing
from pathlib import Path

import psycopg2

PROJECT = Path(__file__).parent / "downstream"
RUNS = (("-p", "no:xdist"), ("-n", "2"))
_CACHES = {".hypothesis", ".pytest_cache", "__pycache__"}
_DATABASES = r"SELECT datname FROM pg_database WHERE datname ~ '^(foundry_w|notes_)' ORDER BY 1"
_TEMPLATES = r"SELECT count(*) FROM pg_database WHERE datname ~ '^foundry_tpl_'"
_PATIENCE = 15.0


def main() -> int:
    """Run it all in a folder that goes away; returns the exit code."""
    _refuse_checkout()
    # In /tmp: an account of the server's has to enter it when this one is root.
    with tempfile.TemporaryDirectory(prefix="foundry-strangers-", dir="/tmp") as name:
        folder = Path(name)
        folder.chmod(0o755)
        try:
            return _runs(folder)
        finally:
            _end_server(folder / "data")


def _refuse_checkout() -> None:
    import foundry

    if Path(str(foundry.__file__)).parents[1] == Path(__file__).parents[1]:
        raise SystemExit("this is the checkout's foundry: install a wheel, and run elsewhere")


def _runs(folder: Path) -> int:
    project = Path(shutil.copytree(PROJECT, folder / "project", ignore=_ignored))
    scratch = folder / "tmp"
    scratch.mkdir()
    own = {"TMPDIR": str(scratch), "PYTHONDONTWRITEBYTECODE": "1"}
    if not os.environ.get("DATABASE_URL"):
        own["FOUNDRY_DATA"] = str(folder / "data")
    environment = {k: v for k, v in os.environ.items() if not k.startswith("PYTEST")} | own
    before = _files(project)
    for arguments in RUNS:
        began = time.perf_counter()
        done = subprocess.run(
            [sys.executable, "-m", "pytest", "-q", *_server(), *arguments],
            cwd=project,
            env=environment,
            check=False,
        )
        if done.returncode:
            return 1
        left = _left(environment, scratch) + sorted(_files(project) ^ before)
        if left:
            print(f"left behind: {', '.join(left)}", file=sys.stderr)
            return 1
        print(f"{' '.join(arguments)}: nothing left, {time.perf_counter() - began:.1f} s\n")
    return 0


def _server() -> tuple[str, ...]:
    """An engine that happens to be here would answer, and has containers of its own."""
    return () if os.environ.get("DATABASE_URL") else ("--foundry-server", "embedded")


def _ignored(folder: str, names: list[str]) -> set[str]:
    return _CACHES & set(names)


def _files(project: Path) -> set[str]:
    found = (path.relative_to(project) for path in project.rglob("*"))
    return {str(path) for path in found if not _CACHES & set(path.parts)}


def _left(environment: Mapping[str, str], scratch: Path) -> list[str]:
    """What a run should have taken with it: processes first, while nothing asks the server."""
    data = environment.get("FOUNDRY_DATA", "")
    deadline = time.monotonic() + _PATIENCE
    while data and (running := _processes(data)) and time.monotonic() < deadline:
        time.sleep(0.1)
    # pytest keeps the folders of its last three runs.
    files = [p.name for p in scratch.iterdir() if not p.name.startswith("pytest-of-")]
    return (running if data else []) + files + _databases(data)


def _processes(data: str) -> list[str]:
    """The processes that have the server's folder in their command."""
    shown = subprocess.run(
        ["ps", "-A", "-ww", "-o", "pid=,command="], capture_output=True, text=True, check=True
    )
    return [line.strip() for line in shown.stdout.splitlines() if data in line]


def _databases(data: str) -> list[str]:
    url = os.environ.get("DATABASE_URL", "")
    if data:
        from foundry import embedded

        url = embedded.acquire(Path(data)).url("postgres")
    try:
        with closing(psycopg2.connect(url)) as session, session.cursor() as cursor:
            cursor.execute(_DATABASES)
            found = [str(name) for (name,) in cursor]
            cursor.execute(_TEMPLATES)
            templates = cursor.fetchone()
    finally:
        _end_server(Path(data) if data else None)
    if data and templates != (1,):
        found.append(f"{templates} templates")
    return found


def _end_server(data: Path | None) -> None:
    from foundry import embedded

    if data is not None and data.is_dir():
        embedded.release(data)
        embedded.stop(data)


if __name__ == "__main__":
    sys.exit(main())
