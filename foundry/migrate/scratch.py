"""Throw-away databases: empty, like the one of the target, and gone afterwards."""

from __future__ import annotations

import re
import secrets
import subprocess
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass, replace

import psycopg2
from peewee import PostgresqlDatabase
from psycopg2 import sql
from psycopg2.extensions import connection

from foundry.database import Database, Target, open_connection, resolve
from foundry.errors import DatabaseMissing, EmbeddedError, FoundryError, NoScratch

_NAME = re.compile(r"foundry_scratch_([0-9a-f]{8,})_[0-9a-f]{8}")
# Between its creation and its first session; afterwards the session says that a run lives.
_MINUTE = 60

_LIKE = """
SELECT current_setting('server_version_num')::int / 10000,
       pg_catalog.pg_encoding_to_char(d.encoding), d.datcollate, d.datctype,
       CASE d.datlocprovider WHEN 'i' THEN 'icu' WHEN 'b' THEN 'builtin' ELSE 'libc' END,
       coalesce(to_jsonb(d) ->> 'datlocale', to_jsonb(d) ->> 'daticulocale', '')
FROM pg_catalog.pg_database AS d WHERE d.datname = pg_catalog.current_database()
"""

_LEFT = """
SELECT d.datname, extract(epoch FROM now())::bigint
FROM pg_catalog.pg_database AS d
WHERE d.datname LIKE 'foundry\\_scratch\\_%'
  AND pg_catalog.pg_has_role(d.datdba, 'MEMBER')
  AND NOT EXISTS (SELECT FROM pg_catalog.pg_stat_activity AS a WHERE a.datid = d.oid)
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Kind:
    """What a database must share with the target for SQL to mean the same in it."""

    major: int
    encoding: str
    collate: str
    ctype: str
    provider: str
    locale: str

    def create(self, name: str) -> sql.Composed:
        parts = [
            sql.SQL("CREATE DATABASE {} TEMPLATE template0").format(sql.Identifier(name)),
            sql.SQL("ENCODING {}").format(sql.Literal(self.encoding)),
            sql.SQL("LC_COLLATE {}").format(sql.Literal(self.collate)),
            sql.SQL("LC_CTYPE {}").format(sql.Literal(self.ctype)),
            sql.SQL("LOCALE_PROVIDER {}").format(sql.SQL(self.provider)),
        ]
        if self.locale and self.provider != "libc":
            word = sql.SQL("ICU_LOCALE" if self.provider == "icu" else "BUILTIN_LOCALE")
            parts.append(sql.SQL("{} {}").format(word, sql.Literal(self.locale)))
        return sql.SQL(" ").join(parts)


@contextmanager
def scratch(target: Target, *, dev_url: str | None = None) -> Iterator[PostgresqlDatabase]:
    """An empty database of the target's server version, encoding and locale; dropped at the end.

    It is made on the server of `dev_url` when one is given; else on the target's, where its
    role may create databases; else on the embedded server. NoScratch says why none of them
    will do. What a killed run left is dropped by a later one.
    """
    with closing(open_connection(target)) as conn:
        kind = _kind(conn)
    home, name = _made(target, kind, dev_url)
    database = Database(
        replace(home, dbname=name, params={**home.params, "dbname": name}), pool_size=1
    )
    try:
        database.connect()
        yield database
    finally:
        with suppress(psycopg2.Error):
            database.close_all()
        _drop(home, name)


def _kind(conn: connection) -> _Kind:
    with conn.cursor() as cursor:
        cursor.execute(_LIKE)
        row = cursor.fetchone()
    assert row is not None
    names = ("major", "encoding", "collate", "ctype", "provider", "locale")
    return _Kind(**dict(zip(names, row, strict=True)))


def _made(target: Target, kind: _Kind, dev_url: str | None) -> tuple[Target, str]:
    places: Mapping[str, Callable[[], Target]]
    if dev_url is not None:
        places = {"the server of --dev-url": lambda: resolve(dev_url)}
    else:
        places = {
            target.where: lambda: target,
            "the embedded server": lambda: _embedded(kind.major),
        }
    reasons = []
    for place, found in places.items():
        try:
            home = found()
            return home, _create(home, kind)
        except (FoundryError, psycopg2.Error) as error:
            reasons.append(f"{place}: {_reason(error, target)}")
    raise NoScratch(
        f"no throw-away database can be made ({'; '.join(reasons)}): "
        "name a server for it with --dev-url"
    )


def _reason(error: Exception, target: Target) -> str:
    text = str(error)
    if isinstance(error, psycopg2.Error):
        text = error.diag.message_primary or "unknown"
    return target.scrubbed(text.splitlines()[0] if text else type(error).__name__)


def _create(home: Target, kind: _Kind) -> str:
    with closing(_maintenance(home)) as conn, conn.cursor() as cursor:
        major = conn.server_version // 10000
        if major != kind.major:
            raise NoScratch(f"it is PostgreSQL {major}, the database's is {kind.major}")
        _drop_leftovers(conn)
        cursor.execute("SELECT extract(epoch FROM now())::bigint")
        row = cursor.fetchone()
        assert row is not None
        name = f"foundry_scratch_{row[0]:08x}_{secrets.token_hex(4)}"
        cursor.execute(kind.create(name))
    return name


def _drop_leftovers(conn: connection) -> None:
    with conn.cursor() as cursor:
        cursor.execute(_LEFT)
        for name, now in cursor.fetchall():
            found = _NAME.fullmatch(name)
            if found and now - int(found.group(1), 16) > _MINUTE:
                # Another run may be dropping it, too.
                with suppress(psycopg2.Error):
                    cursor.execute(_dropping(name))


def _drop(home: Target, name: str) -> None:
    with closing(_maintenance(home)) as conn, conn.cursor() as cursor:
        cursor.execute(_dropping(name))


def _dropping(name: str) -> sql.Composed:
    statement = sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)")
    return statement.format(sql.Identifier(name))


def _maintenance(home: Target) -> connection:
    try:
        return open_connection(home, dbname="postgres")
    except DatabaseMissing:
        return open_connection(home, dbname=home.dbname)


def _embedded(major: int) -> Target:
    from foundry import embedded

    said = subprocess.run(
        [embedded.pg_tool("postgres"), "--version"], capture_output=True, text=True, check=False
    ).stdout
    found = re.search(r"(\d+)", said)
    # Found out before it is started: a server of another version would be of no use.
    if found is None or int(found.group()) != major:
        raise EmbeddedError(f"it is {said.strip() or 'of an unknown version'}")
    server = embedded.acquire()
    return resolve(server.url())
