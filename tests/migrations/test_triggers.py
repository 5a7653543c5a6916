"""Triggers."""

from __future__ import annotations

from operator import attrgetter

import pytest
from support.cases import Case, note, prove
from support.server import Server

STAMP = '''FUNCTION = declare.Function(name='stamp', create="""
CREATE FUNCTION stamp() RETURNS trigger LANGUAGE plpgsql AS
$$ BEGIN NEW.a := 'x'; RETURN NEW; END $$
""")
'''
STAMPED = (
    "OBJECTS = [FUNCTION, declare.Trigger(Note, 'stamped', 'CREATE TRIGGER stamped "
    "BEFORE INSERT ON note FOR EACH ROW EXECUTE FUNCTION stamp()')]"
)

CASES = (
    Case(
        name="a trigger and its function",
        a=note("a = TextField()") + "OBJECTS = []",
        b=note("a = TextField()") + STAMP + STAMPED,
        actions=("create function", "create trigger"),
        after="INSERT INTO note (a) VALUES ('y')",
        query="SELECT a FROM note",
        expected=(("x",),),
    ),
    Case(
        name="another event",
        a=note("a = TextField()") + STAMP + STAMPED,
        b=note("a = TextField()")
        + STAMP
        + "OBJECTS = [FUNCTION, declare.Trigger(Note, 'stamped', 'CREATE TRIGGER stamped "
        "BEFORE UPDATE OF a ON note FOR EACH ROW EXECUTE FUNCTION stamp()')]",
        rows="ALTER TABLE note ENABLE ALWAYS TRIGGER stamped",
        actions=("drop trigger", "create trigger"),
    ),
    Case(
        name="a mere list of models leaves them alone",
        a=note("a = TextField()") + STAMP + STAMPED,
        b=note("a = TextField()"),
        unchanged=True,
    ),
    Case(
        name="one that was switched off",
        a=note("a = TextField()") + STAMP + STAMPED,
        b=note("a = TextField()") + STAMP + STAMPED,
        rows="ALTER TABLE note DISABLE TRIGGER stamped",
        actions=("set trigger",),
    ),
)


@pytest.mark.parametrize("case", CASES, ids=attrgetter("name"))
def test_a_trigger_becomes_what_is_declared(server: Server, case: Case) -> None:
    """And only where triggers are declared."""
    prove(server, case)
