"""What rows that are there already get for a new column: the model's Python default, in SQL.

An expression comes with whether it is one value for all rows; an empty one says nothing.
"""

from __future__ import annotations

import datetime
import functools
import time
import uuid
from collections.abc import Callable
from typing import Any

import psycopg2
from peewee import SCOPE_VALUES, Field, Node

from foundry.migrate.script import Script

_EMPTY = (list, dict, set, tuple, str, int, float, bool, bytes)
Fill = tuple[str, bool]
_NONE: Fill = ("", False)
_NOW: tuple[Callable[..., Any], ...] = (datetime.datetime.now, datetime.datetime.today)


def fill(field: Field, type_: str, script: Script) -> Fill:
    """Return the SQL expression of a field's Python default, or nothing where there is none.

    A function that is not known is called twice, as Peewee calls it for each new row: what
    it says both times is the value.
    """
    default: Any = field.default
    if default is None:
        return _NONE
    if isinstance(default, functools.partial) and not default.keywords:
        default = default.func
    if not callable(default):
        return _constant(field, default, script)
    if default in _EMPTY:
        return _constant(field, default(), script)
    known = _called(default, type_)
    return (known, "random" not in known) if known else _twice(field, default, script)


def _twice(field: Field, default: Callable[[], Any], script: Script) -> Fill:
    try:
        values = default(), default()
        same = bool(values[0] == values[1]) and type(values[0]) is type(values[1])
    except Exception:  # somebody else's code: what it cannot say now the author has to
        return _NONE
    return _constant(field, values[0], script) if same and values[0] is not None else _NONE


def _constant(field: Field, value: Any, script: Script) -> Fill:
    context = script.writing.context(
        **{**script.setting.database.get_context_options(), "scope": SCOPE_VALUES}
    )
    try:
        text = script.writing.text(context.sql(field.to_value(value)))
        return text, not isinstance(value, Node)  # SQL may be anything
    except (psycopg2.Error, TypeError, ValueError, AttributeError, IndexError):
        return _NONE


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
