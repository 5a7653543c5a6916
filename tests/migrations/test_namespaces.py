"""Namespaces."""

from __future__ import annotations

from operator import attrgetter

import pytest
from support.cases import Case, note, prove
from support.server import Server

CASES = (
    Case(
        name="a namespace and a table in it",
        a=note("body = TextField()"),
        b=note("body = TextField()")
        + note("body = TextField()", meta="schema = 'side'", name="Aside")
        + "NAMESPACES = ['side']",
        actions=("create namespace", "create table"),
    ),
    Case(
        name="a namespace whose name needs quotes",
        b=note("body = TextField(index=True)", meta="schema = 'The \"other\" one.x'")
        + "NAMESPACES = ['The \"other\" one.x']",
        actions=("create namespace", "create table", "create index"),
    ),
    Case(
        name="a foreign key between namespaces",
        a=note("body = TextField()", meta="schema = 'side'") + "NAMESPACES = ['side']",
        b=note("body = TextField()", meta="schema = 'side'")
        + note("note = ForeignKeyField(Note)", name="Mark")
        + "NAMESPACES = ['side']",
        actions=("create table", "create index", "add constraint"),
    ),
    Case(
        name="tables of one name in two namespaces",
        a=note("a = TextField()")
        + note("a = TextField()", meta="schema = 'side'; table_name = 'note'", name="Other")
        + "NAMESPACES = ['side']",
        b=note("a = TextField()")
        + note(
            "a = TextField()",
            "b = TextField(null=True)",
            meta="schema = 'side'; table_name = 'note'",
            name="Other",
        )
        + "NAMESPACES = ['side']",
        actions=("add column",),
        locks=(("side.note", "ACCESS EXCLUSIVE", "instant"),),
        checks=(),
    ),
)


@pytest.mark.parametrize("case", CASES, ids=attrgetter("name"))
def test_a_namespace_is_brought_along(server: Server, case: Case) -> None:
    """Made when it is missing, and never dropped with something in it."""
    prove(server, case)
