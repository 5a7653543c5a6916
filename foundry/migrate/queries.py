"""The fixed queries of this package, each a file of SQL."""

from __future__ import annotations

from functools import cache
from importlib import resources


@cache
def text(name: str) -> str:
    """Return the text of one of the files."""
    file = resources.files("foundry.migrate").joinpath("sql", f"{name}.sql")
    return file.read_text(encoding="utf-8")
