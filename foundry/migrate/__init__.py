"""Bring a database to what its models declare: `python -m foundry.migrate`, or these functions."""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from foundry.database import Target
    from foundry.migrate.outcome import Outcome
    from foundry.migrate.project import Project, load, packaged
    from foundry.migrate.runner import Runner
    from foundry.migrate.settings import Settings
    from foundry.migrate.verify import Check, Level

__all__ = ["Check", "Level", "Outcome", "Project", "Runner", "Settings", "load", "packaged", "up"]

# Loaded on first use: Ctrl-C while the command line is read must find somebody who heeds it.
_HOMES = {
    "Check": "verify",
    "Level": "verify",
    "Outcome": "outcome",
    "Project": "project",
    "Runner": "runner",
    "Settings": "settings",
    "load": "project",
    "packaged": "project",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f'module "foundry.migrate" has no attribute "{name}"')
    return getattr(import_module(f"foundry.migrate.{_HOMES[name]}"), name)


def up(
    target: Target,
    project: Project | None = None,
    *,
    report: Callable[[str], None] = lambda line: None,
) -> Outcome:
    """Bring externals forward and apply pending files; `project` is foundry's own by default.

    `target` is what `foundry.database.resolve()` or a database's `.target` gives.
    """
    from foundry.migrate.project import packaged
    from foundry.migrate.runner import Runner

    settings = (project or packaged()).settings
    with Runner.opened(target, settings, report=report) as runner:
        return runner.up()
