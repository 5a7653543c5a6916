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
    *(
        Case(
            name=f"of {name}, and of a column it stays on",
            a=note("a = TextField()", "b = TextField()")
            + f"OBJECTS = [{whole}, declare.Grant('{own}', on=Note, to='pg_monitor', "
            "columns=[Note.a], grantable=True)]",
            b=note("a = TextField()", "b = TextField()")
            + f"OBJECTS = [declare.Grant('{own}', on=Note, to='pg_monitor', "
            "columns=[Note.a], grantable=True)]",
            actions=actions,
        )
        for name, whole, own, actions in (
            (
                "a whole table",
                "declare.Grant('SELECT', on=Note, to='pg_monitor')",
                "SELECT",
                ("revoke", "grant"),
            ),
            (
                "a whole table, another one",
                "declare.Grant('SELECT', on=Note, to='pg_monitor')",
                "INSERT",
                ("revoke",),
            ),
        )
    ),
    Case(
        name="of a table, then of a column",
        a=note("a = TextField()") + "OBJECTS = [declare.Grant('SELECT', on=Note, to='pg_monitor')]",
        b=note("a = TextField()")
        + "OBJECTS = [declare.Grant('SELECT', on=Note, to='pg_monitor', columns=[Note.a])]",
        actions=("revoke", "grant"),
    ),
    Case(
        name="of a table and its column, then both to pass on",
        a=note("a = TextField()") + "OBJECTS = [declare.Grant('SELECT', on=Note, to='pg_monitor'), "
        "declare.Grant('SELECT', on=Note, to='pg_monitor', columns=[Note.a])]",
        b=note("a = TextField()")
        + "OBJECTS = [declare.Grant('SELECT', on=Note, to='pg_monitor', grantable=True), "
        "declare.Grant('SELECT', on=Note, to='pg_monitor', columns=[Note.a])]",
        actions=("revoke", "grant", "grant"),
    ),
    Case(
        name="on a column that goes, by nobody's declaration",
        a=note("a = TextField()", "b = TextField()"),
        b=note("a = TextField()", "c = TextField(default='x', index=True)"),
        rows="GRANT SELECT (b), UPDATE (b), SELECT (a) ON note TO pg_monitor",
        rest="GRANT SELECT (a) ON note TO pg_monitor",
        actions_unsaid=True,
        works=(("note", "build"),),
        loses=("note.b",),
    ),
    Case(
        name="on a function that another one replaces, by nobody's declaration",
        a="OBJECTS = [declare.Function(name='f', create='CREATE FUNCTION f(int) RETURNS int "
        "LANGUAGE sql AS $$ SELECT 1 $$')]",
        b="OBJECTS = [declare.Function(name='f', create='CREATE FUNCTION f(text) RETURNS int "
        "LANGUAGE sql AS $$ SELECT 1 $$')]",
        rows="GRANT EXECUTE ON FUNCTION f(int) TO pg_monitor",
        actions=("drop function", "create function"),
    ),
    Case(
        name="one that may be passed on, and one of a namespace that goes",
        a=note("a = TextField()", meta="schema = 'side'")
        + "NAMESPACES = ['side']\n"
        + "OBJECTS = [declare.Grant('SELECT', on=Note, to='pg_monitor'), "
        "declare.Grant('USAGE', on='side', to='pg_monitor')]",
        b=note("a = TextField()", meta="schema = 'side'")
        + "NAMESPACES = ['side']\n"
        + "OBJECTS = [declare.Grant('SELECT', on=Note, to='pg_monitor', grantable=True)]",
        actions=("revoke", "grant", "revoke"),
    ),
)


@pytest.mark.parametrize("case", CASES, ids=attrgetter("name"))
def test_privileges_become_what_is_declared(server: Server, case: Case) -> None:
    """Those of other roles stay."""
    prove(server, case)
