"""Add column agent_interactions.idempotency_key; comment agent_interactions.idempotency_key."""

down_loses = ("column agent_interactions.idempotency_key and its values",)
locks = (("agent_interactions", "ACCESS EXCLUSIVE", "instant"),)
checks = (
    (
        "idx_agent_idempotency_key",
        'SELECT "id" FROM (SELECT "id", count(*) OVER (PARTITION BY "protocol_id", '
        '"idempotency_key") AS found FROM (SELECT "id" AS "id", "protocol_id" AS '
        '"protocol_id", "agent_role" AS "agent_role", "iteration" AS "iteration", '
        '"content" AS "content", "timestamp" AS "timestamp", (NULL)::text AS '
        '"idempotency_key" FROM "agent_interactions" AS "t") AS "t" WHERE "protocol_id" '
        'IS NOT NULL AND "idempotency_key" IS NOT NULL AND (idempotency_key IS NOT '
        "NULL)) AS u WHERE found > 1 LIMIT 3",
    ),
)
group = "0007_idempotency_key"


def up(migrator, db):
    migrator.migrate(
        migrator.sql('ALTER TABLE "agent_interactions" ADD COLUMN "idempotency_key" text'),
        migrator.sql(
            'COMMENT ON COLUMN "agent_interactions"."idempotency_key" IS \'what was logged '
            "under a key of its protocol is logged once'"
        ),
    )


def down(migrator, db):
    migrator.migrate(
        migrator.drop_column("agent_interactions", "idempotency_key", cascade=False),
    )
