"""Every column, key and index of the two seed documents, read from pg_catalog alone.

The expectation is written out by hand from the documents. What foundry adds to them
is listed in ADDED_*, so that an addition nobody decided on makes this fail.
"""

from __future__ import annotations

import pytest
from support.migrations import rows

from foundry.database import Target

pytestmark = pytest.mark.usefixtures("vector")

UUID, TEXT, JSONB = "uuid", "text", "jsonb"
TZ, TS, VARCHAR = "timestamp with time zone", "timestamp without time zone", "character varying"
NOW, UTC_NOW = "now()", "CURRENT_TIMESTAMP"

# table -> column -> (type, default, nullable)
COLUMNS = {
    "users": {
        "id": (UUID, "gen_random_uuid()", False),
        "email": (TEXT, None, True),
        "name": (TEXT, None, True),
        "created_at": (TZ, NOW, True),
    },
    "sessions": {
        "id": (UUID, "gen_random_uuid()", False),
        "user_id": (UUID, None, False),
        "type": (TEXT, None, True),
        "started_at": (TZ, NOW, False),
        "ended_at": (TZ, None, True),
    },
    "messages": {
        "id": ("bigint", "nextval('messages_id_seq'::regclass)", False),
        "session_id": (UUID, None, False),
        "role": (TEXT, None, False),
        "content": (TEXT, None, False),
        "embedding": ("vector(384)", None, True),
        "ts": (TZ, NOW, False),
    },
    "chain_analysis_results": {
        "session_id": (UUID, None, False),
        "vulnerabilities": (JSONB, None, True),
        "chain_links": (JSONB, None, True),
        "problem_behavior": (TEXT, None, True),
        "prompting_event": (TEXT, None, True),
        "consequences": (TEXT, None, True),
        "solutions": (JSONB, None, True),
        "summary": (TEXT, None, True),
        "created_at": (TZ, NOW, True),
    },
    "protocol_history": {
        "id": (VARCHAR, None, False),
        "user_intent": (TEXT, None, False),
        "user_context": (TEXT, None, True),
        "final_protocol": (TEXT, None, True),
        "iteration_count": ("integer", "0", True),
        "human_approved": ("boolean", "false", True),
        "human_feedback": (TEXT, None, True),
        "created_at": (TS, UTC_NOW, True),
        "completed_at": (TS, None, True),
        "state_snapshot": (JSONB, None, True),
    },
    "agent_interactions": {
        "id": ("integer", "nextval('agent_interactions_id_seq'::regclass)", False),
        "protocol_id": (VARCHAR, None, False),
        "agent_role": (VARCHAR, None, False),
        "iteration": ("integer", None, False),
        "content": (TEXT, None, False),
        "timestamp": (TS, UTC_NOW, True),
        # Not in the documents: what is logged again after a crash is found by it.
        "idempotency_key": (TEXT, None, True),
    },
    "safety_logs": {
        "id": ("integer", "nextval('safety_logs_id_seq'::regclass)", False),
        "protocol_id": (VARCHAR, None, False),
        "safety_level": (VARCHAR, None, False),
        "concerns": (JSONB, None, True),
        "recommendations": (JSONB, None, True),
        "flagged_lines": (JSONB, None, True),
        "timestamp": (TS, UTC_NOW, True),
    },
    "checkpoint": {
        "thread_id": (TEXT, None, True),
        "checkpoint_ns": (TEXT, None, True),
        "checkpoint_id": (TEXT, None, True),
        "parent_checkpoint_id": (TEXT, None, True),
        "type": (TEXT, None, True),
        "checkpoint": (JSONB, None, True),
        "metadata": (JSONB, None, True),
    },
}

SEED_CONSTRAINTS = {
    "users": {"PRIMARY KEY (id)", "UNIQUE (email)"},
    "sessions": {
        "PRIMARY KEY (id)",
        "FOREIGN KEY (user_id) REFERENCES users(id) ON DELETE CASCADE",
    },
    "messages": {
        "PRIMARY KEY (id)",
        "FOREIGN KEY (session_id) REFERENCES sessions(id) ON DELETE CASCADE",
    },
    "chain_analysis_results": {
        "PRIMARY KEY (session_id)",
        "FOREIGN KEY (session_id) REFERENCES sessions(id) ON DELETE CASCADE",
    },
    "protocol_history": {"PRIMARY KEY (id)"},
    "agent_interactions": {"PRIMARY KEY (id)"},
    "safety_logs": {"PRIMARY KEY (id)"},
    "checkpoint": set(),
}
# What the documents say in words and their DDL does not.
ADDED_CONSTRAINTS = {
    "messages": {
        "CHECK ((role = ANY (ARRAY['user'::text, 'assistant'::text, 'system'::text, "
        "'tool'::text])))"
    },
    "agent_interactions": {
        "FOREIGN KEY (protocol_id) REFERENCES protocol_history(id) ON DELETE RESTRICT",
        "CHECK (((agent_role)::text = ANY ((ARRAY['drafter'::character varying, "
        "'safety_guardian'::character varying, 'clinical_critic'::character varying, "
        "'supervisor'::character varying])::text[])))",
    },
    "safety_logs": {
        "FOREIGN KEY (protocol_id) REFERENCES protocol_history(id) ON DELETE RESTRICT",
        "CHECK (((safety_level)::text = ANY ((ARRAY['safe'::character varying, "
        "'needs_review'::character varying, 'unsafe'::character varying])::text[])))",
    },
}

# name -> definition after "ON public."
SEED_INDEXES = {
    "idx_protocol_created_at": "protocol_history USING btree (created_at DESC)",
    "idx_protocol_approved": "protocol_history USING btree (human_approved)",
    "idx_agent_protocol_id": "agent_interactions USING btree (protocol_id)",
    "idx_agent_timestamp": 'agent_interactions USING btree ("timestamp" DESC)',
    "idx_agent_role": "agent_interactions USING btree (agent_role)",
    "idx_safety_protocol_id": "safety_logs USING btree (protocol_id)",
    "idx_safety_level": "safety_logs USING btree (safety_level)",
    "idx_safety_timestamp": 'safety_logs USING btree ("timestamp" DESC)',
    "idx_checkpoint_parent_id": "checkpoints USING btree (parent_checkpoint_id)",
    # Without a name in the documents; the index on checkpoint(thread_id) is LangGraph's own.
    "idx_messages_session_ts": "messages USING btree (session_id, ts)",
    "idx_messages_embedding": "messages USING ivfflat (embedding vector_cosine_ops) "
    "WITH (lists='1')",
    "idx_checkpoints_thread_checkpoint": "checkpoints USING btree (thread_id, checkpoint_id)",
    "checkpoints_thread_id_idx": "checkpoints USING btree (thread_id)",
}
ADDED_INDEXES = {
    "idx_sessions_user": "sessions USING btree (user_id)",
    "idx_agent_idempotency_key": "agent_interactions USING btree (protocol_id, idempotency_key) "
    "WHERE (idempotency_key IS NOT NULL)",
    "checkpoint_blobs_thread_id_idx": "checkpoint_blobs USING btree (thread_id)",
    "checkpoint_writes_thread_id_idx": "checkpoint_writes USING btree (thread_id)",
    "foundry_migration_name": "foundry_migration USING btree (name)",
}
ADDED_RELATIONS = {
    "checkpoints",
    "checkpoint_blobs",
    "checkpoint_writes",
    "checkpoint_migrations",
    "foundry_migration",
    "foundry_migration_step",
}

_COLUMNS = """
SELECT a.attname, format_type(a.atttypid, a.atttypmod), pg_get_expr(d.adbin, d.adrelid),
       NOT a.attnotnull
FROM pg_attribute AS a
LEFT JOIN pg_attrdef AS d ON d.adrelid = a.attrelid AND d.adnum = a.attnum
WHERE a.attrelid = %s::regclass AND a.attnum > 0 AND NOT a.attisdropped
"""


@pytest.mark.parametrize("name", COLUMNS)
def test_columns_are_those_of_the_documents(migrated: Target, name: str) -> None:
    """Type, default and nullability of each; their order does not matter."""
    found = {c: (t, d, n) for c, t, d, n in rows(migrated, _COLUMNS, name)}
    assert COLUMNS[name] == found


@pytest.mark.parametrize("name", COLUMNS)
def test_constraints_are_those_of_the_documents_and_the_listed_additions(
    migrated: Target, name: str
) -> None:
    """Keys, uniqueness, foreign keys and checks, all of them validated."""
    found = rows(
        migrated,
        "SELECT pg_get_constraintdef(oid), convalidated FROM pg_constraint"
        " WHERE conrelid = %s::regclass AND contype <> 'n'",
        name,
    )
    expected = SEED_CONSTRAINTS[name] | ADDED_CONSTRAINTS.get(name, set())
    assert {(definition, True) for definition in expected} == set(found)


def test_indexes_are_those_of_the_documents_and_the_listed_additions(migrated: Target) -> None:
    """Names and definitions; indexes that belong to a key are its business."""
    found = rows(
        migrated,
        "SELECT c.relname, split_part(pg_get_indexdef(i.indexrelid), ' ON public.', 2)"
        " FROM pg_index AS i JOIN pg_class AS c ON c.oid = i.indexrelid"
        " WHERE c.relnamespace = 'public'::regnamespace AND NOT EXISTS"
        " (SELECT FROM pg_constraint WHERE conindid = i.indexrelid AND contype <> 'f')",
    )
    assert {**SEED_INDEXES, **ADDED_INDEXES} == dict(found)


def test_there_are_no_other_tables_and_views(migrated: Target) -> None:
    """Nothing is in the database that is not written down here."""
    found = rows(
        migrated,
        "SELECT relname FROM pg_class"
        " WHERE relnamespace = 'public'::regnamespace AND relkind IN ('r', 'v', 'm', 'p')",
    )
    assert set(COLUMNS) | ADDED_RELATIONS == {name for (name,) in found}


def test_personal_data_is_marked_in_the_column_comments(migrated: Target) -> None:
    """Who asks where a patient's words are finds them with \\d+."""
    found = rows(
        migrated,
        "SELECT objoid::regclass::text || '.' || attname FROM pg_description"
        " JOIN pg_attribute ON attrelid = objoid AND attnum = objsubid"
        " WHERE description LIKE '%personal data%'",
    )
    assert {
        "users.email",
        "users.name",
        "messages.content",
        "messages.embedding",
        "protocol_history.user_intent",
        "protocol_history.user_context",
        "agent_interactions.content",
    } == {name for (name,) in found}


def test_uuid_ossp_and_pgcrypto_are_not_needed(migrated: Target) -> None:
    """Only pgvector is installed besides the language every database has."""
    found = rows(migrated, "SELECT extname FROM pg_extension ORDER BY 1")
    assert [("plpgsql",), ("vector",)] == found
