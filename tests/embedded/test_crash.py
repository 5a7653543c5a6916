"""What is left after a crash, and that the next user gets a server with all its rows."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest
from processes import (
    ROOT,
    Person,
    answers,
    ask,
    eventually,
    keeper,
    postmaster,
    socket_folders,
)

from foundry import embedded, supervisor


@pytest.fixture
def foreign(stopped: Path) -> Iterator[int]:
    """A live process of the server's own account, which PostgreSQL takes for a rival."""
    process = subprocess.Popen(["sleep", "60"], **as_owner(stopped))
    yield process.pid
    process.kill()
    process.wait()


def as_owner(data: Path) -> dict[str, int]:
    """Arguments that run a process as the account of the cluster."""
    owner = next(data.glob("pg*/PG_VERSION")).stat()
    return {"user": owner.st_uid, "group": owner.st_gid} if ROOT else {}


def leave_pidfile(data: Path, text: str) -> None:
    """What a killed server would have left, owned by its account."""
    cluster = next(data.glob("pg*/PG_VERSION"))
    pidfile = cluster.with_name("postmaster.pid")
    pidfile.write_text(text)
    os.chown(pidfile, cluster.stat().st_uid, cluster.stat().st_gid)


def kept(data: Path) -> int:
    """The row of the fixture."""
    return int(ask(embedded.acquire(data).url(), "SELECT number FROM kept"))


def test_a_stale_pid_file_that_names_a_foreign_process_is_no_server(
    stopped: Path, foreign: int
) -> None:
    """PostgreSQL alone would refuse to start; the foreign process is left alone."""
    leave_pidfile(stopped, f"{foreign}\n{stopped}/pg18\n1700000000\n5432\n/tmp\n\n")
    assert 7 == kept(stopped)
    os.kill(foreign, 0)


@pytest.mark.parametrize("text", ["", "\n", "12", "no number\n"], ids=repr)
def test_a_truncated_pid_file_is_no_server(stopped: Path, text: str) -> None:
    """Nor does it keep one from starting."""
    leave_pidfile(stopped, text)
    assert 7 == kept(stopped)


def command_of(pid: int) -> str:
    """The name of the program a process runs."""
    asked = ["ps", "-o", "comm=", "-p", str(pid)]
    ran = subprocess.run(asked, capture_output=True, text=True, check=False)
    return ran.stdout.strip().rpartition("/")[2]


def test_a_zombie_is_no_server(stopped: Path) -> None:
    """A pid file may name a process that ended and was never reaped."""
    parent = subprocess.Popen(
        ["/bin/sh", "-c", "exec 3<&0; read line <&3 & echo $!; exec sleep 60"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        **as_owner(stopped),
    )
    try:
        assert parent.stdout
        assert parent.stdin
        zombie = int(parent.stdout.readline())
        # The shell would reap what ends before it has become another program.
        assert eventually(lambda: "sleep" == command_of(parent.pid))
        parent.stdin.write("\n")
        parent.stdin.flush()
        assert eventually(lambda: state_of(zombie) == "Z")
        leave_pidfile(stopped, f"{zombie}\n{stopped}/pg18\n1700000000\n5432\n/tmp\n\n")
        assert 7 == kept(stopped)
        assert "Z" == state_of(zombie)
    finally:
        parent.kill()
        parent.communicate()


def test_a_postmaster_that_its_stopped_supervisor_never_reaped_is_no_server(
    stopped: Path,
) -> None:
    """The supervisor is ended and another one starts the server."""
    embedded.acquire(stopped)
    server, parent = postmaster(stopped), keeper(stopped)
    os.kill(parent, signal.SIGSTOP)
    os.kill(server, signal.SIGKILL)
    assert eventually(lambda: state_of(server) == "Z")
    assert 7 == kept(stopped)
    assert server != postmaster(stopped)


def test_a_killed_postmaster_is_started_again_with_its_rows(stopped: Path) -> None:
    """Also by the process that had acquired it before."""
    url = embedded.acquire(stopped).url()
    ask(url, "CREATE TABLE later AS SELECT 8 AS number")
    os.kill(postmaster(stopped), signal.SIGKILL)
    assert eventually(lambda: not answers(url))
    again = embedded.acquire(stopped).url()
    assert 15 == ask(again, "SELECT kept.number + later.number FROM kept, later")


def test_a_killed_postmaster_is_started_again_for_another_process(
    myself: Person, stopped: Path
) -> None:
    """While the first user still lives."""
    myself.joins(stopped)
    os.kill(postmaster(stopped), signal.SIGKILL)
    _, url = myself.joins(stopped)
    assert 7 == ask(url, "SELECT number FROM kept")


def test_a_killed_supervisor_takes_its_server_along(myself: Person, stopped: Path) -> None:
    """No server without anybody who would end it; the next acquire starts a new pair."""
    _, url = myself.joins(stopped)
    os.kill(keeper(stopped), signal.SIGKILL)
    if sys.platform == "linux":
        assert eventually(lambda: not answers(url))
    assert 7 == kept(stopped)


def test_both_killed_at_once_leave_nothing_that_hinders(myself: Person, stopped: Path) -> None:
    """Supervisor, postmaster and user: what an emergency stop of a container does."""
    user, _ = myself.joins(stopped)
    for pid in (keeper(stopped), postmaster(stopped), user.pid):
        os.kill(pid, signal.SIGKILL)
    assert 7 == kept(stopped)
    embedded.stop(stopped)
    assert [] == socket_folders(stopped)


@pytest.fixture
def parted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Supervisors whose postmaster outlives them, as where there is no prctl."""
    source = Path(supervisor.__file__).read_text()
    wish = "preexec_fn=_follow_parent(),"
    assert 1 == source.count(wish)
    copy = tmp_path / "supervisor.py"
    copy.write_text(source.replace(wish, ""))
    monkeypatch.setattr(supervisor, "__file__", str(copy))


@pytest.mark.usefixtures("parted")
def test_a_postmaster_that_outlives_its_supervisor_is_replaced(stopped: Path) -> None:
    """The next acquire ends it and starts a pair of its own."""
    url = embedded.acquire(stopped).url()
    orphan = postmaster(stopped)
    os.kill(keeper(stopped), signal.SIGKILL)
    embedded.release(stopped)
    assert not eventually(lambda: not answers(url), 0.5)
    assert 7 == kept(stopped)
    assert orphan != postmaster(stopped)
    assert eventually(lambda: state_of(orphan) in {"", "Z"})


@pytest.mark.usefixtures("parted")
def test_stop_ends_a_postmaster_that_outlived_its_supervisor(stopped: Path) -> None:
    """And removes the folder of its socket."""
    url = embedded.acquire(stopped).url()
    os.kill(keeper(stopped), signal.SIGKILL)
    assert eventually(lambda: state_of(keeper(stopped)) in {"", "Z"})
    assert True is embedded.stop(stopped)
    assert not answers(url)
    assert [] == socket_folders(stopped)


def test_a_full_disk_is_one_line_that_says_so(small: Path) -> None:
    """During the making of the cluster, the largest thing a first start writes."""
    with pytest.raises(embedded.EmbeddedError) as caught:
        embedded.acquire(small)
    expected = f'no space left in "{small}": free some, or set "FOUNDRY_DATA"'
    assert expected == str(caught.value)
    assert [] == list(small.glob("*.new"))


def test_a_disk_that_got_full_is_one_line_when_the_server_starts(small: Path) -> None:
    """The same one; and when there is space again it starts."""
    subprocess.run(["mount", "-o", "remount,size=200m", str(small)], check=True)
    embedded.acquire(small)
    embedded.stop(small)
    filler = small / "filler"
    with suppress(OSError), filler.open("wb", buffering=0) as full:
        while full.write(b"x" * 1_000_000):
            pass
    with pytest.raises(embedded.EmbeddedError) as caught:
        embedded.acquire(small)
    assert f'no space left in "{small}": free some, or set "FOUNDRY_DATA"' == str(caught.value)
    filler.unlink()
    assert answers(embedded.acquire(small).url())


def test_a_cluster_that_cannot_be_made_is_told_by_its_first_fault(
    myself: Person, data: Path
) -> None:
    """Without the time, the process and what else initdb prints about its progress."""
    embedded.acquire(data)  # where the programs have to be copied, they are now
    embedded.stop(data)
    shutil.rmtree(next(data.glob("pg[0-9][0-9]")))
    code = "import resource, sys; resource.setrlimit(resource.RLIMIT_FSIZE, (300_000, 300_000))\n"
    code += "from pathlib import Path; from foundry import embedded as e\n"
    code += "try: e.acquire(Path(sys.argv[1]))\nexcept e.EmbeddedError as error: print(error)"
    status, said, _ = myself.runs(code, data)
    assert 0 == status
    assert said.startswith(f'cannot create a cluster in "{data}": could not write to file "')
    assert said.endswith(": File too large")
    assert 1 == len(said.splitlines())


def test_a_starter_killed_in_the_middle_leaves_no_half_cluster(myself: Person, data: Path) -> None:
    """Kills at several moments of the first start; then it works."""
    for number in range(4):
        starter = myself.start(
            "import sys; from pathlib import Path; from foundry import embedded;"
            "embedded.acquire(Path(sys.argv[1]))",
            data,
        )
        assert eventually(lambda: list(data.glob("pg*")) != [])
        eventually(lambda: list(data.glob("pg*/global/pg_control")) != [], 0.1 * number)
        starter.kill()
        starter.wait()
    assert 1 == ask(embedded.acquire(data).url(), "SELECT 1")
    assert [] == list(data.glob("*.new"))


def test_a_server_started_by_hand_is_named_and_left_alone(stopped: Path) -> None:
    """Two servers on one cluster would destroy it."""
    server = embedded.acquire(stopped)
    embedded.stop(stopped)
    server.socket.mkdir(mode=0o700)
    owner = next(stopped.glob("pg*/PG_VERSION")).stat()
    os.chown(server.socket, owner.st_uid, owner.st_gid)
    process = subprocess.Popen(
        [
            server.bindir / "postgres",
            "-D",
            server.cluster,
            "-c",
            "listen_addresses=",
            "-c",
            f"unix_socket_directories={server.socket}",
        ],
        stderr=subprocess.DEVNULL,
        cwd="/",
        **as_owner(stopped),
    )
    try:
        assert eventually(lambda: answers(server.url()))
        with pytest.raises(embedded.EmbeddedError, match=f"process {process.pid} is a server"):
            embedded.acquire(stopped)
        assert answers(server.url())
    finally:
        process.send_signal(signal.SIGINT)
        process.wait()


def state_of(pid: int) -> str:
    """The letter `ps` shows; empty for no process."""
    shown = subprocess.run(
        ["ps", "-o", "stat=", "-p", str(pid)], capture_output=True, text=True, check=False
    )
    return shown.stdout.strip()[:1]
