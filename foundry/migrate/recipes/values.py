"""Small texts that several recipes need."""

from __future__ import annotations

from collections.abc import Iterator

from foundry.migrate.spelling import literal


def comment(text: str) -> str:
    """Return a comment's text as COMMENT ON wants it; an empty one takes the comment away."""
    return literal(text) if text else "NULL"


def with_options(given: tuple[str, ...]) -> str:
    """Return what CREATE has after its columns for storage parameters."""
    return f" WITH ({', '.join(given)})" if given else ""


def parameters(before: tuple[str, ...], after: tuple[str, ...]) -> Iterator[str]:
    """Yield the RESET and SET that lead from some storage parameters to others."""
    names = {option.partition("=")[0] for option in after}
    gone = [o.partition("=")[0] for o in before if o.partition("=")[0] not in names]
    if gone:
        yield f"RESET ({', '.join(gone)})"
    new = [option for option in after if option not in before]
    if new:
        yield f"SET ({', '.join(new)})"
