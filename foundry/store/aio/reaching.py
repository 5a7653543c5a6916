"""Connections of asyncpg to what a URL names, and what goes wrong in one line."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from typing import Any, TypeVar
from urllib.parse import quote

import asyncpg

from foundry import explain
from foundry.errors import ConnectionFailed
from foundry.url import Target

_T = TypeVar("_T")

# What asyncpg reads from a URL only; all other parameters are arguments of their own, so that
# none of libpq's reaches the server as a setting.
_TLS = (
    "sslmode",
    "sslcert",
    "sslkey",
    "sslpassword",
    "sslrootcert",
    "sslcrl",
    "sslnegotiation",
    "ssl_min_protocol_version",
    "ssl_max_protocol_version",
)
_SAME = ("user", "password", "passfile", "service", "target_session_attrs", "krbsrvname")
# Before Python 3.11 a time-out of asyncio is not Python's own, which is an OSError.
_FAILED = (
    asyncpg.PostgresError,
    asyncpg.InterfaceError,
    OSError,
    ValueError,
    asyncio.TimeoutError,
)
_SETTINGS = ("application_name", "options")


class Arguments(dict[str, Any]):
    """Arguments of asyncpg; printing them shows the names only."""

    def __repr__(self) -> str:
        return f"Arguments({', '.join(sorted(self))})"


def arguments(target: Target) -> Arguments:
    """What asyncpg needs to reach a target as libpq would."""
    params = target.params
    tls = "&".join(f"{n}={quote(params[n], safe='')}" for n in _TLS if params.get(n))
    # A certificate is checked against the name, which asyncpg has no address beside.
    address = "" if params.get("sslmode") == "verify-full" else params.get("hostaddr", "")
    found = Arguments(
        dsn=f"postgresql://?{tls}",
        database=target.dbname,
        # libpq's own variable says "gssapi" too, but also "gss", which asyncpg refuses.
        gsslib="gssapi",
        server_settings={n: params[n] for n in _SETTINGS if params.get(n)},
        timeout=float(params.get("connect_timeout", "0")) or 60.0,
        **{name: params[name] for name in _SAME if params.get(name)},
    )
    hosts = address or params.get("host", "")
    if hosts:
        found["host"] = hosts.split(",")
    ports = [int(port or 5432) for port in params.get("port", "").split(",")]
    if "port" in params:
        found["port"] = ports * len(hosts.split(",")) if len(ports) == 1 else ports
    if target.user and "service" not in params:
        found.setdefault("user", target.user)
    return found


async def reached(target: Target, connecting: Awaitable[_T]) -> _T:
    """Its result, or one line: the frames of asyncpg hold the password."""
    try:
        return await connecting
    except _FAILED as error:
        said = " ".join(target.scrubbed(str(error)).split()) or type(error).__name__
        known = explain.explained(said, target, dbname=target.dbname)
    raise known or ConnectionFailed(
        f"asyncpg cannot connect to {target.describe()}: {said}"
    ) from None
