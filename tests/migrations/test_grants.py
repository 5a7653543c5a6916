"""Privileges, of roles that are named."""

from __future__ import annotations

from operator import attrgetter

import pytest
from support.cases import Case, note, prove
from support.server import Server

CASES = (
    Case(
        name="privileges of a role",
        a=note("a = TextField()") + "OBJECTS = []",
        b=note("a = TextField()")
        + "OBJECTS = [declare.Grant(('SELECT', 'INSERT'), on=Note, to='pg_monitor')]",
        actions=("grant", "grant"),
        locks=(),
        checks=(),
    ),
    Case(
        name="other privileges",
        a=note("a = TextField()") + "OBJECTS = [declare.Grant('SELECT', on=Note, to='pg_monitor')]",
        b=note("a = TextField()") + "OBJECTS = [declare.Grant('INSERT', on=Note, to='pg_monitor')]",
        actions=("revoke", "grant"),
    ),
    Case(
        name="of a column",
        a=note("a = TextField()") + "OBJECTS = []",
        b=note("a = TextField()")
        + "OBJECTS = [declare.Grant('SELECT', on=Note, to='pg_monitor', columns=[Note.a])]",
        actions=("grant",),
    ),
)


@pytest.mark.parametrize("case", CASES, ids=attrgetter("name"))
def test_privileges_become_what_is_declared(server: Server, case: Case) -> None:
    """Those of other roles stay."""
    prove(server, case)
