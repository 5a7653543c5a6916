"""`python -m foundry.migrate`: parse, call, print."""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from itertools import chain
from typing import Any, NoReturn

from rich.console import Console

from foundry.console import console_for, exit_code_of, printable, say
from foundry.database import Target, create_database, resolve
from foundry.errors import DeclarationError, FoundryError, HistoryConflict
from foundry.migrate import difference, printing, proposal, render
from foundry.migrate.externals import statements
from foundry.migrate.outcome import Outcome
from foundry.migrate.project import Project, load
from foundry.migrate.proposal import Proposal, Written
from foundry.migrate.runner import Runner
from foundry.migrate.settings import LONGEST
from foundry.migrate.showing import shown
from foundry.migrate.survey import survey
from foundry.migrate.verify import Level, relations, verify


def main(argv: Sequence[str] | None = None) -> int:
    """Run one verb; returns the exit code: 0, 1 (pending, unhealthy), 2 error, 3 refused."""
    arguments = _parser().parse_args(argv)
    return exit_code_of(lambda: _said_in_json(arguments), verbose=arguments.verbose)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Call:
    """One invocation: its options, what they name, and where it prints."""

    options: argparse.Namespace
    project: Project
    target: Target
    console: Console

    @property
    def json(self) -> bool:
        return bool(self.options.json)

    def say(self, line: str) -> None:
        """Print a line of progress; it goes to stderr when stdout carries JSON."""
        if not self.options.quiet:
            say(self.console, line)

    def notice(self, line: str) -> None:
        """Print what a quiet run says too: to stderr then, since it is no result."""
        say(Console(stderr=True, highlight=False) if self.options.quiet else self.console, line)


def _said_in_json(options: argparse.Namespace) -> int:
    """Run the verb; what goes wrong is the result that who reads stdout gets."""
    try:
        return _run(options)
    except FoundryError as error:
        if options.json:
            _emit({"error": str(error)})
        raise


def _run(options: argparse.Namespace) -> int:
    project = load(
        models=options.models,
        directory=options.directory,
        table=options.table,
        wait=options.wait,
        pause=options.pause,
        config=options.config,
    )
    target = resolve(options.database)
    console = console_for(options, stderr=options.json or getattr(options, "sql", False))
    call = _Call(options=options, project=project, target=target, console=console)
    call.say(target.describe())
    if project.passed_over is not None:
        call.notice(
            f'warning: the folder "{project.passed_over}" here is not used, foundry\'s own '
            f"migrations are: name it with --directory if it is meant"
        )
    verb: Callable[[_Call], int] = options.call
    return verb(call)


@contextmanager
def _opened(call: _Call) -> Iterator[Runner]:
    with (
        shown(call.console, quiet=call.options.quiet, lines_of_json=call.json) as progress,
        Runner.opened(
            call.target, call.project.settings, report=call.say, progress=progress
        ) as runner,
    ):
        yield runner


def _status(call: _Call) -> int:
    with _opened(call) as runner:
        seen = survey(runner)
    if call.json:
        _emit(printing.status_values(seen))
    else:
        printing.print_status(call.console, seen)
        for file in seen.begun:
            say(call.console, seen.told(file))
    if seen.conflicts:
        raise HistoryConflict(seen.conflicts[0])
    return 1 if seen.behind else 0


def _up(call: _Call) -> int:
    options = call.options
    if options.create_database and create_database(call.target):
        call.say(f'created database "{call.target.dbname}"')
    with _opened(call) as runner:
        if options.dry_run or options.sql:
            return _preview(call, runner)
        outcome = runner.up(
            options.to, allow_data_loss=options.allow_data_loss, force_order=options.force_order
        )
        found = relations(runner, call.project)
        lacking = proposal.remember(runner, call.project)
    if lacking and options.verbose:
        call.say(f"what the models want is not kept: {lacking}")
    _finish(call, outcome, "applied")
    if not call.json and not options.quiet:
        printing.print_relations(call.console, found)
    return 0


def _preview(call: _Call, runner: Runner) -> int:
    options = call.options
    plan = runner.pending(
        options.to,
        allow_data_loss=options.allow_data_loss,
        force_order=options.force_order,
        ready=not options.sql,
    )
    steps = [(s.file.name, runner.recorded(s) if call.options.sql else ()) for s in plan]
    behind = [p for p in runner.progress() if p.pending]
    begun = {b.name: b for b in runner.begun()}
    if call.json:
        _emit(
            {
                "externals": [{"name": p.name, "sql": list(statements(p))} for p in behind],
                "pending": [{"name": name, "sql": list(sql)} for name, sql in steps],
                "begun": [b.values() for b in begun.values()],
            }
        )
        return 0
    for progress in behind:
        call.say(f"would bring the {progress.name} tables to step {(progress.known or 0) - 1}")
        for statement in statements(progress) if options.sql else ():
            print(statement.rstrip(";") + ";", end="\n\n")
    for name, texts in steps:
        call.say(f"would apply {name}" if name not in begun else begun[name].told)
        for statement in texts:
            print(statement, end="\n\n")
    if options.sql and steps:
        stamp = "stamp --begun" if begun else "stamp"
        call.say(
            f"applied by hand, these are then recorded with: python -m foundry.migrate {stamp}"
        )
    if not steps and not behind:
        call.say("nothing to apply")
    return 0


def _diff(call: _Call) -> int:
    with _opened(call) as runner:
        found = proposal.propose(runner, call.project, call.target, dev_url=call.options.dev_url)
        asked = found.plan.stages and not call.json and call.project.settings.directory.is_dir()
        begun = runner.begun() if asked else ()
    plan, namespace = found.plan, found.context.namespace
    entries = difference.entries(plan, namespace)
    if call.json:
        _emit(printing.diff_values(plan, entries, found.context))
    else:
        if not call.options.sql or not call.options.quiet:
            printing.print_entries(call.console, entries)
        for statement in (
            chain.from_iterable(difference.statements(plan)) if call.options.sql else ()
        ):
            print(statement, end="\n\n")
        for note in plan.notes:
            call.say(f"note: {note}")
        for file in begun:
            call.say(f"note: what a file in its middle has made is among them: {file.told}")
        if not plan.stages:
            call.say("no differences")
    return 1 if call.options.check and plan.stages else 0


def _generate(call: _Call) -> int:
    options, directory = call.options, call.project.settings.directory
    if options.empty and options.prune:
        raise DeclarationError("--empty writes no steps: leave out --prune")
    if options.empty:
        proposal.refuse_folder(directory)
        made = render.empty(options.name, proposal.next_number(directory))
        written = proposal.Written(paths=proposal.write((made,), directory))
        return _written(call, written, None)
    render.checked(options.name)
    with _opened(call) as runner:
        proposal.refuse_pending(runner)
        found = proposal.propose(
            runner, call.project, call.target, dev_url=options.dev_url, prune=options.prune
        )
        written = proposal.generate(found, options.name, directory)
    return _written(call, written, replace(found, plan=written.plan))


def _written(call: _Call, written: Written, found: Proposal | None) -> int:
    if call.json:
        _emit(printing.written_values(written, found))
        return 0
    for path in written.paths:
        print(path)
    if not written.paths:
        call.say("nothing to generate")
    if found is not None and not call.options.quiet:
        printing.print_hazards(call.console, found.plan, found.context)
        for note in found.plan.notes:
            call.say(f"note: {note}")
    if written.untried:
        call.notice(f"not tried out (replayed = False): {written.untried}")
    return 0


def _down(call: _Call) -> int:
    with _opened(call) as runner:
        outcome = runner.down(call.options.to, allow_data_loss=call.options.allow_data_loss)
    _finish(call, outcome, "reverted")
    return 0


def _stamp(call: _Call) -> int:
    with _opened(call) as runner:
        outcome = runner.fake(call.options.to, begun_too=call.options.begun)
        drift = proposal.drift(runner, call.project, call.target)
    _finish(call, outcome, "recorded")
    if drift is not None and drift.level is Level.BAD:
        call.notice(f"warning: {drift.detail}")
    return 0


def _verify(call: _Call) -> int:
    with _opened(call) as runner:
        drift = proposal.drift(runner, call.project, call.target)
        checks = (*verify(runner, call.project), *filter(None, (drift,)))
        found = relations(runner, call.project)
    healthy = all(check.level is not Level.BAD for check in checks)
    if call.json:
        _emit(printing.verify_values(checks, found, healthy=healthy))
    else:
        printing.print_relations(call.console, found)
        printing.print_checks(call.console, checks)
        say(call.console, "healthy" if healthy else "not healthy: see the lines marked bad")
    return 0 if healthy else 1


def _finish(call: _Call, outcome: Outcome, verb: str) -> None:
    if call.json:
        _emit(printing.outcome_values(outcome, verb))
        return
    for line in printing.notices(outcome):
        call.notice(line)
    if not outcome.done:
        call.say(f"nothing to do: no migration {verb}")


def _emit(value: object) -> None:
    # One line, so that what comes before it, progress of long steps, can be read line by line.
    print(json.dumps(value))


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        """End with one line, as every other error does; the usage is what --help prints."""
        self.exit(2, f"error: {printable(message)} ({self.prog} --help lists what there is)\n")


def _common(*, default: Any) -> _Parser:
    """Return the options every verb takes, before or after it.

    The verb's own copy has SUPPRESS as its default, so that it does not undo what stood
    before the verb.
    """
    parser = _Parser(add_help=False)
    add = parser.add_argument_group("options of every verb").add_argument
    hidden = argparse.SUPPRESS

    def value(fallback: Any) -> Any:
        return hidden if default is hidden else fallback

    add("--database", metavar="URL", default=value(None),
        help="else DATABASE_URL, else .env, else the embedded server")  # fmt: skip
    add("--models", metavar="MODULE[:ATTR]", default=value(None),
        help="a Schema or a list of models (default: foundry.schema)")  # fmt: skip
    add("--directory", metavar="DIR", default=value(None),
        help="migration files (default: the packaged ones, else migrations)")  # fmt: skip
    add("--table", metavar="NAME", default=value(None), help="history table")
    add("--dev-url", metavar="URL", default=value(None),
        help="server for throw-away databases (default: the same or the embedded one)")  # fmt: skip
    add("--wait", metavar="SECONDS", type=_seconds, default=value(None),
        help="how long any one wait may take: for another run, for the locks of a file, of a "
        "step, or of a batch (default: 600)")  # fmt: skip
    add("--pause", metavar="SECONDS", type=_seconds, default=value(None),
        help="between batches of an UPDATE in a file with atomic = False (default: 0)")  # fmt: skip
    add("--config", metavar="FILE", default=value(None),
        help="ini file with a [foundry] section (default: setup.cfg)")  # fmt: skip
    add("--json", action="store_true", default=value(False),
        help="print JSON, an object a line: progress of long steps, the result last")  # fmt: skip
    add("--no-color", action="store_true", default=value(False), help="also NO_COLOR")
    add("-q", "--quiet", action="store_true", default=value(False), help="print results only")
    add("-v", "--verbose", action="store_true", default=value(False),
        help="on an error, also where it came from")  # fmt: skip
    return parser


def _seconds(text: str) -> float:
    try:
        seconds = float(text)
    except ValueError:
        seconds = -1
    if seconds < 0 and text.lstrip()[:1] == "-":
        raise argparse.ArgumentTypeError(f'"{text}" must not be negative: write 0 or more')
    if not 0 <= seconds <= LONGEST:
        raise argparse.ArgumentTypeError(f'"{text}" is not a number of seconds: write one, as 2.5')
    return seconds


def _planning(verb: Callable[..., argparse.ArgumentParser]) -> None:
    diff = verb("diff", _diff, "Show what differs between the database and its models.")
    diff.add_argument("--check", action="store_true", help="exit 1 when something differs")
    diff.add_argument("--sql", action="store_true", help="print the SQL that leads to the models")
    text = "Write what leads from the database to its models as migrations."
    generate = verb("generate", _generate, text)
    generate.add_argument("name", metavar="NAME", help="ASCII letters, digits and _")
    generate.add_argument("--empty", action="store_true", help="write a file to be filled in")
    text = "drop tables that earlier migrations made and no model covers"
    generate.add_argument("--prune", action="store_true", help=text)


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(
        prog="python -m foundry.migrate",
        description="Bring a PostgreSQL database to what its Peewee models declare.",
        epilog="Exit codes: 0 done, 1 pending, different or unhealthy, 2 error, 3 refused.",
        parents=[_common(default=None)],
    )
    verbs = parser.add_subparsers(metavar="VERB", required=True)

    def verb(name: str, call: Callable[[_Call], int], text: str) -> argparse.ArgumentParser:
        added = verbs.add_parser(
            name, help=text, description=text, parents=[_common(default=argparse.SUPPRESS)]
        )
        added.set_defaults(call=call)
        return added

    verb("status", _status, "List files and history; exit 1 when something is pending.")
    _planning(verb)
    up = verb("up", _up, "Bring external tables forward and apply pending files.")
    up.add_argument("--to", metavar="NAME", help="stop after this migration")
    up.add_argument("--dry-run", action="store_true", help="say what would be applied")
    up.add_argument("--sql", action="store_true", help="print the SQL instead of running it")
    up.add_argument("--create-database", action="store_true", help="create it when missing")
    up.add_argument(
        "--force-order", action="store_true", help="apply files older than applied ones"
    )
    down = verb("down", _down, "Revert the newest migration, or every one back through NAME.")
    down.add_argument("--to", metavar="NAME", help="the last migration to revert")
    for parser_with_loss in (up, down):
        parser_with_loss.add_argument(
            "--allow-data-loss", action="store_true", help="go on where data is lost"
        )
    stamp = verb("stamp", _stamp, "Record pending files as applied without running them.")
    stamp.add_argument("--to", metavar="NAME", help="stop after this migration")
    text = "also files of which some steps are done: the others were done by hand"
    stamp.add_argument("--begun", action="store_true", help=text)
    verb("verify", _verify, "Check tables, indexes, extensions, externals, TLS and privileges.")
    return parser
