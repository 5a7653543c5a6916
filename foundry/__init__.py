"""PostgreSQL persistence for LLM-agent applications, declared as Peewee models."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from foundry.database import Database, Target, connect
    from foundry.errors import FoundryError

__all__ = ["Database", "FoundryError", "Target", "connect"]

# Loaded on first use: a test plugin that only names foundry must cost nothing.
_HOMES = {
    "Database": "foundry.database",
    "FoundryError": "foundry.errors",
    "Target": "foundry.database",
    "connect": "foundry.database",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f'module "foundry" has no attribute "{name}"')
    return getattr(import_module(_HOMES[name]), name)
