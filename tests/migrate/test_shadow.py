"""What the server makes of models, and that nobody notices."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from contextlib import closing
from datetime import date, datetime
from typing import Any

import psycopg2
import pytest
from peewee import (
    SQL,
    AutoField,
    BigAutoField,
    Check,
    DateField,
    DateTimeField,
    DeferredForeignKey,
    DoubleField,
    ForeignKeyField,
    IntegerField,
    Model,
    TextField,
    UUIDField,
    fn,
)
from playhouse.postgres_ext import ArrayField
from support.migrations import url_of
from support.server import Server

from foundry import declare
from foundry.database import Database, Target, connect
from foundry.errors import DeclarationError, MigrationError, NoScratch
from foundry.migrate import catalog, shadow
from foundry.migrate.objects import Column, Constraint, Extension, Index, Table, View
from foundry.migrate.shadow import Wanted, wanted
from foundry.migrate.snapshot import Snapshot
from foundry.schema import SCHEMA


class Base(Model):
    """Table names as the class is called."""

    class Meta:
        legacy_table_names = False


class Author(Base):
    """A table others refer to."""

    name = TextField(unique=True)


class Book(Base):
    """A table with one of everything plain."""

    author = ForeignKeyField(Author, on_delete="CASCADE", constraint_name="book_author")
    title = TextField(constraints=[Check("title <> '100%%'", name="title_said")])
    rank = IntegerField(default=7)

    class Meta:
        table_settings = "WITH (fillfactor = 70)"
        indexes = ((("author", "rank"), True),)


@pytest.fixture
def db(empty: Target) -> Iterator[Database]:
    """A connection to a database with nothing in it."""
    pool = connect(url_of(empty), bind=False)
    with pool.connection_context():
        yield pool
    pool.close_all()


def read(db: Database, *namespaces: str) -> Snapshot:
    """What is there now."""
    names = {name: name for name in ("public", *namespaces)}
    return catalog.read(db, names, search_path=["public"])


def want(db: Database, *models: Any, **options: Any) -> Wanted:
    """What a list of models wants."""
    return wanted(db, models, live=read(db), **options)


def leftovers(db: Database) -> list[Any]:
    """Namespaces that a run made."""
    query = "SELECT nspname FROM pg_namespace WHERE nspname ~ '^foundry_shadow'"
    return list(db.execute_sql(query).fetchall())


def exists(db: Database, name: str) -> bool:
    """True when the server has a database of that name; other runs make some meanwhile."""
    return bool(db.execute_sql("SELECT FROM pg_database WHERE datname = %s", (name,)).rowcount)


def objects(snapshot: Snapshot) -> dict[Any, Any]:
    """The objects without extensions and namespaces."""
    return {k: o for k, o in snapshot.objects.items() if k[0] not in ("extension", "namespace")}


def test_models_want_what_create_tables_makes(db: Database) -> None:
    """The very same objects, read the same way; the shadow leaves nothing."""
    before = want(db, Author, Book).snapshot
    assert [] == leftovers(db)
    with db.bind_ctx([Author, Book]):
        db.create_tables([Author, Book])
    assert objects(read(db)) == objects(before)
    assert objects(before) == objects(want(db, Author, Book).snapshot)


def test_the_schema_of_foundry_itself_is_wanted_as_it_is_migrated(migrated: Target) -> None:
    """Optional parts, comments, functions and the external's tables included."""
    pool = connect(url_of(migrated), bind=False)
    with pool.connection_context():
        live = read(pool)
        there = live.get(("table", "public", "checkpoints")) is not None
        found = wanted(pool, SCHEMA, live=live, externals={"langgraph": there})
    pool.close_all()
    assert ("table", "public", "messages") in found.snapshot
    assert [] == [k for k, o in objects(found.snapshot).items() if live.get(k) != o]


def test_sources_are_the_models_own_words(db: Database) -> None:
    """Real names, one percent sign, no foreign key in the table."""
    snapshot = want(db, Author, Book).snapshot
    assert (
        '(\n    "id" SERIAL NOT NULL PRIMARY KEY,\n    "author_id" INTEGER NOT NULL,\n'
        '    "title" TEXT NOT NULL CONSTRAINT "title_said" CHECK (title <> \'100%\'),\n'
        '    "rank" INTEGER NOT NULL\n) WITH (fillfactor = 70)'
    ) == snapshot.get(("table", "public", "book")).source
    sources = {c.name: c.source for c in snapshot.kind(Constraint) if c.source}
    assert {
        "book_author": 'FOREIGN KEY ("author_id") REFERENCES "author" ("id") ON DELETE CASCADE',
        "title_said": "CHECK (title <> '100%')",
    } == sources
    assert (
        'CREATE UNIQUE INDEX "book_author_id_rank" ON "book" ("author_id", "rank")'
        == snapshot.get(("index", "public", "book", "book_author_id_rank")).source
    )


def test_raw_foreign_keys_leave_no_source(db: Database) -> None:
    """A body that still holds one would make it twice."""

    class Loan(Base):
        book = IntegerField(constraints=[SQL("REFERENCES author (id)")])

    assert "" == want(db, Author, Loan).snapshot.get(("table", "public", "loan")).source


def _never() -> int:
    raise AssertionError("called")


def test_python_defaults_become_sql(db: Database) -> None:
    """Constants and the clock's functions; what is unknown is never called."""

    class Many(Base):
        key = UUIDField(default=uuid.uuid4)
        at = DateTimeField(default=datetime.now)
        utc = DateTimeField(default=datetime.utcnow)
        day = DateField(default=date.today)
        text = TextField(default="it's 5%")
        tags = ArrayField(TextField, default=list)
        drawn = DoubleField(default=fn.random())
        odd = IntegerField(default=_never)
        none = IntegerField()

    filled = {c.name: (c.fill, c.fill_once) for c in want(db, Many).snapshot.kind(Column)}
    assert {
        "id": ("", False),
        "key": ("gen_random_uuid()", False),
        "at": ("LOCALTIMESTAMP", True),
        "utc": ("(now() AT TIME ZONE 'UTC')", True),
        "day": ("CURRENT_DATE", True),
        "text": ("'it''s 5%'", True),
        "tags": ("'{}'", True),
        "drawn": ("random()", False),
        "odd": ("", False),
        "none": ("", False),
    } == filled


def test_namespaces_of_models_are_theirs(db: Database) -> None:
    """Sequences, keys across namespaces, and a model that names the default one."""

    class Log(Base):
        id = BigAutoField()
        number = IntegerField(sequence="log_numbers")
        author = ForeignKeyField(Author)
        before = ForeignKeyField("self", null=True)

        class Meta:
            schema = "audit"

    class Plain(Base):
        log = ForeignKeyField(Log)

        class Meta:
            schema = "public"

    found = want(db, Author, Log, Plain)
    db.execute_sql("CREATE SCHEMA audit")
    with db.bind_ctx([Author, Log, Plain]):
        db.create_tables([Author, Log, Plain])
    assert objects(read(db, "audit")) == objects(found.snapshot)
    assert "NEXTVAL('audit.log_numbers')" in found.snapshot.get(("table", "audit", "log")).source
    assert ("sequence", "audit", "log_numbers") in found.managed.names


def test_tables_may_refer_to_each_other(db: Database) -> None:
    """A deferred key is made last, under Peewee's name."""

    class Left(Base):
        right = DeferredForeignKey("Right", null=True)

    class Right(Base):
        left = ForeignKeyField(Left)

    names = {c.name for c in want(db, Left, Right).snapshot.kind(Constraint)}
    assert {"fk_left_right_id_refs_right", "right_left_id_fkey"} <= names


LOCKS = """
SELECT c.relname, l.mode FROM pg_locks AS l JOIN pg_class AS c ON c.oid = l.relation
JOIN pg_namespace AS n ON n.oid = c.relnamespace
WHERE n.nspname = 'public' AND l.mode <> 'AccessShareLock'
"""


@pytest.mark.parametrize(
    "key",
    [
        lambda: ForeignKeyField(Author),
        lambda: IntegerField(constraints=[SQL("REFERENCES author (id)")]),
    ],
    ids=["peewee", "raw"],
)
def test_tables_of_others_are_only_read(
    db: Database, monkeypatch: pytest.MonkeyPatch, key: Any
) -> None:
    """A key to one gets a copy to refer to, which is not among what is wanted."""
    with db.bind_ctx([Author]):
        db.create_tables([Author])

    class Song(Base):
        author = key()

    seen: list[Any] = []
    real = catalog.read

    def looking(database: Any, *args: Any, **kwargs: Any) -> Snapshot:
        seen.extend(database.execute_sql(LOCKS).fetchall())
        return real(database, *args, **kwargs)

    live = read(db)
    monkeypatch.setattr("foundry.migrate.shadow.catalog.read", looking)
    snapshot = wanted(db, [Song], live=live).snapshot
    assert [] == seen
    assert ["song"] == [t.name for t in snapshot.kind(Table)]
    (found,) = (c for c in snapshot.kind(Constraint) if c.kind == "FOREIGN KEY")
    assert (("public", "author"), "author_pkey") == (found.references, found.index)


@pytest.mark.parametrize("name", ["Über", "x" * 70], ids=["folded", "clipped"])
def test_names_are_found_as_the_server_reads_them(
    db: Database, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    """It folds nothing but ASCII, and keeps 63 bytes."""
    db.execute_sql(f"CREATE TABLE {name} (id int PRIMARY KEY)")

    class Song(Base):
        other = IntegerField()

        class Meta:
            constraints = (SQL(f"CONSTRAINT to_it FOREIGN KEY (other) REFERENCES {name}(id)"),)

    seen: list[Any] = []
    real = catalog.read

    def looking(database: Any, *args: Any, **kwargs: Any) -> Snapshot:
        seen.extend(database.execute_sql(LOCKS).fetchall())
        return real(database, *args, **kwargs)

    live = read(db)
    monkeypatch.setattr("foundry.migrate.shadow.catalog.read", looking)
    wanted(db, [Song], live=live)
    assert [] == seen


def test_a_table_further_down_the_path_is_only_read(db: Database, empty: Target) -> None:
    """What stands behind the first namespace of the path is found without its name, too."""
    db.execute_sql("CREATE SCHEMA shared; CREATE TABLE shared.tag (id int PRIMARY KEY)")
    db.execute_sql("SET search_path = public, shared")

    class Song(Base):
        tag = IntegerField()

        class Meta:
            constraints = (SQL("CONSTRAINT to_it FOREIGN KEY (tag) REFERENCES tag(id)"),)

    names = {"public": "public", "shared": "shared"}
    live = catalog.read(db, names, search_path=list(names))
    with closing(psycopg2.connect(**empty.params)) as session:
        session.cursor().execute("LOCK TABLE shared.tag IN ROW EXCLUSIVE MODE")
        found = wanted(db, [Song], live=live).snapshot
    (key,) = (c for c in found.kind(Constraint) if c.kind == "FOREIGN KEY")
    assert ("shared", "tag") == key.references


def test_what_reaches_a_table_all_the_same_is_built_elsewhere(
    db: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its name may be put together while it runs."""
    db.execute_sql("CREATE TABLE other (id int)")
    reach = declare.Function(
        name="f",
        create="CREATE FUNCTION f() RETURNS int LANGUAGE sql AS 'SELECT 1'",
        comments=("DO $$BEGIN EXECUTE concat('LOCK TABLE pub', 'lic.', 'oth', 'er'); END$$",),
    )
    used: list[object] = []
    real = shadow.scratch

    def noted(*args: Any, **words: Any) -> Any:
        used.append(args)
        return real(*args, **words)

    monkeypatch.setattr(shadow, "scratch", noted)
    with pytest.raises(MigrationError, match="does not exist"):
        wanted(db, declare.Schema(models=[], objects=[reach]), live=read(db))
    assert used


def test_a_comment_that_names_a_namespace_never_reaches_it(db: Database, empty: Target) -> None:
    """The comments of a view are its author's."""
    db.execute_sql("CREATE TABLE other (id int)")
    view = declare.View(
        name="seen",
        create="CREATE VIEW seen AS SELECT 1 AS one",
        comments=("COMMENT ON TABLE public.other IS 'x'",),
    )
    with closing(psycopg2.connect(**empty.params)) as session:
        session.cursor().execute("LOCK TABLE other IN SHARE UPDATE EXCLUSIVE MODE")
        found = wanted(db, declare.Schema(models=[], objects=[view]), live=read(db)).snapshot
    assert ["seen"] == [v.name for v in found.kind(View)]


def test_a_reference_to_nothing_is_refused(db: Database) -> None:
    """The model that is missing is named."""
    with pytest.raises(DeclarationError, match=r'model Author \(table "author"\) is referred to'):
        want(db, Book)


def test_sql_that_names_a_namespace_never_reaches_it(db: Database) -> None:
    """It is built in a database of its own, where the name is the real one."""

    class Reader(Base):
        name = TextField(constraints=[Check('length(PUBLIC . "shown"(name)) > 0')])
        book = ForeignKeyField(Author, null=True)

    shown = declare.Function(
        name="shown",
        create="CREATE FUNCTION public.shown(text) RETURNS text LANGUAGE sql IMMUTABLE RETURN $1",
    )
    with db.bind_ctx([Author]):
        db.create_tables([Author])
    schema = declare.Schema(models=[Reader], objects=[shown])
    found = wanted(db, schema, live=read(db)).snapshot
    assert [] == leftovers(db)
    with db.bind_ctx([Reader]):
        schema.create_all(db)
    live = read(db)
    assert [] == [k for k, o in objects(found).items() if live.get(k) != o]
    assert ["reader"] == [t.name for t in found.kind(Table)]


def test_without_create_the_shadow_moves_elsewhere_or_says_why(
    db: Database, empty: Target, server: Server
) -> None:
    """A role that may create neither namespaces nor databases."""
    with server.role() as role:
        url = server.url_as(role, empty.dbname)
        pool = connect(url, bind=False)
        with pool.connection_context(), pytest.raises(NoScratch, match="--dev-url"):
            wanted(pool, [Author], live=read(pool), dev_url=url)
        found = None
        with pool.connection_context():
            found = wanted(pool, [Author], live=read(pool), dev_url=url_of(empty))
        pool.close_all()
    assert ("table", "public", "author") in found.snapshot
    assert [] == leftovers(db)


@pytest.mark.parametrize(
    ("field", "said"),
    [
        (lambda: IntegerField(constraints=[Check("rank > missing")]), '"missing" does not exist'),
        (lambda: IntegerField(constraints=[SQL("DEFAULT 5 %")]), 'written "%%"'),
        (lambda: IntegerField(constraints=[SQL("); COMMIT; --")]), "second statement"),
    ],
)
def test_errors_name_the_model(db: Database, field: Any, said: str) -> None:
    """And what the server said."""

    class Bad(Base):
        rank = field()

    with pytest.raises((MigrationError, DeclarationError), match=r"model Bad \(table") as caught:
        want(db, Author, Bad)
    assert said in str(caught.value)
    assert [] == leftovers(db)


def test_indexes_equal_in_63_bytes_are_refused(db: Database) -> None:
    """Peewee's own IF NOT EXISTS would leave the second one out silently."""

    class Long(Base):
        one = IntegerField()
        two = IntegerField()

    Long.add_index(Long.index(Long.one, name="ä" * 31 + "bc"))
    Long.add_index(Long.index(Long.two, name="ä" * 31 + "bd"))
    with pytest.raises(MigrationError, match=r"index of model Long .* already exists"):
        want(db, Long)


def test_two_models_of_one_table_agree_or_are_refused(db: Database) -> None:
    """The first makes the table; the second may repeat parts of it."""

    class Part(Base):
        name = TextField(unique=True)

        class Meta:
            table_name = "author"

    class Other(Base):
        name = IntegerField()

        class Meta:
            table_name = "author"

    tables = want(db, Author, Part).snapshot.kind(Table)
    assert ["author"] == [t.name for t in tables]
    with pytest.raises(DeclarationError, match="models Author and Other"):
        want(db, Author, Other)


def test_renames_are_of_the_class_that_states_them(db: Database) -> None:
    """Peewee hands Meta on to subclasses; field names will do."""

    class Person(Base):
        boss = ForeignKeyField("self", null=True)

        class Meta:
            renamed_from = "people"
            renames = {"boss": "chief_id"}  # noqa: RUF012

    class Guest(Person):
        pass

    found = want(db, Person, Guest).renames
    person = ("public", "person")
    assert ((("public", "people"), person),) == found.tables
    assert ((person, "chief_id", "boss_id"),) == found.columns


def test_renames_that_contradict_themselves_are_refused(db: Database) -> None:
    """A column that is not there; two from one."""

    class Lost(Base):
        class Meta:
            renames = {"nothing": "old"}  # noqa: RUF012

    class Twice(Base):
        one = IntegerField()
        two = IntegerField()

        class Meta:
            renames = {"one": "old", "two": "old"}  # noqa: RUF012

    with pytest.raises(DeclarationError, match='renames "nothing"'):
        want(db, Lost)
    with pytest.raises(DeclarationError, match='two columns are renamed from "old"'):
        want(db, Twice)


def test_optional_parts_are_left_out_and_said_to_wait(db: Database) -> None:
    """Also on a model of Peewee's own schema manager."""

    class Half(Base):
        id = AutoField()
        more = declare.optional(IntegerField(null=True), needs="option:more")

    key = ("column", "public", "half", "more")
    without, whole = want(db, Half), want(db, Half, options=["more"])
    assert (False, {key}) == (key in without.snapshot, set(without.managed.waiting))
    assert ("option:more",) == whole.snapshot.get(key).needs
    assert frozenset() == whole.managed.waiting


def test_extensions_that_fields_need_are_wanted(db: Database) -> None:
    """pgvector's field says so itself."""
    from pgvector.peewee import VectorField

    class Point(Base):
        at = VectorField(3)

    query = "SELECT FROM pg_available_extensions WHERE name = 'vector'"
    if not db.execute_sql(query).rowcount:
        pytest.skip("this server has no pgvector")
    snapshot = want(db, Point).snapshot
    assert ["vector"] == [e.name for e in snapshot.kind(Extension) if e.name == "vector"]
    assert "vector(3)" == snapshot.get(("column", "public", "point", "at")).type
    assert not db.execute_sql("SELECT FROM pg_extension WHERE extname = 'vector'").rowcount


MOOD = declare.Enum("mood", ("good", "it's"), renames={"good": "fine"}, comment="50%")


class Diary(Base):
    """A table with everything that is declared beside it."""

    mood = MOOD.field(null=True)
    moods = MOOD.array(null=True)
    owner = TextField()


WHOLE = declare.Schema(
    models=[Diary],
    objects=[
        MOOD,
        declare.Function(
            name="stamped",
            create="CREATE FUNCTION stamped() RETURNS trigger LANGUAGE plpgsql AS"
            " $$BEGIN RETURN new; END$$",
        ),
        declare.View(name="owners", create="CREATE VIEW owners AS SELECT owner FROM diary"),
        declare.MaterializedView("moods", "SELECT mood, count(*) AS n FROM diary GROUP BY 1"),
        declare.Trigger(
            Diary,
            "stamp",
            "CREATE TRIGGER stamp BEFORE INSERT ON diary FOR EACH ROW EXECUTE FUNCTION stamped()",
        ),
        declare.RowSecurity(Diary, force=True),
        declare.Policy(Diary, "own", command="SELECT", using="owner = current_user"),
        declare.Grant(("SELECT", "INSERT"), on=Diary, to="PUBLIC"),
        declare.Index(
            Diary, Diary.owner, name="by_owner", options={"fillfactor": declare.tuned(50)}
        ),
    ],
)


def test_declared_objects_are_wanted_as_create_all_makes_them(db: Database) -> None:
    """Each kind, in the order they need."""
    found = wanted(db, WHOLE, live=read(db))
    with db.bind_ctx([Diary]):
        WHOLE.create_all(db)
    assert objects(read(db)) == objects(found.snapshot)
    assert (("public", "mood"), "fine", "good") == found.renames.labels[0]
    assert frozenset({""}) == found.managed.roles
    (index,) = (i for i in found.snapshot.kind(Index) if i.name == "by_owner")
    assert ("fillfactor",) == index.tuned
    (view,) = (v for v in found.snapshot.kind(View) if v.materialized)
    assert view.source.endswith("WITH DATA")


def test_labels_go_in_and_come_out(db: Database) -> None:
    """One, and a list of them."""
    with db.bind_ctx([Diary]):
        declare.Schema(models=[Diary], objects=[MOOD]).create_all(db)
        Diary.create(mood="it's", moods=["good", "it's"], owner="me")
        row = Diary.get(Diary.mood == "it's")
    assert ("it's", ["good", "it's"]) == (row.mood, row.moods)


def test_an_index_on_an_external_table_is_ours_and_its_table_is_not(db: Database) -> None:
    """What the index needs is copied."""
    db.execute_sql("CREATE TABLE strange (word text, id int primary key)")

    class Strange(Base):
        word = TextField()

    index = declare.Index(Strange, Strange.word, name="words")
    found = wanted(db, declare.Schema(models=[], objects=[index]), live=read(db))
    key = ("index", "public", "strange", "words")
    assert ({key}, {key}) == (set(objects(found.snapshot)), set(found.managed.indexes))


def test_a_scratch_database_is_alike_and_gone_afterwards(db: Database, empty: Target) -> None:
    """After an error too; what a killed run left is dropped by the next."""
    from foundry.migrate.scratch import scratch

    left = f"foundry_scratch_60000000_{uuid.uuid4().hex[:8]}"
    conn = psycopg2.connect(**empty.params)
    conn.autocommit = True
    conn.cursor().execute(f'CREATE DATABASE "{left}"')
    conn.close()
    alike = """
        SELECT count(DISTINCT (encoding, datcollate, datctype, datlocprovider)), count(*)
        FROM pg_database WHERE datname IN (%s, current_database())"""
    names = []
    with scratch(empty) as other:
        names += other.execute_sql("SELECT current_database()").fetchone()
        assert (1, 2) == db.execute_sql(alike, (names[0],)).fetchone()
    with pytest.raises(ZeroDivisionError), scratch(empty) as other:  # noqa: PT012
        names += other.execute_sql("SELECT current_database()").fetchone()
        names.append(str(1 / 0))
    assert 2 == len(names)
    assert [False] * 3 == [exists(db, name) for name in (left, *names)]
