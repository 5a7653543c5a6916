"""The embedding of a message and its index, on a server that has pgvector."""

requires = ("extension:vector",)
down_loses = ("every message embedding",)

UP = (
    "CREATE EXTENSION IF NOT EXISTS vector",
    "ALTER TABLE messages ADD COLUMN embedding vector(384)",
    """
    CREATE INDEX idx_messages_embedding ON messages
        USING ivfflat (embedding vector_cosine_ops) WITH (lists = 1)
    """,
    "COMMENT ON COLUMN messages.embedding IS 'embedding of the content; personal data'",
)
DOWN = ("ALTER TABLE messages DROP COLUMN embedding",)


def up(migrator, db):
    migrator.migrate(*(migrator.sql(statement) for statement in UP))


def down(migrator, db):
    migrator.migrate(*(migrator.sql(statement) for statement in DOWN))
