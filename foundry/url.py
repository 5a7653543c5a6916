"""Database URLs: what they mean, which TLS they get, and how to speak of them without a secret.

Pure: the environment comes in as an argument, and nothing here opens a connection or a file.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from urllib.parse import quote, unquote

import psycopg2
from psycopg2.extensions import parse_dsn

from foundry.errors import InvalidURL

_SCHEME = re.compile(r"([a-z][a-z0-9+.-]{0,30})://", re.IGNORECASE)
_SCHEMES = {"postgresql", "postgres"}
_SECRETS = frozenset(
    {"password", "sslpassword", "oauth_client_secret", "scram_client_key", "scram_server_key"}
)
_SSLMODES = ("disable", "allow", "prefer", "require", "verify-ca", "verify-full")
_EXAMPLE = "postgresql://user:password@host:5432/database"
_ENCODE = (
    "percent-encode @ : / ? # and % in its user, password and database name, "
    "and use only parameters of libpq"
)

# Empty on purpose: it keeps the variable of that name away, which is meant for another server.
_MAY_BE_EMPTY = frozenset(
    {"hostaddr", "options", "require_auth", "requirepeer", "ssl_max_protocol_version"}
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


def parse(
    url: str, *, source: str, environ: Mapping[str, str], roots: str = "system", account: str = ""
) -> Target:
    """The target a URL names, with TLS and time-outs filled in; raises InvalidURL.

    `roots` is what stands for sslrootcert=system, a file where libpq cannot find them itself;
    `account` is the operating system's user. What the URL leaves open is libpq's to fill in
    (PGHOST, PGPASSWORD, ~/.pgpass, services): the user is PGUSER, else `account`; the database
    PGDATABASE, else the user's name.
    """
    named = _parameters(_checked(url.strip(), source), source)
    params = {**_DEFAULTS, **named, "client_encoding": "utf8"}
    if "PGCONNECT_TIMEOUT" not in environ:
        params.setdefault("connect_timeout", "10")
    params.update(_tls(params, environ, roots))
    service = "service" in params or "PGSERVICE" in environ
    user = params.get("user") or environ.get("PGUSER") or ("" if service else account)
    dbname = params.get("dbname") or environ.get("PGDATABASE") or ("" if service else user)
    if not dbname and not service:
        raise InvalidURL(f"{spoken(source)} names neither database nor user: write {_EXAMPLE}")
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
        unset = ", or unset it" if source == "DATABASE_URL" else ""
        raise InvalidURL(f"{told} is empty: write {_EXAMPLE}{unset}")
    scheme = _SCHEME.match(url)
    if scheme is None:
        raise InvalidURL(f"{told} has no scheme: write {_EXAMPLE}")
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
    # First without the query: in "app:secret?word=x" the fault is the port, and a name after
    # the question mark may be a piece of a password.
    head, _, query = url.partition("?")
    _read(head, source)
    if "@" not in query:
        _check_names(query, source)
    params = _read(url, source)
    if params.get("sslmode", "prefer") not in _SSLMODES:
        raise InvalidURL(f"sslmode in {spoken(source)} is one of {', '.join(_SSLMODES)}")
    return params


def _check_names(query: str, source: str) -> None:
    for item in query.split("&"):
        name, equals, value = item.partition("=")
        name = unquote(name)
        shown = re.fullmatch(r"[A-Za-z_]{1,30}", name)
        # libpq's URLs, and only they, know ssl=true.
        if shown and equals and not _is_parameter(name) and (name, value) != ("ssl", "true"):
            raise InvalidURL(
                f'{spoken(source)} has the unknown parameter "{name}": '
                "use only parameters of libpq, with an & between them"
            )


def _is_parameter(name: str) -> bool:
    try:
        parse_dsn(f"{name}=''")
    except psycopg2.Error:
        return False
    return True


def _read(url: str, source: str) -> dict[str, str]:
    try:
        found: dict[str, str] = parse_dsn(url)
    except (psycopg2.Error, ValueError):
        # libpq's text quotes the URL, so neither it nor the exception goes any further.
        raise InvalidURL(f"{spoken(source)} cannot be read: {_ENCODE}") from None
    params = {k: v for k, v in found.items() if v != "" or k in _MAY_BE_EMPTY}
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
    addresses = params.get("hostaddr", environ.get("PGHOSTADDR", ""))
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
        or params.get("hostaddr", environ.get("PGHOSTADDR"))
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
