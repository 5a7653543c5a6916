"""`python -m foundry.migrate` that is killed, or whose server process is, at a statement.

    python victim.py AT WHEN WHOM WORDS…

WHEN is "before" or "after" the AT-th statement of the run; WHOM is "client" or "backend". With AT
0 nobody is killed and the number of statements is printed at the end.
"""

from __future__ import annotations

import os
import signal
import sys
from typing import Any

import psycopg2
import psycopg2.extensions


def main() -> None:
    """Run the command line with cursors that count."""
    at, when, whom = int(sys.argv[1]), sys.argv[2], sys.argv[3]
    sent = 0

    def strike(cursor: Any) -> None:
        if whom == "client":
            os.kill(os.getpid(), signal.SIGKILL)
        os.kill(cursor.connection.info.backend_pid, signal.SIGKILL)

    class Counting(psycopg2.extensions.cursor):
        def execute(self, *arguments: Any, **words: Any) -> Any:
            nonlocal sent
            # The watcher's session is another one, at its own pace.
            if "watch" in self.connection.info.dsn_parameters.get("application_name", ""):
                return super().execute(*arguments, **words)
            sent += 1
            mine = sent
            if mine == at and when == "before":
                strike(self)
            found = super().execute(*arguments, **words)
            if mine == at and when == "after":
                strike(self)
            return found

    connect = psycopg2.connect
    psycopg2.connect = lambda *a, **w: connect(*a, **{"cursor_factory": Counting, **w})

    from foundry.migrate.cli import main as run

    code = run(sys.argv[4:])
    print(f"statements: {sent}", file=sys.stderr)
    sys.exit(code)


if __name__ == "__main__":
    main()
