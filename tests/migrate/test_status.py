"""`status` shows what `up` refuses."""

from __future__ import annotations

import json
from pathlib import Path

from support.migrations import Command, table, url_of

from foundry.database import Target


def test_two_files_of_one_number_are_shown_and_both_marked(
    empty: Target, command: Command, directory: Path
) -> None:
    """Who has to give one of them another number wants to see the others."""
    options = ("--directory", str(directory), "--database", url_of(empty))
    table(directory, "0001_a", "a")
    command("up", *options)
    table(directory, "0001_b", "b")
    table(directory, "0002_c", "c")
    ended = command("status", *options, code=3)
    shown = {line.split()[0]: line for line in ended.out.splitlines() if line[:4].isdigit()}
    assert 'has the number of "0001_b"' in shown["0001_a"]
    assert 'has the number of "0001_a"' in shown["0001_b"]
    assert "number" not in shown["0002_c"]
    told = 'error: "0001_a" and "0001_b" have the same number: give one of them the next free'
    assert told in ended.err
    assert told in command("up", *options, code=3).err
    values = json.loads(command("status", "--json", *options, code=3).out.splitlines()[0])
    assert [told.removeprefix("error: ") + " number"] == values["conflicts"]
