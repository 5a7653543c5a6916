"""Fixtures that tests of several folders ask for."""

from __future__ import annotations

import atexit
import multiprocessing
import os
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

from support.migrations import Command, Ended

# Reading the modules takes longer than most commands: processes are forked from one that has.
_processes = multiprocessing.get_context("forkserver")
_processes.set_forkserver_preload(
    ["foundry.migrate.cli", "foundry.schema", "langgraph.checkpoint.postgres.base"]
)


def _main(words: Sequence[str], folder: Path, said: Path, environment: dict[str, str]) -> None:
    """Do in a new process what `python -m foundry.migrate` does."""
    os.environ.clear()
    os.environ.update(environment)
    os.chdir(folder)
    sys.path.insert(0, str(folder))
    for stream, name in ((sys.stdout, "out"), (sys.stderr, "err")):
        with (said / name).open("w") as file:
            os.dup2(file.fileno(), stream.fileno())
    from foundry.migrate.cli import main

    try:
        sys.exit(main(words))
    finally:
        atexit._run_exitfuncs()


@pytest.fixture
def command(tmp_path: Path, tmp_path_factory: pytest.TempPathFactory) -> Command:
    """Run `python -m foundry.migrate` in a folder of its own."""

    def run(*words: str, code: int | None = None, **environment: str) -> Ended:
        inherited = {k: v for k, v in os.environ.items() if k != "DATABASE_URL"}
        environment = {**inherited, "NO_COLOR": "1", "COLUMNS": "200", **environment}
        said = tmp_path_factory.mktemp("said")
        process = _processes.Process(target=_main, args=(words, tmp_path, said, environment))
        process.start()
        process.join(120)
        if process.exitcode is None:
            process.kill()
            process.join()
        out, err = ((said / name).read_text() for name in ("out", "err"))
        assert process.exitcode is not None
        result = Ended(code=process.exitcode, out=out, err=err)
        assert code is None or code == result.code, result
        return result

    return run
