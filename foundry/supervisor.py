"""The process that owns a postmaster: its parent while it runs, its end when nobody uses it.

Run as a script in isolated mode from a folder of its own, so it imports nothing but the
standard library and works whatever the caller's path, virtual environment or folder is.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

if sys.platform != "win32":
    import fcntl

# What a user's PGPORT, PGDATA, PGOPTIONS, locale or library path would do to a server is never
# what they wanted, so the children get this and nothing else.
ENVIRONMENT = {"PATH": os.defpath, "LC_ALL": "C", "TZ": "UTC"}


def drop_to(uid: int | None, gid: int | None) -> dict[str, Any]:
    """The arguments of `subprocess.Popen` that change to an account; none for None."""
    return {} if uid is None else {"user": uid, "group": gid, "extra_groups": []}


def take_lock(path: Path, mode: int) -> int | None:
    """A descriptor that holds the lock until it is closed, or None when another process has it.

    `flock` because the kernel gives it back however its holder ends. Give it back with `close`:
    `LOCK_UN` would take it from forked children, which hold the same lock.
    """
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    try:
        fcntl.flock(descriptor, mode | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        return None
    except BaseException:
        os.close(descriptor)
        raise
    return descriptor


def command_of(pid: int) -> list[str]:
    """The command line of a live process; empty for none and for a zombie."""
    if sys.platform == "linux":
        try:
            words = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
        except OSError:
            return []
        return [os.fsdecode(word) for word in words if word]
    shown = subprocess.run(
        ["ps", "-o", "stat=,command=", "-p", str(pid)], capture_output=True, text=True, check=False
    ).stdout.split()
    return [] if not shown or shown[0].startswith("Z") else shown[1:]


def is_postmaster(pid: int, cluster: Path) -> bool:
    """Whether this process is the server of that cluster, not one that got its number later."""
    command = command_of(pid)
    if not command or not os.path.basename(command[0]).startswith("postgres"):
        return False
    try:
        # A server started by hand may carry a relative path, but works inside its cluster.
        if os.path.samefile(f"/proc/{pid}/cwd", cluster):
            return True
    except OSError:
        pass
    return str(cluster) in " ".join(command)


def _follow_parent() -> Callable[[], None] | None:
    """What the postmaster runs before it starts: a supervisor killed with -9 takes it along.

    Linux only. Elsewhere the next `acquire` finds the postmaster without supervisor and ends it.
    """
    if sys.platform != "linux":
        return None
    try:
        import ctypes

        prctl = ctypes.CDLL(None).prctl
    except (ImportError, OSError, AttributeError):
        return None
    parent = os.getpid()

    def follow() -> None:
        # Popen calls this after the change of user, which would have cleared the setting.
        prctl(1, signal.SIGINT)  # PR_SET_PDEATHSIG
        if os.getppid() != parent:
            os._exit(1)

    return follow


def remove_socket_folder(folder: Path, owner: int) -> None:
    """Removes the folder of a server that has ended, if it is that account's, with its sockets."""
    try:
        if os.lstat(folder).st_uid == owner:
            for socket in folder.glob(".s.PGSQL.*"):
                socket.unlink(missing_ok=True)  # of a killed server
            os.rmdir(folder)
    except OSError:
        pass  # gone already, or something else is in it


def _wait_for_last_user(users: Path, end: Callable[[], None]) -> None:
    """Blocks until no process shares the lock, then keeps it until this process is gone.

    Newcomers wait for the lock meanwhile, so none can join a server that is about to end.
    """
    descriptor = os.open(users, os.O_RDWR | os.O_CLOEXEC)
    fcntl.flock(descriptor, fcntl.LOCK_EX)
    end()


def supervise(spec: dict[str, Any]) -> None:
    """Start the postmaster; returns when it has ended, is reaped and its socket folder is gone."""
    postmaster = subprocess.Popen(
        spec["command"],
        stdin=subprocess.DEVNULL,
        env=ENVIRONMENT,
        cwd="/",
        # Every process of the server inherits this lock: as long as one lives, backends of a
        # killed postmaster included, nobody else can start a server on the same files.
        pass_fds=(spec["server"],),
        preexec_fn=_follow_parent(),
        **drop_to(spec["uid"], spec["gid"]),
    )
    os.close(spec["server"])
    wanted = threading.Event()

    def end() -> None:
        wanted.set()
        postmaster.send_signal(signal.SIGINT)

    signal.signal(signal.SIGTERM, lambda *_: end())
    threading.Thread(target=_wait_for_last_user, args=(spec["users"], end), daemon=True).start()
    postmaster.wait()
    owner = os.geteuid() if spec["uid"] is None else spec["uid"]
    remove_socket_folder(Path(spec["socket"]), owner)
    if wanted.is_set():
        # An empty file says "ended on purpose"; after a crash the number stays.
        os.ftruncate(spec["keeper"], 0)


def main(spec: dict[str, Any]) -> None:
    """Leave the caller's process tree, then supervise; returns to nobody."""
    # The caller must not get a child it does not know of: `os.wait()` there would find it.
    gate, held_shut = os.pipe()
    supervisor = os.fork()
    if supervisor:
        os.ftruncate(spec["keeper"], 0)
        os.pwrite(spec["keeper"], str(supervisor).encode(), 0)
        os._exit(0)
    os.close(held_shut)
    os.read(gate, 1)  # returns when the other side has written our number and is gone
    try:
        supervise(spec)
    except OSError as error:
        sys.exit(f"FATAL:  {error}")


if __name__ == "__main__":
    main(json.loads(sys.argv[1]))
