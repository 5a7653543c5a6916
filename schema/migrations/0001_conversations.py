"""Users, sessions, messages and chain-analysis results."""

down_loses = ("every user, session, message and chain-analysis result",)

UP = (
    """
    CREATE TABLE users (
        id uuid NOT NULL PRIMARY KEY DEFAULT gen_random_uuid(),
        email text UNIQUE,
        name text,
        created_at timestamptz DEFAULT now()
    )
    """,
    """
    CREATE TABLE sessions (
        id uuid NOT NULL PRIMARY KEY DEFAULT gen_random_uuid(),
        user_id uuid NOT NULL,
        type text,
        started_at timestamptz NOT NULL DEFAULT now(),
        ended_at timestamptz,
        FOREIGN KEY (user_id) REFERENCES users (id) ON DELETE CASCADE
    )
    """,
    """
    CREATE TABLE messages (
        id bigserial NOT NULL PRIMARY KEY,
        session_id uuid NOT NULL,
        role text NOT NULL CONSTRAINT messages_role_check
            CHECK (role IN ('user', 'assistant', 'system', 'tool')),
        content text NOT NULL,
        ts timestamptz NOT NULL DEFAULT now(),
        FOREIGN KEY (session_id) REFERENCES sessions (id) ON DELETE CASCADE
    )
    """,
    """
    CREATE TABLE chain_analysis_results (
        session_id uuid NOT NULL PRIMARY KEY,
        vulnerabilities jsonb,
        chain_links jsonb,
        problem_behavior text,
        prompting_event text,
        consequences text,
        solutions jsonb,
        summary text,
        created_at timestamptz DEFAULT now(),
        FOREIGN KEY (session_id) REFERENCES sessions (id) ON DELETE CASCADE
    )
    """,
    "CREATE INDEX idx_sessions_user ON sessions (user_id)",
    "CREATE INDEX idx_messages_session_ts ON messages (session_id, ts)",
    "COMMENT ON TABLE users IS 'people who talk to the assistant'",
    "COMMENT ON COLUMN users.email IS 'address of the person; personal data'",
    "COMMENT ON COLUMN users.name IS 'what the person is called; personal data'",
    "COMMENT ON TABLE sessions IS 'conversations of a user'",
    "COMMENT ON COLUMN sessions.id IS 'also the LangGraph thread_id of the conversation, as text'",
    "COMMENT ON COLUMN sessions.type IS 'kind of conversation, for example chain_analysis'",
    "COMMENT ON TABLE messages IS 'what was said in a session, in order of ts and id'",
    "COMMENT ON COLUMN messages.role IS 'who said it: user, assistant, system, tool'",
    "COMMENT ON COLUMN messages.content IS 'what was said; personal data'",
    "COMMENT ON COLUMN messages.ts IS 'when it was said'",
    "COMMENT ON TABLE chain_analysis_results IS 'the chain analysis of a session; personal data'",
    "COMMENT ON COLUMN chain_analysis_results.vulnerabilities IS "
    "'what made the person vulnerable, an array'",
    "COMMENT ON COLUMN chain_analysis_results.chain_links IS "
    "'links in order, each with its own ts'",
    "COMMENT ON COLUMN chain_analysis_results.solutions IS 'skills and repairs, an array'",
)
DOWN = (
    "DROP TABLE chain_analysis_results",
    "DROP TABLE messages",
    "DROP TABLE sessions",
    "DROP TABLE users",
)


def up(migrator, db):
    migrator.migrate(*(migrator.sql(statement) for statement in UP))


def down(migrator, db):
    migrator.migrate(*(migrator.sql(statement) for statement in DOWN))
