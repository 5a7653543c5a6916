"""The strategies make rows that a real server takes, and small ones when a test fails."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing, suppress
from datetime import datetime, timezone
from enum import Enum
from itertools import pairwise
from pathlib import Path
from typing import Any

import peewee
import psycopg
import pytest
from hypothesis import HealthCheck, Phase, find, given, settings
from hypothesis import strategies as st
from hypothesis.errors import InvalidArgument
from peewee import SQL, Check, Model, fn
from playhouse import postgres_ext

import foundry
from foundry import fields, schema
from foundry.database import Database, connect
from foundry.fixtures.strategies import (
    checkpoints,
    conversations,
    each_example,
    from_model,
    jsonb,
    protocols,
    rows,
    save,
    save_all,
    vectors,
)
from foundry.schema.base import has_column

SHARED = settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
QUIET = settings(
    # Explaining why a small example fails takes longer than to find it.
    database=None,
    deadline=None,
    max_examples=100,
    phases=[Phase.generate, Phase.shrink],
)
ANY = settings(QUIET, phases=[Phase.generate])
"""For one that need not be small: making it smaller takes most of the time."""
WRITABLE = schema.SCHEMA.models


class Colour(Enum):
    """What an enum field holds."""

    RED = "red"
    BLUE = "blue"


class EnumField(peewee.CharField):  # type: ignore[type-arg]
    """A field as many projects write it."""

    def __init__(self, kinds: type[Enum], **options: Any) -> None:
        self.kinds = kinds
        super().__init__(**options)

    def db_value(self, value: Any) -> Any:
        return value and value.value

    def python_value(self, value: Any) -> Any:
        return value and self.kinds(value)


class Stranger(Model):
    """A model of somebody else's project."""

    class Meta:
        legacy_table_names = False


class Kinds(Stranger):
    """A column of every type."""

    char = peewee.CharField(max_length=3)
    fixed = peewee.FixedCharField(max_length=4)
    varchar = fields.VarCharField()
    text = peewee.TextField()
    small = peewee.SmallIntegerField()
    integer = peewee.IntegerField()
    big = peewee.BigIntegerField()
    bits = peewee.BitField()
    single = peewee.FloatField()
    double = peewee.DoubleField()
    decimal = peewee.DecimalField(max_digits=6, decimal_places=2)
    boolean = peewee.BooleanField()
    date = peewee.DateField()
    time = peewee.TimeField()
    naive = peewee.DateTimeField()
    ticks = peewee.TimestampField(resolution=1000, utc=True)
    aware = postgres_ext.DateTimeTZField()
    utc = fields.TimestampField()
    moment = fields.TimestampTZField()
    interval = postgres_ext.IntervalField()
    uuid = peewee.UUIDField()
    blob = peewee.BlobField()
    json = fields.JSONField()
    binary_json = postgres_ext.BinaryJSONField()
    plain_json = postgres_ext.JSONField()
    array = postgres_ext.ArrayField(peewee.IntegerField)
    words = postgres_ext.ArrayField(peewee.TextField, dimensions=2)
    address = peewee.IPField()
    colour = EnumField(Colour)
    choice = peewee.CharField(choices=[("a", "A"), ("b", "B")])
    maybe = peewee.IntegerField(null=True)
    zero = peewee.IntegerField(constraints=[SQL("DEFAULT 7")])
    identifier = peewee.UUIDField(unique=True, constraints=[SQL("DEFAULT gen_random_uuid()")])
    doubled = peewee.IntegerField(
        null=True, constraints=[SQL("GENERATED ALWAYS AS (small * 2) STORED")]
    )


class Checked(Stranger):
    """Constraints of the kinds people write."""

    id = peewee.IdentityField()
    role = peewee.CharField(constraints=[Check("role IN ('a', 'it''s')", name="roles")])
    age = peewee.IntegerField(null=True, constraints=[Check("age BETWEEN 18 AND 120")])
    price = peewee.DecimalField(constraints=[Check("price > 0 AND price <> 1.5")])
    rate = peewee.FloatField(constraints=[Check("rate >= 0 AND rate < 1")])
    code = peewee.TextField(constraints=[Check("code ~ '^[A-Z]{2}\\d+$'")])
    mail = peewee.TextField(constraints=[Check("mail LIKE 'x%%@_.org'")])
    name = peewee.TextField(constraints=[Check("length(name) BETWEEN 2 AND 5")])
    day = peewee.DateField(constraints=[Check("day >= DATE '2020-01-01'")])
    agreed = peewee.BooleanField(constraints=[Check("agreed")])
    tags = fields.JSONField(constraints=[Check("jsonb_typeof(tags) = 'array'")])
    began = fields.TimestampTZField()
    ended = fields.TimestampTZField(null=True)
    kind = peewee.TextField()
    reason = peewee.TextField(null=True)

    class Meta:
        constraints = (
            Check("began < ended", name="ends_after_it_began"),
            Check("(kind = 'ok' AND reason IS NULL) OR (kind = 'bad' AND reason IS NOT NULL)"),
        )


class Team(Stranger):
    """A parent whose own key is generated."""

    code = peewee.CharField(max_length=2, primary_key=True)
    name = peewee.TextField(null=True, constraints=[SQL("UNIQUE")])


class Person(Stranger):
    """A tree of people, each with a name that is unique in its team whatever its case."""

    team = peewee.ForeignKeyField(Team)
    boss = peewee.ForeignKeyField("self", null=True)
    name = peewee.CharField(max_length=4)
    number = peewee.SmallIntegerField(unique=True)
    best = peewee.BooleanField(null=True, unique=True)

    class Meta:
        indexes = ((("team", "number"), True),)


Person.add_index(
    peewee.ModelIndex(Person, (Person.team, fn.LOWER(Person.name)), unique=True, name="person_name")
)


class Membership(Stranger):
    """A key of two foreign keys."""

    person = peewee.ForeignKeyField(Person)
    team = peewee.ForeignKeyField(Team)

    class Meta:
        primary_key = peewee.CompositeKey("person", "team")


class Badge(Stranger):
    """One a person."""

    person = peewee.ForeignKeyField(Person, primary_key=True)
    level = peewee.SmallIntegerField(constraints=[SQL("CHECK (level > 0)")])


STRANGERS = (Kinds, Checked, Team, Person, Membership, Badge)


@pytest.fixture
def strangers(empty: Any, server: Any) -> Iterator[Database]:
    """A database with the strangers' tables and nothing of foundry."""
    pool = connect(server.url(empty.dbname), pool_size=2, bind=False)
    with pool.connection_context(), pool.bind_ctx(STRANGERS):
        pool.create_tables(STRANGERS)
        yield pool
    pool.close_all()


@pytest.mark.parametrize("model", WRITABLE)
def test_an_instance_of_every_model_of_foundry_is_stored(
    database: Database, model: type[Model]
) -> None:
    """With its parents, under every constraint the migrations made."""

    @SHARED
    @given(from_model(model))
    def check(instance: Model) -> None:
        with each_example(database):
            save(instance)
            assert 1 == model.select().count()

    check()


@pytest.mark.parametrize("model", WRITABLE)
def test_rows_of_every_model_of_foundry_are_stored_together(
    database: Database, model: type[Model]
) -> None:
    """Keys and addresses are unique among them and their parents."""

    @SHARED
    @given(rows(model))
    def check(instances: list[Model]) -> None:
        with each_example(database):
            save_all(instances)
            assert len(instances) == model.select().count()

    check()


@pytest.mark.parametrize("model", STRANGERS)
def test_rows_of_a_strangers_models_are_stored_together(
    strangers: Database, model: type[Model]
) -> None:
    """Whatever types, checks, keys and parents they have."""

    @SHARED
    @given(rows(model))
    def check(instances: list[Model]) -> None:
        with each_example(strangers):
            save_all(instances)
            keys = {instance._pk for instance in instances}
            # Others of the model are their parents.
            assert keys <= {row._pk for row in model.select()}
            assert len(instances) == len(keys)

    check()


# What these fields return is what PostgreSQL or Peewee makes of it, by design.
OTHERWISE = {"blob", "aware", "utc", "moment", "doubled", "zero", "identifier", "id"}


def test_values_come_back_equal(strangers: Database) -> None:
    """The server neither rounds, cuts nor pads them."""

    @SHARED
    @given(from_model(Kinds))
    def check(instance: Kinds) -> None:
        with each_example(strangers):
            save(instance)
            back = Kinds.get_by_id(instance.id)
            names = Kinds._meta.fields.keys() - OTHERWISE
            assert {n: getattr(instance, n) for n in names} == {n: getattr(back, n) for n in names}
            assert instance.moment == back.moment
            assert instance.utc == back.utc
            assert instance.blob == bytes(back.blob)

    check()


def test_each_example_starts_from_the_same_rows(database: Database) -> None:
    """Also after one that failed, and after one whose transaction was broken."""
    ran: list[str] = []
    save(schema.User(email="before"))

    def check(how: str) -> None:
        with each_example(database):
            ran.append(how)
            assert 1 == schema.User.select().count()
            schema.User.create(email="the same")
            if how == "breaks":
                schema.User.create(email="the same")
            if how == "fails":
                raise RuntimeError

    for how in ("passes", "fails", "breaks", "passes"):
        with suppress(RuntimeError, peewee.IntegrityError):
            check(how)
    assert ["passes", "fails", "breaks", "passes"] == ran
    assert ["before"] == [u.email for u in schema.User.select()]


def test_each_example_is_a_savepoint_in_a_transaction(database: Database) -> None:
    """What was written before it stays until that transaction ends."""
    with database.atomic() as outer:
        schema.User.create(email="outer")
        with each_example(database):
            schema.User.create(email="inner")
        assert ["outer"] == [u.email for u in schema.User.select()]
        outer.rollback()
    assert 0 == schema.User.select().count()


def test_an_unsaved_instance_as_override_serves_every_example(database: Database) -> None:
    """Each example stores a copy of its own, shared by its rows."""
    session = schema.Session(user=schema.User(name="Ada"))

    @SHARED
    @given(rows(schema.Message, session=session, min_size=1))
    def check(messages: list[schema.Message]) -> None:
        with each_example(database):
            save_all(messages)
            assert 1 == schema.Session.select().count()

    check()
    assert session.id is None


def test_a_saved_parent_is_used_as_it_is(database: Database) -> None:
    """No second one is stored."""
    user = schema.User.create(name="Ada")
    save_all(find(rows(schema.Session, user=user, min_size=2), lambda _: True, settings=ANY))
    assert (1, 2) == (schema.User.select().count(), schema.Session.select().count())


def test_an_override_may_break_what_the_table_asks_for(database: Database) -> None:
    """So that a test can see the server refuse it."""
    message = find(from_model(schema.Message, role="nobody"), lambda _: True, settings=ANY)
    with pytest.raises(peewee.IntegrityError, match="messages_role_check"):
        save(message)


class Either(Stranger):
    """What is bad has a reason."""

    kind = peewee.TextField()
    reason = peewee.TextField(null=True)

    class Meta:
        constraints = (
            Check("(kind = 'ok' AND reason IS NULL) OR (kind = 'bad' AND reason IS NOT NULL)"),
        )


def test_an_override_decides_between_alternatives() -> None:
    """The other columns follow the part of an OR that it agrees with."""
    for number in range(8):
        bad = find(from_model(Either, kind="bad", id=number), lambda _: True, settings=ANY)
        assert bad.reason is not None
        free = from_model(Either, reason=None, id=number)
        assert "ok" == find(free, lambda _: True, settings=ANY).kind


class Odd(Stranger):
    """What is not understood without help."""

    vague = peewee.TextField(null=True)
    upper = peewee.TextField(constraints=[Check("upper = upper(upper)", name="is_upper")])
    search = postgres_ext.TSVectorField(null=True)


class Bare(Stranger):
    """A key to a table that no model is of."""

    other = peewee.IntegerField(constraints=[SQL("REFERENCES others (id)")])


class Impossible(Stranger):
    """A check nothing passes."""

    size = peewee.IntegerField(constraints=[Check("size > 3 AND size < 2")])


class Flag(Stranger):
    """Two rows at most."""

    up = peewee.BooleanField(unique=True)


class Side(Stranger):
    """Four rows at most."""

    side = peewee.TextField(constraints=[Check("side IN ('left', 'right')")])
    up = peewee.BooleanField()

    class Meta:
        indexes = ((("side", "up"), True),)


class Unbound(Stranger):
    """A model that no database was ever named for."""


class Proxied(Stranger):
    """A model whose database is named later."""

    class Meta:
        database = peewee.DatabaseProxy()


REFUSED = {
    "a field that is not there": (lambda: from_model(Team, nme="x"), 'no field "nme"'),
    "a column's name": (lambda: from_model(Person, team_id="x"), 'is "team"'),
    "no model": (lambda: from_model(Colour), "model="),  # type: ignore[type-var]
    "a check": (lambda: from_model(Odd, search=None), '"is_upper".*give upper='),
    "a type": (lambda: from_model(Odd, upper="X"), "Odd.search.*TSVectorField.*search="),
    "references": (lambda: from_model(Bare), "Bare.other.*give other="),
    "a function": (lambda: from_model(Team, name=st.text), 'Team.name: "text" is neither'),
    "a class": (lambda: from_model(Team, name=str), 'Team.name: "str" is neither'),
    "a row of another model": (
        lambda: from_model(Person, team=Badge()),
        "Person.team: it refers to Team.*not Badge",
    ),
    "a row for no key": (lambda: from_model(Team, name=Team()), "Team.name: it refers to nothing"),
    "never null": (lambda: from_model(Person, name=None), "Person.name: it is never null"),
    "a key never null": (lambda: from_model(Person, team=None), "Person.team: it is never null"),
    "one unique value": (
        lambda: rows(Person, min_size=2, number=1),
        r"min_size=2 is above 1, .*\(number\): give a strategy",
    ),
    "few unique values": (lambda: rows(Flag, min_size=3), r"min_size=3 is above 2, .*\(up\)"),
    "few listed values": (lambda: rows(Side, min_size=5), r"above 4, .*\(side, up\)"),
    "no row": (lambda: save(3), "instance=3 is not an instance"),  # type: ignore[type-var]
    "a row for rows": (lambda: save_all(Team()), "instances=.*save.. takes a single one"),
    "no rows": (lambda: save_all([3]), "instances: 3 is not"),  # type: ignore[list-item]
    "no database": (lambda: save(Unbound()), "Unbound is bound to no database: .*foundry_db"),
    "an empty proxy": (lambda: save(Proxied()), "Proxied is bound to no database: .*foundry_db"),
    "no value": (lambda: from_model(Impossible), "Impossible: no values"),
    "min_size": (lambda: rows(Team, min_size=-1), "min_size=-1"),
    "sizes": (lambda: rows(Team, min_size=3, max_size=2), "min_size=3 is above"),
    "dimensions": (lambda: vectors(0), "dimensions=0"),
    "bounds": (lambda: vectors(3, min_value=1.0, max_value=0.0), "min_value=1.0 is above"),
    "a float32": (lambda: vectors(3, max_value=0.1), "max_value=0.1"),
    "unit": (lambda: vectors(3, unit=True, allow_zero=True), "allow_zero=True"),
    "leaves": (lambda: jsonb(max_leaves=0), "max_leaves=0"),
    "messages": (lambda: conversations(min_messages=9), "min_messages=9 is above"),
    "embeddings": (lambda: conversations(embeddings=[1.0]), "embeddings="),  # type: ignore[arg-type]
    "iterations": (lambda: protocols(max_iterations=-1), "max_iterations=-1"),
    "approved": (lambda: protocols(approved="yes"), "approved='yes'"),  # type: ignore[arg-type]
    "threads": (lambda: checkpoints(threads="t"), "threads='t'"),  # type: ignore[arg-type]
}


@pytest.mark.parametrize("name", REFUSED)
def test_a_bad_argument_is_refused_at_once_by_its_name(name: str) -> None:
    """Not when the first example is drawn."""
    make, message = REFUSED[name]
    with pytest.raises(InvalidArgument, match=message):
        make()


def test_overrides_that_may_be_meant_are_taken() -> None:
    """Null where it is allowed or the server decides, SQL, and as many rows as there can be."""
    names = find(from_model(Team, name=None), lambda _: True, settings=ANY)
    assert names.name is None
    assert find(from_model(Team, name=fn.NOW()), lambda _: True, settings=ANY).name is not None
    assert find(from_model(Checked, id=None), lambda _: True, settings=ANY).id is None
    for few, model in ((2, Flag), (4, Side)):
        rows(model, min_size=few)
    free = find(rows(Person, min_size=3, best=None), lambda _: True, settings=ANY)
    assert {None} == {person.best for person in free}
    found = find(from_model(Person, name=st.none()), lambda _: True, settings=ANY)
    assert found.name is None


def test_a_refusal_points_at_the_line_that_asked(tmp_path: Path) -> None:
    """Pytest shows that line last, and none of how it was found out."""
    (tmp_path / "test_it.py").write_text(
        "import peewee\n"
        "from foundry.fixtures.strategies import from_model, rows, save\n"
        "class Team(peewee.Model):\n"
        "    name = peewee.TextField(constraints=[peewee.Check('upper(name) = name')])\n"
        "def test_one():\n    from_model(Team)\n"
        "def test_many():\n    rows(Team, min_size=2, id=1, name='A')\n"
        "def test_wrong():\n    from_model(Team, name=str)\n"
        "def test_saved():\n    save(Team(name='A'))\n"
    )
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "--tb=short"]
    done = subprocess.run(
        [*command, str(tmp_path)],
        env=os.environ | {"PYTHONPATH": str(Path(str(foundry.__file__)).parents[1])},
        cwd=tmp_path,
        capture_output=True,
        text=True,
    )
    assert "4 failed" in done.stdout, done.stdout + done.stderr
    assert "fixtures/" not in done.stdout
    for line in ("from_model(Team)", "rows(Team, min", "name=str", "save(Team("):
        assert line in done.stdout


def test_the_first_example_of_a_fresh_process_is_quick(tmp_path: Path) -> None:
    """What Hypothesis keeps of characters between runs is not there in a fresh checkout."""
    program = (
        "from hypothesis import configuration, given, settings\n"
        f"configuration.set_hypothesis_home_dir({str(tmp_path)!r})\n"
        "import peewee\n"
        "from foundry.fixtures import values\n"
        "from foundry.fixtures.strategies import from_model\n"
        "class Note(peewee.Model):\n"
        "    body = peewee.TextField()\n"
        "    kind = peewee.FixedCharField(max_length=3)\n"
        "notes = from_model(Note)\n"
        "from hypothesis.internal import charmap\n"
        "def never(*arguments): raise SystemExit('a table of characters is made while drawing')\n"
        "charmap.intervals_from_codec = charmap.charmap = never\n"
        "@settings(max_examples=10, database=None, deadline=None)\n"
        "@given(notes)\n"
        "def check(note): assert 3 == len(note.kind)\n"
        "check()\n"
        "assert not list(configuration.storage_directory('unicode_data').path.glob('*/codec*'))\n"
        "print('drawn')"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert (0, "drawn\n") == (done.returncode, done.stdout), done.stderr


def test_what_is_not_understood_can_be_given(strangers: Database) -> None:
    """The override is used, and the constraint trusted to it."""
    odd = find(from_model(Odd, upper="X", search=None), lambda _: True, settings=QUIET)
    assert "X" == odd.upper


@pytest.mark.parametrize("unit", [False, True])
@pytest.mark.parametrize("dimensions", [1, 3, 384])
def test_vectors_have_a_direction(dimensions: int, unit: bool) -> None:
    """So that every one has a cosine distance to every other."""

    @given(vectors(dimensions, unit=unit))
    def check(vector: list[float]) -> None:
        norm = sum(x * x for x in vector) ** 0.5
        assert dimensions == len(vector)
        assert norm > 1e-7
        assert not unit or abs(norm - 1) < 1e-5

    check()


def test_vectors_come_back_equal(database: Database) -> None:
    """Each number is a float32."""
    if not has_column(database, schema.Message.embedding):
        pytest.skip("this server has no pgvector")

    @SHARED
    @given(vectors(384))
    def check(vector: list[float]) -> None:
        back = database.execute_sql("SELECT %s::vector", (str(vector),)).fetchone()[0]
        assert vector == schema.Message.embedding.python_value(back)

    check()


def test_jsonb_comes_back_equal_and_of_the_same_types(database: Database) -> None:
    """Integers are not floats, and text keeps every character."""

    @SHARED
    @given(jsonb())
    def check(value: object) -> None:
        with each_example(database):
            save(schema.Protocol(id="p", user_intent="", state_snapshot=value))
            back = schema.Protocol.get_by_id("p").state_snapshot
            assert value == back
            assert shape(value) == shape(back)

    check()


def shape(value: object) -> object:
    """The types of a JSON value."""
    if isinstance(value, dict):
        return {key: shape(inner) for key, inner in value.items()}
    return [shape(inner) for inner in value] if isinstance(value, list) else type(value)


def test_conversations_are_complete_and_stored(database: Database) -> None:
    """In order of their times, and each link of an analysis with its own."""

    @SHARED
    @given(conversations(embeddings=st.none() | vectors(384)))
    def check(conversation: Any) -> None:
        with each_example(database):
            session = conversation.save(database)
            stored = session.messages.order_by(schema.Message.ts, schema.Message.id)
            assert [m.content for m in conversation.messages] == [m.content for m in stored]
            if conversation.result is not None:
                [result] = session.result
                times = [datetime.fromisoformat(link["ts"]) for link in result.chain_links]
                assert times == sorted(times)
                assert times[-1] <= session.started_at
            assert 1 == schema.User.select().count()

    check()


def test_protocols_are_complete_and_stored(database: Database) -> None:
    """Each iteration drafted, checked and criticised."""

    @SHARED
    @given(protocols())
    def check(trail: Any) -> None:
        with each_example(database):
            protocol = trail.save(database)
            assert protocol.iteration_count == protocol.assessments.count()
            roles = [i.agent_role for i in protocol.interactions]
            assert protocol.iteration_count == roles.count("clinical_critic")
            times = [i.timestamp for i in trail.interactions]
            assert all(before <= after for before, after in pairwise(times))

    check()


def test_a_saver_puts_checkpoints_and_finds_them_again(migrated: Any) -> None:
    """As a graph would have written them."""
    postgres = pytest.importorskip("langgraph.checkpoint.postgres")
    rows_as = psycopg.rows.dict_row
    with closing(
        psycopg.connect(**migrated.params, autocommit=True, row_factory=rows_as)
    ) as connection:
        saver = postgres.PostgresSaver(connection)

        @settings(SHARED, max_examples=15)
        @given(checkpoints())
        def check(arguments: Any) -> None:
            saver.delete_thread(arguments[0]["configurable"]["thread_id"])
            config = saver.put(*arguments)
            found = saver.get_tuple(config)
            assert arguments[1]["channel_values"] == found.checkpoint["channel_values"]
            assert arguments[2]["step"] == found.metadata["step"]

        check()


def test_without_langgraph_one_line_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    """At once, by the name of the extra."""
    monkeypatch.setitem(sys.modules, "langgraph.checkpoint.base", None)
    with pytest.raises(InvalidArgument, match=r"cerina-foundry\[langgraph\]"):
        checkpoints()


def test_minimal_rows_are_small() -> None:
    """What a failing test prints can be read."""
    message = find(from_model(schema.Message), lambda _: True, settings=QUIET)
    assert {"role": "user", "content": "", "session": None} == message.__data__
    assert [] == find(rows(schema.Message, max_size=2), lambda _: True, settings=QUIET)
    two = find(rows(schema.Message, max_size=3), lambda found: len(found) > 1, settings=QUIET)
    assert 2 == len(two)
    assert two[0].__rel__["session"] is two[1].__rel__["session"]
    assert [1.0, 0.0, 0.0] == sorted(find(vectors(3), lambda _: True, settings=QUIET))[::-1]


def test_minimal_conversations_are_small() -> None:
    """One user without a name, in the year 2000; a protocol without iterations."""
    empty = find(conversations(max_messages=1), lambda _: True, settings=QUIET)
    assert (None, (), None) == (empty.user.name, empty.messages, empty.result)
    start = datetime(2000, 1, 1, tzinfo=timezone.utc)
    assert (start, None) == (empty.session.started_at, empty.session.ended_at)
    one = find(conversations(max_messages=2), lambda c: len(c.messages) > 0, settings=QUIET)
    assert [("user", "", start)] == [(m.role, m.content, m.ts) for m in one.messages]
    trail = find(protocols(max_iterations=1), lambda _: True, settings=QUIET)
    assert (0, (), ()) == (
        trail.protocol.iteration_count,
        trail.interactions,
        trail.assessments,
    )


@pytest.mark.parametrize("trails", [True, False])
def test_a_test_that_always_fails_ends_with_the_smallest_story(trails: bool) -> None:
    """Also after Hypothesis has looked for what does not matter, which varies every part."""
    seen: list[Any] = []

    @settings(QUIET, phases=[Phase.generate, Phase.shrink, Phase.explain])
    @given(protocols() if trails else conversations())
    def check(story: Any) -> None:
        seen.append(story)
        raise RuntimeError

    with pytest.raises(RuntimeError):
        check()
    assert len(seen) <= 150
    start = datetime(2000, 1, 1, tzinfo=timezone.utc)
    if trails:
        last = seen[-1].protocol
        assert (start, 0) == (last.created_at, last.created_at.fold)
        assert (None, None, None) == (last.human_approved, last.final_protocol, last.completed_at)
        assert (0, ()) == (last.iteration_count, seen[-1].interactions)
    else:
        assert (start, None) == (seen[-1].session.started_at, seen[-1].session.ended_at)
        assert ((), None) == (seen[-1].messages, seen[-1].result)


def test_what_belongs_together_is_the_same_instance() -> None:
    """So that a parent is stored once, and a change of it is seen by all."""
    told = find(conversations(min_messages=1, results=True), lambda _: True, settings=ANY)
    assert told.session.user is told.user
    assert told.messages[0].session is told.session
    assert told.result.session is told.session
    trail = find(protocols(min_iterations=1), lambda _: True, settings=ANY)
    assert all(one.protocol is trail.protocol for one in trail.interactions)


def test_a_failing_example_is_printed_as_the_calls_that_make_it() -> None:
    """Peewee's own text for an unsaved row is its key, None."""

    @settings(database=None, deadline=None, print_blob=False)
    @given(message=from_model(schema.Message))
    def check(message: schema.Message) -> None:
        raise RuntimeError

    with pytest.raises(RuntimeError) as caught:
        check()
    notes = "\n".join(getattr(caught.value, "__notes__", []))
    if sys.version_info >= (3, 11):
        assert "Message(" in notes
        assert "role='user'" in notes
        assert "Session(" in notes


def test_the_same_seed_draws_the_same_rows() -> None:
    """Nothing depends on the clock or on another source of chance."""
    drawn: list[list[Any]] = []
    for _ in range(2):
        drawn.append([])

        @settings(database=None, derandomize=True, max_examples=20, deadline=None)
        @given(rows(schema.Message))
        def check(messages: list[schema.Message]) -> None:
            drawn[-1].append([dict(m.__data__) for m in messages])

        check()
    assert drawn[0] == drawn[1]


def test_the_strategies_load_hypothesis_and_peewee_alone() -> None:
    """What a model does not have is not imported for it."""
    program = "import sys; import foundry.fixtures.strategies; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert 0 == done.returncode, done.stderr
    unwanted = {"langgraph", "rich", "pgvector", "foundry.schema", "foundry.database"}
    assert set() == unwanted & set(done.stdout.split())
