"""Models as DDL: Peewee's own statements, written for namespaces of another name.

Nothing here talks to a server except psycopg2's adaptation of values, which asks the
connection how it escapes them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import peewee
from peewee import SCOPE_VALUES, SQL, Context, Entity, Model, Node, NodeList, Table
from psycopg2.extensions import cursor as Cursor

from foundry import declare
from foundry.created import Created, Named, NamedNamespace
from foundry.errors import DeclarationError, MigrationError
from foundry.migrate.objects import Place
from foundry.migrate.wording import clipped, is_foreign_key, without_concurrently

Bind = Callable[[str, Sequence[Any]], str]
"""Put parameters into a statement, as Peewee's `execute` has the driver do it."""


def bind_with(cursor: Cursor) -> Bind:
    """Bind as Peewee does: `%%` is a percent sign, also in a statement without parameters."""

    def bind(sql: str, values: Sequence[Any]) -> str:
        if not values and "%" not in sql:
            return sql
        bound: bytes = cursor.mogrify(sql, tuple(values))
        return bound.decode()

    return bind


@dataclass(frozen=True, slots=True, kw_only=True)
class Naming:
    """Where the namespaces of models are: the default one unqualified, others by a stand-in."""

    default: str
    stands_for: Mapping[str, str] = field(default_factory=dict)
    """Stand-in of each namespace, the default one too."""

    def place(self, namespace: str | None, name: str) -> Place:
        """Return the real place of something a model names."""
        return (namespace or self.default, clipped(name))

    def path(self, namespace: str | None, name: str) -> tuple[str, ...]:
        """Return the name as it is written in a statement."""
        if namespace is None or namespace == self.default:
            return (name,)
        return (self.stands_for.get(namespace, namespace), name)

    def real(self, text: str) -> str:
        """Return a statement with every namespace under its own name."""
        for namespace, token in self.stands_for.items():
            if token != namespace and token in text:
                quoted = '"' + namespace.replace('"', '""') + '"'
                text = text.replace(f'"{token}"', quoted).replace(token, namespace)
        return text


@dataclass(slots=True)
class _Part:
    node: Node
    text: str
    values: list[Any]


class _Context(Context):
    """Peewee's, writing the names of tables, sequences and declared objects by a `Naming`."""

    naming: Naming
    places: frozenset[tuple[str, ...]]
    sequences: Mapping[str, str]
    body: tuple[int, list[_Part], int] | None
    capturing: bool
    if TYPE_CHECKING:
        _sql: list[str]
        _values: list[Any]

    def sql(self, obj: Any) -> Context:
        kind = type(obj)
        if kind is Named:
            obj = Entity(*self.naming.path(obj.namespace, obj.name))
        elif kind is NamedNamespace:
            obj = Entity(self.naming.stands_for.get(obj.name, obj.name))
        elif isinstance(obj, type) and issubclass(obj, Model):
            return self.sql(obj._meta.table)
        elif kind is Table and self.scope == SCOPE_VALUES:
            obj = Entity(*self.naming.path(obj._schema, obj.__name__))
        elif kind is Entity and tuple(obj._path[:2]) in self.places:
            obj = Entity(*self.naming.path(*obj._path[:2]), *obj._path[2:])
        elif kind is SQL and obj.sql in self.sequences:
            obj = SQL(self.sequences[obj.sql])
        elif kind is NodeList and self.capturing and obj.parens and obj.glue == ", ":
            return self._capture(obj)
        return super().sql(obj)  # type: ignore[no-any-return, no-untyped-call]

    def _capture(self, body: NodeList) -> Context:
        self.capturing = False
        begin, parts = len(self._sql), []
        for node in body.nodes:
            text, values = len(self._sql), len(self._values)
            self.sql(node)
            parts.append(_Part(node, "".join(self._sql[text:]), self._values[values:]))
        self.body = (begin, parts, len(self._sql))
        return self


class _Recorder:
    """Stands for the database while Peewee's schema manager writes statements."""

    def __init__(self, database: Any, writing: Writing) -> None:
        self._database = database
        self._writing = writing
        self.made: list[Context] = []
        self.capturing = False

    def __getattr__(self, name: str) -> Any:
        return getattr(self._database, name)

    def get_sql_context(self, **options: Any) -> _Context:
        context = self._writing.context(**{**self._database.get_context_options(), **options})
        # The first context of a CREATE TABLE, whichever schema manager asks for it.
        context.capturing, self.capturing = self.capturing, False
        return context

    def execute(self, query: Context, **options: Any) -> None:
        self.made.append(query)

    def sequence_exists(self, name: str, schema: str | None = None) -> bool:
        return self._writing.is_known(schema, name)


@dataclass(slots=True, kw_only=True)
class Built:
    """What a model's table is made of; statements name namespaces by their stand-ins."""

    model: type[Model]
    place: Place
    table: str
    """The table as statements name it."""
    head: str
    body: tuple[str, ...]
    tail: str
    keys: tuple[str, ...]
    """Foreign keys, as they stand after ADD."""
    indexes: tuple[str, ...]
    comments: tuple[str, ...]
    sequences: tuple[str, ...]
    tuned: Mapping[str, tuple[str, ...]]
    constraints: Mapping[str, str]
    """Definitions of constraints that have a name, in the model's words."""
    needs: Mapping[tuple[str, str], tuple[str, ...]]
    """Requirements of optional columns and indexes, by kind and name."""
    left_out: frozenset[tuple[str, str]]
    """Kind and name of columns and indexes that are left out."""

    @property
    def source(self) -> str:
        """The body of CREATE TABLE, and what stands after it."""
        return "(\n    " + ",\n    ".join(self.body) + "\n)" + self.tail

    @property
    def create(self) -> str:
        return self.head + self.source


class Writing:
    """Writes the DDL of models for one naming."""

    def __init__(
        self,
        database: Any,
        models: Sequence[type[Model]],
        *,
        naming: Naming,
        bind: Bind,
        absent: Callable[[object], bool],
    ) -> None:
        self.naming = naming
        self.bind = bind
        self.absent = absent
        self._recorder = _Recorder(database, self)
        self._known: set[tuple[str | None, str]] = set()
        self._places: frozenset[tuple[str, ...]] = frozenset(
            p for model in models for p in _qualified(model)
        )
        self._sequences = {
            f"DEFAULT NEXTVAL('{field._sequence_name()}')": "DEFAULT NEXTVAL('{}')".format(
                ".".join(naming.path(*field._sequence_parts()))
            )
            for model in models
            for field in model._meta.sorted_fields
            if field.sequence
        }

    def context(self, **options: Any) -> _Context:
        """Return a context that writes names by the naming."""
        context = _Context(**options)
        context.naming, context.places = self.naming, self._places
        context.sequences = self._sequences
        context.body, context.capturing = None, False
        return context

    def is_known(self, namespace: str | None, name: str) -> bool:
        """True when the sequence was written before; from now on it is."""
        known = (namespace, name) in self._known
        self._known.add((namespace, name))
        return known

    def text(self, query: Context) -> str:
        """Return a statement with its parameters in it."""
        sql, values = query.query()
        return self.bind(sql, values)

    def node(self, node: Node) -> str:
        """Write a node of a declared object; it has no parameters and `%` is itself."""
        context = self.context(quote='""', scope=SCOPE_VALUES).sql(node)
        return str(context.query()[0])

    def declared(self, thing: Created | declare.Index) -> tuple[str, ...]:
        """Write the statements of a declared object."""
        if isinstance(thing, declare.Index):
            context = self._recorder.get_sql_context(scope=SCOPE_VALUES)
            return (self.text(context.sql(thing.safe(False))),)
        return tuple(self.node(node) for node in thing.nodes())

    def table(self, model: type[Model]) -> Built:
        """Write a model's table; MigrationError when Peewee or the driver cannot."""
        try:
            return self._table(model)
        except (IndexError, KeyError, TypeError, ValueError, AttributeError) as error:
            raise MigrationError(
                f'{spoken(model)} cannot be written as SQL: {error}; "%" in SQL is written "%%"'
            ) from error

    def _table(self, model: type[Model]) -> Built:
        manager = self._schema_manager(model)
        self._recorder.made = []
        manager.create_sequences()
        sequences = tuple(self.text(query) for query in self._recorder.made)
        query = self._create(manager)
        begin, parts, end = query.body or (len(query._sql), [], len(query._sql))
        keys = [self.bind(p.text, p.values) for p in parts if is_foreign_key(p.text)]
        deferred = [f for f in model._meta.sorted_fields if getattr(f, "deferred", False)]
        for key in deferred:
            if not self.absent(key):
                keys.append(self._written(key.foreign_key_constraint(True)))
        return Built(
            model=model,
            place=self.naming.place(model._meta.schema, model._meta.table_name),
            table=self.node(model._meta.table),
            head=self.bind("".join(query._sql[:begin]), ()),
            body=tuple(self.bind(p.text, p.values) for p in parts if not is_foreign_key(p.text)),
            tail=self.bind("".join(query._sql[end:]), ()),
            keys=tuple(keys),
            indexes=tuple(
                without_concurrently(self.text(made)) for made in manager._create_indexes(False)
            ),
            comments=self._comments(manager),
            sequences=sequences,
            tuned=dict(_tuned(model._meta.fields_to_index())),
            constraints=dict(self._constraints(model, deferred)),
            needs={key: declare.needs(part) for key, part in _optional(model)},
            left_out=frozenset(key for key, part in _optional(model) if self.absent(part)),
        )

    def _create(self, manager: Any) -> _Context:
        self._recorder.capturing = True
        query: _Context = manager._create_table(safe=False)
        self._recorder.capturing = False
        return query

    def _schema_manager(self, model: type[Model]) -> Any:
        kind: Any = _schema_manager_class(model)
        # Peewee's own knows no optional parts.
        if kind is peewee.SchemaManager:
            kind = declare.SchemaManager
        manager = kind(model, self._recorder)
        if isinstance(manager, declare.SchemaManager):
            manager.absent = self.absent
        return manager

    def _comments(self, manager: Any) -> tuple[str, ...]:
        if not declares_comments(manager.model):
            return ()
        return tuple(self.text(made) for made in manager.comments())

    def _written(self, node: Node) -> str:
        context = self._recorder.get_sql_context(scope=SCOPE_VALUES)
        return self.text(context.sql(node))

    def _constraints(
        self, model: type[Model], deferred: Sequence[Any]
    ) -> Iterable[tuple[str, str]]:
        meta = model._meta
        nodes = [*(meta.constraints or ()), *(f.foreign_key_constraint(True) for f in deferred)]
        for f in meta.sorted_fields:
            # A column's UNIQUE or REFERENCES cannot stand in ADD CONSTRAINT, a CHECK can.
            nodes += [n for n in f.constraints or () if _is_check(n)]
            if getattr(f, "constraint_name", None):
                nodes.append(f.foreign_key_constraint())
        for node in nodes:
            name = _constraint_name(node)
            if name is not None:
                yield clipped(name), self._written(NodeList(node.nodes[2:]))


def _schema_manager_class(model: type[Model]) -> type[Any]:
    return type(vars(model)["_schema"])


def declares_comments(model: type[Model]) -> bool:
    """True when the model says which comments its table and columns have."""
    return hasattr(_schema_manager_class(model), "comments")


def _qualified(model: type[Model]) -> Iterable[tuple[str, ...]]:
    meta = model._meta
    if meta.schema:
        yield (meta.schema, meta.table_name)
    for field_ in meta.sorted_fields:
        if field_.sequence:
            parts = tuple(field_._sequence_parts())
            if parts[0]:
                yield parts


def _optional(model: type[Model]) -> Iterable[tuple[tuple[str, str], object]]:
    for field_ in model._meta.sorted_fields:
        if declare.needs(field_):
            yield ("column", clipped(field_.column_name)), field_
    for index in model._meta.fields_to_index():
        if declare.needs(index) and isinstance(index, peewee.Index):
            yield ("index", clipped(str(vars(index)["_name"]))), index


def _tuned(indexes: Iterable[Any]) -> Iterable[tuple[str, tuple[str, ...]]]:
    for index in indexes:
        if isinstance(index, declare.Index) and index.tuned:
            yield clipped(str(vars(index)["_name"])), index.tuned


def _constraint_name(node: Any) -> str | None:
    if not (isinstance(node, NodeList) and len(node.nodes) > 2):
        return None
    word, name = node.nodes[:2]
    if isinstance(word, SQL) and word.sql.upper() == "CONSTRAINT" and isinstance(name, Entity):
        return str(name._path[-1])
    return None


def _is_check(node: Any) -> bool:
    if _constraint_name(node) is None:
        return False
    rest = node.nodes[2]
    return isinstance(rest, SQL) and rest.sql.lstrip().upper().startswith("CHECK")


def spoken(model: type[Model]) -> str:
    """Name a model and its table in a message."""
    return f'model {model.__name__} (table "{model._meta.table_name}")'


def first_of_each(built: Iterable[Built]) -> list[Built]:
    """Join models of one table: the first makes it, a later one may only repeat parts of it."""
    tables: dict[Place, Built] = {}
    for table in built:
        first = tables.setdefault(table.place, table)
        if first is table:
            continue
        more = [p for p in (*table.body, *table.keys) if p not in (*first.body, *first.keys)]
        if more or table.tail not in ("", first.tail):
            raise DeclarationError(
                f"models {first.model.__name__} and {table.model.__name__} both make table "
                f'"{table.place[1]}" and differ: let one of them be its only model'
            )
        extra = tuple(index for index in table.indexes if index not in first.indexes)
        first.indexes += extra
        first.tuned = {**table.tuned, **first.tuned}
    return list(tables.values())
