"""Connection errors in one line: what happened, where, and what to do about it."""

from __future__ import annotations

import re

from foundry.errors import ConnectionFailed, DatabaseMissing
from foundry.url import Target, spoken

_MISSING = (
    'database "{dbname}" does not exist on {where}: '
    "run `python -m foundry.migrate up --create-database`, or create it"
)
_DENIED = (
    'user "{user}" may not connect to database "{dbname}" on {where}: '
    'GRANT CONNECT ON DATABASE "{dbname}" TO "{user}"'
)

# What the server, libpq and asyncpg say (English), and what to do about it; the first match wins,
# so a server's answer goes before the network errors of the other hosts in a list.
_ADVICE: tuple[tuple[str, str], ...] = (
    (
        r'database ".*" does not exist|no such database',
        _MISSING,
    ),
    (
        r"password authentication failed|SASL authentication failed",
        'wrong password for user "{user}" on {where}, or no such user: '
        "correct user and password in {told}",
    ),
    (
        r"no password supplied",
        '{where} asks for the password of user "{user}": write it in {told} or ~/.pgpass',
    ),
    (
        r"(?:peer|ident) authentication failed",
        '{where} lets user "{user}" in only from the operating system account of that name: '
        "name host and password in {told}, or change its pg_hba.conf",
    ),
    (
        r'role ".*" does not exist|no such user',
        'role "{user}" does not exist on {where}: create it, or correct the user in {told}',
    ),
    (
        r'role ".*" is not permitted to log in',
        'role "{user}" may not log in on {where}: ALTER ROLE "{user}" LOGIN',
    ),
    (
        r"no pg_hba\.conf entry|pg_hba\.conf rejects",
        '{where} does not let user "{user}" connect to database "{dbname}" from here: '
        "add a line to its pg_hba.conf, or use TLS if it asks for that",
    ),
    (
        r"permission denied for database",
        _DENIED,
    ),
    (
        r"No space left on device",
        "the disk of {where} is full: free some space there and try again",
    ),
    (
        r"too many clients|too many connections|remaining connection slots|no more connections",
        "{where} has no free connection: close some, lower pool_size or raise its max_connections",
    ),
    (
        r"the database system is (?:starting up|shutting down|in recovery|not yet accepting)",
        "{where} is starting up or shutting down: try again in a moment",
    ),
    (
        r"server does not support SSL",
        "{where} has no TLS: turn it on there (ssl = on), "
        "or add sslmode=disable to {told} to send everything in plaintext",
    ),
    (
        r'server certificate for ".*" .*does not match host name',
        "the certificate of {where} is for another name: use that name as the host in {told}",
    ),
    (
        r"certificate verify failed|root certificate file .* does not exist",
        "the certificate of {where} cannot be verified: "
        "name its authority with sslrootcert=FILE in {told}",
    ),
    (
        r"could not translate host name|^\[Errno (?:-\d+|8)\]",
        "no such host: {where}; correct the host in {told}",
    ),
    (
        r"connection refused|\[Errno (?:61|111)\] Connect call failed",
        "no server answers on {where}: start it, or correct host and port in {told}",
    ),
    (
        r"on socket .*: No such file or directory|^\[Errno 2\] No such file or directory$",
        "no server answers on {where}: start it, or name its host in {told}",
    ),
    (
        r"timeout expired|timed out|^TimeoutError$|No route to host|Network is unreachable",
        "{where} did not answer in time: check the host in {told}, the network and the firewall",
    ),
)


def missing(target: Target, dbname: str) -> DatabaseMissing:
    """The error for a server that answers and has no such database."""
    return DatabaseMissing(_filled(_MISSING, target, dbname))


def denied(target: Target, dbname: str) -> ConnectionFailed:
    """The error for a role without CONNECT."""
    return ConnectionFailed(_filled(_DENIED, target, dbname))


def explained(text: str, target: Target, *, dbname: str) -> ConnectionFailed | None:
    """The one line for a driver's connection error, or None for a text that is not known."""
    found = (advice for said, advice in _ADVICE if re.search(said, text, re.IGNORECASE))
    advice = next(found, None)
    if advice is None:
        return None
    kind = DatabaseMissing if advice is _MISSING else ConnectionFailed
    return kind(_filled(advice, target, dbname))


def unexplained(text: str, target: Target, *, dbname: str) -> ConnectionFailed:
    """The error for any other text: its first line, without secrets."""
    lines = [line.strip() for line in target.scrubbed(text).splitlines() if line.strip()]
    reason = lines[0] if lines else "no reason given"
    return ConnectionFailed(f'no connection to database "{dbname}" on {target.where}: {reason}')


def _filled(template: str, target: Target, dbname: str) -> str:
    user = target.user or "(the operating system's)"
    told = spoken(target.source)
    line = template.format(dbname=dbname, user=user, where=target.where, told=told)
    return " ".join(line.split())
