"""What a database consists of, as frozen values; texts are PostgreSQL's own.

Equality is identity of definition: two objects are equal when PostgreSQL prints them alike.
Attributes marked `carried` are for planning and are not compared.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

Place = tuple[str, str]
"""Namespace and name."""

Key = tuple[str, ...]
"""Kind of object, then the names that say which one."""


def carried(default: Any) -> Any:
    """Declare an attribute that planning needs and comparison ignores."""
    return field(default=default, compare=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Namespace:
    """A PostgreSQL schema."""

    name: str
    comment: str = ""

    @property
    def key(self) -> Key:
        return ("namespace", self.name)


@dataclass(frozen=True, slots=True, kw_only=True)
class Extension:
    """An extension that is installed."""

    name: str
    needs: tuple[str, ...] = carried(())
    """Itself, where only optional parts use it."""

    @property
    def key(self) -> Key:
        return ("extension", self.name)


@dataclass(frozen=True, slots=True, kw_only=True)
class Enum:
    """An enumerated type."""

    namespace: str
    name: str
    labels: tuple[str, ...]
    comment: str = ""
    spelling: str = carried("")
    """The type as PostgreSQL prints it in a column."""

    @property
    def place(self) -> Place:
        return (self.namespace, self.name)

    @property
    def key(self) -> Key:
        return ("enum", self.namespace, self.name)


@dataclass(frozen=True, slots=True, kw_only=True)
class Sequence:
    """A sequence; one of an identity column is part of its column and not here."""

    namespace: str
    name: str
    type: str
    options: str
    """All of INCREMENT, MINVALUE, MAXVALUE, START, CACHE and CYCLE, spelled out."""
    owner: tuple[str, str, str] | None = None
    """Namespace, table and column it is owned by."""
    comment: str = ""

    @property
    def place(self) -> Place:
        return (self.namespace, self.name)

    @property
    def key(self) -> Key:
        return ("sequence", self.namespace, self.name)


@dataclass(frozen=True, slots=True, kw_only=True)
class Table:
    """A table without its columns, or a partitioned one, or a partition."""

    namespace: str
    name: str
    unlogged: bool = False
    options: tuple[str, ...] = ()
    """Storage parameters as `name=value`, sorted."""
    given: tuple[str, ...] = carried(())
    """Storage parameters in the order they were given."""
    partition_by: str = ""
    """What stands after PARTITION BY."""
    partition_of: Place | None = None
    bound: str = ""
    """What stands after PARTITION OF, such as `FOR VALUES IN (1)` or `DEFAULT`."""
    admits: str = carried("")
    """Of a partition, what holds for each of its rows; empty where nothing has to."""
    required: tuple[tuple[str, str], ...] = carried(())
    """Of a partition, its NOT NULL columns and the name that says so, empty before 18."""
    row_security: bool = False
    force_row_security: bool = False
    replica_identity: str = "DEFAULT"
    comment: str = ""
    source: str = carried("")
    """The body of CREATE TABLE in the model's own words, foreign keys left out."""
    entangled: bool = carried(False)
    """True when something that is not read rests on the columns as they are."""

    @property
    def place(self) -> Place:
        return (self.namespace, self.name)

    @property
    def key(self) -> Key:
        return ("table", self.namespace, self.name)


@dataclass(frozen=True, slots=True, kw_only=True)
class Column:
    """A column of a table."""

    table: Place
    name: str
    type: str
    not_null: bool = False
    not_null_name: str = ""
    """Name of the NOT NULL constraint, where the server has one (18 and later)."""
    not_null_valid: bool = True
    default: str = ""
    """Expression of DEFAULT; of a generated column, what it is generated from."""
    identity: str = ""
    """"", "ALWAYS" or "BY DEFAULT"."""
    identity_options: str = ""
    """Options of the identity's sequence, as in `Sequence.options`."""
    identity_sequence: str = ""
    """Name of that sequence; it is in the table's namespace."""
    generated: str = ""
    """"", "STORED" or "VIRTUAL"."""
    collation: str = ""
    """Printed with its namespace; empty when it is the type's own."""
    storage: str = ""
    """Empty when it is the type's own."""
    compression: str = ""
    statistics: int = -1
    options: tuple[str, ...] = ()
    comment: str = ""
    position: int = carried(0)
    volatile: bool = carried(False)
    """True when every row gets its own value of the default."""
    reads: tuple[str, ...] = carried(())
    """Columns of the table that a generated column is made from."""
    fill: str = carried("")
    """SQL expression of the model's Python default, for rows that are there already."""
    fill_once: bool = carried(False)
    """True when that is one value for all of them."""
    enum: Place | None = carried(None)
    """The enumerated type of the column, or of its elements."""
    sequence: Place | None = carried(None)
    """The sequence its default draws from."""
    needs: tuple[str, ...] = carried(())
    """Requirements of a part that is optional."""
    functions: tuple[Key, ...] = carried(())
    """Functions, other than the server's, that the default calls."""
    checked: bool = carried(False)
    """True when its type is a domain that refuses values."""
    base: str = carried("")
    """The type that a domain is made from in the end; empty where the type is none."""

    @property
    def key(self) -> Key:
        return ("column", *self.table, self.name)


@dataclass(frozen=True, slots=True, kw_only=True)
class Constraint:
    """A primary key, unique, exclusion, check or foreign key constraint of a table."""

    table: Place
    name: str
    kind: str
    """"PRIMARY KEY", "UNIQUE", "EXCLUDE", "CHECK" or "FOREIGN KEY"."""
    definition: str
    """What stands after ADD CONSTRAINT name, without NOT VALID."""
    valid: bool = True
    comment: str = ""
    columns: tuple[str, ...] = carried(())
    """Of a key or foreign key, its columns in order; of a check, those it reads."""
    reads: tuple[str, ...] = carried(())
    """`columns`, and those that its index includes or has in expressions."""
    expression: str = carried("")
    """The condition of a check, in parentheses."""
    references: Place | None = carried(None)
    referenced: tuple[str, ...] = carried(())
    """Columns of the other table, in the order of `columns`."""
    deferrable: str = carried("")
    """"", "DEFERRABLE" or "DEFERRABLE INITIALLY DEFERRED"."""
    index: str = carried("")
    """Of a key, the definition of its index as an `Index` has it; of a foreign key, the
    name of the index it rests on."""
    functions: tuple[Key, ...] = carried(())
    source: str = carried("")
    """The definition in the model's own words."""

    @property
    def key(self) -> Key:
        return ("constraint", *self.table, self.name)


@dataclass(frozen=True, slots=True, kw_only=True)
class Index:
    """An index that no constraint owns."""

    table: Place
    name: str
    definition: str
    """What stands after CREATE [UNIQUE] INDEX name ON table, from USING on."""
    unique: bool = False
    valid: bool = True
    comment: str = ""
    columns: tuple[str, ...] = carried(())
    """Every column it reads, in expressions and the predicate too."""
    keys: tuple[str, ...] = carried(())
    """Key columns of an index without expressions, in order; else empty."""
    terms: tuple[str, ...] = carried(())
    """Of a unique index with expressions, its keys as SQL, in order."""
    method: str = carried("btree")
    predicate: str = carried("")
    functions: tuple[Key, ...] = carried(())
    tuned: tuple[str, ...] = carried(())
    """Storage parameters that maintenance sets."""
    needs: tuple[str, ...] = carried(())
    """Requirements of a part that is optional."""
    source: str = carried("")
    """The whole CREATE INDEX statement in the model's own words."""

    @property
    def key(self) -> Key:
        return ("index", *self.table, self.name)


@dataclass(frozen=True, slots=True, kw_only=True)
class View:
    """A view or materialised view."""

    namespace: str
    name: str
    query: str
    materialized: bool = False
    columns: tuple[tuple[str, str], ...] = carried(())
    """Name and type, in order; they follow from the query and what it reads."""
    options: tuple[str, ...] = ()
    given: tuple[str, ...] = carried(())
    """`options` in the order they were given."""
    comment: str = ""
    populated: bool = carried(True)
    defaults: tuple[tuple[str, str], ...] = carried(())
    """Columns that have a default of their own, and its expression."""
    notes: tuple[tuple[str, str], ...] = carried(())
    """Columns that have a comment, and its text."""
    rules: tuple[str, ...] = carried(())
    """CREATE RULE statements of rules besides the view's own."""
    depends: tuple[Key, ...] = carried(())
    """Keys of the columns, tables, views, functions and enums its query reads."""
    needs: tuple[str, ...] = carried(())
    source: str = carried("")
    """The CREATE statement as it was declared."""

    @property
    def place(self) -> Place:
        return (self.namespace, self.name)

    @property
    def key(self) -> Key:
        return ("view", self.namespace, self.name)


@dataclass(frozen=True, slots=True, kw_only=True)
class Function:
    """A function or procedure."""

    namespace: str
    name: str
    arguments: str
    """Types of the arguments, as they identify the function."""
    definition: str
    """The whole CREATE OR REPLACE statement, as PostgreSQL prints it."""
    returns: str = ""
    kind: str = "FUNCTION"
    """"FUNCTION" or "PROCEDURE"."""
    comment: str = ""
    depends: tuple[Key, ...] = carried(())
    needs: tuple[str, ...] = carried(())
    source: str = carried("")

    @property
    def key(self) -> Key:
        return ("function", self.namespace, self.name, self.arguments)


@dataclass(frozen=True, slots=True, kw_only=True)
class Trigger:
    """A trigger of a table."""

    table: Place
    name: str
    definition: str
    """The whole CREATE TRIGGER statement, as PostgreSQL prints it."""
    enabled: str = "ENABLE"
    """"ENABLE", "DISABLE", "ENABLE REPLICA" or "ENABLE ALWAYS"."""
    comment: str = ""
    columns: tuple[str, ...] = carried(())
    functions: tuple[Key, ...] = carried(())
    source: str = carried("")

    @property
    def key(self) -> Key:
        return ("trigger", *self.table, self.name)


@dataclass(frozen=True, slots=True, kw_only=True)
class Policy:
    """A row security policy of a table."""

    table: Place
    name: str
    definition: str
    """What stands after CREATE POLICY name ON table."""
    comment: str = ""
    columns: tuple[str, ...] = carried(())
    depends: tuple[Key, ...] = carried(())
    """Keys of the columns, tables and views it reads, its own table's too."""
    functions: tuple[Key, ...] = carried(())

    @property
    def key(self) -> Key:
        return ("policy", *self.table, self.name)


@dataclass(frozen=True, slots=True, kw_only=True)
class Grant:
    """One privilege on a table, view, sequence, function or namespace."""

    target: Key
    """Key of the object it is on; of a column privilege, the column's."""
    role: str
    """PUBLIC is the empty name."""
    privilege: str
    grantable: bool = False
    revoked: bool = False
    """True of a privilege that everybody has of a new object, and that was taken away: EXECUTE
    on a function. While it stands as it was given there is no `Grant` of it."""

    @property
    def key(self) -> Key:
        return ("grant", *self.target, self.role, self.privilege)


@dataclass(frozen=True, slots=True, kw_only=True)
class Other:
    """Something of a kind that is not read, and rests on what is."""

    description: str
    """Its kind and name, as the server says them."""
    depends: tuple[Key, ...] = carried(())
    owners: tuple[Key, ...] = carried(())
    """The tables or views whose end is its end."""

    @property
    def key(self) -> Key:
        return ("other", self.description)


Object = (
    Namespace
    | Extension
    | Enum
    | Sequence
    | Table
    | Column
    | Constraint
    | Index
    | View
    | Function
    | Trigger
    | Policy
    | Grant
    | Other
)
