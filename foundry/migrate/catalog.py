"""A database's catalog, read into a Snapshot."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from peewee import Database, OperationalError
from psycopg2 import errors

from foundry.errors import LockTimeout
from foundry.migrate import queries
from foundry.migrate.assemble import assemble
from foundry.migrate.reading import Reading, Row, called
from foundry.migrate.snapshot import Snapshot

_QUERIES = (
    "extensions",
    "enums",
    "sequences",
    "relations",
    "columns",
    "constraints",
    "indexes",
    "functions",
    "triggers",
    "policies",
    "grants",
    "dependencies",
    "others",
)


def read(
    database: Database, namespaces: Mapping[str, str], *, search_path: Sequence[str]
) -> Snapshot:
    """Read every object of some namespaces, by a fixed number of statements.

    `namespaces` are names in the server and the names they stand for: the same ones, or those of
    throw-away namespaces, which are replaced in every text. `search_path` is of names in the
    server; those of its first namespace print without it. Runs in the caller's transaction, or
    in one of its own, and leaves no setting behind. Extensions are those of the whole database.
    """
    with _settings(database, search_path):
        names = {"names": list(namespaces), "real": list(namespaces.values())}
        rows: dict[str, Sequence[Row]] = {"spaces": _rows(database, "spaces", **names)}
        spaces = [row[0] for row in rows["spaces"]]
        for name in _QUERIES:
            rows[name] = _rows(database, name, spaces=spaces)
        functions = {f for row in rows["columns"] if row[8] is not None for f in called(row[8])}
        rows["volatile"] = _rows(database, "volatile", functions=list(functions))
    spellings = {row[3]: row[4] for row in rows["spaces"]}
    default = search_path[0] if search_path else ""
    return Snapshot.of(assemble(Reading(rows, text=renaming(spellings), default=default)))


def namespaces(database: Database) -> tuple[str, ...]:
    """Return the names of all namespaces but the server's own and those of extensions."""
    return tuple(row[0] for row in _rows(database, "namespaces"))


def default_namespace(database: Database) -> str:
    """Return the namespace that unqualified names are created in; "public" where there is none."""
    (found,) = database.execute_sql("SELECT current_schema()").fetchone()
    return str(found or "public")


def server_version(database: Database) -> int:
    """Return the server's version as it compares: 180006 is 18.6."""
    (found,) = database.execute_sql("SHOW server_version_num").fetchone()
    return int(found)


def is_meddled_with(database: Database) -> bool:
    """True where event triggers, default privileges or publications have a say in CREATE."""
    (found,) = database.execute_sql(queries.text("meddlers"), ()).fetchone()
    return bool(found)


def surroundings(database: Database) -> str:
    """Return a number for what decides, beside its SQL, how the server makes a table."""
    (found,) = database.execute_sql(queries.text("catalog_surroundings"), ()).fetchone()
    return str(found)


@contextmanager
def _settings(database: Database, search_path: Sequence[str]) -> Iterator[None]:
    # What is set after a savepoint is undone with it, after an error too.
    with database.atomic(), database.savepoint() as point:
        try:
            _rows(database, "path", path=list(search_path))
            yield
        except OperationalError as error:
            if isinstance(error.__cause__ or error.__context__, errors.LockNotAvailable):
                raise LockTimeout(
                    "another session has locked a table whose definition is to be read: run it "
                    "again when that one is done"
                ) from error
            raise
        finally:
            point.rollback(begin=False)


def _rows(database: Database, name: str, **parameters: Any) -> list[Row]:
    return list(database.execute_sql(queries.text(f"catalog_{name}"), parameters).fetchall())


def renaming(spellings: Mapping[str, str]) -> Callable[[str], str]:
    """Return what replaces names in printed SQL; both sides are spelled as PostgreSQL does.

    Only whole names are replaced, in string constants too (of type regclass, say), where a
    quote in the name is doubled; and in the bodies of functions.
    """
    changed = {old: new for old, new in spellings.items() if old != new}
    if not changed:
        return str
    # Bodies of functions are as somebody wrote them, with quotes that a name does not need.
    changed = {_quoted(old): _quoted(new) for old, new in changed.items()} | changed
    words = "|".join(re.escape(old) for old in changed if not old.startswith('"'))
    word = rf"(?<![\w$])(?:{words})(?![\w$])" if words else r"(?!)"
    lexer = re.compile(
        rf"""(?P<name>"(?:[^"]|"")*"|{word})|'(?P<constant>(?:[^']|'')*)'"""
        r"""|(?P<quote>\$(?:[^\W\d]\w*)?\$)(?P<body>.*?)(?P=quote)""",
        re.S,
    )
    bare = re.compile(rf'"(?:[^"]|"")*"|{word}')

    def inside(text: str) -> str:
        return bare.sub(lambda found: changed.get(found[0], found[0]), text)

    def replaced(found: re.Match[str]) -> str:
        if found["name"] is not None:
            return changed.get(found["name"], found["name"])
        if found["constant"] is not None:
            constant = inside(found["constant"].replace("''", "'"))
            return "'" + constant.replace("'", "''") + "'"
        return found["quote"] + inside(found["body"]) + found["quote"]

    bare_names = tuple(old.strip('"') for old in changed)

    def renamed(text: str) -> str:
        if any(old in text for old in bare_names):
            return lexer.sub(replaced, text)
        return text

    return renamed


def _quoted(name: str) -> str:
    return name if name.startswith('"') else f'"{name}"'
