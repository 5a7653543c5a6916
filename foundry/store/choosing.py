"""How a search is done: by way of the filter, or by way of the vector index."""

from __future__ import annotations

import math
from typing import NamedTuple

from foundry.store import tuning

# Microseconds, on an ordinary machine; what counts are their ratios.
_EXACT = 0.95
_SCANNED = 0.2
_VISITED = 0.85
_EF = 20.0
_FETCHED = 2.0
_BEGIN = 500.0


class Facts(NamedTuple):
    """The table and its vector index, as the server knows them."""

    method: str | None
    """"hnsw" or "ivfflat"; None where there is no index."""
    narrow: bool
    """True where the index is one of half-precision numbers."""
    lists: int
    comment: str | None
    table: int | None
    """The file of the table."""
    rows: float
    """How many messages there are, as PostgreSQL's planner estimates it."""
    oid: int | None = None
    file: int | None = None
    """The index's own oid and file: it may be another one by now."""
    share: float = 1.0
    """Of the messages, what the filter leaves."""
    left: float | None = None
    """About how many messages the user of the filter has; None where nobody counted."""


class ByIndex(NamedTuple):
    """Take the nearest from the index, as many as `depth`, and of these what the filter leaves."""

    setting: str
    effort: int
    depth: int
    narrow: bool


def choose(facts: Facts, limit: int, *, filtered: bool, indexed: bool) -> ByIndex | None:
    """How to find `limit` messages; None for the exact way, through all that the filter leaves.

    Of messages that are in no order the index has to give more, the fewer a filter leaves. An
    index that maintenance has not measured is not used: nobody knows what it finds.
    """
    known = tuning.parsed(facts.comment)
    if facts.method is None or known is None or not facts.share:
        return None
    if known.table != facts.table:
        return None
    if facts.method == "ivfflat" and not known.training and known.lists != facts.lists:
        # Built anew by other means, or about to be: what was measured is of other lists.
        return None
    rows = facts.rows
    # So many more that it is unlikely to be too few.
    depth = math.ceil((limit + 1.5 * math.sqrt(limit)) / facts.share) if filtered else limit
    found = known.enough(depth) or _nearly(known, depth, limit / facts.share)
    if found is None or depth > rows:
        return None
    effort, depth = found
    cost = _BEGIN + _FETCHED * depth
    cost += _EF * effort if facts.method == "hnsw" else _VISITED * rows * effort / facts.lists
    through = rows * facts.share if facts.left is None else facts.left
    exact = _EXACT * through + (0.0 if indexed or not filtered else _SCANNED * rows)
    if exact <= cost:
        return None
    if facts.method == "hnsw":
        return ByIndex("hnsw.ef_search", effort, min(depth, effort), facts.narrow)
    return ByIndex("ivfflat.probes", effort, depth, facts.narrow)


def _nearly(known: tuning.Tuning, depth: int, least: float) -> tuple[int, int] | None:
    """What was measured deepest, where that is as likely as not to be enough."""
    deepest = max(known.effort, default=0)
    return known.enough(deepest) if least <= deepest < depth else None
