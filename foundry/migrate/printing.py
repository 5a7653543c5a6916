"""What the verbs print: tables for people, plain values for `--json`."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from foundry.console import cell, printable
from foundry.migrate import difference
from foundry.migrate.difference import Detail, Entry
from foundry.migrate.hazards import file_locks, file_losses, longest, warnings
from foundry.migrate.history import State
from foundry.migrate.outcome import Outcome
from foundry.migrate.proposal import Proposal, Written
from foundry.migrate.rules import Context
from foundry.migrate.steps import Plan, Stage, Step
from foundry.migrate.survey import Survey
from foundry.migrate.verify import Check, Level, Relation

_COLOURS = {
    State.APPLIED: "green",
    State.PENDING: "yellow",
    State.WAITING: "cyan",
    State.OFF: "dim",
    Level.OK: "green",
    Level.NOTE: "yellow",
    Level.BAD: "bold red",
}


_SIGNS = {
    difference.ADD: ("+", "green"),
    difference.DROP: ("-", "red"),
    difference.ALTER: ("~", "yellow"),
    difference.RENAME: ("\u2192", "cyan"),
}
_LONGEST = 120


def notices(outcome: Outcome) -> Iterator[str]:
    """Say in one line each what was left out of a run, and how it would come in."""
    for progress in outcome.externals:
        if not progress.there:
            yield (
                f"left out: the {progress.name} tables; {progress.external.install} brings "
                f"them, then run up again"
            )
    for standing in outcome.waiting:
        absent = [m for m in standing.missing if m.startswith("extension:")]
        for requirement in absent:
            name = requirement.partition(":")[2]
            yield (
                f"waiting: {standing.file.name}, until the server has the extension "
                f'"{name}" (installed, or installable by this role); run up again then'
            )


def print_relations(console: Console, relations: Sequence[Relation]) -> None:
    """Print the tables and views that are there."""
    table = _table("name", "kind", "columns", "indexes", "what it holds")
    for relation in relations:
        table.add_row(
            cell(relation.name),
            relation.kind,
            str(relation.columns),
            str(relation.indexes),
            cell(relation.comment.strip().partition("\n")[0]),
        )
    console.print(table)


def print_status(console: Console, seen: Survey) -> None:
    """Print every file and where it stands, external tables first."""
    table = _table("migration", "state", "applied at (UTC)", "needs")
    for external in seen.externals:
        state = State.PENDING if external.pending else State.APPLIED
        wants = f"a newer {external.external.package}" if external.newer else ""
        if not external.there:
            state, wants = State.WAITING, external.external.package
        table.add_row(
            cell(f"{external.name} tables"),
            _coloured(state),
            f"step {external.done - 1}" if external.done else "",
            cell(wants),
        )
    for standing in seen.standings:
        applied = f"{standing.entry.applied:%Y-%m-%d %H:%M:%S}" if standing.entry else ""
        name = standing.file.name
        table.add_row(
            cell(name),
            _coloured(standing.state),
            applied,
            cell("; ".join(filter(None, (", ".join(standing.missing), seen.remarks.get(name))))),
        )
    for name in seen.gone:
        table.add_row(cell(name), Text("gone", style="bold red"), "", "its file is not there")
    console.print(table)


def print_checks(console: Console, checks: Sequence[Check]) -> None:
    """Print the answers of `verify`."""
    table = _table("check", "", "detail")
    for check in checks:
        table.add_row(cell(check.name), _coloured(check.level), cell(check.detail))
    console.print(table)


def print_entries(console: Console, entries: Sequence[Entry]) -> None:
    """Print what differs, an object a line and an attribute a line below it."""
    for entry in entries:
        sign, colour = _SIGNS[entry.change]
        line = Text(f"{sign} ", style=colour)
        if entry.change == difference.RENAME:
            (detail,) = entry.details
            line.append(printable(f"{entry.kind} {detail.before} \u2192 {detail.after}"))
            console.print(line, soft_wrap=True)
            continue
        line.append(printable(f"{entry.kind} {entry.name}"))
        console.print(line, soft_wrap=True)
        for detail in entry.details:
            console.print(_detail(detail), soft_wrap=True)


def _detail(detail: Detail) -> Text:
    before, after = (_shortened(text) for text in (detail.before, detail.after))
    line = Text(f"    {detail.name}: ")
    line.append(before or "none", style="red")
    line.append(" \u2192 ")
    return line.append(after or "none", style="green")


def _shortened(text: str) -> str:
    shown = printable(" ".join(text.split()))
    return shown if len(shown) <= _LONGEST else f"{shown[:_LONGEST]}\u2026"


def print_hazards(console: Console, plan: Plan, context: Context) -> None:
    """Print the locks and losses of generated files, and what to think about."""
    stages = tuple(_in_context(plan, context))
    locks = longest(lock for stage, here in stages for lock in file_locks(stage.up, here))
    if locks:
        table = _table("table in use", "lock", "while it is held")
        for name, mode, work in locks:
            table.add_row(cell(name), mode, work)
        console.print(table)
    for stage, here in stages:
        for loss in file_losses(stage.up, here):
            console.print(Text(f"loses: {printable(loss)}", style="bold red"), soft_wrap=True)
        for warning in warnings(stage.up, here):
            console.print(Text(f"warning: {printable(warning)}", style="yellow"), soft_wrap=True)


def _in_context(plan: Plan, context: Context) -> Iterator[tuple[Stage, Context]]:
    earlier: tuple[Step, ...] = ()
    for stage in plan.stages:
        yield stage, replace(context, earlier=earlier)
        earlier += stage.up


def diff_values(plan: Plan, entries: Sequence[Entry], context: Context) -> dict[str, Any]:
    """Return a difference as JSON values."""
    return {
        "changes": [
            {
                "change": e.change,
                "kind": e.kind,
                "name": e.name,
                "details": [
                    {"name": d.name, "before": d.before, "after": d.after} for d in e.details
                ],
            }
            for e in entries
        ],
        "files": _files(plan, context),
        "notes": list(plan.notes),
    }


def _files(plan: Plan, context: Context) -> list[dict[str, Any]]:
    texts = difference.statements(plan)
    return [
        {
            "atomic": not stage.online,
            "actions": [step.action for step in stage.up],
            "sql": list(sql),
            "loses": list(file_losses(stage.up, here)),
            "locks": [list(lock) for lock in file_locks(stage.up, here)],
        }
        for (stage, here), sql in zip(_in_context(plan, context), texts, strict=True)
    ]


def written_values(written: Written, found: Proposal | None) -> dict[str, Any]:
    """Return the files that were generated as JSON values."""
    files = _files(found.plan, found.context) if found else [{} for _ in written.paths]
    return {
        "files": [
            {"path": str(path), **values} for path, values in zip(written.paths, files, strict=True)
        ],
        "notes": list(found.plan.notes) if found else [],
        "replayed": written.untried is None,
        "untried": written.untried,
    }


def status_values(seen: Survey) -> dict[str, Any]:
    """Return the status as JSON values."""
    return {
        "externals": [
            {"name": p.name, "done": p.done, "known": p.known, "pending": p.pending}
            for p in seen.externals
        ],
        "migrations": [
            {
                "name": s.file.name,
                "state": s.state.value,
                "applied": s.entry.applied.isoformat() if s.entry else None,
                "digest": s.file.digest,
                "missing": list(s.missing),
                "remark": seen.remarks.get(s.file.name),
            }
            for s in seen.standings
        ],
        "begun": [file.values() for file in seen.begun],
        "running": seen.at_work,
        "gone": list(seen.gone),
        "conflicts": list(seen.conflicts),
    }


def outcome_values(outcome: Outcome, verb: str) -> dict[str, Any]:
    """Return what a run did as JSON values."""
    return {
        verb: [{"name": d.name, "seconds": round(d.seconds, 3)} for d in outcome.done],
        "waiting": [{"name": s.file.name, "missing": list(s.missing)} for s in outcome.waiting],
        "left_out": [p.name for p in outcome.externals if not p.there],
    }


def verify_values(
    checks: Sequence[Check], relations: Sequence[Relation], *, healthy: bool
) -> dict[str, Any]:
    """Return the answers of `verify` as JSON values."""
    return {
        "healthy": healthy,
        "relations": [
            {"name": r.name, "kind": r.kind, "columns": r.columns, "indexes": r.indexes}
            for r in relations
        ],
        "checks": [{"name": c.name, "level": c.level.value, "detail": c.detail} for c in checks],
    }


def _coloured(value: State | Level) -> Text:
    return Text(value.value, style=_COLOURS[value])


def _table(*columns: str) -> Table:
    table = Table(box=None, pad_edge=False, header_style="bold")
    for column in columns:
        table.add_column(column, overflow="fold")
    return table
