"""Directories and commands for migration tests."""

from __future__ import annotations

from pathlib import Path

import pytest
from support.fixtures import command

__all__ = ["command", "directory"]


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    """A directory for migration files."""
    folder = tmp_path / "migrations"
    folder.mkdir()
    return folder
