"""The model every table of foundry.schema is made from."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NoReturn, overload
from weakref import WeakKeyDictionary

from peewee import Database, Field, Model

from foundry import declare
from foundry.database import proxy
from foundry.errors import ReadOnlyModel

if TYPE_CHECKING:
    from peewee import ModelSelect
    from typing_extensions import Self

_present: WeakKeyDictionary[Database, set[str]] = WeakKeyDictionary()
"""Optional columns known to be there, per database: only good news is remembered."""

_absent: WeakKeyDictionary[Database, set[str]] = WeakKeyDictionary()
"""Optional columns that are taken for absent without asking again."""

_COLUMN = """
SELECT EXISTS (
    SELECT FROM pg_catalog.pg_attribute
    WHERE attrelid = pg_catalog.to_regclass(%s) AND attname = %s AND NOT attisdropped)
"""


def has_column(database: Any, field: Field) -> bool:
    """True when the table has the column of an optional field; asks until the answer is yes."""
    there = _present.setdefault(database, set())
    name = declare.relation(field.model)
    column = f"{name}.{field.column_name}"
    if column in there:
        return True
    if column in _absent.get(database, ()):
        return False
    if database.execute_sql(_COLUMN, (name, field.column_name)).fetchone()[0]:
        there.add(column)
    return column in there


def look_once(database: Any, field: Field) -> None:
    """Ask for an optional column now and never again: where queries are built, nothing can wait.

    A column that comes later is seen by databases that are opened then.
    """
    if not has_column(database, field):
        name = f"{declare.relation(field.model)}.{field.column_name}"
        _absent.setdefault(database, set()).add(name)


class Base(Model):
    """A table of foundry: bound to the database that `foundry.connect()` opens.

    `select()` leaves out an optional column (the embedding on a server without
    pgvector) while the table does not have it; an alias, `returning(Model)` and
    `bulk_create` name every column.
    """

    class Meta:
        database = proxy
        legacy_table_names = False
        schema_manager_class = declare.SchemaManager

    @classmethod
    def add_index(cls, *fields: Any, **kwargs: Any) -> None:
        """Declare an index; one that has the name of another takes its place."""
        super().add_index(*fields, **kwargs)
        *others, added = cls._meta.indexes
        name = getattr(added, "_name", None)
        kept = [one for one in others if name is None or getattr(one, "_name", None) != name]
        cls._meta.indexes[:] = [*kept, added]

    # Of some columns, rows may be tuples or dictionaries: what they are is not known.
    @overload
    @classmethod
    def select(cls) -> ModelSelect[Self]: ...

    @overload
    @classmethod
    def select(cls, *fields: Any) -> Any: ...

    @classmethod
    def select(cls, *fields: Any) -> Any:
        """Return a SELECT of `fields`, by default of every column that is there.

        A model among `fields` stands for its columns that are there.
        """
        there = [part for field in fields or (cls,) for part in _columns(field)]
        # A plain select() and one with a projection are not the same to Peewee.
        whole = not fields and there[0] is cls
        return super().select() if whole else super().select(*there)


def _columns(field: Any) -> list[Any]:
    """Return what `field` selects: the columns that are there, of a model that lacks some."""
    if not (isinstance(field, type) and issubclass(field, Model)):
        return [field]
    optional = [f for f in field._meta.sorted_fields if declare.needs(f)]
    database = field._meta.get_database_instance() if optional else None
    # By name: two fields compared with == make an expression, which is true.
    absent = {f.name for f in optional if not has_column(database, f)}
    if not absent:
        return [field]
    return [f for f in field._meta.sorted_fields if f.name not in absent]


class ReadOnly(Model):
    """A table or view that another package writes: SELECT only."""

    class Meta:
        database = proxy
        legacy_table_names = False

    @classmethod
    def _refuse(cls) -> NoReturn:
        raise ReadOnlyModel(
            f'"{cls._meta.table_name}" belongs to LangGraph: read it here, write it through a saver'
        )

    @classmethod
    def create_table(cls, safe: bool = True, **options: Any) -> None:
        cls._refuse()

    @classmethod
    def drop_table(cls, safe: bool = True, drop_sequences: bool = True, **options: Any) -> None:
        cls._refuse()

    @classmethod
    def truncate_table(cls, **options: Any) -> None:
        cls._refuse()

    @classmethod
    def insert(cls, *args: Any, **kwargs: Any) -> NoReturn:
        cls._refuse()

    @classmethod
    def insert_many(cls, *args: Any, **kwargs: Any) -> NoReturn:
        cls._refuse()

    @classmethod
    def insert_from(cls, *args: Any, **kwargs: Any) -> NoReturn:
        cls._refuse()

    @classmethod
    def replace(cls, *args: Any, **kwargs: Any) -> NoReturn:
        cls._refuse()

    @classmethod
    def replace_many(cls, *args: Any, **kwargs: Any) -> NoReturn:
        cls._refuse()

    @classmethod
    def update(cls, *args: Any, **kwargs: Any) -> NoReturn:
        cls._refuse()

    @classmethod
    def delete(cls) -> NoReturn:
        cls._refuse()
