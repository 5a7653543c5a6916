"""The command line for schema tests."""

from support.fixtures import command

__all__ = ["command"]
