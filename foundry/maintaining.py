"""`python -m foundry maintain`: run it, show how far it is, print what it found."""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from psycopg2.extensions import connection

from foundry.console import console_for, say
from foundry.database import Target, connect
from foundry.errors import FoundryError
from foundry.migrate.interrupt import cancelling
from foundry.migrate.showing import shown
from foundry.migrate.watching import Progress, watching
from foundry.store.maintenance import Report, Watch, maintain
from foundry.store.tuning import DEPTHS

Shown = Callable[[str, "Progress | None"], None]


def run(options: argparse.Namespace) -> int:
    """Run maintenance as the options say; returns the exit code."""
    try:
        done = _maintained(options)
    except FoundryError as error:
        if options.json:
            _emit({"error": str(error)})
        raise
    if options.json:
        _emit({"maintained": done.values()})
        return 0
    for line in lines(done):
        say(console_for(options), line)
    return 0


def _maintained(options: argparse.Namespace) -> Report:
    console = console_for(options, stderr=options.json)
    database = connect(options.database, bind=False, pool_size=1)

    def tell(line: str) -> None:
        if not options.quiet:
            say(console, line)

    tell(database.target.describe())
    try:
        with shown(console, quiet=options.quiet, lines_of_json=options.json) as show:
            return maintain(
                database,
                recall=options.recall,
                wait=options.wait,
                report=tell,
                told=_told(show),
                watch=_watch(database.target, options.wait, tell, show),
            )
    finally:
        database.close_all()


def _told(show: Shown) -> Callable[[str, int, int], object]:
    def told(what: str, done: int, total: int) -> None:
        show(what, Progress(phase="working", done=done, total=total, unit="searches"))

    return told


def _watch(target: Target, wait: float, tell: Callable[[str], None], show: Shown) -> Watch:
    @contextmanager
    def watch(what: str, session: connection) -> Iterator[None]:
        with (
            cancelling(session),
            watching(
                target,
                session.info.backend_pid,
                what=what,
                wait=wait,
                report=tell,
                progress=lambda seen: show(what, seen),
            ),
        ):
            yield

    return watch


def lines(done: Report) -> list[str]:
    """What a report says to people."""
    if done.index is None:
        return ["messages vacuumed; there is no vector index, every search is exact"]
    lists = f", {_lists(done.lists)}" if done.lists is not None else ""
    trained = f", trained anew (before: {done.lists_before})" if done.trained else ""
    told = [f"{done.index}: {done.method}, {done.rows:,} embeddings{lists}{trained}"]
    knob = "probes" if done.method == "ivfflat" else "ef_search"
    for depth, effort in done.effort.items():
        told.append(f"nearest {depth}: {knob} {effort}, recall {done.recall[depth]:.4f}")
    if not done.effort:
        told.append(f"the index is not used, every search is exact: {_why(done)}")
    return [*told, f"{done.seconds:.1f} s"]


def _lists(number: int) -> str:
    return "1 list" if number == 1 else f"{number:,} lists"


def _why(done: Report) -> str:
    if done.alike > 1:
        return f"{done.alike} of them serve the same order, drop all but one"
    few = done.rows <= DEPTHS[0] or done.lists == 1
    return (
        "there are too few embeddings"
        if few
        else f"its recall is below {done.aim:g}, which --recall sets"
    )


def _emit(values: dict[str, Any]) -> None:
    print(json.dumps(values), flush=True)
