"""What a database has besides tables, each made by statements of its own.

A name that may stand in another namespace is written as a `Named`, so that whoever renders
the statements can say where it is.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import KW_ONLY, dataclass, field
from typing import TYPE_CHECKING, Any

from peewee import SCOPE_VALUES, SQL, Context, Entity, Field, Model, Node, NodeList, Value
from playhouse.postgres_ext import ArrayField

from foundry.errors import DeclarationError, InvalidValue

if TYPE_CHECKING:
    _Field = Field[Any]
else:
    _Field = Field

_ON_TABLES = ("SELECT", "INSERT", "UPDATE", "DELETE", "TRUNCATE", "REFERENCES", "TRIGGER")
_PRIVILEGES = frozenset((*_ON_TABLES, "MAINTAIN", "USAGE", "CREATE", "EXECUTE", "ALL"))
_COMMANDS = ("ALL", "SELECT", "INSERT", "UPDATE", "DELETE")


class Named(Entity):
    """The name of an object that is declared, with its namespace or without."""

    def __init__(self, namespace: str | None, name: str) -> None:
        super().__init__(namespace, name)
        self.namespace, self.name = namespace, name


class NamedNamespace(Node):
    """The name of a namespace that is declared."""

    def __init__(self, name: str) -> None:
        self.name = name

    def __sql__(self, ctx: Context) -> Context:
        return ctx.sql(Entity(self.name))  # type: ignore[no-any-return]


def quoted(text: str) -> SQL:
    """Write text as a string constant, whatever standard_conforming_strings says."""
    doubled = text.replace("'", "''")
    if "\\" in doubled:
        return SQL("E'" + doubled.replace("\\", "\\\\") + "'")
    return SQL(f"'{doubled}'")


def rendered(node: Node) -> str:
    """Write a statement that has no parameters."""
    context = Context(quote='""', scope=SCOPE_VALUES).sql(node)
    statement, values = context.query()
    if values:
        raise DeclarationError("a declared statement holds a value: write it into the SQL")
    return str(statement)


def _words(*parts: str | Node) -> NodeList:
    return NodeList([SQL(p) if isinstance(p, str) else p for p in parts if p != ""])


def _commas(parts: Sequence[Node]) -> NodeList:
    return NodeList(list(parts), glue=", ")


def _comment(kind: str, target: Node, text: str) -> tuple[Node, ...]:
    return (_words(f"COMMENT ON {kind}", target, "IS", quoted(text)),) if text else ()


# No slots: `optional` leaves its mark on these.
class Created(ABC):
    """Something made by statements."""

    @abstractmethod
    def nodes(self) -> tuple[Node, ...]:
        """Return what makes the object, as nodes that may be rendered for other namespaces."""

    def statements(self) -> tuple[str, ...]:
        """Return what makes the object, in order."""
        return tuple(rendered(node) for node in self.nodes())


@dataclass(frozen=True, kw_only=True)
class _Written(Created):
    """An object made by one CREATE statement; `comments` are COMMENT ON statements."""

    name: str
    create: str
    comments: tuple[str, ...] = ()
    namespace: str | None = None

    def nodes(self) -> tuple[Node, ...]:
        return tuple(SQL(text) for text in (self.create, *self.comments))


class Function(_Written):
    """A function or procedure, by its CREATE statement."""


class View(_Written):
    """A view, by its CREATE VIEW statement."""


@dataclass(frozen=True)
class MaterializedView(Created):
    """A materialised view, by its query.

    `MaterializedView("busy_users", "SELECT user_id, count(*) FROM sessions GROUP BY 1")`
    """

    name: str
    query: str
    _: KW_ONLY
    namespace: str | None = None
    options: Mapping[str, str | int | float] = field(default_factory=dict)
    data: bool = True
    """False leaves it empty until it is refreshed."""
    comment: str = ""

    def nodes(self) -> tuple[Node, ...]:
        target = Named(self.namespace, self.name)
        options = _options(self.options)
        data = "WITH DATA" if self.data else "WITH NO DATA"
        query = self.query.strip().rstrip(";")
        create = _words("CREATE MATERIALIZED VIEW", target, options, "AS", f"{query}\n{data}")
        return (create, *_comment("MATERIALIZED VIEW", target, self.comment))


def _options(options: Mapping[str, str | int | float]) -> str | Node:
    if not options:
        return ""
    pairs = [NodeList((Entity(k), SQL(f" = {v}")), glue="") for k, v in options.items()]
    return NodeList((SQL("WITH"), NodeList(pairs, glue=", ", parens=True)))


@dataclass(frozen=True)
class Enum(Created):
    """An enumerated type.

    `MOOD = Enum("mood", ("good", "bad"))`, then `mood = MOOD.field(null=True)` in a model.
    A label that got another name is stated: `renames={"new": "old"}`.
    """

    name: str
    labels: Sequence[str]
    _: KW_ONLY
    namespace: str | None = None
    renames: Mapping[str, str] = field(default_factory=dict)
    comment: str = ""

    def __post_init__(self) -> None:
        unknown = [label for label in self.renames if label not in self.labels]
        if unknown:
            raise DeclarationError(f'enum "{self.name}": renames "{unknown[0]}", which is no label')
        if len(set(self.renames.values())) < len(self.renames):
            raise DeclarationError(f'enum "{self.name}": two labels are renamed from one')

    def field(self, **kwargs: Any) -> EnumField:
        """Return a field of this type; it takes labels and refuses everything else."""
        return EnumField(self, **kwargs)

    def array(self, **kwargs: Any) -> EnumArrayField:
        """Return a field that holds a list of labels."""
        return EnumArrayField(self, **kwargs)

    def checked(self, value: object, where: str) -> str:
        """Return a label that is one; InvalidValue otherwise."""
        if isinstance(value, str) and value in self.labels:
            return value
        raise InvalidValue(f"{where}: expected one of {', '.join(self.labels)}")

    def nodes(self) -> tuple[Node, ...]:
        target = Named(self.namespace, self.name)
        labels = NodeList([quoted(label) for label in self.labels], glue=", ", parens=True)
        create = _words("CREATE TYPE", target, "AS ENUM", labels)
        return (create, *_comment("TYPE", target, self.comment))


class EnumField(_Field):
    """A column of an enumerated type."""

    def __init__(self, enum: Enum, **kwargs: Any) -> None:
        self.enum = enum
        self.field_type = rendered(Named(enum.namespace, enum.name))  # type: ignore[misc]
        super().__init__(**kwargs)

    def ddl_datatype(self, ctx: Context) -> Node:  # type: ignore[override]
        return Named(self.enum.namespace, self.enum.name)

    def db_value(self, value: object) -> str | None:
        return None if value is None else self.enum.checked(value, _where(self))


class EnumArrayField(ArrayField):  # type: ignore[misc]
    """A column that holds lists of an enumerated type's labels."""

    def __init__(self, enum: Enum, **kwargs: Any) -> None:
        self.enum = enum
        kwargs.setdefault("index", False)
        super().__init__(EnumField, {"enum": enum}, **kwargs)

    def db_value(self, value: Any) -> Any:
        if value is None or isinstance(value, Node):
            return value
        labels = [self.enum.checked(label, _where(self)) for label in value]
        # The driver sends text[], which does not turn into an array of an enum by itself.
        bound = Value(labels, converter=False, unpack=False)
        target = Named(self.enum.namespace, self.enum.name)
        return NodeList((SQL("CAST("), bound, SQL(" AS "), target, SQL("[])")), glue="")

    def python_value(self, value: Any) -> Any:
        if not isinstance(value, str):
            return value
        from psycopg2.extensions import UNICODEARRAY

        return UNICODEARRAY(value, None)


def _where(field: Any) -> str:
    return f'"{field.model._meta.table_name}"."{field.column_name}"'


@dataclass(frozen=True)
class Partition(Created):
    """A partition of a model's table, whose `Meta.table_settings` say PARTITION BY.

    `Partition(Event, "events_2026", "FOR VALUES FROM ('2026-01-01') TO ('2027-01-01')")`
    """

    model: type[Model]
    name: str
    bound: str
    _: KW_ONLY
    namespace: str | None = None

    def nodes(self) -> tuple[Node, ...]:
        target = Named(self.namespace or self.model._meta.schema, self.name)
        table = self.model._meta.table
        return (_words("CREATE TABLE", target, "PARTITION OF", table, self.bound),)


@dataclass(frozen=True)
class Trigger(Created):
    """A trigger of a model's table, by its CREATE TRIGGER statement."""

    model: type[Model]
    name: str
    create: str
    _: KW_ONLY
    comment: str = ""

    def nodes(self) -> tuple[Node, ...]:
        target = _words(Entity(self.name), "ON", self.model._meta.table)
        return (SQL(self.create), *_comment("TRIGGER", target, self.comment))


@dataclass(frozen=True)
class RowSecurity(Created):
    """Row security of a model's table, switched on; `force` holds for its owner too."""

    model: type[Model]
    _: KW_ONLY
    force: bool = False

    def nodes(self) -> tuple[Node, ...]:
        table = self.model._meta.table
        made: list[Node] = [_words("ALTER TABLE", table, "ENABLE ROW LEVEL SECURITY")]
        if self.force:
            made.append(_words("ALTER TABLE", table, "FORCE ROW LEVEL SECURITY"))
        return tuple(made)


@dataclass(frozen=True)
class Policy(Created):
    """A row security policy; `using` and `check` are SQL conditions.

    `Policy(Message, "own_messages", command="SELECT", to="reader", using="owner = current_user")`
    """

    model: type[Model]
    name: str
    _: KW_ONLY
    command: str = "ALL"
    to: str | Sequence[str] = "PUBLIC"
    using: str = ""
    check: str = ""
    permissive: bool = True
    comment: str = ""

    def __post_init__(self) -> None:
        if self.command not in _COMMANDS:
            raise DeclarationError(
                f'policy "{self.name}": command "{self.command}" is none of {", ".join(_COMMANDS)}'
            )

    def nodes(self) -> tuple[Node, ...]:
        target = _words(Entity(self.name), "ON", self.model._meta.table)
        create = _words(
            "CREATE POLICY",
            target,
            f"AS {'PERMISSIVE' if self.permissive else 'RESTRICTIVE'}",
            f"FOR {self.command} TO",
            _commas([_role(role) for role in several(self.to)]),
            f"USING ({self.using})" if self.using else "",
            f"WITH CHECK ({self.check})" if self.check else "",
        )
        return (create, *_comment("POLICY", target, self.comment))


@dataclass(frozen=True)
class Grant(Created):
    """Privileges of a role on a model's table, a declared object or a namespace (its name).

    `Grant("SELECT", on=Message, to="reader")`, `Grant("USAGE", on="app", to="reader")`
    """

    privileges: str | Sequence[str]
    _: KW_ONLY
    on: type[Model] | View | MaterializedView | Function | str
    to: str | Sequence[str]
    columns: Sequence[Field] = ()
    grantable: bool = False

    def __post_init__(self) -> None:
        for privilege in self._privileges():
            if privilege not in _PRIVILEGES:
                raise DeclarationError(f'"{privilege}" is no privilege')

    def _privileges(self) -> tuple[str, ...]:
        return tuple(privilege.upper() for privilege in several(self.privileges))

    def nodes(self) -> tuple[Node, ...]:
        columns = [Entity(f.column_name) for f in self.columns]
        suffix = [NodeList(columns, glue=", ", parens=True)] if columns else []
        wanted = [NodeList([SQL(privilege), *suffix]) for privilege in self._privileges()]
        return (
            _words(
                "GRANT",
                _commas(wanted),
                "ON",
                self._target(),
                "TO",
                _commas([_role(role) for role in several(self.to)]),
                "WITH GRANT OPTION" if self.grantable else "",
            ),
        )

    def _target(self) -> Node:
        if isinstance(self.on, str):
            return _words("SCHEMA", NamedNamespace(self.on))
        if isinstance(self.on, Function):
            return _words("FUNCTION", Named(self.on.namespace, self.on.name))
        if isinstance(self.on, (View, MaterializedView)):
            return _words("TABLE", Named(self.on.namespace, self.on.name))
        return _words("TABLE", self.on._meta.table)


def several(named: str | Sequence[str]) -> tuple[str, ...]:
    """Return the names given, one or several."""
    return (named,) if isinstance(named, str) else tuple(named)


def _role(name: str) -> Node:
    return SQL("PUBLIC") if name.upper() == "PUBLIC" else Entity(name)
