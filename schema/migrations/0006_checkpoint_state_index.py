"""The optional GIN index on LangGraph's checkpoints."""

requires = ("external:langgraph", "option:jsonb_indexes")

UP = ("CREATE INDEX idx_checkpoint_state ON checkpoints USING gin (checkpoint)",)
DOWN = ("DROP INDEX idx_checkpoint_state",)


def up(migrator, db):
    migrator.migrate(*(migrator.sql(statement) for statement in UP))


def down(migrator, db):
    migrator.migrate(*(migrator.sql(statement) for statement in DOWN))
