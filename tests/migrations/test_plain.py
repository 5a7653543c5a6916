"""That what is known of plain tables without asking is what the server would make of them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from typing import Any

import peewee
import pytest
from hypothesis import HealthCheck, event, given, settings
from hypothesis import strategies as st
from peewee import SQL
from playhouse.postgres_ext import ArrayField, BinaryJSONField, DateTimeTZField, JSONField
from support.differ import Desk, execute
from support.migrations import url_of
from support.server import Server

from foundry.created import Grant, Policy, RowSecurity
from foundry.database import Database, Target, connect
from foundry.declare import Index, Schema, SchemaManager
from foundry.errors import MigrationError
from foundry.fixtures.designs import Design
from foundry.fixtures.edits import edits
from foundry.fixtures.modelling import create, declared
from foundry.fixtures.schemas import schemas
from foundry.migrate import catalog, plain, portion, shadow
from foundry.migrate.snapshot import Snapshot

SETTINGS = settings(
    deadline=None,
    print_blob=True,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)
Models = tuple[type[peewee.Model], ...]


class Base(peewee.Model):
    """Names as Peewee makes them now."""

    class Meta:
        legacy_table_names = False


class Author(Base):
    """Every type with a key of its own, and defaults."""

    name = peewee.CharField(max_length=100, index=True)
    code = peewee.FixedCharField(max_length=3, unique=True)
    order = peewee.IntegerField(constraints=[SQL("DEFAULT 7")])
    big = peewee.BigIntegerField(constraints=[SQL("DEFAULT 0")])
    small = peewee.SmallIntegerField(null=True)
    share = peewee.DoubleField(constraints=[SQL("DEFAULT 1")])
    rough = peewee.FloatField(null=True)
    price = peewee.DecimalField(12, 2, constraints=[SQL("DEFAULT 0")])
    active = peewee.BooleanField(constraints=[SQL("DEFAULT TRUE")])
    made = peewee.DateTimeField(constraints=[SQL("DEFAULT now()")])
    seen = DateTimeTZField(constraints=[SQL("DEFAULT CURRENT_TIMESTAMP")])
    day = peewee.DateField(null=True)
    hour = peewee.TimeField(null=True)
    photo = peewee.BlobField(null=True)
    said = BinaryJSONField(index=False, constraints=[SQL("DEFAULT '{}'")])
    heard = JSONField(null=True)
    marks = ArrayField(peewee.IntegerField, dimensions=2, index=False, null=True)


class Book(Base):
    """A key that is no number, and foreign keys."""

    id = peewee.UUIDField(primary_key=True, constraints=[SQL("DEFAULT gen_random_uuid()")])
    author = peewee.ForeignKeyField(Author, on_delete="CASCADE", on_update="SET NULL", null=True)
    editor = peewee.ForeignKeyField(Author, constraint_name="edited_by", backref="+")
    title = peewee.TextField()
    notes = BinaryJSONField(null=True)

    class Meta:
        indexes = ((("title", "author"), True),)


class Line(Base):
    """A key of two columns, and one that is an identity."""

    book = peewee.ForeignKeyField(Book, on_delete="NO ACTION")
    number = peewee.IntegerField()

    class Meta:
        primary_key = peewee.CompositeKey("book", "number")


class Page(Base):
    """An identity."""

    id = peewee.IdentityField()
    big = peewee.BigIntegerField()


class Leaf(Base):
    """An identity that takes no value, and a key with a sequence of big numbers."""

    id = peewee.IdentityField(generate_always=True)


class Root(Base):
    """The other sequence."""

    id = peewee.BigAutoField()


PLAIN: Models = (Author, Book, Line, Page, Leaf, Root)


@pytest.fixture
def desk(server: Server) -> Iterator[Desk]:
    """Databases of their own."""
    with closing(Desk(server)) as made:
        yield made


@pytest.fixture
def db(empty: Target) -> Iterator[Database]:
    """A connection to a database with nothing in it."""
    pool = connect(url_of(empty), bind=False)
    with pool.connection_context():
        yield pool
    pool.close_all()


def make(db: Database, models: Models) -> None:
    """Make tables as Peewee does."""
    with db.bind_ctx(models, bind_refs=False, bind_backrefs=False):
        db.create_tables(models, safe=False)


def live_of(db: Database) -> Snapshot:
    """What is there now."""
    names = {name: name for name in catalog.namespaces(db)}
    return catalog.read(db, names, search_path=("public",))


def attributes(snapshot: Snapshot) -> dict[Any, str]:
    """Every attribute of everything."""
    return {one.key: repr(one) for one in snapshot}


def wanted_twice(db: Database, schema: Schema) -> int:
    """Compare what is wanted with what is known and without; return of how many tables it is."""
    live = live_of(db)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(portion, "_MOST", 1)
        found: list[int] = []

        def known(*arguments: Any) -> Any:
            answer = plain.known(*arguments)
            found.append(len(answer[1]))
            return answer

        patch.setattr(shadow, "known", known)
        beside = shadow.wanted(db, schema, live=live)
        patch.setattr(shadow, "known", lambda *_: (Snapshot.of(()), frozenset()))
        whole = shadow.wanted(db, schema, live=live)
    assert attributes(whole.snapshot) == attributes(beside.snapshot)
    return sum(found)


@st.composite
def pairs(draw: st.DrawFn) -> tuple[Design, Design]:
    """Two schemas, a few edits apart."""
    a = draw(schemas(max_tables=4))
    return a, draw(edits(a))


@settings(SETTINGS, max_examples=max(settings().max_examples // 2, 1))
@given(pair=pairs())
def test_nothing_comes_out_different(server: Server, pair: tuple[Design, Design]) -> None:
    """Of any schema, with itself and with its neighbour there."""
    with closing(Desk(server)) as own:
        target = own.database()
        with own.pool(target) as pool, pool.connection_context():
            create(pool, pair[0])
            for design in pair:
                number = wanted_twice(pool, declared(design))
                event("known" if number else "nothing is known")


def test_of_plain_tables_all_is_known(db: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    """Types, defaults and keys that Peewee has, with names that need quotes; nothing is built."""
    make(db, PLAIN)
    assert len(PLAIN) == wanted_twice(db, Schema(models=PLAIN))
    monkeypatch.setattr(shadow, "_in_shadow", None)
    found = shadow.wanted(db, Schema(models=PLAIN), live=live_of(db))
    assert {m._meta.table_name for m in PLAIN} == {p[1] for p in found.managed.tables}


class Shelf(Base):
    """A table that is changed behind its model."""

    label = peewee.CharField(max_length=20, index=True)
    place = peewee.IntegerField()


class Item(Base):
    """A table that refers to it."""

    shelf = peewee.ForeignKeyField(Shelf)


@pytest.mark.parametrize(
    "change",
    [
        "ALTER TABLE shelf ALTER label TYPE text",
        "ALTER TABLE shelf ALTER label DROP NOT NULL",
        "ALTER TABLE shelf ALTER place SET DEFAULT 0",
        "ALTER TABLE shelf ALTER label SET STORAGE PLAIN",
        "ALTER TABLE shelf DROP COLUMN place, ADD COLUMN place bigint NOT NULL DEFAULT 1",
        "ALTER TABLE shelf SET (fillfactor = 50)",
        "ALTER TABLE shelf ENABLE ROW LEVEL SECURITY",
        "ALTER TABLE shelf RENAME CONSTRAINT shelf_pkey TO key",
        "ALTER TABLE shelf DROP CONSTRAINT shelf_pkey CASCADE, ADD PRIMARY KEY (id, place)",
        "COMMENT ON COLUMN shelf.label IS 'a'",
        "DROP INDEX shelf_label",
        "DROP INDEX shelf_label; CREATE INDEX shelf_label ON shelf (place)",
        "DROP INDEX shelf_label; CREATE UNIQUE INDEX shelf_label ON shelf (label)",
        "DROP INDEX shelf_label; CREATE INDEX shelf_label ON shelf USING hash (label)",
        "ALTER SEQUENCE shelf_id_seq CACHE 5",
        "ALTER SEQUENCE shelf_id_seq OWNED BY NONE",
        "ALTER SEQUENCE shelf_id_seq RENAME TO other",
        "DROP TABLE shelf CASCADE",
    ],
)
def test_what_is_not_there_word_for_word_is_built(db: Database, change: str) -> None:
    """Neither the table nor one that refers to it is taken as known."""
    make(db, (Shelf, Item, Root))
    db.execute_sql(change)
    assert wanted_twice(db, Schema(models=(Shelf, Item, Root))) in (1, 2)
    built: list[object] = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(portion, "_MOST", 1)
        true = shadow._in_shadow
        patch.setattr(shadow, "_in_shadow", lambda d, s: built.append(s) or true(d, s))
        shadow.wanted(db, Schema(models=(Shelf, Item, Root)), live=live_of(db))
    (script,) = built
    tables = {s.table[1] for s in script.statements if s.table}  # type: ignore[attr-defined]
    assert {"shelf", "item"} == tables


def test_columns_come_in_the_order_of_the_model(db: Database) -> None:
    """Also where one was dropped and made again."""
    make(db, (Shelf, Root))
    db.execute_sql("ALTER TABLE shelf DROP COLUMN label")
    db.execute_sql("ALTER TABLE shelf ADD COLUMN label varchar(20) NOT NULL")
    db.execute_sql("CREATE INDEX shelf_label ON shelf (label)")
    assert 2 == wanted_twice(db, Schema(models=(Shelf, Root)))


def test_what_rests_on_a_table_does_not_rest_on_one_that_is_made(db: Database) -> None:
    """The order of its rows, statistics and a publication of its own."""
    make(db, (Shelf, Root))
    db.execute_sql("CLUSTER shelf USING shelf_label")
    db.execute_sql("CREATE STATISTICS s ON label, place FROM shelf")
    db.execute_sql("CREATE PUBLICATION p FOR TABLE shelf")
    assert 2 == wanted_twice(db, Schema(models=(Shelf, Root)))


def test_a_name_that_two_would_choose_is_left_to_the_server(db: Database) -> None:
    """It gives one of them a number, and the order of the models says which one."""

    class A(Base):
        b_c = peewee.ForeignKeyField(Root, column_name="b_c", null=True, index=False)

        class Meta:
            table_name = "a"

    class AB(Base):
        c = peewee.ForeignKeyField(Root, column_name="c", null=True, index=False)

        class Meta:
            table_name = "a_b"

    models = (Root, A, AB)
    make(db, models)
    db.execute_sql("ALTER TABLE a_b DROP CONSTRAINT a_b_c_fkey1")
    db.execute_sql("ALTER TABLE a RENAME CONSTRAINT a_b_c_fkey TO other")
    db.execute_sql("ALTER TABLE a ADD CONSTRAINT a_b_c_fkey FOREIGN KEY (b_c) REFERENCES root")
    db.execute_sql("ALTER TABLE a_b ADD CONSTRAINT a_b_c_fkey FOREIGN KEY (c) REFERENCES root")
    assert 1 == wanted_twice(db, Schema(models=models))


def test_a_key_that_rests_on_another_index_is_built(db: Database) -> None:
    """Which one the server takes is for it to say."""

    class Tag(Base):
        word = peewee.TextField(unique=True)

    class Use(Base):
        tag = peewee.ForeignKeyField(Tag, field=Tag.word)

    models = (Tag, Use, Root)
    make(db, models)
    assert 2 == wanted_twice(db, Schema(models=models))


@pytest.mark.parametrize(
    "statement",
    [
        "ALTER DEFAULT PRIVILEGES GRANT SELECT ON TABLES TO PUBLIC",
        "CREATE FUNCTION f() RETURNS event_trigger LANGUAGE plpgsql AS 'BEGIN END';"
        " CREATE EVENT TRIGGER e ON ddl_command_end EXECUTE FUNCTION f()",
        "CREATE PUBLICATION p FOR ALL TABLES",
    ],
)
def test_where_others_have_a_say_in_create_nothing_is_known(desk: Desk, statement: str) -> None:
    """What they would do to a new table only the server can say."""
    target = desk.database()
    execute(target, statement)
    with desk.pool(target) as pool, pool.connection_context():
        make(pool, (Shelf, Root))
        assert 0 == wanted_twice(pool, Schema(models=(Shelf, Root)))


def test_what_else_is_on_a_table_has_it_built(db: Database) -> None:
    """A check, an expression, an index of a part, a comment."""

    class Odd(Base):
        number = peewee.IntegerField(constraints=[peewee.Check("number > 0")])

    class Part(Base):
        number = peewee.IntegerField()

    Part.add_index(Part.number, where=(Part.number > 5), name="part_number")
    models = (Odd, Part, Root)
    make(db, models)
    assert 1 == wanted_twice(db, Schema(models=models))


class Bare(Base):
    """What is in the database: one column and nothing more."""

    word = peewee.TextField()

    class Meta:
        table_name = "thing"


class Stored(Base):
    """The same, stored otherwise."""

    word = peewee.TextField()

    class Meta:
        table_name = "thing"
        table_settings = ("WITH (fillfactor = 50)",)


class Said(Base):
    """The same, with a comment."""

    word = peewee.TextField(help_text="a word")

    class Meta:
        table_name = "thing"
        schema_manager_class = SchemaManager


class Numbered(Base):
    """The same, with a default for what has one."""

    id = peewee.AutoField(constraints=[SQL("DEFAULT 1")])
    word = peewee.TextField()

    class Meta:
        table_name = "thing"


@pytest.mark.parametrize(
    ("model", "objects"),
    [
        (Stored, ()),
        (Said, ()),
        (Bare, (RowSecurity(Bare),)),
        (Bare, (Policy(Bare, "own", using="true"),)),
        (Bare, (Index(Bare, Bare.word, name="by_word", using="hash"),)),
        (Bare, (Grant("SELECT", on=Bare, to="PUBLIC"),)),
    ],
)
def test_what_a_model_says_beside_its_columns_is_not_overlooked(
    db: Database, model: type[peewee.Model], objects: tuple[Any, ...]
) -> None:
    """Where the database has the plain table."""
    make(db, (Bare, Root))
    assert 1 == wanted_twice(db, Schema(models=(model, Root), objects=objects))


def test_what_the_server_refuses_is_refused(db: Database) -> None:
    """A table that looks like it is there all the same."""
    make(db, (Bare, Root))
    with pytest.raises(MigrationError, match="multiple default values"):
        shadow.wanted(db, Schema(models=(Numbered, Root)), live=live_of(db))


class Folded(peewee.TextField):
    """Of a type whose name has the capitals of another one's."""

    field_type = "j\u017fon"


class Other(Base):
    """The same as `Bare`, but of that type."""

    word = Folded()

    class Meta:
        table_name = "thing"


def test_a_type_is_not_taken_for_one_with_the_same_capitals(db: Database) -> None:
    """The server tells letters apart that Python's capitals do not."""

    class Plain(Base):
        word = JSONField()

        class Meta:
            table_name = "thing"

    db.execute_sql('CREATE DOMAIN "j\u017fon" AS text')
    make(db, (Plain, Root))
    assert 1 == wanted_twice(db, Schema(models=(Other, Root)))
