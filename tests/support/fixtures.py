"""Fixtures that tests of several folders ask for."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from support.migrations import Command, Ended


@pytest.fixture
def command(tmp_path: Path) -> Command:
    """Run `python -m foundry.migrate` in a folder of its own."""

    def run(*arguments: str, code: int | None = None, **environment: str) -> Ended:
        inherited = {k: v for k, v in os.environ.items() if k != "DATABASE_URL"}
        ended = subprocess.run(
            [sys.executable, "-m", "foundry.migrate", *arguments],
            cwd=tmp_path,
            env={**inherited, "NO_COLOR": "1", "COLUMNS": "200", **environment},
            capture_output=True,
            text=True,
            timeout=120,
        )
        result = Ended(code=ended.returncode, out=ended.stdout, err=ended.stderr)
        assert code is None or code == result.code, result
        return result

    return run
