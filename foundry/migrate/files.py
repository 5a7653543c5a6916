"""A directory of migration files as values: number, name, digest and head.

Heads are literals at the top level of a file, read with `ast`, so that nothing of a
file runs before it is known what it needs and what it loses.
"""

from __future__ import annotations

import ast
import difflib
import hashlib
import os
import re
from collections.abc import Sequence
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
    locks: tuple[tuple[str, str, str], ...] = ()
    """Table, lock and work, of what the file locks."""
    checks: tuple[tuple[str, str], ...] = ()
    """Constraint, and a SELECT of the keys that stand in its way."""
    group: str = ""
    """Name shared by files that were written together."""
    fills: tuple[tuple[str, str], ...] = ()
    """Names and texts of the constants FILL_..., which stand in checks as {FILL_...}."""
    tables: tuple[tuple[str, str], ...] = ()
    """Tables as they were and are called: ("", name) is made, (name, "") dropped."""
    replayed: bool = True
    """False when the file could not be tried out before it was written."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MigrationFile:
    """One file of a directory; `name` is what the history records."""

    number: int
    name: str
    path: Path
    content: bytes
    digest: str
    """sha256 of the content, in hex."""
    head: Head


def read_directory(directory: Path) -> tuple[MigrationFile, ...]:
    """Return the migration files of a directory in the order they apply; refuses `twins`."""
    found = listed(directory)
    refuse_twins(found)
    return found


def refuse_twins(files: Sequence[MigrationFile]) -> None:
    """Raise HistoryConflict for two files of one number: which comes first nobody has said."""
    for before, after in twins(files):
        raise HistoryConflict(two_of_a_number(before, after))


def twins(files: Sequence[MigrationFile]) -> tuple[tuple[str, str], ...]:
    """Return the names of files, in their order, that follow one of the same number."""
    return tuple((a.name, b.name) for a, b in pairwise(files) if a.number == b.number)


def two_of_a_number(before: str, after: str) -> str:
    """Return what is to be said of two files of one number."""
    return f'"{before}" and "{after}" have the same number: give one of them the next free number'


def listed(directory: Path) -> tuple[MigrationFile, ...]:
    """Return the migration files of a directory by their numbers, of which two may be the same.

    A Python file whose name is no NNNN_name.py is refused; names that begin with an underscore
    are not looked at.
    """
    try:
        names = sorted(os.listdir(directory))
    except FileNotFoundError:
        raise MigrationError(
            f'there is no folder "{directory}": make it, or name another with --directory'
        ) from None
    except OSError as error:
        raise MigrationError(f'"{directory}" cannot be read: {error.strerror}') from error
    paths = [directory / name for name in names if name.endswith(".py") and name[0] not in "_."]
    for path in paths:
        if not re.fullmatch(r"[0-9]+\w*", path.stem, re.ASCII):
            raise MigrationError(
                f'"{path.name}" is not named NNNN_name.py (ASCII letters, digits and "_"): '
                f"rename it"
            )
    return tuple(sorted((_read(path) for path in paths), key=lambda f: (f.number, f.name)))


def number_of(name: str) -> int:
    """Return the number a migration's name begins with; -1 where it has none."""
    digits = re.match(r"[0-9]+", name)
    return int(digits.group()) if digits else -1


def _read(path: Path) -> MigrationFile:
    try:
        if not path.is_file():
            raise MigrationError(f'"{path.name}" is not an ordinary file: remove it')
        content = path.read_bytes()
        tree = ast.parse(content, filename=path.name)
    except (SyntaxError, ValueError) as error:
        line = getattr(error, "lineno", None)
        at = f" at line {line}" if line else ""
        raise MigrationError(f'"{path.name}" is not valid Python{at}: correct the file') from error
    except OSError as error:
        raise MigrationError(f'"{path}" cannot be read: {error.strerror}') from error
    return MigrationFile(
        number=number_of(path.stem),
        name=path.stem,
        path=path,
        content=content,
        digest=hashlib.sha256(content).hexdigest(),
        head=_head(tree, path.name),
    )


def _head(tree: ast.Module, name: str) -> Head:
    values: dict[str, Any] = {}
    plain: set[ast.expr] = set()
    for statement in tree.body:
        for target, expression in _assignments(statement):
            plain.add(target)
            if target.id in _HEADS and target.id not in values:
                where = f'"{name}" line {statement.lineno}'
                values[target.id] = _value(target.id, expression, where)
            elif target.id in _HEADS:
                plain.discard(target)
            else:
                _refuse_misspelt(target.id, f'"{name}" line {statement.lineno}')
    _refuse_hidden(tree, plain, name)
    head = Head(**values, fills=_fills(tree))
    for requirement in head.requires:
        try:
            requirements.parse(requirement)
        except DeclarationError as error:
            raise MigrationError(f'"{name}": {error}') from error
    return head


def _fills(tree: ast.Module) -> tuple[tuple[str, str], ...]:
    found = [pair for statement in tree.body for pair in _assignments(statement)]
    texts = {
        target.id: value.value
        for target, value in found
        if target.id.startswith("FILL_") and isinstance(value, ast.Constant)
    }
    return tuple((name, text) for name, text in texts.items() if isinstance(text, str))


def _value(key: str, expression: ast.expr, where: str) -> Any:
    wanted = _HEADS[key]
    try:
        value = ast.literal_eval(expression)
    except (ValueError, TypeError) as error:
        raise MigrationError(f'{where}: "{key}" must be a literal') from error
    if not _fits(value, wanted):
        raise MigrationError(f'{where}: "{key}" must be {_SHAPES[wanted]}')
    return value


def _assignments(statement: ast.stmt) -> list[tuple[ast.Name, ast.expr]]:
    if isinstance(statement, ast.Assign) and len(statement.targets) == 1:
        (target,) = statement.targets
        return [(target, statement.value)] if isinstance(target, ast.Name) else []
    if isinstance(statement, ast.AnnAssign) and isinstance(statement.target, ast.Name):
        return [(statement.target, statement.value)] if statement.value else []
    return []


def _refuse_hidden(tree: ast.Module, plain: set[ast.expr], name: str) -> None:
    """Refuse a head that gets its value in a way that cannot be read without running the file."""
    waiting: list[ast.AST] = list(tree.body)
    while waiting:
        node = waiting.pop()
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef, ast.Lambda)):
            continue
        stored = isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store)
        if isinstance(node, ast.Name) and stored and node.id in _HEADS and node not in plain:
            raise MigrationError(
                f'"{name}" line {node.lineno}: "{node.id}" must be assigned once, by itself, '
                f"at the top level"
            )
        waiting.extend(ast.iter_child_nodes(node))


# A kind of value: a type, or how many strings each item of a tuple has.
_HEADS: dict[str, type | int] = {
    "atomic": bool,
    "requires": 1,
    "loses": 1,
    "down_loses": 1,
    "locks": 3,
    "checks": 2,
    "tables": 2,
    "group": str,
    "replayed": bool,
}
_SHAPES: dict[type | int, str] = {
    bool: "True or False",
    str: "a string",
    1: "a tuple of strings",
    2: "a tuple of pairs of strings",
    3: "a tuple of triples of strings",
}


def _fits(value: object, wanted: type | int) -> bool:
    if isinstance(wanted, type):
        return isinstance(value, wanted)
    if not isinstance(value, tuple):
        return False
    if wanted == 1:
        return all(isinstance(item, str) for item in value)
    return all(
        isinstance(item, tuple)
        and len(item) == wanted
        and all(isinstance(part, str) for part in item)
        for item in value
    )


def _refuse_misspelt(key: str, where: str) -> None:
    # A misspelt "loses" would switch off the question whether data may be lost.
    meant = difflib.get_close_matches(key, _HEADS, n=1, cutoff=0.75)
    if meant:
        raise MigrationError(f'{where}: "{key}" is no head; did you mean "{meant[0]}"?')
