"""That a model is built beside a record of the others, and that nothing comes out different."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import replace
from typing import Any

import peewee
import pytest
from hypothesis import HealthCheck, assume, event, given, settings
from hypothesis import strategies as st
from peewee import SQL, AutoField, CharField, IntegerField, Model, TextField
from support.differ import Desk
from support.migrations import url_of
from support.server import Server

from foundry.created import Enum, Function, Partition, Policy, Trigger, View
from foundry.database import Database, Target, connect
from foundry.declare import Schema
from foundry.errors import MigrationError
from foundry.fixtures.designs import Design
from foundry.fixtures.edits import edits
from foundry.fixtures.modelling import declared
from foundry.fixtures.schemas import schemas
from foundry.migrate import portion, shadow
from foundry.migrate.objects import Place, Table
from foundry.migrate.recorded import Record, loaded
from foundry.migrate.snapshot import Snapshot

NOTHING = Snapshot.of([])
SETTINGS = settings(
    deadline=None,
    print_blob=True,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)
Built = list["frozenset[str]"]


@pytest.fixture
def db(empty: Target) -> Iterator[Database]:
    """A connection to a database with nothing in it."""
    pool = connect(url_of(empty), bind=False)
    with pool.connection_context():
        yield pool
    pool.close_all()


@pytest.fixture(scope="module")
def lasting(server: Server) -> Iterator[Database]:
    """The same for many examples, which leave nothing there."""
    with (
        closing(Desk(server)) as desk,
        desk.pool(desk.database()) as pool,
        pool.connection_context(),
    ):
        yield pool


@pytest.fixture
def built(monkeypatch: pytest.MonkeyPatch) -> Built:
    """The tables of each shadow that is built."""
    found: Built = []
    true = shadow._in_shadow

    def counted(database: Any, script: Any) -> Snapshot | None:
        answer = true(database, script)
        found.append(frozenset(t.name for t in answer.kind(Table)) if answer else frozenset())
        return answer

    monkeypatch.setattr(shadow, "_in_shadow", counted)
    return found


def opened(record: tuple[str, str]) -> Record:
    """A record, read."""
    found = loaded(record[1])
    assert found is not None
    return found


def attributes(snapshot: Snapshot) -> dict[Any, str]:
    """Every attribute of everything."""
    return {one.key: repr(one) for one in snapshot}


def recorded(
    db: Database, schema: Schema, before: tuple[str, str] | None = None
) -> tuple[str, str] | None:
    """What `up` would leave, if anything."""
    return shadow.record(db, schema, live=NOTHING, externals={}, recall=lambda: before)


def kept(db: Database, schema: Schema, before: tuple[str, str] | None = None) -> tuple[str, str]:
    """What `up` leaves."""
    made = recorded(db, schema, before)
    assert made is not None
    return made


def same(db: Database, a: Schema, b: Schema) -> bool:
    """Compare what is wanted, and what is kept, with the record of A and without one.

    False where nothing is kept: of models whose SQL names a namespace.
    """
    before, whole = recorded(db, a), recorded(db, b)
    if before is None or whole is None:
        return False
    part = recorded(db, b, before)
    assert whole[0] == (before if part is None else part)[0]
    beside = opened(before if part is None else part)
    assert opened(whole).parts == beside.parts
    assert attributes(opened(whole).snapshot) == attributes(beside.snapshot)
    cold = shadow.wanted(db, b, live=NOTHING)
    warm = shadow.wanted(db, b, live=NOTHING, recall=lambda: before)
    assert attributes(cold.snapshot) == attributes(warm.snapshot)
    assert (cold.renames, cold.managed) == (warm.renames, warm.managed)
    return True


@st.composite
def pairs(draw: st.DrawFn) -> tuple[Design, Design]:
    """Two schemas, a few edits apart or many."""
    a = draw(schemas(max_tables=5))
    return a, draw(st.one_of(edits(a), schemas(max_tables=5)))


@SETTINGS
@given(pair=pairs())
def test_a_record_of_any_other_schema_changes_nothing(
    lasting: Database, pair: tuple[Design, Design]
) -> None:
    """However much of it is used."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(portion, "_MOST", 1)
        true = portion._Change.merged

        def merged(change: Any, answer: Snapshot, build: Any) -> Snapshot | None:
            event("a part is built")
            return true(change, answer, build)

        patch.setattr(portion._Change, "merged", merged)
        assume(same(lasting, *map(declared, pair)))


class Serial(peewee.Field):
    """A column with a sequence that is no key."""

    field_type = "SERIAL"


def model(name: str, fields: dict[str, Any], **meta: Any) -> type[Model]:
    """A model of a table."""
    words = {"table_name": name, "legacy_table_names": False, **meta}
    return type(name.title(), (Model,), {**fields, "Meta": type("Meta", (), words)})


def schema(*models: type[Model], objects: tuple[Any, ...] = ()) -> Schema:
    """Models and objects, with others that are never changed nor named."""
    spare = [model(f"spare{n}", {"said": TextField()}) for n in range(6)]
    return Schema(models=(*models, *spare), objects=objects)


Pair = tuple[Schema, Schema]


def author(name: peewee.Field | None = None, **meta: Any) -> type[Model]:
    """A table that others have to do with."""
    return model("author", {"name": name or TextField()}, **meta)


def keyed(name: str) -> type[Model]:
    """An author whose name is unique by a constraint."""
    return author(constraints=[SQL(f'CONSTRAINT "{name}" UNIQUE ("name")')])


def book(*constraints: str, **meta: Any) -> type[Model]:
    """A table with SQL of its own."""
    return model("book", {"title": TextField()}, constraints=[*map(SQL, constraints)], **meta)


def only_one_table() -> Pair:
    """Nothing refers to it."""
    return schema(author(), book()), schema(author(CharField()), book())


def key() -> Pair:
    """The key rests on a constraint that has another name now."""
    b = book("FOREIGN KEY (title) REFERENCES author (name)")
    return schema(keyed("one"), b), schema(keyed("two"), b)


def key_in_capitals() -> Pair:
    """PostgreSQL makes small letters of a name that is not quoted."""
    b = book("FOREIGN KEY (title) REFERENCES AUTHOR (name)")
    return schema(keyed("one"), b), schema(keyed("two"), b)


def inherited() -> Pair:
    """The table has the other one's columns, too."""
    b = book(table_settings="INHERITS (author)")
    return schema(author(), b), schema(author(CharField()), b)


def inherited_and_read() -> Pair:
    """A policy reads the column that its table's neighbour inherits."""
    b, c = book(table_settings="INHERITS (author)"), model("note", {"said": TextField()})
    own = Policy(c, "own", using="EXISTS (SELECT FROM book WHERE name = 'x')")
    return schema(author(), b, c, objects=(own,)), schema(author(CharField()), b, c, objects=(own,))


def policy() -> Pair:
    """Its condition is printed with a cast or without."""
    b = book()
    own = Policy(b, "own", using="EXISTS (SELECT FROM author WHERE name = 'x')")
    return schema(author(), b, objects=(own,)), schema(author(CharField()), b, objects=(own,))


def policy_on_a_partition() -> Pair:
    """The partition has the columns of its table."""

    def made(name: peewee.Field) -> Schema:
        parent = model(
            "event",
            {"number": IntegerField(), "name": name},
            primary_key=False,
            table_settings="PARTITION BY LIST (number)",
        )
        child, b = Partition(parent, "first", "FOR VALUES IN (1)"), book()
        own = Policy(b, "own", using="EXISTS (SELECT FROM first WHERE name = 'x')")
        return schema(parent, b, objects=(child, own))

    return made(TextField()), made(CharField())


def bound() -> Pair:
    """A partition is part of its table."""
    words = {"primary_key": False, "table_settings": "PARTITION BY LIST (number)"}
    parent = model("event", {"number": IntegerField()}, **words)
    one, two = (Partition(parent, "first", f"FOR VALUES IN ({n})") for n in (1, 2))
    return schema(parent, objects=(one,)), schema(parent, objects=(two,))


def trigger_with_a_comment() -> Pair:
    """Both are of the table they are on."""
    b = book()
    create = "CREATE TRIGGER touched AFTER INSERT ON book EXECUTE FUNCTION touch()"
    one, two = (Trigger(b, "touched", create, comment=said) for said in ("One", "Two"))
    return schema(author(), b, objects=(TOUCH, one)), schema(author(), b, objects=(TOUCH, two))


def row_type() -> Pair:
    """A column that holds rows of the other table, by the name of its array type."""
    b = book("CHECK (('{}'::_author)[1].name IS NULL)")
    return schema(author(), b), schema(author(CharField()), b)


def neighbour_of_a_change() -> Pair:
    """What is changed rests on what is not."""
    a, more = keyed("one"), book("FOREIGN KEY (title) REFERENCES author (name)")
    return schema(a, book()), schema(a, more)


def sequence_of_another_table() -> Pair:
    """A default draws from it."""
    return schema(author(), book()), schema(
        author(),
        model(
            "book",
            {"title": IntegerField(constraints=[SQL("DEFAULT nextval('author_id_seq')")])},
        ),
    )


def table_gone() -> Pair:
    """It leaves, and what it had with it."""
    return schema(author(), book()), schema(author())


def table_added() -> Pair:
    """It comes."""
    return schema(author()), schema(author(), book())


ALONE = {
    only_one_table: {"author"},
    key: {"author", "book"},
    key_in_capitals: {"author", "book"},
    inherited: {"author", "book"},
    inherited_and_read: {"author", "book", "note"},
    policy: {"author", "book"},
    policy_on_a_partition: {"event", "first", "book"},
    bound: {"event", "first"},
    trigger_with_a_comment: {"book"},
    row_type: {"author", "book"},
    neighbour_of_a_change: {"author", "book"},
    sequence_of_another_table: {"author", "book"},
    table_gone: set(),
    table_added: {"book"},
}


@pytest.mark.parametrize("case", ALONE, ids=lambda case: case.__name__)
def test_what_a_change_touches_is_built_alone(
    db: Database, built: Built, case: Callable[[], Pair]
) -> None:
    """And what that rests on."""
    a, b = case()
    before = kept(db, a)
    built.clear()
    kept(db, b, before)
    assert ([ALONE[case]] if ALONE[case] else []) == built
    assert same(db, a, b)


def view() -> Pair:
    """It may read any table."""
    read = View(name="titles", create="CREATE VIEW titles AS SELECT title FROM book")
    return (
        schema(author(), book(), objects=(read,)),
        schema(author(CharField()), book(), objects=(read,)),
    )


def enum() -> Pair:
    """It is of no table."""
    a, b = Enum("mood", ["glad"]), Enum("mood", ["glad", "sad"])
    return schema(author(), objects=(a,)), schema(author(), objects=(b,))


def function() -> Pair:
    """Its arguments are of a column's type."""
    made = Function(
        name="f",
        create="CREATE FUNCTION f(a author.name%TYPE) RETURNS text LANGUAGE sql AS 'SELECT a'",
    )
    return schema(author(), objects=(made,)), schema(author(CharField()), objects=(made,))


TOUCH = Function(
    name="touch",
    create="CREATE FUNCTION touch() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN new; END'",
)


def on_another(create: str) -> Pair:
    """A trigger of a table that is made by another model, and then it is not."""
    a, b = author(), book()
    made = Trigger(b, "touched", f"{create} AFTER INSERT ON author EXECUTE FUNCTION touch()")
    return schema(a, b, objects=(TOUCH, made)), schema(a, b, objects=(TOUCH,))


def trigger_on_another_table() -> Pair:
    """It is not of the table it is declared for."""
    return on_another("CREATE TRIGGER touched")


def trigger_that_hides_its_table() -> Pair:
    """In its own name."""
    return on_another('CREATE TRIGGER "is ON book really"')


def trigger_that_lies_about_its_table() -> Pair:
    """In a comment."""
    return on_another("CREATE TRIGGER touched /* ON book */")


def index_on_another_table() -> Pair:
    """It is not of the table it is declared for."""
    b = book()
    b.add_index(SQL("CREATE INDEX found ON author (name)"))
    return schema(author(), b), schema(author(), book())


def name_that_was_taken() -> Pair:
    """The name of one key has a number while another one has it without."""
    text, unique = TextField(), TextField(unique=False, constraints=[SQL("UNIQUE")])
    b = model("a_b", {"c": TextField(constraints=[SQL("UNIQUE")])})
    return schema(model("a", {"b_c": unique}), b), schema(model("a", {"b_c": text}), b)


def name_that_is_taken() -> Pair:
    """The name of the new key is that of another table's."""
    a = model("a", {"b_c": TextField(constraints=[SQL("UNIQUE")])})
    b = model("a_b", {"c": TextField(constraints=[SQL("UNIQUE")])})
    return schema(a, model("a_b", {"c": TextField()})), schema(a, b)


def name_that_is_spelled_otherwise() -> Pair:
    """By the numbers of its letters."""
    drawn = SQL("DEFAULT nextval(E'\\x61uthor_id_seq')")
    b = model("book", {"title": IntegerField(constraints=[drawn])})
    return schema(author(), b), schema(author(CharField()), b)


def most_tables() -> Pair:
    """It would not be worth it."""
    a = schema(author())
    other = [model(f"spare{n}", {"said": CharField()}) for n in range(4)]
    return a, replace(a, models=(author(), *other, *a.models[-2:]))


WHOLE = (
    view,
    enum,
    function,
    trigger_on_another_table,
    trigger_that_hides_its_table,
    trigger_that_lies_about_its_table,
    index_on_another_table,
    name_that_was_taken,
    name_that_is_taken,
    name_that_is_spelled_otherwise,
    most_tables,
)


@pytest.mark.parametrize("case", WHOLE, ids=lambda case: case.__name__)
def test_where_a_change_may_touch_anything_all_is_built(
    db: Database, built: Built, case: Callable[[], Pair]
) -> None:
    """Being exact comes before being fast."""
    a, b = case()
    before = kept(db, a)
    built.clear()
    kept(db, b, before)
    assert {f"spare{n}" for n in range(6)} <= built[-1]
    assert same(db, a, b)


def test_where_the_same_sql_may_mean_something_else_all_is_built(
    db: Database, built: Built
) -> None:
    """A function is there that was not, and one model is another."""
    before = kept(db, schema(author()))
    db.execute_sql("CREATE FUNCTION f() RETURNS int LANGUAGE sql AS 'SELECT 1'")
    built.clear()
    kept(db, schema(author(CharField())), before)
    assert [{"author", *(f"spare{n}" for n in range(6))}] == built


def test_a_name_that_the_server_chose_now_is_looked_for(db: Database, built: Built) -> None:
    """A default drew from what is there; the models have one of that name themselves now."""
    db.execute_sql("CREATE SEQUENCE author_n_seq")
    drawn = [SQL("DEFAULT nextval('author_n_seq')")]
    b = model("book", {"title": IntegerField(constraints=drawn)})
    later = model("author", {"name": TextField(), "n": Serial()})
    before = kept(db, schema(b, author()))
    built.clear()
    kept(db, schema(b, later), before)
    assert [{"author"}, {"author", "book", *(f"spare{n}" for n in range(6))}] == built


def test_what_is_refused_is_refused_in_the_same_words(db: Database) -> None:
    """A table that others named is gone."""
    b = book("FOREIGN KEY (title) REFERENCES author (name)")
    before = kept(db, schema(keyed("one"), b))
    with pytest.raises(MigrationError, match='relation "author" does not exist'):
        kept(db, schema(b), before)


def test_a_table_that_was_begun_is_compared(
    db: Database, built: Built, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What does not come out as the record has it is built as a whole."""
    a, b = neighbour_of_a_change()
    number, text = kept(db, a)
    assert '"one"' in text
    monkeypatch.setattr(portion, "_NUMBERED", portion.re.compile("never"))
    built.clear()
    kept(db, b, (number, text.replace('"one"', '"other"')))
    assert 2 == len(built)


def test_records_follow_one_another(db: Database) -> None:
    """A record that was made beside another one is as good as one that was not."""
    steps = [
        schema(keyed(n), book(*c)) for n, c in [("a", ()), ("b", ("CHECK (true)",)), ("c", ())]
    ]
    last = None
    for one in steps:
        last = kept(db, one, last)
    assert last is not None
    assert attributes(opened(kept(db, steps[-1])).snapshot) == attributes(opened(last).snapshot)


def test_names_in_one_case_and_another(db: Database) -> None:
    """With quotes, spaces and letters of other alphabets."""
    for name in ("Ärger", "a b", 'say "a"', "o'clock", "x" * 70, "$", "back\\slash"):
        quoted = '"' + name.replace('"', '""') + '"'
        b = book(f"FOREIGN KEY (title) REFERENCES {quoted} (name)")

        def other(key: str, name: str = name) -> type[Model]:
            unique = SQL(f'CONSTRAINT "{key}" UNIQUE ("name")')
            return model(name, {"id": AutoField(), "name": TextField()}, constraints=[unique])

        assert same(db, schema(other("one"), b), schema(other("two"), b))


PLACES: tuple[Place, ...] = (("public", "author"), ("public", "book"))


def test_every_table_has_a_number(db: Database) -> None:
    """Of its own SQL, wherever it is declared."""
    own = Policy(book(), "own", using="true")
    one, other = (opened(kept(db, schema(author(), book(), objects=o))) for o in ((), (own,)))
    assert one.parts.common == other.parts.common
    assert [True, False] == [one.parts.tables[p] == other.parts.tables[p] for p in PLACES]
