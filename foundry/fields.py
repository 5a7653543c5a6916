"""Fields that hold a value exactly or refuse it before any SQL is sent."""

from __future__ import annotations

from datetime import datetime, timezone
from types import GenericAlias
from typing import TYPE_CHECKING, Annotated, Any

import pgvector.peewee
import playhouse.postgres_ext
from peewee import BigAutoField, CharField, DateTimeField, Field, IntegerField, JSONField, TextField

from foundry.errors import InvalidValue

__all__ = [
    "ArrayField",
    "BigAutoField",
    "JSONField",
    "TextField",
    "TimestampField",
    "TimestampTZField",
    "VarCharField",
    "VectorField",
]


# The stubs make fields generic; the classes themselves cannot be subscripted.
if TYPE_CHECKING:
    _Char = CharField[Any]
    _DateTime = DateTimeField[Any]
else:
    _Char = CharField
    _DateTime = DateTimeField

# `enum_class` is where playhouse.pydantic_utils looks for the Python type of a field before it
# knows only the column's: without it, a vector is anything and an array one of its elements.


class VarCharField(_Char):
    """`varchar` without a length, as PostgreSQL spells text that may be long."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(None, *args, **kwargs)


class _AwareField(_DateTime):
    """A point in time: aware datetimes in, aware UTC datetimes out, naive ones refused."""

    @property
    def enum_class(self) -> Any:
        """The type for pydantic: a datetime with a time zone."""
        from pydantic import AwareDatetime

        return AwareDatetime

    def db_value(self, value: object) -> datetime | None:
        if value is None:
            return None
        where = f'"{self.model._meta.table_name}"."{self.column_name}"'
        if not isinstance(value, datetime):
            raise InvalidValue(f"{where}: expected a datetime, got {type(value).__name__}")
        if value.utcoffset() is None:
            raise InvalidValue(
                f"{where}: a datetime without a time zone; give it one, for example "
                f"datetime.now(timezone.utc)"
            )
        return self._stored(value.astimezone(timezone.utc))

    def python_value(self, value: datetime | None) -> datetime | None:
        if value is None:
            return None
        if value.tzinfo is None:
            return value.replace(tzinfo=timezone.utc)
        return value.astimezone(timezone.utc)

    def _stored(self, value: datetime) -> datetime:
        return value


class TimestampTZField(_AwareField):
    """`timestamptz`: aware datetimes in, aware UTC datetimes out; a naive one is InvalidValue."""

    field_type = "TIMESTAMPTZ"


class TimestampField(_AwareField):
    """`timestamp` that holds UTC: aware datetimes in and out; a naive one is InvalidValue.

    The column itself does not know its zone: a default of CURRENT_TIMESTAMP is UTC
    because every session foundry opens has its time zone set to UTC.
    """

    field_type = "TIMESTAMP"

    def _stored(self, value: datetime) -> datetime:
        return value.replace(tzinfo=None)


class VectorField(pgvector.peewee.VectorField):
    """`vector(dimensions)` of pgvector, as a list of floats."""

    @property
    def enum_class(self) -> Any:
        """The type for pydantic: that many finite numbers."""
        from pydantic import Field as Limits
        from pydantic import FiniteFloat

        size = self.dimensions
        return Annotated[list[FiniteFloat], Limits(min_length=size, max_length=size)]


class ArrayField(playhouse.postgres_ext.ArrayField):  # type: ignore[misc]
    """An array of PostgreSQL, as a list, or a list of lists."""

    def __init__(
        self,
        field_class: type[Field] = IntegerField,
        field_kwargs: dict[str, Any] | None = None,
        *args: Any,
        **kwargs: Any,
    ) -> None:
        super().__init__(field_class, field_kwargs, *args, **kwargs)
        self.element = field_class(**(field_kwargs or {}))

    @property
    def enum_class(self) -> Any:
        """The type for pydantic: a list of what its elements are."""
        from playhouse.pydantic_utils import get_field_type

        found = get_field_type(self.element)
        for _ in range(self.dimensions):
            found = GenericAlias(list, (found,))
        return found
