"""Who starts the server, who shares it and when it ends."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest
from processes import Person, answers, ask, eventually, keeper, postmaster, socket_folders

from foundry import embedded

FORK = """
import os, sys, time
from pathlib import Path
from foundry import embedded
print(embedded.acquire(Path(sys.argv[1])).url(), flush=True)
if os.fork():
    os._exit(0)
sys.stdin.read()
"""
VERB = "import sys; from foundry.__main__ import main; sys.exit(main([sys.argv[1]]))"


def test_a_first_user_gets_a_server_that_answers(person: Person, data: Path) -> None:
    """An empty folder becomes a server with the database, UTC, UTF8 and checksums."""
    _, url = person.joins(data)
    assert "foundry" == ask(url, "SELECT current_database()")
    assert "UTC" == ask(url, "SHOW timezone")
    assert "UTF8" == ask(url, "SHOW server_encoding")
    assert "on" == ask(url, "SHOW data_checksums")
    assert "" == ask(url, "SHOW listen_addresses")
    assert "on" == ask(url, "SHOW fsync")


def test_two_processes_share_one_server(myself: Person, stopped: Path) -> None:
    """The second process joins the postmaster of the first."""
    _, first = myself.joins(stopped)
    before = postmaster(stopped)
    _, second = myself.joins(stopped)
    assert first == second
    assert before == postmaster(stopped)


def test_ten_at_once_on_an_empty_folder_get_one_server(myself: Person, data: Path) -> None:
    """Nobody fails and nobody starts a second one."""
    code = """
import sys
from pathlib import Path
import psycopg2
from foundry import embedded
connection = psycopg2.connect(embedded.acquire(Path(sys.argv[1])).url())
cursor = connection.cursor()
cursor.execute("SELECT pg_postmaster_start_time()::text")
print(cursor.fetchone()[0], flush=True)
sys.stdin.read()
"""
    processes = [myself.start(code, data) for _ in range(10)]
    lines = [process.stdout.readline() for process in processes if process.stdout]
    assert [] == [line for line in lines if not line.startswith("20")]
    assert 1 == len(set(lines))


def test_acquiring_again_in_a_process_returns_the_same_server(stopped: Path) -> None:
    """A second call neither starts nor claims anything; one release is enough."""
    first = embedded.acquire(stopped)
    assert first == embedded.acquire(stopped)
    pid = keeper(stopped)
    embedded.release(stopped)
    assert eventually(lambda: not os.path.exists(f"/proc/{pid}") or not answers(first.url()))


def test_the_server_stays_while_a_user_is_left_and_ends_with_the_last(
    myself: Person, stopped: Path
) -> None:
    """Leaving is ending: nothing has to be called."""
    first, url = myself.joins(stopped)
    second, _ = myself.joins(stopped)
    first.communicate()
    assert answers(url)
    second.communicate()
    assert eventually(lambda: not answers(url))
    assert eventually(lambda: not list(stopped.glob("pg*/postmaster.pid")))
    assert eventually(lambda: not socket_folders(stopped))


def test_the_server_ends_when_its_last_user_was_killed(person: Person, data: Path) -> None:
    """Kill -9 leaves no server behind."""
    user, url = person.joins(data)
    user.kill()
    assert eventually(lambda: not list(data.glob("pg*/postmaster.pid")))
    assert not answers(url)


def test_a_newcomer_while_the_last_user_leaves_gets_a_server(myself: Person, stopped: Path) -> None:
    """Joining the old one or starting a new one, never a server that is about to end."""
    user, url = myself.joins(stopped)
    for _ in range(6):
        assert user.stdin
        user.stdin.close()
        user, url = myself.joins(stopped)
        assert 1 == ask(url, "SELECT 1")
        assert 3 == ask(url, "SELECT 3 FROM pg_sleep(0.15)")


def test_a_forked_child_is_a_user_too(myself: Person, stopped: Path) -> None:
    """The server survives its starter as long as a fork of it lives."""
    parent = myself.start(FORK, stopped)
    assert parent.stdout
    assert parent.stdin
    url = parent.stdout.readline().strip()
    parent.wait()
    assert not eventually(lambda: not answers(url), 0.5)
    parent.stdin.close()
    assert eventually(lambda: not answers(url))


def test_stop_ends_a_server_in_use_and_says_whether_there_was_one(
    myself: Person, stopped: Path
) -> None:
    """The users' next acquire starts it again."""
    _, url = myself.joins(stopped)
    assert 1 == len(socket_folders(stopped))
    assert True is embedded.stop(stopped)
    assert not answers(url)
    assert [] == socket_folders(stopped)
    assert False is embedded.stop(stopped)
    assert answers(embedded.acquire(stopped).url())


def test_stop_of_a_folder_that_never_was_is_false(data: Path) -> None:
    """And makes no folder."""
    assert False is embedded.stop(data)
    assert not data.exists()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_serve_keeps_the_server_up_until_a_signal(
    myself: Person, stopped: Path, number: signal.Signals
) -> None:
    """It prints the URL and takes the server along when nobody else uses it."""
    serving = myself.start(VERB, "serve", FOUNDRY_DATA=str(stopped))
    assert serving.stdout
    url = serving.stdout.readline().strip()
    assert 1 == ask(url, "SELECT 1")
    serving.send_signal(number)
    assert 0 == serving.wait(10)
    assert eventually(lambda: not answers(url))


def test_serve_ends_when_another_process_says_stop(myself: Person, stopped: Path) -> None:
    """`stop` reaches a server in another terminal."""
    serving = myself.start(VERB, "serve", FOUNDRY_DATA=str(stopped))
    assert serving.stdout
    url = serving.stdout.readline().strip()
    assert (0, "stopped") == myself.runs(VERB, "stop", FOUNDRY_DATA=str(stopped))[:2]
    assert 0 == serving.wait(10)
    assert not answers(url)


SERVE = """
from foundry import embedded
print(embedded.serve(announce=lambda server: print(server.url(), flush=True)))
"""


def test_serve_tells_a_stop_from_a_signal(myself: Person, stopped: Path) -> None:
    """A program that serves can say why it ends."""
    for word in ("interrupted", "stopped"):
        serving = myself.start(SERVE, FOUNDRY_DATA=str(stopped))
        assert serving.stdout
        assert serving.stdout.readline().startswith("postgresql://")
        if word == "stopped":
            embedded.stop(stopped)
        else:
            serving.send_signal(signal.SIGINT)
        assert (f"{word}\n", "") == serving.communicate(timeout=10)


def test_serve_says_so_when_the_server_ends_by_itself(myself: Person, stopped: Path) -> None:
    """A crash is no success."""
    serving = myself.start(VERB, "serve", FOUNDRY_DATA=str(stopped))
    assert serving.stdout
    assert serving.stderr
    serving.stdout.readline()
    os.kill(postmaster(stopped), signal.SIGKILL)
    assert 2 == serving.wait(10)
    assert "the server ended by itself" in serving.stderr.read()
