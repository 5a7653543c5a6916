"""Functions that go, or come to another result, and what that means for who calls them."""

from __future__ import annotations

import re
from typing import Any

from foundry.migrate.objects import Column, Function, Key, View
from foundry.migrate.snapshot import Snapshot

_BODY = re.compile(r"\n(?=AS |BEGIN ATOMIC|RETURN )")
# Words for the planner; none of them says what the function returns.
_PLANNING = re.compile(
    r" (?:(?:COST|ROWS) [\d.e+]+|IMMUTABLE|STABLE|LEAKPROOF|PARALLEL \w+|SUPPORT \S+)(?=[ \n]|$)"
)


def answering(before: Snapshot, after: Snapshot) -> frozenset[Key]:
    """Return the functions that may return something else, with what reads them: functions, views.

    The body of another language, or one that is a string, does not say which functions it calls.
    """
    pairs = ((f, after.get(f.key)) for f in before.kind(Function) if f.key in after)
    found: set[Key] = {
        f.key for f, g in pairs if f.definition != g.definition and _result(f) != _result(g)
    }
    while found:
        readers: tuple[Function | View, ...] = (*after.kind(Function), *after.kind(View))
        more = {r.key for r in readers if r.key not in found and not found.isdisjoint(r.depends)}
        if not more:
            break
        found |= more
    return frozenset(found)


def _result(found: Function) -> tuple[list[str], str]:
    head, *body = _BODY.split(found.definition, maxsplit=1)
    return _PLANNING.sub("", head).split(), "".join(body)


def shaken(before: Snapshot, after: Snapshot) -> frozenset[Key]:
    """Return the functions that go or may return something else.

    One that has to be made anew is among them: its first line or its result is another one.
    """
    return answering(before, after) | {f.key for f in before.kind(Function) if f.key not in after}


def calls(thing: Any, functions: frozenset[Key] | set[Key]) -> bool:
    """True when a text of the object calls one of these functions."""
    return not functions.isdisjoint(getattr(thing, "functions", ()))


def computed(before: Snapshot, after: Snapshot) -> frozenset[Key]:
    """Return what stores results of functions that may return something else by now.

    Stored generated columns and materialised views, that is: of indexes and checks `stages` knows.
    """
    other = answering(before, after)
    if not other:
        return frozenset()
    columns = (c for c in after.kind(Column) if c.generated == "STORED" and calls(c, other))
    views = (v for v in after.kind(View) if v.materialized and v.populated and v.key in other)
    things: tuple[Column | View, ...] = (*columns, *views)
    return frozenset(thing.key for thing in things if thing.key in before)
