"""What renames are predicted to make of a database, and what is said of those that do nothing."""

from __future__ import annotations

from contextlib import closing

import pytest
from support.cases import note, schema_of
from support.differ import Desk, build, execute
from support.migrations import rows
from support.server import Server

from foundry.database import Target
from foundry.migrate import catalog
from foundry.migrate.plan import plan
from foundry.migrate.renaming import renamings
from foundry.migrate.snapshot import Snapshot
from foundry.migrate.steps import Renames

FUNCTION = "CREATE FUNCTION f() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NEW; END'"
TRIGGER = "CREATE TRIGGER t BEFORE UPDATE OF %(a)s ON %(t)s FOR EACH ROW "
WHEN = "WHEN (old.%(a)s IS DISTINCT FROM new.%(a)s) EXECUTE FUNCTION f()"
SOURCE = """
M = declare.Enum('mood', ('%(l)s', 'sad')%(labels)s)
class Note(Model):
    %(a)s = TextField(unique=True)
    k = CharField(constraints=[Check("k <> '' AND %(a)s <> 'a'")])
    n = IntegerField()
    m = M.field(default='%(l)s', constraints=[SQL("DEFAULT '%(l)s'"), Check("m <> '%(l)s'")])
    g = TextField(constraints=[SQL("GENERATED ALWAYS AS (lower(%(a)s) || k) STORED")])
    class Meta:
        table_name = '%(t)s'
        constraints = [SQL("CONSTRAINT u UNIQUE (n) INCLUDE (%(a)s)")]
        indexes = ((('k', '%(a)s'), True),)
Note.add_index(SQL("CREATE INDEX i ON %(t)s (lower(%(a)s)) WHERE %(a)s <> k AND m = '%(l)s'"))
class Mark(Model):
    x = ForeignKeyField(Note, field='%(a)s')
OBJECTS = [
    M,
    declare.Function(name='f', create="%(f)s"),
    declare.Trigger(Note, 't', "%(trigger)s"),
    declare.RowSecurity(Note),
    declare.Policy(Note, 'p', using="%(a)s = current_user AND m = '%(l)s'"),
    declare.Grant(('SELECT',), on=Note, to='pg_monitor'),
    declare.View(name='v', create="CREATE VIEW v AS SELECT '%(l)s'::mood AS m FROM mark"),
]
"""


READERS = """
class User(Model):
    %(c)s = TextField()
    class Meta:
        table_name = '%(t)s'
class Note(Model):
    owner = TextField()
V = declare.View(name='v', create='CREATE VIEW v AS SELECT u.%(c)s AS c FROM %(t)s u')
OBJECTS = [
    V,
    declare.View(name='w', create='CREATE VIEW w AS SELECT c FROM v'),
    declare.Grant('SELECT', on=V, to='pg_monitor'),
    declare.RowSecurity(Note),
    declare.Policy(Note, 'p', using='owner IN (SELECT %(c)s FROM %(t)s)'),
]
"""


def source(a: str, table: str, label: str, labels: str = "") -> str:
    """Return the models with these names."""
    names = {"a": a, "t": table, "l": label, "labels": labels, "f": FUNCTION}
    return SOURCE % {**names, "trigger": (TRIGGER + WHEN) % names}


def read(desk: Desk, target: Target) -> Snapshot:
    """Read everything there is."""
    with desk.pool(target) as pool:
        names = {name: name for name in catalog.namespaces(pool)}
        return catalog.read(pool, names, search_path=("public",))


def test_what_is_predicted_is_what_the_server_makes_of_it(server: Server) -> None:
    """Every text and what planning carries along with it, there and back."""
    with closing(Desk(server)) as desk:
        a, b = desk.database(), desk.database()
        build(desk, a, schema_of(source("text", "note", "glad")))
        build(desk, b, schema_of(source("words", "page", "merry")))
        live, table = read(desk, a), ("public", "page")
        stated = Renames(
            tables=((("public", "note"), table),),
            columns=((table, "text", "words"),),
            labels=((("public", "mood"), "glad", "merry"),),
        )
        now, there, back = renamings(live, read(desk, b), stated, default="public")
        execute(a, *(step.sql for step in there))
        found = read(desk, a)
        wrong = {repr(thing) for thing in now} ^ {repr(thing) for thing in found}
        assert "" == "\n".join(sorted(wrong))
        execute(a, *(step.sql for step in back))
        assert live == read(desk, a)


def test_where_no_server_can_be_asked_readers_are_made_anew(server: Server) -> None:
    """Views with what hangs on them, and policies of other tables, there and back."""
    with closing(Desk(server)) as desk:
        a, b = desk.database(), desk.database()
        build(desk, a, schema_of(READERS % {"c": "name", "t": "users"}))
        build(desk, b, schema_of(READERS % {"c": "login", "t": "members"}))
        live, wanted, table = read(desk, a), read(desk, b), ("public", "members")
        stated = Renames(
            tables=((("public", "users"), table),), columns=((table, "name", "login"),)
        )
        (version,) = rows(a, "SHOW server_version_num")[0]
        made = plan(live, wanted, renames=stated, version=int(version))
        done = [step.action for stage in made.stages for step in stage.up]
        assert [2, 1] == [done.count("create view"), done.count("create policy")]
        execute(a, *(step.sql for stage in made.stages for step in stage.up))
        assert wanted == read(desk, a)
        execute(a, *(step.sql for stage in reversed(made.stages) for step in stage.down))
        assert live == read(desk, a)


@pytest.mark.parametrize(
    ("a", "b", "said"),
    [
        (
            note("c = TextField()", meta="table_name = 'users'"),
            note("c = TextField()", meta="table_name = 'people'; renamed_from = 'user'"),
            'renamed_from of "people": there is no table "user", so "people" is made anew',
        ),
        (
            note("c = TextField()"),
            note("d = TextField(null=True)", meta="renames = {'d': 'x'}"),
            'renames of "note": there is no column "x", so "d" is made anew',
        ),
        (
            note("c = TextField(null=True)"),
            note("d = TextField(column_name='100%%', null=True)"),
            "Meta.renames = {'100%%': 'c'}",
        ),
    ],
)
def test_a_rename_that_may_be_meant_is_told(server: Server, a: str, b: str, said: str) -> None:
    """A name that is mistyped, or a rename that is not stated; in words a model can have."""
    with closing(Desk(server)) as desk:
        target = desk.database()
        build(desk, target, schema_of(a))
        assert said in desk.generate(target, schema_of(b)).out


def test_a_rename_that_was_done_is_not_told(server: Server) -> None:
    """It may stay in the model."""
    with closing(Desk(server)) as desk:
        target = desk.database()
        build(desk, target, schema_of(note("d = TextField()", meta="table_name = 'people'")))
        meta = "table_name = 'people'; renamed_from = 'users'; renames = {'d': 'c'}"
        generated = desk.generate(target, schema_of(note("d = TextField()", meta=meta)))
        assert "nothing to generate" in generated.out
        assert "note:" not in generated.out


def test_a_percent_sign_in_a_column_is_one(server: Server) -> None:
    """Peewee's users write it twice; `verify` looks for the column that is there."""
    with closing(Desk(server)) as desk:
        target = desk.database()
        schema = schema_of(note("x = TextField(column_name='d%%1')"))
        build(desk, target, schema)
        assert "missing: note.d" not in desk._run(target, schema, "verify").out
