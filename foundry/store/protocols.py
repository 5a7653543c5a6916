"""Protocols and their audit trail; `foundry.store.trail` has the types."""

from __future__ import annotations

from foundry.store import listing, protocolling
from foundry.store.blocking import blocking
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

open = blocking(protocolling.open)
log = blocking(protocolling.log)
assess = blocking(protocolling.assess)
next_iteration = blocking(protocolling.next_iteration)
approve = blocking(protocolling.approve)
reject = blocking(protocolling.reject)
complete = blocking(protocolling.complete)
state = blocking(protocolling.state)
timeline = blocking(protocolling.timeline)
find = blocking(listing.find)
page = blocking(listing.page)
