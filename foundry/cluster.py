"""What a server works on: data folder, account, cluster, pid file and the folder of its socket."""

from __future__ import annotations

import errno
import hashlib
import os
import re
import shutil
import stat
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Literal
from urllib.parse import quote

from foundry.binaries import Account, provide_binaries, run_program
from foundry.errors import EmbeddedError
from foundry.supervisor import is_postmaster

if sys.platform != "win32":
    import pwd

#: The database the server is made with.
DATABASE = "foundry"
_SHIELD = {"hostaddr": "", "options": "", "sslmode": "disable", "gssencmode": "disable"}
# Named only where the variable is set: an older libpq refuses parameters it does not know,
# and does not know the variable either.
_SHIELD_IF_SET = {
    "PGREQUIREAUTH": ("require_auth", ""),
    "PGCHANNELBINDING": ("channel_binding", "disable"),
    "PGTARGETSESSIONATTRS": ("target_session_attrs", "any"),
    "PGSSLNEGOTIATION": ("sslnegotiation", "postgres"),
    "PGLOADBALANCEHOSTS": ("load_balance_hosts", "disable"),
    "PGSSLCERTMODE": ("sslcertmode", "disable"),
    "PGSSLMINPROTOCOLVERSION": ("ssl_min_protocol_version", "TLSv1.2"),
    "PGSSLMAXPROTOCOLVERSION": ("ssl_max_protocol_version", ""),
    "PGREQUIREPEER": ("requirepeer", ""),
}


def shield() -> dict[str, str]:
    """Connection parameters that keep a user's PG* variables away from this server.

    They were meant for another: they would lead there, or ask for what this one cannot do.
    """
    if os.environ.get("PGSERVICE"):
        # libpq has no parameter that would say "no service".
        raise EmbeddedError("PGSERVICE is set: unset it, or name the database in DATABASE_URL")
    asked = {name: value for env, (name, value) in _SHIELD_IF_SET.items() if env in os.environ}
    return {**_SHIELD, **asked}


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
        url = f"postgresql://postgres@/{quote(dbname, safe='')}?host={quote(str(self.socket))}"
        # A shell takes an "&" for its own, so the port stands there only where libpq would not
        # arrive at it by itself.
        default = os.environ.get("PGPORT") or "5432"
        return url if default == str(self.port) else f"{url}&port={self.port}"

    def lock(self, name: Literal["start", "users", "supervisor", "server"]) -> Path:
        """One of the four lock files that `foundry.embedded` explains."""
        return self.cluster.with_suffix(".locks") / name


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


def make_folder(folder: Path, mode: int | None = None) -> None:
    """Makes the folder and its parents; those that were there keep their modes."""
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


def prepare(folder: Path, source: Path) -> tuple[Server, Account | None]:
    """The server of this folder and who runs it when the caller is root.

    Where the server's account cannot run `source`, a copy is made in the folder.
    """
    bindir, version = provide_binaries(source, folder, None)
    cluster = folder / f"pg{version.partition('.')[0]}"
    account = account_for(cluster)
    if account:
        check_entrance(folder, account)
        bindir, version = provide_binaries(bindir, folder, account)
    uid = account.uid if account else os.geteuid()
    if cluster.exists() and cluster.stat().st_uid != uid:
        raise EmbeddedError(f'"{cluster}" belongs to another account: set "FOUNDRY_DATA"')
    socket = socket_folder(cluster, uid)
    return Server(data=folder, bindir=bindir, socket=socket, version=version), account


def socket_folder(cluster: Path, uid: int) -> Path:
    """Where the server of this cluster has its socket; short, whatever the data folder's path is.

    The address of a socket has 104 bytes on macOS, and $TMPDIR takes half of them there.
    """
    return Path("/tmp", f"foundry-{uid}-{hashlib.sha256(os.fsencode(cluster)).hexdigest()[:8]}")


def has_socket_folder(socket: Path) -> bool:
    """Whether the folder is there; one in /tmp that somebody else made first is an error."""
    try:
        found = os.lstat(socket)
    except FileNotFoundError:
        return False
    uid = int(socket.name.split("-")[1])
    if _is_closed_folder(found) and found.st_uid == uid:
        return True
    raise EmbeddedError(
        f'"{socket}" is not a folder of account {uid} with mode 0700, so somebody else may '
        "listen there: remove it"
    )


def _is_closed_folder(found: os.stat_result) -> bool:
    return stat.S_ISDIR(found.st_mode) and found.st_mode & 0o777 == 0o700


def make_socket_folder(socket: Path, account: Account | None) -> None:
    """Makes the folder, or takes the one a killed server left, without its sockets."""
    with suppress(FileExistsError):
        os.mkdir(socket, 0o700)
    found = os.lstat(socket)
    if account and found.st_uid == 0 and _is_closed_folder(found):
        os.chown(socket, account.uid, account.gid, follow_symlinks=False)
    if has_socket_folder(socket):
        for path in socket.glob(".s.PGSQL.*"):
            path.unlink()


def clear_leftovers(server: Server) -> None:
    """Removes what a killed server left behind; nobody of ours lives, we hold the locks."""
    pidfile = server.cluster / "postmaster.pid"
    pid = number_in(pidfile)
    if pid and is_postmaster(pid, server.cluster):
        raise EmbeddedError(
            f'process {pid} is a server on "{server.cluster}" that foundry did not start: stop it'
        )
    pidfile.unlink(missing_ok=True)


def number_in(path: Path) -> int:
    """The process number in the first line; 0 for a missing, empty or broken file."""
    try:
        return int(path.read_bytes().split(b"\n")[0])
    except (FileNotFoundError, ValueError):
        return 0


def initialise(server: Server, account: Account | None, start: int) -> None:
    """Makes the cluster where there is none; `start` is the descriptor of the start lock."""
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
        shutil.rmtree(unfinished, ignore_errors=True)
        raise _not_initialised(server.data, ran.stderr)
    unfinished.rename(server.cluster)


def _not_initialised(data: Path, said: str) -> EmbeddedError:
    if "No space left" in said:
        return no_space(data)
    # initdb quotes the server it ran, with the time and the process before the level.
    fault = re.search(r"\b(?:FATAL|PANIC|ERROR|error): +(.+)", said)
    words = fault[1] if fault else " ".join(said.split()) or "initdb gave no reason"
    return EmbeddedError(f'cannot create a cluster in "{data}": {words}')


def no_space(data: Path) -> EmbeddedError:
    """The error for a disk that is full."""
    return EmbeddedError(f'no space left in "{data}": free some, or set "FOUNDRY_DATA"')


@contextmanager
def in_one_line(data: Path) -> Iterator[None]:
    """Turn what the operating system refuses into an EmbeddedError of one line."""
    try:
        yield
    except OSError as error:
        # shutil.Error, of a copy that failed, has no number but the texts of all its files.
        if error.errno == errno.ENOSPC or "No space left" in str(error):
            raise no_space(data) from error
        if isinstance(error, shutil.Error):
            text = f'cannot copy the programs to "{data}": {error.args[0][0][2]}'
            raise EmbeddedError(text) from error
        reason = (error.strerror or str(error)).lower()
        where = f' at "{error.filename}"' if error.filename else ""
        raise EmbeddedError(
            f'cannot use data folder "{data}": {reason}{where}; set "FOUNDRY_DATA" to a '
            "folder of yours with space in it"
        ) from error
