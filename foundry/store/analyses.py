"""The steps of chain analyses."""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

from foundry.errors import InvalidValue, MissingRow, StoreError
from foundry.store import strict, trail
from foundry.store.operations import Query, Statement, Steps
from foundry.store.payloads import loaded
from foundry.store.rows import ChainAnalysis, ChainLink

_COLUMNS = (
    "chain_links, vulnerabilities, problem_behavior, prompting_event, consequences, solutions,"
    " summary"
)
_SAVE = Statement(
    f"""
    INSERT INTO chain_analysis_results AS r (session_id, {_COLUMNS})
    VALUES ($1, $2, $3, $4, $5, $6, $7, $8)
    ON CONFLICT (session_id) DO UPDATE SET
        ({_COLUMNS}) = ROW ({", ".join(f"EXCLUDED.{c.strip()}" for c in _COLUMNS.split(","))})
    """
)
_RESULT = Statement(
    """
    SELECT chain_links::text, vulnerabilities::text, problem_behavior, prompting_event,
           consequences, solutions::text, summary
    FROM chain_analysis_results WHERE session_id = $1
    """
)


def save_result(session: UUID | str, analysis: ChainAnalysis) -> Steps[None]:
    """Store the chain analysis of a session, in place of an earlier one."""
    which = strict.uuid(session, "session.id")
    if not isinstance(analysis, ChainAnalysis):
        raise InvalidValue(f"analysis: expected ChainAnalysis, got {type(analysis).__name__}")
    try:
        yield Query(_SAVE, (str(which), *_sent(analysis)))
    except StoreError as error:
        if error.sqlstate != "23503":
            raise
        raise MissingRow(f'session "{which}" is not there') from None


def result(session: UUID | str) -> Steps[ChainAnalysis | None]:
    """Return the chain analysis of a session, if it has one.

    One that was stored in another shape by other means is InvalidValue.
    """
    rows = yield Query(_RESULT, (str(strict.uuid(session, "session.id")),))
    return _read(*rows[0]) if rows else None


def _sent(analysis: ChainAnalysis) -> tuple[str | None, ...]:
    path, solutions = "analysis", analysis.solutions
    if solutions is not None:
        _check_list(solutions, f"{path}.solutions", list)
    return (
        strict.optional(_links, analysis.chain_links, f"{path}.chain_links"),
        strict.optional(trail.texts, analysis.vulnerabilities, f"{path}.vulnerabilities"),
        *(
            strict.optional(strict.text, getattr(analysis, name), f"{path}.{name}")
            for name in ("problem_behavior", "prompting_event", "consequences")
        ),
        strict.optional(strict.payload, solutions, f"{path}.solutions"),
        strict.optional(strict.text, analysis.summary, f"{path}.summary"),
    )


def _check_list(value: object, path: str, kinds: type | tuple[type, ...]) -> None:
    if not isinstance(value, kinds):
        raise InvalidValue(f"{path}: expected a list, got {type(value).__name__}")


def _links(links: Sequence[ChainLink], path: str) -> str:
    _check_list(links, path, (list, tuple))
    return strict.payload([_link(one, f"{path}[{at}]") for at, one in enumerate(links)], path)


def _link(link: ChainLink, path: str) -> dict[str, Any]:
    if not isinstance(link, ChainLink):
        raise InvalidValue(f"{path}: expected ChainLink, got {type(link).__name__}")
    return {
        "ts": strict.moment(link.ts, f"{path}.ts").isoformat(),
        "kind": strict.text(link.kind, f"{path}.kind"),
        "text": strict.text(link.text, f"{path}.text"),
        "intensity": _intensity(link.intensity, f"{path}.intensity"),
    }


def _intensity(value: object, path: str) -> int | None:
    return None if value is None else strict.integer(value, path, low=0, high=100)


def _read(
    links: str | None,
    vulnerabilities: str | None,
    behavior: str | None,
    event: str | None,
    consequences: str | None,
    *rest: str | None,
) -> ChainAnalysis:
    solutions, summary = rest
    path = "chain_analysis_results"
    return ChainAnalysis(
        chain_links=strict.optional(_links_read, _loaded(links), f"{path}.chain_links"),
        vulnerabilities=strict.optional(
            trail.texts_read, _loaded(vulnerabilities), f"{path}.vulnerabilities"
        ),
        problem_behavior=behavior,
        prompting_event=event,
        consequences=consequences,
        solutions=_loaded(solutions),
        summary=summary,
    )


def _loaded(written: str | None) -> Any:
    return None if written is None else loaded(written)


def _links_read(value: object, path: str) -> tuple[ChainLink, ...]:
    if not isinstance(value, list):
        raise InvalidValue(f"{path}: expected an array, got {type(value).__name__}")
    return tuple(_link_read(one, f"{path}[{at}]") for at, one in enumerate(value))


def _link_read(value: object, path: str) -> ChainLink:
    if not isinstance(value, dict) or not value.keys() <= set(ChainLink._fields):
        raise InvalidValue(f"{path}: not a link with ts, kind, text and intensity")
    try:
        # Python 3.10 does not read the Z that others write.
        ts = datetime.fromisoformat(re.sub("Z$", "+00:00", value.get("ts", "")))
    except (TypeError, ValueError):
        raise InvalidValue(f"{path}.ts: not a time") from None
    return ChainLink(
        strict.moment(ts, f"{path}.ts"),
        strict.text(value.get("kind"), f"{path}.kind"),
        strict.text(value.get("text"), f"{path}.text"),
        _intensity(value.get("intensity"), f"{path}.intensity"),
    )
