"""The command line for acceptance tests."""

from support.fixtures import command

__all__ = ["command"]
