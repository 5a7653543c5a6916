"""Keys, circles and what is unique: what the strategies make, the server takes."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator
from typing import Any

import peewee
import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis.errors import InvalidArgument
from peewee import SQL, Check, Model, fn
from playhouse import postgres_ext

from foundry.database import Database, connect
from foundry.fixtures.strategies import from_model, rows, save_all

Fields = dict[str, Any]


def made(name: str, meta: dict[str, Any] | None = None, **columns: Any) -> Any:
    """A model of a table of its name."""
    options = type("Meta", (), {"table_name": name.lower(), **(meta or {})})
    return type(name, (Model,), {**columns, "Meta": options})


def constrained(*texts: str, **options: Any) -> dict[str, Any]:
    """A Meta with constraints as SQL."""
    return {"constraints": [SQL(text) for text in texts], **options}


def flag(**options: Any) -> Any:
    """A column of two values, in which what is unique is soon met."""
    return peewee.BooleanField(**options)


def number(**options: Any) -> Any:
    """A column of many values."""
    return peewee.IntegerField(**options)


def to(model: Any, **options: Any) -> Any:
    """A key."""
    return peewee.ForeignKeyField(model, **options)


def indexed(model: Any, *arguments: Any, **options: Any) -> Any:
    """The model with an index more."""
    model.add_index(*arguments, **options)
    return model


def tree_of_kinds() -> list[Any]:
    """A root has no parent, and a child has one."""
    kinds = "CHECK ((kind = 'root' AND up_id IS NULL) OR (kind = 'child' AND up_id IS NOT NULL))"
    return [
        made("Tree", constrained(kinds), kind=peewee.TextField(), up=to("self", null=True)),
    ]


def tree_of_flags() -> list[Any]:
    """Only what is flagged may be a root."""
    check = constrained("CHECK (up_id IS NOT NULL OR root)")
    return [made("Tree", check, root=flag(), up=to("self", null=True))]


def cut_circle() -> list[Any]:
    """The key that closes the circle is null, and then the number is high."""
    check = constrained("CHECK (first_id IS NOT NULL OR size > 5)")
    first = made("First")
    second = made("Second", check, first=to(first, null=True), size=number())
    first._meta.add_field("second", to(second, null=True))
    return [first, second]


def favourite() -> list[Any]:
    """The commonest circle, of which one key may be null."""
    owner = made("Owner", favourite=peewee.DeferredForeignKey("Thing", null=True))
    thing = made("Thing", owner=to(owner))
    return [owner, thing]


def long_circle() -> list[Any]:
    """Three models."""
    x = made("X")
    y = made("Y", x=to(x))
    z = made("Z", y=to(y))
    x._meta.add_field("z", to(z, null=True))
    return [y, z, x]


def server_key() -> list[Any]:
    """A key to a column that the server fills."""
    default = [SQL("DEFAULT gen_random_uuid()")]
    parent = made("Parent", code=peewee.UUIDField(unique=True, constraints=default))
    return [made("Child", up=to(parent, field="code", null=True), n=number()), parent]


def own_key(**options: Any) -> Callable[[], list[Any]]:
    """Rows that refer to themselves."""
    return lambda: [made("Own", id=peewee.UUIDField(primary_key=True, **options), up=to("self"))]


def two_keys() -> list[Any]:
    """A key of two keys to one model."""
    end = made("End")
    meta = {"primary_key": peewee.CompositeKey("a", "b")}
    return [made("Link", meta, a=to(end), b=to(end, backref="bs")), end]


def alone() -> list[Any]:
    """One row for each parent, which has unique values, too."""
    parent = made("Parent", value=flag(unique=True, null=True))
    return [made("Child", up=to(parent, unique=True)), parent]


def declared_twice() -> list[Any]:
    """A key that is a constraint of the table, too."""
    parent = made("Parent")
    meta = constrained('CONSTRAINT "up" FOREIGN KEY (up_id) REFERENCES parent (id)')
    return [made("Child", meta, up=to(parent)), parent]


def ordered_index() -> list[Any]:
    """Unique by a descending index."""
    model = made("One", a=flag())
    return [indexed(model, peewee.ModelIndex(model, (model.a.desc(),), unique=True, name="u"))]


def folded_index() -> list[Any]:
    """Unique whatever the case."""
    model = made("One", a=peewee.CharField(choices=[(c, c) for c in "aAbB"]))
    return [indexed(model, peewee.ModelIndex(model, (fn.UPPER(model.a),), unique=True, name="u"))]


def null_index() -> list[Any]:
    """Null is unique, too."""
    model = made("One", a=flag(null=True))
    options = {"unique": True, "name": "u", "nulls_distinct": False}
    return [indexed(model, peewee.ModelIndex(model, (model.a,), **options))]


def partial_index() -> list[Any]:
    """Unique where it is not gone, which is read as unique."""
    model = made("One", a=flag(), gone=flag())
    return [indexed(model, model.a, unique=True, where=(model.gone == False))]  # noqa: E712


STORED: dict[str, Callable[[], list[Any]]] = {
    "a tree of kinds": tree_of_kinds,
    "a tree of flags": tree_of_flags,
    "a cut circle": cut_circle,
    "a favourite": favourite,
    "what a favourite is of": lambda: favourite()[::-1],
    "a long circle": long_circle,
    "a key of the server": server_key,
    "a key to itself": own_key(default=uuid.uuid4),
    "a key of the server to itself": own_key(constraints=[SQL("DEFAULT gen_random_uuid()")]),
    "two keys": two_keys,
    "one to one": alone,
    "a key declared twice": declared_twice,
    "an index in order": ordered_index,
    "an index of upper case": folded_index,
    "an index with nulls": null_index,
    "a partial index": partial_index,
    "an index as SQL": lambda: [
        indexed(made("One", a=flag()), SQL("CREATE UNIQUE INDEX u ON one USING btree (a DESC)"))
    ],
    "a plain index as SQL": lambda: [
        indexed(made("One", a=flag()), SQL("CREATE INDEX u ON one (lower(a::text))"))
    ],
    "another row": lambda: [
        made("One", constrained("CHECK (up_id <> id)"), up=to("self", null=True))
    ],
    "unique and null": lambda: [
        made("One", constrained("UNIQUE NULLS NOT DISTINCT (a, b)"), a=flag(null=True), b=flag())
    ],
    "a unique column with null": lambda: [
        made("One", a=flag(null=True, constraints=[SQL("UNIQUE NULLS NOT DISTINCT")]))
    ],
    "unique in capitals": lambda: [made("One", constrained("UNIQUE (A)"), a=flag())],
    "two in one": lambda: [
        made("One", constrained('CONSTRAINT "x y" UNIQUE (a), UNIQUE ("b")'), a=flag(), b=number())
    ],
    "a primary key": lambda: [
        made("One", constrained("PRIMARY KEY (a)", primary_key=False), a=flag(null=True))
    ],
    "a primary key of a column": lambda: [
        made("One", {"primary_key": False}, a=flag(null=True, constraints=[SQL("PRIMARY KEY")]))
    ],
    "a composite key": lambda: [
        made("One", {"primary_key": peewee.CompositeKey("a", "b")}, a=flag(), b=flag())
    ],
    "no key": lambda: [made("One", {"primary_key": False}, a=flag())],
    "no column": lambda: [made("One")],
    "not null after all": lambda: [made("One", a=flag(null=True, constraints=[SQL("NOT NULL")]))],
    "a default of null": lambda: [made("One", a=flag(constraints=[SQL("DEFAULT NULL")]))],
    "a unique default": lambda: [
        made("One", a=number(unique=True, constraints=[SQL("DEFAULT 5")]), b=flag())
    ],
    "words in a default": lambda: [
        made("One", a=peewee.TextField(constraints=[SQL("DEFAULT 'UNIQUE, NOT NULL ('")]))
    ],
    "words in a check": lambda: [
        made(
            "One",
            a=peewee.TextField(
                constraints=[
                    Check("a <> 'DEFAULT' AND a <> ':) DEFAULT 5 GENERATED ALWAYS' AND a <> 'x\"('")
                ]
            ),
            b=flag(constraints=[Check("b OR a = 'UNIQUE'")]),
        )
    ],
    "a parenthesis in a name": lambda: [
        made("One", a=number(column_name="a)b", constraints=[Check('"a)b" > 3')]), b=number())
    ],
    "a check and a default": lambda: [
        made("One", a=number(constraints=[SQL("DEFAULT 5 CHECK (a > 3)")]), b=number())
    ],
    "a computed column": lambda: [
        made(
            "One",
            a=number(null=True, constraints=[SQL("GENERATED ALWAYS AS (b / 2) STORED")]),
            b=number(),
        )
    ],
    "long and unique": lambda: [
        made("One", constrained("CHECK (length(a) > 250)", "UNIQUE (a)"), a=peewee.TextField())
    ],
    "matching and unique": lambda: [
        made("One", constrained("CHECK (a ~ '^[a-b]*$')"), a=peewee.TextField(unique=True))
    ],
    "numbers of one digit": lambda: [
        made("One", a=peewee.DecimalField(max_digits=1, decimal_places=0, unique=True))
    ],
    "bytes": lambda: [made("One", a=peewee.BlobField(unique=True))],
    "lists": lambda: [
        made("One", constrained("UNIQUE (a)"), a=postgres_ext.ArrayField(peewee.BooleanField))
    ],
}


@pytest.fixture(scope="module")
def place(server: Any) -> Iterator[Database]:
    """A database in which a case makes its tables and takes them back."""
    name = server.create()
    pool = connect(server.url(name), pool_size=1, bind=False)
    with pool.connection_context():
        yield pool
    pool.close_all()
    server.drop(name)


def create(place: Database, models: list[Any]) -> None:
    """Make the tables, keys that close a circle without their constraint."""
    done: set[Any] = set()
    for model in reversed(models):
        later = [
            field
            for field in model._meta.sorted_fields
            if isinstance(field, peewee.ForeignKeyField) and field.rel_model not in {*done, model}
        ]
        for field in later:
            field.declared_deferred, field.deferred = True, True
        place.create_tables([model])
        done.add(model)
    for model in models:
        for field in model._meta.sorted_fields:
            if getattr(field, "declared_deferred", False):
                model._schema.create_foreign_key(field)


@pytest.mark.parametrize("name", STORED)
def test_rows_are_stored_together(place: Database, name: str) -> None:
    """Parents first, each under the constraints that its model declares."""
    models = STORED[name]()
    sizes: list[int] = []

    @settings(
        max_examples=min(settings().max_examples // 2, 500),
        derandomize=True,
        deadline=None,
        database=None,
        phases=[Phase.generate],
        suppress_health_check=[HealthCheck.too_slow],
    )
    @given(rows(models[0]))
    def check(found: list[Model]) -> None:
        with place.atomic() as undo:
            save_all(found)
            sizes.append(len(found))
            assert len(found) <= models[0].select().count()
            place.execute_sql("SET CONSTRAINTS ALL IMMEDIATE")
            undo.rollback()

    with place.bind_ctx(models), place.atomic() as undo:
        create(place, models)
        check()
        undo.rollback()
    assert max(sizes) > 1


class Inet(peewee.TextField):  # type: ignore[type-arg]
    """A type that takes its own text."""

    field_type = "inet"


class Seconds(peewee.DateTimeField):  # type: ignore[type-arg]
    """A type that rounds."""

    field_type = "timestamp(0)"


class Sized(peewee.TextField):  # type: ignore[type-arg]
    """A type with a length that nobody asks for."""

    def get_modifiers(self) -> list[int]:
        """The length."""
        return [3]


def circle() -> list[Any]:
    """Neither can be first."""
    owner = made("Owner", favourite=peewee.DeferredForeignKey("Thing"))
    thing = made("Thing", owner=to(owner))
    return [owner, thing]


def below_a_circle() -> list[Any]:
    """What refers to one of them."""
    return [made("Below", thing=to(circle()[1]))]


REFUSED: dict[str, tuple[Callable[[], list[Any]], str]] = {
    "a circle": (circle, "Owner.favourite leads into a circle.*give favourite="),
    "below a circle": (below_a_circle, "Below.thing leads into a circle.*give thing="),
    "a counted key to itself": (lambda: [made("One", up=to("self"))], "One.up refers.*give up="),
    "a sequence": (
        lambda: [made("One", id=number(primary_key=True, sequence="s"), up=to("self"))],
        "One.up refers.*give up=",
    ),
    "a key that is a key": (
        lambda: [made("One", id=to(made("Up"), primary_key=True), up=to("self"))],
        "One.up refers.*give up=",
    ),
    "a tree without roots": (
        lambda: [made("One", constrained("CHECK (up_id IS NOT NULL)"), up=to("self", null=True))],
        "One: no values.*give up=",
    ),
    "a key to itself and to others": (
        lambda: [
            made(
                "One",
                constrained("CHECK (up_id <> id)"),
                id=number(primary_key=True),
                up=to("self"),
            )
        ],
        "is not understood: give id=, up=",
    ),
    "exclude": (
        lambda: [made("One", constrained("EXCLUDE USING btree (a WITH =)"), a=flag())],
        'constraint "EXCLUDE USING .*give a=',
    ),
    "a foreign key": (
        lambda: [made("One", constrained("FOREIGN KEY (a) REFERENCES up (id)"), a=number())],
        'constraint "FOREIGN KEY .*give a=',
    ),
    "another foreign key": (
        lambda: [made("One", constrained("FOREIGN KEY (a_id) REFERENCES b (id)"), a=to(made("A")))],
        'constraint "FOREIGN KEY .*give a=',
    ),
    "unknown columns": (
        lambda: [made("One", constrained('UNIQUE ("A")'), a=number())],
        'constraint "UNIQUE ..A.*give a=',
    ),
    "no column": (
        lambda: [made("One", constrained("UNIQUE (z)"), a=number())],
        'constraint "UNIQUE .z." is not understood: it names no field',
    ),
    "an index of an expression": (
        lambda: [indexed(made("One", a=number()), SQL("CREATE UNIQUE INDEX u ON one ((a / 2))"))],
        'constraint "CREATE UNIQUE.*give a=',
    ),
    "a key compared with a number": (
        lambda: [made("One", constrained("CHECK (n < id)"), n=number())],
        'constraint "CHECK .n < id.*give n=',
    ),
    "what is computed": (
        lambda: [
            made(
                "One",
                constrained("CHECK (a > 3)"),
                a=number(null=True, constraints=[SQL("GENERATED ALWAYS AS (b / 2) STORED")]),
                b=number(),
            )
        ],
        "is not understood: give b=",
    ),
    "two keys compared": (
        lambda: [
            made("One", constrained("CHECK (a_id <> b_id)"), a=to(made("A")), b=to(made("B")))
        ],
        "is not understood: give a=, b=",
    ),
    "a type of text": (lambda: [made("One", a=Inet())], "One.a: no values are known for Inet"),
    "a type of time": (lambda: [made("One", a=Seconds())], "One.a: no values are known for Sec"),
    "a length": (lambda: [made("One", a=Sized())], "One.a: no values are known for Sized"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_cannot_be_made_is_refused_at_once(name: str) -> None:
    """With the field of the model that was asked for, and what to give."""
    make, message = REFUSED[name]
    model = make()[0]
    with pytest.raises(InvalidArgument, match=message):
        from_model(model)


def test_what_is_above_a_child_need_not_be_one(place: Database) -> None:
    """What is given for a row is not given for its root."""
    [tree] = tree_of_kinds()
    with place.bind_ctx([tree]), place.atomic() as undo:
        place.create_tables([tree])

        @settings(max_examples=10, derandomize=True, deadline=None, database=None)
        @given(rows(tree, kind="child", min_size=1))
        def check(found: list[Any]) -> None:
            assert {"child"} == {row.kind for row in found}
            save_all(found)

        check()
        assert tree.select().where(tree.kind == "root").exists()
        undo.rollback()


def test_a_parent_without_its_key_is_asked_for_it(place: Database) -> None:
    """An instance that a test made itself leaves it to the server."""
    child, parent = server_key()
    with place.bind_ctx([child, parent]), place.atomic() as undo:
        create(place, [child, parent])
        made_here = [child(up=parent(), n=1), child(up=parent(), n=2)]
        save_all(made_here)
        stored = {row.n: row.up.id for row in child.select()}
        assert {1: made_here[0].up.id, 2: made_here[1].up.id} == stored
        assert all(one.up.code is not None for one in made_here)
        undo.rollback()


def test_a_row_without_a_key_is_stored_once(place: Database) -> None:
    """What is stored already is left alone."""
    model = made("One", {"primary_key": False}, a=flag())
    with place.bind_ctx([model]), place.atomic() as undo:
        place.create_tables([model])
        row = model(a=True)
        save_all([row])
        save_all([row])
        assert 1 == model.select().count()
        undo.rollback()
