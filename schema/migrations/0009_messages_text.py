"""The optional GIN index on the words of messages."""

atomic = False
requires = ("option:text_index",)
locks = (("messages", "SHARE UPDATE EXCLUSIVE", "build"),)


def up(migrator, db):
    migrator.migrate(
        migrator.sql(
            "CREATE INDEX CONCURRENTLY idx_messages_text ON messages USING gin "
            "(to_tsvector('simple'::regconfig, \"left\"(content, 200000)))"
        ),
    )


def down(migrator, db):
    migrator.migrate(
        migrator.sql("DROP INDEX CONCURRENTLY idx_messages_text"),
    )
