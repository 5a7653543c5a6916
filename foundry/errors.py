"""Every exception foundry raises; one root, one line each.

A message says what happened and what to do, names things in double quotes and
never holds a password or the content of a row.
"""

from __future__ import annotations


class FoundryError(Exception):
    """Something foundry could not do; `exit_code` is what the command line returns for it."""

    exit_code = 2


class Refused(FoundryError):
    """Done on purpose: going on would lose data or contradict the history; nothing was changed."""

    exit_code = 3


class InvalidURL(FoundryError, ValueError):
    """A database URL that cannot be used as it is written."""


class ConnectionFailed(FoundryError):
    """No usable connection: no server, no such host, wrong password, no privilege, no TLS."""


class DatabaseMissing(ConnectionFailed):
    """The server answers and has no database of that name."""


class PoolExhausted(ConnectionFailed):
    """Every connection of the pool is in use and none came back in time."""


class EmbeddedError(FoundryError):
    """The embedded server could not be found, started, joined or stopped."""


class InvalidValue(FoundryError, ValueError):
    """A value a field cannot hold exactly; raised before any SQL is sent."""


class ReadOnlyModel(FoundryError, TypeError):
    """A write through a model whose table belongs to another package."""


class DeclarationError(FoundryError):
    """Models or declared objects that contradict themselves or cannot be loaded."""


class MigrationError(FoundryError):
    """A migration file that cannot be read, or a step the server refused."""


class NoScratch(FoundryError):
    """No server is at hand on which a throw-away database could be made."""


class LockTimeout(FoundryError):
    """Another session held a lock for longer than one may wait."""

    def __init__(self, happened: str, remedy: str = "") -> None:
        """Keep what happened and what to do apart, for who puts something between them."""
        super().__init__(f"{happened}; {remedy}" if remedy else happened)
        self.happened = happened
        self.remedy = remedy


class HistoryConflict(Refused):
    """Files and history contradict each other: edited, missing, doubled or out of order."""


class DataLoss(Refused):
    """A file that loses data, without `--allow-data-loss`."""


class DataInTheWay(Refused):
    """Rows that a constraint, a NOT NULL or a cast of a pending file cannot go together with."""


class StoreError(FoundryError):
    """The server refused a statement of the store; `sqlstate` and `constraint` say which way."""

    def __init__(self, message: str, *, sqlstate: str | None = None, constraint: str | None = None):
        super().__init__(message)
        self.sqlstate = sqlstate
        self.constraint = constraint


class MissingRow(FoundryError, LookupError):
    """The user, session, message or protocol that was named is not there."""


class DuplicateRow(FoundryError):
    """A session or protocol of that id is there already."""


class IllegalTransition(FoundryError):
    """A protocol cannot go there from where it is; nothing was changed."""
