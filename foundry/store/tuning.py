"""What maintenance found out about a vector index; it is kept in the comment of the index.

There it is seen by every session at once, and it goes when the index goes.
"""

from __future__ import annotations

import json
import math
import re
from dataclasses import asdict, dataclass, field, replace
from typing import Any

DEPTHS = (10, 15, 20, 25, 30, 40, 50, 60, 80, 100, 125, 150, 200, 250, 300, 400, 500, 700, 1000)
"""How many of the nearest are asked for, where the effort that takes is measured."""

EF_MOST = 1000
"""`hnsw.ef_search` ends there."""

PROBES_MOST = 32_768
"""`ivfflat.probes` ends there."""

_OURS = re.compile(r"\n?foundry search: (\{.*\})\s*\Z", re.DOTALL)


@dataclass(frozen=True, slots=True, kw_only=True)
class Tuning:
    """The effort for a recall: lists that IVFFlat probes, or HNSW's ef_search."""

    recall: float
    """What was aimed at."""
    rows: int
    """How many embeddings there were when the index was built or first measured."""
    table: int | None = None
    """The table's file: TRUNCATE begins another one, and what is in it is not what was measured."""
    lists: int | None = None
    """The lists of an IVFFlat index."""
    training: bool = False
    """True while the index is built anew, and where that was not ended."""
    effort: dict[int, int] = field(default_factory=dict)
    """How much is needed for so many of the nearest; what is not in it no effort is enough for."""

    def values(self) -> dict[str, Any]:
        """Return it as JSON values."""
        return {**asdict(self), "effort": {str(k): v for k, v in self.effort.items()}}

    def enough(self, depth: int) -> tuple[int, int] | None:
        """The least effort for at least `depth` of the nearest, and for how many it is good."""
        return min(
            ((effort, deep) for deep, effort in self.effort.items() if deep >= depth), default=None
        )

    def before(self, lists: int) -> Tuning:
        """What is good for the index as it is, and for one of so many lists that takes its place.

        As large a part of the lists as before holds as many of the nearest.
        """
        share = max(1.0, lists / (self.lists or 1))
        most = max(lists, self.lists or 1)
        scaled = {deep: min(most, math.ceil(value * share)) for deep, value in self.effort.items()}
        return replace(self, lists=most, training=True, effort=scaled)


def parsed(comment: str | None) -> Tuning | None:
    """What the comment of an index says; None where that is nothing, or nothing usable."""
    found = _OURS.search(comment or "")
    if found is None:
        return None
    try:
        values = json.loads(found[1])
        tuning = Tuning(
            recall=float(values["recall"]),
            rows=int(values["rows"]),
            table=_optional(values["table"]),
            lists=_optional(values["lists"]),
            training=bool(values["training"]),
            effort={int(k): int(v) for k, v in values["effort"].items()},
        )
        # What the server would refuse in each search.
        fits = all(
            1 <= v <= (EF_MOST if tuning.lists is None else PROBES_MOST)
            for v in tuning.effort.values()
        )
        return tuning if fits else None
    except (ValueError, KeyError, TypeError, AttributeError, OverflowError, RecursionError):
        return None


def _optional(value: Any) -> int | None:
    return None if value is None else int(value)


def commented(comment: str | None, tuning: Tuning) -> str:
    """The comment with another tuning; what else it says is kept."""
    rest = _OURS.sub("", comment or "")
    return f"{rest}\nfoundry search: {json.dumps(tuning.values())}".lstrip("\n")
