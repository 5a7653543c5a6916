"""Protocols and their audit trail, awaitable; `foundry.store.trail` has the types."""

from __future__ import annotations

from foundry.store import listing, protocolling
from foundry.store.aio.transport import awaitable
from foundry.store.trail import (
    Assessment,
    ClinicalAssessment,
    Decided,
    Decision,
    DraftVersion,
    Event,
    Interaction,
    Note,
    ProtocolRow,
    ProtocolState,
    SafetyAssessment,
)

__all__ = [
    "Assessment",
    "ClinicalAssessment",
    "Decided",
    "Decision",
    "DraftVersion",
    "Event",
    "Interaction",
    "Note",
    "ProtocolRow",
    "ProtocolState",
    "SafetyAssessment",
    "approve",
    "assess",
    "complete",
    "find",
    "log",
    "next_iteration",
    "open",
    "page",
    "reject",
    "state",
    "timeline",
]

open = awaitable(protocolling.open)
log = awaitable(protocolling.log)
assess = awaitable(protocolling.assess)
next_iteration = awaitable(protocolling.next_iteration)
approve = awaitable(protocolling.approve)
reject = awaitable(protocolling.reject)
complete = awaitable(protocolling.complete)
state = awaitable(protocolling.state)
timeline = awaitable(protocolling.timeline)
find = awaitable(listing.find)
page = awaitable(listing.page)
