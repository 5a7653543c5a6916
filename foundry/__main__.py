"""`python -m foundry`: the embedded server, the demo, and maintenance."""

from __future__ import annotations

import argparse
import shlex
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from foundry.console import console_for, exit_code_of

if TYPE_CHECKING:
    from foundry import embedded


def main(argv: Sequence[str] | None = None) -> int:
    """Run one verb; returns the exit code."""
    options = _parser().parse_args(argv)
    return exit_code_of(lambda: int(options.call(options)), verbose=options.verbose)


def _serve(options: argparse.Namespace) -> int:
    from foundry import embedded

    def announce(server: embedded.Server) -> None:
        print(server.url(), flush=True)
        print(
            f"PostgreSQL {server.version}, data in {server.data}\n"
            f"in another terminal: export DATABASE_URL={shlex.quote(server.url())}\n"
            f"Ctrl-C or `python -m foundry stop` ends it",
            file=sys.stderr,
        )

    if embedded.serve(announce=announce) == "stopped":
        print("stopped by python -m foundry stop", file=sys.stderr)
    return 0


def _stop(options: argparse.Namespace) -> int:
    from foundry import embedded

    print("stopped" if embedded.stop() else "no embedded server is running")
    return 0


def _demo(options: argparse.Namespace) -> int:
    from foundry import demo

    demo.run(options.database, console_for(options))
    return 0


def _maintain(options: argparse.Namespace) -> int:
    from foundry import maintaining

    return maintaining.run(options)


def _add_maintain(verbs: Any) -> None:
    maintain = verbs.add_parser(
        "maintain", help="vacuum the messages, train the vector index, measure its recall"
    )
    maintain.add_argument("--recall", type=float, default=0.99, help="to aim at (0.99)")
    maintain.add_argument(
        "--wait", type=float, default=600.0, metavar="SECONDS", help="for locks, each (600)"
    )
    maintain.add_argument("--json", action="store_true", help="an object a line, the result last")
    maintain.add_argument("-q", "--quiet", action="store_true", help="the result alone")
    _add_database(maintain)
    maintain.set_defaults(call=_maintain)


def _add_database(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--database", metavar="URL", help="else DATABASE_URL, else .env, else the embedded server"
    )
    parser.add_argument("--no-color", action="store_true", help="also NO_COLOR")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m foundry",
        description="The embedded PostgreSQL server, a demonstration, and maintenance.",
        epilog="Migrations: python -m foundry.migrate --help",
    )
    parser.add_argument(
        "-v", "--verbose", action="store_true", help="on an error, also where it came from"
    )
    verbs = parser.add_subparsers(metavar="VERB", required=True)
    serve = verbs.add_parser("serve", help="keep the embedded server up and print its URL")
    serve.set_defaults(call=_serve)
    stop = verbs.add_parser("stop", help="end the embedded server")
    stop.set_defaults(call=_stop)
    demo = verbs.add_parser("demo", help="store, search and read back an invented conversation")
    _add_database(demo)
    demo.set_defaults(call=_demo)
    _add_maintain(verbs)
    return parser


if __name__ == "__main__":
    sys.exit(main())
