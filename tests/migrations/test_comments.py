"""Comments of tables and columns."""

from __future__ import annotations

from operator import attrgetter

import pytest
from support.cases import Case, note, prove
from support.server import Server

CASES = (
    Case(
        name="of a table and a column",
        a=note("a = TextField()", meta="schema_manager_class = declare.SchemaManager")
        + "OBJECTS = []",
        b=note(
            "a = TextField(help_text='it\\'s 100% \"\"\" \\\\ of\\nuse')",
            meta="schema_manager_class = declare.SchemaManager; help_text = 'notes'",
        )
        + "OBJECTS = []",
        actions=("comment", "comment"),
        locks=(("note", "SHARE UPDATE EXCLUSIVE", "instant"),),
        checks=(),
    ),
    Case(
        name="gone",
        a=note("a = TextField(help_text='x')", meta="schema_manager_class = declare.SchemaManager")
        + "OBJECTS = []",
        b=note("a = TextField()", meta="schema_manager_class = declare.SchemaManager")
        + "OBJECTS = []",
        actions=("comment",),
    ),
    Case(
        name="of a new column",
        a=note("a = TextField()", meta="schema_manager_class = declare.SchemaManager")
        + "OBJECTS = []",
        b=note(
            "a = TextField()",
            "b = TextField(null=True, help_text='new')",
            meta="schema_manager_class = declare.SchemaManager",
        )
        + "OBJECTS = []",
        actions=("add column", "comment"),
    ),
)


@pytest.mark.parametrize("case", CASES, ids=attrgetter("name"))
def test_a_comment_becomes_what_the_model_says(server: Server, case: Case) -> None:
    """Whatever is in it."""
    prove(server, case)
