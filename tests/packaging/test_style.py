"""The size of functions and modules."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
MODULES = sorted(
    path.relative_to(ROOT)
    for room in ("foundry", "schema", "fixtures")
    for path in (ROOT / room).rglob("*.py")
    if not {"foundry/schema", "foundry/fixtures"} & set(map(str, path.relative_to(ROOT).parents))
)

Function = ast.FunctionDef | ast.AsyncFunctionDef


def body_lines(function: Function) -> int:
    """The lines of a function after its docstring."""
    body = function.body[1:] if ast.get_docstring(function) is not None else function.body
    return 0 if not body else (body[-1].end_lineno or 0) - body[0].lineno + 1


def test_there_are_modules_to_look_at() -> None:
    """An empty list would pass every test below."""
    assert Path("foundry/errors.py") in MODULES
    assert Path("schema/base.py") in MODULES


@pytest.mark.parametrize("path", MODULES, ids=str)
def test_no_function_has_more_than_40_lines(path: Path) -> None:
    """Docstrings do not count."""
    tree = ast.parse((ROOT / path).read_text("utf-8"))
    functions = [node for node in ast.walk(tree) if isinstance(node, Function)]
    long = [f"{f.name}: {body_lines(f)} lines" for f in functions if body_lines(f) > 40]
    assert [] == long


@pytest.mark.parametrize("path", [p for p in MODULES if "migrations" not in p.parts], ids=str)
def test_no_module_has_more_than_400_lines(path: Path) -> None:
    """Migrations are frozen text and may be as long as they are."""
    assert 400 >= len((ROOT / path).read_text("utf-8").splitlines())
