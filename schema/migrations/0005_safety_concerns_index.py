"""The optional GIN index on the concerns of a safety assessment."""

requires = ("option:jsonb_indexes",)

UP = ("CREATE INDEX idx_safety_concerns ON safety_logs USING gin (concerns)",)
DOWN = ("DROP INDEX idx_safety_concerns",)


def up(migrator, db):
    migrator.migrate(*(migrator.sql(statement) for statement in UP))


def down(migrator, db):
    migrator.migrate(*(migrator.sql(statement) for statement in DOWN))
