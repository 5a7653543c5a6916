"""A directory of migration files as values: number, name, digest and head.

Heads are literals at the top level of a file, read with `ast`, so that nothing of a
file runs before it is known what it needs and what it loses.
"""

from __future__ import annotations

import ast
import hashlib
import re
from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

from foundry import requirements
from foundry.errors import DeclarationError, HistoryConflict, MigrationError


@dataclass(frozen=True, slots=True, kw_only=True)
class Head:
    """What a file says of itself before it is run."""

    atomic: bool = True
    requires: tuple[str, ...] = ()
    loses: tuple[str, ...] = ()
    """What applying the file loses, in words."""
    down_loses: tuple[str, ...] = ()
    """What reverting the file loses, in words."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MigrationFile:
    """One file of a directory; `name` is what the history records."""

    number: int
    name: str
    path: Path
    digest: str
    """sha256 of the file's bytes, in hex."""
    head: Head


def read_directory(directory: Path) -> tuple[MigrationFile, ...]:
    """Return the migration files of a directory in the order they apply.

    A directory that is not there has no files. Two files of one number are refused.
    """
    paths = sorted(directory.glob("[0-9]*.py"))
    found = sorted((_read(path) for path in paths), key=lambda f: (f.number, f.name))
    for before, after in pairwise(found):
        if before.number == after.number:
            raise HistoryConflict(
                f'"{before.name}" and "{after.name}" have the same number: '
                f"give one of them the next free number"
            )
    return tuple(found)


def _read(path: Path) -> MigrationFile:
    try:
        content = path.read_bytes()
        tree = ast.parse(content, filename=path.name)
    except (SyntaxError, ValueError) as error:
        line = getattr(error, "lineno", None)
        at = f" at line {line}" if line else ""
        raise MigrationError(f'"{path.name}" is not valid Python{at}: correct the file') from error
    except OSError as error:
        raise MigrationError(f'"{path}" cannot be read: {error.strerror}') from error
    number = re.match(r"\d+", path.stem)
    assert number is not None  # the glob asked for a leading digit
    return MigrationFile(
        number=int(number.group()),
        name=path.stem,
        path=path,
        digest=hashlib.sha256(content).hexdigest(),
        head=_head(tree, path.name),
    )


def _head(tree: ast.Module, name: str) -> Head:
    values: dict[str, Any] = {}
    for statement in tree.body:
        for key, expression in _assignments(statement):
            check = _CHECKS.get(key)
            if check is None:
                continue
            try:
                value = ast.literal_eval(expression)
            except ValueError as error:
                raise MigrationError(
                    f'"{name}" line {statement.lineno}: "{key}" must be a literal'
                ) from error
            if not check(value):
                wanted = "True or False" if key == "atomic" else "a tuple of strings"
                raise MigrationError(f'"{name}" line {statement.lineno}: "{key}" must be {wanted}')
            values[key] = value
    head = Head(**values)
    for requirement in head.requires:
        try:
            requirements.parse(requirement)
        except DeclarationError as error:
            raise MigrationError(f'"{name}": {error}') from error
    return head


def _assignments(statement: ast.stmt) -> list[tuple[str, ast.expr]]:
    if isinstance(statement, ast.Assign):
        return [(t.id, statement.value) for t in statement.targets if isinstance(t, ast.Name)]
    if isinstance(statement, ast.AnnAssign) and isinstance(statement.target, ast.Name):
        return [(statement.target.id, statement.value)] if statement.value else []
    return []


def _words(value: object) -> bool:
    return isinstance(value, tuple) and all(isinstance(item, str) for item in value)


_CHECKS: dict[str, Callable[[object], bool]] = {
    "atomic": lambda value: isinstance(value, bool),
    "requires": _words,
    "loses": _words,
    "down_loses": _words,
}
