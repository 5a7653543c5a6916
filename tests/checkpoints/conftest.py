"""A schema with the functions and the view in it, and MessagePack read the obvious way."""

from __future__ import annotations

import base64
import json
import math
import os
import shutil
import struct
import tempfile
import uuid
from collections.abc import Callable, Iterator
from decimal import Decimal
from importlib import resources
from pathlib import Path
from typing import Any, TypeAlias

import psycopg2
import pytest

JSON: TypeAlias = "bool | int | float | str | list[JSON] | dict[str, JSON] | None"
MARKS = {"type", "base64", "text_base64", "ext", "undecodable", "opaque"}


@pytest.fixture(scope="session")
def url() -> Iterator[str]:
    """`DATABASE_URL`, else the embedded server's in a folder of this run."""
    if given := os.environ.get("DATABASE_URL"):
        yield given
        return
    from foundry import embedded

    data = Path(tempfile.mkdtemp(prefix="foundry-checkpoints-"))
    data.chmod(0o755)
    try:
        yield embedded.acquire(data).url("postgres")
    finally:
        embedded.stop(data)
        shutil.rmtree(data)


@pytest.fixture(scope="session")
def schema(url: str) -> Iterator[str]:
    """The name of a schema of this run, with the decoder in it."""
    name = f"checkpoints_{uuid.uuid4().hex}"
    connection = psycopg2.connect(url)
    connection.autocommit = True
    with connection.cursor() as cursor:
        cursor.execute(f"create schema {name}")
        cursor.execute(f"set search_path = {name}")
        for statement in _statements("msgpack.sql"):
            cursor.execute(statement)
        yield name
        cursor.execute("set client_min_messages = error")
        cursor.execute(f"drop schema {name} cascade")
    connection.close()


@pytest.fixture(scope="session")
def view_statements() -> list[str]:
    """What makes the view on tables that are there."""
    return _statements("checkpoint_view.sql")


@pytest.fixture
def cursor(url: str, schema: str) -> Iterator[Any]:
    """A cursor whose work is rolled back."""
    connection = psycopg2.connect(url, options=f"-csearch_path={schema}")
    with connection.cursor() as cursor:
        yield cursor
    connection.close()


@pytest.fixture
def read(cursor: Any) -> Callable[[bytes], JSON]:
    """MessagePack as the server reads it."""

    def read(blob: bytes) -> JSON:
        cursor.execute("select foundry_msgpack(%s)::text", (blob,))
        return plain(cursor.fetchone()[0])

    return read


@pytest.fixture(scope="session")
def means() -> Callable[[bytes, JSON], bool]:
    """Whether that is what the reference reads in a blob."""

    def means(blob: bytes, found: JSON) -> bool:
        return equal(decoded(blob), found)

    return means


def _statements(file: str) -> list[str]:
    text = resources.files("foundry").joinpath("schema", "sql", file).read_text("utf-8")
    return text.split("\n-- ;;\n")


def decoded(blob: bytes) -> JSON:
    """The JSON of one whole MessagePack value."""
    value, end = _value(blob, 0)
    assert len(blob) == end
    return value


def plain(text: str) -> JSON:
    """JSON text as Python values."""
    value: JSON = json.loads(text)
    return value


def equal(wanted: JSON, found: JSON) -> bool:
    """Equal, where a double may be written with any digits that give the same double."""
    match wanted:
        case float():
            return isinstance(found, (int, float)) and wanted == float(found)
        case list():
            return (
                isinstance(found, list)
                and len(wanted) == len(found)
                and all(map(equal, wanted, found))
            )
        case dict():
            return (
                isinstance(found, dict)
                and wanted.keys() == found.keys()
                and all(equal(wanted[key], found[key]) for key in wanted)
            )
        case _:
            return type(wanted) is type(found) and wanted == found


def encoded(data: bytes) -> str:
    """Base64 on one line."""
    return base64.b64encode(data).decode()


def _value(blob: bytes, at: int) -> tuple[JSON, int]:
    code = blob[at]
    at += 1
    if code < 0x80:
        return code, at
    if code >= 0xE0:
        return code - 256, at
    if code in (0xC0, 0xC2, 0xC3):
        return {0xC0: None, 0xC2: False, 0xC3: True}[code], at
    if code in NUMBERS:
        size = struct.calcsize(NUMBERS[code])
        return _number(struct.unpack(NUMBERS[code], blob[at : at + size])[0]), at + size
    kind, size, at = _header(blob, code, at)
    if kind in "am":
        return _container(blob, kind, size, at)
    if kind == "x":
        return _extension(blob[at], blob[at + 1 : at + 1 + size]), at + 1 + size
    part = blob[at : at + size]
    return (_text(part) if kind == "s" else {"$base64": encoded(part)}), at + size


NUMBERS = dict(zip(range(0xCA, 0xD4), (">f", ">d", *(f">{c}" for c in "BHIQbhiq")), strict=True))
LENGTHS = {
    **{0xC4 + i: ("bbbxxx"[i], (1, 2, 4)[i % 3]) for i in range(6)},
    **{0xD9 + i: ("sssaamm"[i], (1, 2, 4, 2, 4, 2, 4)[i]) for i in range(7)},
}


def _header(blob: bytes, code: int, at: int) -> tuple[str, int, int]:
    if code in LENGTHS:
        kind, size = LENGTHS[code]
        return kind, int.from_bytes(blob[at : at + size], "big"), at + size
    if 0xD4 <= code <= 0xD8:
        return "x", 1 << (code - 0xD4), at
    if code < 0xA0:
        return ("m" if code < 0x90 else "a"), code & 15, at
    return "s", code & 31, at


def _number(value: Any) -> JSON:
    if isinstance(value, int):
        return value
    if math.isfinite(value):
        return float(value)
    return "NaN" if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"


def _text(part: bytes) -> JSON:
    return {"$text_base64": encoded(part)} if 0 in part else part.decode()


def _container(blob: bytes, kind: str, size: int, at: int) -> tuple[JSON, int]:
    items: list[JSON] = []
    for _ in range(size * (2 if kind == "m" else 1)):
        item, at = _value(blob, at)
        items.append(item)
    if kind == "a":
        return items, at
    return {_key(k): v for k, v in zip(items[::2], items[1::2], strict=True)}, at


def _key(key: JSON) -> str:
    if isinstance(key, str):
        return f"${key}" if key[:1] == "$" and key.lstrip("$") in MARKS else key
    return _jsonb_text(key)


def _jsonb_text(value: JSON) -> str:
    match value:
        case list():
            return f"[{', '.join(map(_jsonb_text, value))}]"
        case dict():
            keys = sorted(value, key=lambda k: (len(k.encode()), k.encode()))
            return f"{{{', '.join(f'{_jsonb_text(k)}: {_jsonb_text(value[k])}' for k in keys)}}}"
        case float():
            return format(Decimal(repr(abs(value) if value == 0 else value)), "f")
        case _:
            return json.dumps(value, ensure_ascii=False)


def _extension(code: int, payload: bytes) -> JSON:
    if code > 7 or not payload:
        return {"$ext": code - 256 if code > 127 else code, "$base64": encoded(payload)}
    value = decoded(payload)
    if code > 5:
        names = ("numpy.ndarray", "langgraph.checkpoint.serde.types._DeltaSnapshot")
        return {"$type": names[code - 6], "value": value}
    assert isinstance(value, list)
    made = {"$type": f"{value[0]}.{value[1]}"}
    argument = value[2]
    if code in (2, 4, 5) and isinstance(argument, dict):
        return {**made, **argument}
    return {**made, "value": argument}
