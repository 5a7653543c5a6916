"""What a protocol is made of, as the store takes it and gives it back."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, Literal, NamedTuple, TypeAlias, TypedDict

from foundry.errors import InvalidValue
from foundry.store import strict

Decided: TypeAlias = Literal["approved", "rejected", "awaiting"]
"""What a person has said; a rejected protocol that goes on awaits a word again."""

DECIDED: tuple[Decided, ...] = ("approved", "rejected", "awaiting")


class DraftVersion(TypedDict):
    """A draft of an iteration."""

    iteration: int
    content: str


class Note(TypedDict):
    """An entry of the scratchpad."""

    agent_role: str
    iteration: int
    note: str


class SafetyAssessment(TypedDict, total=False):
    """What the safety guardian found."""

    safety_level: str
    concerns: list[str]
    recommendations: list[str]
    flagged_lines: list[int]


class ClinicalAssessment(TypedDict, total=False):
    """What the clinical critic found."""

    score: int
    strengths: list[str]
    weaknesses: list[str]


class ProtocolState(TypedDict, total=False):
    """The state of the workflow, as its checkpoints have it; other keys are kept."""

    user_intent: str
    user_context: str | None
    current_draft: str | None
    draft_versions: list[DraftVersion]
    scratchpad: list[Note]
    safety_assessment: SafetyAssessment | None
    clinical_assessment: ClinicalAssessment | None
    iteration_count: int
    requires_human_approval: bool


class ProtocolRow(NamedTuple):
    """A stored protocol, without its state."""

    id: str
    user_intent: str
    user_context: str | None
    final_protocol: str | None
    iteration_count: int | None
    decided: Decided
    human_feedback: str | None
    created_at: datetime | None
    completed_at: datetime | None


class Interaction(NamedTuple):
    """What an agent did."""

    id: int
    agent_role: str
    iteration: int
    content: str
    timestamp: datetime | None


class Assessment(NamedTuple):
    """What was found about a draft."""

    id: int
    safety_level: str
    concerns: tuple[str, ...] | None
    recommendations: tuple[str, ...] | None
    flagged_lines: tuple[int, ...] | None
    timestamp: datetime | None


class Decision(NamedTuple):
    """What a person said, and when the protocol was completed if it was."""

    decided: Decided
    feedback: str | None
    completed_at: datetime | None


Event: TypeAlias = Interaction | Assessment | Decision

_TEXTS = ("user_intent", "user_context", "current_draft")
_LISTS = ("draft_versions", "scratchpad")
_PARTS = ("safety_assessment", "clinical_assessment")


def texts(values: object, path: str) -> str:
    """JSON of a list or tuple of texts."""
    found = _listed(values, path)
    return strict.payload([strict.text(v, f"{path}[{at}]") for at, v in enumerate(found)], path)


def texts_read(value: object, path: str) -> tuple[str, ...]:
    """Texts of a JSON array."""
    return tuple(strict.text(v, f"{path}[{at}]") for at, v in enumerate(_listed(value, path)))


def lines(values: object, path: str) -> str:
    """JSON of a list or tuple of line numbers."""
    return strict.payload(list(lines_read(values, path)), path)


def lines_read(value: object, path: str) -> tuple[int, ...]:
    """Line numbers of a JSON array."""
    return tuple(
        strict.integer(v, f"{path}[{at}]", low=0) for at, v in enumerate(_listed(value, path))
    )


def _listed(value: object, path: str) -> Sequence[Any]:
    if not isinstance(value, (list, tuple)):
        raise InvalidValue(f"{path}: expected a list, got {type(value).__name__}")
    return value


def state(value: Mapping[str, Any] | ProtocolState, path: str) -> str:
    """JSON of a state: its known keys have their types, the others are any JSON."""
    if type(value) is not dict:
        raise InvalidValue(f"{path}: expected dict, got {type(value).__name__}")
    check_state(value, path)
    return strict.payload(value, path)


def check_state(value: Mapping[str, Any], path: str) -> None:
    """InvalidValue when a known key of a state has another type than its own."""
    for name in _TEXTS:
        strict.optional(strict.text, value.get(name), f"{path}.{name}")
    for name in _LISTS:
        if name in value:
            for at, entry in enumerate(_listed(value[name], f"{path}.{name}")):
                _check_entry(entry, f"{path}.{name}[{at}]")
    for name in _PARTS:
        _check_part(value.get(name), f"{path}.{name}")
    if "iteration_count" in value:
        strict.integer(value["iteration_count"], f"{path}.iteration_count", low=0)
    if "requires_human_approval" in value:
        strict.boolean(value["requires_human_approval"], f"{path}.requires_human_approval")


def _check_entry(entry: object, path: str) -> None:
    """A draft or a note: the texts are texts and the iteration a number."""
    if not isinstance(entry, dict):
        raise InvalidValue(f"{path}: expected dict, got {type(entry).__name__}")
    for name in ("agent_role", "content", "note"):
        if name in entry:
            strict.text(entry[name], f"{path}.{name}")
    if "iteration" in entry:
        strict.integer(entry["iteration"], f"{path}.iteration", low=0)


def _check_part(part: object, path: str) -> None:
    if part is None:
        return
    if not isinstance(part, dict):
        raise InvalidValue(f"{path}: expected dict, got {type(part).__name__}")
    for name in ("concerns", "recommendations", "strengths", "weaknesses"):
        if name in part:
            texts_read(part[name], f"{path}.{name}")
    if "flagged_lines" in part:
        lines_read(part["flagged_lines"], f"{path}.flagged_lines")
