"""Bring a database to what its models declare: `python -m foundry.migrate`, or these functions."""

from __future__ import annotations

from collections.abc import Callable

from foundry.database import Target
from foundry.migrate.project import Project, load, packaged
from foundry.migrate.runner import Outcome, Runner
from foundry.migrate.settings import Settings
from foundry.migrate.verify import Check, Level

__all__ = ["Check", "Level", "Outcome", "Project", "Runner", "Settings", "load", "packaged", "up"]


def up(
    target: Target,
    project: Project | None = None,
    *,
    report: Callable[[str], None] = lambda line: None,
) -> Outcome:
    """Bring externals forward and apply pending files; `project` is foundry's own by default.

    `target` is what `foundry.database.resolve()` or a database's `.target` gives.
    """
    settings = (project or packaged()).settings
    with Runner.opened(target, settings, report=report) as runner:
        return runner.up()
