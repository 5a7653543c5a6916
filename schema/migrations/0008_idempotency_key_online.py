"""Create index concurrently idx_agent_idempotency_key on agent_interactions."""

atomic = False
locks = (("agent_interactions", "SHARE UPDATE EXCLUSIVE", "build"),)
group = "0007_idempotency_key"


def up(migrator, db):
    migrator.migrate(
        migrator.sql(
            'CREATE UNIQUE INDEX CONCURRENTLY "idx_agent_idempotency_key" ON '
            '"agent_interactions" USING btree (protocol_id, idempotency_key) WHERE '
            "(idempotency_key IS NOT NULL)"
        ),
    )


def down(migrator, db):
    migrator.migrate(
        migrator.sql('DROP INDEX CONCURRENTLY "idx_agent_idempotency_key"'),
    )
