"""What rests on a function, type, key or column that changes."""

from __future__ import annotations

from operator import attrgetter

import pytest
from support.cases import Case, note, prove
from support.server import Server

PLUS_ONE = "CREATE FUNCTION f(x int) RETURNS int LANGUAGE sql IMMUTABLE AS $$ SELECT x + 1 $$"
PLUS_TWO = PLUS_ONE.replace("+ 1", "+ 2")
CHEAP = PLUS_ONE.replace("IMMUTABLE", "IMMUTABLE PARALLEL SAFE COST 1")
LARGE = PLUS_ONE.replace("x int", "x bigint").replace("RETURNS int", "RETURNS bigint")
WIDE = PLUS_ONE.replace("RETURNS int", "RETURNS bigint")
OTHER_NAME = PLUS_ONE.replace("(x int)", "(y int)").replace("x + 1", "y + 1")


def _stored(function: str) -> str:
    """Return a table that keeps results of a function in an index, a column and a check."""
    return (
        note(
            "a = IntegerField(null=True)",
            "g = BigIntegerField(null=True, "
            "constraints=[SQL('GENERATED ALWAYS AS (f(a)) STORED')])",
            meta="constraints = [Check('f(a) > 0', 'fine')]",
        )
        + "Note.add_index(SQL('CREATE UNIQUE INDEX fi ON note (f(a))'))\n"
        + f"OBJECTS = [declare.Function(name='f', create='{function}')]"
    )


def _called(function: str) -> str:
    """Return a table whose every part calls a function."""
    return _stored(function).replace(
        "    class Meta", "    d = IntegerField(null=True, constraints=[SQL('DEFAULT f(1)')])\n"
        "    class Meta"
    ) + (
        " + [declare.Function(name='g', create='CREATE FUNCTION g() RETURNS trigger LANGUAGE "
        "plpgsql AS $$ BEGIN RETURN NEW; END $$'), declare.Trigger(Note, 'tr', 'CREATE TRIGGER "
        "tr BEFORE UPDATE ON note FOR EACH ROW WHEN (f(OLD.a) > 3) EXECUTE FUNCTION g()'), "
        "declare.RowSecurity(Note), declare.Policy(Note, 'p', using='f(a) > 1')]"
    )  # fmt: skip


def _seen(function: str) -> str:
    """Return materialised views of what a function returns, one of them empty."""
    return note("a = IntegerField()") + (
        f"OBJECTS = [declare.Function(name='f', create='{function}'), "
        "declare.MaterializedView('seen', 'SELECT f(a) AS z FROM note'), "
        "declare.MaterializedView('unseen', 'SELECT f(a) AS z FROM note', data=False)]"
    )


def _calling(function: str, type_: str) -> str:
    """Return a function and one that calls it."""
    caller = f"CREATE FUNCTION g(x {type_}) RETURNS {type_} RETURN f(x)"
    return (
        f"OBJECTS = [declare.Function(name='f', create='{function}'), "
        f"declare.Function(name='g', create='{caller}')]"
    )


def _mood(labels: str) -> str:
    return f"MOOD = declare.Enum('mood', ({labels}))\n" + (
        note("b = MOOD.field()") + "OBJECTS = [MOOD]"
    )


SMALL = note("a = IntegerField(null=True)", "b = TextField(null=True)")
BIG = note("a = BigIntegerField(null=True)", "b = TextField(null=True)")
LESS = note("b = TextField(null=True)")
UNIQUE = note("a = IntegerField()", meta="constraints = [SQL('CONSTRAINT one UNIQUE (a)')]") + (
    "Note.add_index(SQL('CREATE UNIQUE INDEX few ON note (a) WHERE a > 5'))"
)

CASES = (
    Case(
        name="a function returns something else",
        a=_stored(PLUS_ONE),
        b=_stored(PLUS_TWO),
        rows="INSERT INTO note (a) VALUES (1)",
        actions=(
            *("drop index", "drop constraint", "replace function", "set expression"),
            *("add constraint", "validate constraint", "create index concurrently"),
        ),
        works=(("note", "rewrite"), ("note", "build")),
        since=17,
        query="SET enable_seqscan = off; SELECT g, f(a) FROM note WHERE f(a) = 3",
        expected=((3, 3),),
    ),
    Case(
        name="a function returns something else to a materialised view",
        a=_seen(PLUS_ONE),
        b=_seen(PLUS_TWO),
        rows="INSERT INTO note (a) VALUES (1); REFRESH MATERIALIZED VIEW seen",
        actions=("replace function", "refresh view"),
        query="SELECT z FROM seen",
        expected=((3,),),
    ),
    Case(
        name="a function that costs something else",
        a=_stored(PLUS_ONE),
        b=_stored(CHEAP),
        rows="INSERT INTO note (a) VALUES (1)",
        actions=("replace function",),
    ),
    Case(
        name="a function with other arguments",
        a=_called(PLUS_ONE),
        b=_called(LARGE),
        rows="INSERT INTO note (a) VALUES (1)",
        actions_unsaid=True,
        query="SELECT g FROM note",
        expected=((2,),),
        works=(("note", "build"), ("note", "rewrite")),
    ),
    Case(
        name="a function with other arguments that another such function calls",
        a=note("a = IntegerField()") + _calling(PLUS_ONE, "int"),
        b=note("a = IntegerField()") + _calling(LARGE, "bigint"),
        actions=("drop function", "drop function", "create function", "create function"),
    ),
    Case(
        name="a function with another result",
        a=_called(PLUS_ONE),
        b=_called(WIDE),
        rows="INSERT INTO note (a) VALUES (1)",
        actions_unsaid=True,
        query="SELECT g FROM note",
        expected=((2,),),
        works=(("note", "build"), ("note", "rewrite")),
    ),
    Case(
        name="a function whose argument has another name",
        a=_called(PLUS_ONE),
        b=_called(OTHER_NAME),
        actions_unsaid=True,
        works=(("note", "build"), ("note", "rewrite")),
    ),
    Case(
        name="a function with other arguments that a table of others calls",
        a=note("a = IntegerField()")
        + f"OBJECTS = [declare.Function(name='f', create='{PLUS_ONE}')]",
        b=note("a = IntegerField()") + f"OBJECTS = [declare.Function(name='f', create='{LARGE}')]",
        beside="CREATE TABLE theirs (a int CONSTRAINT fine CHECK (f(a) > 0))",
        refused_early=("constraint theirs.fine", "function f(integer)"),
    ),
    Case(
        name="a type made anew that others use, too",
        a=_mood("'a', 'c'"),
        b=_mood("'c', 'd'"),
        beside="CREATE TABLE theirs (m mood DEFAULT 'c', n mood[]); "
        "CREATE VIEW moods AS SELECT m, 'c'::mood AS c FROM theirs; "
        "CREATE FUNCTION liked(m mood) RETURNS int LANGUAGE sql AS 'SELECT 1'",
        rows="INSERT INTO theirs VALUES ('c', '{c}')",
        actions_unsaid=True,
        query="SELECT m::text, n::text FROM theirs",
        expected=(("c", "{c}"),),
        works=(("note", "rewrite"), ("theirs", "rewrite")),
    ),
    Case(
        name="a type made anew that a domain is of",
        a=_mood("'a', 'c'"),
        b=_mood("'c', 'd'"),
        beside="CREATE DOMAIN feeling AS mood",
        refused_early=("type feeling", "enum mood"),
    ),
    Case(
        name="a key becomes deferrable under a foreign key",
        a=UNIQUE,
        b=UNIQUE.replace("UNIQUE (a)", "UNIQUE (a) DEFERRABLE"),
        beside="CREATE TABLE theirs (a int CONSTRAINT theirs_a REFERENCES note (a))",
        refused_early=('"one" of note', '"theirs_a" of theirs'),
    ),
    Case(
        name="a view that nobody declared, with all that belongs to it",
        a=SMALL,
        b=BIG,
        beside="CREATE VIEW v AS SELECT id, a, b FROM note; ALTER VIEW v ALTER a SET DEFAULT 7; "
        "CREATE RULE r AS ON INSERT TO v DO INSTEAD INSERT INTO note (a, b) VALUES (NEW.a, "
        "NEW.b); COMMENT ON COLUMN v.b IS '100% it''s'; CREATE FUNCTION g() RETURNS trigger "
        "LANGUAGE plpgsql AS 'BEGIN RETURN NEW; END'; CREATE TRIGGER tr INSTEAD OF UPDATE ON v "
        "FOR EACH ROW EXECUTE FUNCTION g()",
        actions_unsaid=True,
        after="INSERT INTO v (b) VALUES ('x')",
        query="SELECT a, b FROM note",
        expected=((7, "x"),),
        works=(("note", "rewrite"),),
    ),
    Case(
        name="functions that read a column, and a view of one",
        a=SMALL,
        b=BIG,
        beside="CREATE VIEW v AS SELECT a FROM note; "
        "CREATE FUNCTION most() RETURNS bigint BEGIN ATOMIC SELECT max(a) FROM note; END; "
        "CREATE FUNCTION smallest() RETURNS bigint BEGIN ATOMIC SELECT min(a) FROM v; END; "
        "COMMENT ON FUNCTION most() IS 'x'; REVOKE EXECUTE ON FUNCTION smallest() FROM PUBLIC; "
        "CREATE FUNCTION smaller() RETURNS bigint RETURN smallest() - 1; "
        "CREATE VIEW w AS SELECT smaller() AS a",
        actions_unsaid=True,
        works=(("note", "rewrite"),),
    ),
    Case(
        name="a function that reads a column that goes",
        a=SMALL,
        b=LESS,
        beside="CREATE FUNCTION most() RETURNS int BEGIN ATOMIC SELECT max(a) FROM note; END",
        refused_early=("function most() uses column note.a",),
    ),
    Case(
        name="a view of a column that goes",
        a=SMALL,
        b=LESS,
        beside="CREATE VIEW v AS SELECT a FROM note",
        refused_early=("view v uses column note.a",),
    ),
    Case(
        name="a publication of a column that gets another type",
        a=SMALL,
        b=BIG,
        beside="CREATE PUBLICATION news FOR TABLE note (id, a)",
        refused_early=("publication news", "column note.a"),
    ),
    Case(
        name="a publication of a column that goes",
        a=SMALL,
        b=LESS,
        beside="CREATE PUBLICATION news FOR TABLE note (id, a)",
        refused_early=("publication news", "column note.a"),
    ),
    Case(
        name="a publication of a whole table",
        a=SMALL,
        b=BIG,
        beside="CREATE PUBLICATION news FOR TABLE note",
        actions=("retype column",),
        works=(("note", "rewrite"),),
    ),
    Case(
        name="a rule of a table whose column gets another type",
        a=SMALL,
        b=BIG,
        beside="CREATE RULE r AS ON INSERT TO note WHERE NEW.a > 5 DO ALSO UPDATE note SET b = '' "
        "WHERE id = NEW.a",
        refused_early=("rule r on table note", "column note.a"),
    ),
    Case(
        name="a trigger of a column that goes",
        a=SMALL,
        b=LESS,
        beside="CREATE FUNCTION g() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NEW; END'; "
        "CREATE TRIGGER tr BEFORE UPDATE OF a ON note FOR EACH ROW EXECUTE FUNCTION g()",
        refused_early=("trigger note.tr uses column note.a",),
    ),
)


@pytest.mark.parametrize("case", CASES, ids=attrgetter("name"))
def test_what_rests_on_something_changes_with_it_or_is_named(server: Server, case: Case) -> None:
    """Nothing is left behind wrong, and what cannot come along is refused beforehand."""
    prove(server, case)
