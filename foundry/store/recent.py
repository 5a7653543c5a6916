"""What a connection heard a moment ago, of things that change seldom."""

from __future__ import annotations

import time
from typing import Any

from foundry.store.operations import Statement

SECONDS = 1.0
"""How old an answer may be."""


class Recent:
    """Answers of one connection, by statement."""

    __slots__ = ("_answers",)

    def __init__(self) -> None:
        self._answers: dict[Statement, tuple[float, Any]] = {}

    def get(self, statement: Statement) -> Any:
        """The answer, or None where there is none or it is too old."""
        until, answer = self._answers.get(statement, (0.0, None))
        return answer if time.monotonic() < until else None

    def keep(self, statement: Statement, answer: Any) -> Any:
        """Remember an answer from now on; returns it."""
        self._answers[statement] = (time.monotonic() + SECONDS, answer)
        return answer
