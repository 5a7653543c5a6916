"""The README says what is so."""

from __future__ import annotations

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
