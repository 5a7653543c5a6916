"""The packaged conversations and protocols are complete and consistent."""

from __future__ import annotations

import json
import unicodedata
from collections import Counter
from collections.abc import Iterator
from datetime import datetime, timedelta
from importlib import resources
from itertools import pairwise
from typing import Any
from uuid import UUID

import pytest

FOLDER = resources.files("foundry") / "fixtures" / "conversations"
TEXTS = {
    entry.name: entry.read_text(encoding="utf-8")
    for entry in FOLDER.iterdir()
    if entry.name.endswith(".json")
}
DOCUMENTS: dict[str, Any] = {name: json.loads(text) for name, text in sorted(TEXTS.items())}
CHAINS = [n for n, d in DOCUMENTS.items() if d["kind"] == "chain_analysis"]
PROTOCOLS = [n for n, d in DOCUMENTS.items() if d["kind"] == "protocol"]
STATE_KEYS = {
    "user_intent",
    "user_context",
    "current_draft",
    "draft_versions",
    "scratchpad",
    "safety_assessment",
    "clinical_assessment",
    "iteration_count",
    "requires_human_approval",
}


def moment(text: str) -> datetime:
    """A time as the files write it; anything but +00:00 fails."""
    assert text.endswith("+00:00")
    return datetime.fromisoformat(text)


def strings(value: object) -> Iterator[str]:
    """Every string of a document, keys included."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for key, inner in value.items():
            yield from (key, *strings(inner))
    elif isinstance(value, list):
        for inner in value:
            yield from strings(inner)


def is_filled(value: object) -> bool:
    """True for text that is there and has no white space around it."""
    return isinstance(value, str) and value != "" and value == value.strip()


def test_every_file_is_a_chain_analysis_or_a_protocol() -> None:
    """No file is of an unknown kind, and none of either kind is missing."""
    assert sorted(DOCUMENTS) == sorted(CHAINS + PROTOCOLS)
    assert (7, 3) == (len(CHAINS), len(PROTOCOLS))


def test_the_conversations_cover_scripts_and_directions() -> None:
    """Latin with accents, right-to-left, CJK and Devanagari are all there."""
    languages = {DOCUMENTS[name]["language"] for name in CHAINS}
    assert {"en", "de", "es", "ar", "ja", "hi"} == languages
    directions = Counter(
        unicodedata.bidirectional(c) for name in CHAINS for c in "".join(strings(DOCUMENTS[name]))
    )
    assert directions["AL"] > 500
    assert sum("🙏" in text or "🌱" in text or "🎉" in text for text in TEXTS.values()) >= 3


@pytest.mark.parametrize("name", sorted(DOCUMENTS))
def test_a_file_is_indented_nfc_utf8_and_ends_with_a_newline(name: str) -> None:
    """The file is exactly what json.dumps writes of it, unescaped."""
    expected = json.dumps(DOCUMENTS[name], ensure_ascii=False, indent=2) + "\n"
    assert expected == TEXTS[name]
    assert unicodedata.is_normalized("NFC", TEXTS[name])


@pytest.mark.parametrize("name", sorted(DOCUMENTS))
def test_no_string_is_blank_or_holds_a_control_character(name: str) -> None:
    """PostgreSQL refuses U+0000, and nobody types the others."""
    for text in strings(DOCUMENTS[name]):
        assert is_filled(text)
        assert set() == {c for c in text if unicodedata.category(c) in {"Cc", "Cs"}} - {"\n"}


@pytest.mark.parametrize("name", CHAINS)
def test_a_conversation_has_exactly_its_keys(name: str) -> None:
    """Neither a missing nor an unknown key, down to the links and solutions."""
    document = DOCUMENTS[name]
    assert {"kind", "language", "user", "session", "messages", "result"} == set(document)
    assert {"name", "email"} == set(document["user"])
    assert {"type", "started_at", "ended_at"} == set(document["session"])
    assert "chain_analysis" == document["session"]["type"]
    for message in document["messages"]:
        assert {"role", "content", "ts"} == set(message)
    result = document["result"]
    texts = {"prompting_event", "problem_behavior", "consequences", "summary"}
    lists = {"vulnerabilities", "chain_links", "solutions"}
    assert texts | lists == set(result)
    assert all(is_filled(result[key]) for key in texts)
    assert all(result[key] for key in lists)


def test_every_person_is_invented_and_appears_once() -> None:
    """Addresses are at example.org, which belongs to nobody."""
    addresses = [DOCUMENTS[name]["user"]["email"] for name in CHAINS]
    assert all(address.endswith("@example.org") for address in addresses)
    assert len(set(addresses)) == len(addresses)


@pytest.mark.parametrize("name", CHAINS)
def test_messages_follow_one_another_within_their_session(name: str) -> None:
    """Times rise strictly, and a system message only opens the conversation."""
    document = DOCUMENTS[name]
    times = [moment(message["ts"]) for message in document["messages"]]
    assert all(before < after for before, after in pairwise(times))
    assert moment(document["session"]["started_at"]) <= times[0]
    assert times[-1] < moment(document["session"]["ended_at"])
    assert times[-1] - times[0] < timedelta(hours=2)
    roles = [message["role"] for message in document["messages"]]
    assert {"user", "assistant"} == set(roles[1:])
    assert roles[0] in {"system", "assistant"}


def test_one_conversation_is_long_and_the_others_are_short() -> None:
    """One of more than 40 messages; the others have 10 to 24."""
    lengths = sorted(len(DOCUMENTS[name]["messages"]) for name in CHAINS)
    assert lengths[-1] > 40
    assert all(10 <= length <= 24 for length in lengths[:-1])


@pytest.mark.parametrize("name", CHAINS)
def test_chain_links_carry_their_own_rising_times_before_the_session(name: str) -> None:
    """A link says when it happened, what kind it is and how strong it was, 0 to 100."""
    document = DOCUMENTS[name]
    links = document["result"]["chain_links"]
    for link in links:
        assert {"ts", "kind", "text", "intensity"} == set(link)
        assert link["kind"] in {"thought", "emotion", "body", "action", "event"}
        intensity = link["intensity"]
        assert intensity is None or (type(intensity) is int and 0 <= intensity <= 100)
    times = [moment(link["ts"]) for link in links]
    assert times == sorted(set(times))
    assert times[-1] < moment(document["session"]["started_at"])
    assert {"thought", "emotion", "body", "action", "event"} == {link["kind"] for link in links}


@pytest.mark.parametrize("name", CHAINS)
def test_every_solution_names_a_link_of_its_chain(name: str) -> None:
    """`link` counts from 0."""
    result = DOCUMENTS[name]["result"]
    for solution in result["solutions"]:
        assert {"link", "skill", "text"} == set(solution)
        assert solution["link"] in range(len(result["chain_links"]))


@pytest.mark.parametrize("name", PROTOCOLS)
def test_a_protocol_has_exactly_its_keys(name: str) -> None:
    """The columns of the three tables, and the state with the keys of ProtocolState."""
    document = DOCUMENTS[name]
    assert {"kind", "language", "protocol", "interactions", "safety"} == set(document)
    protocol = document["protocol"]
    assert {
        "id",
        "user_intent",
        "user_context",
        "final_protocol",
        "iteration_count",
        "human_approved",
        "human_feedback",
        "created_at",
        "completed_at",
        "state_snapshot",
    } == set(protocol)
    assert str(UUID(protocol["id"])) == protocol["id"]
    assert set(protocol["state_snapshot"]) == STATE_KEYS


@pytest.mark.parametrize("name", PROTOCOLS)
def test_every_iteration_is_drafted_checked_and_criticised(name: str) -> None:
    """The trail of a protocol is whole and in order."""
    document = DOCUMENTS[name]
    count = document["protocol"]["iteration_count"]
    seen = [(entry["agent_role"], entry["iteration"]) for entry in document["interactions"]]
    for role in ("drafter", "safety_guardian", "clinical_critic"):
        assert list(range(1, count + 1)) == [i for who, i in seen if who == role]
    assert {"drafter", "safety_guardian", "clinical_critic", "supervisor"} == {r for r, _ in seen}
    for rows in (document["interactions"], document["safety"]):
        times = [moment(row["timestamp"]) for row in rows]
        assert times == sorted(set(times))
        assert moment(document["protocol"]["created_at"]) < times[0]
    assert count == len(document["safety"])


@pytest.mark.parametrize("name", PROTOCOLS)
def test_flagged_lines_are_lines_of_the_draft_that_was_checked(name: str) -> None:
    """Lines count from 1; what is safe has no concern and no flagged line."""
    document = DOCUMENTS[name]
    drafts = document["protocol"]["state_snapshot"]["draft_versions"]
    for finding, draft in zip(document["safety"], drafts, strict=True):
        lines = draft["content"].splitlines()
        assert set(finding["flagged_lines"]) <= set(range(1, len(lines) + 1))
        assert finding["safety_level"] in {"safe", "needs_review", "unsafe"}
        assert (finding["safety_level"] == "safe") == (not finding["concerns"])
        assert bool(finding["concerns"]) == bool(finding["recommendations"])


def test_one_protocol_is_approved_one_rejected_as_unsafe_and_one_awaits() -> None:
    """Each outcome is stored as the application would store it."""
    outcomes = {}
    for name in PROTOCOLS:
        protocol, safety = DOCUMENTS[name]["protocol"], DOCUMENTS[name]["safety"]
        state = protocol["state_snapshot"]
        outcomes[name] = (
            protocol["iteration_count"],
            safety[-1]["safety_level"],
            protocol["human_approved"],
            protocol["final_protocol"] == state["current_draft"],
            protocol["completed_at"] is not None,
            protocol["human_feedback"] is not None,
            state["requires_human_approval"],
        )
    assert {
        "protocol_en_agoraphobia_approved.json": (3, "safe", True, True, True, True, False),
        "protocol_de_schlaf_rejected.json": (2, "unsafe", False, False, True, True, False),
        "protocol_es_salud_awaiting.json": (2, "safe", False, False, False, False, True),
    } == outcomes
