"""What the reader of a plan should know before it is run."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from foundry.migrate.objects import Column, Trigger
from foundry.migrate.snapshot import Snapshot
from foundry.migrate.spelling import bare, printed
from foundry.migrate.steps import Stage
from foundry.migrate.survival import hopeless


def advice(
    now: Snapshot, wanted: Snapshot, stages: Iterable[Stage], *, default: str
) -> tuple[str, ...]:
    """Return, in a line each, what rows will prevent, and what will see that they change."""
    return (*_hopeless(now, wanted, default), *_fired(stages, default))


def _hopeless(now: Snapshot, wanted: Snapshot, default: str) -> tuple[str, ...]:
    """Say of changes of type that no value can make how to make them."""
    pairs = [(now.get(after.key), after) for after in wanted.kind(Column)]
    return tuple(
        f'"{printed(after.table, default)}": no value of "{after.name}" ({before.type}) is one of '
        f"{after.type}, and up refuses while there is one: in one migration add another column and "
        "write its values, in the next drop this one and rename that"
        for before, after in pairs
        if before and not after.generated and hopeless(before.type, after.type)
    )


def _fired(stages: Iterable[Stage], default: str) -> Iterator[str]:
    """Name the triggers that rows get to know when they are given their values."""
    for stage in stages:
        filled = {s.subject for s in stage.up if s.action == "fill column"}
        for column in sorted((o for o in filled if isinstance(o, Column)), key=lambda c: c.key):
            names = [t.name for t in stage.before.of_table(Trigger, column.table) if _fires(t)]
            if names:
                table = printed(column.table, default)
                yield (
                    f'"{table}": the UPDATE that gives the rows a "{column.name}" fires its '
                    f"triggers ({', '.join(names)}); disable what should not run"
                )


def _fires(trigger: Trigger) -> bool:
    events = trigger.definition.partition(" ON ")[0]
    return "UPDATE" in bare(events) and trigger.enabled in ("ENABLE", "ENABLE ALWAYS")
