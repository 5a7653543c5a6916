"""Changes that PostgreSQL has no statement for: refused, and nothing is written."""

from __future__ import annotations

import pytest
from support.cases import Case, note, prove
from support.server import Server


def kept(by: str) -> str:
    """Return a model whose table is partitioned, or is not."""
    return note(
        *("n = IntegerField()", "k = IntegerField()"),
        meta=f"primary_key = False; table_settings = {[by] if by else []!r}",
    )


CASES = (
    Case(
        name="a partition key that changes",
        a=kept("PARTITION BY RANGE (n)"),
        b=kept("PARTITION BY LIST (k)"),
        refused_early=('"note"', "PARTITION BY LIST (k)", "of another name"),
    ),
    Case(
        name="a plain table that becomes partitioned",
        a=kept(""),
        b=kept("PARTITION BY RANGE (n)"),
        refused_early=('"note"', "plain", "of another name"),
    ),
    Case(
        name="a partitioned table that becomes plain",
        a=kept("PARTITION BY RANGE (n)"),
        b=kept(""),
        refused_early=('"note"', "plain", "of another name"),
    ),
)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_impossible(server: Server, case: Case) -> None:
    """With what to do instead, as files that are wanted cannot do it."""
    prove(server, case)
