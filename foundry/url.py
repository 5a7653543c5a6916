"""Database URLs: what they mean, which TLS they get, and how to speak of them without a secret.

Pure: the environment comes in as an argument, and nothing here opens a connection or a file.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from urllib.parse import quote

import psycopg2
from psycopg2.extensions import parse_dsn

from foundry.errors import ConnectionFailed, DatabaseMissing, InvalidURL

_SCHEME = re.compile(r"([a-z][a-z0-9+.-]{0,30})://", re.IGNORECASE)
_SCHEMES = {"postgresql", "postgres"}
_SECRETS = frozenset(
    {"password", "sslpassword", "oauth_client_secret", "scram_client_key", "scram_server_key"}
)
_ENCODE = (
    "percent-encode @ : / ? # and % in its user, password and database name, "
    "and use only parameters of libpq"
)

# A dead peer is noticed within a minute, also while a request is on its way: without
# tcp_user_timeout the first query after a lost route hangs for the kernel's 15 minutes.
_DEFAULTS = {
    "keepalives": "1",
    "keepalives_idle": "30",
    "keepalives_interval": "10",
    "keepalives_count": "3",
    "tcp_user_timeout": "30000",
}


class Params(Mapping[str, str]):
    """Connection parameters by their libpq names; printing them shows the names only."""

    __slots__ = ("_values",)

    def __init__(self, values: Mapping[str, str]) -> None:
        self._values = dict(values)

    def __getitem__(self, name: str) -> str:
        return self._values[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._values)

    def __len__(self) -> int:
        return len(self._values)

    def __repr__(self) -> str:
        return f"Params({', '.join(sorted(self._values))})"


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class Target:
    """One database and how to reach it; neither `repr` nor `describe` shows a secret.

    `source` is "argument", "DATABASE_URL", ".env" or "embedded"; `where` and `user` are what
    libpq will use, the environment included.
    """

    dbname: str
    source: str
    params: Mapping[str, str]
    where: str = "the local socket"
    user: str = ""

    def describe(self) -> str:
        """One line for people: which database, where, as whom, and who said so."""
        name = f'database "{self.dbname}"' if self.dbname else "the service's database"
        if self.source == "embedded":
            return f"{name} on {self.where}"
        user = f' as "{self.user}"' if self.user else ""
        notes = [f"from {'the URL given' if self.source == 'argument' else self.source}"]
        mode = self.params.get("sslmode")
        if mode:
            notes.append("plaintext" if mode == "disable" else f"TLS {mode}")
        return f"{name} on {self.where}{user} ({', '.join(notes)})"

    def scrubbed(self, text: str) -> str:
        """`text` with every secret of this target replaced, also in its percent-encoded form."""
        for name in _SECRETS & set(self.params):
            secret = self.params[name]
            for form in (secret, quote(secret, safe=""), quote(secret)):
                text = text.replace(form, "***") if form else text
        return text

    def __repr__(self) -> str:
        return f"<Target {self.describe()}>"


def parse(url: str, *, source: str, environ: Mapping[str, str], roots: str = "system") -> Target:
    """The target a URL names, with TLS and time-outs filled in; raises InvalidURL.

    `roots` is what stands for sslrootcert=system, a file where libpq cannot find them itself.
    What the URL leaves open is libpq's to fill in (PGHOST, PGPASSWORD, ~/.pgpass, services).
    """
    named = _parameters(_checked(url.strip(), source), source)
    params = {**_DEFAULTS, **named, "client_encoding": "utf8"}
    if "PGCONNECT_TIMEOUT" not in environ:
        params.setdefault("connect_timeout", "10")
    params.update(_tls(params, environ, roots))
    user = params.get("user") or environ.get("PGUSER", "")
    service = "service" in params or "PGSERVICE" in environ
    fallback = "" if service else user
    dbname = params.get("dbname") or environ.get("PGDATABASE") or fallback
    return Target(
        dbname=dbname,
        source=source,
        params=Params(params),
        where=_place(params, environ),
        user=user,
    )


def _checked(url: str, source: str) -> str:
    """`url` with libpq's scheme, or InvalidURL where libpq would guess or quote a secret."""
    told = spoken(source)
    if not url:
        raise InvalidURL(f"{told} is empty: write postgresql://user:password@host:5432/database")
    scheme = _SCHEME.match(url)
    if scheme is None:
        raise InvalidURL(
            f"{told} has no scheme: write postgresql://user:password@host:5432/database"
        )
    if scheme[1].lower() not in _SCHEMES:
        raise InvalidURL(f'{told} has the scheme "{scheme[1]}": use postgresql:// or postgres://')
    rest = url[scheme.end() :]
    # An unencoded @ or / in a password makes libpq take its tail for the host or the
    # database, which later messages name: "pa@ss@host" is the host "ss@host".
    before, at, after = rest.partition("?")[0].partition("@")
    misread = "@" in after or (at and "/" in before)
    if misread or any(ord(c) < 32 or ord(c) == 127 for c in url):
        raise InvalidURL(f"{told} cannot be read: {_ENCODE}")
    return f"postgresql://{rest}"


def _parameters(url: str, source: str) -> dict[str, str]:
    try:
        params: dict[str, str] = {k: v for k, v in parse_dsn(url).items() if v != ""}
    except (psycopg2.Error, ValueError):
        # libpq's text quotes the URL, so neither it nor the exception goes any further.
        raise InvalidURL(f"{spoken(source)} cannot be read: {_ENCODE}") from None
    ports = params.get("port", "").split(",")
    if not all(not port or _is_port(port) for port in ports):
        # Not named: in "postgresql://app:secret" the port is the password.
        raise InvalidURL(f"{spoken(source)} has a port that is not between 1 and 65535")
    return params


def _is_port(text: str) -> bool:
    return text.isascii() and text.isdigit() and 0 < int(text[:9]) < 65536


def _tls(params: Mapping[str, str], environ: Mapping[str, str], roots: str) -> dict[str, str]:
    """TLS for a host that is not local: verified, unless the URL itself says otherwise."""
    mode = params.get("sslmode", "prefer")
    if is_local(params, environ):
        return {}
    # prefer and allow fall back to plaintext in silence; PGSSLMODE is not the URL's word.
    tls = {"sslmode": "verify-full"} if mode in {"prefer", "allow"} else {}
    named = params.get("sslrootcert") or environ.get("PGSSLROOTCERT") or "system"
    if tls.get("sslmode", mode) == "verify-full" and named == "system":
        tls["sslrootcert"] = roots
    return tls


def is_local(params: Mapping[str, str], environ: Mapping[str, str]) -> bool:
    """Whether every host named is this machine: a socket, localhost or a loopback address.

    A service file may name any host, so a service is never local; a name that stands beside
    a loopback `hostaddr` (a tunnel) claims to be another host and is verified as one.
    """
    if "service" in params or "PGSERVICE" in environ:
        return False
    hosts = params.get("host") or environ.get("PGHOST", "")
    addresses = params.get("hostaddr") or environ.get("PGHOSTADDR", "")
    return all(_is_local_host(host) for host in f"{hosts},{addresses}".split(","))


def _is_local_host(host: str) -> bool:
    if not host or host[0] in "/@" or host.lower() == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _place(params: Mapping[str, str], environ: Mapping[str, str]) -> str:
    hosts = (
        params.get("host")
        or environ.get("PGHOST")
        or params.get("hostaddr")
        or environ.get("PGHOSTADDR")
    )
    service = params.get("service") or environ.get("PGSERVICE")
    if not hosts:
        return f'the host of service "{service}"' if service else "the local socket"
    ports = (params.get("port") or environ.get("PGPORT") or "5432").split(",")
    names = hosts.split(",")
    ports = ports * len(names) if len(ports) == 1 else ports
    return ", ".join(
        f'socket "{host}/.s.PGSQL.{port or 5432}"'
        if host[:1] in {"/", "@"}
        else f"[{host}]:{port or 5432}"
        if ":" in host
        else f"{host or 'localhost'}:{port or 5432}"
        for host, port in zip(names, ports, strict=False)
    )


_LINE = re.compile(r"\s*(?:export\s+)?DATABASE_URL\s*=[^\S\n]*(.*)")
_QUOTED = re.compile(r"""(?:'([^']*)'|"((?:[^"\\]|\\.)*)")\s*(?:#.*)?""")


def from_dotenv(text: str) -> str | None:
    """The value of DATABASE_URL in the text of a .env file; the last one wins, empty is None.

    Nothing is expanded or run; a reference to another variable raises InvalidURL.
    """
    values = [m[1] for m in map(_LINE.fullmatch, text.removeprefix("\ufeff").splitlines()) if m]
    return _dotenv_value(values[-1].strip()) or None if values else None


def _dotenv_value(raw: str) -> str:
    quoted = _QUOTED.fullmatch(raw)
    if quoted and quoted[1] is not None:
        return quoted[1].strip()
    if not quoted and raw[:1] in {'"', "'"}:
        raise InvalidURL('DATABASE_URL in ".env" has a quote that is not closed at its end')
    value = re.sub(r"\\(.)", r"\1", quoted[2]) if quoted else re.split(r"(?:^|\s)#", raw)[0]
    if "${" in value:
        raise InvalidURL(
            'DATABASE_URL in ".env" refers to another variable, which is not expanded: '
            "write the value out"
        )
    return value.strip()


def spoken(source: str) -> str:
    """How a message calls the place a URL came from."""
    names = {"argument": "the database URL", ".env": 'DATABASE_URL in ".env"'}
    return names.get(source, source)


# What the server and libpq say (English), and what to do about it; the first match wins, so
# a server's answer goes before the network errors of the other hosts in a list.
_ADVICE: tuple[tuple[str, str], ...] = (
    (
        r'database ".*" does not exist|no such database',
        'database "{dbname}" does not exist on {where}: '
        "run `python -m foundry.migrate up --create-database`, or create it",
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
        'user "{user}" may not connect to database "{dbname}" on {where}: '
        'GRANT CONNECT ON DATABASE "{dbname}" TO "{user}"',
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
        r"could not translate host name",
        "no such host: {where}; correct the host in {told}",
    ),
    (
        r"connection refused",
        "no server answers on {where}: start it, or correct host and port in {told}",
    ),
    (
        r"on socket .*: No such file or directory",
        "no server answers on {where}: start it, or name its host in {told}",
    ),
    (
        r"timeout expired|timed out|No route to host|Network is unreachable",
        "{where} did not answer in time: check the host in {told}, the network and the firewall",
    ),
)


def missing(target: Target, dbname: str) -> DatabaseMissing:
    """The error for a server that answers and has no such database."""
    return DatabaseMissing(_filled(_ADVICE[0][1], target, dbname))


def denied(target: Target, dbname: str) -> ConnectionFailed:
    """The error for a role without CONNECT."""
    template = next(advice for pattern, advice in _ADVICE if pattern.startswith("permission"))
    return ConnectionFailed(_filled(template, target, dbname))


def explained(text: str, target: Target, *, dbname: str) -> ConnectionFailed | None:
    """The one line for a driver's connection error, or None for a text that is not known."""
    for position, (pattern, advice) in enumerate(_ADVICE):
        if re.search(pattern, text, re.IGNORECASE):
            if position == 0:
                return missing(target, dbname)
            return ConnectionFailed(_filled(advice, target, dbname))
    return None


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
