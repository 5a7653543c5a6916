"""The server that these tests kill."""

from __future__ import annotations

import shutil
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

# In pytest's importlib mode a folder of tests is on no path, and a conftest cannot be imported.
sys.path.insert(0, str(Path(__file__).parent))

from bench import Bench, made


@pytest.fixture(scope="session")
def bench() -> Iterator[Bench]:
    """A server of these tests' own."""
    place = Path(tempfile.mkdtemp(prefix="fdry-", dir="/tmp"))
    found = made(place)
    try:
        yield found
    finally:
        found.end()
        shutil.rmtree(place, ignore_errors=True)
