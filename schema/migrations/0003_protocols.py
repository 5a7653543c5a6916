"""Protocol requests and their audit trail."""

down_loses = ("every protocol, agent interaction and safety assessment",)

UP = (
    """
    CREATE TABLE protocol_history (
        id varchar NOT NULL PRIMARY KEY,
        user_intent text NOT NULL,
        user_context text,
        final_protocol text,
        iteration_count integer DEFAULT 0,
        human_approved boolean DEFAULT false,
        human_feedback text,
        created_at timestamp DEFAULT CURRENT_TIMESTAMP,
        completed_at timestamp,
        state_snapshot jsonb
    )
    """,
    """
    CREATE TABLE agent_interactions (
        id serial NOT NULL PRIMARY KEY,
        protocol_id varchar NOT NULL,
        agent_role varchar NOT NULL CONSTRAINT agent_interactions_agent_role_check
            CHECK (agent_role IN ('drafter', 'safety_guardian', 'clinical_critic', 'supervisor')),
        iteration integer NOT NULL,
        content text NOT NULL,
        timestamp timestamp DEFAULT CURRENT_TIMESTAMP,
        FOREIGN KEY (protocol_id) REFERENCES protocol_history (id) ON DELETE RESTRICT
    )
    """,
    """
    CREATE TABLE safety_logs (
        id serial NOT NULL PRIMARY KEY,
        protocol_id varchar NOT NULL,
        safety_level varchar NOT NULL CONSTRAINT safety_logs_safety_level_check
            CHECK (safety_level IN ('safe', 'needs_review', 'unsafe')),
        concerns jsonb,
        recommendations jsonb,
        flagged_lines jsonb,
        timestamp timestamp DEFAULT CURRENT_TIMESTAMP,
        FOREIGN KEY (protocol_id) REFERENCES protocol_history (id) ON DELETE RESTRICT
    )
    """,
    "CREATE INDEX idx_protocol_created_at ON protocol_history (created_at DESC)",
    "CREATE INDEX idx_protocol_approved ON protocol_history (human_approved)",
    "CREATE INDEX idx_agent_protocol_id ON agent_interactions (protocol_id)",
    "CREATE INDEX idx_agent_timestamp ON agent_interactions (timestamp DESC)",
    "CREATE INDEX idx_agent_role ON agent_interactions (agent_role)",
    "CREATE INDEX idx_safety_protocol_id ON safety_logs (protocol_id)",
    "CREATE INDEX idx_safety_level ON safety_logs (safety_level)",
    "CREATE INDEX idx_safety_timestamp ON safety_logs (timestamp DESC)",
    "COMMENT ON TABLE protocol_history IS 'protocol requests and their results'",
    "COMMENT ON COLUMN protocol_history.id IS 'UUID; also the LangGraph thread_id'",
    "COMMENT ON COLUMN protocol_history.user_intent IS 'the therapeutic goal; personal data'",
    "COMMENT ON COLUMN protocol_history.user_context IS 'further context; personal data'",
    "COMMENT ON COLUMN protocol_history.final_protocol IS 'text of the approved CBT exercise'",
    "COMMENT ON COLUMN protocol_history.created_at IS "
    "'UTC, without a zone: write it from sessions whose time zone is UTC'",
    "COMMENT ON COLUMN protocol_history.completed_at IS "
    "'UTC, without a zone: write it from sessions whose time zone is UTC'",
    "COMMENT ON COLUMN protocol_history.state_snapshot IS 'the final ProtocolState'",
    "COMMENT ON TABLE agent_interactions IS 'what the agents did; audit trail'",
    "COMMENT ON COLUMN agent_interactions.agent_role IS "
    "'which agent: drafter, safety_guardian, clinical_critic, supervisor'",
    "COMMENT ON COLUMN agent_interactions.content IS "
    "'the agent''s scratchpad message; personal data'",
    "COMMENT ON COLUMN agent_interactions.timestamp IS "
    "'UTC, without a zone: write it from sessions whose time zone is UTC'",
    "COMMENT ON TABLE safety_logs IS 'safety assessments; audit trail'",
    "COMMENT ON COLUMN safety_logs.safety_level IS 'one of safe, needs_review, unsafe'",
    "COMMENT ON COLUMN safety_logs.concerns IS 'array of concerns'",
    "COMMENT ON COLUMN safety_logs.recommendations IS 'array of recommendations'",
    "COMMENT ON COLUMN safety_logs.flagged_lines IS 'array of line numbers with issues'",
    "COMMENT ON COLUMN safety_logs.timestamp IS "
    "'UTC, without a zone: write it from sessions whose time zone is UTC'",
)
DOWN = (
    "DROP TABLE safety_logs",
    "DROP TABLE agent_interactions",
    "DROP TABLE protocol_history",
)


def up(migrator, db):
    migrator.migrate(*(migrator.sql(statement) for statement in UP))


def down(migrator, db):
    migrator.migrate(*(migrator.sql(statement) for statement in DOWN))
