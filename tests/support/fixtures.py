"""Fixtures that tests of several folders ask for."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from support.migrations import Command, Ended
from support.processes import run_module


@pytest.fixture
def command(tmp_path: Path, tmp_path_factory: pytest.TempPathFactory) -> Command:
    """Run `python -m foundry.migrate` in a folder of its own."""

    def run(*words: str, code: int | None = None, **environment: str) -> Ended:
        inherited = {k: v for k, v in os.environ.items() if k != "DATABASE_URL"}
        ended = run_module(
            "foundry.migrate",
            words,
            folder=tmp_path,
            said=tmp_path_factory.mktemp("said") / "it",
            environment={**inherited, "NO_COLOR": "1", "COLUMNS": "200", **environment},
        )
        assert code is None or code == ended.code, ended
        return ended

    return run
