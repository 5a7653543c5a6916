"""The README says what is so."""

from __future__ import annotations

import ast
import builtins
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text(encoding="utf-8")


def commands() -> list[str]:
    """The lines of the README's shell blocks."""
    blocks = re.findall(r"```sh\n(.*?)```", README, flags=re.DOTALL)
    return [line for block in blocks for line in block.strip().splitlines()]


def test_continuous_integration_runs_the_readmes_test_command() -> None:
    """The second command, as it stands there."""
    assert commands()[1] in (ROOT / ".ci" / "run").read_text(encoding="utf-8")


@pytest.mark.parametrize("verb", ["status", "up", "down", "stamp", "verify"])
def test_every_option_named_beside_a_verb_exists(verb: str) -> None:
    """And every verb has help."""
    shown = subprocess.run(
        [sys.executable, "-m", "foundry.migrate", verb, "--help"],
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    (line,) = [c for c in commands() if c.startswith(f"python -m foundry.migrate {verb} ")][:1]
    assert set() == {o for o in re.findall(r"--[a-z-]+", line) if o not in shown}


def test_every_link_inside_the_checkout_leads_somewhere() -> None:
    """Files and folders."""
    links = re.findall(r"\]\(([^)#:]+)\)", README)
    assert links
    assert [] == [link for link in links if not (ROOT / link).exists()]


def unknown(code: str) -> set[str]:
    """Names that Python code uses and neither imports nor binds."""
    nodes = list(ast.walk(ast.parse(code)))
    names = [n for n in nodes if isinstance(n, ast.Name)]
    bound = {n.id for n in names if isinstance(n.ctx, ast.Store)}
    bound |= {n.arg for n in nodes if isinstance(n, ast.arg)}
    defined = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)
    bound |= {n.name for n in nodes if isinstance(n, defined)}
    imports = [n for n in nodes if isinstance(n, (ast.Import, ast.ImportFrom))]
    bound |= {alias.asname or alias.name.split(".")[0] for n in imports for alias in n.names}
    return {n.id for n in names} - bound - set(dir(builtins))


def test_its_python_imports_what_it_uses() -> None:
    """Each block, or one before it in its section; what runs an event loop is a program."""
    for section in re.split(r"^##+ ", README, flags=re.MULTILINE):
        before = ""
        for block in re.findall(r"```python\n(.*?)```", section, flags=re.DOTALL):
            before += block
            assert set() == unknown(block if "asyncio.run(" in block else before), block
