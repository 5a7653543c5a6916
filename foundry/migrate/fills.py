"""What rows that are there already get for a new column: the model's Python default, in SQL."""

from __future__ import annotations

import datetime
import functools
import time
import uuid
from collections.abc import Callable
from typing import Any

import psycopg2
from peewee import SCOPE_VALUES, Field

from foundry.migrate.script import Script

_EMPTY = (list, dict, set, tuple, str, int, float, bool, bytes)
_NOW: tuple[Callable[..., Any], ...] = (datetime.datetime.now, datetime.datetime.today)


def fill(field: Field, type_: str, script: Script) -> str:
    """Return the SQL expression of a field's Python default, or nothing where there is none.

    A function that is not known is called twice, as Peewee calls it for each new row: what
    it says both times is the value.
    """
    default: Any = field.default
    if default is None:
        return ""
    if isinstance(default, functools.partial) and not default.keywords:
        default = default.func
    if not callable(default):
        return _constant(field, default, script)
    if default in _EMPTY:
        return _constant(field, default(), script)
    return _called(default, type_) or _twice(field, default, script)


def _twice(field: Field, default: Callable[[], Any], script: Script) -> str:
    try:
        values = default(), default()
        same = bool(values[0] == values[1]) and type(values[0]) is type(values[1])
    except Exception:  # somebody else's code: what it cannot say now the author has to
        return ""
    return _constant(field, values[0], script) if same and values[0] is not None else ""


def _constant(field: Field, value: Any, script: Script) -> str:
    context = script.writing.context(
        **{**script.setting.database.get_context_options(), "scope": SCOPE_VALUES}
    )
    try:
        return script.writing.text(context.sql(field.to_value(value)))
    except (psycopg2.Error, TypeError, ValueError, AttributeError, IndexError):
        return ""


def _called(function: Any, type_: str) -> str:
    if type_ == "uuid" and function in (uuid.uuid4, uuid.uuid1):
        return "gen_random_uuid()"
    if function in (uuid.uuid4, uuid.uuid1) and type_.startswith(("text", "character varying")):
        return "(gen_random_uuid())::text"
    if function == datetime.date.today and type_ == "date":
        return "CURRENT_DATE"
    if function == time.time and type_ == "double precision":
        return "date_part('epoch', now())"
    if function in _NOW and type_ in ("integer", "bigint"):
        return f"date_part('epoch', now())::{type_}"
    if function in _NOW or function == datetime.datetime.utcnow:
        if type_.startswith("timestamp") and type_.endswith("with time zone"):
            return "now()"
        if type_.startswith("timestamp"):
            return "LOCALTIMESTAMP" if function in _NOW else "(now() AT TIME ZONE 'UTC')"
        return "CURRENT_DATE" if type_ == "date" else ""
    return ""
