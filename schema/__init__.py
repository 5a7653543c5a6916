"""What the database should be: every table, index and object of foundry, as `SCHEMA`."""

from foundry.declare import Schema
from foundry.schema import checkpoints, conversations, protocols
from foundry.schema.checkpoints import (
    Checkpoint,
    CheckpointBlob,
    CheckpointMigration,
    CheckpointState,
    CheckpointWrite,
)
from foundry.schema.conversations import ChainAnalysisResult, Message, Session, User
from foundry.schema.protocols import AgentInteraction, Protocol, SafetyLog

__all__ = [
    "SCHEMA",
    "AgentInteraction",
    "ChainAnalysisResult",
    "Checkpoint",
    "CheckpointBlob",
    "CheckpointMigration",
    "CheckpointState",
    "CheckpointWrite",
    "Message",
    "Protocol",
    "SafetyLog",
    "Session",
    "User",
]

SCHEMA = Schema(
    models=(*conversations.MODELS, *protocols.MODELS),
    objects=(conversations.TEXT_INDEX, protocols.SAFETY_CONCERNS, *checkpoints.OBJECTS),
)
