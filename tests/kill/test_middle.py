"""Whatever happens in the middle of a step: it is told in a line, and one more run goes on."""

from __future__ import annotations

import os
import re
import signal
from collections.abc import Iterator

import pytest
from bench import Bench
from gates import SECONDS, Gate, gate, until
from proxy import proxy
from support.migrations import Ended

STEPS = [*SECONDS, "whole"]


@pytest.fixture(params=STEPS)
def closed(bench: Bench, request: pytest.FixtureRequest) -> Iterator[Gate]:
    """A step that stands still in its middle, of each kind, and a file that is atomic."""
    whole = request.param == "whole"
    found = gate(bench, "rewrite" if whole else request.param, atomic=whole)
    yield found
    found.open()


def goes_on(closed: Gate, ended: Ended, code: int, said: str) -> None:
    """It was told; the rest is done by the next run, and the first step was done once."""
    assert code == ended.code, ended
    assert re.fullmatch(rf"error: [^\n]*{said}[^\n]*\n", ended.err), ended.err
    closed.open()
    again = closed.bench.run("up", closed.folder)
    assert 0 == again.code, again.err
    assert closed.wanted == closed.seen()


def test_the_connection_is_cut(bench: Bench, closed: Gate) -> None:
    """The server process notices, too, and gives its locks back though its step stands still."""
    with proxy(bench.server.socket) as way:
        run = bench.start("up", closed.folder, url=way.url)
        pid = closed.reached()
        way.cut()
        ended = run.ended()
    until(lambda: bench.ask(f"SELECT 1 WHERE NOT EXISTS {_process(pid)}"), seconds=10)
    goes_on(closed, ended, 2, "(connection|server)")


def _process(pid: int) -> str:
    return f"(SELECT FROM pg_stat_activity WHERE pid = {pid})"


@pytest.mark.parametrize("how", [signal.SIGQUIT, signal.SIGINT], ids=["immediate", "fast"])
def test_the_server_is_restarted(bench: Bench, closed: Gate, how: signal.Signals) -> None:
    """Its own words, and what the next run does."""
    run = bench.start("up", closed.folder)
    closed.reached()
    pid_file = bench.server.cluster / "postmaster.pid"
    os.kill(int(pid_file.read_text().split()[0]), how)
    ended = run.ended()
    bench.reset()
    goes_on(closed, ended, 2, "(connection|server)")


def test_the_statement_is_cancelled(bench: Bench, closed: Gate) -> None:
    """No INVALID index is left by that run already, and no half of a batch."""
    run = bench.start("up", closed.folder)
    bench.ask(f"SELECT pg_cancel_backend({closed.reached()})")
    ended = run.ended()
    assert not [r for r in bench.shape() if r[0] == "index" and r[3] != "t t t"]
    goes_on(closed, ended, 2, "canceling statement due to user request")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_the_run_is_interrupted(bench: Bench, closed: Gate, number: signal.Signals) -> None:
    """The step is cancelled, not waited for; what the command says is true."""
    run = bench.start("up", closed.folder)
    closed.reached()
    run.kill(number)
    goes_on(closed, run.ended(20), 128 + number, "interrupted")


def test_the_server_process_is_terminated(bench: Bench, closed: Gate) -> None:
    """As an operator does to a session that is in the way."""
    run = bench.start("up", closed.folder)
    bench.ask(f"SELECT pg_terminate_backend({closed.reached()})")
    goes_on(closed, run.ended(), 2, "(connection|server)")
