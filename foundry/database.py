"""`connect()`: finds the database, opens a pool on it and binds the models."""

from __future__ import annotations

import logging
import os
import sys
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import peewee
import psycopg2
from psycopg2 import errors, sql
from psycopg2.extensions import connection, libpq_version

from foundry.errors import ConnectionFailed, DatabaseMissing, InvalidURL
from foundry.pool import Database, open_connection
from foundry.url import Params, Target, from_dotenv, parse, spoken

if sys.platform != "win32":
    import pwd

__all__ = [
    "Database",
    "Target",
    "connect",
    "create_database",
    "open_connection",
    "proxy",
    "resolve",
]

logger = logging.getLogger("foundry")

#: The models of foundry.schema are bound to this; `connect()` gives it a database.
proxy: peewee.DatabaseProxy = peewee.DatabaseProxy()

# Where operating systems keep the roots they trust, as one file.
_SYSTEM_ROOTS = (
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/ssl/ca-bundle.pem",
    "/etc/ssl/cert.pem",
)


def connect(
    url: str | None = None,
    *,
    bind: bool = True,
    env_file: str | Path = ".env",
    pool_size: int = 20,
    max_overflow: int = 10,
    pool_timeout: float = 30,
    pool_recycle: float = 3600,
) -> Database:
    """A pool on the database of `url`, else DATABASE_URL, else `env_file`, else embedded.

    One connection is made at once, so that errors come here; `db.target` and the log of
    "foundry" say which database it is. `bind` gives it to the models, in place of an earlier one.
    """
    db = Database(
        resolve(url, env_file=env_file),
        pool_size=pool_size,
        max_overflow=max_overflow,
        pool_timeout=pool_timeout,
        pool_recycle=pool_recycle,
    )
    db.connect()
    db.close()
    if bind:
        proxy.initialize(db)
    logger.info("connected to %s", db.target.describe())
    return db


def resolve(url: str | None = None, *, env_file: str | Path = ".env") -> Target:
    """The database that `url`, DATABASE_URL, `env_file` or else the embedded server means.

    An unusable setting raises InvalidURL and never falls through. So does an empty
    DATABASE_URL, which a misspelt `export DATABASE_URL=$NAME` leaves; an empty line in
    `env_file`, as in a file of examples, counts as absent. The embedded server is started and
    its database made when they are not there.
    """
    if url is not None:
        return _parsed(url, "argument")
    from_environment = os.environ.get("DATABASE_URL")
    if from_environment is not None:
        return _parsed(from_environment, "DATABASE_URL")
    from_file = _read(Path(env_file))
    if from_file:
        return _parsed(from_file, ".env")
    return _embedded()


def create_database(target: Target) -> bool:
    """Creates the database of `target`, UTF-8; False when it was there.

    Needs CREATEDB and the right to connect to "postgres" or "template1".
    """
    with closing(_maintenance(target)) as conn, conn.cursor() as cursor:
        cursor.execute("SELECT FROM pg_catalog.pg_database WHERE datname = %s", (target.dbname,))
        if cursor.rowcount:
            return False
        # template0: any locale may be combined with UTF8 only there, and nobody can be
        # connected to it, which would make CREATE DATABASE fail.
        statement = sql.SQL("CREATE DATABASE {} ENCODING 'UTF8' TEMPLATE template0")
        try:
            cursor.execute(statement.format(sql.Identifier(target.dbname)))
        except (errors.DuplicateDatabase, errors.UniqueViolation):
            return False
        except psycopg2.Error as error:
            raise _not_created(error, target) from error
    return True


def _maintenance(target: Target) -> connection:
    try:
        return open_connection(target, dbname="postgres")
    except DatabaseMissing:
        return open_connection(target, dbname="template1")


def _not_created(error: psycopg2.Error, target: Target) -> ConnectionFailed:
    what = f'database "{target.dbname}" cannot be created on {target.where}'
    if isinstance(error, errors.InsufficientPrivilege):
        user = target.user or "the user"
        return ConnectionFailed(
            f'{what}: ALTER ROLE "{user}" CREATEDB, or let an administrator create it'
        )
    return ConnectionFailed(f"{what}: {target.scrubbed(error.diag.message_primary or 'unknown')}")


def _parsed(url: str, source: str) -> Target:
    target = parse(url, source=source, environ=os.environ, roots=_roots(), account=_account_name())
    if target.params.get("sslrootcert") == "system" and libpq_version() < 160000:
        raise InvalidURL(
            "the system's root certificates are not found: "
            f"name the authority with sslrootcert=FILE in {spoken(source)}"
        )
    return target


def _account_name() -> str:
    """The name libpq takes for a user that nobody named; empty where the account has none."""
    if sys.platform == "win32":
        return os.environ.get("USERNAME", "")
    try:
        return pwd.getpwuid(os.geteuid()).pw_name
    except KeyError:
        return ""


def _roots() -> str:
    """What to give libpq as the system's root certificates.

    A file where there is one: the OpenSSL inside psycopg2-binary's wheel looks for them in the
    folder it was built in, so "system" finds none there.
    """
    if os.environ.get("SSL_CERT_DIR") and not os.environ.get("SSL_CERT_FILE"):
        return "system"
    files = (os.environ.get("SSL_CERT_FILE"), *_SYSTEM_ROOTS)
    return next((file for file in files if file and Path(file).is_file()), "system")


def _read(env_file: Path) -> str | None:
    if not env_file.is_file():
        return None
    try:
        return from_dotenv(env_file.read_text(encoding="utf-8"))
    except UnicodeDecodeError:
        # The exception holds the file's bytes.
        raise InvalidURL('".env" is not UTF-8 text: save it as UTF-8') from None
    except OSError as error:
        raise InvalidURL(f'".env" cannot be read: {error.strerror}') from error


def _embedded() -> Target:
    from foundry import embedded
    from foundry.cluster import shield

    server = embedded.acquire()
    target = parse(server.url(), source="embedded", environ={})
    return replace(
        target,
        params=Params({**target.params, **shield(), "port": str(server.port)}),
        where=f"the embedded server, PostgreSQL {server.version} (data in {server.data})",
    )
