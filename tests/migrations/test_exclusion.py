"""Exclusion constraints."""

from __future__ import annotations

from operator import attrgetter

import pytest
from support.cases import Case, note, prove
from support.server import Server

CASES = (
    Case(
        name="one of ranges",
        a="class Range(Field):\n    field_type = 'int4range'\n" + note("a = Range()"),
        b="class Range(Field):\n    field_type = 'int4range'\n"
        + note(
            "a = Range()",
            meta="constraints = [SQL('CONSTRAINT apart EXCLUDE USING gist (a WITH &&)')]",
        ),
        rows="INSERT INTO note (a) VALUES ('[1,5)'), ('[5,9)')",
        actions=("add constraint",),
        works=(("note", "build"),),
        locks=(("note", "ACCESS EXCLUSIVE", "build"),),
        checks=(),
    ),
    Case(
        name="rows are in the way",
        a="class Range(Field):\n    field_type = 'int4range'\n" + note("a = Range()"),
        b="class Range(Field):\n    field_type = 'int4range'\n"
        + note(
            "a = Range()",
            meta="constraints = [SQL('CONSTRAINT apart EXCLUDE USING gist (a WITH &&)')]",
        ),
        rows="INSERT INTO note (a) VALUES ('[1,5)'), ('[4,9)')",
        actions=("add constraint",),
        works=(("note", "build"),),
        failed=("apart", "nothing of it was kept"),
    ),
    Case(
        name="its condition changes",
        a=note(
            "a = IntegerField()",
            meta="constraints = [SQL('EXCLUDE USING btree (a WITH =) WHERE (a > 0)')]",
        ),
        b=note(
            "a = IntegerField()",
            meta="constraints = [SQL('EXCLUDE USING btree (a WITH =) WHERE (a > 1)')]",
        ),
        actions=("drop constraint", "add constraint"),
        works=(("note", "build"),),
    ),
)


@pytest.mark.parametrize("case", CASES, ids=attrgetter("name"))
def test_what_excludes_each_other_is_seen(server: Server, case: Case) -> None:
    """By index method, operator and condition."""
    prove(server, case)
