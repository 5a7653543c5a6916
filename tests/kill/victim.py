"""Commands in forks of a process that has read the modules already, killed where that is asked.

A line of JSON asks for a command: its words, the files of its output, and, for one that is killed,
[AT, WHEN, WHOM]: "before" or "after" its AT-th statement the "client" or the "backend" dies; with
AT 0 nobody does, and the number of statements is printed at the end. The answer is its process.
A line that is a number asks for the end of that process; the answer is its exit code.
"""

from __future__ import annotations

import gc
import json
import os
import signal
import sys
from typing import Any, NoReturn

import psycopg2
import psycopg2.extensions

from foundry.migrate.cli import main as run
from foundry.migrate.watching import APPLICATION

_sent = 0


def main() -> None:
    """Answer until nobody asks any more."""
    gc.freeze()
    for line in sys.stdin:
        asked = json.loads(line)
        if isinstance(asked, int):
            _, status = os.waitpid(asked, 0)
            print(os.waitstatus_to_exitcode(status), flush=True)
        else:
            print(_forked(**asked), flush=True)


def _forked(words: list[str], out: str, err: str, kill: list[Any]) -> int:
    pid = os.fork()
    if not pid:
        for stream, path in ((sys.stdout, out), (sys.stderr, err)):
            os.dup2(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC), stream.fileno())
        _command(words, kill)
    return pid


def _command(words: list[str], kill: list[Any]) -> NoReturn:
    code = 70
    try:
        if kill:
            _count(*kill)
        code = run(words)
        if kill:
            print(f"statements: {_sent}", file=sys.stderr)
    except BaseException:
        # As the interpreter would, and not in the loop above: this is a fork of it.
        sys.excepthook(*sys.exc_info())
    finally:
        for stream in (sys.stdout, sys.stderr):
            stream.flush()
        os._exit(code)


def _count(at: int, when: str, whom: str) -> None:
    """Have every session count what it sends, but the watcher's: that goes at its own pace."""

    def strike(cursor: Any) -> None:
        client, backend = os.getpid(), cursor.connection.info.backend_pid
        os.kill(client if whom == "client" else backend, signal.SIGKILL)

    class Counting(psycopg2.extensions.cursor):
        def execute(self, *arguments: Any, **words: Any) -> Any:
            global _sent
            _sent += 1
            mine = _sent
            if mine == at and when == "before":
                strike(self)
            found = super().execute(*arguments, **words)
            if mine == at and when == "after":
                strike(self)
            return found

    connect = psycopg2.connect

    def counted(*arguments: Any, **words: Any) -> Any:
        watching = words.get("fallback_application_name") == APPLICATION
        return connect(*arguments, **words, **({} if watching else {"cursor_factory": Counting}))

    psycopg2.connect = counted


if __name__ == "__main__":
    main()
