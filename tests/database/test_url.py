"""What a URL means; no database."""

from __future__ import annotations

from pathlib import Path

import pytest

from foundry.database import resolve
from foundry.errors import InvalidURL
from foundry.url import Params, from_dotenv, is_local, parse

CANARY = "s3cr3t-canäry"


@pytest.mark.parametrize("scheme", ["postgresql", "postgres", "PostgreSQL"])
def test_both_schemes_mean_the_same(scheme: str) -> None:
    """postgres:// and postgresql:// give one target, percent-encoding undone."""
    target = parse(f"{scheme}://app:p%40ss%2F@localhost/my%20db", source="argument", environ={})
    assert "my db" == target.dbname
    assert "p@ss/" == target.params["password"]
    assert "localhost:5432" == target.where


@pytest.mark.parametrize(
    ("url", "part"),
    [
        ("", "is empty"),
        ("host=db dbname=x", "has no scheme"),
        ("mysql://app@db/x", 'has the scheme "mysql"'),
        ("postgresql+psycopg2://app@db/x", 'has the scheme "postgresql+psycopg2"'),
        ("postgresql://app@db:99999/x", "between 1 and 65535"),
        ("postgresql://app@db/x%00", "percent-encode"),
        ("postgresql://app@db/x?schema=public", 'unknown parameter "schema"'),
        ("postgresql://app@db/x?sslmode=require&foo=bar", 'unknown parameter "foo"'),
        ("postgresql://app@db/x?SSLMODE=require", 'unknown parameter "SSLMODE"'),
        ("postgresql://app@db/x?%66oo=bar", 'unknown parameter "foo"'),
        ("postgresql://app@db/x?sslmode", "cannot be read"),
        ("postgresql://app@db/x?f-o=bar", "cannot be read"),
        (f"postgresql://app@db/x?{'f' * 31}=bar", "cannot be read"),
        (
            "postgresql://app@db/x?sslmode=nonsense",
            "is one of disable, allow, prefer, require, verify-ca, verify-full",
        ),
        ("postgresql://", "names neither database nor user"),
        ("postgresql://localhost", "names neither database nor user"),
    ],
)
def test_an_unusable_url_is_refused_in_one_line(url: str, part: str) -> None:
    """The line names the fault."""
    with pytest.raises(InvalidURL) as caught:
        parse(url, source="argument", environ={})
    assert part in str(caught.value)
    assert 1 == len(str(caught.value).splitlines())


def test_the_newline_of_a_pasted_url_is_no_fault() -> None:
    """Space around a URL is not part of it."""
    assert "x" == parse(" postgresql://app@db/x\n", source="argument", environ={}).dbname


@pytest.mark.parametrize(
    "url",
    [
        f"postgresql://app:{CANARY}@x@db.example.org/x",
        f"postgresql://app:x@{CANARY}@db.example.org/x",
        f"postgresql://app:x/{CANARY}@db.example.org/x",
        f"postgresql://app:{CANARY}%2@db.example.org/x",
        f"postgresql://app:{CANARY}@db.example.org:port/x",
        f"postgresql://app:{CANARY}",
        f"postgresql://app:x?{CANARY}",
        f"postgresql://app:x?{CANARY}=1",
        f"postgresql://app:{CANARY}?foo=bar",
        f"postgresql://app:x@db/x?sslmode={CANARY}",
        f"postgresql://app:{CANARY}%00@db/x",
        f"postgresql://app:{CANARY}\x00@db/x",
        f"postgresql://app:{CANARY}\udc80@db/x",
        f"app:{CANARY}@db/x",
        f"postgresql:/app:{CANARY}@db/x",
    ],
)
def test_a_url_that_cannot_be_read_is_not_quoted(url: str) -> None:
    """Neither the message nor anything chained to it holds a piece of the URL."""
    with pytest.raises(InvalidURL) as caught:
        parse(url, source="argument", environ={})
    assert CANARY not in str(caught.value)
    assert caught.value.__cause__ is None
    assert caught.value.__suppress_context__ or caught.value.__context__ is None


@pytest.mark.parametrize(
    "url",
    [
        "postgresql://app:x?canary=1",
        "postgresql://app:x?canary=1@db/x",
        "postgresql://app:x?canary@db/x",
        "postgresql://app:canary@db:x/x?foo=bar",
    ],
)
def test_a_word_of_a_password_is_not_taken_for_a_parameter(url: str) -> None:
    """With an unencoded ? in a password its tail looks like one."""
    with pytest.raises(InvalidURL) as caught:
        parse(url, source="argument", environ={})
    assert "canary" not in str(caught.value)


@pytest.mark.parametrize("query", ["ssl=true", "sslmode=require&keepalives=0", "%73slmode=require"])
def test_what_libpq_reads_is_accepted(query: str) -> None:
    """Also its one word of other drivers' and an encoded name."""
    target = parse(f"postgresql://app@db/x?{query}", source="argument", environ={})
    assert "require" == target.params["sslmode"]


@pytest.mark.parametrize(
    ("url", "environ", "user", "dbname"),
    [
        ("postgresql://", {"PGUSER": "eve", "PGDATABASE": "d"}, "eve", "d"),
        ("postgresql://", {"PGUSER": "eve"}, "eve", "eve"),
        ("postgresql://", {}, "me", "me"),
        ("postgresql://app@db", {"PGUSER": "eve"}, "app", "app"),
        ("postgresql:///x", {}, "me", "x"),
        ("postgresql://?service=s", {}, "", ""),
    ],
)
def test_a_url_without_names_means_what_libpq_takes_it_for(
    url: str, environ: dict[str, str], user: str, dbname: str
) -> None:
    """PGUSER, then the account; PGDATABASE, then the user. A service has names of its own."""
    target = parse(url, source="argument", environ=environ, account="me")
    assert (user, dbname) == (target.user, target.dbname)


@pytest.mark.parametrize(
    ("url", "environ", "local"),
    [
        ("postgresql:///x", {}, True),
        ("postgresql:///x?host=/run/pg", {}, True),
        ("postgresql://LocalHost/x", {}, True),
        ("postgresql://127.8.0.1/x", {}, True),
        ("postgresql://[::1]/x", {}, True),
        ("postgresql://127.0.0.1,localhost/x", {}, True),
        ("postgresql://127.0.0.1,db.example.org/x", {}, False),
        ("postgresql://10.0.0.1/x", {}, False),
        ("postgresql://127.0.0.1.example.org/x", {}, False),
        ("postgresql://localhost/x?hostaddr=10.0.0.1", {}, False),
        ("postgresql://db.example.org/x?hostaddr=127.0.0.1", {}, False),
        ("postgresql:///x", {"PGHOST": "db.example.org"}, False),
        ("postgresql://localhost/x", {"PGHOST": "db.example.org"}, True),
        ("postgresql://localhost/x", {"PGHOSTADDR": "10.0.0.1"}, False),
        ("postgresql:///x?service=s", {}, False),
        ("postgresql:///x", {"PGSERVICE": "s"}, False),
    ],
)
def test_only_this_machine_is_local(url: str, environ: dict[str, str], local: bool) -> None:
    """A host that may be elsewhere is not local, whoever names it."""
    target = parse(url, source="argument", environ=environ)
    assert local == is_local(target.params, environ)
    assert local == ("sslmode" not in target.params)


@pytest.mark.parametrize(
    ("query", "environ", "mode", "roots"),
    [
        ("", {}, "verify-full", "system"),
        ("?sslmode=prefer", {}, "verify-full", "system"),
        ("?sslmode=allow", {}, "verify-full", "system"),
        ("?sslmode=require", {}, "require", None),
        ("?sslmode=verify-ca", {}, "verify-ca", None),
        ("?sslmode=verify-full", {}, "verify-full", "system"),
        ("?sslmode=disable", {}, "disable", None),
        ("?sslrootcert=/ca.crt", {}, "verify-full", "/ca.crt"),
        ("", {"PGSSLMODE": "disable"}, "verify-full", "system"),
        ("", {"PGSSLROOTCERT": "/ca.crt"}, "verify-full", None),
    ],
)
def test_a_remote_host_gets_tls_unless_the_url_says_disable(
    query: str, environ: dict[str, str], mode: str, roots: str | None
) -> None:
    """Plaintext takes the URL's own word; weaker words than require are lifted."""
    target = parse(f"postgres://db.example.org/x{query}", source="argument", environ=environ)
    assert mode == target.params["sslmode"]
    assert roots == target.params.get("sslrootcert")


def test_a_target_describes_itself_without_its_password() -> None:
    """Database, place, user, source and TLS in one line; repr and params add no secret."""
    target = parse(
        f"postgres://app:{CANARY}@db.example.org/foundry", source="DATABASE_URL", environ={}
    )
    expected = (
        'database "foundry" on db.example.org:5432 as "app" (from DATABASE_URL, TLS verify-full)'
    )
    assert expected == target.describe()
    assert CANARY == target.params["password"]
    for text in (repr(target), str(target), repr(target.params), f"{target.params}"):
        assert CANARY not in text


def test_what_the_url_leaves_open_is_described_from_the_environment() -> None:
    """PGHOST, PGPORT, PGUSER and PGDATABASE are what libpq will use."""
    environ = {"PGHOST": "/run/pg", "PGPORT": "6000", "PGUSER": "eve", "PGDATABASE": "d"}
    target = parse("postgresql://", source="argument", environ=environ)
    expected = 'database "d" on socket "/run/pg/.s.PGSQL.6000" as "eve" (from the URL given)'
    assert expected == target.describe()


def test_params_are_a_mapping() -> None:
    """Equality, membership and length are those of a mapping."""
    assert Params({"a": "1"}) == {"a": "1"}
    assert 1 == len(Params({"a": "1"}))


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("", None),
        ("OTHER=1\n", None),
        ("DATABASE_URL=\n", None),
        ("DATABASE_URL=''\n", None),
        ("DATABASE_URL=  # later\n", None),
        ("#DATABASE_URL=a\n", None),
        ("MY_DATABASE_URL=a\n", None),
        ("DATABASE_URL=a\n", "a"),
        ("DATABASE_URL=a", "a"),
        ("\ufeffDATABASE_URL=a\r\nB=2\r\n", "a"),
        ("  export  DATABASE_URL = a  \n", "a"),
        ("DATABASE_URL=a#b # why\n", "a#b"),
        ("DATABASE_URL='a # b' # why\n", "a # b"),
        ('DATABASE_URL="a\\"b"\n', 'a"b'),
        ("DATABASE_URL='${A}'\n", "${A}"),
        ("DATABASE_URL=a\nDATABASE_URL=b\n", "b"),
        ("DATABASE_URL=$(touch x)\n", "$(touch x)"),
    ],
)
def test_the_dotenv_line_is_read_as_others_read_it(text: str, value: str | None) -> None:
    """export, quotes, comments, CRLF and a byte order mark; nothing is run."""
    assert value == from_dotenv(text)


@pytest.mark.parametrize(
    "line",
    [f'DATABASE_URL="{CANARY}', f"DATABASE_URL='{CANARY}' x", f"DATABASE_URL={CANARY}${{A}}"],
)
def test_a_dotenv_line_that_cannot_be_read_is_refused_and_not_quoted(line: str) -> None:
    """A lost quote or a reference to another variable is an error, not a strange password."""
    with pytest.raises(InvalidURL, match=r'in "\.env"') as caught:
        from_dotenv(line)
    assert CANARY not in str(caught.value)


def test_the_first_place_that_names_a_database_wins(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """The argument goes before DATABASE_URL, which goes before .env."""
    (tmp_path / ".env").write_text("DATABASE_URL=postgresql://localhost/from_file\n")
    monkeypatch.setenv("DATABASE_URL", "postgresql://localhost/from_environment")
    assert "argument" == resolve("postgresql://localhost/a").source
    assert "from_environment" == resolve().dbname
    monkeypatch.delenv("DATABASE_URL")
    assert (".env", "from_file") == (resolve().source, resolve().dbname)


def test_a_bad_setting_fails_and_never_falls_through(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """DATABASE_URL with a fault is an error although .env holds a good one."""
    (tmp_path / ".env").write_text("DATABASE_URL=postgresql://localhost/x\n")
    monkeypatch.setenv("DATABASE_URL", "sqlite:///x")
    with pytest.raises(InvalidURL, match=r"^DATABASE_URL has the scheme"):
        resolve()
    with pytest.raises(InvalidURL, match="the database URL is empty"):
        resolve("")
    for empty in ("", "  "):
        monkeypatch.setenv("DATABASE_URL", empty)
        with pytest.raises(InvalidURL, match=r"^DATABASE_URL is empty: .*, or unset it$"):
            resolve()


def test_a_dotenv_that_is_no_text_is_one_line(tmp_path: Path) -> None:
    """Bytes that are not UTF-8 are refused; the exception does not carry them."""
    (tmp_path / ".env").write_bytes(b"DATABASE_URL=postgresql://a:\xff@h/x")
    with pytest.raises(InvalidURL, match="not UTF-8") as caught:
        resolve()
    assert caught.value.__suppress_context__


def test_system_roots_are_a_file_that_libpq_can_open(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """The wheel's OpenSSL cannot find the system's roots, so their file is named."""
    bundle = tmp_path / "roots.crt"
    bundle.touch()
    monkeypatch.setenv("SSL_CERT_FILE", str(bundle))
    assert str(bundle) == resolve("postgresql://db.example.org/x").params["sslrootcert"]
