"""Row security."""

from __future__ import annotations

from operator import attrgetter

import pytest
from support.cases import Case, note, prove
from support.server import Server

CASES = (
    Case(
        name="a policy",
        a=note("a = TextField()") + "OBJECTS = []",
        b=note("a = TextField()")
        + "OBJECTS = [declare.RowSecurity(Note, force=True), declare.Policy(Note, "
        "'mine', command='SELECT', using='a = current_user')]",
        actions=("set row security", "set row security", "create policy"),
        locks=(("note", "ACCESS EXCLUSIVE", "instant"),),
        checks=(),
    ),
    Case(
        name="another condition",
        a=note("a = TextField()")
        + "OBJECTS = [declare.RowSecurity(Note), declare.Policy(Note, 'mine', using='a = "
        "current_user')]",
        b=note("a = TextField()")
        + "OBJECTS = [declare.RowSecurity(Note), declare.Policy(Note, 'mine', using='a "
        "<> current_user')]",
        actions=("drop policy", "create policy"),
    ),
    Case(
        name="off again",
        a=note("a = TextField()")
        + "OBJECTS = [declare.RowSecurity(Note), declare.Policy(Note, 'mine', using='a = "
        "current_user')]",
        b=note("a = TextField()") + "OBJECTS = []",
        actions=("drop policy", "set row security"),
    ),
)


@pytest.mark.parametrize("case", CASES, ids=attrgetter("name"))
def test_row_security_becomes_what_is_declared(server: Server, case: Case) -> None:
    """Flags and policies."""
    prove(server, case)
