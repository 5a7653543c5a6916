"""What Peewee cannot declare, as small values that read like Peewee."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import peewee
from peewee import SQL, Context, Database, Entity, Field, Model, ModelIndex, Node, NodeList

from foundry import requirements
from foundry.created import (
    Created,
    Enum,
    EnumArrayField,
    EnumField,
    Function,
    Grant,
    MaterializedView,
    Partition,
    Policy,
    RowSecurity,
    Trigger,
    View,
)

__all__ = [
    "Created",
    "Enum",
    "EnumArrayField",
    "EnumField",
    "External",
    "Function",
    "Grant",
    "Index",
    "MaterializedView",
    "Opclass",
    "Partition",
    "Policy",
    "Probe",
    "RowSecurity",
    "Schema",
    "SchemaManager",
    "Trigger",
    "Tuned",
    "View",
    "needs",
    "optional",
    "relation",
    "tuned",
]

_T = TypeVar("_T")


def optional(thing: _T, *, needs: str | Sequence[str]) -> _T:
    """Mark a field, index or object as one that a server may be unable to have.

    `needs` is a requirement such as "extension:vector", or several.
    """
    wanted = (needs,) if isinstance(needs, str) else tuple(needs)
    for requirement in wanted:
        requirements.parse(requirement)
    # object.__setattr__: the declared objects are frozen, fields and indexes are not.
    object.__setattr__(thing, "needs", wanted)
    return thing


def needs(thing: object) -> tuple[str, ...]:
    """Return the requirements that `optional` put on a field, index or object."""
    return tuple(getattr(thing, "needs", ()))


def relation(model: type[Model]) -> str:
    """Return the name of a model's table, quoted, as PostgreSQL's regclass reads it."""
    meta = model._meta
    entity = Entity(*filter(None, (meta.schema, meta.table_name)))
    name, _ = Context(quote='""').sql(entity).query()
    return str(name)


class Opclass(NodeList):
    """A field or expression of an index together with its operator class.

    `Opclass(Message.embedding, "vector_cosine_ops")`
    """

    def __init__(self, expression: Node, name: str) -> None:
        super().__init__((expression, Entity(*name.split("."))))
        self.expression = expression


@dataclass(frozen=True, slots=True)
class Tuned:
    """The value an index option starts with; maintenance sets it, the differ leaves it alone."""

    value: str | int | float

    def __str__(self) -> str:
        return str(self.value)


def tuned(value: str | int | float) -> Tuned:
    """Mark an index option that maintenance sets: `options={"lists": tuned(1)}`."""
    return Tuned(value)


class Index(ModelIndex):
    """An index of a model with what Peewee's own lacks: storage parameters.

    `Index(Message, Opclass(Message.embedding, "vector_cosine_ops"),
    name="idx_messages_embedding", using="ivfflat", options={"lists": tuned(1)})`
    """

    def __init__(
        self,
        model: type[Model],
        *expressions: Node,
        name: str,
        using: str | None = None,
        options: Mapping[str, str | int | float | Tuned] | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(model, expressions, name=name, using=using, **kwargs)
        self.model = model
        self._options = dict(options or {})

    @property
    def tuned(self) -> tuple[str, ...]:
        """Names of the options that maintenance sets."""
        return tuple(name for name, value in self._options.items() if isinstance(value, Tuned))

    def __sql__(self, ctx: Context) -> Context:
        # Peewee writes the predicate last, and WITH stands before it.
        where: Node | None = self._where  # type: ignore[has-type]
        self._where = None
        try:
            super().__sql__(ctx)  # type: ignore[no-untyped-call]
        finally:
            self._where = where
        with ctx.scope_values(subquery=True):
            if self._options:
                pairs = [
                    NodeList((Entity(key), SQL(" = "), SQL(str(value))), glue="")
                    for key, value in self._options.items()
                ]
                ctx.literal(" WITH ").sql(peewee.EnclosedNodeList(pairs))
            if where is not None:
                ctx.literal(" WHERE ").sql(where)
        return ctx


@dataclass(frozen=True, kw_only=True)
class Probe:
    """A question `verify` asks: the query returns a number, and 0 is the good answer."""

    name: str
    query: str
    message: str
    """What a number above 0 means; `{count}` stands for it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class External:
    """Tables that another package owns, creates and upgrades by numbered steps.

    `package` is the distribution that has them, `install` the command that brings it,
    `installed` says whether it is there;
    `migrations` returns the package's own steps, each the statements of one version;
    `version` reads the number of the last step a database has had (None: none).
    """

    name: str
    package: str
    install: str
    tables: tuple[str, ...]
    installed: Callable[[], bool]
    migrations: Callable[[], Sequence[Sequence[str]]]
    version: Callable[[Database], int | None]


@dataclass(frozen=True, slots=True)
class Schema:
    """Everything a database should have, as one value; `--models` names one of these.

    `namespaces` are the PostgreSQL schemas it needs besides `public`. A `whole` one says
    which triggers, policies and row security its tables have; with a mere list of models those
    are left as they are.
    """

    models: Sequence[type[Model]]
    objects: Sequence[Created | Index | Probe | External] = ()
    namespaces: Sequence[str] = ()
    whole: bool = True

    @property
    def externals(self) -> tuple[External, ...]:
        """The table sets of other packages among the objects."""
        return tuple(o for o in self.objects if isinstance(o, External))

    def create_all(
        self,
        database: Database,
        *,
        externals: Mapping[str, bool] | None = None,
        options: Iterable[str] = (),
    ) -> None:
        """Create every table, index and object this server can have, on an empty database.

        External tables are not made here: their package's own steps make them.
        """
        switches = tuple(options)
        for namespace in self.namespaces:
            database.execute(_create("SCHEMA", namespace))
        first, last = self.ordered(
            lambda thing: bool(
                requirements.missing(database, needs(thing), externals=externals, options=switches)
            )
        )
        _execute(database, first)
        database.create_tables(self.models)
        _execute(database, last)

    def ordered(
        self, absent: Callable[[object], bool]
    ) -> tuple[tuple[Created | Index, ...], tuple[Created | Index, ...]]:
        """Return the objects that are made before the tables, and those made after.

        `absent` says what is left out. Before come the types, and the functions that a table
        or index calls, by way of others too.
        """
        made = [o for o in self.objects if not isinstance(o, (Probe, External)) and not absent(o)]
        functions = [o for o in made if isinstance(o, Function)]
        called = _called(self.models, functions) if functions else set()
        first: list[Created | Index] = [o for o in made if isinstance(o, Enum)]
        first += [f for f in functions if f.name in called]
        # By identity: fields compared with == make an expression, which is true.
        placed = {id(o) for o in first}
        return tuple(first), tuple(o for o in made if id(o) not in placed)


def _execute(database: Database, objects: Iterable[Created | Index]) -> None:
    for declared in objects:
        if isinstance(declared, Index):
            database.execute(database.get_sql_context().sql(declared.safe(False)))
        else:
            for statement in declared.statements():
                database.execute_sql(statement.replace("%", "%%"), ())


def _called(models: Iterable[type[Model]], functions: Sequence[Function]) -> set[str]:
    """Return the functions that the SQL of a table or index names, and those that these name."""
    plain = peewee.PostgresqlDatabase(None)
    texts: list[str] = []
    for model in models:
        manager = peewee.SchemaManager(model, plain)
        contexts = (manager._create_table(), *manager._create_indexes())  # type: ignore[attr-defined]
        texts += [context.query()[0] for context in contexts]
    called: set[str] = set()
    while texts:
        new = [f for f in functions if f.name not in called and any(f.name in t for t in texts)]
        called |= {f.name for f in new}
        texts = [f.create for f in new]
    return called


def _create(kind: str, name: str) -> NodeList:
    return NodeList((SQL(f"CREATE {kind} IF NOT EXISTS"), Entity(name)))


class _Part(Node):
    """A model as this server can have it: the same table with fewer fields."""

    def __init__(self, model: type[Model], fields: list[Field]) -> None:
        self._meta = _PartMeta(model._meta, fields)

    def __sql__(self, ctx: Context) -> Context:
        return ctx.sql(self._meta.table)  # type: ignore[no-any-return]


class _PartMeta:
    def __init__(self, meta: Any, fields: list[Field]) -> None:
        self._whole = meta
        self.sorted_fields = fields

    def __getattr__(self, name: str) -> Any:
        return getattr(self._whole, name)


class SchemaManager(peewee.SchemaManager):
    """Peewee's, for models that have optional parts and comments.

    Set as `Meta.schema_manager_class`: tables leave out what the server lacks, and a
    table's or field's `help_text` becomes its comment.
    """

    absent: Callable[[object], bool] | None = None
    """What is left out; by default what the server lacks."""

    def _missing(self, thing: object) -> bool:
        if self.absent is not None:
            return self.absent(thing)
        return bool(requirements.missing(self.database, needs(thing)))

    def _create_table(self, safe: bool = True, **options: Any) -> Any:
        fields = [f for f in self.model._meta.sorted_fields if not self._missing(f)]
        if len(fields) == len(self.model._meta.sorted_fields):
            return super()._create_table(safe=safe, **options)  # type: ignore[misc]
        part = peewee.SchemaManager(_Part(self.model, fields), self.database)
        return part._create_table(safe=safe, **options)  # type: ignore[attr-defined]

    def _create_indexes(self, safe: bool = True) -> list[Any]:
        return [
            self._create_index(index, safe)  # type: ignore[attr-defined]
            for index in self.model._meta.fields_to_index()
            if not self._missing(index)
        ]

    def create_all(self, safe: bool = True, **options: Any) -> None:
        """Create the extensions, the table, its indexes and its comments."""
        for name in self._extensions():
            self.database.execute(_create("EXTENSION", name))
        super().create_all(safe, **options)
        for statement in self.comments():
            self.database.execute(statement)

    def _extensions(self) -> list[str]:
        fields = [f for f in self.model._meta.sorted_fields if not self._missing(f)]
        pairs = [requirements.parse(n) for f in fields for n in needs(f)]
        return sorted({name for kind, name in pairs if kind == "extension"})

    def comments(self) -> list[Context]:
        """Return COMMENT ON statements for the table and the columns that are there."""
        meta = self.model._meta
        table = getattr(meta, "help_text", None)
        statements = []
        if table:
            statements.append(self._comment("TABLE", meta.table, table))
        for field in meta.sorted_fields:
            if field.help_text and not self._missing(field):
                column = NodeList((meta.table, Entity(field.column_name)), glue=".")
                statements.append(self._comment("COLUMN", column, field.help_text))
        return statements

    def _comment(self, kind: str, target: Node, text: str) -> Context:
        quoted = "'" + text.replace("'", "''").replace("%", "%%") + "'"
        context = self._create_context().literal(f"COMMENT ON {kind} ").sql(target)  # type: ignore[attr-defined]
        return context.literal(f" IS {quoted}")  # type: ignore[no-any-return]
