"""New processes that have read the slow modules already: it takes longer than most commands."""

from __future__ import annotations

import atexit
import multiprocessing
import os
import runpy
import sys
from collections.abc import Sequence
from pathlib import Path

from support.migrations import Ended

# Nothing of foundry's: a suite that is run there watches what the plugin reads, and when.
_READ = (
    "hypothesis",
    "langgraph.checkpoint.postgres.base",
    "playhouse.migrations",
    "playhouse.postgres_ext",
    "playhouse.pool",
    "psycopg2.extras",
    "pytest",
    "rich.console",
    "rich.table",
)
_fork = multiprocessing.get_context("forkserver")
_fork.set_forkserver_preload(list(_READ))


def run_module(
    name: str, words: Sequence[str], *, folder: Path, said: Path, environment: dict[str, str]
) -> Ended:
    """Do what `python -m name words…` does in a folder; `said` is where its output is kept."""
    said.mkdir(parents=True)
    process = _fork.Process(target=_run, args=(name, words, folder, said, environment))
    process.start()
    process.join(120)
    if process.exitcode is None:
        process.kill()
        process.join()
    out, err = ((said / stream).read_text() for stream in ("out", "err"))
    assert process.exitcode is not None
    return Ended(code=process.exitcode, out=out, err=err)


def _run(
    name: str, words: Sequence[str], folder: Path, said: Path, environment: dict[str, str]
) -> None:
    os.environ.clear()
    os.environ.update(environment)
    os.chdir(folder)
    for stream, file in ((sys.stdout, "out"), (sys.stderr, "err")):
        with (said / file).open("w") as opened:
            os.dup2(opened.fileno(), stream.fileno())
    own = environment.get("PYTHONPATH", "").split(os.pathsep)
    sys.path[:0] = [str(folder), *filter(None, own)]
    sys.argv[1:] = words
    try:
        runpy.run_module(name, run_name="__main__", alter_sys=True)
    finally:
        atexit._run_exitfuncs()
