"""What the models want, as a Snapshot: the server builds it in namespaces that never last.

One transaction that is rolled back. Live tables are read, never locked for more: what the
models refer to and do not cover is there as an empty copy. SQL that names a namespace would
get around that, so models with such SQL are built in a throw-away database instead.
"""

from __future__ import annotations

import re
import secrets
from bisect import bisect_right
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from typing import Any

import psycopg2
from peewee import Model
from psycopg2 import errors, sql

from foundry.declare import Schema
from foundry.errors import MigrationError, NoScratch
from foundry.migrate import catalog
from foundry.migrate.declared import bind_with
from foundry.migrate.failure import told
from foundry.migrate.objects import Column, Constraint, Index, Namespace
from foundry.migrate.parts import parts_of
from foundry.migrate.plain import known
from foundry.migrate.portion import portion
from foundry.migrate.recorded import Parts, Record, dumped, loaded
from foundry.migrate.scratch import scratch
from foundry.migrate.script import Script, Setting, Statement, write
from foundry.migrate.snapshot import Snapshot
from foundry.migrate.steps import Managed, Renames
from foundry.migrate.wants import finished, managed_by, renames_of
from foundry.migrate.wording import naming_of

_SURROUNDINGS = """
SELECT pg_catalog.current_schema(), pg_catalog.current_schemas(false),
       ARRAY(SELECT n.nspname::text FROM pg_catalog.pg_namespace AS n
             WHERE n.nspname NOT IN ('pg_catalog', 'information_schema')
               AND n.nspname !~ '^pg_(toast|temp)'),
       ARRAY(SELECT e.extname::text FROM pg_catalog.pg_extension AS e)
"""
_RELATIONS = """
SELECT n.nspname, c.relname FROM pg_catalog.pg_class AS c
JOIN pg_catalog.pg_namespace AS n ON n.oid = c.relnamespace
WHERE c.relkind IN ('r', 'p', 'f') AND n.nspname = ANY (%s)
"""
_AVAILABLE = """
SELECT e.name FROM pg_catalog.pg_available_extensions AS e
WHERE e.name = ANY (%s) AND e.installed_version IS NULL
"""
# Tables of others that are locked for more than reading.
_REACHED = """
SELECT c.oid FROM pg_catalog.pg_locks AS l
JOIN pg_catalog.pg_class AS c ON c.oid = l.relation
JOIN pg_catalog.pg_namespace AS n ON n.oid = c.relnamespace
WHERE l.pid = pg_catalog.pg_backend_pid() AND l.mode <> 'AccessShareLock'
  AND l.database = (SELECT oid FROM pg_catalog.pg_database
                    WHERE datname = pg_catalog.current_database())
  AND c.relkind IN ('r', 'p', 'm', 'f') AND n.nspname <> ALL (%s)
  AND n.nspname !~ '^(pg_|information_schema$)'
"""
_LINE = re.compile(r"inline_code_block\D+(\d+)")
_LOCK_TIMEOUT = "5s"
# What a role may be unable to do here and able to do on another server.
_ELSEWHERE = (errors.InsufficientPrivilege, errors.ReadOnlySqlTransaction)

Recall = Callable[[], "tuple[str, str] | None"]
"""Return the digest and the text that `record` made the last time."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """What the models want, what they say was renamed and what they answer for."""

    snapshot: Snapshot
    renames: Renames
    managed: Managed


def wanted(
    database: Any,
    schema: Schema | Sequence[type[Model]],
    *,
    live: Snapshot,
    externals: Mapping[str, bool] | None = None,
    options: Iterable[str] = (),
    dev_url: str | None = None,
    recall: Recall = lambda: None,
) -> Wanted:
    """Have the server of `database` say what it makes of the models; nothing stays there.

    `live` is what is there now; `externals` and `options` are as `requirements.missing`
    takes them; `recall` returns what `record` made the last time, if it was kept.
    MigrationError names the model whose SQL the server refused.
    """
    if not isinstance(schema, Schema):
        schema = Schema(models=tuple(schema), whole=False)
    setting = _setting(database, schema, externals=externals or {}, options=tuple(options))
    script = write(setting, schema, live=live)
    managed, snapshot = managed_by(script, schema), None
    if not _names_namespace(script, setting):
        parts = parts_of(script, _surroundings(database, script, live))
        snapshot = _by_record(database, script, parts, recall(), live)
    if snapshot is None or _mistakes(snapshot, managed):
        script = write(setting.with_real_names(), schema, live=live)
        snapshot = _in_scratch(database, script, dev_url)
    return Wanted(
        snapshot=finished(snapshot, script, live=live, managed=managed),
        renames=renames_of(script, schema, live=live),
        managed=managed,
    )


def record(
    database: Any,
    schema: Schema,
    *,
    live: Snapshot,
    externals: Mapping[str, bool],
    options: Iterable[str] = (),
    recall: Recall = lambda: None,
) -> tuple[str, str] | None:
    """Return the digest of everything the server is told, and as text what it makes of it.

    None when `recall` has it under that digest already, or the server lets nobody build here.
    """
    setting = _setting(database, schema, externals=externals, options=tuple(options))
    script = write(setting, schema, live=live)
    if _names_namespace(script, setting):
        return None
    parts, kept = parts_of(script, _surroundings(database, script, live)), recall()
    if kept is not None and kept[0] == parts.whole:
        return None
    made = _by_record(database, script, parts, kept, live)
    return (parts.whole, dumped(Record(snapshot=made, parts=parts))) if made is not None else None


def _by_record(
    database: Any, script: Script, parts: Parts, kept: tuple[str, str] | None, live: Snapshot
) -> Snapshot | None:
    """Take from a record what it has, or what is known of plain tables; build the rest.

    None where nobody can build.
    """
    record = loaded(kept[1]) if kept is not None else None
    if kept is not None and record is not None and kept[0] == parts.whole:
        return record.snapshot
    found = _beside(database, script, parts, record)
    if found is None:
        found = _beside(database, script, parts, _plain(database, script, parts, live))
    return found or _in_shadow(database, script)


def _beside(database: Any, script: Script, parts: Parts, record: Record | None) -> Snapshot | None:
    """Build what a record has not; None where all has to be built."""
    part = portion(script, parts, record) if record is not None else None
    if part is None:
        return None
    # Where one table is refused all of them are built: the answer is the same then.
    with suppress(MigrationError):
        answer = _nothing_built(part.script) or _in_shadow(database, part.script)
        return part.merged(answer) if answer is not None else None
    return None


def _nothing_built(script: Script) -> Snapshot | None:
    """Return what is there before the first statement; None where there is a statement."""
    if script.statements or script.extensions:
        return None
    return Snapshot.of(Namespace(name=name) for name in script.setting.naming.stands_for)


def _plain(database: Any, script: Script, parts: Parts, live: Snapshot) -> Record | None:
    if catalog.is_meddled_with(database):
        return None
    snapshot, places = known(script, live)
    tables = {place: number for place, number in parts.tables.items() if place in places}
    return Record(snapshot=snapshot, parts=replace(parts, tables=tables))


def _surroundings(database: Any, script: Script, live: Snapshot) -> Iterator[str]:
    yield catalog.surroundings(database)
    # What copies are made of.
    for place in sorted(script.stubs):
        for kind in (Column, Constraint, Index):
            yield repr(live.of_table(kind, place))


def _setting(
    database: Any, schema: Schema, *, externals: Mapping[str, bool], options: tuple[str, ...]
) -> Setting:
    cursor = database.execute_sql(_SURROUNDINGS)
    default, path, namespaces, extensions = cursor.fetchone()
    if default is None:
        raise MigrationError("no namespace of search_path exists: create one of them")
    setting = Setting.of(
        schema,
        database=database,
        bind=bind_with(database.cursor()),
        default=default,
        path=tuple(path),
        token=f"foundry_shadow_{secrets.token_hex(6)}",
        externals=externals,
        options=options,
        namespaces=frozenset(namespaces),
        extensions=frozenset(extensions),
    )
    found = database.execute_sql(_RELATIONS, (sorted(setting.naming.stands_for),)).fetchall()
    return replace(setting, tables=frozenset((namespace, name) for namespace, name in found))


def _names_namespace(script: Script, setting: Setting) -> bool:
    pattern = naming_of(setting.namespaces | set(setting.naming.stands_for))
    return any(pattern.search(s.sql) for s in script.statements if s.raw)


def _mistakes(snapshot: Snapshot, managed: Managed) -> bool:
    """True when a call was taken for that of a function that goes, since it is still there."""
    return any(
        key[:3] in managed.names and key not in snapshot
        for thing in snapshot
        for key in (*getattr(thing, "functions", ()), *getattr(thing, "depends", ()))
        if key[0] == "function"
    )


@contextmanager
def _rolled_back(database: Any) -> Iterator[None]:
    with database.atomic() as transaction:
        try:
            yield
        finally:
            transaction.rollback()


def _in_shadow(database: Any, script: Script) -> Snapshot | None:
    """Build in shadow namespaces; None when this role or server lets nobody create them."""
    naming, path = script.setting.naming, script.setting.path
    tokens = {token: real for real, token in naming.stands_for.items()}
    shadows = tuple(dict.fromkeys((*(naming.stands_for.get(name, name) for name in path), *path)))
    with _rolled_back(database):
        cursor = database.cursor()
        try:
            _run(cursor, script.extensions)
            for token in tokens:
                cursor.execute(sql.SQL("CREATE SCHEMA {}").format(sql.Identifier(token)))
        except _ELSEWHERE:
            return None
        found = _built(database, cursor, script, tokens=tokens, path=shadows)
        cursor.execute(_REACHED, (list(tokens),))
        # Whatever the SQL did to get there: in a database of its own there is nothing to reach.
        return None if cursor.fetchall() else found


def _in_scratch(database: Any, script: Script, dev_url: str | None) -> Snapshot:
    """Build under the real names in a database of its own."""
    target = getattr(database, "target", None)
    if target is None:
        raise NoScratch("models whose SQL names a namespace need a database opened by foundry")
    naming = script.setting.naming
    with scratch(target, dev_url=dev_url) as empty, _rolled_back(empty):
        cursor = empty.cursor()
        for name in naming.stands_for:
            made = sql.SQL("CREATE SCHEMA IF NOT EXISTS {}").format(sql.Identifier(name))
            cursor.execute(made)
        cursor.execute("SELECT pg_catalog.set_config('search_path', %s, true)", (naming.default,))
        cursor.execute(_AVAILABLE, (sorted(script.all_extensions),))
        for (name,) in cursor.fetchall():
            made = sql.SQL("CREATE EXTENSION {} CASCADE").format(sql.Identifier(name))
            cursor.execute(made)
        names = {name: name for name in naming.stands_for}
        return _built(empty, cursor, script, tokens=names, path=(naming.default,))


def _built(
    database: Any, cursor: Any, script: Script, *, tokens: Mapping[str, str], path: Sequence[str]
) -> Snapshot:
    written = sql.SQL(", ").join(map(sql.Identifier, path)).as_string(cursor)
    cursor.execute(
        "SELECT pg_catalog.set_config('search_path', %s, true),"
        " pg_catalog.set_config('lock_timeout', %s, true),"
        " pg_catalog.set_config('check_function_bodies', 'off', true)",
        (written, _LOCK_TIMEOUT),
    )
    _run(cursor, script.statements)
    return catalog.read(database, tokens, search_path=path)


def _run(cursor: Any, statements: Sequence[Statement]) -> None:
    """Run statements in one round trip; MigrationError says which one the server refused.

    Inside DO none of them can end the transaction, and the server says which line failed.
    """
    if not statements:
        return
    begins, lines, line = [], [], 2
    for statement in statements:
        text = sql.Literal(statement.sql).as_string(cursor)
        begins.append(line)
        lines.append(f"EXECUTE {text};")
        line += text.count("\n") + 1
    tag = f"$foundry_{secrets.token_hex(6)}$"
    try:
        cursor.execute(f"DO {tag}BEGIN\n" + "\n".join(lines) + f"\nEND{tag}")
    except _ELSEWHERE:
        raise
    except psycopg2.Error as error:
        found = _LINE.search(error.diag.context or "")
        label = "the declared schema"
        if found:
            label = statements[max(0, bisect_right(begins, int(found.group(1))) - 1)].label
        if isinstance(error, errors.OutOfMemory):
            # 53200: the lock table of the server is full.
            raise MigrationError(f"the models cannot be built: {told(error)}") from error
        said = error.diag.message_primary or type(error).__name__
        hint = f" ({error.diag.message_hint})" if error.diag.message_hint else ""
        raise MigrationError(f"{label}: the server refuses it: {said}{hint}") from error
