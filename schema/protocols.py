"""The Cerina Protocol Foundry: protocol requests and their audit trail."""

from __future__ import annotations

from peewee import (
    SQL,
    AutoField,
    BooleanField,
    Check,
    ForeignKeyField,
    IntegerField,
    ModelSelect,
    Node,
    TextField,
)

from foundry import declare
from foundry.fields import JSONField, TimestampField, VarCharField
from foundry.schema.base import Base

AGENT_ROLES = ("drafter", "safety_guardian", "clinical_critic", "supervisor")
"""What `agent_interactions.agent_role` may be."""

SAFETY_LEVELS = ("safe", "needs_review", "unsafe")
"""What `safety_logs.safety_level` may be."""

_NOW: list[Node] = [SQL("DEFAULT CURRENT_TIMESTAMP")]
_UTC = "UTC, without a zone: write it from sessions whose time zone is UTC"


def _one_of(column: str, values: tuple[str, ...], name: str) -> Node:
    return Check(f"{column} IN ({', '.join(map(repr, values))})", name=name)


class Protocol(Base):
    """One request for a protocol and what became of it."""

    id = VarCharField(primary_key=True, help_text="UUID; also the LangGraph thread_id")
    user_intent = TextField(help_text="the therapeutic goal; personal data")
    user_context = TextField(null=True, help_text="further context; personal data")
    final_protocol = TextField(null=True, help_text="text of the approved CBT exercise")
    iteration_count = IntegerField(null=True, constraints=[SQL("DEFAULT 0")])
    human_approved = BooleanField(null=True, constraints=[SQL("DEFAULT FALSE")])
    human_feedback = TextField(null=True)
    created_at = TimestampField(null=True, constraints=_NOW, help_text=_UTC)
    completed_at = TimestampField(null=True, help_text=_UTC)
    state_snapshot = JSONField(null=True, help_text="the final ProtocolState")
    interactions: ModelSelect[AgentInteraction]
    assessments: ModelSelect[SafetyLog]

    class Meta:
        table_name = "protocol_history"
        help_text = "protocol requests and their results"


class AgentInteraction(Base):
    """One scratchpad entry of an agent."""

    id = AutoField()
    protocol = ForeignKeyField(
        Protocol,
        column_name="protocol_id",
        backref="interactions",
        on_delete="RESTRICT",
        index=False,
    )
    agent_role = VarCharField(
        constraints=[_one_of("agent_role", AGENT_ROLES, "agent_interactions_agent_role_check")],
        help_text="which agent: " + ", ".join(AGENT_ROLES),
    )
    iteration = IntegerField()
    content = TextField(help_text="the agent's scratchpad message; personal data")
    timestamp = TimestampField(null=True, constraints=_NOW, help_text=_UTC)
    idempotency_key = TextField(
        null=True, help_text="what was logged under a key of its protocol is logged once"
    )

    class Meta:
        table_name = "agent_interactions"
        help_text = "what the agents did; audit trail"


class SafetyLog(Base):
    """One safety assessment of a draft."""

    id = AutoField()
    protocol = ForeignKeyField(
        Protocol,
        column_name="protocol_id",
        backref="assessments",
        on_delete="RESTRICT",
        index=False,
    )
    safety_level = VarCharField(
        constraints=[_one_of("safety_level", SAFETY_LEVELS, "safety_logs_safety_level_check")],
        help_text="one of " + ", ".join(SAFETY_LEVELS),
    )
    concerns = JSONField(null=True, help_text="array of concerns")
    recommendations = JSONField(null=True, help_text="array of recommendations")
    flagged_lines = JSONField(null=True, help_text="array of line numbers with issues")
    timestamp = TimestampField(null=True, constraints=_NOW, help_text=_UTC)

    class Meta:
        table_name = "safety_logs"
        help_text = "safety assessments; audit trail"


for _index in (
    declare.Index(Protocol, Protocol.created_at.desc(), name="idx_protocol_created_at"),
    declare.Index(Protocol, Protocol.human_approved, name="idx_protocol_approved"),
    declare.Index(AgentInteraction, AgentInteraction.protocol, name="idx_agent_protocol_id"),
    declare.Index(AgentInteraction, AgentInteraction.timestamp.desc(), name="idx_agent_timestamp"),
    declare.Index(AgentInteraction, AgentInteraction.agent_role, name="idx_agent_role"),
    declare.Index(
        AgentInteraction,
        AgentInteraction.protocol,
        AgentInteraction.idempotency_key,
        name="idx_agent_idempotency_key",
        unique=True,
        where=AgentInteraction.idempotency_key.is_null(False),
    ),
    declare.Index(SafetyLog, SafetyLog.protocol, name="idx_safety_protocol_id"),
    declare.Index(SafetyLog, SafetyLog.safety_level, name="idx_safety_level"),
    declare.Index(SafetyLog, SafetyLog.timestamp.desc(), name="idx_safety_timestamp"),
):
    _index.model.add_index(_index)

SAFETY_CONCERNS = declare.optional(
    declare.Index(SafetyLog, SafetyLog.concerns, name="idx_safety_concerns", using="GIN"),
    needs="option:jsonb_indexes",
)

MODELS = (Protocol, AgentInteraction, SafetyLog)
